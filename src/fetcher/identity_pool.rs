//! Who goes out by a pool's exits: one identity a session, made when it is needed and replaced when it is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::memory::SavedIdentityKey;
use crate::proxy::ProxyRules;
use crate::proxy_session::{ProxyPool, ProxyRotator, ProxySession, ProxyStats, RotationMode, SessionQuery};
use crate::router::{Alternatives, IdentityPair, IdentitySource};
use crate::sync::lock_unpoisoned;

use super::Inner;
use super::plan::ClientSpec;

/// The pools at work. The same pool is one, however often it is named.
#[derive(Default)]
pub(super) struct ProxyPools(Mutex<Vec<(ProxyPool, Arc<ProxyRotator>)>>);

impl ProxyPools {
    /// The exits of `pool`.
    pub(super) fn get_or_create(&self, pool: &ProxyPool) -> Result<Arc<ProxyRotator>> {
        let mut known = lock_unpoisoned(&self.0);
        if let Some((_, exits)) = known.iter().find(|(other, _)| other == pool) {
            return Ok(Arc::clone(exits));
        }
        let exits = Arc::new(ProxyRotator::new(pool)?);
        known.push((pool.clone(), Arc::clone(&exits)));
        Ok(exits)
    }

    pub(super) fn stats(&self) -> Vec<ProxyStats> {
        lock_unpoisoned(&self.0).iter().flat_map(|(_, exits)| exits.stats()).collect()
    }
}

/// Who sits where.
#[derive(Default)]
pub(super) struct IdentityPool(Mutex<HashMap<PoolKey, Vec<PooledIdentity>>>);

/// A user's session, and the site where it has an exit of its own there.
type PoolKey = (Option<Arc<str>>, Option<String>);

/// A persona in its place, looking so.
struct PooledIdentity {
    spec: ClientSpec,
    identities: Arc<IdentityPair>,
    last_used: Instant,
}

/// One user's session as it asks one site, by a pool.
pub(super) struct ProxyIdentitySource<'a> {
    pub(super) inner: &'a Inner,
    pub(super) session_name: Option<&'a Arc<str>>,
    pub(super) spec: &'a ClientSpec,
    pub(super) rotator: &'a ProxyRotator,
    pub(super) site: String,
    /// The fetch may come to the browser, whose connections are to have one address.
    pub(super) single_address: bool,
    /// The URL is reached without a proxy.
    pub(super) bypasses_proxy: bool,
    /// The same session without a proxy: what the caller gave it, all others have too.
    pub(super) base: &'a Arc<IdentityPair>,
}

