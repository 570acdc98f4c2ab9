//! Counts finished tasks by outcome.

use serde::Serialize;

use super::outcome::TaskOutcome;
use super::record::RecordStatus;
use crate::exchange::tier::Tier;

/// Numbers of finished tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// All finished tasks.
    pub attempted: u64,
    /// Tasks with a response.
    pub succeeded: u64,
    /// Tasks blocked on every allowed tier.
    pub blocked: u64,
    /// Tasks that failed for another reason, including lines that are not a task.
    pub failed: u64,
    /// The succeeded tasks by tier.
    pub tiers: TierCounts,
    /// The tasks whose failure is transient.
    #[serde(rename = "may_pass")]
    pub retryable: u64,
    #[serde(skip)]
    retryable_counts: RetryableCounts,
}

/// Numbers by tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TierCounts {
    /// The plain tier.
    pub plain: u64,
    /// The impersonate tier.
    pub impersonate: u64,
    /// The browser tier.
    pub browser: u64,
}

/// The retryable part of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RetryableCounts {
    tiers: TierCounts,
    succeeded: u64,
    blocked: u64,
    failed: u64,
}

impl TierCounts {
    fn count_mut(&mut self, tier: Tier) -> &mut u64 {
        match tier {
            Tier::Plain => &mut self.plain,
            Tier::Impersonate => &mut self.impersonate,
            Tier::Browser => &mut self.browser,
        }
    }
}

impl Counters {
    pub(super) fn add(&mut self, outcome: TaskOutcome) {
        let retryable = u64::from(outcome.is_retryable);
        self.attempted += 1;
        self.retryable += retryable;
        let (sum, part) = match outcome.status {
            RecordStatus::Succeeded => (&mut self.succeeded, &mut self.retryable_counts.succeeded),
            RecordStatus::Blocked => (&mut self.blocked, &mut self.retryable_counts.blocked),
            RecordStatus::Failed => (&mut self.failed, &mut self.retryable_counts.failed),
        };
        *sum += 1;
        *part += retryable;
        if let (RecordStatus::Succeeded, Some(tier)) = (outcome.status, outcome.tier) {
            *self.tiers.count_mut(tier) += 1;
            *self.retryable_counts.tiers.count_mut(tier) += retryable;
        }
    }

    /// Removes the retryable tasks from all counters, before they are retried.
    pub(super) fn remove_retryable(&mut self) {
        let mut retryable = std::mem::take(&mut self.retryable_counts);
        self.attempted -= std::mem::take(&mut self.retryable);
        self.succeeded -= retryable.succeeded;
        self.blocked -= retryable.blocked;
        self.failed -= retryable.failed;
        for tier in Tier::ALL {
            *self.tiers.count_mut(tier) -= *retryable.tiers.count_mut(tier);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retried_task_is_counted_once() {
        let mut counters = Counters::default();
        let outcome = |status, is_retryable| TaskOutcome { status, tier: Some(Tier::Plain), is_retryable };
        for (status, is_retryable) in [
            (RecordStatus::Succeeded, false),
            // A response with status 503.
            (RecordStatus::Succeeded, true),
            (RecordStatus::Blocked, true),
            (RecordStatus::Blocked, false),
            (RecordStatus::Failed, true),
            (RecordStatus::Failed, false),
        ] {
            counters.add(outcome(status, is_retryable));
        }
        assert_eq!((counters.attempted, counters.blocked, counters.failed, counters.retryable), (6, 2, 2, 3));
        counters.remove_retryable();
        assert_eq!((counters.attempted, counters.succeeded, counters.blocked, counters.failed), (3, 1, 1, 1));
        assert_eq!(counters.tiers.plain, 1);
    }
}
