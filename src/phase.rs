//! Where a fetch stands, told as it goes on.

use std::time::Instant;

use crate::tier::Tier;
use crate::trace::Attempt;

/// What a fetch is busy with, or what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchPhase {
    /// It has begun, and waits for nothing yet.
    Started,
    /// Asks for robots.txt, or waits for another fetch that does.
    Robots,
    /// Waits for its host's pace.
    RateLimit,
    /// Waits for another fetch's visit in the browser.
    Clearance,
    /// Waits for a page in the browser.
    BrowserQueue,
    /// An attempt on a tier is being made.
    Attempt(Tier),
    /// The attempt waits for a connection: a free one, or that a new one is there.
    Connect(Tier),
    /// The attempt has asked, and waits for the answer's head.
    Response(Tier),
    /// The attempt has the answer's head; the body is on its way, or being judged.
    Body(Tier),
    /// Waits until the attempt may be made again: after a failure, or as `Retry-After` says.
    Backoff {
        /// When that is.
        until: Instant,
    },
}

impl FetchPhase {
    /// Whether it only waits: for a clock, for a turn, or for a page in the browser, which has a line of its own.
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

    /// The tier of the attempt that is being made.
    #[must_use]
    pub const fn tier(self) -> Option<Tier> {
        match self {
            Self::Attempt(tier) | Self::Connect(tier) | Self::Response(tier) | Self::Body(tier) => Some(tier),
            Self::BrowserQueue => Some(Tier::Browser),
            Self::Started | Self::Robots | Self::RateLimit | Self::Clearance | Self::Backoff { .. } => None,
        }
    }
}

/// Told how one fetch goes on. Called on the fetch's own path: it must be quick.
pub(crate) trait FetchObserver: Send + Sync {
    /// It is at this stage now.
    fn on_phase(&self, stage: FetchPhase);
    /// An attempt is over.
    fn on_attempt(&self, attempt: &Attempt);
}
