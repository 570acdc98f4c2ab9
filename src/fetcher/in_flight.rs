//! The fetches under way: who asks is told where each stands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use url::Url;

use crate::lock::lock;
use crate::redact;
use crate::stage::{Stage, Watch};
use crate::trace::Attempt;

/// A fetch under way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InFlight {
    /// Its URL, without credentials. It may hold what a terminal would obey.
    pub url: String,
    /// Where it stands.
    pub stage: Stage,
    /// How long it has stood there.
    pub there: Duration,
    /// How long ago it began.
    pub age: Duration,
    /// How many of its attempts are over.
    pub attempts: u32,
}

/// All fetches under way of one fetcher and its sessions.
#[derive(Default)]
pub(super) struct Underway {
    last: AtomicU64,
    fetches: Mutex<HashMap<u64, Arc<Entry>>>,
}

struct Entry {
    url: Url,
    began: Instant,
    stage: Mutex<(Stage, Instant)>,
    attempts: AtomicU32,
}

/// One of them, until it is dropped. Passes on to the fetch's own watch what it is told.
pub(super) struct Noted<'a> {
    underway: &'a Underway,
    number: u64,
    entry: Arc<Entry>,
    watch: Option<&'a dyn Watch>,
}

impl Underway {
    pub(super) fn begin<'a>(&'a self, url: &Url, watch: Option<&'a dyn Watch>) -> Noted<'a> {
        let now = Instant::now();
        let entry = Arc::new(Entry {
            url: url.clone(),
            began: now,
            stage: Mutex::new((Stage::Begun, now)),
            attempts: AtomicU32::new(0),
        });
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        lock(&self.fetches).insert(number, Arc::clone(&entry));
        Noted { underway: self, number, entry, watch }
    }

    /// All of them, oldest first.
    pub(super) fn all(&self) -> Vec<InFlight> {
        let entries: Vec<Arc<Entry>> = lock(&self.fetches).values().cloned().collect();
        let now = Instant::now();
        let mut all: Vec<InFlight> = entries.iter().map(|entry| entry.shown(now)).collect();
        all.sort_by(|a, b| b.age.cmp(&a.age).then_with(|| a.url.cmp(&b.url)));
        all
    }
}

impl Entry {
    fn shown(&self, now: Instant) -> InFlight {
        let (stage, since) = *lock(&self.stage);
        InFlight {
            url: redact::url(&self.url),
            stage,
            there: now.saturating_duration_since(since),
            age: now.saturating_duration_since(self.began),
            attempts: self.attempts.load(Ordering::Relaxed),
        }
    }
}

impl Watch for Noted<'_> {
    fn stage(&self, stage: Stage) {
        *lock(&self.entry.stage) = (stage, Instant::now());
        if let Some(watch) = self.watch {
            watch.stage(stage);
        }
    }

    fn attempted(&self, attempt: &Attempt) {
        self.entry.attempts.fetch_add(1, Ordering::Relaxed);
        if let Some(watch) = self.watch {
            watch.attempted(attempt);
        }
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        lock(&self.underway.fetches).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::Tier;

    #[test]
    fn fetches_are_there_while_they_last_oldest_first_and_without_passwords() {
        let underway = Underway::default();
        let url = |text: &str| Url::parse(text).unwrap();
        let first = underway.begin(&url("http://jane:hunter2@a.example/"), None);
        while first.entry.began.elapsed().is_zero() {}
        let second = underway.begin(&url("http://b.example/"), None);
        first.stage(Stage::Answer(Tier::Plain));
        let all = underway.all();
        assert_eq!(all[0].url, "http://***:***@a.example/");
        assert_eq!((all[0].stage, all[1].stage), (Stage::Answer(Tier::Plain), Stage::Begun));
        assert!(all[0].age >= all[1].age && all[0].there <= all[0].age);
        drop(first);
        assert_eq!(underway.all().len(), 1);
        drop(second);
        assert!(underway.all().is_empty());
    }
}
