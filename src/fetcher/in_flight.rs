//! Registers the fetches in flight, so that the caller can list them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use url::Url;

use crate::exchange::phase::{FetchObserver, FetchPhase};
use crate::exchange::trace::Attempt;
use crate::os::sync::lock_unpoisoned;
use crate::text::redact;

/// A fetch in flight.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InFlight {
    /// Its URL, without credentials. It may contain terminal escape sequences.
    pub url: String,
    /// Its current phase.
    pub phase: FetchPhase,
    /// The time in this phase.
    pub in_phase_for: Duration,
    /// The time since the fetch began.
    pub age: Duration,
    /// The number of finished attempts.
    pub attempts: u32,
}

/// All fetches in flight of one fetcher and its sessions.
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

/// Keeps a fetch registered until it is dropped. Forwards phases and attempts to the fetch's own observer.
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
        observer: Option<&'a dyn FetchObserver>,
    ) -> InFlightGuard<'a> {
        let now = Instant::now();
        let entry = Arc::new(InFlightEntry {
            url: url.clone(),
            started: now,
            phase: Mutex::new((FetchPhase::Started, now)),
            attempts: AtomicU32::new(0),
        });
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        lock_unpoisoned(&self.fetches).insert(id, Arc::clone(&entry));
        InFlightGuard { registry: self, id, entry, observer }
    }

    /// Returns all fetches in flight, oldest first.
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
        let (phase, since) = *lock_unpoisoned(&self.phase);
        InFlight {
            url: redact::url(&self.url),
            phase,
            in_phase_for: now.saturating_duration_since(since),
            age: now.saturating_duration_since(self.started),
            attempts: self.attempts.load(Ordering::Relaxed),
        }
    }
}

impl FetchObserver for InFlightGuard<'_> {
    fn on_phase(&self, phase: FetchPhase) {
        *lock_unpoisoned(&self.entry.phase) = (phase, Instant::now());
        if let Some(observer) = self.observer {
            observer.on_phase(phase);
        }
    }

    fn on_attempt(&self, attempt: &Attempt) {
        self.entry.attempts.fetch_add(1, Ordering::Relaxed);
        if let Some(observer) = self.observer {
            observer.on_attempt(attempt);
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
    use crate::exchange::tier::Tier;

    #[test]
    fn fetches_are_listed_while_in_flight_oldest_first_without_passwords() {
        let registry = InFlightRegistry::default();
        let url = |text: &str| Url::parse(text).unwrap();
        let first = registry.register(&url("http://jane:hunter2@a.example/"), None);
        while first.entry.started.elapsed().is_zero() {}
        let second = registry.register(&url("http://b.example/"), None);
        first.on_phase(FetchPhase::Response(Tier::Plain));
        let all = registry.snapshot();
        assert_eq!(all[0].url, "http://***:***@a.example/");
        assert_eq!((all[0].phase, all[1].phase), (FetchPhase::Response(Tier::Plain), FetchPhase::Started));
        assert!(all[0].age >= all[1].age && all[0].in_phase_for <= all[0].age);
        drop(first);
        assert_eq!(registry.snapshot().len(), 1);
        drop(second);
        assert!(registry.snapshot().is_empty());
    }
}
