//! What one fetch may cost at most.

use std::time::Duration;

/// The most one fetch may spend on all its tiers together. Spent, it ends with what it has: the last answer's
/// verdict, or the last error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Attempts, from 1. Default: 12.
    pub attempts: u32,
    /// Attempts in the browser; 0 keeps the fetch out of it. Default: 3.
    pub visits: u32,
    /// Bytes of bodies, after content decoding, those of block pages too. What a page in the browser loads
    /// beside itself is not counted. Default: no end.
    pub bytes: Option<u64>,
    /// After so long no further attempt begins, and no wait that would end later. An attempt under way goes on:
    /// that has an end in [`Bounds`](crate::Bounds). Default: 5 minutes.
    pub elapsed: Option<Duration>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { attempts: 12, visits: 3, bytes: None, elapsed: Some(Duration::from_secs(5 * 60)) }
    }
}
