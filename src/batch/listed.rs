//! The origins of the listed URLs. Headers that the caller adds to every request are for these origins.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use url::{Origin, Url};

use crate::exchange::credentials::copy_credentials;
use crate::os::sync::lock_unpoisoned;

/// The origins listed so far. Beyond [`MAX_ORIGINS`], a link keeps the headers only for the origin of its own seed.
#[derive(Default)]
pub(super) struct ListedOrigins {
    origins: Mutex<HashSet<Origin>>,
    /// The listed URLs with credentials, by origin. A checkpoint does not contain them.
    credentials: Mutex<HashMap<Origin, Vec<Url>>>,
    /// Whether a dropped header was logged.
    has_logged: AtomicBool,
}

impl ListedOrigins {
    /// Adds the origin of a listed URL.
    pub(super) fn add(&self, origin: Origin) {
        let mut origins = lock_unpoisoned(&self.origins);
        if origins.len() < MAX_ORIGINS {
            origins.insert(origin);
        }
    }

    /// Adds the credentials of a listed URL, if it has any.
    pub(super) fn add_credentials(&self, url: &Url) {
        if url.username().is_empty() && url.password().is_none() {
            return;
        }
        let mut credentials = lock_unpoisoned(&self.credentials);
        if credentials.len() >= MAX_ORIGINS && !credentials.contains_key(&url.origin()) {
            return;
        }
        let of_origin = credentials.entry(url.origin()).or_default();
        if of_origin.len() < MAX_CREDENTIALS && !of_origin.contains(url) {
            of_origin.push(url.clone());
        }
    }

    /// Gives a link the credentials of its origin, if its seed has the same one. Of several, those of the URL with the
    /// deepest folder that contains it, else the first (RFC 7617, section 2.2).
    pub(super) fn apply_credentials(&self, seed: Option<&Origin>, link: &mut Url) {
        let origin = link.origin();
        if seed != Some(&origin) {
            return;
        }
        let credentials = lock_unpoisoned(&self.credentials);
        let folder = |url: &Url| url.path().rfind('/').map_or(0, |end| end + 1);
        let contains = |url: &&Url| link.path().starts_with(&url.path()[..folder(url)]);
        let of_origin = credentials.get(&origin).map(Vec::as_slice).unwrap_or_default();
        // The last of equal ones is returned by `max_by_key`.
        let best = of_origin
            .iter()
            .rev()
            .filter(contains)
            .max_by_key(|url| folder(url))
            .or(of_origin.first())
            .cloned();
        drop(credentials);
        if let Some(best) = best {
            copy_credentials(&best, link);
        }
    }

    /// Whether the caller's headers for every request may be sent to `to`. `seed`: the origin of the listed URL that
    /// the request is for, or that led to it.
    pub(super) fn allows(&self, seed: Option<&Origin>, to: &Origin) -> bool {
        seed == Some(to) || lock_unpoisoned(&self.origins).contains(to)
    }

    /// Logs, once in a run, that headers for other origins were dropped from a request.
    pub(super) fn log_dropped_headers(&self, to: &Url) {
        if !self.has_logged.swap(true, Ordering::Relaxed) {
            tracing::debug!(
                to = to.origin().ascii_serialization(),
                "dropped headers that the caller set for other origins; logged once per run"
            );
        }
    }
}

const MAX_ORIGINS: usize = 10_000;
/// Maximum listed URLs with credentials of one origin.
const MAX_CREDENTIALS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Url::parse(text).unwrap().origin()
    }

    #[test]
    fn headers_are_allowed_for_the_seed_origin_and_listed_origins() {
        let listed = ListedOrigins::default();
        listed.add(origin("https://a.test/x"));
        listed.add(origin("https://map.test"));
        let seed = origin("https://b.test");
        for (to, expected) in [
            ("https://a.test/y", true),
            ("https://b.test/", true),
            ("https://c.test/", false),
            ("https://map.test/", true),
            ("https://www.map.test/", false),
            ("http://a.test/", false),
        ] {
            assert_eq!(listed.allows(Some(&seed), &origin(to)), expected, "{to}");
        }
        assert!(!listed.allows(None, &origin("https://c.test/")), "a link without a known seed");
        assert!(!listed.allows(None, &origin("https://b.test/")), "a link without a known seed");
    }

    #[test]
    fn the_number_of_remembered_origins_is_bounded() {
        let listed = ListedOrigins::default();
        let number = |n| origin(&format!("https://{n}.test/"));
        (0..MAX_ORIGINS + 5).for_each(|n| listed.add(number(n)));
        assert_eq!(lock_unpoisoned(&listed.origins).len(), MAX_ORIGINS);
        let last = number(MAX_ORIGINS + 4);
        assert!(listed.allows(Some(&last), &last), "a task's own origin is always allowed");
        assert!(!listed.allows(None, &last));
    }

    #[test]
    fn links_of_the_same_origin_have_the_credentials_of_the_listed_url() {
        let listed = ListedOrigins::default();
        for url in ["http://a:1@x.test/", "http://b:2@x.test/b/", "http://x.test/c/", "http://d:4@x.test/d/e"]
        {
            listed.add_credentials(&Url::parse(url).unwrap());
        }
        let with = |seed: &str, link: &str| {
            let mut link = Url::parse(link).unwrap();
            listed.apply_credentials(Some(&origin(seed)), &mut link);
            link.username().to_owned()
        };
        for (link, expected) in [
            ("http://x.test/1", "a"),
            ("http://x.test/b/1", "b"),
            ("http://x.test/c/1", "a"),
            ("http://x.test/d/1", "d"),
            ("http://own:x@x.test/1", "own"),
            ("https://x.test/1", ""),
            ("http://x.test:81/1", ""),
            ("http://www.x.test/1", ""),
        ] {
            assert_eq!(with("http://x.test", link), expected, "{link}");
        }
        assert_eq!(with("http://y.test", "http://x.test/1"), "");
    }
}
