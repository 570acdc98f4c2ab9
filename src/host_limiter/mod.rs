//! How fast each host is asked: turns in order of arrival, at most so many at once, so far apart,
//! and not before the time a host has named.
//!
//! A host is a name, or an address, and the port where that is not the scheme's own: a site's http
//! and https are one, two ports of one machine are two. Everything is shared by all fetches of a
//! fetcher, whatever their session or proxy.

mod adaptive;
mod breaker;
mod host;

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
use crate::error_kind::ErrorKind;
use crate::rate_limit::RateLimit;
use crate::sync::lock_unpoisoned;
use crate::tier::Tier;

pub(crate) use breaker::BreakerOpened;
pub(crate) use host::{BreakerEvent, HostReadiness, RequestOutcome};

use host::{Admission, AdmissionRequest, HostState};

/// What the fetches of a fetcher know together of how fast they may be.
#[derive(Default)]
pub(crate) struct HostLimiter(Mutex<HashMap<String, Arc<HostEntry>>>);

/// One request that waits for its host's leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PermitRequest<'a> {
    pub(crate) url: &'a Url,
    pub(crate) tier: Tier,
    pub(crate) rate_limit: RateLimit,
    /// What robots.txt asks for between two requests, where it is obeyed.
    pub(crate) crawl_delay: Duration,
    /// When the whole fetch ends.
    pub(crate) deadline: Option<Instant>,
}

impl PermitRequest<'_> {
    fn to_admission(&self) -> AdmissionRequest {
        AdmissionRequest {
            tier: self.tier,
            rate_limit: self.rate_limit,
            crawl_delay: self.crawl_delay,
            jitter_draw: rand::rng().random_range(0.0..1.0),
            max_wait: MAX_HOST_WAIT,
            deadline: self.deadline,
        }
    }
}

/// Leave to make one request. Dropped without a word, it tells nothing of the host.
pub(crate) struct HostPermit {
    host: Arc<HostEntry>,
    request: AdmissionRequest,
    started: Instant,
    is_probe: bool,
    is_finished: bool,
    /// Its place was given up before its end.
    slot_released: AtomicBool,
}

#[derive(Default)]
struct HostEntry {
    name: String,
    /// Held by the first in line. Hands itself on in order of arrival.
    queue: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
    /// A request has ended.
    slot_freed: Notify,
    /// The host asked for rest.
    rest_changed: Notify,
    state: Mutex<HostState>,
}