impl ProxyIdentitySource<'_> {
    /// Who goes. Sticky: who went before, as long as the session lasts.
    ///
    /// # Errors
    /// [`ErrorKind::Proxy`] when no exit works.
    pub(super) fn select(&self) -> Result<Arc<IdentityPair>> {
        if self.rotator.mode() == RotationMode::Rotating {
            return self.open_identity(self.base, self.session_query(false, false, None));
        }
        let now = Instant::now();
        let mut crew = self.lock_pool();
        let seated = [self.pool_key(true), self.pool_key(false)].into_iter().find_map(|place| {
            let seat = self.find(&mut crew, &place)?;
            seat.last_used = now;
            Some((place, Arc::clone(&seat.identities)))
        });
        match seated {
            Some((_, persona)) if !should_replace(&persona, now) || self.bypasses_proxy => Ok(persona),
            Some((place, before)) => {
                // One whose time was over has a successor by itself; one that was refused has not.
                let anew = before.proxy_session.as_ref().is_some_and(|session| !session.is_expired(now));
                let persona =
                    self.open_identity(&before, self.session_query(place.1.is_some(), anew, None))?;
                self.insert(&mut crew, place, &persona);
                Ok(persona)
            }
            None => {
                let apart = self.rotator.mode() == RotationMode::PerHost;
                let persona = self.open_identity(self.base, self.session_query(apart, false, None))?;
                self.insert(&mut crew, self.pool_key(apart), &persona);
                Ok(persona)
            }
        }
    }

    fn session_query<'w>(
        &'w self,
        apart: bool,
        anew: bool,
        left: Option<&'w ProxySession>,
    ) -> SessionQuery<'w> {
        let name = self.session_name.map(AsRef::as_ref);
        SessionQuery {
            session_name: name,
            site: &self.site,
            per_site: apart,
            is_renewal: anew,
            single_address: self.single_address,
            bypasses_proxy: self.bypasses_proxy,
            replaces: left,
        }
    }

    fn insert(
        &self,
        crew: &mut HashMap<PoolKey, Vec<PooledIdentity>>,
        place: PoolKey,
        persona: &Arc<IdentityPair>,
    ) {
        // A stopgap keeps no place: the next fetch looks for an exit again.
        if persona.is_direct_fallback {
            return;
        }
        evict(crew);
        let seats = crew.entry(place).or_default();
        seats.retain(|seat| seat.spec != *self.spec);
        seats.push(PooledIdentity {
            spec: self.spec.clone(),
            identities: Arc::clone(persona),
            last_used: Instant::now(),
        });
    }

    /// Somebody new by a new session, with what the caller gave `before`.
    fn open_identity(&self, before: &IdentityPair, wanted: SessionQuery<'_>) -> Result<Arc<IdentityPair>> {
        match self.rotator.open_session(wanted) {
            Ok(session) => Ok(self.new_identity(Some(session), before)),
            Err(error) if self.rotator.can_go_direct() => {
                tracing::warn!(cause = error.chain(), "goes without a proxy");
                Ok(self.new_identity(None, before))
            }
            Err(error) => Err(error),
        }
    }

    fn new_identity(&self, session: Option<Arc<ProxySession>>, before: &IdentityPair) -> Arc<IdentityPair> {
        let route =
            session.as_ref().map_or_else(ProxyRules::default, |session| session.proxy_rules().clone());
        let (plain, dressed) =
            self.inner.new_identities(self.session_name, self.spec, &route, Some(&before.plain));
        let lasts = session.as_ref().is_some_and(|session| !session.is_ephemeral());
        let who = lasts.then(|| SavedIdentityKey::new(self.session_name.map(AsRef::as_ref), &dressed));
        Arc::new(IdentityPair {
            plain,
            browser: dressed,
            memory_key: who,
            is_direct_fallback: session.is_none(),
            proxy_session: session,
        })
    }

    /// Where this berth's personas sit: at the site, or wherever the user's session goes.
    fn pool_key(&self, at_site: bool) -> PoolKey {
        (self.session_name.cloned(), at_site.then(|| self.site.clone()))
    }

    fn find<'c>(
        &self,
        crew: &'c mut HashMap<PoolKey, Vec<PooledIdentity>>,
        place: &PoolKey,
    ) -> Option<&'c mut PooledIdentity> {
        crew.get_mut(place)?.iter_mut().find(|seat| seat.spec == *self.spec)
    }

    /// Who sits at the site by now in place of `persona`, because another fetch replaced it.
    fn successor(
        &self,
        crew: &mut HashMap<PoolKey, Vec<PooledIdentity>>,
        persona: &IdentityPair,
    ) -> Option<Arc<IdentityPair>> {
        let now = Instant::now();
        let mut places = [self.pool_key(true), self.pool_key(false)].into_iter();
        let seated = places.find_map(|place| Some(Arc::clone(&self.find(crew, &place)?.identities)))?;
        let is_other = seated.browser.key() != persona.browser.key();
        (is_other && !should_replace(&seated, now)).then_some(seated)
    }

    fn lock_pool(&self) -> MutexGuard<'_, HashMap<PoolKey, Vec<PooledIdentity>>> {
        lock_unpoisoned(&self.inner.identity_pool.0)
    }
}

