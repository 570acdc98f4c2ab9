//! The loop that climbs: attempt, judge, decide, until there is a page or no rung is left.

mod clearance;
mod flight;
mod judging;
mod keep;
mod memory;
mod others;
mod policy;
mod progress;
mod retry_after;
mod way;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode};
use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::bounds::Bounds;
use crate::detect::{self, Expect, Rules, Seen};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::kind::ErrorKind;
use crate::request::Request;
use crate::response::{Answer, Body, Hop, HttpVersion, Shown};
use crate::tier::Tier;
use crate::trace::{Timings, Trace};
use crate::transport::{Job, Transport};
use crate::verdict::{Verdict, VerdictKind};
use crate::view::View;

pub(crate) use keep::{Keep, Kept};
pub(crate) use others::Others;
pub(crate) use policy::Ladder;

use clearance::Clearance;
use flight::{End, Flight, Flights, Leave};
use keep::Begun;
use memory::Memory;
use policy::{History, Means, Outcome, Step};
use progress::Progress;
use way::{Left, Visit, Way};

/// Who asks: one session, as it appears on the plain tier and on the others.
pub(crate) struct Persona {
    pub(crate) plain: Identity,
    pub(crate) dressed: Identity,
}

impl Persona {
    fn on(&self, tier: Tier) -> &Identity {
        if tier == Tier::Plain { &self.plain } else { &self.dressed }
    }
}

/// One fetch.
#[derive(Clone, Copy)]
pub(crate) struct Errand<'a> {
    pub(crate) request: &'a Request,
    pub(crate) persona: &'a Persona,
    pub(crate) bounds: &'a Bounds,
    pub(crate) ladder: Ladder,
    pub(crate) view: &'a View,
    pub(crate) keep: &'a Keep,
    pub(crate) expect: Option<&'a Expect>,
    /// Who else may ask, when `persona` is refused.
    pub(crate) others: Option<&'a dyn Others>,
}

impl Errand<'_> {
    /// Whose clearance is meant: the identity that earns one and the one that uses it are the same.
    fn key(&self) -> u64 {
        self.persona.dressed.key()
    }

    fn host(&self) -> &str {
        self.request.url.host_str().unwrap_or_default()
    }
}

/// A genuine page, wherever it came from.
pub(crate) struct Found {
    pub(crate) status: StatusCode,
    pub(crate) version: HttpVersion,
    pub(crate) headers: HeaderMap,
    pub(crate) url: Url,
    pub(crate) redirects: Vec<Hop>,
    pub(crate) timings: Timings,
    pub(crate) kept: Kept,
    pub(crate) browser: Option<Shown>,
}

pub(crate) struct Router {
    /// Cheapest first, one a tier.
    transports: Vec<Arc<dyn Transport>>,
    rules: Rules,
    memory: Memory,
    flights: Flights,
}

impl Router {
    pub(crate) fn new(transports: Vec<Arc<dyn Transport>>, rules: Rules) -> Self {
        Self { transports, rules, memory: Memory::default(), flights: Flights::default() }
    }

    /// Runs an errand to its end. The trace tells what happened, whichever way it ends.
    pub(crate) async fn run(&self, errand: &Errand<'_>) -> (Result<Found>, Trace) {
        let mut progress = Progress::default();
        let climbing = self.climb(errand, &mut progress);
        let found = match errand.bounds.fetch_total {
            None => climbing.await,
            Some(total) => match timeout(total, climbing).await {
                Ok(found) => found,
                Err(_) => {
                    let message = format!("the whole fetch took longer than {total:?}");
                    let error = Error::new(ErrorKind::Timeout, message);
                    progress.cut_short(&error);
                    Err(error)
                }
            },
        };
        (found.map_err(|error| error.with_url(&errand.request.url)), progress.trace)
    }

