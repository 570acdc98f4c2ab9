//! The loop that climbs: attempt, judge, decide, until there is a page or no rung is left.

mod attempt;
mod body;
mod clearance;
mod identity_source;
mod learning;
mod page_size;
pub(crate) mod policy;
mod proxy_permit;
mod redirect_guard;
mod span;
mod state;
mod trace_builder;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode};
use rand::RngExt;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep};
use tracing::Instrument;
use url::Url;

use crate::detect::{self, Expectation, ResponseView, Rules};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::host_limiter::{HostLimiter, HostPermit};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::memory::{HostMemory, SavedIdentityKey, SiteSection};
use crate::phase::{FetchObserver, FetchPhase};
use crate::proxy_session::ProxySession;
use crate::rate_limit::{RateLimit, RobotsPolicy};
use crate::render::RenderOptions;
use crate::request::Request;
use crate::response::{Body, BrowserOutput, HttpVersion, RawResponse, Redirect, SentRequest};
use crate::retry_after;
use crate::robots;
use crate::tier::Tier;
use crate::trace::{Timings, Trace};
use crate::transport::{AttemptRequest, Transport};
use crate::verdict::{Verdict, VerdictKind};

pub(crate) use body::{BodySink, StoredBody};

pub(crate) use identity_source::IdentitySource;
pub(crate) use policy::{Alternatives, EscalationPolicy};

use body::PartialBody;
use clearance::{BrowserPass, ClearanceGate, HostClearance, VisitFailure};
use policy::{Action, AttemptCounters, AttemptOutcome};
use proxy_permit::{EphemeralIdentityGuard, ProxyAdmission};
use redirect_guard::RedirectGuard;
use state::{BrowserVisit, DriveOutcome, FetchState};
use trace_builder::TraceBuilder;

/// Who asks: one session, as it appears on the plain tier and on the others.
pub(crate) struct IdentityPair {
    pub(crate) plain: Identity,
    pub(crate) browser: Identity,
    /// Whose clearances the memory keeps. `None` for who is gone after one fetch.
    pub(crate) memory_key: Option<SavedIdentityKey>,
    /// The session of a pool's exit that it goes out by.
    pub(crate) proxy_session: Option<Arc<ProxySession>>,
    /// It goes direct because no proxy works.
    pub(crate) is_direct_fallback: bool,
}

impl IdentityPair {
    fn for_tier(&self, tier: Tier) -> &Identity {
        if tier == Tier::Plain { &self.plain } else { &self.browser }
    }
}

/// One fetch.
#[derive(Clone, Copy)]
pub(crate) struct FetchPlan<'a> {
    pub(crate) request: &'a Request,
    /// Where its URL belongs.
    pub(crate) site_section: &'a Arc<SiteSection>,
    pub(crate) identities: &'a IdentityPair,
    pub(crate) limits: &'a Limits,
    pub(crate) policy: EscalationPolicy,
    pub(crate) render: &'a RenderOptions,
    pub(crate) body_sink: &'a BodySink,
    pub(crate) expectation: Option<&'a Expectation>,
    /// Instead of the router's own.
    pub(crate) rules: Option<&'a Rules>,
    pub(crate) robots: RobotsPolicy,
    pub(crate) rate_limit: RateLimit,
    /// Who else may ask, when `persona` is refused.
    pub(crate) identity_source: Option<&'a dyn IdentitySource>,
    /// Who is told how it goes on.
    pub(crate) observer: Option<&'a dyn FetchObserver>,
    /// Where the last request is put as it left.
    pub(crate) sent_request: Option<&'a Mutex<Option<SentRequest>>>,
    /// Who goes on when `persona`, worn to learn whether it is let in again, is refused.
    pub(crate) probe_fallback: Option<&'a Arc<IdentityPair>>,
}

