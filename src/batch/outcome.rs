//! The outcome of a task, as counters and journal store it.

use super::record::RecordStatus;
use crate::exchange::tier::Tier;

/// The outcome of a task, as needed for the counters and the retry pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskOutcome {
    pub(super) status: RecordStatus,
    pub(super) tier: Option<Tier>,
    /// The failure is transient.
    pub(super) is_retryable: bool,
}

/// The outcome of a line that is not a task.
pub(super) const BAD_LINE_OUTCOME: TaskOutcome =
    TaskOutcome { status: RecordStatus::Failed, tier: None, is_retryable: false };
