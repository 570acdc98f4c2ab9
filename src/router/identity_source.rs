//! The identities that may continue a fetch after its own were refused.

use std::sync::Arc;

use super::identities::IdentityPair;
use super::policy::Alternatives;
use crate::exchange::error::Result;

/// A source of other identities for a fetch: fresh sessions, and sessions at other proxies. A proxy pool implements
/// it.
pub(crate) trait IdentitySource: Send + Sync {
    /// Returns which alternatives to `current` are available.
    fn alternatives(&self, current: &IdentityPair) -> Alternatives;

    /// Returns new identities on the same proxy session.
    ///
    /// # Errors
    /// Fails if there are none.
    fn fresh_session(&self, current: &IdentityPair) -> Result<Arc<IdentityPair>>;

    /// Returns new identities on another proxy session. `is_faulty` means that the proxy of `current` does not work;
    /// otherwise it was blocked.
    ///
    /// # Errors
    /// [`ErrorKind::Proxy`](crate::ErrorKind::Proxy) if no proxy works.
    fn other_proxy(&self, current: &IdentityPair, is_faulty: bool) -> Result<Arc<IdentityPair>>;
}
