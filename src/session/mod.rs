//! Which exit an identity goes out by, for how long, and how exits and sessions fare.
//!
//! An **exit** is a proxy, or an account at a provider's gateway; a **session** is one address behind it,
//! which an identity keeps. What decides (tally, standing, cooling, choice) is pure.

mod account;
mod choice;
mod cooling;
mod exit;
mod exits;
mod pool;
mod standing;
mod tally;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::lock::lock;
use crate::proxy::Route;

pub use account::ProxyAccount;
pub use exits::ExitReport;
pub use pool::{Mode, ProxyPool};

pub(crate) use exits::{Exits, Wanted};
pub(crate) use tally::{Blame, Ended};

use exit::Exit;
use standing::Fitness;
use tally::Tally;

/// One address that an identity goes out by: a proxy, or a session at a gateway.
pub(crate) struct Session {
    exit: Arc<Exit>,
    route: Route,
    label: Option<String>,
    /// It is for one fetch.
    fleeting: bool,
    /// When it is to be replaced, before its provider does.
    until: Option<Instant>,
    /// How long it may rest before its provider forgets it.
    rests: Option<Duration>,
    /// It is to show whether its exit works again, and has not yet.
    probe: AtomicBool,
    life: Mutex<Life>,
}

#[derive(Default)]
struct Life {
    tally: Tally,
    /// Blocks, or faults, since the last page.
    refusals: u32,
    used: Option<Instant>,
    /// Sites that gave it pages.
    welcome: HashSet<String>,
}

/// Leave to use a session once. Dropped without a word, it tells nothing of it.
pub(crate) struct Permit {
    session: Arc<Session>,
    site: String,
    started: Instant,
    ended: Ended,
    _place: Option<OwnedSemaphorePermit>,
}

impl Session {
    fn new(exit: Arc<Exit>, route: Route, life: Lifetime, probe: bool) -> Self {
        let Lifetime { label, fleeting, until, rests } = life;
        if fleeting {
            exit.taken();
        }
        let (probe, life) = (AtomicBool::new(probe), Mutex::default());
        Self { exit, route, label, fleeting, until, rests, probe, life }
    }

    /// The way that it goes.
    pub(crate) const fn route(&self) -> &Route {
        &self.route
    }

    /// What tells it from others of its exit, without being a secret. `None` for a proxy that is one address.
    pub(crate) fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Whether it is for one fetch.
    pub(crate) const fn is_fleeting(&self) -> bool {
        self.fleeting
    }

    /// Whether no new fetch should use it: its time is over, it is burnt, or its exit does not work.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.has_aged(now) || self.has_rested(now) || self.is_burnt() || !self.may_go(now)
    }

    /// Whether its time is over.
    pub(crate) fn has_aged(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether it was not used for so long that its provider may have forgotten it.
    fn has_rested(&self, now: Instant) -> bool {
        let used = self.life().used;
        let rest = used.map(|used| now.saturating_duration_since(used));
        self.rests.zip(rest).is_some_and(|(most, rest)| rest >= most)
    }

    /// Whether it was refused, or failed, too often. A proxy that is one address has none to change to.
    pub(crate) fn is_burnt(&self) -> bool {
        self.label.is_some() && self.life().refusals >= BURNT
    }

    /// A request of its own met a fault on the way to `site`.
    pub(crate) fn failed(&self, blame: Blame, site: &str) {
        self.ended(Ended::Fault(blame), site, Duration::ZERO, Instant::now());
    }

    /// Whether `site` gave it a page before.
    pub(crate) fn knows(&self, site: &str) -> bool {
        self.life().welcome.contains(site)
    }

    /// Waits for a place at its exit, to ask `site`. `None`: the exit does not work just now.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when no place comes free.
    pub(crate) async fn admit(self: &Arc<Self>, site: &str) -> Result<Option<Permit>> {
        let place = match &self.exit.places {
            None => None,
            Some(places) => {
                let free = Arc::clone(&places.free);
                let Ok(Ok(place)) = timeout(PATIENCE, free.acquire_owned()).await else {
                    let message =
                        format!("no place at the proxy {} came free within {PATIENCE:?}", self.exit.name);
                    return Err(Error::new(ErrorKind::Timeout, message)
                        .with_hint("`--proxy-concurrency` allows more at once"));
                };
                Some(place)
            }
        };
        let now = Instant::now();
        if !self.may_go(now) {
            return Ok(None);
        }
        if !self.fleeting {
            self.exit.taken();
        }
        Ok(Some(Permit {
            session: Arc::clone(self),
            site: site.to_owned(),
            started: now,
            ended: Ended::Untold,
            _place: place,
        }))
    }

    fn may_go(&self, now: Instant) -> bool {
        self.probe.load(Ordering::Relaxed) || self.exit.fitness(now) == Fitness::Fit
    }

    fn ended(&self, ended: Ended, site: &str, took: Duration, now: Instant) {
        let probe = self.probe.swap(false, Ordering::Relaxed);
        self.exit.ended(ended, took, site, probe, now);
        let mut life = self.life();
        life.used = Some(now);
        life.tally.add(ended, took, now);
        match ended {
            Ended::Page(_) => {
                life.refusals = 0;
                if life.welcome.len() < MAX_SITES {
                    life.welcome.insert(site.to_owned());
                }
            }
            Ended::Blocked | Ended::Fault(_) => life.refusals += 1,
            Ended::Answered | Ended::Untold => {}
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        lock(&self.life)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if *self.probe.get_mut() {
            self.exit.unprobed();
        }
        if self.fleeting {
            self.exit.left();
        }
        let tally = &self.life.get_mut().unwrap_or_else(PoisonError::into_inner).tally;
        tracing::debug!(
            proxy = self.exit.name,
            session = self.label,
            uses = tally.uses,
            pages = tally.pages,
            blocks = tally.blocks,
            faults = tally.faults,
            "a session is over"
        );
    }
}

impl Permit {
    /// The use is over.
    pub(crate) fn ended(mut self, how: Ended) {
        self.ended = how;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = Instant::now();
        self.session.ended(self.ended, &self.site, now.saturating_duration_since(self.started), now);
        if !self.session.fleeting {
            self.session.exit.left();
        }
    }
}

/// What a session is told apart by, and how long it lasts.
struct Lifetime {
    label: Option<String>,
    fleeting: bool,
    until: Option<Instant>,
    rests: Option<Duration>,
}

/// So many refusals or faults in a row, and a session is used no more.
const BURNT: u32 = 2;
/// The longest wait for a place at a proxy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of how many sites a session remembers that they gave it pages.
const MAX_SITES: usize = 512;

#[cfg(test)]
mod tests;