    /// One persona after another, until one is through.
    async fn climb(&self, errand: &Errand<'_>, progress: &mut Progress) -> Result<Found> {
        let mut history = History::new(errand.request.method.clone());
        let (mut other, mut tier, began) = (None::<Arc<Persona>>, errand.ladder.min, Instant::now());
        loop {
            let errand = Errand { persona: other.as_deref().unwrap_or(errand.persona), ..*errand };
            match self.climb_as(&errand, tier, began, &mut history, progress).await? {
                Left::With(found) => return Ok(*found),
                Left::For(persona) => (other, tier) = (Some(persona), history.tier),
            }
        }
    }

    /// From `start` up, as the errand's persona.
    async fn climb_as(
        &self,
        errand: &Errand<'_>,
        start: Tier,
        began: Instant,
        history: &mut History,
        progress: &mut Progress,
    ) -> Result<Left> {
        let flight = self.flights.of(errand.key(), errand.host());
        let mut way = Way { tier: start, is_repeated: false, shares: 0, visit: None };
        loop {
            self.begin(errand, &flight, &mut way).await?;
            let tier = way.tier;
            let earned = flight.earned();
            let bytes = Arc::new(AtomicU64::new(0));
            progress.begin(errand, tier);
            let outcome = self.attempt(errand, tier, history.bytes, &bytes).await;
            history.attempted(tier, bytes.load(Ordering::Relaxed), began.elapsed());
            let means =
                errand.others.map_or(Means::default(), |others| others.means(errand.persona, errand.host()));
            let roll = rand::rng().random_range(0.0..=1.0);
            let step = policy::decide(&errand.ladder, means, history, &seen(&outcome), roll);
            history.took(&step);
            progress.ended(&outcome, &step);
            match (step, outcome) {
                (Step::Retry { after, .. } | Step::Wait { after, .. }, _) => {
                    way.is_repeated = true;
                    sleep(after).await;
                }
                (Step::Climb { to: Tier::Browser, .. }, outcome) => {
                    way.is_repeated = false;
                    if flight.earned() == earned {
                        self.memory.refused(errand.key(), errand.host(), memory::now());
                    }
                    let why = outcome.map_or(VerdictKind::Challenge, |judged| judged.verdict.kind);
                    if let Some(amended) = self.enter(errand, &flight, &mut way, earned, why).await? {
                        progress.trace.amend(amended);
                    }
                }
                (Step::Climb { to, .. }, _) => {
                    way.tier = to;
                    way.is_repeated = false;
                }
                (step @ (Step::NewSession { .. } | Step::NewExit { .. }), outcome) => {
                    way.lost(&end(&outcome));
                    return match (another(errand, &step), outcome) {
                        (Some(persona), _) => Ok(Left::For(persona)),
                        (None, Ok(judged)) => Err(blocked(None, &judged.verdict)),
                        (None, Err(error)) => Err(error),
                    };
                }
                (Step::Done, Ok(judged)) => {
                    self.learn(errand, &way, &judged);
                    return Ok(Left::With(Box::new(judged.found()?)));
                }
                (Step::Spent { hint }, Ok(_)) => {
                    let message = "blocked, and what it may cost is spent";
                    return Err(Error::new(ErrorKind::Blocked, message).with_hint(hint));
                }
                (Step::Blocked { hint }, Ok(judged)) => {
                    let end = End::Refused { verdict: judged.verdict, hint };
                    way.lost(&end);
                    return Err(ended(end));
                }
                (_, Err(error)) => {
                    way.lost(&End::Failed(error.kind()));
                    return Err(error);
                }
                (Step::Fail, Ok(_)) => return Err(Error::new(ErrorKind::Protocol, "the attempt failed")),
            }
        }
    }

