//! The cookie jar of an identity: public-suffix aware, bounded, in a browser's order.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use cookie_store::{CookieDomain, CookieExpiration, CookieStore, RawCookie};
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::lock::lock;

/// A cookie with all its attributes, as it moves between the HTTP tiers, the browser and files.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value. Never printed by `Debug`.
    pub value: String,
    /// The domain without a leading dot.
    pub domain: String,
    /// Whether it goes to this host only, not to hosts below it.
    pub host_only: bool,
    /// The path it is for.
    pub path: String,
    /// When it ends, in seconds since 1970; `None` for a session cookie.
    pub expires: Option<i64>,
    /// Whether it goes over https only.
    pub secure: bool,
    /// Whether scripts cannot see it.
    pub http_only: bool,
    /// `Strict`, `Lax` or `None`, when the site said so.
    pub same_site: Option<String>,
}

impl Cookie {
    /// A host-only session cookie for the whole of `host`.
    #[must_use]
    pub fn session(name: impl Into<String>, value: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            domain: host.into(),
            host_only: true,
            path: "/".to_owned(),
            expires: None,
            secure: false,
            http_only: false,
            same_site: None,
        }
    }

    /// Whether it goes to `host`: its own, or a parent's that shares it.
    pub(crate) fn reaches(&self, host: &str) -> bool {
        let host = host.trim_matches(['[', ']']);
        self.domain == host
            || (!self.host_only && host.strip_suffix(&self.domain).is_some_and(|sub| sub.ends_with('.')))
    }

    /// The URL this cookie may be set from: storage wants one.
    fn url(&self) -> Option<Url> {
        let scheme = if self.secure { "https" } else { "http" };
        let host = if self.domain.contains(':') { format!("[{}]", self.domain) } else { self.domain.clone() };
        Url::parse(&format!("{scheme}://{host}/")).ok()
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({}=*** for {}{})", self.name, self.domain, self.path)
    }
}

/// Cookies of one identity. Cheap to share; every call locks for its own length only.
#[derive(Default)]
pub struct Jar(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    store: CookieStore,
    /// When each cookie was first set: browsers send older ones first among equal paths.
    created: HashMap<Place, u64>,
    clock: u64,
    /// Those the caller put in: they are the caller's secrets, whatever the site makes of them.
    given: HashSet<Place>,
}

/// Domain, path and name.
type Place = (String, String, String);

