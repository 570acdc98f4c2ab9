//! What came of the use of an exit or a session: rates that fade, and how fast it is. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How one use ended, as far as the proxy is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UseOutcome {
    /// With a page of the site's, its first byte after this long where that is known.
    Page(Option<Duration>),
    /// With an answer of the site's that is no page and no word on the address that asked.
    Answered,
    /// The site refused the address.
    Blocked,
    /// No answer of the site's came, and the proxy had a part in it.
    Fault(FaultSource),
    /// With nothing that tells of the proxy.
    Unknown,
}

/// Whose doing a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultSource {
    /// The proxy's own: it cannot be reached, or wants other credentials.
    Proxy,
    /// It may be the site's: the proxy could not reach it, or the connection broke.
    Unclear,
}

/// Counts of all uses, and the same counts fading with time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct UsageStats {
    pub(super) uses: u64,
    pub(super) pages: u64,
    pub(super) blocks: u64,
    pub(super) faults: u64,
    /// How long all uses took together.
    pub(super) busy: Duration,
    /// The time to the first byte of a page, newer ones counting more.
    pub(super) latency: Option<Duration>,
    decaying: DecayingCounts,
}

/// Counts as of a moment; older ones weigh less.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct DecayingCounts {
    pages: f64,
    blocks: f64,
    faults: f64,
    as_of: Option<Instant>,
}

impl UsageStats {
    /// Counts a use that ended at `now` and took `took`.
    pub(super) fn record(&mut self, ended: UseOutcome, took: Duration, now: Instant) {
        self.uses += 1;
        self.busy = self.busy.saturating_add(took);
        let fading = &mut self.decaying;
        *fading = fading.decayed_to(now);
        match ended {
            UseOutcome::Page(latency) => {
                self.pages += 1;
                fading.pages += 1.0;
                if let Some(latency) = latency {
                    self.latency = Some(self.latency.map_or(latency, |old| {
                        old.mul_f64(1.0 - LATENCY_SMOOTHING) + latency.mul_f64(LATENCY_SMOOTHING)
                    }));
                }
            }
            UseOutcome::Blocked => {
                self.blocks += 1;
                fading.blocks += 1.0;
            }
            UseOutcome::Fault(_) => {
                self.faults += 1;
                fading.faults += 1.0;
            }
            UseOutcome::Answered | UseOutcome::Unknown => {}
        }
    }

    /// The part of late uses that brought a page, from above 0 to 1; 1 while nothing is known.
    pub(super) fn success_rate(&self, now: Instant) -> f64 {
        let DecayingCounts { pages, blocks, faults, .. } = self.decaying.decayed_to(now);
        (pages + 1.0) / (pages + blocks + faults + 1.0)
    }

    /// How much it is to be preferred: pages count twice over, and half the time is worth twice as much.
    /// One whose latency is not known is taken to be as fast as `typical`.
    pub(super) fn weight(&self, typical: Duration, now: Instant) -> f64 {
        let success = self.success_rate(now);
        let latency = self.latency.unwrap_or(typical) + LATENCY_FLOOR;
        success * success / latency.as_secs_f64()
    }
}

impl DecayingCounts {
    /// The same counts, faded until `now`.
    fn decayed_to(&self, now: Instant) -> Self {
        let age = self.as_of.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let left = 0.5_f64.powf(age.as_secs_f64() / HALF_LIFE.as_secs_f64());
        Self {
            pages: self.pages * left,
            blocks: self.blocks * left,
            faults: self.faults * left,
            as_of: Some(now),
        }
    }
}

/// After so long a use counts half.
const HALF_LIFE: Duration = Duration::from_secs(300);
/// How much of the latency is the newest page's.
const LATENCY_SMOOTHING: f64 = 0.2;
/// Differences below this do not matter.
const LATENCY_FLOOR: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn after(uses: &[UseOutcome], now: Instant) -> UsageStats {
        let mut tally = UsageStats::default();
        for ended in uses {
            tally.record(*ended, Duration::ZERO, now);
        }
        tally
    }

    const PAGE: UseOutcome = UseOutcome::Page(None);
    const FAULT: UseOutcome = UseOutcome::Fault(FaultSource::Proxy);

    #[test]
    fn success_is_the_part_that_brought_pages_and_what_tells_nothing_is_left_out() {
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
    fn what_is_long_ago_is_forgiven() {
        let now = Instant::now();
        let tally = after(&[FAULT; 8], now);
        for (later, success) in [(0, 1.0 / 9.0), (300, 1.0 / 5.0), (600, 1.0 / 3.0), (6_000, 1.0)] {
            let found = tally.success_rate(now + Duration::from_secs(later));
            assert!((found - success).abs() < 1e-4, "{later} {found}");
        }
        assert_eq!(tally.faults, 8, "the totals stay");
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
        assert!((ratio(&[], &[page(150)]) - 1.0).abs() < 1e-9, "the unknown are taken to be typical");
        assert!((ratio(&[FAULT], &[]) - 0.25).abs() < 1e-9);
    }
}
