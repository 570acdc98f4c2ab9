//! Adapts the request rate to a host's responses. Pure.
//!
//! Additive increase, multiplicative decrease, as in TCP. A rate-limit response halves the rate and the
//! concurrency. Rising latency halves the concurrency. Every other response restores a little.

use std::time::Duration;

use tokio::time::Instant;

use crate::settings::rate_limit::RateLimit;

/// How far the configured rate limit of a host is reduced.
#[derive(Debug, Default)]
pub(super) struct AimdController {
    /// Requests per second, while the rate is reduced.
    rate: Option<f64>,
    /// Concurrent requests, while the concurrency is reduced.
    window: Option<f64>,
    /// When the rate was last reduced. Responses to earlier requests are ignored: they reflect the earlier
    /// rate.
    last_backoff: Option<Instant>,
    latency: LatencyTracker,
}

/// The time to the first byte, in seconds.
#[derive(Debug, Default)]
struct LatencyTracker {
    /// The usual value: the lowest seen, rising slowly.
    baseline: f64,
    /// The moving average of recent values.
    recent: f64,
    samples: u32,
}

/// How a time to first byte compares with earlier ones.
enum LatencyTrend {
    Steady,
    /// Much longer than usual: nothing is restored.
    High,
    /// Much longer than usual for several responses: the concurrency is halved.
    Rising,
}

impl AimdController {
    /// The minimum time between two requests because of the host's responses.
    pub(super) fn min_interval(&self) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate))
    }

    /// The allowed concurrency, at most `configured`.
    pub(super) fn concurrency(&self, configured: u32) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 1..=configured, a u32"
        )]
        self.window.map_or(configured, |window| (window as u32).clamp(1, configured))
    }

    /// Records a rate-limit response to a request begun at `started`.
    pub(super) fn on_rate_limited(&mut self, started: Instant, now: Instant, limit: &RateLimit) {
        if self.predates_backoff(started) {
            return;
        }
        let rate = self.rate.unwrap_or_else(|| max_rate(limit));
        self.rate = Some((rate / 2.0).max(MIN_RATE));
        self.shrink_window(limit);
        self.last_backoff = Some(now);
    }

    /// Records a response to a request begun at `started`. `latency` is its time to first byte, if known.
    pub(super) fn on_success(
        &mut self,
        started: Instant,
        now: Instant,
        latency: Option<Duration>,
        limit: &RateLimit,
    ) {
        if self.predates_backoff(started) {
            return;
        }
        match latency.map_or(LatencyTrend::Steady, |latency| self.latency.record(latency)) {
            LatencyTrend::Steady => {}
            LatencyTrend::High => return,
            LatencyTrend::Rising => {
                self.shrink_window(limit);
                self.last_backoff = Some(now);
                return;
            }
        }
        self.rate = self.rate.map(|rate| rate + RECOVERY).filter(|rate| *rate < max_rate(limit));
        let window = self.window.map(|window| window + 1.0 / window);
        self.window = window.filter(|window| *window < f64::from(limit.concurrency));
    }

    fn shrink_window(&mut self, limit: &RateLimit) {
        let window = self.window.unwrap_or_else(|| f64::from(limit.concurrency));
        self.window = Some((window / 2.0).max(1.0));
    }

    fn predates_backoff(&self, started: Instant) -> bool {
        self.last_backoff.is_some_and(|backoff| started < backoff)
    }
}