impl Jar {
    /// Takes over what one answer from `url` sets. What is malformed, too large, for a foreign
    /// domain or for a public suffix is dropped, as browsers do.
    pub fn store<'a>(&self, url: &Url, set_cookie: impl IntoIterator<Item = &'a HeaderValue>) {
        let mut inner = self.lock();
        for value in set_cookie {
            let Some(raw) = std::str::from_utf8(value.as_bytes()).ok().and_then(|text| parse(text, url))
            else {
                tracing::debug!(host = url.host_str(), "dropped a cookie that cannot be stored");
                continue;
            };
            inner.insert(&raw, url);
        }
    }

    /// Puts in one cookie of the caller's own. The host memory never writes it down.
    pub fn put(&self, cookie: &Cookie) {
        self.lock().given.insert(place(cookie));
        self.earn(cookie);
    }

    /// Puts in one cookie that the site gave.
    pub(crate) fn earn(&self, cookie: &Cookie) {
        let Some(url) = cookie.url() else { return };
        let mut raw = RawCookie::new(cookie.name.clone(), cookie.value.clone());
        raw.set_path(cookie.path.clone());
        raw.set_secure(cookie.secure);
        raw.set_http_only(cookie.http_only);
        raw.set_same_site(match cookie.same_site.as_deref() {
            Some("Strict") => Some(cookie::SameSite::Strict),
            Some("Lax") => Some(cookie::SameSite::Lax),
            Some("None") => Some(cookie::SameSite::None),
            _ => None,
        });
        if !cookie.host_only {
            raw.set_domain(cookie.domain.clone());
        }
        if let Some(seconds) = cookie.expires {
            let Ok(at) = cookie::time::OffsetDateTime::from_unix_timestamp(seconds) else { return };
            raw.set_expires(at);
        }
        self.lock().insert(&raw, &url);
    }

    /// The name-value pairs for a request to `url`, longest path first, then oldest first.
    #[must_use]
    pub fn pairs(&self, url: &Url) -> Vec<(String, String)> {
        let inner = self.lock();
        let mut found: Vec<_> = inner
            .store
            .matches(url)
            .into_iter()
            .map(|cookie| {
                let path = String::from(&cookie.path);
                let key = (String::from(&cookie.domain), path, cookie.name().to_owned());
                let age = inner.created.get(&key).copied().unwrap_or(u64::MAX);
                (std::cmp::Reverse(key.1.len()), age, key.2, cookie.value().to_owned())
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, _, name, value)| (name, value)).collect()
    }

    /// The cookies of the caller's own, as they are now.
    pub(crate) fn given(&self) -> Vec<Cookie> {
        let mut cookies = self.list();
        let inner = self.lock();
        cookies.retain(|cookie| inner.given.contains(&place(cookie)));
        cookies
    }

    /// The cookies that go to `host`, without those of the caller's own.
    pub(crate) fn earned(&self, host: &str) -> Vec<Cookie> {
        let mut cookies = self.list();
        let inner = self.lock();
        cookies.retain(|cookie| cookie.reaches(host) && !inner.given.contains(&place(cookie)));
        cookies
    }

    /// The caller's own cookies that go to `host`.
    pub(crate) fn given_for(&self, host: &str) -> Vec<Cookie> {
        let mut cookies = self.list();
        let inner = self.lock();
        cookies.retain(|cookie| cookie.reaches(host) && inner.given.contains(&place(cookie)));
        cookies
    }

    /// All cookies that have not expired.
    #[must_use]
    pub fn list(&self) -> Vec<Cookie> {
        let inner = self.lock();
        let mut all: Vec<(u64, Cookie)> = inner
            .store
            .iter_unexpired()
            .filter_map(|cookie| {
                let (domain, host_only) = match &cookie.domain {
                    CookieDomain::HostOnly(host) => (host.clone(), true),
                    CookieDomain::Suffix(domain) => (domain.clone(), false),
                    CookieDomain::NotPresent | CookieDomain::Empty => return None,
                };
                let path = String::from(&cookie.path);
                let key = (String::from(&cookie.domain), path.clone(), cookie.name().to_owned());
                let age = inner.created.get(&key).copied().unwrap_or(u64::MAX);
                let expires = match cookie.expires {
                    CookieExpiration::AtUtc(at) => Some(at.unix_timestamp()),
                    CookieExpiration::SessionEnd => None,
                };
                Some((
                    age,
                    Cookie {
                        name: cookie.name().to_owned(),
                        value: cookie.value().to_owned(),
                        domain,
                        host_only,
                        path,
                        expires,
                        secure: cookie.secure().unwrap_or(false),
                        http_only: cookie.http_only().unwrap_or(false),
                        same_site: cookie.same_site().map(|site| site.to_string()),
                    },
                ))
            })
            .collect();
        all.sort_by_key(|(age, _)| *age);
        all.into_iter().map(|(_, cookie)| cookie).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jar(***)")
    }
}

impl Inner {
    fn insert(&mut self, raw: &RawCookie<'_>, url: &Url) {
        let Ok(cookie) = cookie_store::Cookie::try_from_raw_cookie(raw, url) else { return };
        let cookie = cookie.into_owned();
        let key = (String::from(&cookie.domain), String::from(&cookie.path), cookie.name().to_owned());
        match self.store.insert(cookie, url) {
            Ok(cookie_store::StoreAction::Inserted) => {
                self.clock += 1;
                self.created.insert(key, self.clock);
                self.shrink();
            }
            Ok(cookie_store::StoreAction::UpdatedExisting) => {}
            Ok(cookie_store::StoreAction::ExpiredExisting) => {
                self.created.remove(&key);
                self.store.remove(&key.0, &key.1, &key.2);
            }
            Err(cause) => tracing::debug!(host = url.host_str(), %cause, "dropped a cookie"),
        }
    }

