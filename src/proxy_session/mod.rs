//! Which exit an identity goes out by, for how long, and how exits and sessions fare.
//!
//! An **exit** is a proxy, or an account at a provider's gateway; a **session** is one address behind it,
//! which an identity keeps. What decides (tally, standing, cooling, choice) is pure.

mod account;
mod endpoint;
mod health;
mod pool;
mod rotator;
mod select;
mod site_cooldown;
mod stats;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::proxy::ProxyRules;
use crate::sync::lock_unpoisoned;

pub use account::ProxyAccount;
pub use pool::{ProxyPool, RotationMode};
pub use rotator::ProxyStats;

pub(crate) use rotator::{ProxyRotator, SessionQuery};
pub(crate) use stats::{FaultSource, UseOutcome};

use endpoint::ProxyEndpoint;
use health::HealthState;
use stats::UsageStats;

/// One address that an identity goes out by: a proxy, or a session at a gateway.
pub(crate) struct ProxySession {
    endpoint: Arc<ProxyEndpoint>,
    proxy_rules: ProxyRules,
    label: Option<String>,
    /// It is for one fetch.
    is_ephemeral: bool,
    /// When it is to be replaced, before its provider does.
    expires_at: Option<Instant>,
    /// How long it may rest before its provider forgets it.
    idle_timeout: Option<Duration>,
    /// It is to show whether its exit works again, and has not yet.
    is_probe: AtomicBool,
    stats: Mutex<SessionStats>,
}

#[derive(Default)]
struct SessionStats {
    usage: UsageStats,
    /// Blocks, or faults, since the last page.
    refusals: u32,
    last_used: Option<Instant>,
    /// Sites that gave it pages.
    served_sites: HashSet<String>,
}

/// Leave to use a session once. Dropped without a word, it tells nothing of it.
pub(crate) struct ProxyPermit {
    session: Arc<ProxySession>,
    site: String,
    started: Instant,
    outcome: UseOutcome,
    _slot: Option<OwnedSemaphorePermit>,
}

impl ProxySession {
    fn new(endpoint: Arc<ProxyEndpoint>, proxy_rules: ProxyRules, life: SessionExpiry, probe: bool) -> Self {
        let SessionExpiry { label, is_ephemeral, expires_at, idle_timeout } = life;
        if is_ephemeral {
            endpoint.acquire();
        }
        let (is_probe, stats) = (AtomicBool::new(probe), Mutex::default());
        Self { endpoint, proxy_rules, label, is_ephemeral, expires_at, idle_timeout, is_probe, stats }
    }

    /// The way that it goes.
    pub(crate) const fn proxy_rules(&self) -> &ProxyRules {
        &self.proxy_rules
    }

    /// What tells it from others of its exit, without being a secret. `None` for a proxy that is one address.
    pub(crate) fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Whether it is for one fetch.
    pub(crate) const fn is_ephemeral(&self) -> bool {
        self.is_ephemeral
    }

    /// Whether no new fetch should use it: its time is over, it is burnt, or its exit does not work.
    pub(crate) fn should_replace(&self, now: Instant) -> bool {
        self.is_expired(now) || self.is_idle_expired(now) || self.is_burned() || !self.is_available(now)
    }

