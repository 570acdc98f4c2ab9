//! The identities that use proxy pools: one per proxy session, created on demand and replaced when the session ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::memory::SavedIdentityKey;
use crate::os::sync::lock_unpoisoned;
use crate::proxy::ProxyRules;
use crate::proxy::session::{ProxyPool, ProxyRotator, ProxySession, ProxyStats, RotationMode, SessionQuery};
use crate::router::{Alternatives, IdentityPair, IdentitySource};

use super::Inner;
use super::client_spec::ClientSpec;

/// The rotators of all pools in use. Equal pools share one rotator.
#[derive(Default)]
pub(super) struct ProxyPools(Mutex<Vec<(ProxyPool, Arc<ProxyRotator>)>>);

impl ProxyPools {
    /// Returns the rotator of `pool`.
    pub(super) fn get_or_create(&self, pool: &ProxyPool) -> Result<Arc<ProxyRotator>> {
        let mut rotators = lock_unpoisoned(&self.0);
        if let Some((_, rotator)) = rotators.iter().find(|(other, _)| other == pool) {
            return Ok(Arc::clone(rotator));
        }
        let rotator = Arc::new(ProxyRotator::new(pool)?);
        rotators.push((pool.clone(), Arc::clone(&rotator)));
        Ok(rotator)
    }

    pub(super) fn stats(&self) -> Vec<ProxyStats> {
        lock_unpoisoned(&self.0).iter().flat_map(|(_, rotator)| rotator.stats()).collect()
    }
}

/// The identities in use, by session and site.
#[derive(Default)]
pub(super) struct IdentityPool(Mutex<HashMap<PoolKey, Vec<PooledIdentity>>>);

/// A user's session, and the site if the session has a separate proxy session there.
type PoolKey = (Option<Arc<str>>, Option<String>);

/// An identity pair in the pool, with its client spec.
struct PooledIdentity {
    spec: ClientSpec,
    identities: Arc<IdentityPair>,
    last_used: Instant,
}

/// The source of identities for one user's session at one site, through a proxy pool.
pub(super) struct ProxyIdentitySource<'a> {
    pub(super) inner: &'a Inner,
    pub(super) session_name: Option<&'a Arc<str>>,
    pub(super) spec: &'a ClientSpec,
    pub(super) rotator: &'a ProxyRotator,
    pub(super) site: String,
    /// The fetch may use the browser tier, whose connections must share one address.
    pub(super) single_address: bool,
    /// The URL is requested without a proxy.
    pub(super) bypasses_proxy: bool,
    /// The same session without a proxy. All other identities share the cookies that the caller gave it.
    pub(super) base: &'a Arc<IdentityPair>,
}

