//! Converts and compares cookies between an identity's jar and its browser context.

use chromiumoxide::cdp::browser_protocol::network::{self, CookieParam, CookieSameSite, TimeSinceEpoch};
use http::header::COOKIE;
use url::Url;

use crate::cookies::{Cookie, needs_http_only};
use crate::request::Request;

/// Converts the jar's cookie to the browser's form.
pub(super) fn to_browser(cookie: &Cookie) -> CookieParam {
    let scheme = if cookie.secure { "https" } else { "http" };
    let host =
        if cookie.domain.contains(':') { format!("[{}]", cookie.domain) } else { cookie.domain.clone() };
    let mut param = CookieParam::new(cookie.name.clone(), cookie.value.clone());
    param.url = Some(format!("{scheme}://{host}{}", cookie.path));
    // Without a domain, the browser creates a host-only cookie from the URL.
    param.domain = (!cookie.host_only).then(|| format!(".{}", cookie.domain));
    param.path = Some(cookie.path.clone());
    param.secure = Some(cookie.secure);
    param.http_only = Some(cookie.http_only);
    param.same_site = cookie.same_site.as_deref().and_then(|site| site.parse().ok());
    #[expect(clippy::cast_precision_loss, reason = "a date is far below 2^53 seconds")]
    let expires = cookie.expires.map(|at| TimeSinceEpoch::new(at as f64));
    param.expires = expires;
    param
}

/// Converts the browser's cookie to the jar's form. `None` for a partitioned cookie, which belongs to an
/// embedded frame.
pub(super) fn from_browser(cookie: &network::Cookie) -> Option<Cookie> {
    if cookie.partition_key.is_some() || cookie.partition_key_opaque == Some(true) {
        return None;
    }
    let domain = cookie.domain.trim_start_matches('.');
    let mut own = Cookie::session(cookie.name.clone(), cookie.value.clone(), domain);
    own.host_only = !cookie.domain.starts_with('.');
    own.path.clone_from(&cookie.path);
    #[expect(clippy::cast_possible_truncation, reason = "Chromium caps expiry at 400 days")]
    let expires = (!cookie.session && cookie.expires >= 0.0).then_some(cookie.expires as i64);
    own.expires = expires;
    own.secure = cookie.secure;
    own.http_only = cookie.http_only;
    own.same_site = cookie.same_site.as_ref().map(|site| {
        match site {
            CookieSameSite::Strict => "Strict",
            CookieSameSite::Lax => "Lax",
            CookieSameSite::None => "None",
        }
        .to_owned()
    });
    Some(own)
}

/// Returns the cookies of the caller's own Cookie header, for the request's host.
pub(super) fn from_request(request: &Request) -> Vec<Cookie> {
    let host = request.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let mut cookies = Vec::new();
    for (_, value) in request.headers.iter().filter(|(name, _)| *name == COOKIE) {
        let Ok(text) = value.to_str() else { continue };
        for pair in text.split(';') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !name.trim().is_empty() {
                let mut cookie = Cookie::session(name.trim(), value.trim(), host);
                cookie.secure = request.url.scheme() == "https";
                cookie.http_only = needs_http_only(&cookie.name);
                cookies.push(cookie);
            }
        }
    }
    cookies
}

/// Returns the cookies that no list in `before` contains with the same attributes.
pub(super) fn unknown_cookies(cookies: &[Cookie], before: &[&[Cookie]]) -> Vec<Cookie> {
    let is_new = |cookie: &&Cookie| before.iter().all(|list| !list.contains(cookie));
    cookies.iter().filter(is_new).cloned().collect()
}

/// Returns the cookies of `before` that are missing in `now`. Values are not compared.
pub(super) fn removed_cookies(before: &[Cookie], now: &[Cookie]) -> Vec<Cookie> {
    let is_gone = |cookie: &&Cookie| now.iter().all(|other| !is_same(cookie, other));
    before.iter().filter(is_gone).cloned().collect()
}

/// Whether two cookies have the same name, domain and path, so that one replaces the other. A host-only cookie does not
/// replace one for subdomains.
pub(super) fn is_same(one: &Cookie, other: &Cookie) -> bool {
    (&one.name, &one.domain, &one.path, one.host_only)
        == (&other.name, &other.domain, &other.path, other.host_only)
}

/// Replaces the cookie with this name, domain and path by `new`, or removes it.
pub(super) fn update(list: &mut Vec<Cookie>, cookie: &Cookie, new: Option<&Cookie>) {
    list.retain(|other| !is_same(other, cookie));
    list.extend(new.cloned());
}

/// Returns the cookie with an expiry in the past, which makes the browser delete it.
pub(super) fn expired(cookie: &Cookie) -> Cookie {
    let mut cookie = cookie.clone();
    cookie.expires = Some(1);
    cookie.value.clear();
    cookie
}

/// Whether a browser's cookie is one that the caller set for this request only. Without a URL, compares domains.
pub(super) fn is_request_cookie(cookie: &Cookie, request_cookies: &[Cookie], url: Option<&Url>) -> bool {
    request_cookies.iter().any(|own| {
        let is_here = match url {
            Some(url) => url.host_str() == Some(&cookie.domain),
            None => own.domain == cookie.domain,
        };
        own.name == cookie.name && own.value == cookie.value && is_here
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_keeps_its_scope_in_the_browser() {
        let mut cookie = Cookie::session("a", "1", "site.example");
        let param = to_browser(&cookie);
        assert_eq!((param.url.as_deref(), param.domain), (Some("http://site.example/"), None));
        cookie.host_only = false;
        cookie.secure = true;
        cookie.same_site = Some("Lax".to_owned());
        let param = to_browser(&cookie);
        assert_eq!(param.url.as_deref(), Some("https://site.example/"));
        assert_eq!(param.domain.as_deref(), Some(".site.example"));
        assert_eq!(param.same_site, Some(CookieSameSite::Lax));
    }

    #[test]
    fn a_cookie_header_is_read_pair_by_pair() {
        let mut request = Request::get("http://site.example/".parse().unwrap());
        request.headers.push((COOKIE, "a=1; b=x=y;; c".parse().unwrap()));
        let pairs: Vec<_> = from_request(&request).into_iter().map(|c| (c.name, c.value)).collect();
        let want = [("a", "1"), ("b", "x=y"), ("c", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(pairs, want);
    }

    #[test]
    fn a_cookie_is_gone_when_no_cookie_of_its_name_is_left() {
        let [a, renewed, b] = [("a", "1"), ("a", "2"), ("b", "1")]
            .map(|(name, value)| Cookie::session(name, value, "site.example"));
        assert_eq!(
            removed_cookies(&[a.clone(), b.clone()], std::slice::from_ref(&renewed)),
            std::slice::from_ref(&b)
        );
        let mut list = vec![a.clone(), b.clone()];
        update(&mut list, &a, Some(&renewed));
        update(&mut list, &b, None);
        assert_eq!(list, [renewed]);
    }

    #[test]
    fn only_new_cookies_are_unknown() {
        let old = Cookie::session("a", "1", "site.example");
        let new = Cookie::session("a", "2", "site.example");
        assert_eq!(unknown_cookies(&[old.clone(), new.clone()], &[&[], &[old]]), [new]);
    }
}
