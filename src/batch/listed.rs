//! The origins of the listed URLs. Headers that the caller adds to every request are for these origins.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use url::{Origin, Url};

use crate::sync::lock_unpoisoned;

/// The origins listed so far. Beyond [`MAX_ORIGINS`], a link keeps the headers only for the origin of its own seed.
#[derive(Default)]
pub(super) struct ListedOrigins {
    origins: Mutex<HashSet<Origin>>,
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
}
