//! What a run has done so far, and whether it is to stop.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::counters::Counters;
use super::journal::CommitEntry;
use crate::error::Error;
use crate::sync::lock_unpoisoned;

/// What a run has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// What is finished, of earlier runs too.
    #[serde(flatten)]
    pub counters: Counters,
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
pub(super) struct RunState {
    counters: Mutex<Counters>,
    pub(super) resumed: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) deferred: AtomicU64,
    pub(super) read: AtomicU64,
    pub(super) is_input_read: AtomicBool,
    is_complete: AtomicBool,
    is_output_closed: AtomicBool,
    error: Mutex<Option<Error>>,
    has_failed: AtomicBool,
    stop: watch::Sender<StopSignal>,
}

/// Whether a run is to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum StopSignal {
    Running,
    /// Nothing new is begun, and what is under way has until then.
    GracefulUntil(Instant),
    Immediate,
}

impl RunState {
    pub(super) fn new(tally: Counters) -> Self {
        Self {
            resumed: AtomicU64::new(tally.attempted),
            counters: Mutex::new(tally),
            duplicates: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            deferred: AtomicU64::new(0),
            read: AtomicU64::new(tally.attempted),
            is_input_read: AtomicBool::new(false),
            is_complete: AtomicBool::new(false),
            is_output_closed: AtomicBool::new(false),
            error: Mutex::new(None),
            has_failed: AtomicBool::new(false),
            stop: watch::Sender::new(StopSignal::Running),
        }
    }

    pub(super) fn counters(&self) -> Counters {
        *lock_unpoisoned(&self.counters)
    }

    /// These are written.
    pub(super) fn record_finished(&self, entries: &[CommitEntry]) {
        let mut tally = lock_unpoisoned(&self.counters);
        for entry in entries {
            tally.add(entry.outcome);
        }
    }

    /// The run cannot go on. The first reason is the one told.
    pub(super) fn fail(&self, error: Error) {
        lock_unpoisoned(&self.error).get_or_insert(error);
        self.has_failed.store(true, Ordering::Relaxed);
        self.stop.send_replace(StopSignal::Immediate);
    }

    /// Nobody reads what is written.
    pub(super) fn mark_output_closed(&self) {
        self.is_output_closed.store(true, Ordering::Relaxed);
        self.stop.send_replace(StopSignal::Immediate);
    }

    pub(super) fn is_output_closed(&self) -> bool {
        self.is_output_closed.load(Ordering::Relaxed)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    pub(super) fn take_error(&self) -> Option<Error> {
        lock_unpoisoned(&self.error).take()
    }

    /// Everything was done.
    pub(super) fn mark_complete(&self) {
        self.is_complete.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Relaxed) && !self.has_failed()
    }

    /// Asks the run to stop within `grace`; asked again, at once.
    pub(super) fn stop(&self, grace: Duration) {
        self.stop.send_modify(|stop| {
            *stop = match stop {
                StopSignal::Running => StopSignal::GracefulUntil(Instant::now() + grace),
                StopSignal::GracefulUntil(_) | StopSignal::Immediate => StopSignal::Immediate,
            };
        });
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow() != StopSignal::Running
    }

    /// Ends when nothing new is to be begun.
    pub(super) async fn wait_for_stop(&self) {
        let mut stop = self.stop.subscribe();
        // The sender is here.
        let _ = stop.wait_for(|stop| *stop != StopSignal::Running).await;
    }

    /// Ends when what is under way is to be broken off.
    pub(super) async fn wait_for_abort(&self) {
        let mut stop = self.stop.subscribe();
        let by = match stop.wait_for(|stop| *stop != StopSignal::Running).await.as_deref() {
            Ok(StopSignal::GracefulUntil(by)) => *by,
            _ => return,
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop == StopSignal::Immediate) => {}
            () = sleep_until(by) => {}
        }
    }
}
