//! Selects the proxy endpoint of each identity, and tracks the health of endpoints and proxy sessions.
//!
//! A **proxy endpoint** is one proxy, or one account at a provider's gateway. A **proxy session** is one
//! address behind an endpoint; an identity keeps it. The decisions (`stats`, `health`, `site_cooldown`,
//! `select`) are pure.

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

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::sync::lock_unpoisoned;
use crate::proxy::ProxyRules;

pub use account::ProxyAccount;
pub use pool::{ProxyPool, RotationMode};
pub use rotator::ProxyStats;

pub(crate) use rotator::{ProxyRotator, SessionQuery};
pub(crate) use stats::{FaultSource, UseOutcome};

use endpoint::ProxyEndpoint;
use health::HealthState;
use stats::UsageStats;

/// The address that an identity uses: a proxy, or one sticky session at a gateway.
pub(crate) struct ProxySession {
    endpoint: Arc<ProxyEndpoint>,
    proxy_rules: ProxyRules,
    label: Option<String>,
    /// Whether the session is used by a single fetch only.
    is_ephemeral: bool,
    /// When rungs replaces the session: before its provider does.
    expires_at: Option<Instant>,
    /// How long the session may stay unused before its provider drops it.
    idle_timeout: Option<Duration>,
    /// Whether the session's next use probes an endpoint that failed before.
    is_probe: AtomicBool,
    stats: Mutex<SessionStats>,
}

#[derive(Default)]
struct SessionStats {
    usage: UsageStats,
    /// Blocks and faults since the last page.
    refusals: u32,
    last_used: Option<Instant>,
    /// Sites that returned a page to this session.
    served_sites: HashSet<String>,
}

/// A permit to use a proxy session once. Dropping it without an outcome leaves the health unchanged.
pub(crate) struct ProxyPermit {
    session: Arc<ProxySession>,
    site: String,
    started: Instant,
    outcome: UseOutcome,
    _slot: Option<OwnedSemaphorePermit>,
}

impl ProxySession {
    fn new(
        endpoint: Arc<ProxyEndpoint>,
        proxy_rules: ProxyRules,
        expiry: SessionExpiry,
        probe: bool,
    ) -> Self {
        let SessionExpiry { label, is_ephemeral, expires_at, idle_timeout } = expiry;
        if is_ephemeral {
            endpoint.acquire();
        }
        let (is_probe, stats) = (AtomicBool::new(probe), Mutex::default());
        Self { endpoint, proxy_rules, label, is_ephemeral, expires_at, idle_timeout, is_probe, stats }
    }

    /// The proxy rules that route requests through this session.
    pub(crate) const fn proxy_rules(&self) -> &ProxyRules {
        &self.proxy_rules
    }

    /// Identifies the session among those of its endpoint without revealing a secret. `None` for a proxy that
    /// is one address.
    pub(crate) fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Whether the session is used by a single fetch only.
    pub(crate) const fn is_ephemeral(&self) -> bool {
        self.is_ephemeral
    }

    /// Whether new fetches should use another session: this one is expired, idle for too long or burned, or
    /// its endpoint does not work.
    pub(crate) fn should_replace(&self, now: Instant) -> bool {
        self.is_expired(now) || self.is_idle_expired(now) || self.is_burned() || !self.is_available(now)
    }

    /// Whether the session's lifetime is over.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|until| until <= now)
    }

    /// Whether the session was unused for so long that its provider may have dropped it.
    fn is_idle_expired(&self, now: Instant) -> bool {
        let used = self.stats().last_used;
        let idle = used.map(|used| now.saturating_duration_since(used));
        self.idle_timeout.zip(idle).is_some_and(|(limit, idle)| idle >= limit)
    }

    /// Whether the session was refused, or failed, too often. Always `false` for a proxy that is one address:
    /// it has no other session to change to.
    pub(crate) fn is_burned(&self) -> bool {
        self.label.is_some() && self.stats().refusals >= MAX_REFUSALS
    }

    /// Records a fault of a request to `site` that had no permit.
    pub(crate) fn record_fault(&self, source: FaultSource, site: &str) {
        self.record_use(UseOutcome::Fault(source), site, Duration::ZERO, Instant::now());
    }

    /// Whether `site` returned a page to this session before.
    pub(crate) fn is_served_by(&self, site: &str) -> bool {
        self.stats().served_sites.contains(site)
    }

    /// Waits until the endpoint has capacity for a request to `site`. Returns `None` when the endpoint does
    /// not work at present.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when no capacity becomes free within 60 s.
    pub(crate) async fn acquire(self: &Arc<Self>, site: &str) -> Result<Option<ProxyPermit>> {
        let slot = match &self.endpoint.concurrency {
            None => None,
            Some(limit) => {
                let semaphore = Arc::clone(&limit.semaphore);
                let Ok(Ok(slot)) = timeout(ACQUIRE_TIMEOUT, semaphore.acquire_owned()).await else {
                    let message = format!(
                        "timed out after {ACQUIRE_TIMEOUT:?} waiting for a free slot at the proxy {}",
                        self.endpoint.name
                    );
                    return Err(Error::new(ErrorKind::Timeout, message)
                        .with_hint("allow more concurrent requests with `--proxy-concurrency`"));
                };
                Some(slot)
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
            _slot: slot,
        }))
    }

    fn is_available(&self, now: Instant) -> bool {
        self.is_probe.load(Ordering::Relaxed) || self.endpoint.health(now) == HealthState::Healthy
    }

    fn record_use(&self, outcome: UseOutcome, site: &str, took: Duration, now: Instant) {
        let probe = self.is_probe.swap(false, Ordering::Relaxed);
        self.endpoint.record_use(outcome, took, site, probe, now);
        let mut stats = self.stats();
        stats.last_used = Some(now);
        stats.usage.record(outcome, took, now);
        match outcome {
            UseOutcome::Page(_) => {
                stats.refusals = 0;
                if stats.served_sites.len() < MAX_SITES {
                    stats.served_sites.insert(site.to_owned());
                }
            }
            UseOutcome::Blocked | UseOutcome::Fault(_) => stats.refusals += 1,
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
        let usage = &self.stats.get_mut().unwrap_or_else(PoisonError::into_inner).usage;
        tracing::debug!(
            proxy = self.endpoint.name,
            session = self.label,
            uses = usage.uses,
            pages = usage.pages,
            blocks = usage.blocks,
            faults = usage.faults,
            "proxy session ended"
        );
    }
}

impl ProxyPermit {
    /// Ends the use with `outcome`.
    pub(crate) fn finish(mut self, outcome: UseOutcome) {
        self.outcome = outcome;
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

/// How a new session is labelled, and how long it lasts.
struct SessionExpiry {
    label: Option<String>,
    is_ephemeral: bool,
    expires_at: Option<Instant>,
    idle_timeout: Option<Duration>,
}

/// The number of refusals or faults in a row after which a session is burned.
const MAX_REFUSALS: u32 = 2;
/// The longest wait for capacity at an endpoint.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(60);
/// How many sites a session remembers as having returned pages.
const MAX_SITES: usize = 512;

#[cfg(test)]
mod tests;
