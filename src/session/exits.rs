//! A pool of exits at work.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::account::ProxyAccount;
use super::choice::{Chosen, choose};
use super::exit::Exit;
use super::pool::{Mode, ProxyPool, Source};
use super::standing::Fitness;
use super::{Lifetime, Session};
use crate::error::{Error, Result};
use crate::hex;
use crate::kind::ErrorKind;
use crate::lock::lock;
use crate::proxy::{Bypass, Route};

/// The exits of a pool, how they fare, and sessions by them.
pub(crate) struct Exits {
    ways: Vec<Arc<Exit>>,
    mode: Mode,
    fallback: bool,
    around: Bypass,
    chance: Mutex<StdRng>,
    seed: Option<u64>,
    /// What tells the pool from others.
    mark: [u8; 32],
    /// What the clock on the wall said when the pool was made, and what the steady one.
    began: (Duration, Instant),
}

/// What a session is wanted for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The user's session.
    pub(crate) name: Option<&'a str>,
    /// Which site is asked first.
    pub(crate) site: &'a str,
    /// It is for this site alone.
    pub(crate) apart: bool,
    /// Not the session that the same wish brought before: that one is burnt.
    pub(crate) anew: bool,
    /// All connections shall have one address, also where a new one is all it takes to get another.
    pub(crate) together: bool,
    /// The site is reached without a proxy, and only what it leads to is not: any exit will do.
    pub(crate) around: bool,
    /// The session that it takes the place of, because it was refused or does not work.
    pub(crate) left: Option<&'a Session>,
}

/// How one exit of a pool fared so far.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExitReport {
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
    pub works: bool,
}

