//! Rewrites the lines of a chunked body as Chromium reads them (`HttpChunkedDecoder`) into the form of RFC 9112.
//! Extensions and trailer fields are removed.

use std::io;

/// Rewrites one chunked body.
#[derive(Default)]
pub(super) struct ChunkRewriter {
    state: State,
    /// The line that was received in part.
    line: Vec<u8>,
    /// The received data, and the bytes of lines that are not sent on.
    data_bytes: u64,
    removed_bytes: u64,
    /// Whether a line ended without CR. The connection must not be reused.
    pub(super) is_odd: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    /// The body ended, or is malformed. The stack sees all further bytes as they are.
    Ended,
}

impl ChunkRewriter {
    /// Appends the rewritten form of `input` to `out`.
    ///
    /// # Errors
    /// When lines are too long.
    pub(super) fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        while !input.is_empty() {
            match self.state {
                State::Ended => {
                    out.extend_from_slice(input);
                    return Ok(());
                }
                State::Data(remaining) => {
                    let most = usize::try_from(remaining).unwrap_or(usize::MAX).min(input.len());
                    let (data, rest) = input.split_at(most);
                    out.extend_from_slice(data);
                    input = rest;
                    self.data_bytes += most as u64;
                    let remaining = remaining - most as u64;
                    self.state = if remaining == 0 { State::DataEnd } else { State::Data(remaining) };
                }
                State::Size | State::DataEnd | State::Trailer => {
                    let end = memchr::memchr(b'\n', input);
                    let (part, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
                    if self.line.len() + part.len() > MAX_LINE {
                        return Err(too_large());
                    }
                    self.line.extend_from_slice(part);
                    input = rest;
                    if end.is_some() {
                        self.end_line(out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the body ended.
    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Rewrites a complete line.
    fn end_line(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let (text, is_strict) = text.strip_suffix(b"\r").map_or((text, false), |text| (text, true));
        self.is_odd |= !is_strict;
        let next = match self.state {
            State::DataEnd => text.is_empty().then_some(State::Size),
            State::Trailer if !text.is_empty() => {
                self.count_removed(text.len(), 0)?;
                return Ok(());
            }
            State::Trailer => Some(State::Ended),
            _ => {
                let size = parse_size(text);
                let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                self.count_removed(text.len() - digits, digits)?;
                size.map(|size| if size == 0 { State::Trailer } else { State::Data(size) })
            }
        };
        match next {
            Some(State::Data(size)) => out.extend_from_slice(format!("{size:x}\r\n").as_bytes()),
            Some(State::Trailer) => {}
            Some(State::Ended) => out.extend_from_slice(b"0\r\n\r\n"),
            Some(_) => out.extend_from_slice(b"\r\n"),
            None => out.extend_from_slice(&line),
        }
        self.state = next.unwrap_or(State::Ended);
        Ok(())
    }

    /// Counts the bytes of a line that are not sent on: `removed`, and the digits of a size beyond the largest one.
    fn count_removed(&mut self, removed: usize, digits: usize) -> io::Result<()> {
        self.removed_bytes += (removed + digits.saturating_sub(MAX_DIGITS)) as u64;
        if self.removed_bytes > MAX_REMOVED.saturating_add(self.data_bytes) {
            Err(too_large())
        } else {
            Ok(())
        }
    }
}

/// Parses a size line: hexadecimal digits, then white space and an extension.
fn parse_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|byte| *byte == b';').next()?;
    let digits = std::str::from_utf8(size).ok()?.trim_end_matches([' ', '\t']);
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_hex.then(|| u64::from_str_radix(digits, 16).ok())??;
    i64::try_from(number).is_ok().then_some(number)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the chunk lines exceed the size limit")
}

/// The maximum length of a line, as in Chromium.
const MAX_LINE: usize = 16 * 1024;
/// How many bytes of extensions and trailer fields are allowed beyond one per byte of data.
const MAX_REMOVED: u64 = 256 * 1024;
/// The digits of the largest size.
const MAX_DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(body: &[u8], step: usize) -> (Vec<u8>, ChunkRewriter) {
        let (mut rewriter, mut out) = (ChunkRewriter::default(), Vec::new());
        for part in body.chunks(step) {
            rewriter.push(part, &mut out).unwrap();
        }
        (out, rewriter)
    }

    #[test]
    fn lines_are_rewritten_for_any_split_of_the_bytes() {
        let strict: &[u8] = b"4\r\npage\r\n0\r\n\r\n";
        let rows: [(&[u8], bool); 11] = [
            (strict, false),
            (b"4\npage\n0\n\n", true),
            (b"4\r\npage\n0\r\n\r\n", true),
            (b"4;a=b\npage\n0;c\n\n", true),
            (b"4 \r\npage\r\n0\r\n\r\n", false),
            (b"4 ; foo=\"x;y\"\r\npage\r\n0\r\n\r\n", false),
            (b"000000000000000000000004\r\npage\r\n000\r\n\r\n", false),
            (b"4\r\npage\r\n0\r\nX-T: a\r\nX Y: b\r\n no colon\r\n\r\n", false),
            (b"4\r\npage\r\n0\nX-T: a\n\n", true),
            (b"2\r\npa\r\n2\r\nge\r\n0\r\n\r\n", false),
            (b"4\r\npage\r\n0\r\n\r\nnext", false),
        ];
        for (body, is_odd) in rows {
            for step in [1, 2, 3, 1000] {
                let (out, rewriter) = rewrite(body, step);
                let expected: &[u8] = match body {
                    b"2\r\npa\r\n2\r\nge\r\n0\r\n\r\n" => body,
                    _ if body.ends_with(b"next") => b"4\r\npage\r\n0\r\n\r\nnext",
                    _ => strict,
                };
                let name = body.escape_ascii();
                assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{name}");
                assert!(rewriter.is_ended() && rewriter.is_odd == is_odd, "{name}");
            }
        }
    }

    #[test]
    fn malformed_lines_reach_the_stack_which_refuses_them() {
        let lines: [&[u8]; 8] = [b"page", b" 4", b"0x4", b"+4", b"-4", b"", b"4,", b"fffffffffffffffff"];
        for line in lines {
            let body = [line, b"\r\npage\r\n0\r\n\r\n"].concat();
            let (out, rewriter) = rewrite(&body, 1);
            assert!(out == body && rewriter.is_ended(), "{}", line.escape_ascii());
        }
        for body in [&b"4\r\npage0\r\n\r\n"[..], b"4\r\npagexx\r\n0\r\n\r\n", b"4\r\r\npage\r\n0\r\n\r\n"] {
            assert_eq!(rewrite(body, 1).0, body);
        }
    }

    #[test]
    fn a_body_that_is_cut_is_not_ended() {
        let whole = b"4\r\npage\r\n0\r\nX-T: a\r\n\r\n";
        for length in 0..whole.len() {
            let (out, rewriter) = rewrite(&whole[..length], 5);
            assert!(!rewriter.is_ended() && !out.ends_with(b"0\r\n\r\n"), "{length}");
        }
    }

    #[test]
    fn the_bytes_of_extensions_and_trailer_fields_are_limited() {
        let mut out = Vec::new();
        let long_line = [b"4;", &vec![b'a'; MAX_LINE][..], b"\r\n"].concat();
        assert!(ChunkRewriter::default().push(&long_line, &mut out).is_err());
        let extended = [b"1;", &vec![b'a'; 10_000][..], b"\r\nx\r\n"].concat().repeat(100);
        assert!(ChunkRewriter::default().push(&extended, &mut out).is_err());
        let trailers = [&b"0\r\n"[..], &b"X-Y: abcdefghij\r\n".repeat(100_000)].concat();
        assert!(ChunkRewriter::default().push(&trailers, &mut out).is_err());
    }
}
