//! The rate limit of a host.

use std::time::Duration;

/// The rate limit of one host, for all fetches of a [`Fetcher`](crate::Fetcher) together.
///
/// ```
/// use std::time::Duration;
/// let limit = rungs::RateLimit::new().interval(Duration::from_secs(2)).concurrency(1).jitter(0.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    pub(crate) interval: Duration,
    pub(crate) concurrency: u32,
    pub(crate) jitter: f64,
}

impl RateLimit {
    /// Creates the default: no interval, 6 concurrent requests, no jitter.
    #[must_use]
    pub const fn new() -> Self {
        Self { interval: Duration::ZERO, concurrency: 6, jitter: 0.0 }
    }

    /// Sets the minimum time between the starts of two requests. Default: none.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the maximum number of concurrent requests, from 1. Default: 6, as in browsers.
    #[must_use]
    pub const fn concurrency(mut self, concurrency: u32) -> Self {
        self.concurrency = if concurrency == 0 { 1 } else { concurrency };
        self
    }

    /// Sets the random extra delay as a fraction of the interval: with 0.5, an interval of 2 s becomes 2 to 3 s. From 0
    /// to 10. Default: 0.
    #[must_use]
    pub const fn jitter(mut self, jitter: f64) -> Self {
        // Written so that NaN becomes 0.
        self.jitter = if jitter > 0.0 { jitter.min(10.0) } else { 0.0 };
        self
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_clamped() {
        for (jitter, expected) in [(-1.0, 0.0), (f64::NAN, 0.0), (0.5, 0.5), (f64::INFINITY, 10.0)] {
            assert!((RateLimit::new().jitter(jitter).jitter - expected).abs() < f64::EPSILON, "{jitter}");
        }
        assert_eq!(RateLimit::new().concurrency(0).concurrency, 1);
    }

    #[test]
    fn the_documented_defaults_hold() {
        let limit = RateLimit::default();
        assert_eq!((limit.interval, limit.concurrency), (Duration::ZERO, 6));
    }
}