impl ProxyIdentitySource<'_> {
    /// Selects the identities for the fetch. If rotation is sticky, they stay the same while the proxy session lasts.
    ///
    /// # Errors
    /// [`ErrorKind::Proxy`] if no proxy works.
    pub(super) fn select(&self) -> Result<Arc<IdentityPair>> {
        if self.rotator.mode() == RotationMode::Rotating {
            return self.open_identity(self.base, self.session_query(false, false, None));
        }
        let now = Instant::now();
        let mut pool = self.lock_pool();
        let current = [self.pool_key(true), self.pool_key(false)].into_iter().find_map(|key| {
            let entry = self.find(&mut pool, &key)?;
            entry.last_used = now;
            Some((key, Arc::clone(&entry.identities)))
        });
        match current {
            Some((_, identities)) if !should_replace(&identities, now) || self.bypasses_proxy => {
                Ok(identities)
            }
            Some((key, previous)) => {
                // The rotator renews an expired session itself. A refused one must be renewed explicitly.
                let is_renewal =
                    previous.proxy_session.as_ref().is_some_and(|session| !session.is_expired(now));
                let identities =
                    self.open_identity(&previous, self.session_query(key.1.is_some(), is_renewal, None))?;
                self.insert(&mut pool, key, &identities);
                Ok(identities)
            }
            None => {
                let per_site = self.rotator.mode() == RotationMode::PerHost;
                let identities = self.open_identity(self.base, self.session_query(per_site, false, None))?;
                self.insert(&mut pool, self.pool_key(per_site), &identities);
                Ok(identities)
            }
        }
    }

    fn session_query<'w>(
        &'w self,
        per_site: bool,
        is_renewal: bool,
        replaced: Option<&'w ProxySession>,
    ) -> SessionQuery<'w> {
        let name = self.session_name.map(AsRef::as_ref);
        SessionQuery {
            session_name: name,
            site: &self.site,
            per_site,
            is_renewal,
            single_address: self.single_address,
            bypasses_proxy: self.bypasses_proxy,
            replaces: replaced,
        }
    }

    fn insert(
        &self,
        pool: &mut HashMap<PoolKey, Vec<PooledIdentity>>,
        key: PoolKey,
        identities: &Arc<IdentityPair>,
    ) {
        // A direct fallback is not stored: the next fetch tries the proxies again.
        if identities.is_direct_fallback {
            return;
        }
        evict(pool);
        let entries = pool.entry(key).or_default();
        entries.retain(|entry| entry.spec != *self.spec);
        entries.push(PooledIdentity {
            spec: self.spec.clone(),
            identities: Arc::clone(identities),
            last_used: Instant::now(),
        });
    }

    /// Opens a proxy session and creates identities for it, with the caller's cookies of `previous`.
    fn open_identity(&self, previous: &IdentityPair, query: SessionQuery<'_>) -> Result<Arc<IdentityPair>> {
        match self.rotator.open_session(query) {
            Ok(session) => Ok(self.new_identity(Some(session), previous)),
            Err(error) if self.rotator.can_go_direct() => {
                tracing::warn!(cause = error.chain(), "falling back to a direct connection");
                Ok(self.new_identity(None, previous))
            }
            Err(error) => Err(error),
        }
    }

    fn new_identity(&self, session: Option<Arc<ProxySession>>, previous: &IdentityPair) -> Arc<IdentityPair> {
        let proxy_rules =
            session.as_ref().map_or_else(ProxyRules::default, |session| session.proxy_rules().clone());
        let (plain, browser) =
            self.inner.new_identities(self.session_name, self.spec, &proxy_rules, Some(&previous.plain));
        let is_sticky = session.as_ref().is_some_and(|session| !session.is_ephemeral());
        let memory_key =
            is_sticky.then(|| SavedIdentityKey::new(self.session_name.map(AsRef::as_ref), &browser));
        Arc::new(IdentityPair {
            plain,
            browser,
            memory_key,
            is_direct_fallback: session.is_none(),
            proxy_session: session,
        })
    }

    /// Returns the key of this source's identities: for its site only, or for all sites of the user's session.
    fn pool_key(&self, at_site: bool) -> PoolKey {
        (self.session_name.cloned(), at_site.then(|| self.site.clone()))
    }

    fn find<'c>(
        &self,
        pool: &'c mut HashMap<PoolKey, Vec<PooledIdentity>>,
        key: &PoolKey,
    ) -> Option<&'c mut PooledIdentity> {
        pool.get_mut(key)?.iter_mut().find(|entry| entry.spec == *self.spec)
    }

    /// Returns the identities that another fetch has already put in place of `current`.
    fn successor(
        &self,
        pool: &mut HashMap<PoolKey, Vec<PooledIdentity>>,
        current: &IdentityPair,
    ) -> Option<Arc<IdentityPair>> {
        let now = Instant::now();
        let mut keys = [self.pool_key(true), self.pool_key(false)].into_iter();
        let successor = keys.find_map(|key| Some(Arc::clone(&self.find(pool, &key)?.identities)))?;
        let is_other = successor.browser.key() != current.browser.key();
        (is_other && !should_replace(&successor, now)).then_some(successor)
    }

    fn lock_pool(&self) -> MutexGuard<'_, HashMap<PoolKey, Vec<PooledIdentity>>> {
        lock_unpoisoned(&self.inner.identity_pool.0)
    }
}

