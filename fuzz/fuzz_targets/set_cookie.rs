//! Stores any bytes as Set-Cookie headers, one per line, of several hosts over https and http.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rungs::{Cookie, CookieJar};
use url::Url;

/// A host that sets cookies, and the registrable domain that it shares with others. Empty: it shares none.
const HOSTS: [(&str, &str); 7] = [
    ("shop.example.co.uk", "example.co.uk"),
    ("x.city.kawasaki.jp", "city.kawasaki.jp"),
    ("kawasaki.jp", ""),
    ("b.kawasaki.jp", ""),
    ("a.b.kawasaki.jp", "a.b.kawasaki.jp"),
    ("user.github.io", "user.github.io"),
    ("github.io", ""),
];

/// Hosts that belong to none of the sites above.
const STRANGERS: [&str; 8] = [
    "example.co.uk.evil.com",
    "other.co.uk",
    "co.uk",
    "uk",
    "c.b.kawasaki.jp",
    "d.kawasaki.jp",
    "other.github.io",
    "notgithub.io",
];

fuzz_target!(|bytes: &[u8]| {
    let values: Vec<_> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| http::HeaderValue::from_bytes(line).ok())
        .collect();
    let at = |scheme: &str, host: &str| Url::parse(&format!("{scheme}://{host}/a/b")).expect("a valid URL");
    for (host, site) in HOSTS {
        let jar = CookieJar::default();
        jar.store(&at("https", host), &values);
        let encrypted = jar.list();
        for cookie in &encrypted {
            check(cookie, host, site);
        }
        for stranger in STRANGERS.iter().filter(|other| **other != host) {
            assert!(jar.pairs(&at("https", stranger)).is_empty(), "{stranger} is another site than {host}");
        }
        // Responses over http leave Secure cookies as they are, and Secure cookies are not sent over http.
        jar.store(&at("http", host), &values);
        let kept = jar.list();
        // One with an expiry may end between the two.
        let lasting = encrypted.iter().filter(|cookie| cookie.secure && cookie.expires.is_none());
        assert!(lasting.into_iter().all(|cookie| kept.contains(cookie)));
        let fresh = CookieJar::default();
        fresh.store(&at("http", host), &values);
        assert!(fresh.list().iter().all(|cookie| !cookie.secure));
        // A cookie that is written to a file and read again keeps its scope.
        let copy = CookieJar::default();
        kept.iter().for_each(|cookie| copy.insert(cookie));
        copy.list().iter().for_each(|cookie| check(cookie, host, site));
        for stranger in STRANGERS.iter().filter(|other| **other != host) {
            assert!(copy.pairs(&at("https", stranger)).is_empty(), "{stranger} is another site than {host}");
        }
    }
});

fn check(cookie: &Cookie, host: &str, site: &str) {
    assert!(cookie.name.len() + cookie.value.len() <= 4096, "{cookie:?}");
    assert!(!cookie.value.contains(['\r', '\n', '\t', '\0', ';']), "{cookie:?}");
    let is_within =
        |name: &str| name == site || name.strip_suffix(site).is_some_and(|sub| sub.ends_with('.'));
    let is_own = cookie.domain == host && (cookie.host_only || !site.is_empty());
    assert!(is_own || (!site.is_empty() && is_within(&cookie.domain)), "{cookie:?} of {host}");
    let name = if cookie.name.is_empty() { cookie.value.trim_start() } else { &cookie.name };
    let name = name.to_ascii_lowercase();
    let prefixed = ["__secure-", "__host-", "__http-"].iter().any(|prefix| name.starts_with(prefix));
    assert!(!prefixed || (cookie.secure && !cookie.name.is_empty()), "{cookie:?}");
    if name.starts_with("__host-") {
        assert!(cookie.host_only && cookie.path == "/", "{cookie:?}");
    }
    if name.starts_with("__http-") || name.starts_with("__host-http-") {
        assert!(cookie.http_only, "{cookie:?}");
    }
    assert!(cookie.secure || cookie.same_site.as_deref() != Some("None"), "{cookie:?}");
}
