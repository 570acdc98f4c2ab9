//! The fetch loop: attempt, classify, decide, until there is a genuine response or no action is left.

mod attempt;
mod body;
mod clearance;
mod identity_source;
mod learning;
mod page_size;
mod plan;
pub(crate) mod policy;
mod proxy_permit;
mod redirect_guard;
mod response;
mod span;
mod state;
mod trace_builder;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use rand::RngExt;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use crate::detect::Rules;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::host_limiter::HostLimiter;
use crate::memory::HostMemory;
use crate::phase::FetchPhase;
use crate::rate_limit::RobotsPolicy;
use crate::robots;
use crate::tier::Tier;
use crate::trace::Trace;
use crate::transport::Transport;
use crate::verdict::VerdictKind;

pub(crate) use body::{BodySink, StoredBody};
pub(crate) use identity_source::IdentitySource;
pub(crate) use plan::{FetchPlan, IdentityPair};
pub(crate) use policy::{Alternatives, EscalationPolicy};
pub(crate) use response::FetchedResponse;

use clearance::{BrowserPass, ClearanceGate, HostClearance, VisitFailure};
use policy::{Action, AttemptCounters};
use proxy_permit::{EphemeralIdentityGuard, ProxyAdmission};
use response::{ClassifiedResponse, attempt_outcome, blocked_error, visit_error, visit_failure};
use state::{BrowserVisit, DriveOutcome, FetchState};
use trace_builder::TraceBuilder;

pub(crate) struct Router {
    /// One transport per tier, cheapest first.
    transports: Vec<Arc<dyn Transport>>,
    rules: Rules,
    memory: HostMemory,
    clearances: ClearanceGate,
    limiter: HostLimiter,
    robots: robots::RobotsCache,
}

impl Router {
    pub(crate) fn new(
        transports: Vec<Arc<dyn Transport>>,
        rules: Rules,
        robots: robots::RobotsCache,
        memory: HostMemory,
    ) -> Self {
        let (clearances, limiter) = (ClearanceGate::default(), HostLimiter::default());
        Self { transports, rules, memory, clearances, limiter, robots }
    }

    /// Waits until the host memory has written everything to its file.
    pub(crate) async fn flush(&self) {
        self.memory.flush().await;
    }

    /// Runs a fetch to its end. Returns the trace on success and on failure.
    pub(crate) async fn run(&self, plan: &FetchPlan<'_>) -> (Result<FetchedResponse>, Trace) {
        let mut builder = TraceBuilder::new(plan);
        let total = plan.limits.fetch_total;
        let result = {
            let mut timer = pin!(total.map(sleep));
            // Polled in one place: a second await point would double the size of the future.
            let mut run = pin!(self.run_with_identities(plan, &mut builder));
            poll_fn(|cx| match (run.as_mut().poll(cx), timer.as_mut().as_pin_mut()) {
                (Poll::Ready(result), _) => Poll::Ready(Some(result)),
                // Unconstrained: the timer must fire even if the fetch has used up the task's coop budget.
                (Poll::Pending, Some(timer)) => pin!(unconstrained(timer)).poll(cx).map(|()| None),
                (Poll::Pending, None) => Poll::Pending,
            })
            .await
        };
        let result = result.unwrap_or_else(|| {
            let message = format!("the fetch exceeded its total timeout of {:?}", total.unwrap_or_default());
            let error = Error::new(ErrorKind::Timeout, message);
            builder.fail_attempt(plan, &error);
            Err(error)
        });
        (result.map_err(|error| error.with_url(&plan.request.url)), builder.trace)
    }

    /// Drives the fetch with one identity pair after another until one finishes it.
    async fn run_with_identities(
        &self,
        plan: &FetchPlan<'_>,
        builder: &mut TraceBuilder,
    ) -> Result<FetchedResponse> {
        let mut counters = AttemptCounters::new(plan.request.method.clone());
        let (mut other, mut tier, began) = (None::<Arc<IdentityPair>>, None, Instant::now());
        loop {
            let plan = FetchPlan {
                identities: other.as_deref().unwrap_or(plan.identities),
                probe_fallback: plan.probe_fallback.filter(|_| other.is_none()),
                ..*plan
            };
            let _guard = EphemeralIdentityGuard::new(self, plan.identities);
            match self.drive(&plan, tier, began, &mut counters, builder).await? {
                DriveOutcome::Finished(result) => return Ok(*result),
                DriveOutcome::SwitchIdentity(identities) => {
                    other = Some(identities);
                    tier = (counters.attempts > 0).then_some(counters.tier);
                }
            }
        }
    }

