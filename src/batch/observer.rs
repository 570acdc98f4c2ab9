//! Observers of a running batch.

use super::record::Record;
use crate::exchange::phase::FetchPhase;
use crate::exchange::trace::Attempt;

/// Identifies one fetch of a batch.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FetchRef<'a> {
    /// The number of the fetch, unique in the run.
    pub id: u64,
    /// The URL, as it was given. It may contain a password.
    pub url: &'a str,
    /// The host.
    pub host: &'a str,
}

/// Observes every fetch of a batch. By default, each method does nothing. The fetches call them often, concurrently
/// and inline, so they must be fast.
pub trait Observer: Send + Sync {
    /// The fetch starts.
    fn on_start(&self, fetch: &FetchRef<'_>) {
        let _ = fetch;
    }

    /// The fetch enters a phase.
    fn on_phase(&self, fetch: &FetchRef<'_>, phase: FetchPhase) {
        let _ = (fetch, phase);
    }

    /// An attempt of the fetch ended.
    fn on_attempt(&self, fetch: &FetchRef<'_>, attempt: &Attempt) {
        let _ = (fetch, attempt);
    }

    /// The fetch ended with this record. It is not called for an aborted or deferred fetch.
    fn on_finish(&self, fetch: &FetchRef<'_>, record: &Record) {
        let _ = (fetch, record);
    }

    /// The fetch was aborted, or failed with a transient error, and is retried later.
    fn on_defer(&self, fetch: &FetchRef<'_>) {
        let _ = fetch;
    }
}

/// Notifies several observers, in order.
pub(super) struct Observers(pub(super) Vec<Box<dyn Observer>>);

impl Observer for Observers {
    fn on_start(&self, fetch: &FetchRef<'_>) {
        self.0.iter().for_each(|observer| observer.on_start(fetch));
    }

    fn on_phase(&self, fetch: &FetchRef<'_>, phase: FetchPhase) {
        self.0.iter().for_each(|observer| observer.on_phase(fetch, phase));
    }

    fn on_attempt(&self, fetch: &FetchRef<'_>, attempt: &Attempt) {
        self.0.iter().for_each(|observer| observer.on_attempt(fetch, attempt));
    }

    fn on_finish(&self, fetch: &FetchRef<'_>, record: &Record) {
        self.0.iter().for_each(|observer| observer.on_finish(fetch, record));
    }

    fn on_defer(&self, fetch: &FetchRef<'_>) {
        self.0.iter().for_each(|observer| observer.on_defer(fetch));
    }
}
