//! Who else may make a fetch when its persona is refused.

use std::sync::Arc;

use super::IdentityPair;
use super::policy::Alternatives;
use crate::error::Result;

/// Other personas for a fetch: fresh sessions, and sessions out of other exits. A pool of proxies is one.
pub(crate) trait IdentitySource: Send + Sync {
    /// Which there are in place of `persona`.
    fn alternatives(&self, persona: &IdentityPair) -> Alternatives;

    /// Somebody new by the same exit.
    ///
    /// # Errors
    /// There is nobody else.
    fn fresh_session(&self, persona: &IdentityPair) -> Result<Arc<IdentityPair>>;

    /// Somebody new by another exit. `faulty`: the exit of `persona` does not work, else it was blocked.
    ///
    /// # Errors
    /// [`ErrorKind::Proxy`](crate::ErrorKind::Proxy) when no exit works.
    fn other_proxy(&self, persona: &IdentityPair, faulty: bool) -> Result<Arc<IdentityPair>>;
}
