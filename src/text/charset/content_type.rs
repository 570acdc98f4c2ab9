//! Reads Content-Type as Chromium does (`HttpUtil::ParseContentType`).

use encoding_rs::Encoding;
use http::{HeaderMap, header};

/// The media type and the charset that the Content-Type fields of a response name.
#[derive(Debug, Default)]
pub(super) struct ContentType {
    /// In lower case, without parameters. Empty if there is none.
    pub(super) essence: String,
    charset: Option<Vec<u8>>,
}

impl ContentType {
    /// Reads all values. The last one with a media type applies; one without a charset keeps that of an earlier value of
    /// the same type.
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let mut merged = Self::default();
        let fields = headers.get_all(header::CONTENT_TYPE).iter();
        for value in fields.flat_map(|field| split_unquoted(field.as_bytes(), b',')) {
            let mut parts = split_unquoted(value, b';');
            let Some(essence) = parts.next().and_then(parse_essence) else { continue };
            let charset = parts.find_map(parse_charset);
            if charset.is_some() || merged.essence != essence {
                merged = Self { essence, charset };
            }
        }
        merged
    }

    pub(super) fn charset(&self) -> Option<&'static Encoding> {
        Encoding::for_label(self.charset.as_ref()?)
    }
}

/// Returns the media type of a response in lower case, without parameters. Empty if it has none.
pub(crate) fn essence(headers: &HeaderMap) -> String {
    ContentType::from_headers(headers).essence
}

/// Returns the media type in lower case, up to white space. `None` if it is not one.
fn parse_essence(text: &[u8]) -> Option<String> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'(').unwrap_or(text.len());
    let essence = std::str::from_utf8(&text[..end]).ok()?.to_ascii_lowercase();
    let (kind, subtype) = essence.split_once('/')?;
    let is_valid = !kind.is_empty() && !subtype.is_empty() && essence != "*/*";
    is_valid.then_some(essence)
}

/// Returns the value of `charset=…` if it is not empty.
fn parse_charset(parameter: &[u8]) -> Option<Vec<u8>> {
    let equals = parameter.iter().position(|byte| *byte == b'=')?;
    if !parameter[..equals].trim_ascii_start().eq_ignore_ascii_case(b"charset") {
        return None;
    }
    let value = parameter[equals + 1..].trim_ascii_start();
    let value = match value.strip_prefix(b"\"") {
        Some(quoted) => unquote(quoted),
        None => value.trim_ascii_end().to_vec(),
    };
    (!value.is_empty()).then_some(value)
}

/// Returns the text before the closing quote, if there is one.
fn unquote(text: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => value.extend(bytes.next()),
            _ => value.push(*byte),
        }
    }
    value
}

/// Splits at `separator`, except inside quotes.
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if is_quoted => is_escaped = !was_escaped,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        *byte == separator && !is_quoted
    })
}
