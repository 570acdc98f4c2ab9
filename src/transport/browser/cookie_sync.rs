//! Converts and compares cookies between an identity's jar and its browser context.

use chromiumoxide_cdp::cdp::browser_protocol::network::{
    self, CookieParam, CookiePartitionKey, CookieSameSite, TimeSinceEpoch,
};
use http::header::COOKIE;
use url::Url;

use crate::exchange::registrable_domain::registrable_domain_of_host;
use crate::exchange::request::Request;
use crate::identity::cookies::{Cookie, needs_http_only};

/// Converts the jar's cookie to the browser's form, for a visit of `page`.
pub(super) fn to_browser(cookie: &Cookie, page: &Url) -> CookieParam {
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
    param.partition_key = cookie.partitioned.then(|| own_partition(&host, page));
    param
}

/// Returns the key of the partition in which the site of `host` is the top-level site.
fn own_partition(host: &str, page: &Url) -> CookiePartitionKey {
    let site = site_of(host);
    // A partitioned cookie is Secure. Only this machine may set one over http.
    let is_page = page.host_str().map(site_of) == Some(site);
    let scheme = if is_page { page.scheme() } else { "https" };
    CookiePartitionKey::new(format!("{scheme}://{site}"), false)
}

/// Whether the cookie's site is the top-level site of its partition. In another partition it belongs to an embedded
/// frame.
fn is_in_own_partition(cookie: &network::Cookie, key: &CookiePartitionKey) -> bool {
    let host = cookie.domain.trim_start_matches('.');
    let top = Url::parse(&key.top_level_site).ok();
    let top = top.as_ref().and_then(|url| url.host_str()).map(|host| site_of(host.trim_matches(['[', ']'])));
    !key.has_cross_site_ancestor && top == Some(site_of(host.trim_matches(['[', ']'])))
}

/// Returns the site of a host: its registrable domain, or the whole host.
fn site_of(host: &str) -> &str {
    registrable_domain_of_host(host).unwrap_or(host)
}

/// Converts the browser's cookie to the jar's form. `None` for a cookie in the partition of another site, because it
/// belongs to an embedded frame.
pub(super) fn from_browser(cookie: &network::Cookie) -> Option<Cookie> {
    let is_foreign = |key: &CookiePartitionKey| !is_in_own_partition(cookie, key);
    if cookie.partition_key_opaque == Some(true) || cookie.partition_key.as_ref().is_some_and(is_foreign) {
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
    own.partitioned = cookie.partition_key.is_some();
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
        let page = "https://site.example/".parse().unwrap();
        let param = to_browser(&cookie, &page);
        assert_eq!((param.url.as_deref(), param.domain), (Some("http://site.example/"), None));
        cookie.host_only = false;
        cookie.secure = true;
        cookie.same_site = Some("Lax".to_owned());
        let param = to_browser(&cookie, &page);
        assert_eq!(param.url.as_deref(), Some("https://site.example/"));
        assert_eq!(param.domain.as_deref(), Some(".site.example"));
        assert_eq!(param.same_site, Some(CookieSameSite::Lax));
    }

    #[test]
    fn a_partitioned_cookie_moves_only_in_the_partition_of_its_own_site() {
        let cookie = |key: &str| {
            let text = format!(
                r#"{{"name":"a","value":"1","domain":".www.site.example","path":"/","expires":-1,"size":2,
                    "httpOnly":true,"secure":true,"session":true,"priority":"Medium","sameParty":false,
                    "sourceScheme":"Secure","sourcePort":443{key}}}"#
            );
            from_browser(&serde_json::from_str(&text).unwrap()).map(|cookie| cookie.partitioned)
        };
        let key = |site: &str, crossed: bool| {
            format!(r#","partitionKey":{{"topLevelSite":"{site}","hasCrossSiteAncestor":{crossed}}}"#)
        };
        assert_eq!(cookie(""), Some(false));
        assert_eq!(cookie(&key("https://site.example", false)), Some(true));
        assert_eq!(cookie(&key("https://site.example", true)), None, "of a frame inside another site");
        assert_eq!(cookie(&key("https://other.example", true)), None);
        assert_eq!(cookie(&key("https://other.example", false)), None, "of a request by another site");
        assert_eq!(cookie(&key("", false)), None);
        assert_eq!(cookie(r#","partitionKeyOpaque":true"#), None);

        let mut cookie = Cookie::session("a", "1", "www.site.example");
        cookie.partitioned = true;
        for (page, want) in [
            ("https://shop.site.example/", "https://site.example"),
            ("http://other.example/", "https://site.example"),
        ] {
            let param = to_browser(&cookie, &page.parse().unwrap());
            assert_eq!(param.partition_key.map(|key| key.top_level_site).as_deref(), Some(want), "{page}");
        }
        cookie = Cookie::session("a", "1", "127.0.0.1");
        cookie.partitioned = true;
        let key = to_browser(&cookie, &"http://127.0.0.1:81/".parse().unwrap()).partition_key.unwrap();
        assert_eq!((key.top_level_site.as_str(), key.has_cross_site_ancestor), ("http://127.0.0.1", false));
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
