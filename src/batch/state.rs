//! The state of a run: its progress and its stop signal.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::counters::Counters;
use super::journal::CommitEntry;
use crate::exchange::error::Error;
use crate::os::sync::lock_unpoisoned;

/// The progress of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// Finished tasks, including those of earlier runs.
    #[serde(flatten)]
    pub counters: Counters,
    /// The number of tasks that earlier runs finished.
    pub resumed: u64,
    /// Tasks of the input that are duplicates.
    pub duplicates: u64,
    /// Attempts after the first of a fetch.
    pub retries: u64,
    /// Bytes of bodies received.
    pub bytes: u64,
    /// Active fetches.
    pub working: u64,
    /// Fetches that wait for a host or a timer.
    pub waiting: u64,
    /// The current concurrency limit.
    pub limit: u64,
    /// Tasks with a transient failure, which are retried at the end.
    pub put_off: u64,
    /// The number of tasks read so far.
    pub read: u64,
    /// The part of the input that was read, from 0 to 1. It is 1 at the end of the input.
    pub part: f64,
}

/// State shared by all parts of a run.
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

/// Whether and how a run stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum StopSignal {
    Running,
    /// No new fetch starts. Running fetches are aborted at this time.
    GracefulUntil(Instant),
    Immediate,
}

impl RunState {
    pub(super) fn new(counters: Counters) -> Self {
        Self {
            resumed: AtomicU64::new(counters.attempted),
            counters: Mutex::new(counters),
            duplicates: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            deferred: AtomicU64::new(0),
            read: AtomicU64::new(counters.attempted),
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

    /// Counts tasks whose records are written.
    pub(super) fn record_finished(&self, entries: &[CommitEntry]) {
        let mut counters = lock_unpoisoned(&self.counters);
        for entry in entries {
            counters.add(entry.outcome);
        }
    }

    /// Stops the run with an error. The first error is the one returned.
    pub(super) fn fail(&self, error: Error) {
        lock_unpoisoned(&self.error).get_or_insert(error);
        self.has_failed.store(true, Ordering::Relaxed);
        self.stop.send_replace(StopSignal::Immediate);
    }

    /// Stops the run because the reader of the output closed it.
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

    /// Records that all tasks are finished.
    pub(super) fn mark_complete(&self) {
        self.is_complete.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Relaxed) && !self.has_failed()
    }

    /// Stops the run within `grace`. A second call stops it immediately.
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

    /// Completes when no new fetch may start.
    pub(super) async fn wait_for_stop(&self) {
        let mut stop = self.stop.subscribe();
        // Cannot fail: `self` owns the sender.
        let _ = stop.wait_for(|stop| *stop != StopSignal::Running).await;
    }

    /// Completes when running fetches must be aborted.
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
