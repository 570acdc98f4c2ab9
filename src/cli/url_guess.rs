//! Completes URLs without a scheme, and URLs with data, as curl does.

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

/// Adds `http://` to a URL without a scheme. A scheme ends with `:/`, so `host:8080/x` has none.
pub(crate) fn complete(text: &str) -> String {
    let scheme = text.split_once(":/").map(|(scheme, _)| scheme);
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    // Text that cannot be a host is left to the parser of URLs, which says what is wrong.
    if text.is_empty()
        || text.starts_with(['/', '?', '#', '-'])
        || scheme.is_some_and(is_scheme)
        || is_opaque(text)
    {
        return text.to_owned();
    }
    format!("http://{text}")
}

/// Whether the text is a URL of a scheme without hosts.
fn is_opaque(text: &str) -> bool {
    ["data:", "javascript:", "mailto:", "about:", "blob:"].iter().any(|scheme| text.starts_with(scheme))
}

/// Adds `data` to the query of a URL.
pub(crate) fn with_query(url: &str, data: &[u8]) -> String {
    let (base, fragment) = url.split_once('#').map_or((url, None), |(base, fragment)| (base, Some(fragment)));
    let separator = match base.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    let data = percent_encode(data, &QUERY);
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{base}{separator}{data}{fragment}")
}

/// The characters that would end the query or be lost.
const QUERY: AsciiSet = CONTROLS.add(b'#').add(b' ');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_scheme_is_an_http_url() {
        for (text, expected) in [
            ("site.example/page", "http://site.example/page"),
            ("localhost:8080/x", "http://localhost:8080/x"),
            ("user:pass@site.example", "http://user:pass@site.example"),
            ("127.0.0.1", "http://127.0.0.1"),
            ("[::1]:80/", "http://[::1]:80/"),
            ("site.example/?u=http://x/", "http://site.example/?u=http://x/"),
            ("https://site.example", "https://site.example"),
            ("HTTP:/site.example", "HTTP:/site.example"),
            ("ftp://site.example", "ftp://site.example"),
            ("data:text/html,x", "data:text/html,x"),
            ("/path", "/path"),
            ("", ""),
        ] {
            assert_eq!(complete(text), expected);
        }
    }

    #[test]
    fn data_is_added_to_the_query_before_the_fragment() {
        for (url, data, expected) in [
            ("http://a/p", &b"x=1"[..], "http://a/p?x=1"),
            ("http://a/p?", b"x=1", "http://a/p?x=1"),
            ("http://a/p?q=1#f", b"x=1", "http://a/p?q=1&x=1#f"),
            ("http://a/p?q=1", b"", "http://a/p?q=1&"),
            ("http://a", b"a b#\xff\n", "http://a?a%20b%23%FF%0A"),
        ] {
            assert_eq!(with_query(url, data), expected);
        }
    }
}
