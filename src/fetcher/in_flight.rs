//! The fetches under way: who asks is told where each stands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use url::Url;

use crate::phase::{FetchObserver, FetchPhase};
use crate::redact;
use crate::sync::lock_unpoisoned;
use crate::trace::Attempt;

/// A fetch under way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InFlight {
    /// Its URL, without credentials. It may hold what a terminal would obey.
    pub url: String,
    /// Where it stands.
    pub phase: FetchPhase,
    /// How long it has stood there.
    pub in_phase_for: Duration,
    /// How long ago it began.
    pub age: Duration,
    /// How many of its attempts are over.
    pub attempts: u32,
}

/// All fetches under way of one fetcher and its sessions.
#[derive(Default)]
pub(super) struct InFlightRegistry {
    last_id: AtomicU64,
    fetches: Mutex<HashMap<u64, Arc<InFlightEntry>>>,
}

struct InFlightEntry {
    url: Url,
    started: Instant,
    phase: Mutex<(FetchPhase, Instant)>,
    attempts: AtomicU32,
}

/// One of them, until it is dropped. Passes on to the fetch's own watch what it is told.
pub(super) struct InFlightGuard<'a> {
    registry: &'a InFlightRegistry,
    id: u64,
    entry: Arc<InFlightEntry>,
    observer: Option<&'a dyn FetchObserver>,
}

impl InFlightRegistry {
    pub(super) fn register<'a>(
        &'a self,
        url: &Url,
        watch: Option<&'a dyn FetchObserver>,
    ) -> InFlightGuard<'a> {
        let now = Instant::now();
        let entry = Arc::new(InFlightEntry {
            url: url.clone(),
            started: now,
            phase: Mutex::new((FetchPhase::Started, now)),
            attempts: AtomicU32::new(0),
        });
        let number = self.last_id.fetch_add(1, Ordering::Relaxed);
        lock_unpoisoned(&self.fetches).insert(number, Arc::clone(&entry));
        InFlightGuard { registry: self, id: number, entry, observer: watch }
    }

    /// All of them, oldest first.
    pub(super) fn snapshot(&self) -> Vec<InFlight> {
        let entries: Vec<Arc<InFlightEntry>> = lock_unpoisoned(&self.fetches).values().cloned().collect();
        let now = Instant::now();
        let mut all: Vec<InFlight> = entries.iter().map(|entry| entry.to_in_flight(now)).collect();
        all.sort_by(|a, b| b.age.cmp(&a.age).then_with(|| a.url.cmp(&b.url)));
        all
    }
}

impl InFlightEntry {
    fn to_in_flight(&self, now: Instant) -> InFlight {
        let (stage, since) = *lock_unpoisoned(&self.phase);
        InFlight {
            url: redact::url(&self.url),
            phase: stage,
            in_phase_for: now.saturating_duration_since(since),
            age: now.saturating_duration_since(self.started),
            attempts: self.attempts.load(Ordering::Relaxed),
        }
    }
}

impl FetchObserver for InFlightGuard<'_> {
    fn on_phase(&self, stage: FetchPhase) {
        *lock_unpoisoned(&self.entry.phase) = (stage, Instant::now());
        if let Some(watch) = self.observer {
            watch.on_phase(stage);
        }
    }

    fn on_attempt(&self, attempt: &Attempt) {
        self.entry.attempts.fetch_add(1, Ordering::Relaxed);
        if let Some(watch) = self.observer {
            watch.on_attempt(attempt);
        }
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        lock_unpoisoned(&self.registry.fetches).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::Tier;

    #[test]
    fn fetches_are_there_while_they_last_oldest_first_and_without_passwords() {
        let underway = InFlightRegistry::default();
        let url = |text: &str| Url::parse(text).unwrap();
        let first = underway.register(&url("http://jane:hunter2@a.example/"), None);
        while first.entry.started.elapsed().is_zero() {}
        let second = underway.register(&url("http://b.example/"), None);
        first.on_phase(FetchPhase::Response(Tier::Plain));
        let all = underway.snapshot();
        assert_eq!(all[0].url, "http://***:***@a.example/");
        assert_eq!((all[0].phase, all[1].phase), (FetchPhase::Response(Tier::Plain), FetchPhase::Started));
        assert!(all[0].age >= all[1].age && all[0].in_phase_for <= all[0].age);
        drop(first);
        assert_eq!(underway.snapshot().len(), 1);
        drop(second);
        assert!(underway.snapshot().is_empty());
    }
}
