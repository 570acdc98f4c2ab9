//! A recorded raw HTTP response, as `curl -i` prints it.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use url::Url;

use super::ResponseView;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// Maximum size of the header section in bytes, and of its number of fields: the defaults of
/// [`Limits`](crate::Limits).
const MAX_HEAD: usize = 256 * 1024;
const MAX_FIELDS: usize = 200;

/// A response read from a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordedResponse {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, without content coding and chunked framing.
    pub body: Vec<u8>,
}

impl RecordedResponse {
    /// Returns a page that was saved without its head, as a 200 with HTML.
    #[must_use]
    pub fn from_page(body: Vec<u8>) -> Self {
        let html = HeaderValue::from_static("text/html");
        Self { status: 200, headers: HeaderMap::from_iter([(header::CONTENT_TYPE, html)]), body }
    }

    /// Returns a view of the response as if it came from `url`, with an unknown tier and without a proxy.
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

/// Parses a recorded response: status line, header fields, an empty line, the body.
///
/// Lines may end with CR LF or LF. Header sections before the final one are skipped: `100 Continue`, a proxy's
/// `200 Connection established`, and redirects that `curl -iL` prints. The body is used as it is; `Content-Length` and
/// `Transfer-Encoding` are ignored.
///
/// # Errors
/// [`ErrorKind::Protocol`], naming the line, if it is not an HTTP response, or if its body is still compressed.
pub fn parse(bytes: &[u8]) -> Result<RecordedResponse> {
    let mut rest = bytes;
    let mut line = 1;
    loop {
        let head = RecordedHead::take(&mut rest, &mut line)?;
        // A status line directly after the header section means that this response had no body.
        if is_status_line(rest) {
            continue;
        }
        head.refuse_compressed(rest)?;
        return Ok(RecordedResponse { status: head.status, headers: head.headers, body: rest.to_vec() });
    }
}

/// A status line and header fields.
struct RecordedHead {
    status: u16,
    headers: HeaderMap,
}

impl RecordedHead {
    /// Takes one header section off the front of `rest`, including the empty line.
    fn take(rest: &mut &[u8], line: &mut usize) -> Result<Self> {
        let mut remaining = MAX_HEAD;
        let first = take_line(rest, &mut remaining, line)?;
        let status = parse_status_line(first)?;
        let mut headers = HeaderMap::new();
        while !rest.is_empty() {
            let at = *line;
            let text = take_line(rest, &mut remaining, line)?;
            if text.is_empty() {
                break;
            }
            if headers.len() == MAX_FIELDS {
                return Err(parse_error(at, &format!("more than {MAX_FIELDS} header fields")));
            }
            let (name, value) = parse_field(text).ok_or_else(|| {
                parse_error(at, &format!("`{}` is not a header field `name: value`", printable(text)))
                    .with_hint("put an empty line between the header fields and the body")
            })?;
            headers.append(name, value);
        }
        Ok(Self { status, headers })
    }

    fn refuse_compressed(&self, body: &[u8]) -> Result<()> {
        let coding = self.headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        let is_compressed = body.starts_with(&[0x1f, 0x8b]) || body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        if !is_compressed {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Protocol,
            format!(
                "the recorded body is still compressed ({})",
                coding.unwrap_or("no content-encoding header")
            ),
        )
        .with_hint("record it decoded: curl -i --compressed"))
    }
}

/// Parses a status line such as `HTTP/1.1 403 Forbidden` or `HTTP/2 403`.
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
        .with_hint("record the response with its headers: curl -i URL > FILE.http")),
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

/// Takes one line off the front of `rest`. Returns it without its line ending.
fn take_line<'a>(rest: &mut &'a [u8], remaining: &mut usize, line: &mut usize) -> Result<&'a [u8]> {
    let window = &rest[..rest.len().min(*remaining)];
    let end = window.iter().position(|byte| *byte == b'\n');
    if end.is_none() && window.len() < rest.len() {
        return Err(parse_error(*line, &format!("the header section is longer than {MAX_HEAD} bytes")));
    }
    let length = end.map_or(window.len(), |end| end + 1);
    *remaining -= length;
    *line += 1;
    let text = &rest[..end.unwrap_or(length)];
    *rest = &rest[length..];
    Ok(text.strip_suffix(b"\r").unwrap_or(text))
}

fn parse_error(line: usize, message: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("not a recorded HTTP response: line {line}: {message}"))
}

fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let short: String = text.chars().take(60).collect();
    crate::text::redact::escape_terminal(&short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_line_endings_and_both_status_lines_are_parsed() {
        for text in [
            "HTTP/1.1 403 Forbidden\r\nServer: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n<p>no</p>\r\n",
            "HTTP/2 403 \nserver: x\nset-cookie: a=1\nset-cookie: b=2\n\n<p>no</p>\r\n",
        ] {
            let recorded = parse(text.as_bytes()).unwrap();
            assert_eq!(recorded.status, 403);
            assert_eq!(recorded.headers["server"], "x");
            assert_eq!(recorded.headers.get_all("set-cookie").iter().count(), 2);
            assert_eq!(recorded.body, b"<p>no</p>\r\n");
        }
    }

    #[test]
    fn header_sections_before_the_final_one_are_skipped() {
        let text =
            "HTTP/1.1 200 Connection established\r\n\r\nHTTP/2 301\r\nlocation: /b\r\n\r\nHTTP/2 999\r\n\r\n";
        let recorded = parse(text.as_bytes()).unwrap();
        assert_eq!((recorded.status, recorded.body.len()), (999, 0));
    }

    #[test]
    fn a_body_that_only_mentions_http_is_a_body() {
        let recorded = parse(b"HTTP/1.1 200 OK\n\nHTTP/1.1 is a protocol").unwrap();
        assert_eq!(recorded.body, b"HTTP/1.1 is a protocol");
    }

    #[test]
    fn an_error_names_the_line_and_the_problem() {
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
            (long.as_bytes(), "the header section is longer than"),
        ];
        for (bytes, expected) in table {
            let error = parse(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
