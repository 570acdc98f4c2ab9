//! Where a fetch stands, told as it goes on.

use crate::tier::Tier;
use crate::trace::Attempt;

/// What a fetch is busy with, or what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Asks for robots.txt, or waits for another fetch that does.
    Robots,
    /// Waits for its host's pace, or for another fetch's visit in the browser.
    Turn,
    /// An attempt on a tier is being made.
    Attempt(Tier),
    /// Waits until the attempt may be made again: after a failure, or as `Retry-After` says.
    Rest,
}

impl Stage {
    /// Whether it only waits: for a clock, for a turn, or for a page in the browser, which has a line of its own.
    #[must_use]
    pub const fn is_idle(self) -> bool {
        matches!(self, Self::Turn | Self::Rest | Self::Attempt(Tier::Browser))
    }
}

/// Told how one fetch goes on. Called on the fetch's own path: it must be quick.
pub(crate) trait Watch: Send + Sync {
    /// It is at this stage now.
    fn stage(&self, stage: Stage);
    /// An attempt is over.
    fn attempted(&self, attempt: &Attempt);
}
