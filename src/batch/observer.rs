//! Whoever wants to know what a batch does while it does it.

use super::record::Record;
use crate::stage::Stage;
use crate::trace::Attempt;

/// One fetch of a batch: what tells it from the others under way.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Fetch<'a> {
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
    fn begun(&self, fetch: &Fetch<'_>) {
        let _ = fetch;
    }

    /// It is at this stage now.
    fn stage(&self, fetch: &Fetch<'_>, stage: Stage) {
        let _ = (fetch, stage);
    }

    /// One of its attempts is over.
    fn attempted(&self, fetch: &Fetch<'_>, attempt: &Attempt) {
        let _ = (fetch, attempt);
    }

    /// It is over: this is its record. Not called for one that was broken off and is made again.
    fn ended(&self, fetch: &Fetch<'_>, record: &Record) {
        let _ = (fetch, record);
    }

    /// It was broken off, or failed in a way that may pass, and is made again later.
    fn put_off(&self, fetch: &Fetch<'_>) {
        let _ = fetch;
    }
}

/// All that are told, in order.
pub(super) struct Observers(pub(super) Vec<Box<dyn Observer>>);

impl Observer for Observers {
    fn begun(&self, fetch: &Fetch<'_>) {
        self.0.iter().for_each(|observer| observer.begun(fetch));
    }

    fn stage(&self, fetch: &Fetch<'_>, stage: Stage) {
        self.0.iter().for_each(|observer| observer.stage(fetch, stage));
    }

    fn attempted(&self, fetch: &Fetch<'_>, attempt: &Attempt) {
        self.0.iter().for_each(|observer| observer.attempted(fetch, attempt));
    }

    fn ended(&self, fetch: &Fetch<'_>, record: &Record) {
        self.0.iter().for_each(|observer| observer.ended(fetch, record));
    }

    fn put_off(&self, fetch: &Fetch<'_>) {
        self.0.iter().for_each(|observer| observer.put_off(fetch));
    }
}