    /// Drops the oldest cookies when a hostile site floods the jar.
    fn shrink(&mut self) {
        while self.created.len() > MAX_COOKIES {
            let Some(oldest) = self.created.iter().min_by_key(|(_, age)| **age).map(|(key, _)| key.clone())
            else {
                return;
            };
            self.created.remove(&oldest);
            self.store.remove(&oldest.0, &oldest.1, &oldest.2);
        }
    }
}

fn place(cookie: &Cookie) -> Place {
    (cookie.domain.clone(), cookie.path.clone(), cookie.name.clone())
}

/// Parses one Set-Cookie value under a browser's rules of size, prefix and domain.
fn parse(text: &str, url: &Url) -> Option<RawCookie<'static>> {
    let mut raw = RawCookie::parse(text.to_owned()).ok()?;
    if raw.name().len() + raw.value().len() > MAX_PAIR {
        return None;
    }
    let secure_origin = url.scheme() == "https";
    if raw.secure() == Some(true) && !secure_origin {
        return None;
    }
    let name = raw.name();
    if name.starts_with("__Secure-") && raw.secure() != Some(true) {
        return None;
    }
    if name.starts_with("__Host-")
        && (raw.secure() != Some(true) || raw.domain().is_some() || raw.path() != Some("/"))
    {
        return None;
    }
    let host = url.host_str()?;
    let domain = raw.domain().map(|domain| domain.trim_start_matches('.').to_ascii_lowercase());
    // Whoever reads it next may trim what hides a public suffix here: `Domain=. co.uk`.
    if domain.as_ref().is_some_and(|domain| !domain.bytes().all(is_of_host)) {
        return None;
    }
    match domain {
        Some(domain)
            if (domain.is_empty() || domain == host)
            // A host that is itself a public suffix, or an address, keeps its cookies to itself.
            && (is_public_suffix(host) || url.domain().is_none()) =>
        {
            raw.unset_domain();
        }
        Some(domain) if is_public_suffix(&domain) => return None,
        _ => {}
    }
    Some(raw)
}

/// Whether a host, or an address, may have this byte.
const fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
}

/// Whether cookies for `domain` would be shared between unrelated sites. An unknown single label
/// (`localhost`, `test`) counts as one, a private suffix (`github.io`) too.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.as_bytes() == domain.as_bytes())
}

