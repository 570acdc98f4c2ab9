//! Rewrites a response head as Chromium reads it (`HttpUtil::AssembleRawHeaders`, `HttpResponseHeaders`,
//! `HttpStreamParser`) into the form of RFC 9112.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, header};
use memchr::memchr_iter;

use crate::exchange::response::ReceivedHead;

/// The beginning of a response.
pub(super) enum Start {
    /// More bytes are needed.
    Unknown,
    /// The status line begins at this index.
    At(usize),
    /// It is not HTTP.
    Foreign,
}

/// A head in the form of RFC 9112.
pub(super) struct Head {
    pub(super) bytes: Vec<u8>,
    /// An interim response (1xx): another head follows.
    pub(super) is_interim: bool,
    pub(super) is_chunked: bool,
    /// Whether another reader may see other fields or another end of the message. The connection must not be reused.
    pub(super) is_odd: bool,
    /// The fields that frame the body, as received, if the head contains others.
    pub(super) framing: Option<Vec<(HeaderName, HeaderValue)>>,
    /// The reason phrase and the names as received.
    pub(super) received: ReceivedHead,
}

/// Finds the status line. As in Chromium, it may follow up to four other bytes, and any empty lines.
pub(super) fn find_start(bytes: &[u8]) -> Start {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let rest = &bytes[blank..];
    let found = (0..=MAX_SLOP).find(|at| {
        rest.get(*at..at + PROTOCOL.len()).is_some_and(|text| text.eq_ignore_ascii_case(PROTOCOL))
    });
    match found {
        Some(at) => Start::At(blank + at),
        None if rest.len() < MAX_SLOP + PROTOCOL.len() => Start::Unknown,
        None => Start::Foreign,
    }
}

/// Returns the length of the head, which ends with an empty line. Bytes before `from` were searched before.
pub(super) fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(2);
    memchr_iter(b'\n', &bytes[from..]).map(|at| from + at).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Rewrites a head, from its status line to the empty line. `None` if Chromium would refuse it, too, or its status
/// cannot be represented.
pub(super) fn rewrite(head: &[u8], is_head_request: bool) -> Option<Head> {
    if head.contains(&0) {
        return None;
    }
    let status_end = head.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(head.len());
    let (status_line, rest) = head.split_at(status_end);
    let status = StatusLine::parse(status_line)?;
    let fields = read_fields(rest);
    let has_body = !is_head_request && !matches!(status.code, 100..200 | 204 | 304);
    let framing = if has_body { Framing::new(&status, &fields)? } else { Framing::default() };
    let mut bytes = Vec::with_capacity(head.len() + 64);
    status.write(status_line, &mut bytes);
    for field in fields.iter().filter(|field| framing.fields.is_none() || !field.frames_body()) {
        bytes.extend_from_slice(&field.line());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(&framing.replacement);
    bytes.extend_from_slice(b"\r\n");
    Some(Head {
        is_interim: matches!(status.code, 100..200) && status.code != 101,
        is_chunked: framing.is_chunked,
        is_odd: framing.is_ambiguous || bytes != head,
        framing: framing.fields,
        received: ReceivedHead::new(
            Some(status.reason),
            fields.iter().filter_map(|field| std::str::from_utf8(field.name).ok()),
        ),
        bytes,
    })
}

struct StatusLine<'a> {
    has_chunks: bool,
    code: u16,
    reason: &'a [u8],
    is_strict: bool,
}

impl<'a> StatusLine<'a> {
    /// Reads a line that begins with `HTTP` in any case. As in Chromium, a status that is missing is 200.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let version = match line.get(PROTOCOL.len()..) {
            Some([b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9', ..]) => (*major, *minor),
            _ => (b'1', b'0'),
        };
        let after_version = line.iter().position(|byte| *byte == b' ').map_or(&[][..], |at| &line[at..]);
        let code = after_version.trim_ascii_start();
        let digits = code.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, reason) = code.split_at(digits);
        let number = match digits {
            [] => 200,
            _ => std::str::from_utf8(digits).ok()?.parse().ok().filter(|code| (100..1000).contains(code))?,
        };
        let is_strict = line.starts_with(b"HTTP/1.")
            && matches!(&line[7..], [b'0' | b'1', b' ', a, b, c, rest @ ..]
                if [a, b, c].iter().all(|byte| byte.is_ascii_digit()) && matches!(rest, [] | [b' ', ..]))
            && !line.iter().any(|byte| is_control(*byte));
        Some(Self {
            has_chunks: version >= (b'1', b'1'),
            code: number,
            reason: reason.trim_ascii(),
            is_strict,
        })
    }

    fn write(&self, line: &[u8], out: &mut Vec<u8>) {
        if self.is_strict {
            out.extend_from_slice(line);
        } else {
            let version = if self.has_chunks { "1.1" } else { "1.0" };
            out.extend_from_slice(format!("HTTP/{version} {} ", self.code).as_bytes());
            out.extend(self.reason.iter().filter(|byte| !is_control(**byte)));
        }
        out.extend_from_slice(b"\r\n");
    }
}

struct Field<'a> {
    name: &'a [u8],
    value: Cow<'a, [u8]>,
    /// The line, if it can be sent as it is.
    verbatim: Option<&'a [u8]>,
}

