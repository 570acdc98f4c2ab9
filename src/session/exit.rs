//! One way out: a proxy, or an account at a provider's gateway, and how it fares.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::lock::lock;

use super::choice::Candidate;
use super::cooling::Cooling;
use super::pool::Source;
use super::standing::{Fitness, Standing};
use super::tally::{Blame, Ended, Tally};

/// One exit of a pool, shared by all its sessions.
pub(super) struct Exit {
    pub(super) source: Source,
    /// Its address, without credentials.
    pub(super) name: String,
    /// How many may use it at once, where that is bounded.
    pub(super) places: Option<Places>,
    /// How many fetches use it, those included that wait for their host.
    load: AtomicUsize,
    state: Mutex<State>,
}

/// Room for so many at once.
pub(super) struct Places {
    most: usize,
    pub(super) free: Arc<Semaphore>,
}

impl Places {
    fn new(most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self { most, free: Arc::new(Semaphore::new(most)) }
    }
}

#[derive(Default)]
struct State {
    tally: Tally,
    standing: Standing,
    cooling: Cooling,
}

impl Exit {
    pub(super) fn new(source: Source, concurrency: Option<u32>) -> Self {
        Self {
            name: source.name(),
            source,
            places: concurrency.map(Places::new),
            load: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    /// How it stands for a fetch from `site` that has just left `left`.
    pub(super) fn candidate(&self, site: &str, left: bool, typical: Duration, now: Instant) -> Candidate {
        let load = self.load.load(Ordering::Relaxed);
        let state = self.state();
        Candidate {
            fitness: state.standing.fitness(now),
            cooling: state.cooling.until(site, now),
            load,
            full: self.places.as_ref().is_some_and(|places| load >= places.most),
            weight: state.tally.weight(typical, now),
            left,
        }
    }

    pub(super) fn fitness(&self, now: Instant) -> Fitness {
        self.state().standing.fitness(now)
    }

    pub(super) fn probe(&self, now: Instant) {
        tracing::info!(proxy = self.name, "tries a proxy that did not work");
        self.state().standing.probe(now);
    }

    pub(super) fn unprobed(&self) {
        self.state().standing.unprobed();
    }

    pub(super) fn latency(&self) -> Option<Duration> {
        self.state().tally.latency
    }

    pub(super) fn tally(&self) -> Tally {
        self.state().tally.clone()
    }

    pub(super) fn taken(&self) {
        self.load.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn left(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// A use on the way to `site` is over.
    pub(super) fn ended(&self, ended: Ended, took: Duration, site: &str, probe: bool, now: Instant) {
        // Behind a gateway each session is another address: what a site refused is the session, not it.
        let is_one_address = !self.source.has_sessions();
        let mut state = self.state();
        state.tally.add(ended, took, now);
        match ended {
            Ended::Page(_) => {
                state.standing.answered();
                state.cooling.welcomed(site);
            }
            Ended::Answered => state.standing.answered(),
            Ended::Blocked => {
                state.standing.answered();
                if is_one_address {
                    state.cooling.refused(site, now);
                }
            }
            Ended::Fault(blame) => {
                if blame == Blame::Unclear && is_one_address {
                    state.cooling.refused(site, now);
                }
                if state.standing.failed(blame, site, probe, now) {
                    tracing::warn!(proxy = self.name, "a proxy does not work and is left alone for a while");
                }
            }
            Ended::Untold if probe => state.standing.unprobed(),
            Ended::Untold => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
