//! How often a rung worked, and whether it still does. Pure: the time comes from outside.

use serde::{Deserialize, Serialize};

/// What was seen of one rung in one area. All times are seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecayingTally {
    /// Pages it got, ever.
    pub pages: u64,
    /// Refusals it met, ever.
    pub refusals: u64,
    /// The recent pages: each counts less as time and newer evidence pass.
    pub good: f64,
    /// The recent refusals, in the same way.
    pub bad: f64,
    /// Refusals since the last page; those that came together count once.
    pub streak: u32,
    /// When the streak last grew; 0 when it never did.
    pub refused: i64,
    /// When anything was last seen.
    pub seen: i64,
}

/// What a rung is known to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TierStatus {
    /// Nothing, or nothing any more.
    Unknown,
    Works,
    /// It is refused; it is worth one more request from then on.
    Refused {
        retry_at: i64,
    },
}

impl DecayingTally {
    /// One page.
    pub(crate) const fn from_page(now: i64) -> Self {
        Self { pages: 1, refusals: 0, good: 1.0, bad: 0.0, streak: 0, refused: 0, seen: now }
    }

    /// One refusal.
    pub(crate) const fn from_refusal(now: i64) -> Self {
        Self { pages: 0, refusals: 1, good: 0.0, bad: 1.0, streak: 1, refused: now, seen: now }
    }

    /// With what was seen after it. The counts of several observers add up, whoever comes first; what is
    /// recent is told by time.
    #[must_use]
    pub(crate) fn merge(self, other: Self) -> Self {
        let (older, newer) = if self.seen <= other.seen { (self, other) } else { (other, self) };
        let age = decay(newer.seen - older.seen);
        // Little enough that a handful of answers outweighs a thousand old ones.
        let room = (MAX_WEIGHT - newer.good - newer.bad).max(0.0);
        let (good, bad) = (older.good * age, older.bad * age);
        let kept = if good + bad > room { room / (good + bad) } else { 1.0 };
        let (streak, refused) = merge_streaks(older, newer);
        Self {
            pages: older.pages.saturating_add(newer.pages),
            refusals: older.refusals.saturating_add(newer.refusals),
            good: good.mul_add(kept, newer.good).min(MAX_WEIGHT),
            bad: bad.mul_add(kept, newer.bad).min(MAX_WEIGHT),
            streak,
            refused,
            seen: newer.seen,
        }
    }

    /// What is known by it at `now`.
    pub(crate) fn status(&self, now: i64) -> TierStatus {
        if (self.good + self.bad) * decay(now - self.seen) < MIN_WEIGHT {
            return TierStatus::Unknown;
        }
        // The newest answer speaks first: a page tells that it works, and one refusal among pages is chance.
        if self.streak == 0 || self.good > self.bad {
            return TierStatus::Works;
        }
        let wait = RETRY_AFTER.saturating_mul(1 << (self.streak - 1).min(8)).min(MAX_RETRY_AFTER);
        TierStatus::Refused { retry_at: self.refused.saturating_add(wait) }
    }

    /// How much its recent pages weigh at `now`.
    pub(crate) fn weight(&self, now: i64) -> f64 {
        self.good * decay(now - self.seen)
    }

    /// Whether the numbers can be those of a tally: what comes from a file is looked at.
    pub(crate) fn is_valid(&self) -> bool {
        let weight = |value: f64| value.is_finite() && (0.0..=MAX_WEIGHT).contains(&value);
        weight(self.good) && weight(self.bad) && self.refused >= 0 && self.seen >= 0
    }
}

/// The streak of both, and when it last grew.
const fn merge_streaks(older: DecayingTally, newer: DecayingTally) -> (u32, i64) {
    match (newer.pages > 0, newer.streak > 0) {
        // A page ended what was before.
        (true, _) => (newer.streak, newer.refused),
        (false, false) => (older.streak, older.refused),
        (false, true) if older.streak > 0 && newer.refused - older.refused < BURST_WINDOW => {
            (if older.streak > newer.streak { older.streak } else { newer.streak }, older.refused)
        }
        (false, true) => (older.streak.saturating_add(newer.streak), newer.refused),
    }
}

/// What is left of one after so many seconds.
#[expect(clippy::cast_precision_loss, reason = "a time is far below 2^53 seconds")]
fn decay(seconds: i64) -> f64 {
    0.5_f64.powf(seconds.max(0) as f64 / HALF_LIFE)
}

