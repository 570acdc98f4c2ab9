//! The manners around an attempt: what robots.txt allows, when the host may be asked, and what its
//! answer says of the pace.

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

/// Stands before the redirects of one attempt, and holds their hosts' places while it lasts.
pub(super) struct RedirectGuard<'a> {
    router: &'a Router,
    plan: &'a FetchPlan<'a>,
    tier: Tier,
    /// Leave for the host that was asked first.
    first_permit: &'a HostPermit,
    /// The host that a redirect led to last, and the leave for it.
    redirect_permit: Mutex<Option<(Url, HostPermit)>>,
}

impl<'a> RedirectGuard<'a> {
    pub(super) fn new(
        router: &'a Router,
        errand: &'a FetchPlan<'a>,
        tier: Tier,
        first: &'a HostPermit,
    ) -> Self {
        let manners =
            Self { router, plan: errand, tier, first_permit: first, redirect_permit: Mutex::default() };
        // What an attempt before this one sent.
        manners.store_sent_request(None);
        manners
    }

    fn store_sent_request(&self, sent: Option<SentRequest>) {
        if let Some(slot) = self.plan.sent_request {
            *lock_unpoisoned(slot) = sent;
        }
    }

    fn redirect_permit(&self) -> MutexGuard<'_, Option<(Url, HostPermit)>> {
        lock_unpoisoned(&self.redirect_permit)
    }

    /// Takes a place at the host of `url`, where the attempt has none. It has one at a time: who held
    /// one while waiting for another could wait for ever.
    async fn acquire_redirect_host(&self, url: &Url, crawl_delay: Duration) -> Result<()> {
        let is_there = match &*self.redirect_permit() {
            Some((there, _)) => host_limiter::is_same_host(there, url),
            None => host_limiter::is_same_host(&self.plan.request.url, url),
        };
        if is_there {
            return Ok(());
        }
        self.first_permit.release_slot();
        *self.redirect_permit() = None;
        let ends = Some(Instant::now() + MAX_REDIRECT_REST);
        let asking = PermitRequest {
            url,
            tier: self.tier,
            rate_limit: self.plan.rate_limit,
            crawl_delay,
            deadline: ends,
        };
        let permit = timeout(REDIRECT_PERMIT_TIMEOUT, self.router.limiter.acquire(&asking)).await.map_err(
            |_| {
                let name = host_limiter::host_key(url);
                let message = format!(
                    "{name}, where a redirect leads, had no turn for it within {REDIRECT_PERMIT_TIMEOUT:?}"
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
            self.router.limiter.wait_for_rest(url, MAX_REDIRECT_REST, None).await?;
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

    fn on_phase(&self, stage: fn(Tier) -> FetchPhase) {
        self.plan.report_phase(stage(self.tier));
    }
}

/// Stands before the requests for robots.txt: they may come too soon as well.
struct RetryAfterGuard<'a>(&'a HostLimiter, Option<Instant>);

impl RequestHooks for RetryAfterGuard<'_> {
    fn before_request<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>> {
        self.0.wait_for_rest(url, Duration::MAX, self.1).boxed()
    }
}

impl Router {
    /// Asks robots.txt about `url`, where it is obeyed. The time it wants between two requests.
    ///
    /// # Errors
    /// [`ErrorKind::Robots`] when it forbids the URL.
    pub(super) async fn check_robots(
        &self,
        errand: &FetchPlan<'_>,
        url: &Url,
        ends: Option<Instant>,
    ) -> Result<Duration> {
        if errand.robots == RobotsPolicy::Ignore {
            return Ok(Duration::ZERO);
        }
        let gate = RetryAfterGuard(&self.limiter, ends);
        let route = errand.identities.plain.proxy_rules();
        let found = self.robots.lookup(url, route, errand.limits, &gate).await?;
        if let Some((who, wait)) = &found.retry_after {
            self.limiter.set_rest(who, *wait);
        }
        found.entry.check(url, &found.url)?;
        Ok(found.entry.crawl_delay())
    }

    /// How soon the host of `url` may be asked at `pace`, as far as is known without asking anybody.
    pub(crate) fn readiness(&self, url: &Url, pace: RateLimit) -> HostReadiness {
        self.limiter.readiness(url, pace, self.robots.crawl_delay(url))
    }

    /// Leave to ask the host, where it is to be had without waiting.
    pub(super) fn try_admit(
        &self,
        errand: &FetchPlan<'_>,
        tier: Tier,
        crawl_delay: Duration,
        progress: &mut TraceBuilder,
    ) -> Option<HostPermit> {
        if self.memory.should_check_circuits(&host_limiter::host_key(&errand.request.url)) {
            return None;
        }
        let permit = self.limiter.try_acquire(&permit_request(errand, tier, crawl_delay, progress))?;
        progress.waited = Duration::ZERO;
        Some(permit)
    }

    /// Waits until the host may be asked, and writes down how long that took. A refusal that comes from
    /// the tier's own faults is an attempt of the trace, though nothing was sent.
    pub(super) async fn admit(
        &self,
        errand: &FetchPlan<'_>,
        tier: Tier,
        crawl_delay: Duration,
        progress: &mut TraceBuilder,
    ) -> Result<HostPermit> {
        self.import_circuits(errand).await;
        let began = Instant::now();
        let permit = self.limiter.acquire(&permit_request(errand, tier, crawl_delay, progress)).await;
        progress.waited = began.elapsed();
        permit.inspect_err(|error| {
            progress.begin_attempt(errand, tier);
            progress.fail_attempt(errand, error);
        })
    }

    /// Tells the host's limits what came of an attempt.
    pub(super) fn report_to_limiter(
        &self,
        errand: &FetchPlan<'_>,
        tier: Tier,
        permit: HostPermit,
        outcome: &Result<ClassifiedResponse>,
    ) {
        let turn = permit.finish(match outcome {
            Ok(judged) => self.limiter_outcome(errand, judged),
            Err(error) if is_host_fault(errand, tier, error) => RequestOutcome::Fault(error.kind()),
            Err(_) => RequestOutcome::Unknown,
        });
        let Some(turn) = turn else { return };
        let host = host_limiter::host_key(&errand.request.url).into_owned();
        match turn {
            BreakerEvent::Opened(opened) => {
                self.memory.record_open_circuit(new_circuit(host, tier, opened, self.memory.now()))
            }
            BreakerEvent::Closed => self.memory.record_closed_circuit(&host, tier),
        }
    }

    /// Takes over what other processes found of the host.
    async fn import_circuits(&self, errand: &FetchPlan<'_>) {
        let url = &errand.request.url;
        let now = self.memory.now();
        for Circuit { tier, kind, faults, until, lasts, .. } in
            self.memory.new_circuits(&host_limiter::host_key(url)).await
        {
            let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            let (wait, lasts) = (seconds(until.saturating_sub(now)), seconds(lasts));
            self.limiter.import_circuit(url, tier, BreakerOpened { kind, faults, wait, open_for: lasts });
        }
    }

    fn limiter_outcome(&self, errand: &FetchPlan<'_>, judged: &ClassifiedResponse) -> RequestOutcome {
        let wait = retry_after::requested_delay(judged.status, &judged.headers, SystemTime::now());
        if let Some(wait) = wait {
            self.limiter.set_rest(&judged.url, wait);
        }
        let elsewhere = !host_limiter::is_same_host(&judged.url, &errand.request.url);
        if !elsewhere && (wait.is_some() || judged.verdict.kind == VerdictKind::RateLimit) {
            return RequestOutcome::RateLimited;
        }
        let timings = &judged.timings;
        let connecting = timings.dns + timings.connect + timings.tls;
        let latency = timings.first_byte.saturating_sub(connecting);
        // The browser's first byte is not told, and another host's is no word on this one.
        RequestOutcome::Answered(
            (!elsewhere && !latency.is_zero() && judged.browser.is_none()).then_some(latency),
        )
    }
}

/// What the host of `errand` is asked for.
fn permit_request<'a>(
    errand: &FetchPlan<'a>,
    tier: Tier,
    crawl_delay: Duration,
    progress: &TraceBuilder,
) -> PermitRequest<'a> {
    PermitRequest {
        url: &errand.request.url,
        tier,
        rate_limit: errand.rate_limit,
        crawl_delay,
        deadline: progress.deadline,
    }
}

