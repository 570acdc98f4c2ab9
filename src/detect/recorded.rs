//! A raw saved HTTP answer, as `curl -i` prints it.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use url::Url;

use super::ResponseView;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

/// The largest head that is read, and the most fields in it: [`Bounds`](crate::Bounds) has the same.
const MAX_HEAD: usize = 256 * 1024;
const MAX_FIELDS: usize = 200;

/// An answer read from a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordedResponse {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, with content coding and chunks removed.
    pub body: Vec<u8>,
}

impl RecordedResponse {
    /// The answer as one seen at `url`, by no tier in particular, without a proxy.
    #[must_use]
    pub fn view<'a>(&'a self, url: &'a Url) -> ResponseView<'a> {
        ResponseView {
            tier: None,
            status: self.status,
            headers: &self.headers,
            url,
            requested: url,
            body: &self.body,
            complete: true,
            via_proxy: false,
        }
    }
}

/// Reads a saved answer: status line, header fields, an empty line, the body.
///
/// Lines may end with CR LF or LF. Heads that come before the final one (`100 Continue`, a proxy's
/// `200 Connection established`, redirects that `curl -iL` prints) are passed over. The body is taken
/// as it stands, whatever content-length or transfer-encoding say of the answer it was saved from.
///
/// # Errors
/// [`ErrorKind::Protocol`], naming the line, when it is not an HTTP answer, or when its body is
/// still compressed.
pub fn parse(bytes: &[u8]) -> Result<RecordedResponse> {
    let mut rest = bytes;
    let mut line = 1;
    loop {
        let head = RecordedHead::take(&mut rest, &mut line)?;
        // Another head straight after this one means that this one had no body.
        if is_status_line(rest) {
            continue;
        }
        head.refuse_compressed(rest)?;
        return Ok(RecordedResponse { status: head.status, headers: head.headers, body: rest.to_vec() });
    }
}

struct RecordedHead {
    status: u16,
    headers: HeaderMap,
}

impl RecordedHead {
    /// Takes one head off the front, the empty line included.
    fn take(rest: &mut &[u8], line: &mut usize) -> Result<Self> {
        let mut room = MAX_HEAD;
        let first = take_line(rest, &mut room, line)?;
        let status = parse_status_line(first)?;
        let mut headers = HeaderMap::new();
        while !rest.is_empty() {
            let at = *line;
            let text = take_line(rest, &mut room, line)?;
            if text.is_empty() {
                break;
            }
            if headers.len() == MAX_FIELDS {
                return Err(parse_error(at, &format!("more than {MAX_FIELDS} header fields")));
            }
            let (name, value) = parse_field(text).ok_or_else(|| {
                parse_error(at, &format!("`{}` is not a header field `name: value`", printable(text)))
                    .with_hint("an empty line must stand between the header fields and the body")
            })?;
            headers.append(name, value);
        }
        Ok(Self { status, headers })
    }

    fn refuse_compressed(&self, body: &[u8]) -> Result<()> {
        let coding = self.headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        let packed = body.starts_with(&[0x1f, 0x8b]) || body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        if !packed {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Protocol,
            format!(
                "the saved body is still compressed ({})",
                coding.unwrap_or("no content-encoding header")
            ),
        )
        .with_hint("save it decoded: curl -i --compressed"))
    }
}

/// `HTTP/1.1 403 Forbidden`, `HTTP/2 403`.
fn parse_status_line(line: &[u8]) -> Result<u16> {
    let text = line.strip_prefix(b"HTTP/").and_then(|rest| std::str::from_utf8(rest).ok());
    let mut words = text.unwrap_or("").split(' ').filter(|word| !word.is_empty());
    let version = words.next().is_some_and(|v| matches!(v, "1.0" | "1.1" | "2" | "2.0" | "3" | "3.0"));
    let code = words.next().filter(|code| code.len() == 3).and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(code) if version && code >= 100 => Ok(code),
        _ => Err(parse_error(
            1,
            &format!("`{}` is not a status line such as `HTTP/1.1 403 Forbidden`", printable(line)),
        )
        .with_hint("save the answer with its headers: curl -i URL > FILE.http")),
    }
}

fn is_status_line(rest: &[u8]) -> bool {
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()).min(256);
    parse_status_line(rest[..end].trim_ascii_end()).is_ok()
}

fn parse_field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

/// Takes one line off the front, without its end.
fn take_line<'a>(rest: &mut &'a [u8], room: &mut usize, line: &mut usize) -> Result<&'a [u8]> {
    let window = &rest[..rest.len().min(*room)];
    let end = window.iter().position(|byte| *byte == b'\n');
    if end.is_none() && window.len() < rest.len() {
        return Err(parse_error(*line, &format!("the head is longer than {MAX_HEAD} bytes")));
    }
    let taken = end.map_or(window.len(), |end| end + 1);
    *room -= taken;
    *line += 1;
    let text = &rest[..end.unwrap_or(taken)];
    *rest = &rest[taken..];
    Ok(text.strip_suffix(b"\r").unwrap_or(text))
}

fn parse_error(line: usize, what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("not a saved HTTP answer: line {line}: {what}"))
}

fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let short: String = text.chars().take(60).collect();
    crate::redact::escape_terminal(&short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_line_ends_and_both_status_lines_are_read() {
        for text in [
            "HTTP/1.1 403 Forbidden\r\nServer: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n<p>no</p>\r\n",
            "HTTP/2 403 \nserver: x\nset-cookie: a=1\nset-cookie: b=2\n\n<p>no</p>\r\n",
        ] {
            let saved = parse(text.as_bytes()).unwrap();
            assert_eq!(saved.status, 403);
            assert_eq!(saved.headers["server"], "x");
            assert_eq!(saved.headers.get_all("set-cookie").iter().count(), 2);
            assert_eq!(saved.body, b"<p>no</p>\r\n");
        }
    }

    #[test]
    fn heads_before_the_final_one_are_passed_over() {
        let text =
            "HTTP/1.1 200 Connection established\r\n\r\nHTTP/2 301\r\nlocation: /b\r\n\r\nHTTP/2 999\r\n\r\n";
        let saved = parse(text.as_bytes()).unwrap();
        assert_eq!((saved.status, saved.body.len()), (999, 0));
    }

    #[test]
    fn a_body_that_only_mentions_http_is_a_body() {
        let saved = parse(b"HTTP/1.1 200 OK\n\nHTTP/1.1 is a protocol").unwrap();
        assert_eq!(saved.body, b"HTTP/1.1 is a protocol");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let flood = format!("HTTP/1.1 200 OK\n{}", "a: b\n".repeat(MAX_FIELDS + 1));
        let long = format!("HTTP/1.1 200 OK\na: {}", "x".repeat(MAX_HEAD));
        let table: [(&[u8], &str); 8] = [
            (b"", "line 1"),
            (b"<html>", "`<html>` is not a status line"),
            (b"HTTP/1.1 4O3 Forbidden\n\n", "is not a status line"),
            (b"HTTP/1.1\n\n", "is not a status line"),
            (b"HTTP/1.1 200 OK\n<html>\n", "line 2: `<html>` is not a header field"),
            (b"HTTP/1.1 200 OK\ncontent-encoding: gzip\n\n\x1f\x8b\x08", "still compressed (gzip)"),
            (flood.as_bytes(), "more than 200 header fields"),
            (long.as_bytes(), "the head is longer than"),
        ];
        for (bytes, expected) in table {
            let error = parse(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