impl HostLimiter {
    /// Waits until the host of `asking` may be asked.
    ///
    /// # Errors
    /// [`ErrorKind::Blocked`] when the site wants a longer wait than this request may make: at once,
    /// not afterwards. When the host failed too often just now, the kind of its last fault.
    /// [`ErrorKind::Timeout`] when too many wait already.
    pub(crate) async fn acquire(&self, asking: &PermitRequest<'_>) -> Result<HostPermit> {
        let host = self.entry(asking.url);
        let wish = asking.to_admission();
        let _place = QueueSlot::enter(&host)?;
        let mut turn = pin!(host.queue.lock());
        let _first = loop {
            let told = host.rest_changed.notified();
            if let Some(wait) = host.state().excessive_wait(Instant::now(), &wish) {
                return Err(host.too_long_error(wait));
            }
            tokio::select! {
                biased;
                first = &mut turn => break first,
                () = told => {}
            }
        };
        loop {
            let (freed, told) = (host.slot_freed.notified(), host.rest_changed.notified());
            let now = Instant::now();
            let decision = host.state().admit(now, &wish);
            match decision {
                Admission::Granted { is_probe: probe } => {
                    return Ok(HostPermit::new(&host, wish, now, probe));
                }
                Admission::RetryAt(at) => sleep_until_or_notified(at, told).await,
                Admission::AtCapacity => freed.await,
                Admission::TooLong(wait) => return Err(host.too_long_error(wait)),
                Admission::CircuitOpen(shut) => {
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
    pub(crate) fn try_acquire(&self, asking: &PermitRequest<'_>) -> Option<HostPermit> {
        let host = self.entry(asking.url);
        let (wish, now) = (asking.to_admission(), Instant::now());
        let decision = {
            let _first = host.queue.try_lock().ok()?;
            host.state().admit(now, &wish)
        };
        match decision {
            Admission::Granted { is_probe: probe } => Some(HostPermit::new(&host, wish, now, probe)),
            _ => None,
        }
    }

    /// How soon the host of `url` may be asked, and by how many, as things stand.
    pub(crate) fn readiness(&self, url: &Url, pace: RateLimit, crawl_delay: Duration) -> HostReadiness {
        self.entry(url).state().readiness(Instant::now(), pace, crawl_delay)
    }

    /// Waits until the host of `url` wants no more rest, at most `patience` and until `ends`. For
    /// requests on the way of another: redirects and robots.txt.
    ///
    /// # Errors
    /// [`ErrorKind::Blocked`] when that takes longer: at once, not afterwards.
    pub(crate) async fn wait_for_rest(
        &self,
        url: &Url,
        patience: Duration,
        ends: Option<Instant>,
    ) -> Result<()> {
        let host = self.entry(url);
        loop {
            let told = host.rest_changed.notified();
            let now = Instant::now();
            let wait = host.state().rest_remaining(now);
            if wait.is_zero() {
                return Ok(());
            }
            if wait > patience.min(MAX_HOST_WAIT) || ends.is_some_and(|ends| now + wait > ends) {
                return Err(host.too_long_error(wait));
            }
            sleep_until_or_notified(now + wait, told).await;
        }
    }

    /// Another process found the host of `url` failing on `tier`.
    pub(crate) fn import_circuit(&self, url: &Url, tier: Tier, opened: BreakerOpened) {
        let host = self.entry(url);
        tracing::info!(host = host.name, %tier, faults = opened.faults, "another process found the host failing");
        host.state().import_circuit(tier, opened, Instant::now());
    }

    /// The host of `url` asked to be left alone for `wait`.
    pub(crate) fn set_rest(&self, url: &Url, wait: Duration) {
        let host = self.entry(url);
        tracing::info!(host = host.name, seconds = wait.as_secs(), "the host wants rest");
        host.state().extend_rest(Instant::now(), wait);
        host.rest_changed.notify_waiters();
    }

    fn entry(&self, url: &Url) -> Arc<HostEntry> {
        let name = host_key(url);
        let mut hosts = lock_unpoisoned(&self.0);
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
        let host = Arc::new(HostEntry { name: name.clone().into_owned(), ..HostEntry::default() });
        hosts.insert(name.into_owned(), Arc::clone(&host));
        host
    }
}

impl HostPermit {
    fn new(host: &Arc<HostEntry>, request: AdmissionRequest, started: Instant, is_probe: bool) -> Self {
        if is_probe {
            tracing::info!(host = host.name, tier = %request.tier, "probes a host that failed");
        }
        Self {
            host: Arc::clone(host),
            request,
            started,
            is_probe,
            is_finished: false,
            slot_released: AtomicBool::new(false),
        }
    }

    /// The host has answered, and what follows goes elsewhere: makes room for the next, before the end.
    pub(crate) fn release_slot(&self) {
        if !self.slot_released.swap(true, Ordering::Relaxed) {
            self.host.state().release();
            self.host.slot_freed.notify_one();
        }
    }

    /// The request is over. Makes room for the next. What that says of the host, where it is news.
    pub(crate) fn finish(mut self, how: RequestOutcome) -> Option<BreakerEvent> {
        self.finish_with(how)
    }

    fn finish_with(&mut self, how: RequestOutcome) -> Option<BreakerEvent> {
        self.is_finished = true;
        let mut state = self.host.state();
        if !self.slot_released.swap(true, Ordering::Relaxed) {
            state.release();
        }
        state.record_outcome(self.started, Instant::now(), &self.request, self.is_probe, how)
    }
}

impl Drop for HostPermit {
    fn drop(&mut self) {
        if !self.is_finished {
            self.finish_with(RequestOutcome::Unknown);
        }
        self.host.slot_freed.notify_one();
    }
}

impl HostEntry {
    fn state(&self) -> MutexGuard<'_, HostState> {
        lock_unpoisoned(&self.state)
    }

    fn too_long_error(&self, wait: Duration) -> Error {
        let seconds = wait.as_millis().div_ceil(1000);
        let message = format!(
            "not asked: {} wants to be left alone for another {seconds} s, longer than this fetch may wait",
            self.name
        );
        Error::new(ErrorKind::Blocked, message).with_hint(format!("try again in {seconds} s"))
    }
}

/// A place in a host's line.
struct QueueSlot<'a>(&'a HostEntry);

impl<'a> QueueSlot<'a> {
    fn enter(host: &'a HostEntry) -> Result<Self> {
        let place = Self(host);
        if host.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            let message = format!("{MAX_WAITING} fetches of {} wait already", host.name);
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        Ok(place)
    }
}

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A host by its name, and the port where that says more.
pub(crate) fn host_key(url: &Url) -> Cow<'_, str> {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(Cow::Borrowed(host), |port| Cow::Owned(format!("{host}:{port}")))
}

/// Whether both are of the same host.
pub(crate) fn is_same_host(one: &Url, other: &Url) -> bool {
    one.host_str() == other.host_str() && one.port() == other.port()
}

async fn sleep_until_or_notified(at: Instant, told: Notified<'_>) {
    tokio::select! {
        () = sleep_until(at) => {}
        () = told => {}
    }
}

/// The longest that a site may make a fetch wait at once.
const MAX_HOST_WAIT: Duration = Duration::from_secs(60);
const MAX_HOSTS: usize = 10_000;
const MAX_WAITING: usize = 100_000;

#[cfg(test)]
mod tests;
