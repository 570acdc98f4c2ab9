//! A proxy endpoint: a proxy or an account at a provider's gateway, with its health.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::os::sync::lock_unpoisoned;

use super::health::{HealthState, ProxyHealth};
use super::pool::ProxySource;
use super::select::Candidate;
use super::site_cooldown::SiteCooldowns;
use super::stats::{FaultSource, UsageStats, UseOutcome};

/// One endpoint of a pool, shared by all its sessions.
pub(super) struct ProxyEndpoint {
    pub(super) source: ProxySource,
    /// The address, without credentials.
    pub(super) name: String,
    /// The limit of concurrent uses, if there is one.
    pub(super) concurrency: Option<EndpointConcurrency>,
    /// The number of fetches that use the endpoint, including those that wait for their host.
    load: AtomicUsize,
    state: Mutex<State>,
}

/// Limits concurrent uses of one endpoint.
pub(super) struct EndpointConcurrency {
    max: usize,
    pub(super) semaphore: Arc<Semaphore>,
}

impl EndpointConcurrency {
    fn new(limit: u32) -> Self {
        let max = usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
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

    /// Describes the endpoint as a candidate for a fetch from `site`. `was_left`: the fetch has just left
    /// this endpoint.
    pub(super) fn candidate(
        &self,
        site: &str,
        was_left: bool,
        typical_latency: Duration,
        now: Instant,
    ) -> Candidate {
        let load = self.load.load(Ordering::Relaxed);
        let state = self.state();
        Candidate {
            health: state.health.state(now),
            cooldown_until: state.cooldowns.until(site, now),
            load,
            is_full: self.concurrency.as_ref().is_some_and(|limit| load >= limit.max),
            weight: state.stats.weight(typical_latency, now),
            was_left,
        }
    }

    pub(super) fn health(&self, now: Instant) -> HealthState {
        self.state().health.state(now)
    }

    pub(super) fn begin_probe(&self, now: Instant) {
        tracing::info!(proxy = self.name, "probing a failed proxy");
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

    /// Records the outcome of a use for `site`.
    pub(super) fn record_use(
        &self,
        outcome: UseOutcome,
        took: Duration,
        site: &str,
        probe: bool,
        now: Instant,
    ) {
        // Behind a gateway each session has another address: the site refused the session, not the endpoint.
        let is_one_address = !self.source.has_sessions();
        let mut state = self.state();
        state.stats.record(outcome, took, now);
        match outcome {
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
            UseOutcome::Fault(source) => {
                if source == FaultSource::Unclear && is_one_address {
                    state.cooldowns.record_refusal(site, now);
                }
                if state.health.record_fault(source, site, probe, now) {
                    tracing::warn!(proxy = self.name, "proxy does not work, circuit opened");
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
