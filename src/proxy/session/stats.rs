//! Outcomes of the uses of an endpoint or a session: decaying rates and latency. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How one use ended, as far as the proxy is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UseOutcome {
    /// The site returned a page; its first byte took this long, if that is known.
    Page(Option<Duration>),
    /// The site returned an answer that is not a page and does not refuse the address.
    Answered,
    /// The site refused the address.
    Blocked,
    /// The site did not answer, and the proxy contributed to that.
    Fault(FaultSource),
    /// The use says nothing about the proxy.
    Unknown,
}

/// Which side caused a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultSource {
    /// The proxy: it cannot be reached, or requires other credentials.
    Proxy,
    /// Possibly the site: the proxy could not reach it, or the connection broke.
    Unclear,
}

/// Counts of all uses, and the same counts decaying with time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct UsageStats {
    pub(super) uses: u64,
    pub(super) pages: u64,
    pub(super) blocks: u64,
    pub(super) faults: u64,
    /// The total duration of all uses.
    pub(super) busy: Duration,
    /// The time to the first byte of a page, as a moving average.
    pub(super) latency: Option<Duration>,
    decaying: DecayingCounts,
}

/// Counts at one moment; older uses weigh less.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct DecayingCounts {
    pages: f64,
    blocks: f64,
    faults: f64,
    as_of: Option<Instant>,
}

impl UsageStats {
    /// Records a use that ended at `now` and took `took`.
    pub(super) fn record(&mut self, outcome: UseOutcome, took: Duration, now: Instant) {
        self.uses += 1;
        self.busy = self.busy.saturating_add(took);
        let decaying = &mut self.decaying;
        *decaying = decaying.decayed_to(now);
        match outcome {
            UseOutcome::Page(latency) => {
                self.pages += 1;
                decaying.pages += 1.0;
                if let Some(latency) = latency {
                    self.latency = Some(self.latency.map_or(latency, |old| {
                        old.mul_f64(1.0 - LATENCY_SMOOTHING) + latency.mul_f64(LATENCY_SMOOTHING)
                    }));
                }
            }
            UseOutcome::Blocked => {
                self.blocks += 1;
                decaying.blocks += 1.0;
            }
            UseOutcome::Fault(_) => {
                self.faults += 1;
                decaying.faults += 1.0;
            }
            UseOutcome::Answered | UseOutcome::Unknown => {}
        }
    }

    /// The part of recent uses that returned a page: above 0, at most 1. Returns 1 while nothing is known.
    pub(super) fn success_rate(&self, now: Instant) -> f64 {
        let DecayingCounts { pages, blocks, faults, .. } = self.decaying.decayed_to(now);
        (pages + 1.0) / (pages + blocks + faults + 1.0)
    }

    /// The weight of the endpoint in the selection: the square of the success rate, divided by the latency.
    /// `typical` is used when the latency is unknown.
    pub(super) fn weight(&self, typical: Duration, now: Instant) -> f64 {
        let success = self.success_rate(now);
        let latency = self.latency.unwrap_or(typical) + LATENCY_FLOOR;
        success * success / latency.as_secs_f64()
    }
}

impl DecayingCounts {
    /// The same counts, decayed to `now`.
    fn decayed_to(&self, now: Instant) -> Self {
        let age = self.as_of.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let factor = 0.5_f64.powf(age.as_secs_f64() / HALF_LIFE.as_secs_f64());
        Self {
            pages: self.pages * factor,
            blocks: self.blocks * factor,
            faults: self.faults * factor,
            as_of: Some(now),
        }
    }
}

/// The half-life of a use's weight.
const HALF_LIFE: Duration = Duration::from_secs(300);
/// The weight of the newest page in the average latency.
const LATENCY_SMOOTHING: f64 = 0.2;
/// Added to every latency, so that small differences hardly matter.
const LATENCY_FLOOR: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn after(uses: &[UseOutcome], now: Instant) -> UsageStats {
        let mut stats = UsageStats::default();
        for outcome in uses {
            stats.record(*outcome, Duration::ZERO, now);
        }
        stats
    }

    const PAGE: UseOutcome = UseOutcome::Page(None);
    const FAULT: UseOutcome = UseOutcome::Fault(FaultSource::Proxy);

    #[test]
    fn the_success_rate_is_the_part_of_pages_and_ignores_unknown_outcomes() {
        let now = Instant::now();
        for (uses, success) in [
            (vec![], 1.0),
            (vec![PAGE; 9], 1.0),
            (vec![FAULT], 0.5),
            (vec![UseOutcome::Blocked; 3], 0.25),
            (vec![PAGE, PAGE, FAULT, UseOutcome::Blocked], 0.6),
            (vec![PAGE, UseOutcome::Answered, UseOutcome::Unknown], 1.0),
        ] {
            let found = after(&uses, now).success_rate(now);
            assert!((found - success).abs() < 1e-9, "{uses:?} {found}");
        }
    }

    #[test]
    fn old_faults_are_forgotten() {
        let now = Instant::now();
        let stats = after(&[FAULT; 8], now);
        for (later, success) in [(0, 1.0 / 9.0), (300, 1.0 / 5.0), (600, 1.0 / 3.0), (6_000, 1.0)] {
            let found = stats.success_rate(now + Duration::from_secs(later));
            assert!((found - success).abs() < 1e-4, "{later} {found}");
        }
        assert_eq!(stats.faults, 8, "the totals stay");
    }

    #[test]
    fn the_latency_follows_the_newest_pages() {
        let now = Instant::now();
        let page = |millis| UseOutcome::Page(Some(Duration::from_millis(millis)));
        assert_eq!(after(&[page(100)], now).latency, Some(Duration::from_millis(100)));
        assert_eq!(after(&[page(100), page(600)], now).latency, Some(Duration::from_millis(200)));
        assert_eq!(after(&[page(100), PAGE, FAULT], now).latency, Some(Duration::from_millis(100)));
    }

    #[test]
    fn half_the_time_weighs_twice_and_half_the_pages_a_quarter() {
        let now = Instant::now();
        let page = |millis| UseOutcome::Page(Some(Duration::from_millis(millis)));
        let weight = |uses: &[UseOutcome]| after(uses, now).weight(Duration::from_millis(150), now);
        let ratio = |a: &[UseOutcome], b: &[UseOutcome]| weight(a) / weight(b);
        assert!((ratio(&[page(150)], &[page(350)]) - 2.0).abs() < 1e-9);
        assert!(
            (ratio(&[], &[page(150)]) - 1.0).abs() < 1e-9,
            "an unknown latency counts as the typical one"
        );
        assert!((ratio(&[FAULT], &[]) - 0.25).abs() < 1e-9);
    }
}
