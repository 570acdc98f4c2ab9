//! Politeness around an attempt: robots.txt, the permit of the host limiter, and the outcome reported to the limiter.
//! The guard applies them to the hosts of redirects too.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};
use url::Url;

use super::trace_builder::TraceBuilder;
use super::{ClassifiedResponse, FetchPlan, Router};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::host_limiter::{
    self, BreakerEvent, BreakerOpened, HostLimiter, HostPermit, HostReadiness, PermitRequest, RequestOutcome,
};
use crate::memory::Circuit;
use crate::net::RequestHooks;
use crate::phase::FetchPhase;
use crate::proxy;
use crate::rate_limit::{RateLimit, RobotsPolicy};
use crate::response::SentRequest;
use crate::retry_after;
use crate::sync::lock_unpoisoned;
use crate::tier::Tier;
use crate::verdict::VerdictKind;

/// Checks each redirect of an attempt before it is followed, and holds the permit for its host during the attempt.
pub(super) struct RedirectGuard<'a> {
    router: &'a Router,
    plan: &'a FetchPlan<'a>,
    tier: Tier,
    /// The permit for the host of the first request.
    first_permit: &'a HostPermit,
    /// The host of the last redirect, and the permit for it.
    redirect_permit: Mutex<Option<(Url, HostPermit)>>,
}

impl<'a> RedirectGuard<'a> {
    pub(super) fn new(
        router: &'a Router,
        plan: &'a FetchPlan<'a>,
        tier: Tier,
        first: &'a HostPermit,
    ) -> Self {
        let guard = Self { router, plan, tier, first_permit: first, redirect_permit: Mutex::default() };
        // Clears the request that an earlier attempt sent.
        guard.store_sent_request(None);
        guard
    }

    fn store_sent_request(&self, sent: Option<SentRequest>) {
        if let Some(slot) = self.plan.sent_request {
            *lock_unpoisoned(slot) = sent;
        }
    }

    fn redirect_permit(&self) -> MutexGuard<'_, Option<(Url, HostPermit)>> {
        lock_unpoisoned(&self.redirect_permit)
    }

    /// Acquires a permit for the host of `url`, unless the attempt has one. An attempt holds one permit at a time,
    /// since holding one while waiting for another could deadlock.
    async fn acquire_redirect_host(&self, url: &Url, crawl_delay: Duration) -> Result<()> {
        let has_permit = match &*self.redirect_permit() {
            Some((held, _)) => host_limiter::is_same_host(held, url),
            None => host_limiter::is_same_host(&self.plan.request.url, url),
        };
        if has_permit {
            return Ok(());
        }
        self.first_permit.release_slot();
        *self.redirect_permit() = None;
        let deadline = Some(Instant::now() + MAX_REDIRECT_REST);
        let permit_request =
            PermitRequest { url, tier: self.tier, rate_limit: self.plan.rate_limit, crawl_delay, deadline };
        let permit = timeout(REDIRECT_PERMIT_TIMEOUT, self.router.limiter.acquire(&permit_request)).await.map_err(
            |_| {
                let name = host_limiter::host_key(url);
                let message = format!(
                    "timed out after {REDIRECT_PERMIT_TIMEOUT:?} waiting for a rate-limit slot at {name} (redirect target)"
                );
                Error::new(ErrorKind::Timeout, message)
            },
        )??;
        *self.redirect_permit() = Some((url.clone(), permit));
        Ok(())
    }
}

impl RequestHooks for RedirectGuard<'_> {
    fn is_strict(&self) -> bool {
        self.plan.robots == RobotsPolicy::Obey
    }

    fn before_request<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>> {
        async move {
            let crawl_delay = self.router.check_robots(self.plan, url, None).await?;
            self.router.limiter.wait_for_retry_after(url, MAX_REDIRECT_REST, None).await?;
            self.acquire_redirect_host(url, crawl_delay).await
        }
        .boxed()
    }

    fn wants_request_capture(&self) -> bool {
        self.plan.sent_request.is_some()
    }

    fn on_request_sent(&self, request: SentRequest) {
        self.store_sent_request(Some(request));
    }

    fn on_phase(&self, phase: fn(Tier) -> FetchPhase) {
        self.plan.report_phase(phase(self.tier));
    }
}

