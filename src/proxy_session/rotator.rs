//! A pool of exits at work.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::account::ProxyAccount;
use super::endpoint::ProxyEndpoint;
use super::health::HealthState;
use super::pool::{ProxyPool, ProxySource, RotationMode};
use super::select::{Selection, select};
use super::{ProxySession, SessionExpiry};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::hex;
use crate::proxy::{NoProxy, ProxyRules};
use crate::sync::lock_unpoisoned;

/// The exits of a pool, how they fare, and sessions by them.
pub(crate) struct ProxyRotator {
    endpoints: Vec<Arc<ProxyEndpoint>>,
    mode: RotationMode,
    falls_back_direct: bool,
    no_proxy: NoProxy,
    rng: Mutex<StdRng>,
    seed: Option<u64>,
    /// What tells the pool from others.
    pool_hash: [u8; 32],
    /// What the clock on the wall said when the pool was made, and what the steady one.
    started: (Duration, Instant),
}

/// What a session is wanted for.
#[derive(Clone, Copy)]
pub(crate) struct SessionQuery<'a> {
    /// The user's session.
    pub(crate) session_name: Option<&'a str>,
    /// Which site is asked first.
    pub(crate) site: &'a str,
    /// It is for this site alone.
    pub(crate) per_site: bool,
    /// Not the session that the same wish brought before: that one is burnt.
    pub(crate) is_renewal: bool,
    /// All connections shall have one address, also where a new one is all it takes to get another.
    pub(crate) single_address: bool,
    /// The site is reached without a proxy, and only what it leads to is not: any exit will do.
    pub(crate) bypasses_proxy: bool,
    /// The session that it takes the place of, because it was refused or does not work.
    pub(crate) replaces: Option<&'a ProxySession>,
}

/// How one exit of a pool fared so far.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProxyStats {
    /// Its address, without credentials.
    pub proxy: String,
    /// How many attempts went by it.
    pub uses: u64,
    /// How many of them brought a page.
    pub pages: u64,
    /// How many the site refused.
    pub blocks: u64,
    /// How many met a fault: the proxy's own, or one that it may have had a part in.
    pub faults: u64,
    /// How long all of them took together.
    pub busy: Duration,
    /// The time to the first byte of late pages; `None` before the first.
    pub latency: Option<Duration>,
    /// Whether it is in use, not left alone because of faults.
    pub is_healthy: bool,
}

