//! How fast each host is asked: turns in order of arrival, at most so many at once, so far apart,
//! and not before the time a host has named.
//!
//! A host is a name, or an address, and the port where that is not the scheme's own: a site's http
//! and https are one, two ports of one machine are two. Everything is shared by all fetches of a
//! fetcher, whatever their session or proxy.

mod breaker;
mod host;
mod speed;

use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::{Notify, futures::Notified};
use tokio::time::{Instant, sleep_until};
use url::Url;

use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::lock::lock;
use crate::politeness::Pace;
use crate::tier::Tier;

pub(crate) use breaker::Opened;
pub(crate) use host::{Ended, Leave, Turn};

use host::{Decision, State, Wish};

/// What the fetches of a fetcher know together of how fast they may be.
#[derive(Default)]
pub(crate) struct Limits(Mutex<HashMap<String, Arc<Host>>>);

/// One request that waits for its host's leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) url: &'a Url,
    pub(crate) tier: Tier,
    pub(crate) pace: Pace,
    /// What robots.txt asks for between two requests, where it is obeyed.
    pub(crate) crawl_delay: Duration,
    /// When the whole fetch ends.
    pub(crate) ends: Option<Instant>,
}

impl Asking<'_> {
    fn wish(&self) -> Wish {
        Wish {
            tier: self.tier,
            pace: self.pace,
            crawl_delay: self.crawl_delay,
            draw: rand::rng().random_range(0.0..1.0),
            patience: PATIENCE,
            ends: self.ends,
        }
    }
}

/// Leave to make one request. Dropped without a word, it tells nothing of the host.
pub(crate) struct Permit {
    host: Arc<Host>,
    wish: Wish,
    started: Instant,
    probe: bool,
    is_over: bool,
    /// Its place was given up before its end.
    left: AtomicBool,
}

#[derive(Default)]
struct Host {
    name: String,
    /// Held by the first in line. Hands itself on in order of arrival.
    turn: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
    /// A request has ended.
    freed: Notify,
    /// The host asked for rest.
    told: Notify,
    state: Mutex<State>,
}

impl Limits {
    /// Waits until the host of `asking` may be asked.
    ///
    /// # Errors
    /// [`ErrorKind::Blocked`] when the site wants a longer wait than this request may make: at once,
    /// not afterwards. When the host failed too often just now, the kind of its last fault.
    /// [`ErrorKind::Timeout`] when too many wait already.
    pub(crate) async fn acquire(&self, asking: &Asking<'_>) -> Result<Permit> {
        let host = self.host(asking.url);
        let wish = asking.wish();
        let _place = Place::in_line(&host)?;
        let mut turn = pin!(host.turn.lock());
        let _first = loop {
            let told = host.told.notified();
            if let Some(wait) = host.state().too_long(Instant::now(), &wish) {
                return Err(host.too_long(wait));
            }
            tokio::select! {
                biased;
                first = &mut turn => break first,
                () = told => {}
            }
        };
        loop {
            let (freed, told) = (host.freed.notified(), host.told.notified());
            let now = Instant::now();
            let decision = host.state().decide(now, &wish);
            match decision {
                Decision::Go { probe } => return Ok(Permit::new(&host, wish, now, probe)),
                Decision::At(at) => at_or_told(at, told).await,
                Decision::Full => freed.await,
                Decision::TooLong(wait) => return Err(host.too_long(wait)),
                Decision::Shut(shut) => {
                    let next = match shut.wait.as_millis().div_ceil(1000) {
                        0 => "one fetch is trying it again".to_owned(),
                        seconds => format!("it is tried again in {seconds} s"),
                    };
                    let message = format!(
                        "not asked: {} failed {} times in a row on the {} tier; {next}",
                        host.name, shut.faults, wish.tier
                    );
                    return Err(Error::new(shut.kind, message));
                }
            }
        }
    }

    /// The same without waiting: `None` where it takes a while, or an error has to be told.
    pub(crate) fn at_once(&self, asking: &Asking<'_>) -> Option<Permit> {
        let host = self.host(asking.url);
        let (wish, now) = (asking.wish(), Instant::now());
        let decision = {
            let _first = host.turn.try_lock().ok()?;
            host.state().decide(now, &wish)
        };
        match decision {
            Decision::Go { probe } => Some(Permit::new(&host, wish, now, probe)),
            _ => None,
        }
    }

    /// How soon the host of `url` may be asked, and by how many, as things stand.
    pub(crate) fn leave(&self, url: &Url, pace: Pace, crawl_delay: Duration) -> Leave {
        self.host(url).state().leave(Instant::now(), pace, crawl_delay)
    }

