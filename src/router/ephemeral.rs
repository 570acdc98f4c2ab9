//! Identities that live for one fetch.

use super::identities::IdentityPair;
use super::services::Router;

/// Drops the connections and browser state of identities that live for one fetch, when the fetch ends or is dropped.
pub(super) struct EphemeralIdentityGuard<'a>(Option<(&'a Router, [u64; 2])>);

impl<'a> EphemeralIdentityGuard<'a> {
    pub(super) fn new(router: &'a Router, identities: &IdentityPair) -> Self {
        let is_ephemeral = identities.proxy_session.as_ref().is_some_and(|session| session.is_ephemeral());
        Self(is_ephemeral.then(|| (router, [identities.plain.key(), identities.browser.key()])))
    }
}

impl Drop for EphemeralIdentityGuard<'_> {
    fn drop(&mut self) {
        let Some((router, keys)) = self.0 else { return };
        router.drop_keys(keys);
    }
}

impl Router {
    /// Drops everything that the transports keep for identities that are no longer used.
    pub(crate) fn drop_identities(&self, identities: &IdentityPair) {
        self.drop_keys([identities.plain.key(), identities.browser.key()]);
    }

    fn drop_keys(&self, keys: [u64; 2]) {
        for transport in &self.transports {
            for key in keys {
                transport.drop_identity(key);
            }
        }
    }
}
