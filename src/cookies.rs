//! The cookie jar of an identity: aware of public suffixes, limited in size, in the order of a browser.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::iter::successors;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cookie_store::{CookieDomain, CookieExpiration, CookieStore, RawCookie};
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::sync::lock_unpoisoned;

/// A cookie with all its attributes, for the HTTP tiers, the browser and files.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cookie {
    /// The name.
    pub name: String,
    /// The value. `Debug` never prints it.
    pub value: String,
    /// The domain without a leading dot, an IPv6 address without brackets.
    pub domain: String,
    /// Whether it is sent to this host only, not to subdomains.
    pub host_only: bool,
    /// The path.
    pub path: String,
    /// The expiry in seconds since 1970; `None` for a session cookie.
    pub expires: Option<i64>,
    /// Whether it is sent over https only.
    pub secure: bool,
    /// Whether it is hidden from scripts.
    pub http_only: bool,
    /// `Strict`, `Lax` or `None`, if the site set the attribute.
    pub same_site: Option<String>,
}

impl Cookie {
    /// Creates a host-only session cookie for all paths of `host`. An IPv6 address may have brackets.
    #[must_use]
    pub fn session(name: impl Into<String>, value: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            domain: strip_brackets(&host.into()).to_owned(),
            host_only: true,
            path: "/".to_owned(),
            expires: None,
            secure: false,
            http_only: false,
            same_site: None,
        }
    }

    /// Whether it is sent to `host`: its own host, or a subdomain unless it is host-only.
    pub(crate) fn matches_host(&self, host: &str) -> bool {
        let host = strip_brackets(host);
        self.domain == host
            || (!self.host_only && host.strip_suffix(&self.domain).is_some_and(|sub| sub.ends_with('.')))
    }

    /// Returns a URL that may set this cookie, as `cookie_store` requires one.
    fn origin_url(&self) -> Option<Url> {
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

/// The cookies of one identity. Each call takes the lock only while it runs.
///
/// The caller's cookies belong to the session. The jars of its identities share them, so a change by the site on one
/// tier applies to all tiers. Cookies that a site set belong to one identity, because a site must not see the same
/// session cookie with two user agents.
#[derive(Default)]
pub struct CookieJar {
    own: Mutex<Inner>,
    given: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// By domain, so that a lookup only reads the stores of a host and its parents.
    stores: HashMap<String, CookieStore>,
    /// When each cookie was created: among equal paths, browsers send older cookies first.
    created: HashMap<Arc<CookieId>, u64>,
    /// The cookies by creation time, for eviction of the oldest.
    by_age: BTreeMap<u64, Arc<CookieId>>,
    /// When each cookie got its current value.
    changed: HashMap<CookieId, u64>,
    /// When the site deleted each deleted cookie.
    deleted: HashMap<CookieId, u64>,
    /// The caller's cookies. They are the caller's secrets even after the site changes them. Set in the shared part
    /// only.
    keys: HashSet<CookieId>,
}

/// Domain, path and name.
type CookieId = (String, String, String);

/// A cookie in the store.
type StoredCookie = cookie_store::Cookie<'static>;

impl CookieJar {
    /// Creates an empty jar that shares the caller's cookies of this one.
    pub(crate) fn with_same_given(&self) -> Self {
        Self { own: Mutex::default(), given: Arc::clone(&self.given) }
    }

    /// Stores the cookies that a response from `url` sets. As in browsers, a cookie is dropped if it is malformed, too
    /// large, for a foreign domain or for a public suffix.
    pub fn store<'a>(&self, url: &Url, set_cookie: impl IntoIterator<Item = &'a HeaderValue>) {
        for value in set_cookie {
            let Some(raw) =
                std::str::from_utf8(value.as_bytes()).ok().and_then(|text| parse_set_cookie(text, url))
            else {
                tracing::debug!(host = url.host_str(), "dropping an invalid cookie");
                continue;
            };
            if url.scheme() != "https" && self.replaces_secure(&raw, url) {
                tracing::debug!(host = url.host_str(), "dropped a cookie that would replace a Secure one");
                continue;
            }
            self.insert_raw(&raw, url);
        }
    }

    /// Adds one cookie of the caller. Every tier of the session sends it. Host memory never stores it.
    pub fn insert(&self, cookie: &Cookie) {
        let key = cookie_id(cookie);
        let mut given = lock_unpoisoned(&self.given);
        given.keys.insert(key.clone());
        drop(given);
        lock_unpoisoned(&self.own).remove(&key);
        self.insert_from_site(cookie);
    }

    /// Adds one cookie that the site set.
    pub(crate) fn insert_from_site(&self, cookie: &Cookie) {
        let Some(url) = cookie.origin_url() else { return };
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
        self.insert_raw(&raw, &url);
    }

    /// Deletes the cookie with this name, domain and path, as a site does.
    #[cfg(feature = "browser")]
    pub(crate) fn delete(&self, cookie: &Cookie) {
        let key = cookie_id(cookie);
        let mut given = lock_unpoisoned(&self.given);
        if given.keys.contains(&key) {
            given.delete(&key);
        } else {
            drop(given);
            lock_unpoisoned(&self.own).delete(&key);
        }
    }

    /// Returns the name-value pairs for a request to `url`, longest path first, then oldest first.
    #[must_use]
    pub fn pairs(&self, url: &Url) -> Vec<(String, String)> {
        let host = url.host_str().unwrap_or_default();
        let (given, own) = (lock_unpoisoned(&self.given), lock_unpoisoned(&self.own));
        let of_given = given
            .stores_for_host(host)
            .flat_map(|store| store.matches(url))
            .map(|cookie| (given.creation_order(cookie), cookie));
        let of_own = own
            .stores_for_host(host)
            .flat_map(|store| store.matches(url))
            .map(|cookie| (own.creation_order(cookie), cookie));
        let of_own = of_own.filter(|(_, cookie)| !given.has_key(cookie));
        let mut found: Vec<_> =
            of_given.chain(of_own).map(|(age, cookie)| (Reverse(cookie.path.len()), age, cookie)).collect();
        found.sort_by_key(|(path, age, _)| (*path, *age));
        found
            .into_iter()
            .map(|(_, _, cookie)| (cookie.name().to_owned(), cookie.value().to_owned()))
            .collect()
    }

    /// Returns the cookies for `host` that a site set, without the caller's.
    pub(crate) fn site_cookies_for(&self, host: &str) -> Vec<Cookie> {
        let (given, own) = (lock_unpoisoned(&self.given), lock_unpoisoned(&self.own));
        let mut cookies = own.unexpired(own.stores_for_host(host));
        cookies.retain(|(_, cookie)| cookie.matches_host(host) && !given.keys.contains(&cookie_id(cookie)));
        without_ages(cookies)
    }

    /// Returns the caller's cookies for `host`.
    pub(crate) fn user_cookies_for(&self, host: &str) -> Vec<Cookie> {
        let given = lock_unpoisoned(&self.given);
        let mut cookies = given.unexpired(given.stores_for_host(host));
        cookies.retain(|(_, cookie)| cookie.matches_host(host));
        without_ages(cookies)
    }

    /// Returns all unexpired cookies, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Cookie> {
        let (given, own) = (lock_unpoisoned(&self.given), lock_unpoisoned(&self.own));
        let mut cookies = own.unexpired(own.stores.values());
        cookies.retain(|(_, cookie)| !given.keys.contains(&cookie_id(cookie)));
        cookies.extend(given.unexpired(given.stores.values()));
        cookies.sort_by_key(|(age, _)| *age);
        without_ages(cookies)
    }

    /// Merges the unexpired cookies of several jars. The last change of a cookie wins: its newest value or deletion.
    #[must_use]
    pub fn merge<'a>(jars: impl IntoIterator<Item = &'a Self>) -> Vec<Cookie> {
        let mut latest: HashMap<CookieId, (u64, Option<(u64, Cookie)>)> = HashMap::new();
        let mut add = |key: CookieId, at: u64, found: Option<(u64, Cookie)>| {
            let entry = latest.entry(key).or_insert((0, None));
            if at > entry.0 {
                *entry = (at, found);
            }
        };
        for jar in jars {
            for inner in [lock_unpoisoned(&jar.given), lock_unpoisoned(&jar.own)] {
                for (age, cookie) in inner.unexpired(inner.stores.values()) {
                    let key = cookie_id(&cookie);
                    let at = inner.changed.get(&key).copied().unwrap_or_default();
                    add(key, at, Some((age, cookie)));
                }
                for (key, at) in &inner.deleted {
                    add(key.clone(), *at, None);
                }
            }
        }
        let mut cookies: Vec<_> = latest.into_values().filter_map(|(_, found)| found).collect();
        cookies.sort_by_key(|(age, _)| *age);
        without_ages(cookies)
    }

    /// Whether there is a Secure cookie that this one would replace, as RFC 6265bis (5.7, step 16) compares them.
    fn replaces_secure(&self, raw: &RawCookie<'_>, url: &Url) -> bool {
        let Ok(cookie) = cookie_store::Cookie::try_from_raw_cookie(raw, url) else { return false };
        let domain = String::from(&cookie.domain);
        let is_above = |above: &str, below: &str| {
            above == below || below.strip_suffix(above).is_some_and(|rest| rest.ends_with('.'))
        };
        [lock_unpoisoned(&self.given), lock_unpoisoned(&self.own)].iter().any(|inner| {
            inner.stores.values().flat_map(CookieStore::iter_unexpired).any(|other| {
                let theirs = String::from(&other.domain);
                other.secure() == Some(true)
                    && other.name() == cookie.name()
                    && (is_above(&theirs, &domain) || is_above(&domain, &theirs))
                    && String::from(&cookie.path).starts_with(String::from(&other.path).as_str())
            })
        })
    }

    fn insert_raw(&self, raw: &RawCookie<'_>, url: &Url) {
        let Ok(cookie) = cookie_store::Cookie::try_from_raw_cookie(raw, url) else { return };
        let cookie = cookie.into_owned();
        let mut given = lock_unpoisoned(&self.given);
        if given.has_key(&cookie) {
            given.insert(cookie, url);
        } else {
            drop(given);
            lock_unpoisoned(&self.own).insert(cookie, url);
        }
    }
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieJar(***)")
    }
}

