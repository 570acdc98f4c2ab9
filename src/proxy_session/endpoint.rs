//! One way out: a proxy, or an account at a provider's gateway, and how it fares.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::sync::lock_unpoisoned;

use super::health::{HealthState, ProxyHealth};
use super::pool::ProxySource;
use super::select::Candidate;
use super::site_cooldown::SiteCooldowns;
use super::stats::{FaultSource, UsageStats, UseOutcome};

/// One exit of a pool, shared by all its sessions.
pub(super) struct ProxyEndpoint {
    pub(super) source: ProxySource,
    /// Its address, without credentials.
    pub(super) name: String,
    /// How many may use it at once, where that is bounded.
    pub(super) concurrency: Option<EndpointConcurrency>,
    /// How many fetches use it, those included that wait for their host.
    load: AtomicUsize,
    state: Mutex<State>,
}

/// Room for so many at once.
pub(super) struct EndpointConcurrency {
    max: usize,
    pub(super) semaphore: Arc<Semaphore>,
}

impl EndpointConcurrency {
    fn new(most: u32) -> Self {
        let max = usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self { max, semaphore: Arc::new(Semaphore::new(max)) }
    }
}

#[derive(Default)]
struct State {
    stats: UsageStats,
    health: ProxyHealth,
    cooldowns: SiteCooldowns,
}

impl ProxyEndpoint {
    pub(super) fn new(source: ProxySource, concurrency: Option<u32>) -> Self {
        Self {
            name: source.name(),
            source,
            concurrency: concurrency.map(EndpointConcurrency::new),
            load: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    /// How it stands for a fetch from `site` that has just left `left`.
    pub(super) fn candidate(&self, site: &str, left: bool, typical: Duration, now: Instant) -> Candidate {
        let load = self.load.load(Ordering::Relaxed);
        let state = self.state();
        Candidate {
            health: state.health.state(now),
            cooldown_until: state.cooldowns.until(site, now),
            load,
            is_full: self.concurrency.as_ref().is_some_and(|places| load >= places.max),
            weight: state.stats.weight(typical, now),
            was_left: left,
        }
    }

    pub(super) fn health(&self, now: Instant) -> HealthState {
        self.state().health.state(now)
    }

    pub(super) fn begin_probe(&self, now: Instant) {
        tracing::info!(proxy = self.name, "tries a proxy that did not work");
        self.state().health.begin_probe(now);
    }

    pub(super) fn cancel_probe(&self) {
        self.state().health.cancel_probe();
    }

    pub(super) fn latency(&self) -> Option<Duration> {
        self.state().stats.latency
    }

    pub(super) fn stats(&self) -> UsageStats {
        self.state().stats.clone()
    }

    pub(super) fn acquire(&self) {
        self.load.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn release(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// A use on the way to `site` is over.
    pub(super) fn record_use(
        &self,
        ended: UseOutcome,
        took: Duration,
        site: &str,
        probe: bool,
        now: Instant,
    ) {
        // Behind a gateway each session is another address: what a site refused is the session, not it.
        let is_one_address = !self.source.has_sessions();
        let mut state = self.state();
        state.stats.record(ended, took, now);
        match ended {
            UseOutcome::Page(_) => {
                state.health.record_success();
                state.cooldowns.clear(site);
            }
            UseOutcome::Answered => state.health.record_success(),
            UseOutcome::Blocked => {
                state.health.record_success();
                if is_one_address {
                    state.cooldowns.record_refusal(site, now);
                }
            }
            UseOutcome::Fault(blame) => {
                if blame == FaultSource::Unclear && is_one_address {
                    state.cooldowns.record_refusal(site, now);
                }
                if state.health.record_fault(blame, site, probe, now) {
                    tracing::warn!(proxy = self.name, "a proxy does not work and is left alone for a while");
                }
            }
            UseOutcome::Unknown if probe => state.health.cancel_probe(),
            UseOutcome::Unknown => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock_unpoisoned(&self.state)
    }
}
