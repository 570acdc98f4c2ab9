//! Limits the requests to each host: order of arrival, concurrency, interval, and the delay that a host
//! requested.
//!
//! A host is a name or an address, with the port if it is not the scheme's default. A site's http and https
//! are one host; two ports of one machine are two. All fetches of a fetcher share the limiter, whatever their
//! session or proxy.

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

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::tier::Tier;
use crate::os::sync::lock_unpoisoned;
use crate::settings::rate_limit::RateLimit;

pub(crate) use breaker::BreakerOpened;
pub(crate) use host::{BreakerEvent, HostReadiness, RequestOutcome};

use host::{Admission, AdmissionRequest, HostState};

/// The rate limits and circuit breakers of all hosts, shared by the fetches of a fetcher.
#[derive(Default)]
pub(crate) struct HostLimiter(Mutex<HashMap<String, Arc<HostEntry>>>);

/// A request that waits for a permit of its host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PermitRequest<'a> {
    pub(crate) url: &'a Url,
    pub(crate) tier: Tier,
    pub(crate) rate_limit: RateLimit,
    /// The `Crawl-delay` of robots.txt, where it is obeyed.
    pub(crate) crawl_delay: Duration,
    /// The deadline of the whole fetch.
    pub(crate) deadline: Option<Instant>,
}

