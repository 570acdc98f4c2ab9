//! Whoever wants to know what a batch does while it does it.

use super::record::Record;
use crate::phase::FetchPhase;
use crate::trace::Attempt;

/// One fetch of a batch: what tells it from the others under way.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FetchRef<'a> {
    /// Its number; no other fetch of the run has it.
    pub id: u64,
    /// Its URL, as it was given: it may hold a password.
    pub url: &'a str,
    /// Its host.
    pub host: &'a str,
}

/// Told of every fetch of a batch. Each method does nothing unless it is written; all are called on the
/// fetch's own path, often, by many at once, and must be quick.
pub trait Observer: Send + Sync {
    /// It begins.
    fn on_start(&self, fetch: &FetchRef<'_>) {
        let _ = fetch;
    }

    /// It is at this stage now.
    fn on_phase(&self, fetch: &FetchRef<'_>, stage: FetchPhase) {
        let _ = (fetch, stage);
    }

    /// One of its attempts is over.
    fn on_attempt(&self, fetch: &FetchRef<'_>, attempt: &Attempt) {
        let _ = (fetch, attempt);
    }

    /// It is over: this is its record. Not called for one that was broken off and is made again.
    fn on_finish(&self, fetch: &FetchRef<'_>, record: &Record) {
        let _ = (fetch, record);
    }

    /// It was broken off, or failed in a way that may pass, and is made again later.
    fn on_defer(&self, fetch: &FetchRef<'_>) {
        let _ = fetch;
    }
}

/// All that are told, in order.
pub(super) struct Observers(pub(super) Vec<Box<dyn Observer>>);

impl Observer for Observers {
    fn on_start(&self, fetch: &FetchRef<'_>) {
        self.0.iter().for_each(|observer| observer.on_start(fetch));
    }

    fn on_phase(&self, fetch: &FetchRef<'_>, stage: FetchPhase) {
        self.0.iter().for_each(|observer| observer.on_phase(fetch, stage));
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