/// Chrome's bound on name plus value.
const MAX_PAIR: usize = 4096;
/// Chrome's bound on all cookies of a profile.
const MAX_COOKIES: usize = 3000;

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(url: &str, set: &[&str]) -> Jar {
        let jar = Jar::default();
        let values: Vec<HeaderValue> = set.iter().map(|text| text.parse().unwrap()).collect();
        jar.store(&Url::parse(url).unwrap(), &values);
        jar
    }

    fn sent(jar: &Jar, url: &str) -> String {
        let pairs = jar.pairs(&Url::parse(url).unwrap());
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn longest_path_first_then_oldest_first() {
        let jar = jar("https://www.site.example/a/b", &["z=1; Path=/", "a=2; Path=/", "deep=3; Path=/a"]);
        assert_eq!(sent(&jar, "https://www.site.example/a/b"), "deep=3; z=1; a=2");
        assert_eq!(sent(&jar, "https://www.site.example/c"), "z=1; a=2");
    }

    #[test]
    fn an_updated_cookie_keeps_its_place() {
        let jar = jar("https://site.example/", &["a=1", "b=2", "a=3"]);
        assert_eq!(sent(&jar, "https://site.example/"), "a=3; b=2");
    }

    #[test]
    fn public_suffixes_and_foreign_domains_are_refused() {
        let jar = jar(
            "https://shop.site.co.uk/",
            &[
                "a=1; Domain=co.uk",
                "b=2; Domain=other.example",
                "c=3; Domain=site.co.uk",
                "d=4; Domain=uk",
                "e=5; Domain=.   co.uk",
                "f=6; Domain=.\tco.uk",
                "g=7; Domain=\". co.uk\"",
            ],
        );
        assert_eq!(sent(&jar, "https://www.site.co.uk/"), "c=3");
        assert_eq!(sent(&jar, "https://else.co.uk/"), "");
    }

    #[test]
    fn prefixes_and_secure_are_enforced() {
        let plain = jar("http://site.example/", &["a=1; Secure", "__Host-b=2; Path=/", "c=3"]);
        assert_eq!(sent(&plain, "http://site.example/"), "c=3");
        let tls = jar("https://site.example/", &["a=1; Secure", "__Host-b=2; Path=/; Secure"]);
        assert_eq!(sent(&tls, "https://site.example/"), "a=1; __Host-b=2");
        assert_eq!(sent(&tls, "http://site.example/"), "");
    }

    #[test]
    fn an_expired_cookie_is_gone() {
        let jar = jar("https://site.example/", &["a=1", "b=2", "a=; Max-Age=0"]);
        assert_eq!(sent(&jar, "https://site.example/"), "b=2");
    }

    #[test]
    fn cookies_survive_the_way_to_the_browser_and_back() {
        let first = jar(
            "https://www.site.example/",
            &["a=1; Domain=site.example; Secure; HttpOnly; SameSite=Lax; Max-Age=1000", "b=2"],
        );
        let second = Jar::default();
        for cookie in first.list() {
            second.put(&cookie);
        }
        assert_eq!(first.list(), second.list());
        assert_eq!(sent(&second, "https://www.site.example/"), "a=1; b=2");
    }

    #[test]
    fn a_flood_is_bounded() {
        let jar = Jar::default();
        let url = Url::parse("https://site.example/").unwrap();
        for i in 0..(MAX_COOKIES + 5) {
            jar.store(&url, &[format!("c{i}=1").parse::<HeaderValue>().unwrap()]);
        }
        assert_eq!(jar.list().len(), MAX_COOKIES);
    }

    #[test]
    fn what_the_caller_gave_is_not_earned_even_when_the_site_renews_it() {
        let jar = jar("https://www.site.example/", &["a=1; Domain=site.example", "b=2", "c=3; Path=/deep"]);
        jar.put(&Cookie::session("login", "hunter2", "www.site.example"));
        jar.store(
            &Url::parse("https://www.site.example/").unwrap(),
            &["login=renewed".parse::<HeaderValue>().unwrap()],
        );
        let earned = |host| jar.earned(host).into_iter().map(|cookie| cookie.name).collect::<Vec<_>>();
        assert_eq!(earned("www.site.example"), ["a", "b", "c"]);
        assert_eq!(earned("site.example"), ["a"]);
        assert!(earned("other.example").is_empty());
    }

    #[test]
    fn debug_shows_no_value() {
        let jar = jar("https://site.example/", &["a=hunter2"]);
        assert!(!format!("{jar:?} {:?}", jar.list()).contains("hunter2"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 2_000, ..Default::default() })]
        /// The body of the fuzz target `set_cookie`.
        #[test]
        fn whatever_is_set_is_bounded_and_goes_to_its_site_alone(
            bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200),
            attributes in "[ ;=,]?(Domain=[.]?[ ]{0,2}(co.uk|uk|example.co.uk)|Domain|Path|Expires|Max-Age|Secure|SameSite|__Host-a)?[=; ]{0,2}[a-z0-9.:/,; -]{0,40}",
            raw in proptest::bool::ANY,
        ) {
            let line = if raw { bytes } else { format!("n=v;{attributes}").into_bytes() };
            let Ok(value) = HeaderValue::from_bytes(&line) else { return Ok(()) };
            let jar = Jar::default();
            let site = Url::parse("https://shop.example.co.uk/a/b").unwrap();
            jar.store(&site, [&value]);
            for other in ["https://example.co.uk.evil.com/a/b", "https://other.co.uk/a/b", "https://co.uk/a/b"] {
                assert!(jar.pairs(&Url::parse(other).unwrap()).is_empty(), "{other}: {value:?}");
            }
            for cookie in jar.list() {
                assert!(cookie.name.len() + cookie.value.len() <= 4096);
                assert!(!cookie.value.contains(['\r', '\n', '\0', ';']), "{value:?}");
            }
        }
    }
}