    /// Before an attempt: waits for a visit under way, as long as one may last, and starts where the
    /// host memory says. A clearance that ran out is earned anew without asking below first.
    async fn begin(&self, errand: &Errand<'_>, flight: &Arc<Flight>, way: &mut Way) -> Result<()> {
        let (ladder, top) = (errand.ladder, errand.ladder.top());
        if way.visit.is_some() || way.is_repeated {
            return Ok(());
        }
        let may_visit = ladder.min < Tier::Browser && top == Tier::Browser;
        if may_visit && flight.landed(errand.bounds.browser_total).await {
            tracing::debug!(host = errand.host(), "waited for another fetch's browser visit");
        }
        let (now, earned) = (memory::now(), flight.earned());
        let Some(note) = self.memory.known(errand.key(), errand.host(), now) else {
            if may_visit && way.tier == Tier::Browser {
                // Somebody new goes on where another was refused.
                self.enter(errand, flight, way, earned, VerdictKind::Block).await?;
            }
            return Ok(());
        };
        way.tier = way.tier.max(note.start).clamp(ladder.min, top);
        if !may_visit {
            return Ok(());
        }
        let jar = || errand.persona.dressed.jar().list();
        let over = note.clearance.is_some_and(|clearance| clearance.is_over(errand.host(), now, jar));
        if way.tier == Tier::Browser {
            way.visit = Some(Visit::begin(errand, flight.kept().await, VerdictKind::Challenge));
        } else if over {
            tracing::info!(host = errand.host(), "the clearance ran out");
            self.enter(errand, flight, way, earned, VerdictKind::Challenge).await?;
        }
        Ok(())
    }

    /// On to the browser, alone, because of `why`; or one rung lower again with what another fetch
    /// earned there since `earned` was counted: then this is the trace's word for it.
    ///
    /// # Errors
    /// Another fetch's visit just now ended for good.
    async fn enter(
        &self,
        errand: &Errand<'_>,
        flight: &Arc<Flight>,
        way: &mut Way,
        earned: u64,
        why: VerdictKind,
    ) -> Result<Option<&'static str>> {
        let is_kept = || self.memory.is_kept(errand.key(), errand.host(), memory::now());
        let leave = if is_kept() {
            flight.kept().await
        } else {
            let turn = flight.turn().await;
            if is_kept() {
                drop(turn);
                flight.kept().await
            } else if way.shares < MAX_SHARES && turn.is_late(earned) {
                way.shares += 1;
                return Ok(Some("share: another fetch earned a clearance meanwhile"));
            } else if let Some(end) = turn.foreseen(why) {
                tracing::info!(
                    host = errand.host(),
                    "another fetch's browser visit came to nothing just now"
                );
                return Err(ended(end));
            } else {
                Leave::Turn(turn)
            }
        };
        way.tier = Tier::Browser;
        way.visit = Some(Visit::begin(errand, leave, why));
        Ok(None)
    }

    /// Learns from a good answer, before anybody else's turn.
    fn learn(&self, errand: &Errand<'_>, way: &Way, judged: &Judged) {
        let (identity, host, now) = (errand.key(), errand.host(), memory::now());
        if way.tier == Tier::Impersonate {
            self.memory.impersonated(identity, host, now);
        }
        if way.tier == Tier::Browser {
            // What the browser was asked for, the tier below tells from now on.
            errand.persona.dressed.hints().note(&judged.url, &judged.headers);
        }
        if let Some(Visit { leave: Leave::Turn(turn), before, .. }) = &way.visit {
            let by_page = set_by(&judged.headers);
            let after = errand.persona.dressed.jar().list();
            self.memory.cleared(identity, host, Clearance::earned(before, &after, host, &by_page), now);
            turn.earned();
        }
    }

    /// One attempt: the answer's head, its verdict and, when that is good, its whole body.
    /// `spent` bytes were taken before, and this one's are counted in `bytes`.
    async fn attempt(
        &self,
        errand: &Errand<'_>,
        tier: Tier,
        spent: u64,
        bytes: &Arc<AtomicU64>,
    ) -> Result<Judged> {
        let transport = self
            .transports
            .iter()
            .find(|transport| transport.tier() == tier)
            .ok_or_else(|| Error::new(ErrorKind::Config, format!("this build has no {tier} tier")))?;
        let identity = errand.persona.on(tier);
        let bounds = within(errand, spent);
        let job = Job {
            request: errand.request,
            identity,
            bounds: &bounds,
            view: errand.view,
            streaming: errand.keep.is_file(),
        };
        let answer = transport.attempt(job).await?;
        let Answer { status, version, headers, url, redirects, body, timings, browser } = answer;
        let begun = match body {
            Body::Whole(prefix) => {
                bytes.fetch_add(prefix.len() as u64, Ordering::Relaxed);
                Begun { prefix, rest: None }
            }
            Body::Coming(stream) => {
                let bytes = Arc::clone(bytes);
                let counted = stream.inspect_ok(move |chunk| {
                    bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                });
                Begun::read(counted.boxed(), detect::PREFIX).await?
            }
        };
        let seen = Seen {
            tier: Some(tier),
            status: status.as_u16(),
            headers: &headers,
            url: &url,
            requested: &errand.request.url,
            body: &begun.prefix,
            // The answer to HEAD has no body to judge by.
            complete: begun.rest.is_none() && errand.request.method != http::Method::HEAD,
            via_proxy: identity.route().proxy(&url).is_some(),
        };
        let verdict = judging::judge(&self.rules, &seen, &begun.prefix, errand.expect).await;
        let kept = match verdict.kind {
            VerdictKind::Genuine | VerdictKind::OriginError => Some(begun.finish(errand.keep, status).await?),
            _ => None,
        };
        Ok(Judged { status, version, headers, url, redirects, timings, verdict, kept, browser })
    }
}

