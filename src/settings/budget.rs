//! The budget of one fetch.

use std::time::Duration;

/// The budget of one fetch, for all its tiers together. When it is exhausted, the fetch ends with the verdict of the
/// last response, or with the last error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// The maximum number of attempts, from 1. Default: 12.
    pub attempts: u32,
    /// The maximum number of attempts in the browser; 0 disables it. Default: 3.
    pub visits: u32,
    /// The maximum number of body bytes after content decoding, block pages included. Subresources of a page in the
    /// browser are not counted. Default: unlimited.
    pub bytes: Option<u64>,
    /// The time after which no attempt begins. A wait that would end later is not started either. A running attempt
    /// continues up to its [`Limits`](crate::Limits). Default: 5 minutes.
    pub elapsed: Option<Duration>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { attempts: 12, visits: 3, bytes: None, elapsed: Some(Duration::from_secs(5 * 60)) }
    }
}