impl Exits {
    /// # Errors
    /// [`ErrorKind::Config`] when the pool has no exits, or one that cannot be asked for what is wished.
    pub(crate) fn new(pool: &ProxyPool) -> Result<Self> {
        if pool.is_empty() {
            return Err(Error::new(ErrorKind::Config, "the pool of proxies is empty"));
        }
        let exit = |source: &Source| Arc::new(Exit::new(source.clone(), pool.concurrency));
        let chance = match pool.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_seed(rand::rng().random()),
        };
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let names = pool.sources.iter().fold(Sha256::new(), |hash, source| hash.chain_update(source.name()));
        let exits = Self {
            mark: names.finalize().into(),
            ways: pool.sources.iter().map(exit).collect(),
            mode: pool.mode,
            fallback: pool.fallback,
            around: pool.around.clone(),
            chance: Mutex::new(chance),
            seed: pool.seed,
            began: (wall, Instant::now()),
        };
        // What a dialect cannot express is told before anything is fetched.
        let any = Wanted {
            name: None,
            site: "",
            apart: false,
            anew: false,
            together: true,
            around: false,
            left: None,
        };
        for exit in &exits.ways {
            exits.session(exit, &any, false, &mut exits.chance())?;
        }
        Ok(exits)
    }

    /// How long an identity keeps its exit.
    pub(crate) const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether a fetch may go without a proxy while none works.
    pub(crate) const fn may_go_direct(&self) -> bool {
        self.fallback
    }

    /// Whether `host` is reached without a proxy.
    pub(crate) fn goes_around(&self, host: &str) -> bool {
        self.around.covers(host)
    }

    /// A new session by the exit that is best just now.
    ///
    /// # Errors
    /// [`ErrorKind::Proxy`] when none works.
    pub(crate) fn draw(&self, wanted: Wanted<'_>) -> Result<Arc<Session>> {
        let now = Instant::now();
        // Held until a probe is taken, so that one fetch takes it.
        let mut chance = self.chance();
        let typical = self.typical();
        let candidates: Vec<_> = self
            .ways
            .iter()
            .map(|exit| exit.candidate(wanted.site, leaves(wanted.left, exit, now), typical, now))
            .collect();
        let lasts = self.mode != Mode::Rotating && !wanted.anew && wanted.left.is_none();
        let draw = if lasts { self.steady(&wanted) } else { chance.random_range(0.0..1.0) };
        match choose(&candidates, wanted.left.is_none(), draw) {
            Chosen::Exit(at) => self.session(&self.ways[at], &wanted, false, &mut chance),
            Chosen::Probe(at) => {
                self.ways[at].probe(now);
                self.session(&self.ways[at], &wanted, true, &mut chance)
            }
            Chosen::None(_) if wanted.around => self.session(&self.ways[0], &wanted, false, &mut chance),
            Chosen::None(wait) => Err(self.none_works(wait)),
        }
    }

    /// Whether there is another address than that of `session`, for asking `site`.
    pub(crate) fn has_other(&self, session: &Session) -> bool {
        let now = Instant::now();
        let works = |exit: &Exit| !matches!(exit.fitness(now), Fitness::Down(_));
        self.ways.iter().any(|exit| works(exit) && !leaves(Some(session), exit, now))
    }

    /// How every exit fared so far.
    pub(crate) fn report(&self) -> Vec<ExitReport> {
        let now = Instant::now();
        let report = |exit: &Arc<Exit>| {
            let tally = exit.tally();
            ExitReport {
                proxy: exit.name.clone(),
                uses: tally.uses,
                pages: tally.pages,
                blocks: tally.blocks,
                faults: tally.faults,
                busy: tally.busy,
                latency: tally.latency,
                works: exit.fitness(now) == Fitness::Fit,
            }
        };
        self.ways.iter().map(report).collect()
    }

    fn session(
        &self,
        exit: &Arc<Exit>,
        wanted: &Wanted<'_>,
        probe: bool,
        chance: &mut StdRng,
    ) -> Result<Arc<Session>> {
        let fleeting = self.mode == Mode::Rotating;
        let mut life = Lifetime { label: None, fleeting, until: None, rests: None };
        let proxy = match &exit.source {
            Source::Proxy(proxy) => proxy.clone(),
            Source::Account(account) => {
                let lasts = account.lasts()?;
                let (id, until) = self.id(account, lasts, wanted, chance);
                life.label = id.as_deref().map(label);
                (life.until, life.rests) = (Some(until), account.rests());
                account.proxy(id.as_deref())?
            }
        };
        let route = Route::through(proxy).except(self.around.clone());
        Ok(Arc::new(Session::new(Arc::clone(exit), route, life, probe)))
    }

    /// A session's id, and when it is to be replaced.
    ///
    /// That of a session that lasts follows from the account's password, whose session it is and the time, so
    /// that the next process of the same user comes out of the same exit while that lasts: a clearance is good
    /// nowhere else. Nobody without the password can tell it.
    fn id(
        &self,
        account: &ProxyAccount,
        lasts: Duration,
        wanted: &Wanted<'_>,
        chance: &mut StdRng,
    ) -> (Option<String>, Instant) {
        let (dialect, now) = (account.dialect(), Instant::now());
        let fleeting = self.mode == Mode::Rotating;
        if !dialect.has_sessions() || fleeting && account.rotates() && !wanted.together {
            return (None, now + lasts);
        }
        let secret = self.seed.map(|seed| seed.to_string()).or_else(|| account.secret());
        let Some(secret) = secret.filter(|_| !fleeting && !wanted.anew) else {
            return (Some(dialect.session(chance)), now + lasts);
        };
        let (wall, began) = self.began;
        let wall = wall + now.saturating_duration_since(began);
        // A new id every half of a session's time: another process may have begun it when that half did, and
        // whoever joins has at least the other half before him.
        let half = (lasts.as_millis() / 2).max(1);
        let turn = wall.as_millis() / half;
        let over =
            Duration::from_millis(u64::try_from(turn * half).unwrap_or(u64::MAX)).saturating_add(lasts);
        let site = wanted.apart.then_some(wanted.site);
        let text = format!("{:?}", ("rungs session", secret, wanted.name, site, turn));
        let mut drawn = StdRng::from_seed(Sha256::digest(text.as_bytes()).into());
        (Some(dialect.session(&mut drawn)), now + over.saturating_sub(wall))
    }

    /// Where a session that lasts falls among the exits: the same in the next process, as long as they fare
    /// alike.
    fn steady(&self, wanted: &Wanted<'_>) -> f64 {
        let site = wanted.apart.then_some(wanted.site);
        let text = format!("{:?}", ("rungs exit", self.seed, self.mark, wanted.name, site));
        StdRng::from_seed(Sha256::digest(text.as_bytes()).into()).random_range(0.0..1.0)
    }

    /// The latency that one is taken to have of which none is known: as the fastest that is known, so that it
    /// gets its chance.
    fn typical(&self) -> Duration {
        self.ways.iter().filter_map(|exit| exit.latency()).min().unwrap_or_default()
    }

    fn none_works(&self, wait: Duration) -> Error {
        let shown: Vec<&str> = self.ways.iter().take(SHOWN).map(|exit| exit.name.as_str()).collect();
        let more = if self.ways.len() > SHOWN { ", …" } else { "" };
        let next = match wait.as_millis().div_ceil(1000) {
            0 => "one fetch is trying it again".to_owned(),
            seconds => format!("the next is tried again in {seconds} s"),
        };
        let message =
            format!("none of {} proxies works ({}{more}); {next}", self.ways.len(), shown.join(", "));
        Error::new(ErrorKind::Proxy, message)
            .with_hint("`--proxy-fallback direct` goes without a proxy while none works")
    }

    fn chance(&self) -> MutexGuard<'_, StdRng> {
        lock(&self.chance)
    }
}

/// Whether leaving `session` is leaving `exit`: a gateway has other addresses, as long as it works.
fn leaves(session: Option<&Session>, exit: &Exit, now: Instant) -> bool {
    session.is_some_and(|session| {
        std::ptr::eq(Arc::as_ptr(&session.exit), exit)
            && (!exit.source.has_sessions() || exit.fitness(now) != Fitness::Fit)
    })
}

/// What a session is called in traces: the same for the same id, and no way back to it.
fn label(id: &str) -> String {
    let hash = Sha256::digest(format!("rungs session label {id}").as_bytes());
    hex::encode(&hash[..4])
}

/// How many proxies an error names.
const SHOWN: usize = 3;