/// Evidence counts half after so many seconds: a day.
const HALF_LIFE: f64 = 86_400.0;
/// The most that recent evidence weighs: so many answers.
const MAX_WEIGHT: f64 = 4.0;
/// Below this weight nothing is known: two days after a single answer, four after many.
const MIN_WEIGHT: f64 = 0.25;
/// How long after a refusal a cheaper rung is asked again, in seconds: an hour, then two, four, …
const RETRY_AFTER: i64 = 60 * 60;
/// It is asked at least so often: twice a day.
const MAX_RETRY_AFTER: i64 = 12 * 60 * 60;
/// Refusals within so many seconds are one: fetches that were under way together. Five minutes.
const BURST_WINDOW: i64 = 5 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    fn seen(answers: &[(i64, bool)]) -> DecayingTally {
        answers.iter().fold(DecayingTally::default(), |tally, (at, good)| {
            tally.merge(if *good {
                DecayingTally::from_page(NOW + at)
            } else {
                DecayingTally::from_refusal(NOW + at)
            })
        })
    }

    fn refused(known: TierStatus) -> Option<i64> {
        match known {
            TierStatus::Refused { retry_at: ask_again } => Some(ask_again - NOW),
            _ => None,
        }
    }

    #[test]
    fn a_rung_works_until_it_is_refused_and_again_after_one_page() {
        assert_eq!(DecayingTally::default().status(NOW), TierStatus::Unknown);
        assert_eq!(seen(&[(0, true)]).status(NOW), TierStatus::Works);
        assert_eq!(refused(seen(&[(0, false)]).status(NOW)), Some(RETRY_AFTER));
        assert_eq!(seen(&[(0, false), (1, false), (2, true)]).status(NOW + 2), TierStatus::Works);
    }

    #[test]
    fn one_refusal_among_many_pages_is_chance_and_a_few_in_a_row_are_not() {
        let mut tally = seen(&[(0, true); 1000]);
        let mut refusals = 0;
        while tally.status(NOW) == TierStatus::Works {
            tally = tally.merge(DecayingTally::from_refusal(NOW));
            refusals += 1;
        }
        assert!((2..=4).contains(&refusals), "{refusals}");
        assert_eq!((tally.pages, tally.refusals), (1000, refusals));
    }

    #[test]
    fn each_refusal_later_doubles_the_wait_and_those_of_one_wave_are_one() {
        let hours = |answers: &[i64]| {
            let tally = seen(&answers.iter().map(|at| (*at, false)).collect::<Vec<_>>());
            (refused(tally.status(NOW + answers[answers.len() - 1])).unwrap() - tally.refused + NOW) / 3600
        };
        assert_eq!(hours(&[0]), 1);
        assert_eq!(hours(&[0, 1, 2, BURST_WINDOW - 1]), 1);
        assert_eq!(hours(&[0, BURST_WINDOW]), 2);
        assert_eq!(hours(&[0, BURST_WINDOW, BURST_WINDOW + 1, 2 * BURST_WINDOW]), 4);
        assert_eq!(
            hours(&(0..40).map(|wave| wave * BURST_WINDOW).collect::<Vec<_>>()),
            MAX_RETRY_AFTER / 3600
        );
    }

    #[test]
    fn what_is_old_is_forgotten_and_what_was_seen_often_later() {
        let day = 86_400;
        for (answers, until) in [(1, 2), (50, 4)] {
            let tally = seen(&vec![(0, false); answers]);
            assert!(refused(tally.status(NOW + until * day - 1)).is_some(), "{answers}");
            assert_eq!(tally.status(NOW + until * day + 60), TierStatus::Unknown, "{answers}");
        }
    }

    #[test]
    fn counts_add_up_whoever_comes_first() {
        let (early, late) = (seen(&[(0, true), (10, false)]), seen(&[(5, true), (20, true)]));
        assert_eq!(early.merge(late), late.merge(early));
        let both = early.merge(late);
        assert_eq!((both.pages, both.refusals, both.seen), (3, 1, NOW + 20));
        assert!(both.is_valid() && both.good + both.bad <= MAX_WEIGHT);
    }

    #[test]
    fn a_clock_that_was_wrong_makes_no_evidence_eternal() {
        assert_eq!(DecayingTally::from_page(NOW + 10_000_000).status(NOW), TierStatus::Works);
        assert!(!DecayingTally { good: f64::NAN, ..DecayingTally::default() }.is_valid());
        assert!(!DecayingTally { bad: 1e9, ..DecayingTally::default() }.is_valid());
    }
}
