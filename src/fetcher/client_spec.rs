//! The client as a site sees it.

use std::sync::Arc;

use crate::fingerprint::Profile;
use crate::identity::geo::LocationOverride;
use crate::proxy::ProxyRules;
use crate::proxy::session::ProxyRotator;
use crate::router::IdentityPair;

/// The client as a site sees it: profile, proxy and location. It is the key of an identity.
#[derive(Clone)]
pub(super) struct ClientSpec {
    pub(super) profile: Arc<Profile>,
    pub(super) proxy_rules: ProxyRules,
    /// A rotator replaces the proxy rules.
    pub(super) rotator: Option<Arc<ProxyRotator>>,
    pub(super) location: LocationOverride,
}

impl PartialEq for ClientSpec {
    fn eq(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.profile, &other.profile) || self.profile == other.profile;
        let pool = |spec: &Self| spec.rotator.as_ref().map(Arc::as_ptr);
        same && self.proxy_rules == other.proxy_rules
            && pool(self) == pool(other)
            && self.location == other.location
    }
}

impl ClientSpec {
    /// Sets the proxy rules and removes the pool.
    pub(super) fn set_proxy_rules(&mut self, proxy_rules: &ProxyRules) {
        (self.proxy_rules, self.rotator) = (proxy_rules.clone(), None);
    }

    /// Whether `identities` match this spec and do not use a pool.
    pub(super) fn matches(&self, identities: &IdentityPair) -> bool {
        let profile = identities.browser.profile();
        let same = Arc::ptr_eq(profile, &self.profile) || *profile == self.profile;
        let no_pool = identities.proxy_session.is_none() && !identities.is_direct_fallback;
        no_pool
            && same
            && *identities.browser.proxy_rules() == self.proxy_rules
            && *identities.browser.location() == self.location
    }
}
