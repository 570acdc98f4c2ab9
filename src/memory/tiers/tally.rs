//! Counts how often a tier worked, and tells whether it still does. Pure: the caller passes the time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::settings::cooldown::CooldownPolicy;

/// Pages and refusals of one tier mode in one site section. All times are seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecayingTally {
    /// All pages ever received.
    pub pages: u64,
    /// All refusals ever received.
    pub refusals: u64,
    /// Weight of the recent pages. It decays with time and with newer results.
    pub good: f64,
    /// Weight of the recent refusals, which decays in the same way.
    pub bad: f64,
    /// Refusals since the last page; refusals of one burst count once.
    pub streak: u32,
    /// When the streak last grew; 0 if it never did.
    pub refused: i64,
    /// When the last page or refusal was received.
    pub seen: i64,
}

/// Whether a tier mode is known to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TierStatus {
    /// No results, or only results that have decayed.
    Unknown,
    Works,
    Refused {
        /// From then on, one probe is worthwhile.
        retry_at: i64,
    },
}

impl DecayingTally {
    /// Returns a tally of one page.
    pub(crate) const fn from_page(now: i64) -> Self {
        Self { pages: 1, refusals: 0, good: 1.0, bad: 0.0, streak: 0, refused: 0, seen: now }
    }

    /// Returns a tally of one refusal.
    pub(crate) const fn from_refusal(now: i64) -> Self {
        Self { pages: 0, refusals: 1, good: 0.0, bad: 1.0, streak: 1, refused: now, seen: now }
    }

    /// Adds `other` to this tally. The order does not matter: counts add up, and the times decide which results
    /// are recent.
    #[must_use]
    pub(crate) fn merge(self, other: Self) -> Self {
        let (older, newer) = if self.seen <= other.seen { (self, other) } else { (other, self) };
        let factor = decay(newer.seen - older.seen);
        // The limit is low, so that a few new results outweigh a thousand old ones.
        let room = (MAX_WEIGHT - newer.good - newer.bad).max(0.0);
        let (good, bad) = (older.good * factor, older.bad * factor);
        let scale = if good + bad > room { room / (good + bad) } else { 1.0 };
        let (streak, refused) = merge_streaks(older, newer);
        Self {
            pages: older.pages.saturating_add(newer.pages),
            refusals: older.refusals.saturating_add(newer.refusals),
            good: good.mul_add(scale, newer.good).min(MAX_WEIGHT),
            bad: bad.mul_add(scale, newer.bad).min(MAX_WEIGHT),
            streak,
            refused,
            seen: newer.seen,
        }
    }

    /// Returns the status of the tier at `now`.
    pub(crate) fn status(&self, now: i64) -> TierStatus {
        if (self.good + self.bad) * decay(now - self.seen) < MIN_WEIGHT {
            return TierStatus::Unknown;
        }
        // The newest result decides: after a page the tier works. A single refusal among many pages is chance.
        if self.streak == 0 || self.good > self.bad {
            return TierStatus::Works;
        }
        let wait = i64::try_from(RETRY_INTERVALS.length(self.streak).as_secs()).unwrap_or(i64::MAX);
        TierStatus::Refused { retry_at: self.refused.saturating_add(wait) }
    }

    /// Returns the weight of the recent pages at `now`.
    pub(crate) fn weight(&self, now: i64) -> f64 {
        self.good * decay(now - self.seen)
    }

    /// Whether the numbers are possible. Data from a file is not trusted.
    pub(crate) fn is_valid(&self) -> bool {
        let is_weight = |value: f64| value.is_finite() && (0.0..=MAX_WEIGHT).contains(&value);
        is_weight(self.good) && is_weight(self.bad) && self.refused >= 0 && self.seen >= 0
    }
}

/// Returns the combined streak, and when it last grew.
const fn merge_streaks(older: DecayingTally, newer: DecayingTally) -> (u32, i64) {
    match (newer.pages > 0, newer.streak > 0) {
        // A page ends the older streak.
        (true, _) => (newer.streak, newer.refused),
        (false, false) => (older.streak, older.refused),
        (false, true) if older.streak > 0 && newer.refused - older.refused < BURST_WINDOW => {
            (if older.streak > newer.streak { older.streak } else { newer.streak }, older.refused)
        }
        (false, true) => (older.streak.saturating_add(newer.streak), newer.refused),
    }
}

/// Returns the factor by which a weight decays in `seconds`.
#[expect(clippy::cast_precision_loss, reason = "a time is far below 2^53 seconds")]
fn decay(seconds: i64) -> f64 {
    0.5_f64.powf(seconds.max(0) as f64 / HALF_LIFE)
}

