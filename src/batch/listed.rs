//! The origins of the listed URLs. Headers that the caller adds to every request are for these origins.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use url::{Origin, Url};

use super::task::Task;
use crate::sync::lock_unpoisoned;

/// The origins listed so far. Beyond [`MAX_ORIGINS`], a link keeps the headers only for the origin of its own seed.
#[derive(Default)]
pub(super) struct ListedOrigins {
    origins: Mutex<HashSet<Origin>>,
    /// Whether a dropped header was logged.
    has_logged: AtomicBool,
}

impl ListedOrigins {
    /// Adds the origin of a listed task.
    pub(super) fn add(&self, task: &Task) {
        let Some(origin) = task.listed_origin() else { return };
        let mut origins = lock_unpoisoned(&self.origins);
        if origins.len() < MAX_ORIGINS {
            origins.insert(origin);
        }
    }

    /// Whether the caller's headers for every request may be sent to `to` with `task`.
    pub(super) fn allows(&self, task: &Task, to: &Origin) -> bool {
        task.listed_origin().as_ref() == Some(to) || lock_unpoisoned(&self.origins).contains(to)
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

    #[test]
    fn headers_are_allowed_for_the_seed_origin_and_listed_origins() {
        let origin = |text: &str| Url::parse(text).unwrap().origin();
        let listed = ListedOrigins::default();
        listed.add(&Task::from("https://a.test/x"));
        listed.add(&Task {
            seed_origin: Some("https://map.test".to_owned()),
            ..Task::from("https://www.map.test/")
        });
        let link = Task {
            depth: 1,
            seed_origin: Some("https://b.test".to_owned()),
            ..Task::from("https://c.test/")
        };
        for (to, expected) in [
            ("https://a.test/y", true),
            ("https://b.test/", true),
            ("https://c.test/", false),
            ("https://map.test/", true),
            ("https://www.map.test/", false),
            ("http://a.test/", false),
        ] {
            assert_eq!(listed.allows(&link, &origin(to)), expected, "{to}");
        }
        let unknown = Task { seed_origin: None, ..link };
        assert!(!listed.allows(&unknown, &origin("https://c.test/")), "a link without a known seed");
    }

    #[test]
    fn the_number_of_remembered_origins_is_bounded() {
        let listed = ListedOrigins::default();
        (0..MAX_ORIGINS + 5).for_each(|n| listed.add(&Task::from(format!("https://{n}.test/"))));
        assert_eq!(lock_unpoisoned(&listed.origins).len(), MAX_ORIGINS);
        let last = Task::from(format!("https://{}.test/", MAX_ORIGINS + 4));
        assert!(
            listed.allows(&last, &Url::parse(&last.url).unwrap().origin()),
            "a task's own origin is always allowed"
        );
    }
}
