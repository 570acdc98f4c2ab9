//! The three tiers, behind one trait.

use futures_util::future::BoxFuture;

use crate::exchange::error::Result;
use crate::exchange::response::RawResponse;
use crate::exchange::tier::Tier;
use crate::net::AttemptRequest;

#[cfg(feature = "browser")]
pub(crate) mod browser;
#[cfg(any(feature = "browser", feature = "lab"))]
pub(crate) mod chromium;
pub(crate) mod http;

/// Executes the attempts of one tier.
pub(crate) trait Transport: Send + Sync {
    fn tier(&self) -> Tier;

    /// Drops all state of the identity with this key, which makes no more requests.
    fn drop_identity(&self, _identity: u64) {}

    /// Makes one attempt. Dropping the future releases its resources.
    fn execute<'a>(&'a self, job: AttemptRequest<'a>) -> BoxFuture<'a, Result<RawResponse>>;
}
