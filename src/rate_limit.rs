//! What is promised to a site: whether robots.txt is obeyed, and how fast it is asked at most.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to do about robots.txt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RobotsPolicy {
    /// Ask for it, and fetch nothing it forbids.
    Obey,
    /// Do not ask. Every trace says so.
    #[default]
    Ignore,
}

impl RobotsPolicy {
    /// What a trace says of it: `obeyed` or `ignored`.
    #[must_use]
    pub const fn trace_label(self) -> &'static str {
        match self {
            Self::Obey => "obeyed",
            Self::Ignore => "ignored",
        }
    }
}

/// How fast one host is asked at most, by all fetches of a [`Fetcher`](crate::Fetcher) together.
///
/// ```
/// use std::time::Duration;
/// let slowly = rungs::Pace::new().interval(Duration::from_secs(2)).concurrency(1).jitter(0.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    pub(crate) interval: Duration,
    pub(crate) concurrency: u32,
    pub(crate) jitter: f64,
}

impl RateLimit {
    /// The defaults: no interval, 6 requests at once, no jitter.
    #[must_use]
    pub const fn new() -> Self {
        Self { interval: Duration::ZERO, concurrency: 6, jitter: 0.0 }
    }

    /// The least time from the start of one request to the start of the next. Default: none.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The most requests at once, from 1. Default: 6, as browsers have it for one host.
    #[must_use]
    pub const fn concurrency(mut self, concurrency: u32) -> Self {
        self.concurrency = if concurrency == 0 { 1 } else { concurrency };
        self
    }

    /// How uneven the pace is: 0.5 makes an interval of 2 s one of 2 to 3 s. From 0 to 10. Default: 0.
    #[must_use]
    pub const fn jitter(mut self, jitter: f64) -> Self {
        // Written so that what is no number becomes 0.
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
    fn what_no_host_can_be_asked_by_becomes_the_nearest_that_can() {
        for (jitter, kept) in [(-1.0, 0.0), (f64::NAN, 0.0), (0.5, 0.5), (f64::INFINITY, 10.0)] {
            assert!((RateLimit::new().jitter(jitter).jitter - kept).abs() < f64::EPSILON, "{jitter}");
        }
        assert_eq!(RateLimit::new().concurrency(0).concurrency, 1);
    }

    #[test]
    fn the_documented_defaults_hold() {
        let pace = RateLimit::default();
        assert_eq!((pace.interval, pace.concurrency), (Duration::ZERO, 6));
        assert_eq!(
            (RobotsPolicy::default(), RobotsPolicy::default().trace_label()),
            (RobotsPolicy::Ignore, "ignored")
        );
    }
}
