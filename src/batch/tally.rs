//! What came of the tasks, in numbers.

use serde::Serialize;

use super::journal::Outcome;
use super::record::Ending;
use crate::tier::Tier;

/// Numbers of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Tally {
    /// All that are finished.
    pub attempted: u64,
    /// There is a page.
    pub succeeded: u64,
    /// Blocked at every tier allowed.
    pub blocked: u64,
    /// Failed otherwise; lines that are no task are among them.
    pub failed: u64,
    /// How many of those that succeeded did so by each tier.
    pub tiers: Tiers,
    /// How many of all these may go better when tried again.
    pub may_pass: u64,
    #[serde(skip)]
    passing: Passing,
}

/// Numbers by tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Tiers {
    /// By the honest client.
    pub plain: u64,
    /// By the exact Chrome on the wire.
    pub impersonate: u64,
    /// By Chromium itself.
    pub browser: u64,
}

/// Those of a tally that may go better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Passing {
    tiers: Tiers,
    succeeded: u64,
    blocked: u64,
    failed: u64,
}

impl Tiers {
    fn of(&mut self, tier: Tier) -> &mut u64 {
        match tier {
            Tier::Plain => &mut self.plain,
            Tier::Impersonate => &mut self.impersonate,
            Tier::Browser => &mut self.browser,
        }
    }
}

impl Tally {
    pub(super) fn count(&mut self, outcome: Outcome) {
        let passing = u64::from(outcome.may_pass);
        self.attempted += 1;
        self.may_pass += passing;
        let (sum, part) = match outcome.ending {
            Ending::Succeeded => (&mut self.succeeded, &mut self.passing.succeeded),
            Ending::Blocked => (&mut self.blocked, &mut self.passing.blocked),
            Ending::Failed => (&mut self.failed, &mut self.passing.failed),
        };
        *sum += 1;
        *part += passing;
        if let (Ending::Succeeded, Some(tier)) = (outcome.ending, outcome.tier) {
            *self.tiers.of(tier) += 1;
            *self.passing.tiers.of(tier) += passing;
        }
    }

    /// What may pass is to be tried anew.
    pub(super) fn forget_passing(&mut self) {
        let mut passing = std::mem::take(&mut self.passing);
        self.attempted -= std::mem::take(&mut self.may_pass);
        self.succeeded -= passing.succeeded;
        self.blocked -= passing.blocked;
        self.failed -= passing.failed;
        for tier in Tier::ALL {
            *self.tiers.of(tier) -= *passing.tiers.of(tier);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_anew_is_counted_once() {
        let mut tally = Tally::default();
        let outcome = |ending, may_pass| Outcome { ending, tier: Some(Tier::Plain), may_pass };
        for (ending, may_pass) in [
            (Ending::Succeeded, false),
            // A page that says 503.
            (Ending::Succeeded, true),
            (Ending::Blocked, true),
            (Ending::Blocked, false),
            (Ending::Failed, true),
            (Ending::Failed, false),
        ] {
            tally.count(outcome(ending, may_pass));
        }
        assert_eq!((tally.attempted, tally.blocked, tally.failed, tally.may_pass), (6, 2, 2, 3));
        tally.forget_passing();
        assert_eq!((tally.attempted, tally.succeeded, tally.blocked, tally.failed), (3, 1, 1, 1));
        assert_eq!(tally.tiers.plain, 1);
    }
}
