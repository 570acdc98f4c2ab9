//! Finds the encoding of a body, and decodes it, as the installed Chromium does. Pure.

mod content_type;
mod kind;
mod prescan;

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{EncoderResult, Encoding, UTF_8, WINDOWS_1252};
use http::HeaderMap;
use url::Url;

use content_type::ContentType;
use kind::TextKind;

pub(crate) use content_type::essence;

/// Decodes a body. A malformed sequence becomes U+FFFD. `None` if the body is not text.
pub(crate) fn decode(headers: &HeaderMap, url: &Url, bytes: &[u8]) -> Option<String> {
    let content_type = ContentType::from_headers(headers);
    let kind = TextKind::new(&content_type, bytes);
    let declared = declaration(&content_type, kind, bytes);
    let encoding = declared.unwrap_or_else(|| undeclared(kind, url, bytes));
    // A byte order mark overrides `encoding` here too.
    let (text, used, is_malformed) = encoding.decode(bytes);
    let is_doubtful = is_malformed || declared.is_none() && used != UTF_8;
    (!is_doubtful || kind.is_text(used, bytes)).then(|| text.into_owned())
}

/// Returns the encoding of a body: that of the byte order mark, else of Content-Type, else of its declaration, else the
/// one that its bytes suggest. The top-level domain of `url` is a hint.
pub(crate) fn encoding(headers: &HeaderMap, url: &Url, bytes: &[u8]) -> &'static Encoding {
    let content_type = ContentType::from_headers(headers);
    let kind = TextKind::new(&content_type, bytes);
    declaration(&content_type, kind, bytes).unwrap_or_else(|| undeclared(kind, url, bytes))
}

/// Returns the encoding of a body that declares none.
fn undeclared(kind: TextKind, url: &Url, bytes: &[u8]) -> &'static Encoding {
    match kind {
        TextKind::Data | TextKind::Xml | TextKind::Unknown => UTF_8,
        TextKind::Html | TextKind::Css | TextKind::Plain => guess(url, bytes),
    }
}

fn declaration(content_type: &ContentType, kind: TextKind, bytes: &[u8]) -> Option<&'static Encoding> {
    let mark = Encoding::for_bom(bytes).map(|(encoding, _)| encoding);
    mark.or_else(|| content_type.charset()).or_else(|| match kind {
        TextKind::Html => prescan::html_encoding(bytes),
        TextKind::Xml => prescan::xml_encoding(bytes),
        TextKind::Css => prescan::css_encoding(bytes),
        TextKind::Data | TextKind::Plain | TextKind::Unknown => None,
    })
}

/// Decodes XML that was received without headers: by byte order mark, else by its declaration, else as UTF-8. White space
/// may precede the declaration. Replaces malformed bytes.
pub(crate) fn decode_xml(bytes: &[u8]) -> Cow<'_, str> {
    let declared = prescan::xml_encoding(bytes.trim_ascii_start());
    // A byte order mark overrides `declared`.
    declared.unwrap_or(UTF_8).decode(bytes).0
}

/// Guesses the encoding of a body that declares none. Valid UTF-8 is UTF-8: Chromium never guesses UTF-8, and shows such
/// a page as windows-1252. The last resort is windows-1252, as in Chromium.
fn guess(url: &Url, bytes: &[u8]) -> &'static Encoding {
    if bytes.is_ascii() && !bytes.contains(&ESCAPE) {
        return WINDOWS_1252;
    }
    if !bytes.is_ascii() && is_utf8(bytes) {
        return UTF_8;
    }
    let start = &bytes[..bytes.len().min(MAX_GUESSED)];
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(start, true);
    detector.guess(top_level_domain(url).as_deref(), Utf8Detection::Deny)
}

/// Whether the bytes are UTF-8. The last character may be cut.
fn is_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Resolves a URL of a document with this encoding, in which its query is encoded. `None` if it is invalid.
pub(crate) fn resolve_url(base: &Url, encoding: &'static Encoding, text: &str) -> Option<Url> {
    Url::options()
        .base_url(Some(base))
        .encoding_override(Some(&|query| encode_query(encoding, query)))
        .parse(text)
        .ok()
}

/// Encodes text for the query of a URL, as the URL standard's "percent-encode after encoding" does: a character that the
/// encoding does not have becomes an escaped numeric reference. The result may need further escapes.
fn encode_query<'a>(encoding: &'static Encoding, text: &'a str) -> Cow<'a, [u8]> {
    if text.is_ascii() || encoding.output_encoding() == UTF_8 {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut encoder = encoding.new_encoder();
    let mut bytes = Vec::with_capacity(text.len() * 2 + 16);
    let mut rest = text;
    loop {
        let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut bytes, true);
        rest = &rest[read..];
        match result {
            EncoderResult::InputEmpty => return Cow::Owned(bytes),
            EncoderResult::OutputFull => bytes.reserve(rest.len() * 2 + 16),
            EncoderResult::Unmappable(character) => {
                bytes.extend_from_slice(format!("%26%23{}%3B", u32::from(character)).as_bytes());
            }
        }
    }
}

/// Returns the last label of the host if it is a name that the detector accepts.
fn top_level_domain(url: &Url) -> Option<Vec<u8>> {
    let label = url.domain()?.trim_end_matches('.').rsplit('.').next()?;
    let is_valid =
        label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (is_valid && !label.is_empty()).then(|| label.as_bytes().to_vec())
}

/// Maximum bytes that are guessed from.
const MAX_GUESSED: usize = 1 << 20;
/// Begins an escape sequence of ISO-2022-JP.
const ESCAPE: u8 = 0x1b;

#[cfg(test)]
mod tests;