impl IdentitySource for ProxyIdentitySource<'_> {
    fn alternatives(&self, current: &IdentityPair) -> Alternatives {
        let Some(session) = current.proxy_session.as_ref().filter(|_| !self.bypasses_proxy) else {
            return Alternatives::default();
        };
        Alternatives {
            proxy: self.rotator.has_alternative(session),
            direct: self.rotator.can_go_direct(),
            session: !session.is_ephemeral() && session.is_served_by(&self.site),
        }
    }

    fn fresh_session(&self, current: &IdentityPair) -> Result<Arc<IdentityPair>> {
        let mut pool = self.lock_pool();
        if let Some(other) = self.successor(&mut pool, current) {
            return Ok(other);
        }
        let session = current.proxy_session.clone().ok_or_else(|| {
            Error::new(ErrorKind::Proxy, "a direct connection has no proxy session to renew")
        })?;
        let fresh = self.new_identity(Some(session), current);
        self.insert(&mut pool, self.pool_key(true), &fresh);
        Ok(fresh)
    }

    fn other_proxy(&self, current: &IdentityPair, is_faulty: bool) -> Result<Arc<IdentityPair>> {
        let replaced = current.proxy_session.as_deref();
        if self.rotator.mode() == RotationMode::Rotating {
            return self.open_identity(current, self.session_query(false, true, replaced));
        }
        let mut pool = self.lock_pool();
        if let Some(other) = self.successor(&mut pool, current) {
            return Ok(other);
        }
        // A faulty session is replaced for all sites. A session that one site refused is replaced only there.
        let for_all_sites = is_faulty && should_replace(current, Instant::now());
        let has_site_entry = self.find(&mut pool, &self.pool_key(true)).is_some();
        let per_site = !for_all_sites || has_site_entry || self.rotator.mode() == RotationMode::PerHost;
        let fresh = self.open_identity(current, self.session_query(per_site, true, replaced))?;
        self.insert(&mut pool, self.pool_key(per_site), &fresh);
        Ok(fresh)
    }
}

/// Whether the proxy session of an identity pair has to be replaced.
fn should_replace(identities: &IdentityPair, now: Instant) -> bool {
    identities.proxy_session.as_ref().is_none_or(|session| session.should_replace(now))
}

/// Makes room in a full pool. First evicts idle entries of single sites, then half of the single-site entries, then
/// the least recently used half of the rest. Named sessions with a handle stay.
fn evict(pool: &mut HashMap<PoolKey, Vec<PooledIdentity>>) {
    if pool.len() < MAX_ENTRIES {
        return;
    }
    let now = Instant::now();
    for ((_, site), entries) in pool.iter_mut() {
        entries
            .retain(|entry| site.is_none() || now.saturating_duration_since(entry.last_used) < IDLE_TIMEOUT);
    }
    pool.retain(|_, entries| !entries.is_empty());
    if pool.len() >= MAX_ENTRIES {
        let mut keep = false;
        pool.retain(|(_, site), _| {
            keep = !keep;
            keep || site.is_none()
        });
    }
    if pool.len() >= MAX_ENTRIES {
        let is_held =
            |entries: &[PooledIdentity]| entries.iter().any(|entry| Arc::strong_count(&entry.identities) > 1);
        let used = |entries: &[PooledIdentity]| entries.iter().map(|entry| entry.last_used).max();
        let mut idle: Vec<_> =
            pool.values().filter(|entries| !is_held(entries)).map(|entries| used(entries)).collect();
        idle.sort_unstable();
        if let Some(last) = idle.get(idle.len() / 2).copied() {
            // All fetches without a session name share that entry, so it stays.
            pool.retain(|(name, _), entries| name.is_none() || is_held(entries) || used(entries) > last);
        }
    }
}

const MAX_ENTRIES: usize = if cfg!(test) { 64 } else { 4_096 };
/// The idle time after which an entry of a single site may be evicted.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests;
