//! Acquires the permits of an attempt, in this order: the browser turn, the host, the proxy. If a later one is
//! refused, the earlier ones are freed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::clearance::BrowserPass;
use super::ephemeral::EphemeralIdentityGuard;
use super::identities::IdentityPair;
use super::policy::MAX_PROXY_FAULTS;
use super::response::{proxy_fault, visit_error};
use super::services::Router;
use super::state::FetchState;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::phase::FetchPhase;
use crate::exchange::registrable_domain;
use crate::exchange::robots_policy::RobotsPolicy;
use crate::exchange::tier::Tier;
use crate::exchange::verdict::VerdictKind;
use crate::memory::Circuit;
use crate::proxy::session::{ProxyPermit, ProxySession};
use crate::router::host_limiter::{self, BreakerOpened, HostPermit, PermitRequest};

/// The permits of one attempt. The browser turn is part of the fetch's state, because a retry keeps it.
pub(super) struct Permits {
    pub(super) host: HostPermit,
    /// `None` if the URL does not use a proxy pool.
    pub(super) proxy: Option<ProxyPermit>,
}

impl Router {
    /// Acquires the permits of the next attempt. `None` if the proxy does not work and other identities replaced the
    /// current ones. The futures that wait are boxed because most fetches do not need them.
    pub(super) async fn acquire<'r>(&'r self, fetch: &mut FetchState<'r>) -> Result<Option<Permits>> {
        let Some(crawl_delay) = self.crawl_delay(fetch).await? else { return Ok(None) };
        self.enter_tier(fetch).await?;
        let host = match self.try_acquire_host(fetch, crawl_delay) {
            Some(permit) => permit,
            None => {
                let plan = fetch.plan;
                let acquiring = Box::pin(self.acquire_host(fetch, crawl_delay));
                plan.wait_in_phase(FetchPhase::RateLimit, acquiring).await?
            }
        };
        match fetch.proxy_session().map(Arc::clone) {
            None => Ok(Some(Permits { host, proxy: None })),
            Some(session) => {
                let proxy = self.acquire_proxy(fetch, &session).await?;
                Ok(proxy.map(|proxy| Permits { host, proxy: Some(proxy) }))
            }
        }
    }

    /// Checks robots.txt once for each identity pair, and returns its crawl delay. `None` if the proxy does not work
    /// and other identities replaced the current ones.
    async fn crawl_delay<'r>(&'r self, fetch: &mut FetchState<'r>) -> Result<Option<Duration>> {
        if let Some(known) = fetch.current.crawl_delay {
            return Ok(Some(known));
        }
        let plan = fetch.plan;
        let checked = match plan.robots {
            RobotsPolicy::Ignore => Ok(Duration::ZERO),
            RobotsPolicy::Obey => {
                let (url, deadline) = (&plan.request.url, fetch.trace.deadline);
                let checking = Box::pin(self.check_robots(plan, fetch.identities(), url, deadline));
                plan.wait_in_phase(FetchPhase::Robots, checking).await
            }
        };
        let error = match checked {
            Ok(crawl_delay) => {
                fetch.current.crawl_delay = Some(crawl_delay);
                return Ok(Some(crawl_delay));
            }
            Err(error) => error,
        };
        match (fetch.proxy_session(), proxy_fault(Tier::Plain, &error)) {
            (Some(session), Some(fault)) if error.kind() == ErrorKind::Proxy => {
                session.record_fault(fault, &fetch.site_key());
                let identities = next_proxy(fetch).map_err(|_| error)?;
                self.switch_identities(fetch, identities);
                Ok(None)
            }
            _ => Err(error),
        }
    }

    /// Chooses the tier of the next attempt, and acquires the turn if that is the browser tier. Waits for a running
    /// browser visit, at most as long as one may take.
    async fn enter_tier(&self, fetch: &mut FetchState<'_>) -> Result<()> {
        let plan = fetch.plan;
        if let Some(why) = fetch.current.browser_reason.take() {
            if self.enter_browser(fetch, why).await? {
                return Ok(());
            }
            fetch.trace.trace.set_next_reason("share: another fetch earned a clearance meanwhile");
        }
        if fetch.current.visit.is_some() || fetch.current.is_retry {
            return Ok(());
        }
        let may_visit = plan.policy.min < Tier::Browser && plan.policy.highest_tier() == Tier::Browser;
        if may_visit && fetch.current.clearance.is_busy() {
            let idle = Box::pin(fetch.current.clearance.wait_idle(plan.limits.browser_total));
            plan.wait_in_phase(FetchPhase::Clearance, idle).await;
            tracing::debug!(host = plan.host(), "waited for another fetch's browser visit");
        }
        fetch.current.clearances_before = fetch.current.clearance.clearances();
        // New identities continue on the tier where the previous ones were refused.
        let why = if fetch.tier() == Tier::Browser { VerdictKind::Block } else { VerdictKind::Challenge };
        if self.memory.has_file() {
            let loading = Box::pin(self.load_memory(fetch.identities(), plan.site_section, plan.host()));
            plan.wait_in_phase(FetchPhase::Clearance, loading).await;
        }
        let is_browser_only = self.choose_start_tier(fetch);
        if fetch.tier() != Tier::Browser || !may_visit {
            return Ok(());
        }
        if is_browser_only {
            let clearance = Arc::clone(&fetch.current.clearance);
            let acquiring = Box::pin(clearance.acquire_browser_bound());
            let pass = plan.wait_in_phase(FetchPhase::Clearance, acquiring).await;
            fetch.begin_visit(pass, VerdictKind::Challenge);
        } else {
            // One tier lower, in case another fetch earns a clearance first.
            fetch.current.tier = Tier::Impersonate;
            self.enter_browser(fetch, why).await?;
        }
        Ok(())
    }

    /// Moves the fetch to the browser tier because of `why`, with an exclusive turn. Returns false if another fetch
    /// earned a clearance since the last attempt began: then the fetch stays one tier lower.
    ///
    /// # Errors
    /// Fails if a recent visit of another fetch failed and another visit would too.
    async fn enter_browser(&self, fetch: &mut FetchState<'_>, why: VerdictKind) -> Result<bool> {
        let plan = fetch.plan;
        let entering = Box::pin(self.browser_pass(fetch, why));
        let Some(pass) = plan.wait_in_phase(FetchPhase::Clearance, entering).await? else {
            fetch.current.shared_clearances += 1;
            return Ok(false);
        };
        fetch.begin_visit(pass, why);
        Ok(true)
    }

    async fn browser_pass(&self, fetch: &FetchState<'_>, why: VerdictKind) -> Result<Option<BrowserPass>> {
        let (host, clearance) = (fetch.plan.host(), &fetch.current.clearance);
        let is_browser_only = || self.memory.is_browser_only(fetch.identity_key(), host);
        if is_browser_only() {
            return Ok(Some(clearance.acquire_browser_bound().await));
        }
        let turn = clearance.acquire().await;
        if is_browser_only() {
            drop(turn);
            return Ok(Some(clearance.acquire_browser_bound().await));
        }
        if fetch.current.shared_clearances < MAX_SHARED_CLEARANCES
            && turn.is_superseded(fetch.current.clearances_before)
        {
            return Ok(None);
        }
        if let Some(failure) = turn.recent_failure(why) {
            tracing::info!(host, "browser visit skipped: a visit by another fetch just failed");
            return Err(visit_error(failure));
        }
        Ok(Some(BrowserPass::Exclusive(turn)))
    }

    /// Returns a permit for the host if one is available without waiting.
    fn try_acquire_host(&self, fetch: &mut FetchState<'_>, crawl_delay: Duration) -> Option<HostPermit> {
        if self.memory.should_check_circuits(&host_limiter::host_key(&fetch.plan.request.url)) {
            return None;
        }
        let permit = self.limiter.try_acquire(&permit_request(fetch, crawl_delay))?;
        fetch.trace.waited = Duration::ZERO;
        Some(permit)
    }

    /// Waits for a permit for the host, and records how long that took. A refusal by an open circuit breaker is an
    /// attempt in the trace although nothing was sent.
    async fn acquire_host(&self, fetch: &mut FetchState<'_>, crawl_delay: Duration) -> Result<HostPermit> {
        self.import_circuits(fetch).await;
        let began = Instant::now();
        let permit = self.limiter.acquire(&permit_request(fetch, crawl_delay)).await;
        fetch.trace.waited = began.elapsed();
        permit.inspect_err(|error| fetch.add_failed_attempt(error))
    }

    /// Imports open circuits of the host that other processes recorded.
    async fn import_circuits(&self, fetch: &FetchState<'_>) {
        let url = &fetch.plan.request.url;
        let now = self.memory.now();
        for Circuit { tier, kind, faults, until, lasts, .. } in
            self.memory.new_circuits(&host_limiter::host_key(url)).await
        {
            let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            let (wait, lasts) = (seconds(until.saturating_sub(now)), seconds(lasts));
            self.limiter.import_circuit(url, tier, BreakerOpened { kind, faults, wait, open_for: lasts });
        }
    }

    /// Waits for a permit at the proxy. `None` if the proxy does not work and other identities replaced the current
    /// ones.
    async fn acquire_proxy<'r>(
        &'r self,
        fetch: &mut FetchState<'r>,
        session: &Arc<ProxySession>,
    ) -> Result<Option<ProxyPermit>> {
        let began = Instant::now();
        let admitted = session.acquire(&fetch.site_key()).await;
        fetch.trace.waited += began.elapsed();
        let admitted = match admitted {
            Ok(Some(permit)) => return Ok(Some(permit)),
            Ok(None) => next_proxy(fetch),
            Err(error) => Err(error),
        };
        let identities = admitted.inspect_err(|error| fetch.add_failed_attempt(error))?;
        self.switch_identities(fetch, identities);
        Ok(None)
    }

    /// Continues the fetch with other identities.
    pub(super) fn switch_identities<'r>(&'r self, fetch: &mut FetchState<'r>, identities: Arc<IdentityPair>) {
        let clearance = self.clearances.for_host(identities.browser.key(), fetch.plan.host());
        let guard = EphemeralIdentityGuard::new(self, &identities);
        fetch.switch_identities(identities, clearance, guard);
    }
}