impl FetchPlan<'_> {
    /// Whose clearance is meant: the identity that earns one and the one that uses it are the same.
    fn identity_key(&self) -> u64 {
        self.identities.browser.key()
    }

    fn host(&self) -> &str {
        self.request.url.host_str().unwrap_or_default()
    }

    fn report_phase(&self, stage: FetchPhase) {
        if let Some(watch) = self.observer {
            watch.on_phase(stage);
        }
    }

    /// Waits for `what`; where that takes time at all, at `stage`.
    /// Boxed: it would be in the future of a climb twice.
    async fn wait_in_phase<F: Future>(&self, stage: FetchPhase, mut what: Pin<Box<F>>) -> F::Output {
        if let Poll::Ready(done) = futures_util::poll!(&mut what) {
            return done;
        }
        self.report_phase(stage);
        what.await
    }
}

/// A genuine page, wherever it came from.
pub(crate) struct FetchedResponse {
    pub(crate) status: StatusCode,
    pub(crate) version: HttpVersion,
    pub(crate) headers: HeaderMap,
    pub(crate) url: Url,
    pub(crate) redirects: Vec<Redirect>,
    pub(crate) timings: Timings,
    pub(crate) body: StoredBody,
    pub(crate) browser: Option<BrowserOutput>,
}

pub(crate) struct Router {
    /// Cheapest first, one a tier.
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

    /// Waits until all that was learned is written.
    pub(crate) async fn flush(&self) {
        self.memory.flush().await;
    }

    /// Runs an errand to its end. The trace tells what happened, whichever way it ends.
    pub(crate) async fn run(&self, errand: &FetchPlan<'_>) -> (Result<FetchedResponse>, Trace) {
        let mut progress = TraceBuilder::new(errand);
        let total = errand.limits.fetch_total;
        let found = {
            let mut over = pin!(total.map(sleep));
            // In one place: a second one would double the future.
            let mut climb = pin!(self.run_with_identities(errand, &mut progress));
            poll_fn(|cx| match (climb.as_mut().poll(cx), over.as_mut().as_pin_mut()) {
                (Poll::Ready(found), _) => Poll::Ready(Some(found)),
                // Heard even when the climb has used up the task's turn.
                (Poll::Pending, Some(over)) => pin!(unconstrained(over)).poll(cx).map(|()| None),
                (Poll::Pending, None) => Poll::Pending,
            })
            .await
        };
        let found = found.unwrap_or_else(|| {
            let message = format!("the whole fetch took longer than {:?}", total.unwrap_or_default());
            let error = Error::new(ErrorKind::Timeout, message);
            progress.fail_attempt(errand, &error);
            Err(error)
        });
        (found.map_err(|error| error.with_url(&errand.request.url)), progress.trace)
    }

    /// One persona after another, until one is through.
    async fn run_with_identities(
        &self,
        errand: &FetchPlan<'_>,
        progress: &mut TraceBuilder,
    ) -> Result<FetchedResponse> {
        let mut history = AttemptCounters::new(errand.request.method.clone());
        let (mut other, mut tier, began) = (None::<Arc<IdentityPair>>, None, Instant::now());
        loop {
            let errand = FetchPlan {
                identities: other.as_deref().unwrap_or(errand.identities),
                probe_fallback: errand.probe_fallback.filter(|_| other.is_none()),
                ..*errand
            };
            let _farewell = EphemeralIdentityGuard::new(self, errand.identities);
            match self.drive(&errand, tier, began, &mut history, progress).await? {
                DriveOutcome::Finished(found) => return Ok(*found),
                DriveOutcome::SwitchIdentity(persona) => {
                    other = Some(persona);
                    tier = (history.attempts > 0).then_some(history.tier);
                }
            }
        }
    }

