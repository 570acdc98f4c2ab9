//! The phase of a running fetch, and the observer of it.

use std::time::Instant;

use crate::exchange::tier::Tier;
use crate::exchange::trace::Attempt;

/// The phase of a running fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchPhase {
    /// The fetch has begun.
    Started,
    /// Requesting robots.txt, or waiting for another fetch that does.
    Robots,
    /// Waiting for the rate limit of the host.
    RateLimit,
    /// Waiting for the browser visit of another fetch (single flight).
    Clearance,
    /// Waiting for a free browser page.
    BrowserQueue,
    /// Running an attempt on a tier.
    Attempt(Tier),
    /// Waiting for a pooled or new connection.
    Connect(Tier),
    /// The request is sent; waiting for the response headers.
    Response(Tier),
    /// Reading the body, or classifying the response.
    Body(Tier),
    /// Waiting before a retry, after a failure or as `Retry-After` requests.
    Backoff {
        /// The time of the retry.
        until: Instant,
    },
}

impl FetchPhase {
    /// Whether the fetch waits for a timer, for another fetch or for the browser, rather than for an HTTP response.
    #[must_use]
    pub const fn is_waiting(self) -> bool {
        matches!(
            self,
            Self::RateLimit
                | Self::Clearance
                | Self::BrowserQueue
                | Self::Backoff { .. }
                | Self::Attempt(Tier::Browser)
        )
    }

    /// The tier of the current attempt.
    #[must_use]
    pub const fn tier(self) -> Option<Tier> {
        match self {
            Self::Attempt(tier) | Self::Connect(tier) | Self::Response(tier) | Self::Body(tier) => Some(tier),
            Self::BrowserQueue => Some(Tier::Browser),
            Self::Started | Self::Robots | Self::RateLimit | Self::Clearance | Self::Backoff { .. } => None,
        }
    }
}

/// Observes one fetch. Calls are synchronous with the fetch, so they must return quickly.
pub(crate) trait FetchObserver: Send + Sync {
    /// Reports a change of phase.
    fn on_phase(&self, phase: FetchPhase);
    /// Reports a finished attempt.
    fn on_attempt(&self, attempt: &Attempt);
}
