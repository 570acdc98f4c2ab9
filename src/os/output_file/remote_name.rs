//! Names of files that a server or a URL chooses. They are never paths and never hidden. Pure.

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::text::quoted_string;

/// Returns the last segment of the URL's path as a file name, still percent-encoded, as curl does with `-O`. `None` if it is
/// empty.
#[must_use]
pub fn name_from_url(url: &Url) -> Option<String> {
    sanitize(url.path_segments()?.next_back()?)
}

/// Returns the file name of a `Content-Disposition` header (RFC 6266). `filename*` takes precedence over `filename`.
#[must_use]
pub fn name_from_headers(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_DISPOSITION)?.as_bytes();
    let text = String::from_utf8(value.to_vec())
        .unwrap_or_else(|_| value.iter().map(|byte| char::from(*byte)).collect());
    let parameters = parse_parameters(&text);
    let get = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let extended = get("filename*").and_then(|value| decode_extended(value)).and_then(|name| sanitize(&name));
    extended.or_else(|| sanitize(get("filename")?))
}

/// Returns the parameters of a header value with their names in lower case.
fn parse_parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text.find(';').map_or("", |at| &text[at + 1..]);
    while !rest.is_empty() && parameters.len() < MAX_PARAMETERS {
        let Some(end) = rest.find(['=', ';']) else { break };
        let (name, after) = rest.split_at(end);
        if let Some(next) = after.strip_prefix(';') {
            rest = next;
            continue;
        }
        let (value, after) = parse_value(after[1..].trim_start());
        parameters.push((name.trim().to_ascii_lowercase(), value));
        rest = after.find(';').map_or("", |at| &after[at + 1..]);
    }
    parameters
}

/// Parses a token or a quoted string. Returns the value and the text after it.
fn parse_value(text: &str) -> (String, &str) {
    quoted_string::parse(text).unwrap_or_else(|| {
        let end = text.find(';').unwrap_or(text.len());
        (text[..end].trim().to_owned(), &text[end..])
    })
}

/// Decodes `UTF-8'language'text` and `ISO-8859-1'language'text` (RFC 8187).
fn decode_extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _, text) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    if charset.eq_ignore_ascii_case("utf-8") {
        return String::from_utf8(bytes).ok();
    }
    charset.eq_ignore_ascii_case("iso-8859-1").then(|| bytes.into_iter().map(char::from).collect())
}

/// Returns the last part of a path as the name of a visible file. `None` if nothing is left.
fn sanitize(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next()?;
    let mut safe: String =
        last.chars().map(|c| if c == '\0' || crate::text::redact::is_harmful(c) { '_' } else { c }).collect();
    while safe.len() > MAX_NAME {
        safe.pop();
    }
    let safe = safe.trim();
    if safe.trim_matches('.').is_empty() {
        return None;
    }
    // A hidden file is not visible to the user.
    Some(safe.strip_prefix('.').map_or_else(|| safe.to_owned(), |rest| format!("_{rest}")))
}

const MAX_PARAMETERS: usize = 16;
/// The longest name of the common file systems, in bytes.
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn from_header(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        name_from_headers(&headers)
    }

    #[test]
    fn names_of_headers_are_never_paths_and_never_hidden() {
        for (value, name) in [
            ("attachment; filename=a.txt", Some("a.txt")),
            ("attachment; FileName = \"a b;c.txt\" ; x=y", Some("a b;c.txt")),
            ("attachment; filename=\"a\\\"b.txt\"", Some("a\"b.txt")),
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"..\\\\..\\\\x.exe\"", Some("x.exe")),
            ("attachment; filename=/etc/", None),
            ("attachment; filename=..", None),
            ("attachment; filename=\"\"", None),
            ("attachment; filename=.bashrc", Some("_bashrc")),
            ("attachment; filename=a.txt; filename*=UTF-8''%e2%82%ac.txt", Some("€.txt")),
            ("attachment; filename*=UTF-8''..%2F.ssh%2F.key", Some("_key")),
            ("attachment; filename*=UTF-8''%ff; filename=b.txt", Some("b.txt")),
            ("attachment; filename*=iso-8859-1'de'%fc", Some("ü")),
            ("attachment; filename*=UTF-8''a%1b%00b", Some("a__b")),
            ("attachment", None),
            ("inline; filename", None),
            ("attachment; filename=\"open", Some("open")),
        ] {
            assert_eq!(from_header(value).as_deref(), name, "{value}");
        }
        let long = from_header(&format!("a; filename={}", "ü".repeat(300))).unwrap();
        assert!(long.len() <= MAX_NAME && long.len() > 250);
    }

    #[test]
    fn names_of_urls_are_the_last_segment() {
        for (url, name) in [
            ("http://a.example/d/f.txt?q=/x#y/z", Some("f.txt")),
            ("http://a.example/d/", None),
            ("http://a.example", None),
            ("http://a.example/%2e%2e%2fx", Some("%2e%2e%2fx")),
            ("http://a.example/.netrc", Some("_netrc")),
        ] {
            assert_eq!(name_from_url(&Url::parse(url).unwrap()).as_deref(), name, "{url}");
        }
    }
}