impl<'a> Field<'a> {
    /// Reads a line. `None` if Chromium ignores it: its name is missing or is not a token.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = &line[..colon];
        if name.first().is_none_or(|byte| is_space(*byte)) {
            return None;
        }
        let is_strict = trim(name) == name && !line.iter().any(|byte| is_control(*byte));
        let (name, verbatim) = (trim(name), is_strict.then_some(line));
        if !name.iter().all(|byte| is_token(*byte)) {
            return None;
        }
        Some(Self { name, value: Cow::Borrowed(trim(&line[colon + 1..])), verbatim })
    }

    fn has_name(&self, name: &HeaderName) -> bool {
        self.name.eq_ignore_ascii_case(name.as_str().as_bytes())
    }

    fn frames_body(&self) -> bool {
        self.has_name(&header::CONTENT_LENGTH) || self.has_name(&header::TRANSFER_ENCODING)
    }

    /// Appends a line that continues the value.
    fn fold(&mut self, line: &[u8]) {
        let value = self.value.to_mut();
        value.push(b' ');
        value.extend_from_slice(trim(line));
        self.verbatim = None;
    }

    /// The line that is sent. A control character of a URL is escaped; of another value, it becomes a space.
    fn line(&self) -> Cow<'a, [u8]> {
        if let Some(line) = self.verbatim {
            return Cow::Borrowed(line);
        }
        let mut line = [self.name, b": "].concat();
        for byte in trim(&self.value) {
            match byte {
                control if !is_control(*control) => line.push(*control),
                control if self.has_name(&header::LOCATION) => {
                    line.extend_from_slice(format!("%{control:02X}").as_bytes());
                }
                _ => line.push(b' '),
            }
        }
        Cow::Owned(line)
    }
}

/// Reads the field lines behind the status line. As in Chromium, a CR alone ends a line, too.
fn read_fields(rest: &[u8]) -> Vec<Field<'_>> {
    let mut fields: Vec<Field<'_>> = Vec::new();
    let mut can_continue = false;
    for line in rest.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty()) {
        if can_continue && is_space(line[0]) {
            if let Some(field) = fields.last_mut() {
                field.fold(line);
            }
            continue;
        }
        let field = Field::parse(line);
        can_continue = field.is_some();
        fields.extend(field);
    }
    // Chromium refuses a cookie that contains a control character.
    fields.retain(|field| {
        !field.has_name(&header::SET_COOKIE) || !field.value.iter().any(|byte| is_control(*byte))
    });
    fields
}

/// How the body ends.
#[derive(Default)]
struct Framing {
    is_chunked: bool,
    /// Another reader may see another end.
    is_ambiguous: bool,
    /// The received fields, if others replace them.
    fields: Option<Vec<(HeaderName, HeaderValue)>>,
    /// The line that replaces them.
    replacement: Vec<u8>,
}

impl Framing {
    /// Decides as Chromium's `CalculateResponseBodySize`. `None` if different lengths contradict each other.
    fn new(status: &StatusLine<'_>, fields: &[Field<'_>]) -> Option<Self> {
        let values = |name: &HeaderName| -> Vec<Vec<u8>> {
            let fields = fields.iter().filter(|field| field.has_name(name));
            fields
                .flat_map(|field| field.value.split(|byte| *byte == b',').map(|v| trim(v).to_vec()))
                .collect()
        };
        let (codings, lengths) = (values(&header::TRANSFER_ENCODING), values(&header::CONTENT_LENGTH));
        let is_chunked = |coding: &Vec<u8>| coding.eq_ignore_ascii_case(b"chunked");
        let replaced = |replacement: &[u8]| {
            let framing = fields.iter().filter(|field| field.frames_body()).filter_map(|field| {
                let name = HeaderName::from_bytes(field.name).ok()?;
                Some((name, HeaderValue::from_bytes(trim(&field.value)).ok()?))
            });
            Framing {
                is_ambiguous: true,
                fields: Some(framing.collect()),
                replacement: replacement.to_vec(),
                ..Framing::default()
            }
        };
        if status.code == 205 {
            let is_empty = codings.is_empty() && lengths.iter().any(|length| length == b"0");
            return Some(if is_empty { Self::default() } else { replaced(b"content-length: 0\r\n") });
        }
        if status.has_chunks && codings.iter().any(is_chunked) {
            let is_plain = codings.len() == 1 && lengths.is_empty();
            let framing = if is_plain { Self::default() } else { replaced(CHUNKED_LINE) };
            return Some(Self { is_chunked: true, ..framing });
        }
        if lengths.windows(2).any(|pair| pair[0] != pair[1]) {
            return None;
        }
        let length = lengths.first().filter(|length| is_length(length));
        Some(match length {
            Some(_) if codings.is_empty() => Self { is_ambiguous: lengths.len() > 1, ..Self::default() },
            Some(length) => replaced(&[b"content-length: ", &length[..], b"\r\n"].concat()),
            None if codings.is_empty() && lengths.is_empty() => Self::default(),
            // The body ends with the connection.
            None => replaced(b""),
        })
    }
}

/// Whether Chromium accepts a Content-Length: digits that a signed number of 64 bits can hold.
fn is_length(value: &[u8]) -> bool {
    let is_digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_digits && std::str::from_utf8(value).is_ok_and(|text| text.parse::<i64>().is_ok())
}

fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn trim(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|byte| !is_space(*byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(*byte)).map_or(start, |at| at + 1);
    &value[start..end]
}

const PROTOCOL: &[u8] = b"HTTP";
/// The bytes before the status line that Chromium ignores.
const MAX_SLOP: usize = 4;
const CHUNKED_LINE: &[u8] = b"transfer-encoding: chunked\r\n";

#[cfg(test)]
mod tests;
