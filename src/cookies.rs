//! The cookie jar of an identity: public-suffix aware, bounded, in a browser's order.

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

/// A cookie with all its attributes, as it moves between the HTTP tiers, the browser and files.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value. Never printed by `Debug`.
    pub value: String,
    /// The domain without a leading dot, an IPv6 address without brackets.
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
    /// A host-only session cookie for the whole of `host`, an IPv6 address with its brackets or without.
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

    /// Whether it goes to `host`: its own, or a parent's that shares it.
    pub(crate) fn matches_host(&self, host: &str) -> bool {
        let host = strip_brackets(host);
        self.domain == host
            || (!self.host_only && host.strip_suffix(&self.domain).is_some_and(|sub| sub.ends_with('.')))
    }

    /// The URL this cookie may be set from: storage wants one.
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

/// Cookies of one identity. Every call locks for its own length only.
///
/// The cookies that the caller gave belong to the session: the jars of its identities share them, so that a change
/// which the site makes on one tier is seen on all. The cookies that a site set itself belong to the identity that
/// earned them: one site must not see one session cookie with two user agents.
#[derive(Default)]
pub struct CookieJar {
    own: Mutex<Inner>,
    given: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// By domain, so that a lookup reads those of a host and its parents alone.
    stores: HashMap<String, CookieStore>,
    /// When each cookie was first set: browsers send older ones first among equal paths.
    created: HashMap<Arc<CookieId>, u64>,
    /// The same, the oldest first: the next to be given up.
    by_age: BTreeMap<u64, Arc<CookieId>>,
    /// When each cookie got its present value.
    changed: HashMap<CookieId, u64>,
    /// When the site deleted each cookie that is gone.
    deleted: HashMap<CookieId, u64>,
    /// The cookies that the caller gave: they are the caller's secrets, whatever the site makes of them. Kept in the
    /// shared part only.
    keys: HashSet<CookieId>,
}

/// Domain, path and name.
type CookieId = (String, String, String);

/// A cookie as the store has it.
type StoredCookie = cookie_store::Cookie<'static>;

impl CookieJar {
    /// An empty jar that shares this one's cookies given by the caller.
    pub(crate) fn with_same_given(&self) -> Self {
        Self { own: Mutex::default(), given: Arc::clone(&self.given) }
    }