impl Inner {
    fn insert(&mut self, cookie: StoredCookie, url: &Url) {
        let key = stored_cookie_id(&cookie);
        match self.stores.entry(key.0.clone()).or_default().insert(cookie, url) {
            Ok(cookie_store::StoreAction::Inserted) => {
                let now = tick();
                self.mark_changed(&key, now);
                let key = Arc::new(key);
                self.created.insert(Arc::clone(&key), now);
                self.by_age.insert(now, key);
                self.evict_oldest();
            }
            Ok(cookie_store::StoreAction::UpdatedExisting) => self.mark_changed(&key, tick()),
            Ok(cookie_store::StoreAction::ExpiredExisting) => self.delete(&key),
            Err(cookie_store::CookieError::Expired) => {
                self.drop_if_empty(&key.0);
                self.mark_deleted(&key);
            }
            Err(cause) => {
                tracing::debug!(host = url.host_str(), %cause, "dropping a cookie");
                self.drop_if_empty(&key.0);
            }
        }
    }

    fn mark_changed(&mut self, key: &CookieId, now: u64) {
        self.changed.insert(key.clone(), now);
        self.deleted.remove(key);
    }

    fn mark_deleted(&mut self, key: &CookieId) {
        if self.deleted.len() < MAX_COOKIES {
            self.deleted.insert(key.clone(), tick());
        }
    }

