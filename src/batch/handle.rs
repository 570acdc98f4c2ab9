//! The handle of a run: reads its progress and stops it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::concurrency::ConcurrencyLimiter;
use super::input::InputProgress;
use super::state::{Progress, RunState};

/// Reads the progress of a run and stops it, from any thread. Cheap to clone.
#[derive(Clone)]
pub struct RunHandle {
    pub(super) status: Arc<RunState>,
    pub(super) slots: Arc<ConcurrencyLimiter>,
    pub(super) input_progress: Arc<InputProgress>,
}

impl RunHandle {
    /// The current progress.
    #[must_use]
    pub fn progress(&self) -> Progress {
        snapshot(&self.status, &self.slots, &self.input_progress)
    }

    /// Stops starting fetches, and aborts running ones after `grace`. The next run fetches aborted tasks. A second
    /// call stops the run immediately.
    pub fn stop(&self, grace: Duration) {
        self.status.stop(grace);
    }
}

impl fmt::Debug for RunHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunHandle").field("progress", &self.progress()).finish_non_exhaustive()
    }
}

/// Returns the progress from the run's counters.
pub(super) fn snapshot(
    status: &RunState,
    slots: &ConcurrencyLimiter,
    input_progress: &InputProgress,
) -> Progress {
    let (total, read) =
        (input_progress.total.load(Ordering::Relaxed), input_progress.read.load(Ordering::Relaxed));
    #[expect(clippy::cast_precision_loss, reason = "a part of a file")]
    let part = match total {
        _ if status.is_input_read.load(Ordering::Relaxed) => 1.0,
        0 => 0.0,
        total => (read as f64 / total as f64).min(1.0),
    };
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Progress {
        counters: status.counters(),
        resumed: load(&status.resumed),
        // The input contains the tasks of earlier runs again.
        duplicates: load(&status.duplicates).saturating_sub(load(&status.resumed)),
        retries: load(&status.retries),
        bytes: load(&status.bytes),
        working: slots.working() as u64,
        waiting: slots.waiting() as u64,
        limit: slots.limit() as u64,
        put_off: load(&status.deferred),
        read: load(&status.read),
        part,
    }
}