    /// Takes over what one answer from `url` sets. What is malformed, too large, for a foreign
    /// domain or for a public suffix is dropped, as browsers do.
    pub fn store<'a>(&self, url: &Url, set_cookie: impl IntoIterator<Item = &'a HeaderValue>) {
        for value in set_cookie {
            let Some(raw) =
                std::str::from_utf8(value.as_bytes()).ok().and_then(|text| parse_set_cookie(text, url))
            else {
                tracing::debug!(host = url.host_str(), "dropped a cookie that cannot be stored");
                continue;
            };
            self.insert_raw(&raw, url);
        }
    }

    /// Adds one cookie of the caller's own. It goes with all requests of the session, on every tier. The host
    /// memory never stores it.
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

    /// Deletes the cookie that has this name, domain and path, as a site does.
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

    /// The name-value pairs for a request to `url`, longest path first, then oldest first.
    #[must_use]
    pub fn pairs(&self, url: &Url) -> Vec<(String, String)> {
        let host = url.host_str().unwrap_or_default();
        let (given, own) = (lock_unpoisoned(&self.given), lock_unpoisoned(&self.own));
        let mut found = Vec::new();
        for inner in [&*given, &*own] {
            let cookies = inner.stores_for_host(host).flat_map(|store| store.matches(url));
            let cookies = cookies.filter(|cookie| std::ptr::eq(inner, &*given) || !given.has_key(cookie));
            found.extend(
                cookies.map(|cookie| (Reverse(cookie.path.len()), inner.creation_order(cookie), cookie)),
            );
        }
        found.sort_by_key(|(path, age, _)| (*path, *age));
        found
            .into_iter()
            .map(|(_, _, cookie)| (cookie.name().to_owned(), cookie.value().to_owned()))
            .collect()
    }

    /// The cookies that a site set and that go to `host`, without those that the caller gave.
    pub(crate) fn site_cookies_for(&self, host: &str) -> Vec<Cookie> {
        let (given, own) = (lock_unpoisoned(&self.given), lock_unpoisoned(&self.own));
        let mut cookies = own.told(own.stores_for_host(host));
        cookies.retain(|(_, cookie)| cookie.matches_host(host) && !given.keys.contains(&cookie_id(cookie)));
        without_ages(cookies)
    }

    /// The caller's own cookies that go to `host`.
    pub(crate) fn user_cookies_for(&self, host: &str) -> Vec<Cookie> {
        let given = lock_unpoisoned(&self.given);
        let mut cookies = given.told(given.stores_for_host(host));
        cookies.retain(|(_, cookie)| cookie.matches_host(host));
        without_ages(cookies)
    }

    /// All cookies that have not expired, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Cookie> {
        let (given, own) = (lock_unpoisoned(&self.given), lock_unpoisoned(&self.own));
        let mut cookies = own.told(own.stores.values());
        cookies.retain(|(_, cookie)| !given.keys.contains(&cookie_id(cookie)));
        cookies.extend(given.told(given.stores.values()));
        cookies.sort_by_key(|(age, _)| *age);
        without_ages(cookies)
    }

    /// The unexpired cookies of several jars, each as it was changed last: of two values the newer one, and none
    /// where the last change deleted it.
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
                for (age, cookie) in inner.told(inner.stores.values()) {
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
        f.write_str("Jar(***)")
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
                tracing::debug!(host = url.host_str(), %cause, "dropped a cookie");
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

    /// Removes a cookie because the site deleted it.
    fn delete(&mut self, key: &CookieId) {
        self.remove(key);
        self.mark_deleted(key);
    }

    fn has_key(&self, cookie: &StoredCookie) -> bool {
        !self.keys.is_empty() && self.keys.contains(&stored_cookie_id(cookie))
    }

    /// Drops the oldest cookies when a hostile site floods the jar.
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

    /// Drops the store of a domain that has no cookies.
    fn drop_if_empty(&mut self, domain: &str) {
        if self.stores.get(domain).is_some_and(|store| store.iter_any().next().is_none()) {
            self.stores.remove(domain);
        }
    }

    /// What is kept for `host` and for the names above it.
    fn stores_for_host<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a CookieStore> {
        let names = successors(Some(host), |name| name.split_once('.').map(|(_, parent)| parent));
        names.filter_map(|name| self.stores.get(name))
    }

    fn creation_order(&self, cookie: &StoredCookie) -> u64 {
        self.created.get(&stored_cookie_id(cookie)).copied().unwrap_or(u64::MAX)
    }

    /// The unexpired cookies of `stores`, each with its age, the oldest first.
    fn told<'a>(&self, stores: impl Iterator<Item = &'a CookieStore>) -> Vec<(u64, Cookie)> {
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

/// The next moment: all changes to cookies of this process have an order.
fn tick() -> u64 {
    static CLOCK: AtomicU64 = AtomicU64::new(1);
    CLOCK.fetch_add(1, Ordering::Relaxed)
}

/// A stored cookie with all its attributes.
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

/// A host as cookies name it: an IPv6 address without its brackets.
fn strip_brackets(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

fn cookie_id(cookie: &Cookie) -> CookieId {
    (cookie.domain.clone(), cookie.path.clone(), cookie.name.clone())
}

/// Parses one Set-Cookie value under a browser's rules of size, prefix and domain.
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
    // Whoever reads it next may trim what hides a public suffix here: `Domain=. co.uk`.
    if domain.as_ref().is_some_and(|domain| !domain.bytes().all(is_host_byte)) {
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
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
}

/// Whether cookies for `domain` would be shared between unrelated sites. An unknown single label
/// (`localhost`, `test`) counts as one, a private suffix (`github.io`) too.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.as_bytes() == domain.as_bytes())
}

/// Chrome's bound on name plus value.
const MAX_PAIR_BYTES: usize = 4096;
/// Chrome's bound on all cookies of a profile.
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
    fn an_updated_cookie_keeps_its_place() {
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
    fn an_expired_cookie_is_gone() {
        let jar = jar("https://site.example/", &["a=1", "b=2", "a=; Max-Age=0"]);
        assert_eq!(cookie_header(&jar, "https://site.example/"), "b=2");
    }

    #[test]
    fn cookies_survive_the_way_to_the_browser_and_back() {
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
    fn a_full_jar_gives_up_the_oldest_whatever_its_site() {
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
    fn a_domain_without_cookies_takes_no_room() {
        let jar = jar("https://site.example/", &["a=1", "a=; Max-Age=0", "b=; Max-Age=0", "c=1; Path=/x"]);
        jar.store(
            &Url::parse("https://other.example/").unwrap(),
            &["d=; Max-Age=0".parse::<HeaderValue>().unwrap()],
        );
        let inner = lock_unpoisoned(&jar.own);
        assert_eq!((inner.stores.len(), inner.created.len(), inner.by_age.len()), (1, 1, 1));
    }

    #[test]
    fn an_address_has_its_cookies_on_every_way() {
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
    fn what_the_caller_gave_is_not_earned_even_when_the_site_renews_it() {
        let jar = jar("https://www.site.example/", &["a=1; Domain=site.example", "b=2", "c=3; Path=/deep"]);
        jar.insert(&Cookie::session("login", "hunter2", "www.site.example"));
        jar.store(
            &Url::parse("https://www.site.example/").unwrap(),
            &["login=renewed".parse::<HeaderValue>().unwrap()],
        );
        let earned =
            |host| jar.site_cookies_for(host).into_iter().map(|cookie| cookie.name).collect::<Vec<_>>();
        assert_eq!(earned("www.site.example"), ["a", "b", "c"]);
        assert_eq!(earned("site.example"), ["a"]);
        assert!(earned("other.example").is_empty());
    }

    fn answer(jar: &CookieJar, set: &str) {
        jar.store(&Url::parse("https://www.site.example/").unwrap(), &[set.parse::<HeaderValue>().unwrap()]);
    }

    fn values(cookies: &[Cookie]) -> Vec<String> {
        cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect()
    }

    #[test]
    fn what_the_caller_gave_is_one_cookie_on_all_tiers() {
        let plain = CookieJar::default();
        let browser = plain.with_same_given();
        for name in ["renewed", "deleted", "kept"] {
            plain.insert(&Cookie::session(name, "1", "www.site.example"));
        }
        answer(&plain, "renewed=2");
        answer(&plain, "own=plain");
        answer(&browser, "deleted=; Max-Age=0");
        for jar in [&plain, &browser] {
            let sent = cookie_header(jar, "https://www.site.example/");
            assert!(
                sent.contains("renewed=2") && sent.contains("kept=1") && !sent.contains("deleted"),
                "{sent}"
            );
        }
        assert!(
            !cookie_header(&browser, "https://www.site.example/").contains("own="),
            "a site's own cookie stays apart"
        );
        // Set again by the site after it was deleted: the caller's still.
        answer(&plain, "deleted=3");
        assert!(cookie_header(&browser, "https://www.site.example/").contains("deleted=3"));
        assert_eq!(values(&plain.site_cookies_for("www.site.example")), ["own=plain"]);
    }

    #[test]
    fn of_several_jars_the_last_change_of_a_cookie_holds() {
        let (plain, browser) = (CookieJar::default(), CookieJar::default());
        answer(&plain, "a=1");
        answer(&browser, "a=2");
        answer(&browser, "b=1");
        answer(&plain, "b=2");
        answer(&plain, "c=1");
        answer(&browser, "c=2");
        answer(&browser, "c=; Max-Age=0");
        answer(&browser, "d=; Max-Age=0");
        answer(&plain, "d=1");
        for jars in [[&plain, &browser], [&browser, &plain]] {
            assert_eq!(values(&CookieJar::merge(jars)), ["a=2", "b=2", "d=1"]);
        }
    }

    #[test]
    fn a_cookie_that_the_caller_gives_takes_the_place_of_an_earned_one() {
        let plain = CookieJar::default();
        let browser = plain.with_same_given();
        answer(&plain, "sid=earned");
        answer(&browser, "sid=earned elsewhere");
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
        /// The body of the fuzz target `set_cookie`.
        #[test]
        fn whatever_is_set_is_bounded_and_goes_to_its_site_alone(
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