/// Half-life of a weight in seconds: a day.
const HALF_LIFE: f64 = 86_400.0;
/// Maximum total weight of recent results, in results.
const MAX_WEIGHT: f64 = 4.0;
/// Below this weight the status is unknown: two days after a single result, four after many.
const MIN_WEIGHT: f64 = 0.25;
/// How long after a refusal a cheaper tier is probed: an hour, then two, four, …
const RETRY_INTERVALS: CooldownPolicy = CooldownPolicy {
    first: Duration::from_secs(60 * 60),
    max: Duration::from_secs(12 * 60 * 60),
    probe_timeout: None,
};
/// Refusals within this many seconds count once, because the fetches ran concurrently: five minutes.
const BURST_WINDOW: i64 = 5 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    fn tally_of(results: &[(i64, bool)]) -> DecayingTally {
        results.iter().fold(DecayingTally::default(), |tally, (at, good)| {
            tally.merge(if *good {
                DecayingTally::from_page(NOW + at)
            } else {
                DecayingTally::from_refusal(NOW + at)
            })
        })
    }

    fn retry_delay(status: TierStatus) -> Option<i64> {
        match status {
            TierStatus::Refused { retry_at } => Some(retry_at - NOW),
            _ => None,
        }
    }

    #[test]
    fn a_tier_works_until_it_is_refused_and_again_after_one_page() {
        assert_eq!(DecayingTally::default().status(NOW), TierStatus::Unknown);
        assert_eq!(tally_of(&[(0, true)]).status(NOW), TierStatus::Works);
        assert_eq!(retry_delay(tally_of(&[(0, false)]).status(NOW)), Some(3600));
        assert_eq!(tally_of(&[(0, false), (1, false), (2, true)]).status(NOW + 2), TierStatus::Works);
    }

    #[test]
    fn one_refusal_among_many_pages_is_chance_and_a_few_in_a_row_are_not() {
        let mut tally = tally_of(&[(0, true); 1000]);
        let mut refusals = 0;
        while tally.status(NOW) == TierStatus::Works {
            tally = tally.merge(DecayingTally::from_refusal(NOW));
            refusals += 1;
        }
        assert!((2..=4).contains(&refusals), "{refusals}");
        assert_eq!((tally.pages, tally.refusals), (1000, refusals));
    }

    #[test]
    fn each_later_refusal_doubles_the_wait_and_a_burst_counts_once() {
        let hours = |times: &[i64]| {
            let tally = tally_of(&times.iter().map(|at| (*at, false)).collect::<Vec<_>>());
            (retry_delay(tally.status(NOW + times[times.len() - 1])).unwrap() - tally.refused + NOW) / 3600
        };
        assert_eq!(hours(&[0]), 1);
        assert_eq!(hours(&[0, 1, 2, BURST_WINDOW - 1]), 1);
        assert_eq!(hours(&[0, BURST_WINDOW]), 2);
        assert_eq!(hours(&[0, BURST_WINDOW, BURST_WINDOW + 1, 2 * BURST_WINDOW]), 4);
        assert_eq!(hours(&(0..40).map(|burst| burst * BURST_WINDOW).collect::<Vec<_>>()), 12);
    }

    #[test]
    fn old_results_expire_and_frequent_ones_later() {
        let day = 86_400;
        for (results, until) in [(1, 2), (50, 4)] {
            let tally = tally_of(&vec![(0, false); results]);
            assert!(retry_delay(tally.status(NOW + until * day - 1)).is_some(), "{results}");
            assert_eq!(tally.status(NOW + until * day + 60), TierStatus::Unknown, "{results}");
        }
    }

    #[test]
    fn counts_add_up_in_any_order() {
        let (early, late) = (tally_of(&[(0, true), (10, false)]), tally_of(&[(5, true), (20, true)]));
        assert_eq!(early.merge(late), late.merge(early));
        let both = early.merge(late);
        assert_eq!((both.pages, both.refusals, both.seen), (3, 1, NOW + 20));
        assert!(both.is_valid() && both.good + both.bad <= MAX_WEIGHT);
    }

    #[test]
    fn a_wrong_clock_does_not_make_a_tally_permanent() {
        assert_eq!(DecayingTally::from_page(NOW + 10_000_000).status(NOW), TierStatus::Works);
        assert!(!DecayingTally { good: f64::NAN, ..DecayingTally::default() }.is_valid());
        assert!(!DecayingTally { bad: 1e9, ..DecayingTally::default() }.is_valid());
    }
}