/// Delays requests for robots.txt while their host rests after a `Retry-After`.
struct RetryAfterGuard<'a>(&'a HostLimiter, Option<Instant>);

impl RequestHooks for RetryAfterGuard<'_> {
    fn before_request<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>> {
        self.0.wait_for_retry_after(url, Duration::MAX, self.1).boxed()
    }
}

impl Router {
    /// Checks `url` against robots.txt, if it is obeyed. Returns its crawl delay.
    ///
    /// # Errors
    /// [`ErrorKind::Robots`] if robots.txt disallows the URL.
    pub(super) async fn check_robots(
        &self,
        plan: &FetchPlan<'_>,
        url: &Url,
        deadline: Option<Instant>,
    ) -> Result<Duration> {
        if plan.robots == RobotsPolicy::Ignore {
            return Ok(Duration::ZERO);
        }
        let hooks = RetryAfterGuard(&self.limiter, deadline);
        let proxy_rules = plan.identities.plain.proxy_rules();
        let lookup = self.robots.lookup(url, proxy_rules, plan.limits, &hooks).await?;
        if let Some((host, wait)) = &lookup.retry_after {
            self.limiter.set_retry_after(host, *wait);
        }
        lookup.entry.check(url, &lookup.url)?;
        Ok(lookup.entry.crawl_delay())
    }

    /// Returns how soon the host of `url` may be requested at `rate_limit`. Uses only what is known without a request.
    pub(crate) fn readiness(&self, url: &Url, rate_limit: RateLimit) -> HostReadiness {
        self.limiter.readiness(url, rate_limit, self.robots.crawl_delay(url))
    }

    /// Returns a permit for the host if one is available without waiting.
    pub(super) fn try_admit(
        &self,
        plan: &FetchPlan<'_>,
        tier: Tier,
        crawl_delay: Duration,
        builder: &mut TraceBuilder,
    ) -> Option<HostPermit> {
        if self.memory.should_check_circuits(&host_limiter::host_key(&plan.request.url)) {
            return None;
        }
        let permit = self.limiter.try_acquire(&permit_request(plan, tier, crawl_delay, builder))?;
        builder.waited = Duration::ZERO;
        Some(permit)
    }

    /// Waits for a permit for the host, and records how long that took. A refusal by an open circuit breaker is an
    /// attempt in the trace although nothing was sent.
    pub(super) async fn admit(
        &self,
        plan: &FetchPlan<'_>,
        tier: Tier,
        crawl_delay: Duration,
        builder: &mut TraceBuilder,
    ) -> Result<HostPermit> {
        self.import_circuits(plan).await;
        let began = Instant::now();
        let permit = self.limiter.acquire(&permit_request(plan, tier, crawl_delay, builder)).await;
        builder.waited = began.elapsed();
        permit.inspect_err(|error| {
            builder.begin_attempt(plan, tier);
            builder.fail_attempt(plan, error);
        })
    }

    /// Reports the outcome of an attempt to the host limiter.
    pub(super) fn report_to_limiter(
        &self,
        plan: &FetchPlan<'_>,
        tier: Tier,
        permit: HostPermit,
        outcome: &Result<ClassifiedResponse>,
    ) {
        let event = permit.finish(match outcome {
            Ok(response) => self.limiter_outcome(plan, response),
            Err(error) if is_host_fault(plan, tier, error) => RequestOutcome::Fault(error.kind()),
            Err(_) => RequestOutcome::Unknown,
        });
        let Some(event) = event else { return };
        let host = host_limiter::host_key(&plan.request.url).into_owned();
        match event {
            BreakerEvent::Opened(opened) => {
                self.memory.record_open_circuit(new_circuit(host, tier, opened, self.memory.now()));
            }
            BreakerEvent::Closed => self.memory.record_closed_circuit(&host, tier),
        }
    }

