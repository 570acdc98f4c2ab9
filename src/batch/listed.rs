//! The origins of the URLs that a list names: what the caller gives every request is given for them.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use url::{Origin, Url};

use super::task::Task;
use crate::sync::lock_unpoisoned;

/// Which origins a batch's list has named so far. Of more than [`MOST`], links keep what is given to the origin that
/// their own crawl began at.
#[derive(Default)]
pub(super) struct ListedOrigins {
    origins: Mutex<HashSet<Origin>>,
    /// It was said once that a header was left out.
    has_told: AtomicBool,
}

impl ListedOrigins {
    /// Takes note of a task of the list.
    pub(super) fn add(&self, task: &Task) {
        let Some(origin) = task.given_for() else { return };
        let mut origins = lock_unpoisoned(&self.origins);
        if origins.len() < MOST {
            origins.insert(origin);
        }
    }

    /// Whether what the caller gives every request may go to `to` with `task`.
    pub(super) fn may_have(&self, task: &Task, to: &Origin) -> bool {
        task.given_for().as_ref() == Some(to) || lock_unpoisoned(&self.origins).contains(to)
    }

    /// Says, the first time in a run, that a request goes without what was given for other origins.
    pub(super) fn tell(&self, to: &Url) {
        if !self.has_told.swap(true, Ordering::Relaxed) {
            tracing::debug!(
                to = to.origin().ascii_serialization(),
                "left out headers that the caller gave for other origins; not said again in this run"
            );
        }
    }
}

const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crawl_has_its_own_origin_and_those_that_are_listed() {
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
            assert_eq!(listed.may_have(&link, &origin(to)), expected, "{to}");
        }
        let unknown = Task { seed_origin: None, ..link };
        assert!(!listed.may_have(&unknown, &origin("https://c.test/")), "a link whose crawl nobody knows");
    }

    #[test]
    fn a_list_without_end_takes_no_memory() {
        let listed = ListedOrigins::default();
        (0..MOST + 5).for_each(|n| listed.add(&Task::from(format!("https://{n}.test/"))));
        assert_eq!(lock_unpoisoned(&listed.origins).len(), MOST);
        let last = Task::from(format!("https://{}.test/", MOST + 4));
        assert!(
            listed.may_have(&last, &Url::parse(&last.url).unwrap().origin()),
            "its own it has all the same"
        );
    }
}
