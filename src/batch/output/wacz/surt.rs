//! The key of a URL in an index: SURT, as the Internet Archive's `surt` makes it, which pywb uses.

use percent_encoding::percent_decode;
use url::{Host, Url};

/// Returns the key: the labels of the host in reverse, the port, and path and query in a form that is the same for URLs
/// that lead to one page.
pub(super) fn surt(url: &Url) -> String {
    let host = match url.host() {
        Some(Host::Domain(name)) => reverse(without_www(name.trim_end_matches('.'))),
        Some(Host::Ipv4(address)) => reverse(&address.to_string()),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => String::new(),
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = url.query().map(normalize_query).filter(|query| !query.is_empty());
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{host}{port}){}{query}", normalize_path(url.path()))
}

fn reverse(host: &str) -> String {
    host.rsplit('.').collect::<Vec<_>>().join(",")
}

/// Removes `www.`, `www2.` and the like.
fn without_www(host: &str) -> &str {
    let Some((first, rest)) = host.split_once('.') else { return host };
    let is_www = first.strip_prefix("www").is_some_and(|end| end.bytes().all(|byte| byte.is_ascii_digit()));
    if is_www { rest } else { host }
}

fn normalize_path(path: &str) -> String {
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in unescape(path).split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            segment => segments.push(segment.to_vec()),
        }
    }
    format!("/{}", escape(&segments.join(&b'/')))
}

/// Sorts the parameters, without session IDs.
fn normalize_query(query: &str) -> String {
    let text = escape(&unescape(query));
    let mut parameters: Vec<&str> = text.split('&').collect();
    parameters.retain(|parameter| !is_session_id(parameter));
    parameters.sort_unstable();
    parameters.join("&")
}

fn is_session_id(parameter: &str) -> bool {
    let is_token = |name: &str| {
        parameter
            .strip_prefix(name)
            .is_some_and(|value| value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    ["jsessionid=", "phpsessid=", "sid="].into_iter().any(is_token)
}

/// Decodes `%` escapes until none is left.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    // Each pass shortens the text, so the number of passes is bounded.
    loop {
        let decoded: Vec<u8> = percent_decode(&bytes).collect();
        if decoded.len() == bytes.len() {
            return bytes;
        }
        bytes = decoded;
    }
}

/// Escapes what a URL cannot contain, in lower case.
fn escape(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            0..=b' ' | 0x7f.. | b'#' | b'%' => {
                let _ = write!(text, "%{byte:02x}");
            }
            byte => text.push(char::from(byte.to_ascii_lowercase())),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_internet_archive() {
        // Made with surt 0.3.1.
        for (url, expected) in [
            ("http://127.0.0.1:8080/A/b?B=2&a=1", "1,0,0,127:8080)/a/b?a=1&b=2"),
            ("https://www.Example.com/", "com,example)/"),
            ("http://www2.example.com:80/x", "com,example)/x"),
            ("https://example.com:443/", "com,example)/"),
            ("http://example.com/?", "com,example)/"),
            ("http://[::1]:80/p", "::1)/p"),
            ("http://[2001:db8::1]:8080/p", "2001:db8::1:8080)/p"),
            ("http://a.example/%7Efoo/%41%2f?q=%20a+b", "example,a)/~foo/a?q=%20a+b"),
            ("http://a.example//x//y", "example,a)/x/y"),
            ("http://a.example/x/../y", "example,a)/y"),
            ("http://a.example/x/", "example,a)/x"),
            ("http://a.example/é?ü", "example,a)/%c3%a9?%c3%bc"),
            ("http://a.example/?sid=ABCDEF0123456789ABCDEF0123456789&b", "example,a)/?b"),
            ("http://a.example/#frag", "example,a)/"),
            ("http://a.example/?b&a&c=", "example,a)/?a&b&c="),
            ("http://a.example/?a=1&a=0&A=2", "example,a)/?a=0&a=1&a=2"),
            ("http://ex-ample.co.uk./x", "uk,co,ex-ample)/x"),
            ("http://a.example/a b", "example,a)/a%20b"),
            ("http://a.example/?x=a%26b&", "example,a)/?&b&x=a"),
            ("http://a.example/x?PHPSESSID=0123456789abcdef0123456789abcdef&z=1", "example,a)/x?z=1"),
        ] {
            assert_eq!(surt(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
