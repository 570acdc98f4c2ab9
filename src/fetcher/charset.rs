//! Decodes bytes to text as a browser does.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use http::{HeaderMap, header};

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

/// Decodes by byte order mark, else Content-Type, else the page's meta element, else as UTF-8.
pub(super) fn decode(headers: &HeaderMap, bytes: &[u8]) -> Result<String> {
    let encoding = Encoding::for_bom(bytes)
        .map(|(encoding, _)| encoding)
        .or_else(|| from_content_type(headers))
        .or_else(|| from_meta(bytes))
        .unwrap_or(UTF_8);
    let (text, used, malformed) = encoding.decode(bytes);
    if malformed {
        let message = format!("the body is not valid {} text", used.name());
        return Err(Error::new(ErrorKind::Decode, message).with_hint("read the body as bytes"));
    }
    Ok(text.into_owned())
}

fn from_content_type(headers: &HeaderMap) -> Option<&'static Encoding> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let charset = value.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    })?;
    Encoding::for_label(charset.as_bytes())
}

/// Looks for `charset=` inside a meta element or an XML declaration within the first 1024 bytes,
/// as the HTML standard's prescan does.
fn from_meta(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes[..bytes.len().min(1024)].to_ascii_lowercase();
    let text = String::from_utf8_lossy(&head);
    let mut rest = &*text;
    while let Some(at) = rest.find("<meta") {
        let element = &rest[at..];
        let element = &element[..element.find('>').unwrap_or(element.len())];
        if let Some(label) = attribute(element, "charset") {
            return Encoding::for_label(label.as_bytes()).map(replace_utf16);
        }
        rest = &rest[at + 5..];
    }
    let declaration =
        text.strip_prefix("<?xml").map(|rest| &rest[..rest.find("?>").unwrap_or(rest.len())])?;
    Encoding::for_label(attribute(declaration, "encoding")?.as_bytes()).map(replace_utf16)
}

/// A page that names UTF-16 in ASCII letters is not UTF-16 (HTML standard, prescan step 15).
fn replace_utf16(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == UTF_16BE || encoding == UTF_16LE { UTF_8 } else { encoding }
}

fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let at = element.find(&format!("{name}="))?;
    let value = element[at + name.len() + 1..].trim_start().trim_start_matches(['"', '\'']);
    let end = value
        .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '/' | '>'))
        .unwrap_or(value.len());
    Some(&value[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content_type: Option<&'static str>, bytes: &[u8]) -> Result<String> {
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
        }
        decode(&headers, bytes)
    }

    #[test]
    fn mark_beats_header_beats_meta_beats_utf8() {
        let latin = b"<meta charset='windows-1252'>caf\xe9";
        assert!(text(None, latin).unwrap().ends_with("café"));
        assert!(text(Some("text/html; charset=ISO-8859-1"), b"caf\xe9").unwrap().ends_with("café"));
        assert!(text(Some("text/html; Charset=\"shift_jis\""), b"\x83e").unwrap().ends_with("テ"));
        assert_eq!(text(Some("text/html; charset=iso-8859-1"), b"\xef\xbb\xbfcaf\xc3\xa9").unwrap(), "café");
        assert_eq!(text(None, "café".as_bytes()).unwrap(), "café");
        let http_equiv = b"<meta http-equiv=content-type content=\"text/html; charset=koi8-r\">\xc1";
        assert!(text(None, http_equiv).unwrap().ends_with('а'));
        assert!(text(None, b"<?xml version=\"1.0\" encoding=\"iso-8859-2\"?>\xb1").unwrap().ends_with('ą'));
    }

    #[test]
    fn invalid_bytes_are_a_decode_error() {
        assert_eq!(text(None, b"\x80\x81").unwrap_err().kind(), ErrorKind::Decode);
    }
}