impl FetchState<'_> {
    /// Returns the proxy session for the URL, if a pool's proxy is used for it.
    fn proxy_session(&self) -> Option<&Arc<ProxySession>> {
        let session = self.identities().proxy_session.as_ref()?;
        session.proxy_rules().proxy(&self.plan.request.url).map(|_| session)
    }

    fn site_key(&self) -> String {
        registrable_domain::site_key(&self.plan.request.url).to_owned()
    }

    /// Adds an attempt to the trace for which nothing was sent.
    fn add_failed_attempt(&mut self, error: &Error) {
        let tier = self.tier();
        self.trace.begin_attempt(self.plan, &self.current.identities, tier);
        self.trace.fail_attempt(self.plan, error);
    }
}

/// Requests identities on another proxy, because the current one does not work.
fn next_proxy(fetch: &mut FetchState<'_>) -> Result<Arc<IdentityPair>> {
    let source =
        fetch.plan.identity_source.filter(|_| fetch.counters.proxy_faults < MAX_PROXY_FAULTS).ok_or_else(
            || Error::new(ErrorKind::Proxy, "the proxy is unavailable, and there is no other proxy"),
        )?;
    fetch.counters.proxy_faults += 1;
    source.other_proxy(fetch.identities(), true)
}

/// Returns the request for a permit at the plan's host.
fn permit_request<'a>(fetch: &FetchState<'a>, crawl_delay: Duration) -> PermitRequest<'a> {
    PermitRequest {
        url: &fetch.plan.request.url,
        tier: fetch.tier(),
        rate_limit: fetch.plan.rate_limit,
        crawl_delay,
        deadline: fetch.trace.deadline,
    }
}

/// The maximum number of times that a fetch uses other fetches' clearances before it earns its own. Each of them
/// worked for the fetch that earned it.
const MAX_SHARED_CLEARANCES: u32 = 4;
