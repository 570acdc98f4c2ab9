//! A limited set of cookies by site, with their age.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Cookie;
use super::scope::site_of;

/// Identifies a cookie: one with the same identifier replaces it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct CookieId {
    domain: String,
    host_only: bool,
    path: String,
    name: String,
}

impl CookieId {
    pub(super) fn of(cookie: &Cookie) -> Self {
        Self {
            domain: cookie.domain.clone(),
            host_only: cookie.host_only,
            path: cookie.path.clone(),
            name: cookie.name.clone(),
        }
    }

    fn site(&self) -> &str {
        site_of(&self.domain)
    }
}

/// A cookie in the store.
pub(super) struct Entry {
    pub(super) cookie: Cookie,
    /// When it was created: among equal paths, browsers send older cookies first.
    pub(super) created: u64,
    /// When it got its current value.
    pub(super) changed: u64,
}

#[derive(Default)]
pub(super) struct CookieStore {
    /// By site, so that a lookup only reads the cookies of one site. A cookie is never sent to another one.
    sites: HashMap<String, HashMap<CookieId, Entry>>,
    /// The cookies by creation time, for eviction of the oldest.
    by_age: BTreeMap<u64, CookieId>,
    /// When the site deleted each deleted cookie.
    deleted: HashMap<CookieId, u64>,
    /// The caller's cookies. They are the caller's secrets even after the site changes them. Set in the shared part
    /// only.
    callers: HashSet<CookieId>,
}

impl CookieStore {
    /// Adds a cookie or replaces the one with its identifier. A cookie that has expired deletes it.
    pub(super) fn put(&mut self, cookie: Cookie, now: i64, max_per_site: usize) {
        let id = CookieId::of(&cookie);
        if cookie.is_expired(now) {
            self.delete(&id);
            return;
        }
        let tick = tick();
        self.deleted.remove(&id);
        let site = self.sites.entry(id.site().to_owned()).or_default();
        // As in Chromium, a cookie with a new value counts as created now.
        if let Some(entry) = site.get_mut(&id).filter(|entry| entry.cookie.value == cookie.value) {
            *entry = Entry { cookie, changed: tick, ..*entry };
            return;
        }
        if let Some(replaced) = site.remove(&id) {
            self.by_age.remove(&replaced.created);
        }
        self.by_age.insert(tick, id.clone());
        site.insert(id.clone(), Entry { cookie, created: tick, changed: tick });
        if site.len() > max_per_site {
            let oldest = site.iter().min_by_key(|(_, entry)| (entry.cookie.secure, entry.created));
            let oldest = oldest.map(|(id, _)| id.clone());
            if let Some(id) = oldest {
                self.remove(&id);
            }
        }
        self.evict_oldest();
    }

    /// Removes a cookie that the site deleted.
    pub(super) fn delete(&mut self, id: &CookieId) {
        self.remove(id);
        if self.deleted.len() < MAX_COOKIES {
            self.deleted.insert(id.clone(), tick());
        }
    }

    pub(super) fn remove(&mut self, id: &CookieId) {
        let Some(site) = self.sites.get_mut(id.site()) else { return };
        if let Some(entry) = site.remove(id) {
            self.by_age.remove(&entry.created);
        }
        if site.is_empty() {
            self.sites.remove(id.site());
        }
    }

    /// Drops the oldest cookies if hostile sites flood the jar. Secure cookies are dropped last, because sites without
    /// encryption must not replace them.
    fn evict_oldest(&mut self) {
        while self.by_age.len() > MAX_COOKIES {
            let is_insecure = |id: &&CookieId| self.get(id).is_some_and(|entry| !entry.cookie.secure);
            let oldest = self.by_age.values().find(is_insecure).or_else(|| self.by_age.values().next());
            let Some(oldest) = oldest.cloned() else { return };
            self.remove(&oldest);
        }
    }

    fn get(&self, id: &CookieId) -> Option<&Entry> {
        self.sites.get(id.site())?.get(id)
    }

    /// Returns the unexpired cookies of the site of `host`, in any order.
    pub(super) fn of_site(&self, host: &str, now: i64) -> impl Iterator<Item = &Entry> {
        let entries = self.sites.get(site_of(host)).into_iter().flat_map(HashMap::values);
        entries.filter(move |entry| !entry.cookie.is_expired(now))
    }

    /// Returns all unexpired cookies, in any order.
    pub(super) fn all(&self, now: i64) -> impl Iterator<Item = &Entry> {
        let entries = self.sites.values().flat_map(HashMap::values);
        entries.filter(move |entry| !entry.cookie.is_expired(now))
    }

    /// Returns the cookies that the site deleted, and when.
    pub(super) fn deleted(&self) -> impl Iterator<Item = (&CookieId, u64)> {
        self.deleted.iter().map(|(id, at)| (id, *at))
    }

    /// Records that the caller set the cookie with this identifier.
    pub(super) fn mark_callers(&mut self, id: CookieId) {
        self.callers.insert(id);
    }

    /// Whether the caller set the cookie with this identifier.
    pub(super) fn is_callers(&self, id: &CookieId) -> bool {
        self.callers.contains(id)
    }

    /// Whether the caller set this cookie.
    pub(super) fn has_callers(&self, cookie: &Cookie) -> bool {
        !self.callers.is_empty() && self.is_callers(&CookieId::of(cookie))
    }

    /// Whether the caller set a cookie with the same name, domain and path, host-only or not.
    pub(super) fn is_like_callers(&self, cookie: &Cookie) -> bool {
        !self.callers.is_empty() && {
            let id = CookieId::of(cookie);
            let other = CookieId { host_only: !id.host_only, ..id.clone() };
            self.is_callers(&id) || self.is_callers(&other)
        }
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.sites.len(), self.by_age.len())
    }
}

/// Returns the cookies of `entries`, oldest first.
pub(super) fn by_age<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Cookie> {
    let mut entries: Vec<&Entry> = entries.collect();
    entries.sort_by_key(|entry| entry.created);
    entries.into_iter().map(|entry| entry.cookie.clone()).collect()
}

/// The current time in seconds since 1970.
pub(super) fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Returns the next tick of a logical clock that orders all cookie changes of the process.
fn tick() -> u64 {
    static CLOCK: AtomicU64 = AtomicU64::new(1);
    CLOCK.fetch_add(1, Ordering::Relaxed)
}

/// The limit for all cookies. Chrome's limit for a profile is 3300.
pub(super) const MAX_COOKIES: usize = 3000;
/// Chrome's limit for the cookies of one site.
pub(super) const MAX_PER_SITE: usize = 180;
