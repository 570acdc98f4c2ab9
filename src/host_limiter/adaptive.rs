//! How a host slows its fetches down, and how they recover. Pure.
//!
//! Additive increase, multiplicative decrease, as TCP does it: a refusal for being too fast halves
//! the rate and the requests at once, answers that take longer and longer halve the requests at
//! once, and every good answer gives a little back.

use std::time::Duration;

use tokio::time::Instant;

use crate::rate_limit::RateLimit;

/// What is left of the pace that was wished for.
#[derive(Debug, Default)]
pub(super) struct AimdController {
    /// Requests a second, while the host is spared.
    rate: Option<f64>,
    /// Requests at once, while the host is spared.
    window: Option<f64>,
    /// When it was last slowed down: requests from before tell of the speed there was then.
    last_backoff: Option<Instant>,
    latency: LatencyTracker,
}

/// How long the first byte takes, in seconds.
#[derive(Debug, Default)]
struct LatencyTracker {
    /// When all is well: the least seen, forgotten slowly.
    baseline: f64,
    /// Lately.
    recent: f64,
    samples: u32,
}

/// How a first byte compares with those before it.
enum LatencyTrend {
    Steady,
    /// It takes much longer than it did: nothing is given back.
    High,
    /// It does, and has for a while: less is asked for.
    Rising,
}

impl AimdController {
    /// The least time between two requests that the host's own behaviour asks for.
    pub(super) fn min_interval(&self) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate))
    }

    /// How many requests at once, of so many wished.
    pub(super) fn concurrency(&self, wished: u32) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to a u32 wished")]
        self.window.map_or(wished, |window| (window as u32).clamp(1, wished))
    }

    /// A request begun at `started` was refused for being too fast.
    pub(super) fn on_rate_limited(&mut self, started: Instant, now: Instant, wished: &RateLimit) {
        if self.predates_backoff(started) {
            return;
        }
        let rate = self.rate.unwrap_or_else(|| max_rate(wished));
        self.rate = Some((rate / 2.0).max(MIN_RATE));
        self.shrink_window(wished);
        self.last_backoff = Some(now);
    }

    /// A request begun at `started` was answered, its first byte after `latency` where that is known.
    pub(super) fn on_success(
        &mut self,
        started: Instant,
        now: Instant,
        latency: Option<Duration>,
        wished: &RateLimit,
    ) {
        if self.predates_backoff(started) {
            return;
        }
        match latency.map_or(LatencyTrend::Steady, |latency| self.latency.record(latency)) {
            LatencyTrend::Steady => {}
            LatencyTrend::High => return,
            LatencyTrend::Rising => {
                self.shrink_window(wished);
                self.last_backoff = Some(now);
                return;
            }
        }
        self.rate = self.rate.map(|rate| rate + RECOVERY).filter(|rate| *rate < max_rate(wished));
        let widened = self.window.map(|window| window + 1.0 / window);
        self.window = widened.filter(|window| *window < f64::from(wished.concurrency));
    }

    fn shrink_window(&mut self, wished: &RateLimit) {
        let window = self.window.unwrap_or_else(|| f64::from(wished.concurrency));
        self.window = Some((window / 2.0).max(1.0));
    }

    fn predates_backoff(&self, started: Instant) -> bool {
        self.last_backoff.is_some_and(|slowed| started < slowed)
    }
}

impl LatencyTracker {
    /// Takes a sample in.
    fn record(&mut self, sample: Duration) -> LatencyTrend {
        let mut sample = sample.as_secs_f64();
        if self.recent == 0.0 {
            (self.baseline, self.recent) = (sample, sample);
        }
        self.baseline = if sample < self.baseline {
            sample
        } else {
            self.baseline + (sample - self.baseline) / BASELINE_DECAY
        };
        // One very late answer says no more than one late answer.
        sample = sample.min(3.0 * self.recent + NOISE);
        self.recent += (sample - self.recent) / SMOOTHING;
        self.samples = self.samples.saturating_add(1);
        if self.recent <= 2.0 * self.baseline + NOISE {
            return LatencyTrend::Steady;
        }
        if self.samples < MIN_SAMPLES {
            return LatencyTrend::High;
        }
        self.samples = 0;
        LatencyTrend::Rising
    }
}