    /// Up as the errand's persona, from the tier `at` where another was refused, or from where the memory says.
    async fn drive(
        &self,
        errand: &FetchPlan<'_>,
        at: Option<Tier>,
        began: Instant,
        history: &mut AttemptCounters,
        progress: &mut TraceBuilder,
    ) -> Result<DriveOutcome> {
        let flight = self.clearances.for_host(errand.identity_key(), errand.host());
        let mut way = FetchState {
            tier: at.unwrap_or(errand.policy.min),
            known_tier: at,
            is_retry: false,
            shared_clearances: 0,
            visit: None,
            suspects: Vec::new(),
        };
        let permitted = match errand.robots {
            RobotsPolicy::Ignore => Ok(Duration::ZERO),
            RobotsPolicy::Obey => {
                let permitted = Box::pin(self.check_robots(errand, &errand.request.url, progress.deadline));
                errand.wait_in_phase(FetchPhase::Robots, permitted).await
            }
        };
        let crawl_delay = match permitted {
            Err(error) => {
                return Self::on_robots_error(errand, history, error).map(DriveOutcome::SwitchIdentity);
            }
            Ok(crawl_delay) => crawl_delay,
        };
        loop {
            self.before_attempt(errand, &flight, &mut way).await?;
            let tier = way.tier;
            let permit = match self.try_admit(errand, tier, crawl_delay, progress) {
                Some(permit) => permit,
                None => {
                    let admitted = Box::pin(self.admit(errand, tier, crawl_delay, progress));
                    errand.wait_in_phase(FetchPhase::RateLimit, admitted).await?
                }
            };
            let place = match Self::acquire_proxy(errand, tier, history, progress).await? {
                ProxyAdmission::Granted(place) => place,
                ProxyAdmission::SwitchIdentity(persona) => return Ok(DriveOutcome::SwitchIdentity(persona)),
            };
            errand.report_phase(FetchPhase::Attempt(tier));
            let earned = flight.clearances();
            let bytes = Arc::new(AtomicU64::new(0));
            progress.begin_attempt(errand, tier);
            let attempted = self.attempt_sample(errand, tier);
            let attempt = self.attempt(errand, tier, &permit, history.bytes, &bytes);
            let outcome = attempt.instrument(progress.current_span()).await;
            let outcome = self.apply_size_check(errand, &mut way, &attempted, outcome).await;
            self.record_attempt(attempted, &outcome);
            self.report_to_limiter(errand, tier, permit, &outcome);
            Self::report_to_proxy(place, tier, &outcome);
            history.count_attempt(tier, bytes.load(Ordering::Relaxed), began.elapsed());
            let means = errand
                .identity_source
                .map_or(Alternatives::default(), |others| others.alternatives(errand.identities));
            let roll = rand::rng().random_range(0.0..=1.0);
            // In a block of its own: what borrows the outcome may not be there at the next await.
            let (step, next) = {
                let decided = |means| {
                    let step = policy::decide(
                        &errand.policy,
                        means,
                        history,
                        &attempt_outcome(errand, &outcome),
                        roll,
                    );
                    let step = way.fallback_after_tier_probe(errand, history, step, &outcome);
                    way.fallback_after_profile_probe(errand, history, step, &outcome)
                };
                let step = decided(means);
                match alternative_identities(errand, &step) {
                    Some(Err(none)) => {
                        tracing::info!(cause = none.chain(), "nobody else can go");
                        (decided(Alternatives::default()), Some(Err(none)))
                    }
                    next => (step, next),
                }
            };
            self.record_suspect_size(&way, &step, &outcome);
            history.count_action(&step);
            progress.end_attempt(errand, &outcome, &step);
            if let (Action::Escalate { to, .. }, Some(other)) = (&step, errand.probe_fallback)
                && *to == tier
            {
                return Ok(DriveOutcome::SwitchIdentity(Arc::clone(other)));
            }
            match (step, outcome) {
                (Action::Retry { after, .. } | Action::RetryAfter { after, .. }, _) => {
                    way.is_retry = true;
                    let until = (Instant::now() + after).into_std();
                    errand.wait_in_phase(FetchPhase::Backoff { until }, Box::pin(sleep(after))).await;
                }
                (Action::Escalate { to: Tier::Browser, .. }, outcome) => {
                    way.is_retry = false;
                    if flight.clearances() == earned {
                        self.record_clearance_refusal(errand);
                    }
                    let why = outcome.map_or(VerdictKind::Challenge, |judged| judged.verdict.kind);
                    let entered = Box::pin(self.enter_browser(errand, &flight, &mut way, earned, why));
                    if let Some(amended) = errand.wait_in_phase(FetchPhase::Clearance, entered).await? {
                        progress.trace.set_next_reason(amended);
                    }
                }
                (Action::Escalate { to, .. }, _) => {
                    way.tier = to;
                    way.is_retry = false;
                }
                (Action::RenewSession { .. } | Action::SwitchProxy { .. }, outcome) => {
                    way.report_visit_failure(&visit_failure(&outcome));
                    return match (next, outcome) {
                        (Some(Ok(persona)), _) => Ok(DriveOutcome::SwitchIdentity(persona)),
                        (_, Ok(judged)) => Err(blocked_error(None, &judged.verdict)),
                        (_, Err(error)) => Err(error),
                    };
                }
                (Action::Accept, Ok(judged)) => {
                    self.record_success(errand, &way, &judged);
                    return Ok(DriveOutcome::Finished(Box::new(judged.into_fetched()?)));
                }
                (Action::OutOfBudget { hint }, Ok(_)) => {
                    let message = "blocked, and what it may cost is spent";
                    return Err(Error::new(ErrorKind::Blocked, message).with_hint(hint));
                }
                (Action::Blocked { hint }, Ok(judged)) => {
                    let end = VisitFailure::Refused { verdict: judged.verdict, hint };
                    way.report_visit_failure(&end);
                    return Err(visit_error(end));
                }
                (_, Err(error)) => {
                    way.report_visit_failure(&VisitFailure::Failed(error.kind()));
                    return Err(error);
                }
                (Action::Fail, Ok(_)) => return Err(Error::new(ErrorKind::Protocol, "the attempt failed")),
            }
        }
    }

