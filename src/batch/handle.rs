//! A run seen from elsewhere: how far it is, and how it is stopped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::concurrency::ConcurrencyLimiter;
use super::input::InputProgress;
use super::state::{Progress, RunState};

/// Looks at a run, and stops it, from elsewhere. Cheap to clone.
#[derive(Clone)]
pub struct RunHandle {
    pub(super) status: Arc<RunState>,
    pub(super) slots: Arc<ConcurrencyLimiter>,
    pub(super) input_progress: Arc<InputProgress>,
}

impl RunHandle {
    /// What is done so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        snapshot(&self.status, &self.slots, &self.input_progress)
    }

    /// Begins nothing new; what is under way has `grace` to end, and what does not is done by the next run. Asked
    /// a second time, it stops at once.
    pub fn stop(&self, grace: Duration) {
        self.status.stop(grace);
    }
}

impl fmt::Debug for RunHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("progress", &self.progress()).finish_non_exhaustive()
    }
}

/// How far it is, by those who count.
pub(super) fn snapshot(status: &RunState, slots: &ConcurrencyLimiter, gauge: &InputProgress) -> Progress {
    let (total, read) = (gauge.total.load(Ordering::Relaxed), gauge.read.load(Ordering::Relaxed));
    #[expect(clippy::cast_precision_loss, reason = "a part of a file")]
    let part = match total {
        _ if status.is_input_read.load(Ordering::Relaxed) => 1.0,
        0 => 0.0,
        total => (read as f64 / total as f64).min(1.0),
    };
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Progress {
        counters: status.counters(),
        resumed: of(&status.resumed),
        // What was finished before is met again in the input.
        duplicates: of(&status.duplicates).saturating_sub(of(&status.resumed)),
        retries: of(&status.retries),
        bytes: of(&status.bytes),
        working: slots.working() as u64,
        waiting: slots.waiting() as u64,
        limit: slots.limit() as u64,
        put_off: of(&status.deferred),
        read: of(&status.read),
        part,
    }
}
