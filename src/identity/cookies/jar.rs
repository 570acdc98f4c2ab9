//! The cookie jar of an identity: aware of public suffixes, limited in size, in the order of a browser.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use http::HeaderValue;
use url::Url;

use super::store::{CookieId, CookieStore, Entry, MAX_COOKIES, MAX_PER_SITE, by_age, unix_time};
use super::{Cookie, scope, set_cookie};
use crate::os::sync::lock_unpoisoned;

/// The cookies of one identity. Each call takes the lock only while it runs.
///
/// The caller's cookies belong to the session. The jars of its identities share them, so a change by the site on one
/// tier applies to all tiers. Cookies that a site set belong to one identity, because a site must not see the same
/// session cookie with two user agents.
#[derive(Default)]
pub struct CookieJar {
    pub(super) own: Mutex<CookieStore>,
    given: Arc<Mutex<CookieStore>>,
}

impl CookieJar {
    /// Creates an empty jar that shares the caller's cookies of this one.
    pub(crate) fn with_same_given(&self) -> Self {
        Self { own: Mutex::default(), given: Arc::clone(&self.given) }
    }

    /// Stores the cookies that a response from `url` sets. As in Chromium, a cookie is dropped in these cases:
    ///
    /// - It is malformed or too large.
    /// - Its domain is a public suffix or belongs to another site.
    /// - It lacks what its name prefix, `SameSite=None` or `Partitioned` requires.
    /// - The response came over http, and the cookie is Secure or would replace or shadow a Secure one.
    pub fn store<'a>(&self, url: &Url, set_cookie: impl IntoIterator<Item = &'a HeaderValue>) {
        let now = unix_time();
        for value in set_cookie {
            let text = std::str::from_utf8(value.as_bytes()).ok();
            let Some(cookie) = text.and_then(|text| set_cookie::parse(text, url, now)) else {
                tracing::debug!(host = url.host_str(), "dropped an invalid cookie");
                continue;
            };
            if !scope::is_secure_origin(url) && self.replaces_secure(&cookie, now) {
                tracing::debug!(host = url.host_str(), "dropped a cookie that would replace a Secure one");
                continue;
            }
            self.put(cookie, now);
        }
    }

    /// Adds one cookie of the caller. Every tier of the session sends it. Host memory never stores it.
    ///
    /// As in Chromium, the cookie is not added in these cases: its name has a prefix such as `__Host-` and its attributes
    /// do not satisfy it, or it is `SameSite=None` without Secure. A cookie for a public suffix becomes host-only.
    pub fn insert(&self, cookie: &Cookie) {
        self.try_insert(cookie);
    }

    /// Adds one cookie of the caller, as [`insert`](Self::insert) does. Returns whether the jar accepts it. A cookie that
    /// has expired deletes the one that it would replace.
    pub fn try_insert(&self, cookie: &Cookie) -> bool {
        let Some(cookie) = normalize(cookie) else { return false };
        let id = CookieId::of(&cookie);
        lock_unpoisoned(&self.given).mark_callers(id.clone());
        lock_unpoisoned(&self.own).remove(&id);
        self.put(cookie, unix_time());
        true
    }

    /// Adds one cookie that the site set.
    pub(crate) fn insert_from_site(&self, cookie: &Cookie) {
        if let Some(cookie) = normalize(cookie) {
            self.put(cookie, unix_time());
        }
    }

    /// Deletes the cookie with this name, domain and path, as a site does.
    #[cfg(feature = "browser")]
    pub(crate) fn delete(&self, cookie: &Cookie) {
        let id = CookieId::of(cookie);
        let mut given = lock_unpoisoned(&self.given);
        if given.is_callers(&id) {
            given.delete(&id);
        } else {
            drop(given);
            lock_unpoisoned(&self.own).delete(&id);
        }
    }

    /// Returns the name-value pairs for a request to `url`, longest path first, then oldest first. A name may be empty.
    #[must_use]
    pub fn pairs(&self, url: &Url) -> Vec<(String, String)> {
        let host = scope::strip_brackets(url.host_str().unwrap_or_default());
        let (now, secure) = (unix_time(), scope::is_secure_origin(url));
        let (given, own) = (lock_unpoisoned(&self.given), lock_unpoisoned(&self.own));
        let of_own = own.of_site(host, now).filter(|entry| !given.has_callers(&entry.cookie));
        let mut found: Vec<&Entry> = given.of_site(host, now).chain(of_own).collect();
        found.retain(|Entry { cookie, .. }| {
            cookie.matches_domain(host)
                && scope::path_matches(url.path(), &cookie.path)
                && (secure || !cookie.secure)
        });
        found.sort_by_key(|entry| (Reverse(entry.cookie.path.len()), entry.created));
        found.into_iter().map(|entry| (entry.cookie.name.clone(), entry.cookie.value.clone())).collect()
    }

    /// Returns the cookies for `host` that a site set, without the caller's.
    pub(crate) fn site_cookies_for(&self, host: &str) -> Vec<Cookie> {
        let (given, own) = (lock_unpoisoned(&self.given), lock_unpoisoned(&self.own));
        let found = own.of_site(scope::strip_brackets(host), unix_time());
        by_age(found.filter(|entry| entry.cookie.matches_host(host) && !given.is_like_callers(&entry.cookie)))
    }

    /// Returns the caller's cookies for `host`.
    pub(crate) fn user_cookies_for(&self, host: &str) -> Vec<Cookie> {
        let given = lock_unpoisoned(&self.given);
        let found = given.of_site(scope::strip_brackets(host), unix_time());
        by_age(found.filter(|entry| entry.cookie.matches_host(host)))
    }

    /// Returns all unexpired cookies, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Cookie> {
        let now = unix_time();
        let (given, own) = (lock_unpoisoned(&self.given), lock_unpoisoned(&self.own));
        let of_own = own.all(now).filter(|entry| !given.has_callers(&entry.cookie));
        by_age(of_own.chain(given.all(now)))
    }

    /// Merges the unexpired cookies of several jars. The last change of a cookie wins: its newest value or deletion.
    #[must_use]
    pub fn merge<'a>(jars: impl IntoIterator<Item = &'a Self>) -> Vec<Cookie> {
        let now = unix_time();
        let mut latest: HashMap<CookieId, (u64, Option<(u64, Cookie)>)> = HashMap::new();
        let mut add = |id: CookieId, at: u64, found: Option<(u64, Cookie)>| {
            let newest = latest.entry(id).or_insert((0, None));
            if at > newest.0 {
                *newest = (at, found);
            }
        };
        for jar in jars {
            for store in [lock_unpoisoned(&jar.given), lock_unpoisoned(&jar.own)] {
                for entry in store.all(now) {
                    let found = Some((entry.created, entry.cookie.clone()));
                    add(CookieId::of(&entry.cookie), entry.changed, found);
                }
                for (id, at) in store.deleted() {
                    add(id.clone(), at, None);
                }
            }
        }
        let mut cookies: Vec<_> = latest.into_values().filter_map(|(_, found)| found).collect();
        cookies.sort_by_key(|(age, _)| *age);
        cookies.into_iter().map(|(_, cookie)| cookie).collect()
    }

    /// Whether there is a Secure cookie that this one would replace or shadow, as RFC 6265bis (5.7, step 16) compares
    /// them: of its name, for a domain that is equal, above or below, host-only or not, and for its path or one above.
    fn replaces_secure(&self, cookie: &Cookie, now: i64) -> bool {
        [lock_unpoisoned(&self.given), lock_unpoisoned(&self.own)].iter().any(|store| {
            store.of_site(&cookie.domain, now).any(|Entry { cookie: other, .. }| {
                other.secure
                    && other.name == cookie.name
                    && (other.domain == cookie.domain
                        || scope::is_subdomain(&other.domain, &cookie.domain)
                        || scope::is_subdomain(&cookie.domain, &other.domain))
                    && scope::path_matches(&cookie.path, &other.path)
            })
        })
    }

    fn put(&self, cookie: Cookie, now: i64) {
        let mut given = lock_unpoisoned(&self.given);
        if given.is_callers(&CookieId::of(&cookie)) {
            given.put(cookie, now, MAX_COOKIES);
        } else {
            drop(given);
            lock_unpoisoned(&self.own).put(cookie, now, MAX_PER_SITE);
        }
    }
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieJar(***)")
    }
}

/// Returns a cookie from elsewhere than a Set-Cookie header as the jar stores it. `None` if its attributes contradict each
/// other.
fn normalize(cookie: &Cookie) -> Option<Cookie> {
    let mut cookie = cookie.clone();
    cookie.domain = scope::strip_brackets(&cookie.domain).trim_start_matches('.').to_ascii_lowercase();
    // Other programs may read the cookie from a file and send it to each subdomain.
    cookie.host_only |= !scope::has_subdomains(&cookie.domain);
    if !cookie.path.starts_with('/') {
        "/".clone_into(&mut cookie.path);
    }
    if cookie.domain.is_empty() || !cookie.is_consistent() {
        tracing::warn!(
            domain = cookie.domain,
            name = cookie.name,
            "dropped a cookie whose attributes a browser refuses"
        );
        return None;
    }
    Some(cookie)
}