    /// Before an attempt: waits for a visit under way, as long as one may last, and starts where the
    /// host memory says. What waits is boxed: most fetches need none of it.
    async fn before_attempt(
        &self,
        errand: &FetchPlan<'_>,
        flight: &Arc<HostClearance>,
        way: &mut FetchState,
    ) -> Result<()> {
        if way.visit.is_some() || way.is_retry {
            return Ok(());
        }
        let may_visit = errand.policy.min < Tier::Browser && errand.policy.highest_tier() == Tier::Browser;
        if may_visit && flight.is_busy() {
            let landed = Box::pin(flight.wait_idle(errand.limits.browser_total));
            errand.wait_in_phase(FetchPhase::Clearance, landed).await;
            tracing::debug!(host = errand.host(), "waited for another fetch's browser visit");
        }
        let earned = flight.clearances();
        // Somebody new goes on where another was refused.
        let why = if way.tier == Tier::Browser { VerdictKind::Block } else { VerdictKind::Challenge };
        if self.memory.has_file() {
            errand
                .wait_in_phase(
                    FetchPhase::Clearance,
                    Box::pin(self.load_memory(errand.identities, errand.site_section, errand.host())),
                )
                .await;
        }
        let is_kept = self.choose_start_tier(errand, way);
        if way.tier == Tier::Browser && may_visit {
            if is_kept {
                let kept = errand
                    .wait_in_phase(FetchPhase::Clearance, Box::pin(flight.acquire_browser_bound()))
                    .await;
                way.visit = Some(BrowserVisit::begin(errand, kept, VerdictKind::Challenge));
            } else {
                // One rung lower, should another fetch earn a clearance first.
                way.tier = Tier::Impersonate;
                let entered = Box::pin(self.enter_browser(errand, flight, way, earned, why));
                errand.wait_in_phase(FetchPhase::Clearance, entered).await?;
            }
        }
        Ok(())
    }