    /// Removes a cookie that the site deleted.
    fn delete(&mut self, key: &CookieId) {
        self.remove(key);
        self.mark_deleted(key);
    }

    fn has_key(&self, cookie: &StoredCookie) -> bool {
        !self.keys.is_empty() && self.keys.contains(&stored_cookie_id(cookie))
    }

    /// Drops the oldest cookies if a hostile site floods the jar.
    fn evict_oldest(&mut self) {
        while self.created.len() > MAX_COOKIES {
            let Some(oldest) = self.by_age.first_key_value().map(|(_, key)| Arc::clone(key)) else { return };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &CookieId) {
        if let Some(age) = self.created.remove(key) {
            self.by_age.remove(&age);
        }
        self.changed.remove(key);
        if let Some(store) = self.stores.get_mut(&key.0) {
            store.remove(&key.0, &key.1, &key.2);
        }
        self.drop_if_empty(&key.0);
    }

    /// Drops the store of a domain without cookies.
    fn drop_if_empty(&mut self, domain: &str) {
        if self.stores.get(domain).is_some_and(|store| store.iter_any().next().is_none()) {
            self.stores.remove(domain);
        }
    }

    /// Returns the stores of `host` and its parent domains.
    fn stores_for_host<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a CookieStore> {
        let names = successors(Some(host), |name| name.split_once('.').map(|(_, parent)| parent));
        names.filter_map(|name| self.stores.get(name))
    }

    fn creation_order(&self, cookie: &StoredCookie) -> u64 {
        self.created.get(&stored_cookie_id(cookie)).copied().unwrap_or(u64::MAX)
    }

    /// Returns the unexpired cookies of `stores` with their creation time, oldest first.
    fn unexpired<'a>(&self, stores: impl Iterator<Item = &'a CookieStore>) -> Vec<(u64, Cookie)> {
        let cookies = stores.flat_map(CookieStore::iter_unexpired);
        let mut all: Vec<(u64, Cookie)> =
            cookies.filter_map(|cookie| Some((self.creation_order(cookie), to_cookie(cookie)?))).collect();
        all.sort_by_key(|(age, _)| *age);
        all
    }
}

