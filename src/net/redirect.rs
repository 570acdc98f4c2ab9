//! Builds the request that follows a redirect. Pure.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::AsciiSet;
use url::Url;

use crate::exchange::credentials;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Request;
use crate::text::redact;

/// Returns the request that follows the response to `request`, or `None` when the response is not a redirect.
///
/// 303 always, and 301 and 302 after a POST, become a GET without a body; 307 and 308 keep method and body
/// (RFC 9110, section 15.4, as browsers apply it). Fields that may be secret are not sent to another origin.
/// A field removed once stays removed for the rest of the chain, as [`credentials`] defines: in A, B, A, only
/// the first A receives it.
///
/// As in Chromium, a response without a target, or with an empty one, is not a redirect.
///
/// # Errors
/// [`ErrorKind::Redirect`] when the target is malformed, or neither http nor https, and for a response of any status
/// with different targets.
pub(crate) fn next_request(
    request: &Request,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<Request>> {
    let location = location(headers)?;
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = location else { return Ok(None) };
    let text = escape_non_ascii(location);
    let mut url = request.url.join(&text).map_err(|cause| {
        Error::new(
            ErrorKind::Redirect,
            format!("redirected to a malformed URL `{}`", shorten(&redact::url_text(&text))),
        )
        .with_source(cause)
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        let message = format!("redirected to the unsupported scheme `{}`", url.scheme());
        return Err(Error::new(ErrorKind::Redirect, message));
    }
    if url.fragment().is_none() {
        url.set_fragment(request.url.fragment());
    }
    let same_origin = url.origin() == request.url.origin();
    let mut next = request.clone();
    next.url = url;
    let becomes_get = match status.as_u16() {
        303 => request.method != Method::HEAD,
        301 | 302 => request.method == Method::POST,
        _ => false,
    };
    if becomes_get {
        next.method = Method::GET;
        next.body = None;
        next.headers.retain(|(name, _)| {
            !matches!(
                *name,
                header::CONTENT_TYPE | header::CONTENT_LENGTH | header::CONTENT_ENCODING | header::ORIGIN
            )
        });
    }
    if same_origin {
        // The `Location` URL has no credentials of its own: the same server keeps receiving ours.
        if next.url.username().is_empty() && next.url.password().is_none() {
            let _ = next.url.set_username(request.url.username());
            let _ = next.url.set_password(request.url.password());
        }
    } else {
        let to = next.url.origin();
        let may_send = |name: &HeaderName| credentials::may_send(name, &to, |to| *to == request.url.origin());
        // `RedirectChain` decides which part of the initiator is sent as Referer.
        next.headers.retain(|(name, _)| *name != header::REFERER && may_send(name));
        next.digest = None;
        next.client_certificate = None;
    }
    Ok(Some(next))
}

/// Sets the referrer to the URL that redirected, as curl's `-e ';auto'` does.
pub(crate) fn set_referer(next: &mut Request, from: &Url) {
    let mut page = from.clone();
    credentials::strip_fragment_and_credentials(&mut page);
    next.headers.retain(|(name, _)| *name != header::REFERER);
    if let Ok(page) = HeaderValue::from_str(page.as_str()) {
        next.headers.push((header::REFERER, page));
    }
}

/// Returns the value of `Location`, unless it is empty.
fn location(headers: &HeaderMap) -> Result<Option<&[u8]>> {
    let mut values = headers.get_all(header::LOCATION).iter().map(|value| value.as_bytes().trim_ascii());
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|value| value != first) {
        let message = "the response has several `Location` fields, with different URLs";
        return Err(Error::new(ErrorKind::Redirect, message));
    }
    Ok(Some(first).filter(|value| !value.is_empty()))
}

/// Escapes each byte that is not ASCII by itself, so that text of any encoding keeps its bytes, as in Chromium.
fn escape_non_ascii(value: &[u8]) -> String {
    // Only bytes that are not ASCII are escaped.
    percent_encoding::percent_encode(value, &AsciiSet::EMPTY).to_string()
}

fn shorten(text: &str) -> String {
    let shown: String = text.chars().take(120).collect();
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::Strategy;

    use super::*;

    fn post() -> Request {
        let mut request = Request::get(Url::parse("https://u:p@a.example/form#part").unwrap());
        request.method = Method::POST;
        request.body = Some("x=1".into());
        request.headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
            (header::AUTHORIZATION, HeaderValue::from_static("Bearer t")),
            (HeaderName::from_static("x-api-key"), HeaderValue::from_static("t")),
            (header::ACCEPT, HeaderValue::from_static("*/*")),
        ];
        request
    }

    fn next(status: u16, location: &'static str) -> Result<Option<Request>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static(location));
        next_request(&post(), StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn only_307_and_308_keep_a_post() {
        for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
            let request = next(status, "/next").unwrap().unwrap();
            assert_eq!(request.method.as_str(), method, "{status}");
            assert_eq!(request.body.is_some(), method == "POST", "{status}");
            let has_content_type = request.headers.iter().any(|(name, _)| name == header::CONTENT_TYPE);
            assert_eq!(has_content_type, method == "POST", "{status}");
        }
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let same = next(307, "/next").unwrap().unwrap();
        assert_eq!(same.url.as_str(), "https://u:p@a.example/next#part");
        assert_eq!(same.headers.len(), post().headers.len());
        for elsewhere in
            ["https://b.example/", "http://a.example/", "https://a.example:444/", "https://www.a.example/"]
        {
            let other = next(307, elsewhere).unwrap().unwrap();
            assert!(other.url.username().is_empty(), "{elsewhere}");
            let names: Vec<&HeaderName> = other.headers.iter().map(|(name, _)| name).collect();
            assert_eq!(names, [header::CONTENT_TYPE, header::ACCEPT], "{elsewhere}");
        }
    }

    /// URLs of few origins, so that chains return to earlier ones.
    fn urls() -> impl Strategy<Value = Url> {
        let parts = ("https?", "(a|www[.]a|b)[.]test", "(:8443)?", "/[a-c]?");
        parts.prop_map(|(scheme, host, port, path)| format!("{scheme}://{host}{port}{path}").parse().unwrap())
    }

    proptest::proptest! {
        /// Each redirect leads to another origin or the same; some lead back to the first.
        #[test]
        fn no_redirect_chain_sends_a_secret_to_another_origin(
            first in urls(),
            hops in proptest::collection::vec((urls(), proptest::sample::select(&[301_u16, 302, 303, 307, 308][..])), 0..8),
            name in "(authorization|cookie|proxy-authorization|host|x-[a-z]{1,8}|sec-[a-b]{1,3}|[a-z]{1,3}-key)",
        ) {
            let mut request = Request::get(first.clone());
            let secret: HeaderName = name.parse().unwrap();
            request.headers.push((secret.clone(), HeaderValue::from_static("hunter2")));
            request.headers.push((header::ACCEPT, HeaderValue::from_static("*/*")));
            let mut was_away = false;
            for (to, status) in hops {
                let mut headers = HeaderMap::new();
                headers.insert(header::LOCATION, to.as_str().parse().unwrap());
                request = next_request(&request, StatusCode::from_u16(status).unwrap(), &headers).unwrap().unwrap();
                was_away |= to.origin() != first.origin();
                let has = |name: &HeaderName| request.headers.iter().any(|(own, _)| own == name);
                // The secret is sent while the chain stays on its origin, and not afterwards.
                assert_eq!(has(&secret), !was_away, "{name} at {to}");
                assert!(has(&header::ACCEPT));
            }
        }
    }

    #[test]
    fn responses_that_are_not_redirects_are_ignored() {
        assert!(next(304, "/next").unwrap().is_none());
        assert!(next(200, "/next").unwrap().is_none());
        assert!(next_request(&post(), StatusCode::FOUND, &HeaderMap::new()).unwrap().is_none());
    }

    fn next_to(status: u16, locations: &[&[u8]]) -> Result<Option<String>> {
        let mut headers = HeaderMap::new();
        for location in locations {
            headers.append(header::LOCATION, HeaderValue::from_bytes(location).unwrap());
        }
        let next = next_request(&post(), StatusCode::from_u16(status).unwrap(), &headers)?;
        Ok(next.map(|request| request.url[url::Position::BeforePath..].to_owned()))
    }

    /// The results are those of the installed Chromium.
    #[test]
    fn bytes_of_a_location_are_escaped_one_by_one() {
        for (location, expected) in [
            (&b"/caf\xe9"[..], "/caf%E9#part"),
            (b"/caf\xc3\xa9?q=\xff\xfe", "/caf%C3%A9?q=%FF%FE#part"),
            (b"/s?q=\xd6\xd0\xce\xc4#\xe9", "/s?q=%D6%D0%CE%C4#%E9"),
            (b"/a b/\"c\"", "/a%20b/%22c%22#part"),
            (b"/%zz%e9", "/%zz%e9#part"),
            (b"/a\tb", "/ab#part"),
            (b"\\back\\x", "/back/x#part"),
            (b"?x", "/form?x#part"),
            (b"#x", "/form#x"),
            (b"/a, /b", "/a,%20/b#part"),
            (b"//b\xc3\xbccher.example/\xc3", "/%C3#part"),
        ] {
            assert_eq!(next_to(302, &[location]).unwrap().as_deref(), Some(expected), "{location:?}");
        }
    }

    #[test]
    fn an_empty_location_is_not_a_redirect_and_different_ones_are_an_error() {
        for empty in [&[&b""[..]][..], &[b" \t"], &[b"", b" "]] {
            assert_eq!(next_to(302, empty).unwrap(), None, "{empty:?}");
        }
        assert_eq!(next_to(302, &[b"/a", b" /a"]).unwrap().as_deref(), Some("/a#part"));
        for status in [200, 201, 302] {
            for different in [[&b"/a"[..], b"/b"], [b"", b"/a"], [b"/a", b""]] {
                assert_eq!(
                    next_to(status, &different).unwrap_err().kind(),
                    ErrorKind::Redirect,
                    "{different:?}"
                );
            }
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        for location in ["file:///etc/passwd", "javascript:alert(1)", "ftp://a.example/"] {
            assert_eq!(next(302, location).unwrap_err().kind(), ErrorKind::Redirect, "{location}");
        }
    }
}