impl IdentitySource for ProxyIdentitySource<'_> {
    fn alternatives(&self, persona: &IdentityPair) -> Alternatives {
        let Some(session) = persona.proxy_session.as_ref().filter(|_| !self.bypasses_proxy) else {
            return Alternatives::default();
        };
        Alternatives {
            proxy: self.rotator.has_alternative(session),
            direct: self.rotator.can_go_direct(),
            session: !session.is_ephemeral() && session.is_served_by(&self.site),
        }
    }

    fn fresh_session(&self, persona: &IdentityPair) -> Result<Arc<IdentityPair>> {
        let mut crew = self.lock_pool();
        if let Some(other) = self.successor(&mut crew, persona) {
            return Ok(other);
        }
        let session = persona.proxy_session.clone().ok_or_else(|| {
            Error::new(ErrorKind::Proxy, "who goes without a proxy has no session to renew")
        })?;
        let fresh = self.new_identity(Some(session), persona);
        self.insert(&mut crew, self.pool_key(true), &fresh);
        Ok(fresh)
    }

    fn other_proxy(&self, persona: &IdentityPair, faulty: bool) -> Result<Arc<IdentityPair>> {
        let left = persona.proxy_session.as_deref();
        if self.rotator.mode() == RotationMode::Rotating {
            return self.open_identity(persona, self.session_query(false, true, left));
        }
        let mut crew = self.lock_pool();
        if let Some(other) = self.successor(&mut crew, persona) {
            return Ok(other);
        }
        // What does not work is left for good; what one site refused is left there alone.
        let everywhere = faulty && should_replace(persona, Instant::now());
        let has_own = self.find(&mut crew, &self.pool_key(true)).is_some();
        let apart = !everywhere || has_own || self.rotator.mode() == RotationMode::PerHost;
        let fresh = self.open_identity(persona, self.session_query(apart, true, left))?;
        self.insert(&mut crew, self.pool_key(apart), &fresh);
        Ok(fresh)
    }
}

/// Whether a persona is to be replaced.
fn should_replace(persona: &IdentityPair, now: Instant) -> bool {
    persona.proxy_session.as_ref().is_none_or(|session| session.should_replace(now))
}

/// Makes room: seats at single sites that were not used for long, and if need be half of the others. Those
/// that users named stay while somebody holds them; of the others the half that was used last.
fn evict(crew: &mut HashMap<PoolKey, Vec<PooledIdentity>>) {
    if crew.len() < MAX_ENTRIES {
        return;
    }
    let now = Instant::now();
    for ((_, site), seats) in crew.iter_mut() {
        seats.retain(|seat| site.is_none() || now.saturating_duration_since(seat.last_used) < IDLE_TIMEOUT);
    }
    crew.retain(|_, seats| !seats.is_empty());
    if crew.len() >= MAX_ENTRIES {
        let mut keep = false;
        crew.retain(|(_, site), _| {
            keep = !keep;
            keep || site.is_none()
        });
    }
    if crew.len() >= MAX_ENTRIES {
        let is_held =
            |seats: &[PooledIdentity]| seats.iter().any(|seat| Arc::strong_count(&seat.identities) > 1);
        let used = |seats: &[PooledIdentity]| seats.iter().map(|seat| seat.last_used).max();
        let mut idle: Vec<_> =
            crew.values().filter(|seats| !is_held(seats)).map(|seats| used(seats)).collect();
        idle.sort_unstable();
        if let Some(last) = idle.get(idle.len() / 2).copied() {
            // Who has no name is one, and used by whoever names none.
            crew.retain(|(name, _), seats| name.is_none() || is_held(seats) || used(seats) > last);
        }
    }
}

const MAX_ENTRIES: usize = if cfg!(test) { 64 } else { 4_096 };
/// A seat at a single site is given up after so long without use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests;