    /// Waits until the host of `url` wants no more rest, at most `patience` and until `ends`. For
    /// requests on the way of another: redirects and robots.txt.
    ///
    /// # Errors
    /// [`ErrorKind::Blocked`] when that takes longer: at once, not afterwards.
    pub(crate) async fn rested(&self, url: &Url, patience: Duration, ends: Option<Instant>) -> Result<()> {
        let host = self.host(url);
        loop {
            let told = host.told.notified();
            let now = Instant::now();
            let wait = host.state().resting(now);
            if wait.is_zero() {
                return Ok(());
            }
            if wait > patience.min(PATIENCE) || ends.is_some_and(|ends| now + wait > ends) {
                return Err(host.too_long(wait));
            }
            at_or_told(now + wait, told).await;
        }
    }

    /// Another process found the host of `url` failing on `tier`.
    pub(crate) fn heard(&self, url: &Url, tier: Tier, opened: Opened) {
        let host = self.host(url);
        tracing::info!(host = host.name, %tier, faults = opened.faults, "another process found the host failing");
        host.state().heard(tier, opened, Instant::now());
    }

    /// The host of `url` asked to be left alone for `wait`.
    pub(crate) fn rest(&self, url: &Url, wait: Duration) {
        let host = self.host(url);
        tracing::info!(host = host.name, seconds = wait.as_secs(), "the host wants rest");
        host.state().rest(Instant::now(), wait);
        host.told.notify_waiters();
    }

    fn host(&self, url: &Url) -> Arc<Host> {
        let name = name(url);
        let mut hosts = lock(&self.0);
        if let Some(host) = hosts.get(&*name) {
            return Arc::clone(host);
        }
        if hosts.len() >= MAX_HOSTS {
            let now = Instant::now();
            hosts.retain(|_, host| Arc::strong_count(host) > 1 || !host.state().is_idle(now));
        }
        if hosts.len() >= MAX_HOSTS {
            // All of them in use: half of what nobody waits for is forgotten at once, rather than one a fetch.
            let mut keep = false;
            hosts.retain(|_, host| {
                keep = !keep;
                keep || Arc::strong_count(host) > 1
            });
        }
        let host = Arc::new(Host { name: name.clone().into_owned(), ..Host::default() });
        hosts.insert(name.into_owned(), Arc::clone(&host));
        host
    }
}

impl Permit {
    fn new(host: &Arc<Host>, wish: Wish, started: Instant, probe: bool) -> Self {
        if probe {
            tracing::info!(host = host.name, tier = %wish.tier, "probes a host that failed");
        }
        Self { host: Arc::clone(host), wish, started, probe, is_over: false, left: AtomicBool::new(false) }
    }

    /// The host has answered, and what follows goes elsewhere: makes room for the next, before the end.
    pub(crate) fn leave(&self) {
        if !self.left.swap(true, Ordering::Relaxed) {
            self.host.state().left();
            self.host.freed.notify_one();
        }
    }

    /// The request is over. Makes room for the next. What that says of the host, where it is news.
    pub(crate) fn ended(mut self, how: Ended) -> Option<Turn> {
        self.end(how)
    }

    fn end(&mut self, how: Ended) -> Option<Turn> {
        self.is_over = true;
        let mut state = self.host.state();
        if !self.left.swap(true, Ordering::Relaxed) {
            state.left();
        }
        state.ended(self.started, Instant::now(), &self.wish, self.probe, how)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(Ended::Untold);
        }
        self.host.freed.notify_one();
    }
}

impl Host {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn too_long(&self, wait: Duration) -> Error {
        let seconds = wait.as_millis().div_ceil(1000);
        let message = format!(
            "not asked: {} wants to be left alone for another {seconds} s, longer than this fetch may wait",
            self.name
        );
        Error::new(ErrorKind::Blocked, message).with_hint(format!("try again in {seconds} s"))
    }
}

/// A place in a host's line.
struct Place<'a>(&'a Host);

impl<'a> Place<'a> {
    fn in_line(host: &'a Host) -> Result<Self> {
        let place = Self(host);
        if host.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            let message = format!("{MAX_WAITING} fetches of {} wait already", host.name);
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A host by its name, and the port where that says more.
pub(crate) fn name(url: &Url) -> Cow<'_, str> {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(Cow::Borrowed(host), |port| Cow::Owned(format!("{host}:{port}")))
}

/// Whether both are of the same host.
pub(crate) fn is_same(one: &Url, other: &Url) -> bool {
    one.host_str() == other.host_str() && one.port() == other.port()
}

async fn at_or_told(at: Instant, told: Notified<'_>) {
    tokio::select! {
        () = sleep_until(at) => {}
        () = told => {}
    }
}

/// The longest that a site may make a fetch wait at once.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_HOSTS: usize = 10_000;
const MAX_WAITING: usize = 100_000;

#[cfg(test)]
mod tests;