    /// Whether its time is over.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|until| until <= now)
    }

    /// Whether it was not used for so long that its provider may have forgotten it.
    fn is_idle_expired(&self, now: Instant) -> bool {
        let used = self.stats().last_used;
        let rest = used.map(|used| now.saturating_duration_since(used));
        self.idle_timeout.zip(rest).is_some_and(|(most, rest)| rest >= most)
    }

    /// Whether it was refused, or failed, too often. A proxy that is one address has none to change to.
    pub(crate) fn is_burned(&self) -> bool {
        self.label.is_some() && self.stats().refusals >= MAX_REFUSALS
    }

    /// A request of its own met a fault on the way to `site`.
    pub(crate) fn record_fault(&self, blame: FaultSource, site: &str) {
        self.record_use(UseOutcome::Fault(blame), site, Duration::ZERO, Instant::now());
    }

    /// Whether `site` gave it a page before.
    pub(crate) fn is_served_by(&self, site: &str) -> bool {
        self.stats().served_sites.contains(site)
    }

    /// Waits for a place at its exit, to ask `site`. `None`: the exit does not work just now.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when no place comes free.
    pub(crate) async fn acquire(self: &Arc<Self>, site: &str) -> Result<Option<ProxyPermit>> {
        let place = match &self.endpoint.concurrency {
            None => None,
            Some(places) => {
                let free = Arc::clone(&places.semaphore);
                let Ok(Ok(place)) = timeout(ACQUIRE_TIMEOUT, free.acquire_owned()).await else {
                    let message = format!(
                        "no place at the proxy {} came free within {ACQUIRE_TIMEOUT:?}",
                        self.endpoint.name
                    );
                    return Err(Error::new(ErrorKind::Timeout, message)
                        .with_hint("`--proxy-concurrency` allows more at once"));
                };
                Some(place)
            }
        };
        let now = Instant::now();
        if !self.is_available(now) {
            return Ok(None);
        }
        if !self.is_ephemeral {
            self.endpoint.acquire();
        }
        Ok(Some(ProxyPermit {
            session: Arc::clone(self),
            site: site.to_owned(),
            started: now,
            outcome: UseOutcome::Unknown,
            _slot: place,
        }))
    }

    fn is_available(&self, now: Instant) -> bool {
        self.is_probe.load(Ordering::Relaxed) || self.endpoint.health(now) == HealthState::Healthy
    }

    fn record_use(&self, ended: UseOutcome, site: &str, took: Duration, now: Instant) {
        let probe = self.is_probe.swap(false, Ordering::Relaxed);
        self.endpoint.record_use(ended, took, site, probe, now);
        let mut life = self.stats();
        life.last_used = Some(now);
        life.usage.record(ended, took, now);
        match ended {
            UseOutcome::Page(_) => {
                life.refusals = 0;
                if life.served_sites.len() < MAX_SITES {
                    life.served_sites.insert(site.to_owned());
                }
            }
            UseOutcome::Blocked | UseOutcome::Fault(_) => life.refusals += 1,
            UseOutcome::Answered | UseOutcome::Unknown => {}
        }
    }

    fn stats(&self) -> MutexGuard<'_, SessionStats> {
        lock_unpoisoned(&self.stats)
    }
}

impl Drop for ProxySession {
    fn drop(&mut self) {
        if *self.is_probe.get_mut() {
            self.endpoint.cancel_probe();
        }
        if self.is_ephemeral {
            self.endpoint.release();
        }
        let tally = &self.stats.get_mut().unwrap_or_else(PoisonError::into_inner).usage;
        tracing::debug!(
            proxy = self.endpoint.name,
            session = self.label,
            uses = tally.uses,
            pages = tally.pages,
            blocks = tally.blocks,
            faults = tally.faults,
            "a session is over"
        );
    }
}

impl ProxyPermit {
    /// The use is over.
    pub(crate) fn finish(mut self, how: UseOutcome) {
        self.outcome = how;
    }
}

impl Drop for ProxyPermit {
    fn drop(&mut self) {
        let now = Instant::now();
        self.session.record_use(self.outcome, &self.site, now.saturating_duration_since(self.started), now);
        if !self.session.is_ephemeral {
            self.session.endpoint.release();
        }
    }
}

/// What a session is told apart by, and how long it lasts.
struct SessionExpiry {
    label: Option<String>,
    is_ephemeral: bool,
    expires_at: Option<Instant>,
    idle_timeout: Option<Duration>,
}

/// So many refusals or faults in a row, and a session is used no more.
const MAX_REFUSALS: u32 = 2;
/// The longest wait for a place at a proxy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(60);
/// Of how many sites a session remembers that they gave it pages.
const MAX_SITES: usize = 512;

#[cfg(test)]
mod tests;
