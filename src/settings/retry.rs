//! Retries on the same tier: how many, and after which delay.

use std::time::Duration;

/// When an attempt is retried on the same tier. Failures (network errors, origin errors) and rate limits have separate
/// counters and delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The maximum number of retries on a tier after failures, and separately after rate limits. Default: 2.
    pub max_retries: u32,
    /// The upper bound of the first delay after a failure. It doubles each time. The delay is random between zero and
    /// the bound, so that many fetches do not retry at once. Default: 500 ms.
    pub backoff: Duration,
    /// The first delay after a rate limit without `Retry-After`. It doubles each time, and up to a quarter is added.
    /// Default: 2 s.
    pub rate_limit_backoff: Duration,
    /// The maximum delay. A fetch ends if the site requests a longer one. Default: 30 s.
    pub max_wait: Duration,
    /// Whether a request with an unsafe method (POST, PUT, PATCH, DELETE) is sent again although the server may have
    /// acted on it. Default: false.
    pub repeat_unsafe: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 2,
            backoff: Duration::from_millis(500),
            rate_limit_backoff: Duration::from_secs(2),
            max_wait: Duration::from_secs(30),
            repeat_unsafe: false,
        }
    }
}

impl RetryPolicy {
    /// Whether a request of this method may be sent again although the server may have acted on it.
    pub(crate) fn may_repeat(&self, method: &http::Method) -> bool {
        method.is_safe() || self.repeat_unsafe
    }

    /// Returns the delay after a failure that follows `before` others: exponential with full jitter. `roll` is random
    /// from 0 to 1.
    pub(crate) fn failure_delay(&self, before: u32, roll: f64) -> Duration {
        self.exponential(self.backoff, before).mul_f64(roll.clamp(0.0, 1.0))
    }

    /// Returns the delay after a rate limit without Retry-After.
    pub(crate) fn rate_limit_delay(&self, before: u32, roll: f64) -> Duration {
        self.with_jitter(self.exponential(self.rate_limit_backoff, before), roll)
    }

    /// Returns `wait` plus up to a quarter. `None` if `wait` exceeds `max_wait`.
    pub(crate) fn requested_delay(&self, wait: Duration, roll: f64) -> Option<Duration> {
        (wait <= self.max_wait).then(|| self.with_jitter(wait, roll))
    }

    fn with_jitter(&self, wait: Duration, roll: f64) -> Duration {
        wait.mul_f64(1.0 + roll.clamp(0.0, 1.0) / 4.0).min(self.max_wait.max(wait))
    }

    fn exponential(&self, first: Duration, times: u32) -> Duration {
        first.saturating_mul(2_u32.saturating_pow(times)).min(self.max_wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn failure_delays_are_random_up_to_a_doubling_bound() {
        let policy = RetryPolicy::default();
        for (before, roll, expected) in [
            (0, 1.0, MS(500)),
            (1, 1.0, MS(1000)),
            (2, 0.5, MS(1000)),
            (3, 0.0, MS(0)),
            (90, 1.0, MS(30_000)),
        ] {
            assert_eq!(policy.failure_delay(before, roll), expected, "{before} {roll}");
        }
    }

    #[test]
    fn rate_limit_delays_are_between_the_requested_delay_and_the_maximum() {
        let policy = RetryPolicy::default();
        for (before, roll, expected) in
            [(0, 0.0, MS(2000)), (0, 1.0, MS(2500)), (1, 0.0, MS(4000)), (90, 1.0, MS(30_000))]
        {
            assert_eq!(policy.rate_limit_delay(before, roll), expected, "{before} {roll}");
        }
        for (requested, roll, expected) in [
            (MS(0), 1.0, Some(MS(0))),
            (MS(4000), 0.0, Some(MS(4000))),
            (MS(4000), 1.0, Some(MS(5000))),
            (MS(30_000), 1.0, Some(MS(30_000))),
            (MS(30_001), 0.0, None),
        ] {
            assert_eq!(policy.requested_delay(requested, roll), expected, "{requested:?} {roll}");
        }
    }
}