impl LatencyTracker {
    /// Records a sample.
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
        // A single very late response counts no more than a late one.
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

/// The rate above which it is no longer reduced.
fn max_rate(limit: &RateLimit) -> f64 {
    let interval = limit.interval.as_secs_f64();
    if interval > 0.0 { (1.0 / interval).clamp(MIN_RATE, MAX_RATE) } else { MAX_RATE }
}

/// The rate, in requests per second, from which a host is slowed down when no interval is configured.
const MAX_RATE: f64 = 8.0;
/// One request per minute.
const MIN_RATE: f64 = 1.0 / 60.0;
/// The rate that one response restores, in requests per second.
const RECOVERY: f64 = 0.1;
/// The number of responses before latency counts as rising.
const MIN_SAMPLES: u32 = 8;
const SMOOTHING: f64 = 4.0;
const BASELINE_DECAY: f64 = 64.0;
/// Variation of the latency that is ignored, in seconds.
const NOISE: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rate_limit_responses_halve_rate_and_window_down_to_one_request_per_minute() {
        let (mut controller, limit) = (AimdController::default(), RateLimit::new().concurrency(8));
        let mut now = Instant::now();
        assert_eq!((controller.min_interval(), controller.concurrency(8)), (Duration::ZERO, 8));
        for (gap, at_once) in [(250, 4), (500, 2), (1_000, 1), (2_000, 1), (4_000, 1)] {
            controller.on_rate_limited(now, now, &limit);
            assert_eq!(
                (controller.min_interval(), controller.concurrency(8)),
                (Duration::from_millis(gap), at_once)
            );
            now += SECOND;
        }
        for _ in 0..20 {
            controller.on_rate_limited(now, now, &limit);
            now += SECOND;
        }
        assert_eq!((controller.min_interval().as_secs(), controller.concurrency(8)), (60, 1));
    }

    #[test]
    fn rate_limit_responses_to_concurrent_requests_count_once() {
        let (mut controller, limit) = (AimdController::default(), RateLimit::new());
        let began = Instant::now();
        for _ in 0..6 {
            controller.on_rate_limited(began, began + SECOND, &limit);
        }
        assert_eq!((controller.min_interval(), controller.concurrency(6)), (Duration::from_millis(250), 3));
        // A response to an earlier request restores nothing.
        controller.on_success(began, began + SECOND, None, &limit);
        assert_eq!(controller.min_interval(), Duration::from_millis(250));
    }

    #[test]
    fn responses_restore_the_rate_step_by_step_up_to_the_configured_limit() {
        let limit = RateLimit::new();
        for refusals in [1_u32, 3, 12] {
            let mut controller = AimdController::default();
            let mut now = Instant::now();
            for _ in 0..refusals {
                controller.on_rate_limited(now, now, &limit);
                now += SECOND;
            }
            let (mut gap, mut responses) = (controller.min_interval(), 0);
            while controller.min_interval() > Duration::ZERO || controller.concurrency(6) < 6 {
                controller.on_success(now, now, None, &limit);
                assert!(controller.min_interval() < gap || gap.is_zero(), "{gap:?}");
                (gap, responses) = (controller.min_interval(), responses + 1);
                assert!(responses <= 80, "it recovers");
            }
            assert!(responses >= 40, "but not at once: {responses}");
        }
    }

    #[test]
    fn a_configured_rate_below_the_maximum_is_the_starting_point() {
        let mut controller = AimdController::default();
        let now = Instant::now();
        controller.on_rate_limited(now, now, &RateLimit::new().interval(SECOND));
        assert_eq!(controller.min_interval(), 2 * SECOND);
    }

    #[test]
    fn rising_latency_halves_the_window_and_steady_latency_does_not() {
        let limit = RateLimit::new().concurrency(8);
        let after = |samples: &[(u32, u64)]| {
            let (mut controller, now) = (AimdController::default(), Instant::now());
            for (times, millis) in samples {
                for _ in 0..*times {
                    controller.on_success(now, now, Some(Duration::from_millis(*millis)), &limit);
                }
            }
            controller.concurrency(8)
        };
        assert_eq!(after(&[(50, 30)]), 8);
        assert_eq!(after(&[(50, 2_000)]), 8, "a steadily slow host is not slowed down");
        assert_eq!(after(&[(20, 30), (1, 14_000), (10, 30)]), 8, "a single late response changes nothing");
        assert_eq!(after(&[(20, 30), (6, 1_000)]), 4);
        assert_eq!(after(&[(20, 30), (16, 1_000)]), 2, "the window is halved again while latency stays high");
        assert_eq!(after(&[(20, 30), (6, 1_000), (60, 30)]), 8, "the window recovers");
    }
}