    /// Drives the fetch with the plan's identities. Starts at `at`, the tier where other identities were refused, or
    /// at the tier that the host memory suggests.
    async fn drive(
        &self,
        plan: &FetchPlan<'_>,
        at: Option<Tier>,
        began: Instant,
        counters: &mut AttemptCounters,
        builder: &mut TraceBuilder,
    ) -> Result<DriveOutcome> {
        let clearance = self.clearances.for_host(plan.identity_key(), plan.host());
        let mut state = FetchState {
            tier: at.unwrap_or(plan.policy.min),
            known_tier: at,
            is_retry: false,
            shared_clearances: 0,
            visit: None,
            suspects: Vec::new(),
        };
        let permitted = match plan.robots {
            RobotsPolicy::Ignore => Ok(Duration::ZERO),
            RobotsPolicy::Obey => {
                let permitted = Box::pin(self.check_robots(plan, &plan.request.url, builder.deadline));
                plan.wait_in_phase(FetchPhase::Robots, permitted).await
            }
        };
        let crawl_delay = match permitted {
            Err(error) => {
                return Self::on_robots_error(plan, counters, error).map(DriveOutcome::SwitchIdentity);
            }
            Ok(crawl_delay) => crawl_delay,
        };
        loop {
            self.before_attempt(plan, &clearance, &mut state).await?;
            let tier = state.tier;
            let permit = match self.try_admit(plan, tier, crawl_delay, builder) {
                Some(permit) => permit,
                None => {
                    let admitted = Box::pin(self.admit(plan, tier, crawl_delay, builder));
                    plan.wait_in_phase(FetchPhase::RateLimit, admitted).await?
                }
            };
            let proxy_permit = match Self::acquire_proxy(plan, tier, counters, builder).await? {
                ProxyAdmission::Granted(proxy_permit) => proxy_permit,
                ProxyAdmission::SwitchIdentity(identities) => {
                    return Ok(DriveOutcome::SwitchIdentity(identities));
                }
            };
            plan.report_phase(FetchPhase::Attempt(tier));
            let clearances_before = clearance.clearances();
            let bytes = Arc::new(AtomicU64::new(0));
            builder.begin_attempt(plan, tier);
            let sample = self.attempt_sample(plan, tier);
            let attempt = self.attempt(plan, tier, &permit, counters.bytes, &bytes);
            let outcome = attempt.instrument(builder.current_span()).await;
            let outcome = self.apply_size_check(plan, &mut state, &sample, outcome).await;
            self.record_attempt(sample, &outcome);
            self.report_to_limiter(plan, tier, permit, &outcome);
            Self::report_to_proxy(proxy_permit, tier, &outcome);
            counters.count_attempt(tier, bytes.load(Ordering::Relaxed), began.elapsed());
            let alternatives = plan
                .identity_source
                .map_or(Alternatives::default(), |source| source.alternatives(plan.identities));
            let roll = rand::rng().random_range(0.0..=1.0);
            // A block of its own: no borrow of the outcome may live until the next await.
            let (action, next) = {
                let decide = |alternatives| {
                    let action = policy::decide(
                        &plan.policy,
                        alternatives,
                        counters,
                        &attempt_outcome(plan, &outcome),
                        roll,
                    );
                    let action = state.fallback_after_tier_probe(plan, counters, action, &outcome);
                    state.fallback_after_profile_probe(plan, counters, action, &outcome)
                };
                let action = decide(alternatives);
                match alternative_identities(plan, &action) {
                    Some(Err(error)) => {
                        tracing::info!(cause = error.chain(), "no alternative identity available");
                        (decide(Alternatives::default()), Some(Err(error)))
                    }
                    next => (action, next),
                }
            };
            self.record_suspect_size(&state, &action, &outcome);
            counters.count_action(&action);
            builder.end_attempt(plan, &outcome, &action);
            if let (Action::Escalate { to, .. }, Some(other)) = (&action, plan.probe_fallback)
                && *to == tier
            {
                return Ok(DriveOutcome::SwitchIdentity(Arc::clone(other)));
            }
            match (action, outcome) {
                (Action::Retry { after, .. } | Action::RetryAfter { after, .. }, _) => {
                    state.is_retry = true;
                    let until = (Instant::now() + after).into_std();
                    plan.wait_in_phase(FetchPhase::Backoff { until }, Box::pin(sleep(after))).await;
                }
                (Action::Escalate { to: Tier::Browser, .. }, outcome) => {
                    state.is_retry = false;
                    if clearance.clearances() == clearances_before {
                        self.record_clearance_refusal(plan);
                    }
                    let why = outcome.map_or(VerdictKind::Challenge, |response| response.verdict.kind);
                    let entering =
                        Box::pin(self.enter_browser(plan, &clearance, &mut state, clearances_before, why));
                    if let Some(reason) = plan.wait_in_phase(FetchPhase::Clearance, entering).await? {
                        builder.trace.set_next_reason(reason);
                    }
                }
                (Action::Escalate { to, .. }, _) => {
                    state.tier = to;
                    state.is_retry = false;
                }
                (Action::RenewSession { .. } | Action::SwitchProxy { .. }, outcome) => {
                    state.report_visit_failure(&visit_failure(&outcome));
                    return match (next, outcome) {
                        (Some(Ok(identities)), _) => Ok(DriveOutcome::SwitchIdentity(identities)),
                        (_, Ok(response)) => Err(blocked_error(None, &response.verdict)),
                        (_, Err(error)) => Err(error),
                    };
                }
                (Action::Accept, Ok(response)) => {
                    self.record_success(plan, &state, &response);
                    return Ok(DriveOutcome::Finished(Box::new(response.into_fetched()?)));
                }
                (Action::OutOfBudget { hint }, Ok(_)) => {
                    let message = "blocked, and the budget of the fetch is exhausted";
                    return Err(Error::new(ErrorKind::Blocked, message).with_hint(hint));
                }
                (Action::Blocked { hint }, Ok(response)) => {
                    let failure = VisitFailure::Refused { verdict: response.verdict, hint };
                    state.report_visit_failure(&failure);
                    return Err(visit_error(failure));
                }
                (_, Err(error)) => {
                    state.report_visit_failure(&VisitFailure::Failed(error.kind()));
                    return Err(error);
                }
                (Action::Fail, Ok(_)) => return Err(Error::new(ErrorKind::Protocol, "the attempt failed")),
            }
        }
    }