    /// Imports open circuits of the host that other processes recorded.
    async fn import_circuits(&self, plan: &FetchPlan<'_>) {
        let url = &plan.request.url;
        let now = self.memory.now();
        for Circuit { tier, kind, faults, until, lasts, .. } in
            self.memory.new_circuits(&host_limiter::host_key(url)).await
        {
            let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            let (wait, lasts) = (seconds(until.saturating_sub(now)), seconds(lasts));
            self.limiter.import_circuit(url, tier, BreakerOpened { kind, faults, wait, open_for: lasts });
        }
    }

    fn limiter_outcome(&self, plan: &FetchPlan<'_>, response: &ClassifiedResponse) -> RequestOutcome {
        let wait = retry_after::requested_delay(response.status, &response.headers, SystemTime::now());
        if let Some(wait) = wait {
            self.limiter.set_retry_after(&response.url, wait);
        }
        let elsewhere = !host_limiter::is_same_host(&response.url, &plan.request.url);
        if !elsewhere && (wait.is_some() || response.verdict.kind == VerdictKind::RateLimit) {
            return RequestOutcome::RateLimited;
        }
        let timings = &response.timings;
        let connecting = timings.dns + timings.connect + timings.tls;
        let latency = timings.first_byte.saturating_sub(connecting);
        // The browser does not report its first byte, and another host's latency says nothing about this host.
        RequestOutcome::Answered(
            (!elsewhere && !latency.is_zero() && response.browser.is_none()).then_some(latency),
        )
    }
}

/// Returns the request for a permit at the plan's host.
fn permit_request<'a>(
    plan: &FetchPlan<'a>,
    tier: Tier,
    crawl_delay: Duration,
    builder: &TraceBuilder,
) -> PermitRequest<'a> {
    PermitRequest {
        url: &plan.request.url,
        tier,
        rate_limit: plan.rate_limit,
        crawl_delay,
        deadline: builder.deadline,
    }
}

/// Returns the record of a circuit that just opened, for other processes.
fn new_circuit(host: String, tier: Tier, opened: BreakerOpened, now: i64) -> Circuit {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let BreakerOpened { kind, faults, wait, open_for: lasts } = opened;
    let until = now.saturating_add(seconds(wait));
    Circuit { host, tier, kind, faults, since: now, until, lasts: seconds(lasts) }
}

/// Whether the host of the first request caused an error: not a proxy, the caller, or the host of a redirect. A
/// timeout in the browser does not count, since a page may be slow for many reasons.
fn is_host_fault(plan: &FetchPlan<'_>, tier: Tier, error: &Error) -> bool {
    let uses_pool = plan.identities.proxy_session.is_some()
        && plan.identities.for_tier(tier).proxy_rules().proxy(&plan.request.url).is_some();
    let is_host_error = match error.kind() {
        // Any proxy of a pool may break a connection. Only an error that it reports about the host counts.
        kind if uses_pool => kind == ErrorKind::Connect && proxy::is_target_error(error),
        ErrorKind::Connect | ErrorKind::Tls | ErrorKind::Protocol => true,
        ErrorKind::Timeout => tier != Tier::Browser,
        _ => false,
    };
    let at = error.url().and_then(|url| Url::parse(url).ok());
    is_host_error && at.is_none_or(|at| host_limiter::is_same_host(&at, &plan.request.url))
}

/// The longest time that a running attempt waits for a redirect's host to rest.
const MAX_REDIRECT_REST: Duration = Duration::from_secs(5);
/// The longest time that a running attempt waits for a permit at a redirect's host.
const REDIRECT_PERMIT_TIMEOUT: Duration = Duration::from_secs(20);