/// The rate from which a host is no longer spared.
fn max_rate(wished: &RateLimit) -> f64 {
    let wished = wished.interval.as_secs_f64();
    if wished > 0.0 { (1.0 / wished).clamp(MIN_RATE, MAX_RATE) } else { MAX_RATE }
}

/// Requests a second that a host is slowed down from when no rate was wished.
const MAX_RATE: f64 = 8.0;
/// One a minute.
const MIN_RATE: f64 = 1.0 / 60.0;
/// What a good answer gives back, in requests a second.
const RECOVERY: f64 = 0.1;
/// So many answers are heard before they say that latency rises.
const MIN_SAMPLES: u32 = 8;
const SMOOTHING: f64 = 4.0;
const BASELINE_DECAY: f64 = 64.0;
/// Seconds by which latency varies without a meaning.
const NOISE: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn refusals_halve_rate_and_window_down_to_one_a_minute() {
        let (mut speed, wished) = (AimdController::default(), RateLimit::new().concurrency(8));
        let mut now = Instant::now();
        assert_eq!((speed.min_interval(), speed.concurrency(8)), (Duration::ZERO, 8));
        for (gap, at_once) in [(250, 4), (500, 2), (1_000, 1), (2_000, 1), (4_000, 1)] {
            speed.on_rate_limited(now, now, &wished);
            assert_eq!((speed.min_interval(), speed.concurrency(8)), (Duration::from_millis(gap), at_once));
            now += SECOND;
        }
        for _ in 0..20 {
            speed.on_rate_limited(now, now, &wished);
            now += SECOND;
        }
        assert_eq!((speed.min_interval().as_secs(), speed.concurrency(8)), (60, 1));
    }

    #[test]
    fn refusals_of_requests_that_were_under_way_count_once() {
        let (mut speed, wished) = (AimdController::default(), RateLimit::new());
        let began = Instant::now();
        for _ in 0..6 {
            speed.on_rate_limited(began, began + SECOND, &wished);
        }
        assert_eq!((speed.min_interval(), speed.concurrency(6)), (Duration::from_millis(250), 3));
        // And a good answer from then gives nothing back.
        speed.on_success(began, began + SECOND, None, &wished);
        assert_eq!(speed.min_interval(), Duration::from_millis(250));
    }

    #[test]
    fn good_answers_give_it_back_little_by_little_until_nothing_is_held() {
        let wished = RateLimit::new();
        for refusals in [1_u32, 3, 12] {
            let mut speed = AimdController::default();
            let mut now = Instant::now();
            for _ in 0..refusals {
                speed.on_rate_limited(now, now, &wished);
                now += SECOND;
            }
            let (mut gap, mut answers) = (speed.min_interval(), 0);
            while speed.min_interval() > Duration::ZERO || speed.concurrency(6) < 6 {
                speed.on_success(now, now, None, &wished);
                assert!(speed.min_interval() < gap || gap.is_zero(), "{gap:?}");
                (gap, answers) = (speed.min_interval(), answers + 1);
                assert!(answers <= 80, "it recovers");
            }
            assert!(answers >= 40, "and not at once: {answers}");
        }
    }

    #[test]
    fn a_slower_pace_than_the_hosts_is_slowed_down_from_there() {
        let mut speed = AimdController::default();
        let now = Instant::now();
        speed.on_rate_limited(now, now, &RateLimit::new().interval(SECOND));
        assert_eq!(speed.min_interval(), 2 * SECOND);
    }

    #[test]
    fn rising_latency_narrows_and_an_even_one_does_not() {
        let wished = RateLimit::new().concurrency(8);
        let after = |samples: &[(u32, u64)]| {
            let (mut speed, now) = (AimdController::default(), Instant::now());
            for (times, millis) in samples {
                for _ in 0..*times {
                    speed.on_success(now, now, Some(Duration::from_millis(*millis)), &wished);
                }
            }
            speed.concurrency(8)
        };
        assert_eq!(after(&[(50, 30)]), 8);
        assert_eq!(after(&[(50, 2_000)]), 8, "a slow host is not a slowing one");
        assert_eq!(after(&[(20, 30), (1, 14_000), (10, 30)]), 8, "nor is one late answer");
        assert_eq!(after(&[(20, 30), (6, 1_000)]), 4);
        assert_eq!(after(&[(20, 30), (16, 1_000)]), 2, "still slow, it is narrowed again");
        assert_eq!(after(&[(20, 30), (6, 1_000), (60, 30)]), 8, "and it recovers");
    }
}
