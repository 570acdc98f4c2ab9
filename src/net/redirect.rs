//! Where a redirect leads, and what of the request goes along. Pure.

use http::{HeaderMap, Method, StatusCode, header};

use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::redact;
use crate::request::Request;

/// The request that follows `request`'s answer, or `None` when the answer is no redirect.
///
/// 303 always, and 301 and 302 after a POST, turn into a GET without a body; 307 and 308 keep all
/// (RFC 9110, section 15.4, as browsers apply it). Credentials do not cross origins.
///
/// # Errors
/// [`ErrorKind::Redirect`] when it leads to something that is not http or https.
pub(crate) fn follow(request: &Request, status: StatusCode, headers: &HeaderMap) -> Result<Option<Request>> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = headers.get(header::LOCATION) else { return Ok(None) };
    let text = String::from_utf8_lossy(location.as_bytes());
    let mut url = request.url.join(&text).map_err(|cause| {
        Error::new(
            ErrorKind::Redirect,
            format!("redirected to a malformed URL `{}`", shorten(&redact::url_text(&text))),
        )
        .with_source(cause)
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        let message = format!("redirected to the scheme `{}`, which is not followed", url.scheme());
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
        // A URL in Location has no credentials of its own: the same server keeps hearing ours.
        if next.url.username().is_empty() && next.url.password().is_none() {
            let _ = next.url.set_username(request.url.username());
            let _ = next.url.set_password(request.url.password());
        }
    } else {
        next.headers.retain(|(name, _)| {
            !matches!(
                *name,
                header::AUTHORIZATION
                    | header::COOKIE
                    | header::PROXY_AUTHORIZATION
                    | header::HOST
                    // The journey tells what may still be said of it.
                    | header::REFERER
            )
        });
    }
    Ok(Some(next))
}

fn shorten(text: &str) -> String {
    let shown: String = text.chars().take(120).collect();
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use url::Url;

    use super::*;

    fn post() -> Request {
        let mut request = Request::get(Url::parse("https://u:p@a.example/form#part").unwrap());
        request.method = Method::POST;
        request.body = Some("x=1".into());
        request.headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
            (header::AUTHORIZATION, HeaderValue::from_static("Bearer t")),
            (header::ACCEPT, HeaderValue::from_static("*/*")),
        ];
        request
    }

    fn next(status: u16, location: &'static str) -> Result<Option<Request>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static(location));
        follow(&post(), StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn only_307_and_308_keep_a_post() {
        for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
            let request = next(status, "/next").unwrap().unwrap();
            assert_eq!(request.method.as_str(), method, "{status}");
            assert_eq!(request.body.is_some(), method == "POST", "{status}");
            let typed = request.headers.iter().any(|(name, _)| name == header::CONTENT_TYPE);
            assert_eq!(typed, method == "POST", "{status}");
        }
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let same = next(307, "/next").unwrap().unwrap();
        assert_eq!(same.url.as_str(), "https://u:p@a.example/next#part");
        assert!(same.headers.iter().any(|(name, _)| name == header::AUTHORIZATION));
        for elsewhere in ["https://b.example/", "http://a.example/", "https://a.example:444/"] {
            let other = next(307, elsewhere).unwrap().unwrap();
            assert!(other.url.username().is_empty(), "{elsewhere}");
            assert!(!other.headers.iter().any(|(name, _)| name == header::AUTHORIZATION), "{elsewhere}");
            assert!(other.headers.iter().any(|(name, _)| name == header::ACCEPT), "{elsewhere}");
        }
    }

    #[test]
    fn what_is_no_redirect_is_left_alone() {
        assert!(next(304, "/next").unwrap().is_none());
        assert!(next(200, "/next").unwrap().is_none());
        assert!(follow(&post(), StatusCode::FOUND, &HeaderMap::new()).unwrap().is_none());
    }

    #[test]
    fn other_schemes_are_refused() {
        for location in ["file:///etc/passwd", "javascript:alert(1)", "ftp://a.example/"] {
            assert_eq!(next(302, location).unwrap_err().kind(), ErrorKind::Redirect, "{location}");
        }
    }
}
