//! Where a fetch stands, told as it goes on.

use std::time::Instant;

use crate::tier::Tier;
use crate::trace::Attempt;

/// What a fetch is busy with, or what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// It has begun, and waits for nothing yet.
    Begun,
    /// Asks for robots.txt, or waits for another fetch that does.
    Robots,
    /// Waits for its host's pace.
    Turn,
    /// Waits for another fetch's visit in the browser.
    Visit,
    /// Waits for a page in the browser.
    Queue,
    /// An attempt on a tier is being made.
    Attempt(Tier),
    /// The attempt waits for a connection: a free one, or that a new one is there.
    Connect(Tier),
    /// The attempt has asked, and waits for the answer's head.
    Answer(Tier),
    /// The attempt has the answer's head; the body is on its way, or being judged.
    Body(Tier),
    /// Waits until the attempt may be made again: after a failure, or as `Retry-After` says.
    Rest {
        /// When that is.
        until: Instant,
    },
}

impl Stage {
    /// Whether it only waits: for a clock, for a turn, or for a page in the browser, which has a line of its own.
    #[must_use]
    pub const fn is_idle(self) -> bool {
        matches!(
            self,
            Self::Turn | Self::Visit | Self::Queue | Self::Rest { .. } | Self::Attempt(Tier::Browser)
        )
    }

    /// The tier of the attempt that is being made.
    #[must_use]
    pub const fn tier(self) -> Option<Tier> {
        match self {
            Self::Attempt(tier) | Self::Connect(tier) | Self::Answer(tier) | Self::Body(tier) => Some(tier),
            Self::Queue => Some(Tier::Browser),
            Self::Begun | Self::Robots | Self::Turn | Self::Visit | Self::Rest { .. } => None,
        }
    }
}

/// Told how one fetch goes on. Called on the fetch's own path: it must be quick.
pub(crate) trait Watch: Send + Sync {
    /// It is at this stage now.
    fn stage(&self, stage: Stage);
    /// An attempt is over.
    fn attempted(&self, attempt: &Attempt);
}
