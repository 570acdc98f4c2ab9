//! Reports what happened to everything that learns from it, in this order:
//!
//! | step | before the decision: the outcome | after it: the action |
//! |---|---|---|
//! | 1 | host memory: whether the tier passed | host memory: a fetch that ends with a small page |
//! | 2 | host limiter: latency, `Retry-After`, fault | counters: retries, switches |
//! | 3 | proxy: page, block, fault | trace: the attempt and the reason for the next |
//!
//! The decision depends on step 3 of the outcome: a proxy that just failed is no alternative.

use std::time::{Duration, SystemTime};

use url::Url;

use super::permits::Permits;
use super::policy::Action;
use super::response::{ClassifiedResponse, proxy_fault};
use super::services::Router;
use super::state::FetchState;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::tier::Tier;
use crate::exchange::verdict::VerdictKind;
use crate::memory::Circuit;
use crate::proxy;
use crate::proxy::session::{FaultSource, UseOutcome};
use crate::router::host_limiter::{self, BreakerEvent, BreakerOpened, HostPermit, RequestOutcome};
use crate::settings::retry_after;

impl Router {
    /// Reports the outcome of an attempt, and frees its permits.
    pub(super) fn report_outcome(
        &self,
        fetch: &mut FetchState<'_>,
        permits: Permits,
        outcome: &Result<ClassifiedResponse>,
    ) {
        self.record_attempt(fetch, outcome);
        self.report_to_limiter(fetch, permits.host, outcome);
        if let Some(permit) = permits.proxy {
            permit.finish(match outcome {
                Ok(response) => use_outcome(response),
                Err(error) => proxy_fault(fetch.tier(), error).map_or(UseOutcome::Unknown, UseOutcome::Fault),
            });
        }
    }

    /// Reports the action that follows an attempt.
    pub(super) fn report_action(
        &self,
        fetch: &mut FetchState<'_>,
        action: &Action,
        outcome: &Result<ClassifiedResponse>,
    ) {
        self.record_suspect_size(fetch, action, outcome);
        fetch.counters.count_action(action);
        fetch.trace.end_attempt(fetch.plan, outcome, action);
    }

    fn report_to_limiter(
        &self,
        fetch: &FetchState<'_>,
        permit: HostPermit,
        outcome: &Result<ClassifiedResponse>,
    ) {
        let event = permit.finish(match outcome {
            Ok(response) => self.limiter_outcome(&fetch.plan.request.url, response),
            Err(error) if is_host_fault(fetch, error) => RequestOutcome::Fault(error.kind()),
            Err(_) => RequestOutcome::Unknown,
        });
        let Some(event) = event else { return };
        let (host, tier) = (host_limiter::host_key(&fetch.plan.request.url).into_owned(), fetch.tier());
        match event {
            BreakerEvent::Opened(opened) => {
                self.memory.record_open_circuit(new_circuit(host, tier, opened, self.memory.now()));
            }
            BreakerEvent::Closed => self.memory.record_closed_circuit(&host, tier),
        }
    }

    fn limiter_outcome(&self, requested: &Url, response: &ClassifiedResponse) -> RequestOutcome {
        let raw = &response.raw;
        let wait = retry_after::requested_delay(raw.status, &raw.headers, SystemTime::now());
        if let Some(wait) = wait {
            self.limiter.set_retry_after(&raw.url, wait);
        }
        let elsewhere = !host_limiter::is_same_host(&raw.url, requested);
        if !elsewhere && (wait.is_some() || response.verdict.kind == VerdictKind::RateLimit) {
            return RequestOutcome::RateLimited;
        }
        let timings = &raw.timings;
        let connecting = timings.dns + timings.connect + timings.tls;
        let latency = timings.first_byte.saturating_sub(connecting);
        // The browser does not report its first byte, and another host's latency says nothing about this host.
        RequestOutcome::Answered(
            (!elsewhere && !latency.is_zero() && raw.browser.is_none()).then_some(latency),
        )
    }
}

/// Derives the proxy's outcome from a response.
fn use_outcome(response: &ClassifiedResponse) -> UseOutcome {
    match response.verdict.kind {
        VerdictKind::Genuine => {
            let latency = response.raw.timings.first_byte;
            UseOutcome::Page((!latency.is_zero() && response.raw.browser.is_none()).then_some(latency))
        }
        // Sites serve these to addresses with a bad reputation.
        VerdictKind::Block | VerdictKind::Captcha => UseOutcome::Blocked,
        VerdictKind::ProxyFault => UseOutcome::Fault(FaultSource::Unclear),
        VerdictKind::Challenge
        | VerdictKind::Stub
        | VerdictKind::RateLimit
        | VerdictKind::Geo
        | VerdictKind::LoginWall
        | VerdictKind::OriginError => UseOutcome::Answered,
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
fn is_host_fault(fetch: &FetchState<'_>, error: &Error) -> bool {
    let (plan, tier) = (fetch.plan, fetch.tier());
    let uses_pool = fetch.identities().proxy_session.is_some()
        && fetch.identity().proxy_rules().proxy(&plan.request.url).is_some();
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