    /// On to the browser, alone, because of `why`; or one rung lower again with what another fetch
    /// earned there since `earned` was counted: then this is the trace's word for it.
    ///
    /// # Errors
    /// Another fetch's visit just now ended for good.
    async fn enter_browser(
        &self,
        errand: &FetchPlan<'_>,
        flight: &Arc<HostClearance>,
        way: &mut FetchState,
        earned: u64,
        why: VerdictKind,
    ) -> Result<Option<&'static str>> {
        let is_kept = || self.memory.is_browser_only(errand.identity_key(), errand.host());
        let leave = if is_kept() {
            flight.acquire_browser_bound().await
        } else {
            let turn = flight.acquire().await;
            if is_kept() {
                drop(turn);
                flight.acquire_browser_bound().await
            } else if way.shared_clearances < MAX_SHARED_CLEARANCES && turn.is_superseded(earned) {
                way.shared_clearances += 1;
                return Ok(Some("share: another fetch earned a clearance meanwhile"));
            } else if let Some(end) = turn.recent_failure(why) {
                tracing::info!(
                    host = errand.host(),
                    "another fetch's browser visit came to nothing just now"
                );
                return Err(visit_error(end));
            } else {
                BrowserPass::Exclusive(turn)
            }
        };
        way.tier = Tier::Browser;
        way.visit = Some(BrowserVisit::begin(errand, leave, why));
        Ok(None)
    }

    /// One attempt: the answer's head, its verdict and, when that is good, its whole body.
    /// `spent` bytes were taken before, and this one's are counted in `bytes`.
    async fn attempt(
        &self,
        errand: &FetchPlan<'_>,
        tier: Tier,
        permit: &HostPermit,
        spent: u64,
        bytes: &Arc<AtomicU64>,
    ) -> Result<ClassifiedResponse> {
        let transport = self
            .transports
            .iter()
            .find(|transport| transport.tier() == tier)
            .ok_or_else(|| Error::new(ErrorKind::Config, format!("this build has no {tier} tier")))?;
        let identity = errand.identities.for_tier(tier);
        let manners = RedirectGuard::new(self, errand, tier, permit);
        let bounds = remaining_limits(errand, spent);
        let job = AttemptRequest {
            request: errand.request,
            identity,
            limits: &bounds,
            render: errand.render,
            streaming: errand.body_sink.is_file(),
            hooks: Some(&manners),
        };
        let answer = transport.execute(job).await?;
        let RawResponse { status, version, headers, url, redirects, body, timings, browser } = answer;
        if tier == Tier::Browser && url != errand.request.url {
            // What a page did to its own address, too.
            Box::pin(self.check_robots(errand, &url, None)).await?;
        }
        let begun = match body {
            Body::Buffered(prefix) => {
                bytes.fetch_add(prefix.len() as u64, Ordering::Relaxed);
                PartialBody { prefix, rest: None }
            }
            Body::Streaming(stream) => {
                let bytes = Arc::clone(bytes);
                let counted = stream.inspect_ok(move |chunk| {
                    bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                });
                PartialBody::read_prefix(counted.boxed(), detect::PREFIX).await?
            }
        };
        let seen = ResponseView {
            tier: Some(tier),
            status: status.as_u16(),
            headers: &headers,
            url: &url,
            requested: &errand.request.url,
            body: &begun.prefix,
            complete: begun.rest.is_none()
                && !has_no_body_to_judge(&errand.request.method, status, &begun.prefix),
            via_proxy: identity.proxy_rules().proxy(&url).is_some(),
        };
        let page = page_size::PageSizeSample::from_response(errand, tier, &seen);
        let (expect, is_usual) = self.expectation_for(errand, &seen, page.as_ref());
        let rules = errand.rules.unwrap_or(&self.rules);
        let verdict = attempt::classify(rules, &seen, &begun.prefix, expect.as_deref()).await;
        let (kept, small) = match verdict.kind {
            VerdictKind::Genuine | VerdictKind::OriginError => {
                (Some(begun.finish(errand.body_sink, status).await?), None)
            }
            _ => (None, Some(begun).filter(|_| is_usual && page_size::is_size_only(&verdict))),
        };
        Ok(ClassifiedResponse {
            status,
            version,
            headers,
            url,
            redirects,
            timings,
            verdict,
            body: kept,
            size_sample: page,
            undersized: small,
            browser,
        })
    }
}

