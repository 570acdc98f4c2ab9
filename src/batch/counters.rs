//! What came of the tasks, in numbers.

use serde::Serialize;

use super::journal::TaskOutcome;
use super::record::RecordStatus;
use crate::tier::Tier;

/// Numbers of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// All that are finished.
    pub attempted: u64,
    /// There is a page.
    pub succeeded: u64,
    /// Blocked at every tier allowed.
    pub blocked: u64,
    /// Failed otherwise; lines that are no task are among them.
    pub failed: u64,
    /// How many of those that succeeded did so by each tier.
    pub tiers: TierCounts,
    /// How many of all these may go better when tried again.
    pub retryable: u64,
    #[serde(skip)]
    retryable_counts: RetryableCounts,
}

/// Numbers by tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TierCounts {
    /// By the honest client.
    pub plain: u64,
    /// By the exact Chrome on the wire.
    pub impersonate: u64,
    /// By Chromium itself.
    pub browser: u64,
}

/// Those of a tally that may go better.
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
        let passing = u64::from(outcome.is_retryable);
        self.attempted += 1;
        self.retryable += passing;
        let (sum, part) = match outcome.status {
            RecordStatus::Succeeded => (&mut self.succeeded, &mut self.retryable_counts.succeeded),
            RecordStatus::Blocked => (&mut self.blocked, &mut self.retryable_counts.blocked),
            RecordStatus::Failed => (&mut self.failed, &mut self.retryable_counts.failed),
        };
        *sum += 1;
        *part += passing;
        if let (RecordStatus::Succeeded, Some(tier)) = (outcome.status, outcome.tier) {
            *self.tiers.count_mut(tier) += 1;
            *self.retryable_counts.tiers.count_mut(tier) += passing;
        }
    }

    /// What may pass is to be tried anew.
    pub(super) fn remove_retryable(&mut self) {
        let mut passing = std::mem::take(&mut self.retryable_counts);
        self.attempted -= std::mem::take(&mut self.retryable);
        self.succeeded -= passing.succeeded;
        self.blocked -= passing.blocked;
        self.failed -= passing.failed;
        for tier in Tier::ALL {
            *self.tiers.count_mut(tier) -= *passing.tiers.count_mut(tier);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_anew_is_counted_once() {
        let mut tally = Counters::default();
        let outcome = |ending, may_pass| TaskOutcome {
            status: ending,
            tier: Some(Tier::Plain),
            is_retryable: may_pass,
        };
        for (ending, may_pass) in [
            (RecordStatus::Succeeded, false),
            // A page that says 503.
            (RecordStatus::Succeeded, true),
            (RecordStatus::Blocked, true),
            (RecordStatus::Blocked, false),
            (RecordStatus::Failed, true),
            (RecordStatus::Failed, false),
        ] {
            tally.add(outcome(ending, may_pass));
        }
        assert_eq!((tally.attempted, tally.blocked, tally.failed, tally.retryable), (6, 2, 2, 3));
        tally.remove_retryable();
        assert_eq!((tally.attempted, tally.succeeded, tally.blocked, tally.failed), (3, 1, 1, 1));
        assert_eq!(tally.tiers.plain, 1);
    }
}