fn without_ages(cookies: Vec<(u64, Cookie)>) -> Vec<Cookie> {
    cookies.into_iter().map(|(_, cookie)| cookie).collect()
}

/// Returns the next tick of a logical clock that orders all cookie changes of the process.
fn tick() -> u64 {
    static CLOCK: AtomicU64 = AtomicU64::new(1);
    CLOCK.fetch_add(1, Ordering::Relaxed)
}

/// Converts a stored cookie with all its attributes.
fn to_cookie(cookie: &StoredCookie) -> Option<Cookie> {
    let (domain, host_only) = match &cookie.domain {
        CookieDomain::HostOnly(host) => (strip_brackets(host).to_owned(), true),
        CookieDomain::Suffix(domain) => (domain.clone(), false),
        CookieDomain::NotPresent | CookieDomain::Empty => return None,
    };
    let expires = match cookie.expires {
        CookieExpiration::AtUtc(at) => Some(at.unix_timestamp()),
        CookieExpiration::SessionEnd => None,
    };
    Some(Cookie {
        name: cookie.name().to_owned(),
        value: cookie.value().to_owned(),
        domain,
        host_only,
        path: String::from(&cookie.path),
        expires,
        secure: cookie.secure().unwrap_or(false),
        http_only: cookie.http_only().unwrap_or(false),
        same_site: cookie.same_site().map(|site| site.to_string()),
    })
}

fn stored_cookie_id(cookie: &StoredCookie) -> CookieId {
    (String::from(&cookie.domain), String::from(&cookie.path), cookie.name().to_owned())
}