/// Whether the body tells nothing: the response to HEAD has none, and an empty one with a success status is what many
/// servers send to a POST or DELETE.
fn has_no_body_to_judge(method: &http::Method, status: StatusCode, body: &[u8]) -> bool {
    method == http::Method::HEAD || !method.is_safe() && status.is_success() && body.is_empty()
}

fn visit_error(end: VisitFailure) -> Error {
    match end {
        VisitFailure::Refused { verdict, hint } => blocked_error(hint, &verdict),
        VisitFailure::Failed(kind) => {
            Error::new(kind, "the browser failed for other fetches of this host just now")
        }
    }
}

fn visit_failure(outcome: &Result<ClassifiedResponse>) -> VisitFailure {
    match outcome {
        Ok(judged) => VisitFailure::Refused { verdict: judged.verdict.clone(), hint: None },
        Err(error) => VisitFailure::Failed(error.kind()),
    }
}

/// What the policy needs to see of an outcome.
fn attempt_outcome<'a>(
    errand: &FetchPlan<'_>,
    outcome: &'a Result<ClassifiedResponse>,
) -> AttemptOutcome<'a> {
    match outcome {
        Ok(judged) => AttemptOutcome::Answered {
            verdict: &judged.verdict,
            retry_after: retry_after::parse(&judged.headers, SystemTime::now()),
        },
        // What breaks on the way through a pool's exit may go through the next time: nothing was sent yet.
        Err(error)
            if errand.identities.proxy_session.is_some() && proxy_permit::is_handshake_aborted(error) =>
        {
            AttemptOutcome::Failed(ErrorKind::Connect)
        }
        Err(error) => AttemptOutcome::Failed(error.kind()),
    }
}

/// An answer with its verdict, and its body when it is worth keeping.
struct ClassifiedResponse {
    status: StatusCode,
    version: HttpVersion,
    headers: HeaderMap,
    url: Url,
    redirects: Vec<Redirect>,
    timings: Timings,
    verdict: Verdict,
    body: Option<StoredBody>,
    size_sample: Option<page_size::PageSizeSample>,
    /// A page that is refused for its size alone.
    undersized: Option<PartialBody>,
    browser: Option<BrowserOutput>,
}

impl ClassifiedResponse {
    fn into_fetched(self) -> Result<FetchedResponse> {
        let Some(kept) = self.body else {
            return Err(Error::new(ErrorKind::Protocol, "the answer has no body to give"));
        };
        Ok(FetchedResponse {
            status: self.status,
            version: self.version,
            headers: self.headers,
            url: self.url,
            redirects: self.redirects,
            timings: self.timings,
            body: kept,
            browser: self.browser,
        })
    }
}

fn blocked_error(hint: Option<String>, verdict: &Verdict) -> Error {
    if verdict.kind == VerdictKind::ProxyFault {
        let error = Error::new(ErrorKind::Proxy, "the proxy answered in the site's place");
        return match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        };
    }
    let error = Error::new(ErrorKind::Blocked, "blocked at every tier allowed");
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Who takes the step that `errand`'s own persona cannot.
fn alternative_identities(errand: &FetchPlan<'_>, step: &Action) -> Option<Result<Arc<IdentityPair>>> {
    let others = errand.identity_source?;
    match step {
        Action::RenewSession { .. } => Some(others.fresh_session(errand.identities)),
        Action::SwitchProxy { is_faulty: faulty, .. } => Some(others.other_proxy(errand.identities, *faulty)),
        _ => None,
    }
}

/// The bounds of an attempt when `spent` bytes of the budget are.
fn remaining_limits(errand: &FetchPlan<'_>, spent: u64) -> Limits {
    let left = errand.policy.budget.bytes.map_or(u64::MAX, |bytes| bytes.saturating_sub(spent));
    let bounds = *errand.limits;
    Limits { max_body: bounds.max_body.min(left), max_file: bounds.max_file.min(left), ..bounds }
}

/// How often one fetch takes another's clearance before it earns one itself: each was good for somebody.
const MAX_SHARED_CLEARANCES: u32 = 4;

#[cfg(test)]
mod tests;