/// A circuit that opened just now, as other processes are told of it.
fn new_circuit(host: String, tier: Tier, opened: BreakerOpened, now: i64) -> Circuit {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let BreakerOpened { kind, faults, wait, open_for: lasts } = opened;
    let until = now.saturating_add(seconds(wait));
    Circuit { host, tier, kind, faults, since: now, until, lasts: seconds(lasts) }
}

/// Whether an error is the doing of the host that was asked first, and not of a proxy, of the caller, or
/// of another host that a redirect led to. A page in the browser may take its time for many reasons.
fn is_host_fault(errand: &FetchPlan<'_>, tier: Tier, error: &Error) -> bool {
    let by_exit = errand.identities.proxy_session.is_some()
        && errand.identities.for_tier(tier).proxy_rules().proxy(&errand.request.url).is_some();
    let of_the_host = match error.kind() {
        // Any exit of a pool may break a connection: only what it says of the host counts.
        kind if by_exit => kind == ErrorKind::Connect && proxy::is_target_error(error),
        ErrorKind::Connect | ErrorKind::Tls | ErrorKind::Protocol => true,
        ErrorKind::Timeout => tier != Tier::Browser,
        _ => false,
    };
    let at = error.url().and_then(|url| Url::parse(url).ok());
    of_the_host && at.is_none_or(|at| host_limiter::is_same_host(&at, &errand.request.url))
}

/// How long the host of a redirect may make an attempt wait that is under way.
const MAX_REDIRECT_REST: Duration = Duration::from_secs(5);
/// How long an attempt under way waits for its turn there.
const REDIRECT_PERMIT_TIMEOUT: Duration = Duration::from_secs(20);
