//! The identities of a fetch.

use std::sync::Arc;

use crate::exchange::tier::Tier;
use crate::identity::Identity;
use crate::memory::SavedIdentityKey;
use crate::proxy::session::ProxySession;

/// The pair of identities used for a fetch: one for the plain tier, one for the browser-like tiers.
pub(crate) struct IdentityPair {
    pub(crate) plain: Identity,
    pub(crate) browser: Identity,
    /// The key under which the host memory stores clearances. `None` for identities that live for one fetch.
    pub(crate) memory_key: Option<SavedIdentityKey>,
    /// The proxy session of a pool that the identities use.
    pub(crate) proxy_session: Option<Arc<ProxySession>>,
    /// The identities connect directly because no proxy works.
    pub(crate) is_direct_fallback: bool,
}

impl IdentityPair {
    pub(super) fn for_tier(&self, tier: Tier) -> &Identity {
        if tier == Tier::Plain { &self.plain } else { &self.browser }
    }
}

/// The identities with which a fetch begins.
pub(crate) struct FirstIdentities {
    pub(crate) identities: Arc<IdentityPair>,
    /// The identities to fall back to if `identities` probe the default profile and it is still blocked.
    pub(crate) probe_fallback: Option<Arc<IdentityPair>>,
}
