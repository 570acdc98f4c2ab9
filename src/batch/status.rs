//! What a run has done so far, and whether it is to stop.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::journal::Entry;
use super::tally::Tally;
use crate::error::Error;
use crate::lock::lock;

/// What a run has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// What is finished, of earlier runs too.
    #[serde(flatten)]
    pub tally: Tally,
    /// How much of that was finished when this run began.
    pub resumed: u64,
    /// Tasks read that were there before.
    pub duplicates: u64,
    /// Attempts beyond the first of a fetch.
    pub retries: u64,
    /// Bytes of bodies received.
    pub bytes: u64,
    /// Fetches that work, and fetches that wait for a host or a clock.
    pub working: u64,
    /// See `working`.
    pub waiting: u64,
    /// How many may work at once, as things stand.
    pub limit: u64,
    /// Tasks that failed in a way that may pass and are tried again at the end.
    pub put_off: u64,
    /// How many tasks there are, as far as the input is read.
    pub read: u64,
    /// How much of the input that is, from 0 to 1; 1 when it is read to its end.
    pub part: f64,
}

/// Shared by all parts of a run.
pub(super) struct Status {
    tally: Mutex<Tally>,
    pub(super) resumed: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) put_off: AtomicU64,
    pub(super) read: AtomicU64,
    pub(super) is_read: AtomicBool,
    is_complete: AtomicBool,
    is_unwanted: AtomicBool,
    error: Mutex<Option<Error>>,
    is_broken: AtomicBool,
    stop: watch::Sender<Stop>,
}

/// Whether a run is to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stop {
    No,
    /// Nothing new is begun, and what is under way has until then.
    By(Instant),
    Now,
}

impl Status {
    pub(super) fn new(tally: Tally) -> Self {
        Self {
            resumed: AtomicU64::new(tally.attempted),
            tally: Mutex::new(tally),
            duplicates: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            put_off: AtomicU64::new(0),
            read: AtomicU64::new(tally.attempted),
            is_read: AtomicBool::new(false),
            is_complete: AtomicBool::new(false),
            is_unwanted: AtomicBool::new(false),
            error: Mutex::new(None),
            is_broken: AtomicBool::new(false),
            stop: watch::Sender::new(Stop::No),
        }
    }

    pub(super) fn tally(&self) -> Tally {
        *lock(&self.tally)
    }

    /// These are written.
    pub(super) fn finished(&self, entries: &[Entry]) {
        let mut tally = lock(&self.tally);
        for entry in entries {
            tally.count(entry.outcome);
        }
    }

    /// The run cannot go on. The first reason is the one told.
    pub(super) fn fail(&self, error: Error) {
        lock(&self.error).get_or_insert(error);
        self.is_broken.store(true, Ordering::Relaxed);
        self.stop.send_replace(Stop::Now);
    }

    /// Nobody reads what is written.
    pub(super) fn unwanted(&self) {
        self.is_unwanted.store(true, Ordering::Relaxed);
        self.stop.send_replace(Stop::Now);
    }

    pub(super) fn is_unwanted(&self) -> bool {
        self.is_unwanted.load(Ordering::Relaxed)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    pub(super) fn take_error(&self) -> Option<Error> {
        lock(&self.error).take()
    }

    /// Everything was done.
    pub(super) fn complete(&self) {
        self.is_complete.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Relaxed) && !self.is_broken()
    }

    /// Asks the run to stop within `grace`; asked again, at once.
    pub(super) fn stop(&self, grace: Duration) {
        self.stop.send_modify(|stop| {
            *stop = match stop {
                Stop::No => Stop::By(Instant::now() + grace),
                Stop::By(_) | Stop::Now => Stop::Now,
            };
        });
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Ends when nothing new is to be begun.
    pub(super) async fn stopping(&self) {
        let mut stop = self.stop.subscribe();
        // The sender is here.
        let _ = stop.wait_for(|stop| *stop != Stop::No).await;
    }

    /// Ends when what is under way is to be broken off.
    pub(super) async fn cut(&self) {
        let mut stop = self.stop.subscribe();
        let by = match stop.wait_for(|stop| *stop != Stop::No).await.as_deref() {
            Ok(Stop::By(by)) => *by,
            _ => return,
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop == Stop::Now) => {}
            () = sleep_until(by) => {}
        }
    }
}