/// The names of the cookies that an answer set itself.
fn set_by(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(http::header::SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned()).collect()
}

fn ended(end: End) -> Error {
    match end {
        End::Refused { verdict, hint } => blocked(hint, &verdict),
        End::Failed(kind) => Error::new(kind, "the browser failed for other fetches of this host just now"),
    }
}

fn end(outcome: &Result<Judged>) -> End {
    match outcome {
        Ok(judged) => End::Refused { verdict: judged.verdict.clone(), hint: None },
        Err(error) => End::Failed(error.kind()),
    }
}

/// What the policy needs to see of an outcome.
fn seen(outcome: &Result<Judged>) -> Outcome<'_> {
    match outcome {
        Ok(judged) => Outcome::Answered {
            verdict: &judged.verdict,
            retry_after: retry_after::read(&judged.headers, SystemTime::now()),
        },
        Err(error) => Outcome::Failed(error.kind()),
    }
}

/// An answer with its verdict, and its body when it is worth keeping.
struct Judged {
    status: StatusCode,
    version: HttpVersion,
    headers: HeaderMap,
    url: Url,
    redirects: Vec<Hop>,
    timings: Timings,
    verdict: Verdict,
    kept: Option<Kept>,
    browser: Option<Shown>,
}

impl Judged {
    fn found(self) -> Result<Found> {
        let Some(kept) = self.kept else {
            return Err(Error::new(ErrorKind::Protocol, "the answer has no body to give"));
        };
        Ok(Found {
            status: self.status,
            version: self.version,
            headers: self.headers,
            url: self.url,
            redirects: self.redirects,
            timings: self.timings,
            kept,
            browser: self.browser,
        })
    }
}

fn blocked(hint: Option<String>, verdict: &Verdict) -> Error {
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
fn another(errand: &Errand<'_>, step: &Step) -> Option<Arc<Persona>> {
    let others = errand.others?;
    match step {
        Step::NewSession { .. } => others.session(errand.persona),
        Step::NewExit { faulty, .. } => others.exit(errand.persona, *faulty),
        _ => None,
    }
}

/// The bounds of an attempt when `spent` bytes of the budget are.
fn within(errand: &Errand<'_>, spent: u64) -> Bounds {
    let left = errand.ladder.budget.bytes.map_or(u64::MAX, |bytes| bytes.saturating_sub(spent));
    let bounds = *errand.bounds;
    Bounds { max_body: bounds.max_body.min(left), max_file: bounds.max_file.min(left), ..bounds }
}

/// How often one fetch takes another's clearance before it earns one itself: each was good for somebody.
const MAX_SHARES: u32 = 4;

#[cfg(test)]
mod tests;