impl ProxyRotator {
    /// # Errors
    /// [`ErrorKind::Config`] when the pool has no exits, or one that cannot be asked for what is wished.
    pub(crate) fn new(pool: &ProxyPool) -> Result<Self> {
        if pool.is_empty() {
            return Err(Error::new(ErrorKind::Config, "the pool of proxies is empty"));
        }
        let exit = |source: &ProxySource| Arc::new(ProxyEndpoint::new(source.clone(), pool.concurrency));
        let chance = match pool.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_seed(rand::rng().random()),
        };
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let names = pool.sources.iter().fold(Sha256::new(), |hash, source| hash.chain_update(source.name()));
        let exits = Self {
            pool_hash: names.finalize().into(),
            endpoints: pool.sources.iter().map(exit).collect(),
            mode: pool.mode,
            falls_back_direct: pool.fallback_direct,
            no_proxy: pool.no_proxy.clone(),
            rng: Mutex::new(chance),
            seed: pool.seed,
            started: (wall, Instant::now()),
        };
        // What a dialect cannot express is told before anything is fetched.
        let any = SessionQuery {
            session_name: None,
            site: "",
            per_site: false,
            is_renewal: false,
            single_address: true,
            bypasses_proxy: false,
            replaces: None,
        };
        for exit in &exits.endpoints {
            exits.create_session(exit, &any, false, &mut exits.rng())?;
        }
        Ok(exits)
    }

    /// How long an identity keeps its exit.
    pub(crate) const fn mode(&self) -> RotationMode {
        self.mode
    }

    /// Whether a fetch may go without a proxy while none works.
    pub(crate) const fn can_go_direct(&self) -> bool {
        self.falls_back_direct
    }

    /// Whether `host` is reached without a proxy.
    pub(crate) fn bypasses(&self, host: &str) -> bool {
        self.no_proxy.covers(host)
    }

    /// A new session by the exit that is best just now.
    ///
    /// # Errors
    /// [`ErrorKind::Proxy`] when none works.
    pub(crate) fn open_session(&self, wanted: SessionQuery<'_>) -> Result<Arc<ProxySession>> {
        let now = Instant::now();
        // Held until a probe is taken, so that one fetch takes it.
        let mut chance = self.rng();
        let typical = self.typical_latency();
        let candidates: Vec<_> = self
            .endpoints
            .iter()
            .map(|exit| exit.candidate(wanted.site, is_replaced(wanted.replaces, exit, now), typical, now))
            .collect();
        let lasts = self.mode != RotationMode::Rotating && !wanted.is_renewal && wanted.replaces.is_none();
        let draw = if lasts { self.stable_draw(&wanted) } else { chance.random_range(0.0..1.0) };
        match select(&candidates, wanted.replaces.is_none(), draw) {
            Selection::Endpoint(at) => self.create_session(&self.endpoints[at], &wanted, false, &mut chance),
            Selection::Probe(at) => {
                self.endpoints[at].begin_probe(now);
                self.create_session(&self.endpoints[at], &wanted, true, &mut chance)
            }
            Selection::Unavailable(_) if wanted.bypasses_proxy => {
                self.create_session(&self.endpoints[0], &wanted, false, &mut chance)
            }
            Selection::Unavailable(wait) => Err(self.no_proxy_error(wait)),
        }
    }

    /// Whether there is another address than that of `session`, for asking `site`.
    pub(crate) fn has_alternative(&self, session: &ProxySession) -> bool {
        let now = Instant::now();
        let works = |exit: &ProxyEndpoint| !matches!(exit.health(now), HealthState::Down(_));
        self.endpoints.iter().any(|exit| works(exit) && !is_replaced(Some(session), exit, now))
    }

    /// How every exit fared so far.
    pub(crate) fn stats(&self) -> Vec<ProxyStats> {
        let now = Instant::now();
        let report = |exit: &Arc<ProxyEndpoint>| {
            let tally = exit.stats();
            ProxyStats {
                proxy: exit.name.clone(),
                uses: tally.uses,
                pages: tally.pages,
                blocks: tally.blocks,
                faults: tally.faults,
                busy: tally.busy,
                latency: tally.latency,
                is_healthy: exit.health(now) == HealthState::Healthy,
            }
        };
        self.endpoints.iter().map(report).collect()
    }

    fn create_session(
        &self,
        exit: &Arc<ProxyEndpoint>,
        wanted: &SessionQuery<'_>,
        probe: bool,
        chance: &mut StdRng,
    ) -> Result<Arc<ProxySession>> {
        let fleeting = self.mode == RotationMode::Rotating;
        let mut life =
            SessionExpiry { label: None, is_ephemeral: fleeting, expires_at: None, idle_timeout: None };
        let proxy = match &exit.source {
            ProxySource::Proxy(proxy) => proxy.clone(),
            ProxySource::Account(account) => {
                let lasts = account.session_lifetime()?;
                let (id, until) = self.session_id(account, lasts, wanted, chance);
                life.label = id.as_deref().map(session_label);
                (life.expires_at, life.idle_timeout) = (Some(until), account.idle_timeout());
                account.proxy(id.as_deref())?
            }
        };
        let route = ProxyRules::through(proxy).with_no_proxy(self.no_proxy.clone());
        Ok(Arc::new(ProxySession::new(Arc::clone(exit), route, life, probe)))
    }

    /// A session's id, and when it is to be replaced.
    ///
    /// That of a session that lasts follows from the account's password, whose session it is and the time, so
    /// that the next process of the same user comes out of the same exit while that lasts: a clearance is good
    /// nowhere else. Nobody without the password can tell it.
    fn session_id(
        &self,
        account: &ProxyAccount,
        lasts: Duration,
        wanted: &SessionQuery<'_>,
        chance: &mut StdRng,
    ) -> (Option<String>, Instant) {
        let (dialect, now) = (account.dialect(), Instant::now());
        let fleeting = self.mode == RotationMode::Rotating;
        if !dialect.has_sessions() || fleeting && account.is_rotating() && !wanted.single_address {
            return (None, now + lasts);
        }
        let secret = self.seed.map(|seed| seed.to_string()).or_else(|| account.session_secret());
        let Some(secret) = secret.filter(|_| !fleeting && !wanted.is_renewal) else {
            return (Some(dialect.generate_session_id(chance)), now + lasts);
        };
        let (wall, began) = self.started;
        let wall = wall + now.saturating_duration_since(began);
        // A new id every half of a session's time: another process may have begun it when that half did, and
        // whoever joins has at least the other half before him.
        let half = (lasts.as_millis() / 2).max(1);
        let turn = wall.as_millis() / half;
        let over =
            Duration::from_millis(u64::try_from(turn * half).unwrap_or(u64::MAX)).saturating_add(lasts);
        let site = wanted.per_site.then_some(wanted.site);
        let text = format!("{:?}", ("rungs session", secret, wanted.session_name, site, turn));
        let mut drawn = StdRng::from_seed(Sha256::digest(text.as_bytes()).into());
        (Some(dialect.generate_session_id(&mut drawn)), now + over.saturating_sub(wall))
    }

    /// Where a session that lasts falls among the exits: the same in the next process, as long as they fare
    /// alike.
    fn stable_draw(&self, wanted: &SessionQuery<'_>) -> f64 {
        let site = wanted.per_site.then_some(wanted.site);
        let text = format!("{:?}", ("rungs exit", self.seed, self.pool_hash, wanted.session_name, site));
        StdRng::from_seed(Sha256::digest(text.as_bytes()).into()).random_range(0.0..1.0)
    }

    /// The latency that one is taken to have of which none is known: as the fastest that is known, so that it
    /// gets its chance.
    fn typical_latency(&self) -> Duration {
        self.endpoints.iter().filter_map(|exit| exit.latency()).min().unwrap_or_default()
    }

    fn no_proxy_error(&self, wait: Duration) -> Error {
        let shown: Vec<&str> = self.endpoints.iter().take(MAX_NAMED).map(|exit| exit.name.as_str()).collect();
        let more = if self.endpoints.len() > MAX_NAMED { ", …" } else { "" };
        let next = match wait.as_millis().div_ceil(1000) {
            0 => "one fetch is trying it again".to_owned(),
            seconds => format!("the next is tried again in {seconds} s"),
        };
        let message =
            format!("none of {} proxies works ({}{more}); {next}", self.endpoints.len(), shown.join(", "));
        Error::new(ErrorKind::Proxy, message)
            .with_hint("`--proxy-fallback direct` goes without a proxy while none works")
    }

    fn rng(&self) -> MutexGuard<'_, StdRng> {
        lock_unpoisoned(&self.rng)
    }
}

/// Whether leaving `session` is leaving `exit`: a gateway has other addresses, as long as it works.
fn is_replaced(session: Option<&ProxySession>, exit: &ProxyEndpoint, now: Instant) -> bool {
    session.is_some_and(|session| {
        std::ptr::eq(Arc::as_ptr(&session.endpoint), exit)
            && (!exit.source.has_sessions() || exit.health(now) != HealthState::Healthy)
    })
}

/// What a session is called in traces: the same for the same id, and no way back to it.
fn session_label(id: &str) -> String {
    let hash = Sha256::digest(format!("rungs session label {id}").as_bytes());
    hex::encode(&hash[..4])
}

/// How many proxies an error names.
const MAX_NAMED: usize = 3;