/// Removes the brackets of an IPv6 address, as in a cookie's domain.
fn strip_brackets(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

fn cookie_id(cookie: &Cookie) -> CookieId {
    // The store names an IPv6 address with its brackets.
    let domain =
        if cookie.domain.contains(':') { format!("[{}]", cookie.domain) } else { cookie.domain.clone() };
    (domain, cookie.path.clone(), cookie.name.clone())
}

/// Parses a Set-Cookie value with a browser's rules for size, prefix and domain.
fn parse_set_cookie(text: &str, url: &Url) -> Option<RawCookie<'static>> {
    let mut raw = RawCookie::parse(text.to_owned()).ok()?;
    if raw.name().len() + raw.value().len() > MAX_PAIR_BYTES {
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
    // The next parser may trim characters that hide a public suffix here: `Domain=. co.uk`.
    if domain.as_ref().is_some_and(|domain| !domain.bytes().all(is_host_byte)) {
        return None;
    }
    match domain {
        Some(domain)
            if (domain.is_empty() || domain == host)
            // A host that is a public suffix, or an address, gets a host-only cookie.
            && (is_public_suffix(host) || url.domain().is_none()) =>
        {
            raw.unset_domain();
        }
        Some(domain) if is_public_suffix(&domain) => return None,
        _ => {}
    }
    Some(raw)
}

/// Whether a host name or address may contain this byte.
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
}

/// Whether `domain` is a public suffix, so that unrelated sites would share its cookies. An unknown single label
/// (`localhost`, `test`) and a private suffix (`github.io`) count as one.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.as_bytes() == domain.as_bytes())
}