impl PermitRequest<'_> {
    fn admission(&self) -> AdmissionRequest {
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

/// A permit to send one request to a host. Dropping it without reporting an outcome leaves the host's state
/// unchanged.
pub(crate) struct HostPermit {
    host: Arc<HostEntry>,
    request: AdmissionRequest,
    started: Instant,
    is_probe: bool,
    is_finished: bool,
    /// Whether the concurrency slot was freed before the request ended.
    slot_released: AtomicBool,
}

#[derive(Default)]
struct HostEntry {
    name: String,
    /// Locked by the first request in the queue. Tokio's mutex is fair: it passes on in order of arrival.
    queue: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
    /// Notified when a request ended.
    slot_freed: Notify,
    /// Notified when the host requested a delay.
    retry_after_changed: Notify,
    state: Mutex<HostState>,
}

impl HostLimiter {
    /// Waits until the host of `request` may be requested.
    ///
    /// # Errors
    /// - [`ErrorKind::Blocked`] when the site imposes a longer delay than this request may wait. The error is
    ///   immediate.
    /// - The kind of the last fault when the host's circuit is open.
    /// - [`ErrorKind::Timeout`] when too many requests wait already.
    pub(crate) async fn acquire(&self, request: &PermitRequest<'_>) -> Result<HostPermit> {
        let host = self.entry(request.url);
        let admission = request.admission();
        let _slot = QueueSlot::enter(&host)?;
        let mut queue = pin!(host.queue.lock());
        let _guard = loop {
            let delay_changed = host.retry_after_changed.notified();
            if let Some(wait) = host.state().excessive_wait(Instant::now(), &admission) {
                return Err(host.too_long_error(wait));
            }
            tokio::select! {
                biased;
                guard = &mut queue => break guard,
                () = delay_changed => {}
            }
        };
        loop {
            let (freed, delay_changed) = (host.slot_freed.notified(), host.retry_after_changed.notified());
            let now = Instant::now();
            let decision = host.state().admit(now, &admission);
            match decision {
                Admission::Granted { is_probe } => {
                    return Ok(HostPermit::new(&host, admission, now, is_probe));
                }
                Admission::RetryAt(at) => sleep_until_or_notified(at, delay_changed).await,
                Admission::AtCapacity => freed.await,
                Admission::TooLong(wait) => return Err(host.too_long_error(wait)),
                Admission::CircuitOpen(reason) => {
                    let next = match reason.wait.as_millis().div_ceil(1000) {
                        0 => "another fetch is probing it".to_owned(),
                        seconds => format!("next probe in {seconds} s"),
                    };
                    let message = format!(
                        "request not sent: {} failed {} times in a row on the {} tier; {next}",
                        host.name, reason.faults, admission.tier
                    );
                    return Err(Error::new(reason.kind, message));
                }
            }
        }
    }

    /// Returns a permit if one is available at once. `None` when the request must wait or would fail.
    pub(crate) fn try_acquire(&self, request: &PermitRequest<'_>) -> Option<HostPermit> {
        let host = self.entry(request.url);
        let (admission, now) = (request.admission(), Instant::now());
        let decision = {
            let _guard = host.queue.try_lock().ok()?;
            host.state().admit(now, &admission)
        };
        match decision {
            Admission::Granted { is_probe } => Some(HostPermit::new(&host, admission, now, is_probe)),
            _ => None,
        }
    }

    /// Returns when and how often the host of `url` may be requested at present.
    pub(crate) fn readiness(&self, url: &Url, rate_limit: RateLimit, crawl_delay: Duration) -> HostReadiness {
        self.entry(url).state().readiness(Instant::now(), rate_limit, crawl_delay)
    }

    /// Waits for the delay that the host of `url` requested, at most `max_wait` and until `deadline`. Used
    /// for requests inside another request: redirects and robots.txt.
    ///
    /// # Errors
    /// [`ErrorKind::Blocked`], immediately, when the delay is longer.
    pub(crate) async fn wait_for_retry_after(
        &self,
        url: &Url,
        max_wait: Duration,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let host = self.entry(url);
        loop {
            let delay_changed = host.retry_after_changed.notified();
            let now = Instant::now();
            let wait = host.state().retry_after_remaining(now);
            if wait.is_zero() {
                return Ok(());
            }
            if wait > max_wait.min(MAX_HOST_WAIT) || deadline.is_some_and(|deadline| now + wait > deadline) {
                return Err(host.too_long_error(wait));
            }
            sleep_until_or_notified(now + wait, delay_changed).await;
        }
    }

    /// Adopts a circuit that another process opened for the host of `url` on `tier`.
    pub(crate) fn import_circuit(&self, url: &Url, tier: Tier, opened: BreakerOpened) {
        let host = self.entry(url);
        tracing::info!(host = host.name, %tier, faults = opened.faults, "circuit opened by another process");
        host.state().import_circuit(tier, opened, Instant::now());
    }

    /// Records that the host of `url` requested a delay of `wait`.
    pub(crate) fn set_retry_after(&self, url: &Url, wait: Duration) {
        let host = self.entry(url);
        tracing::info!(host = host.name, seconds = wait.as_secs(), "host requested a delay");
        host.state().extend_retry_after(Instant::now(), wait);
        host.retry_after_changed.notify_waiters();
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
            // All entries are in use. Half of those without waiting requests are dropped at once, instead of
            // one per fetch.
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
            tracing::info!(host = host.name, tier = %request.tier, "probing a failed host");
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

    /// Frees the concurrency slot before the request ends: the host has responded, and the remaining work is
    /// elsewhere.
    pub(crate) fn release_slot(&self) {
        if !self.slot_released.swap(true, Ordering::Relaxed) {
            self.host.state().release();
            self.host.slot_freed.notify_one();
        }
    }

    /// Ends the request with `outcome` and frees its slot. Returns a change of the host's circuit, if any.
    pub(crate) fn finish(mut self, outcome: RequestOutcome) -> Option<BreakerEvent> {
        self.finish_with(outcome)
    }

    fn finish_with(&mut self, outcome: RequestOutcome) -> Option<BreakerEvent> {
        self.is_finished = true;
        let mut state = self.host.state();
        if !self.slot_released.swap(true, Ordering::Relaxed) {
            state.release();
        }
        state.record_outcome(self.started, Instant::now(), &self.request, self.is_probe, outcome)
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
            "request not sent: {} requested a delay of {seconds} s more, longer than this fetch may wait",
            self.name
        );
        Error::new(ErrorKind::Blocked, message).with_hint(format!("try again in {seconds} s"))
    }
}

/// A slot in a host's queue.
struct QueueSlot<'a>(&'a HostEntry);

impl<'a> QueueSlot<'a> {
    fn enter(host: &'a HostEntry) -> Result<Self> {
        let slot = Self(host);
        if host.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            let message = format!("{MAX_WAITING} fetches already wait for {}", host.name);
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        Ok(slot)
    }
}

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The host of a URL, with the port if it is not the scheme's default.
pub(crate) fn host_key(url: &Url) -> Cow<'_, str> {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(Cow::Borrowed(host), |port| Cow::Owned(format!("{host}:{port}")))
}

/// Whether both URLs have the same host and port.
pub(crate) fn is_same_host(one: &Url, other: &Url) -> bool {
    one.host_str() == other.host_str() && one.port() == other.port()
}

async fn sleep_until_or_notified(at: Instant, notified: Notified<'_>) {
    tokio::select! {
        () = sleep_until(at) => {}
        () = notified => {}
    }
}

/// The longest delay that a site may impose on a fetch.
const MAX_HOST_WAIT: Duration = Duration::from_secs(60);
const MAX_HOSTS: usize = 10_000;
const MAX_WAITING: usize = 100_000;

#[cfg(test)]
mod tests;