    /// Prepares an attempt: waits for a running browser visit, at most as long as one may take, then chooses the start
    /// tier from the host memory. The futures that wait are boxed because most fetches do not need them.
    async fn before_attempt(
        &self,
        plan: &FetchPlan<'_>,
        clearance: &Arc<HostClearance>,
        state: &mut FetchState,
    ) -> Result<()> {
        if state.visit.is_some() || state.is_retry {
            return Ok(());
        }
        let may_visit = plan.policy.min < Tier::Browser && plan.policy.highest_tier() == Tier::Browser;
        if may_visit && clearance.is_busy() {
            let idle = Box::pin(clearance.wait_idle(plan.limits.browser_total));
            plan.wait_in_phase(FetchPhase::Clearance, idle).await;
            tracing::debug!(host = plan.host(), "waited for another fetch's browser visit");
        }
        let clearances_before = clearance.clearances();
        // New identities continue on the tier where the previous ones were refused.
        let why = if state.tier == Tier::Browser { VerdictKind::Block } else { VerdictKind::Challenge };
        if self.memory.has_file() {
            plan.wait_in_phase(
                FetchPhase::Clearance,
                Box::pin(self.load_memory(plan.identities, plan.site_section, plan.host())),
            )
            .await;
        }
        let is_browser_only = self.choose_start_tier(plan, state);
        if state.tier == Tier::Browser && may_visit {
            if is_browser_only {
                let pass = plan
                    .wait_in_phase(FetchPhase::Clearance, Box::pin(clearance.acquire_browser_bound()))
                    .await;
                state.visit = Some(BrowserVisit::begin(plan, pass, VerdictKind::Challenge));
            } else {
                // One tier lower, in case another fetch earns a clearance first.
                state.tier = Tier::Impersonate;
                let entering = Box::pin(self.enter_browser(plan, clearance, state, clearances_before, why));
                plan.wait_in_phase(FetchPhase::Clearance, entering).await?;
            }
        }
        Ok(())
    }

    /// Moves the fetch to the browser tier because of `why`, with an exclusive turn. Returns the trace's reason
    /// instead if another fetch earned a clearance since `clearances_before` was read: then the fetch stays one tier
    /// lower.
    ///
    /// # Errors
    /// Fails if a recent visit of another fetch failed and another visit would too.
    async fn enter_browser(
        &self,
        plan: &FetchPlan<'_>,
        clearance: &Arc<HostClearance>,
        state: &mut FetchState,
        clearances_before: u64,
        why: VerdictKind,
    ) -> Result<Option<&'static str>> {
        let is_browser_only = || self.memory.is_browser_only(plan.identity_key(), plan.host());
        let pass = if is_browser_only() {
            clearance.acquire_browser_bound().await
        } else {
            let turn = clearance.acquire().await;
            if is_browser_only() {
                drop(turn);
                clearance.acquire_browser_bound().await
            } else if state.shared_clearances < MAX_SHARED_CLEARANCES && turn.is_superseded(clearances_before)
            {
                state.shared_clearances += 1;
                return Ok(Some("share: another fetch earned a clearance meanwhile"));
            } else if let Some(failure) = turn.recent_failure(why) {
                tracing::info!(
                    host = plan.host(),
                    "browser visit skipped: a visit by another fetch just failed"
                );
                return Err(visit_error(failure));
            } else {
                BrowserPass::Exclusive(turn)
            }
        };
        state.tier = Tier::Browser;
        state.visit = Some(BrowserVisit::begin(plan, pass, why));
        Ok(None)
    }
}

/// Requests the identities that `action` switches to. `None` if the action keeps the current ones.
fn alternative_identities(plan: &FetchPlan<'_>, action: &Action) -> Option<Result<Arc<IdentityPair>>> {
    let source = plan.identity_source?;
    match action {
        Action::RenewSession { .. } => Some(source.fresh_session(plan.identities)),
        Action::SwitchProxy { is_faulty, .. } => Some(source.other_proxy(plan.identities, *is_faulty)),
        _ => None,
    }
}

/// The maximum number of times that a fetch uses other fetches' clearances before it earns its own. Each of them
/// worked for the fetch that earned it.
const MAX_SHARED_CLEARANCES: u32 = 4;

#[cfg(test)]
mod tests;