/// Chrome's limit for name plus value.
const MAX_PAIR_BYTES: usize = 4096;
/// Chrome's limit for all cookies of a profile.
const MAX_COOKIES: usize = 3000;

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(url: &str, set: &[&str]) -> CookieJar {
        let jar = CookieJar::default();
        let values: Vec<HeaderValue> = set.iter().map(|text| text.parse().unwrap()).collect();
        jar.store(&Url::parse(url).unwrap(), &values);
        jar
    }

    fn cookie_header(jar: &CookieJar, url: &str) -> String {
        let pairs = jar.pairs(&Url::parse(url).unwrap());
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn longest_path_first_then_oldest_first() {
        let jar = jar("https://www.site.example/a/b", &["z=1; Path=/", "a=2; Path=/", "deep=3; Path=/a"]);
        assert_eq!(cookie_header(&jar, "https://www.site.example/a/b"), "deep=3; z=1; a=2");
        assert_eq!(cookie_header(&jar, "https://www.site.example/c"), "z=1; a=2");
    }

    #[test]
    fn an_updated_cookie_keeps_its_position() {
        let jar = jar("https://site.example/", &["a=1", "b=2", "a=3"]);
        assert_eq!(cookie_header(&jar, "https://site.example/"), "a=3; b=2");
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
        assert_eq!(cookie_header(&jar, "https://www.site.co.uk/"), "c=3");
        assert_eq!(cookie_header(&jar, "https://else.co.uk/"), "");
    }

    #[test]
    fn prefixes_and_secure_are_enforced() {
        let plain = jar("http://site.example/", &["a=1; Secure", "__Host-b=2; Path=/", "c=3"]);
        assert_eq!(cookie_header(&plain, "http://site.example/"), "c=3");
        let tls = jar("https://site.example/", &["a=1; Secure", "__Host-b=2; Path=/; Secure"]);
        assert_eq!(cookie_header(&tls, "https://site.example/"), "a=1; __Host-b=2");
        assert_eq!(cookie_header(&tls, "http://site.example/"), "");
    }

    #[test]
    fn an_expired_cookie_is_removed() {
        let jar = jar("https://site.example/", &["a=1", "b=2", "a=; Max-Age=0"]);
        assert_eq!(cookie_header(&jar, "https://site.example/"), "b=2");
    }

    #[test]
    fn cookies_survive_a_round_trip_through_another_jar() {
        let first = jar(
            "https://www.site.example/",
            &["a=1; Domain=site.example; Secure; HttpOnly; SameSite=Lax; Max-Age=1000", "b=2"],
        );
        let second = CookieJar::default();
        for cookie in first.list() {
            second.insert(&cookie);
        }
        assert_eq!(first.list(), second.list());
        assert_eq!(cookie_header(&second, "https://www.site.example/"), "a=1; b=2");
    }

    #[test]
    fn a_flood_is_bounded() {
        let jar = CookieJar::default();
        let url = Url::parse("https://site.example/").unwrap();
        for i in 0..(MAX_COOKIES + 5) {
            jar.store(&url, &[format!("c{i}=1").parse::<HeaderValue>().unwrap()]);
        }
        assert_eq!(jar.list().len(), MAX_COOKIES);
    }

    #[test]
    fn a_full_jar_evicts_the_oldest_cookie_of_any_site() {
        let jar = CookieJar::default();
        let url = |site: usize| Url::parse(&format!("https://www.site{site}.example/")).unwrap();
        for site in 0..=MAX_COOKIES {
            let line = format!("c={site}; Domain=site{site}.example");
            jar.store(&url(site), &[line.parse::<HeaderValue>().unwrap()]);
        }
        assert_eq!(jar.list().len(), MAX_COOKIES);
        assert_eq!((jar.pairs(&url(0)).len(), jar.pairs(&url(1)).len()), (0, 1));
    }

    #[test]
    fn cookies_of_a_host_and_of_its_parents_are_sent_together() {
        let jar = jar(
            "https://a.b.site.example/",
            &["1=; Domain=site.example", "2=", "3=; Domain=b.site.example", "4=; Path=/x"],
        );
        assert_eq!(cookie_header(&jar, "https://a.b.site.example/x"), "4=; 1=; 2=; 3=");
        assert_eq!(cookie_header(&jar, "https://c.b.site.example/"), "1=; 3=");
        assert_eq!(cookie_header(&jar, "https://c.site.example/"), "1=");
        assert_eq!(cookie_header(&jar, "https://othersite.example/"), "");
        assert_eq!(cookie_header(&jar, "https://example/"), "");
    }

    #[test]
    fn a_domain_without_cookies_has_no_store() {
        let jar = jar("https://site.example/", &["a=1", "a=; Max-Age=0", "b=; Max-Age=0", "c=1; Path=/x"]);
        jar.store(
            &Url::parse("https://other.example/").unwrap(),
            &["d=; Max-Age=0".parse::<HeaderValue>().unwrap()],
        );
        let inner = lock_unpoisoned(&jar.own);
        assert_eq!((inner.stores.len(), inner.created.len(), inner.by_age.len()), (1, 1, 1));
    }

    #[test]
    fn cookies_of_an_ip_address_work_in_every_form() {
        for address in ["http://127.0.0.1:8080/", "http://[::1]:8080/"] {
            let first = jar(address, &["a=1"]);
            assert_eq!(cookie_header(&first, address), "a=1", "{address}");
            let host = Url::parse(address).unwrap().host_str().unwrap().to_owned();
            assert_eq!(first.site_cookies_for(&host).len(), 1, "{address}");
            let second = CookieJar::default();
            first.list().iter().for_each(|cookie| second.insert(cookie));
            assert_eq!(cookie_header(&second, address), "a=1", "{address}");
            assert_eq!(second.user_cookies_for(&host).len(), 1, "{address}");
        }
    }

    #[test]
    fn a_cookie_of_the_caller_stays_the_callers_when_the_site_renews_it() {
        let jar = jar("https://www.site.example/", &["a=1; Domain=site.example", "b=2", "c=3; Path=/deep"]);
        jar.insert(&Cookie::session("login", "hunter2", "www.site.example"));
        jar.store(
            &Url::parse("https://www.site.example/").unwrap(),
            &["login=renewed".parse::<HeaderValue>().unwrap()],
        );
        let site_set =
            |host| jar.site_cookies_for(host).into_iter().map(|cookie| cookie.name).collect::<Vec<_>>();
        assert_eq!(site_set("www.site.example"), ["a", "b", "c"]);
        assert_eq!(site_set("site.example"), ["a"]);
        assert!(site_set("other.example").is_empty());
    }

    fn receive(jar: &CookieJar, set: &str) {
        jar.store(&Url::parse("https://www.site.example/").unwrap(), &[set.parse::<HeaderValue>().unwrap()]);
    }

    fn values(cookies: &[Cookie]) -> Vec<String> {
        cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect()
    }

    #[test]
    fn all_tiers_share_a_cookie_of_the_caller() {
        let plain = CookieJar::default();
        let browser = plain.with_same_given();
        for name in ["renewed", "deleted", "kept"] {
            plain.insert(&Cookie::session(name, "1", "www.site.example"));
        }
        receive(&plain, "renewed=2");
        receive(&plain, "own=plain");
        receive(&browser, "deleted=; Max-Age=0");
        for jar in [&plain, &browser] {
            let sent = cookie_header(jar, "https://www.site.example/");
            assert!(
                sent.contains("renewed=2") && sent.contains("kept=1") && !sent.contains("deleted"),
                "{sent}"
            );
        }
        assert!(
            !cookie_header(&browser, "https://www.site.example/").contains("own="),
            "a cookie that the site set is not shared"
        );
        // The site sets the cookie again after deleting it: it is still the caller's.
        receive(&plain, "deleted=3");
        assert!(cookie_header(&browser, "https://www.site.example/").contains("deleted=3"));
        assert_eq!(values(&plain.site_cookies_for("www.site.example")), ["own=plain"]);
    }

    #[test]
    fn merging_jars_keeps_the_last_change_of_each_cookie() {
        let (plain, browser) = (CookieJar::default(), CookieJar::default());
        receive(&plain, "a=1");
        receive(&browser, "a=2");
        receive(&browser, "b=1");
        receive(&plain, "b=2");
        receive(&plain, "c=1");
        receive(&browser, "c=2");
        receive(&browser, "c=; Max-Age=0");
        receive(&browser, "d=; Max-Age=0");
        receive(&plain, "d=1");
        for jars in [[&plain, &browser], [&browser, &plain]] {
            assert_eq!(values(&CookieJar::merge(jars)), ["a=2", "b=2", "d=1"]);
        }
    }

    #[test]
    fn a_cookie_of_the_caller_replaces_one_that_the_site_set() {
        let plain = CookieJar::default();
        let browser = plain.with_same_given();
        receive(&plain, "sid=site");
        receive(&browser, "sid=other");
        plain.insert(&Cookie::session("sid", "given", "www.site.example"));
        for jar in [&plain, &browser] {
            assert_eq!(cookie_header(jar, "https://www.site.example/"), "sid=given");
            assert_eq!(values(&jar.list()), ["sid=given"]);
        }
        assert_eq!(values(&CookieJar::merge([&browser, &plain])), ["sid=given"]);
    }

    #[test]
    fn debug_shows_no_value() {
        let jar = jar("https://site.example/", &["a=hunter2"]);
        assert!(!format!("{jar:?} {:?}", jar.list()).contains("hunter2"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 2_000, ..Default::default() })]
        /// The property of the fuzz target `set_cookie`.
        #[test]
        fn any_cookie_is_limited_in_size_and_sent_to_its_site_only(
            bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200),
            attributes in "[ ;=,]?(Domain=[.]?[ ]{0,2}(co.uk|uk|example.co.uk)|Domain|Path|Expires|Max-Age|Secure|SameSite|__Host-a)?[=; ]{0,2}[a-z0-9.:/,; -]{0,40}",
            raw in proptest::bool::ANY,
        ) {
            let line = if raw { bytes } else { format!("n=v;{attributes}").into_bytes() };
            let Ok(value) = HeaderValue::from_bytes(&line) else { return Ok(()) };
            let jar = CookieJar::default();
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
