//! The loop that climbs: attempt, judge, decide, until there is a page or no rung is left.

mod aboard;
mod flight;
mod judging;
mod keep;
mod others;
pub(crate) mod policy;
mod polite;
mod progress;
mod recall;
mod sizes;
mod span;
mod way;

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

use crate::bounds::Bounds;
use crate::detect::{self, Expect, Rules, Seen};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::kind::ErrorKind;
use crate::limit::{Limits, Permit};
use crate::memory::{Area, Memory, Who};
use crate::politeness::{Pace, Robots};
use crate::request::Request;
use crate::response::{Answer, Body, Hop, HttpVersion, Sent, Shown};
use crate::retry_after;
use crate::robots;
use crate::session::Session;
use crate::stage::{Stage, Watch};
use crate::tier::Tier;
use crate::trace::{Timings, Trace};
use crate::transport::{Job, Transport};
use crate::verdict::{Verdict, VerdictKind};
use crate::view::View;

pub(crate) use keep::{Keep, Kept};

pub(crate) use others::Others;
pub(crate) use policy::{Ladder, Means};

use aboard::{Boarded, Farewell};
use flight::{End, Flight, Flights, Leave};
use keep::Begun;
use policy::{History, Outcome, Step};
use polite::Manners;
use progress::Progress;
use way::{Left, Visit, Way};

/// Who asks: one session, as it appears on the plain tier and on the others.
pub(crate) struct Persona {
    pub(crate) plain: Identity,
    pub(crate) dressed: Identity,
    /// Whose clearances the memory keeps. `None` for who is gone after one fetch.
    pub(crate) who: Option<Who>,
    /// The session of a pool's exit that it goes out by.
    pub(crate) session: Option<Arc<Session>>,
    /// It goes direct because no proxy works.
    pub(crate) is_stopgap: bool,
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
    /// Where its URL belongs.
    pub(crate) area: &'a Arc<Area>,
    pub(crate) persona: &'a Persona,
    pub(crate) bounds: &'a Bounds,
    pub(crate) ladder: Ladder,
    pub(crate) view: &'a View,
    pub(crate) keep: &'a Keep,
    pub(crate) expect: Option<&'a Expect>,
    /// Instead of the router's own.
    pub(crate) rules: Option<&'a Rules>,
    pub(crate) robots: Robots,
    pub(crate) pace: Pace,
    /// Who else may ask, when `persona` is refused.
    pub(crate) others: Option<&'a dyn Others>,
    /// Who is told how it goes on.
    pub(crate) watch: Option<&'a dyn Watch>,
    /// Where the last request is put as it left.
    pub(crate) sent: Option<&'a Mutex<Option<Sent>>>,
    /// Who goes on when `persona`, worn to learn whether it is let in again, is refused.
    pub(crate) instead: Option<&'a Arc<Persona>>,
}

impl Errand<'_> {
    /// Whose clearance is meant: the identity that earns one and the one that uses it are the same.
    fn key(&self) -> u64 {
        self.persona.dressed.key()
    }

    fn host(&self) -> &str {
        self.request.url.host_str().unwrap_or_default()
    }

    fn at(&self, stage: Stage) {
        if let Some(watch) = self.watch {
            watch.stage(stage);
        }
    }

    /// Waits for `what`; where that takes time at all, at `stage`.
    /// Boxed: it would be in the future of a climb twice.
    async fn waits<F: Future>(&self, stage: Stage, mut what: Pin<Box<F>>) -> F::Output {
        if let Poll::Ready(done) = futures_util::poll!(&mut what) {
            return done;
        }
        self.at(stage);
        what.await
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
    limits: Limits,
    files: robots::Files,
}

impl Router {
    pub(crate) fn new(
        transports: Vec<Arc<dyn Transport>>,
        rules: Rules,
        files: robots::Files,
        memory: Memory,
    ) -> Self {
        let (flights, limits) = (Flights::default(), Limits::default());
        Self { transports, rules, memory, flights, limits, files }
    }

    /// Waits until all that was learned is written.
    pub(crate) async fn flush(&self) {
        self.memory.flush().await;
    }

    /// Runs an errand to its end. The trace tells what happened, whichever way it ends.
    pub(crate) async fn run(&self, errand: &Errand<'_>) -> (Result<Found>, Trace) {
        let mut progress = Progress::new(errand);
        let total = errand.bounds.fetch_total;
        let found = {
            let mut over = pin!(total.map(sleep));
            // In one place: a second one would double the future.
            let mut climb = pin!(self.climb(errand, &mut progress));
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
            progress.cut_short(errand, &error);
            Err(error)
        });
        (found.map_err(|error| error.with_url(&errand.request.url)), progress.trace)
    }

    /// One persona after another, until one is through.
    async fn climb(&self, errand: &Errand<'_>, progress: &mut Progress) -> Result<Found> {
        let mut history = History::new(errand.request.method.clone());
        let (mut other, mut tier, began) = (None::<Arc<Persona>>, None, Instant::now());
        loop {
            let errand = Errand {
                persona: other.as_deref().unwrap_or(errand.persona),
                instead: errand.instead.filter(|_| other.is_none()),
                ..*errand
            };
            let _farewell = Farewell::of(self, errand.persona);
            match self.climb_as(&errand, tier, began, &mut history, progress).await? {
                Left::With(found) => return Ok(*found),
                Left::For(persona) => {
                    other = Some(persona);
                    tier = (history.attempts > 0).then_some(history.tier);
                }
            }
        }
    }

    /// Up as the errand's persona, from the tier `at` where another was refused, or from where the memory says.
    async fn climb_as(
        &self,
        errand: &Errand<'_>,
        at: Option<Tier>,
        began: Instant,
        history: &mut History,
        progress: &mut Progress,
    ) -> Result<Left> {
        let flight = self.flights.of(errand.key(), errand.host());
        let mut way = Way {
            tier: at.unwrap_or(errand.ladder.min),
            known: at,
            is_repeated: false,
            shares: 0,
            visit: None,
            doubts: Vec::new(),
        };
        let permitted = match errand.robots {
            Robots::Ignore => Ok(Duration::ZERO),
            Robots::Obey => {
                let permitted = Box::pin(self.permitted(errand, &errand.request.url, progress.ends));
                errand.waits(Stage::Robots, permitted).await
            }
        };
        let crawl_delay = match permitted {
            Err(error) => return Self::unpermitted(errand, history, error).map(Left::For),
            Ok(crawl_delay) => crawl_delay,
        };
        loop {
            self.begin(errand, &flight, &mut way).await?;
            let tier = way.tier;
            let permit = match self.admit_at_once(errand, tier, crawl_delay, progress) {
                Some(permit) => permit,
                None => {
                    let admitted = Box::pin(self.admit(errand, tier, crawl_delay, progress));
                    errand.waits(Stage::Turn, admitted).await?
                }
            };
            let place = match Self::board(errand, tier, history, progress).await? {
                Boarded::At(place) => place,
                Boarded::Instead(persona) => return Ok(Left::For(persona)),
            };
            errand.at(Stage::Attempt(tier));
            let earned = flight.earned();
            let bytes = Arc::new(AtomicU64::new(0));
            progress.begin(errand, tier);
            let attempted = self.attempted(errand, tier);
            let attempt = self.attempt(errand, tier, &permit, history.bytes, &bytes);
            let outcome = attempt.instrument(progress.span()).await;
            let outcome = self.weigh(errand, &mut way, &attempted, outcome).await;
            self.tried(attempted, &outcome);
            self.fed_back(errand, tier, permit, &outcome);
            Self::went(place, tier, &outcome);
            history.attempted(tier, bytes.load(Ordering::Relaxed), began.elapsed());
            let means = errand.others.map_or(Means::default(), |others| others.means(errand.persona));
            let roll = rand::rng().random_range(0.0..=1.0);
            // In a block of its own: what borrows the outcome may not be there at the next await.
            let (step, next) = {
                let decided = |means| {
                    let step = policy::decide(&errand.ladder, means, history, &seen(errand, &outcome), roll);
                    let step = way.probed(errand, history, step, &outcome);
                    way.outdressed(errand, history, step, &outcome)
                };
                let step = decided(means);
                match another(errand, &step) {
                    Some(Err(none)) => {
                        tracing::info!(cause = none.chain(), "nobody else can go");
                        (decided(Means::default()), Some(Err(none)))
                    }
                    next => (step, next),
                }
            };
            self.doubted(&way, &step, &outcome);
            history.took(&step);
            progress.ended(errand, &outcome, &step);
            if let (Step::Climb { to, .. }, Some(other)) = (&step, errand.instead)
                && *to == tier
            {
                return Ok(Left::For(Arc::clone(other)));
            }
            match (step, outcome) {
                (Step::Retry { after, .. } | Step::Wait { after, .. }, _) => {
                    way.is_repeated = true;
                    let until = (Instant::now() + after).into_std();
                    errand.waits(Stage::Rest { until }, Box::pin(sleep(after))).await;
                }
                (Step::Climb { to: Tier::Browser, .. }, outcome) => {
                    way.is_repeated = false;
                    if flight.earned() == earned {
                        self.refused(errand);
                    }
                    let why = outcome.map_or(VerdictKind::Challenge, |judged| judged.verdict.kind);
                    let entered = Box::pin(self.enter(errand, &flight, &mut way, earned, why));
                    if let Some(amended) = errand.waits(Stage::Visit, entered).await? {
                        progress.trace.amend(amended);
                    }
                }
                (Step::Climb { to, .. }, _) => {
                    way.tier = to;
                    way.is_repeated = false;
                }
                (Step::NewSession { .. } | Step::NewExit { .. }, outcome) => {
                    way.lost(&end(&outcome));
                    return match (next, outcome) {
                        (Some(Ok(persona)), _) => Ok(Left::For(persona)),
                        (_, Ok(judged)) => Err(blocked(None, &judged.verdict)),
                        (_, Err(error)) => Err(error),
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
    /// host memory says. What waits is boxed: most fetches need none of it.
    async fn begin(&self, errand: &Errand<'_>, flight: &Arc<Flight>, way: &mut Way) -> Result<()> {
        if way.visit.is_some() || way.is_repeated {
            return Ok(());
        }
        let may_visit = errand.ladder.min < Tier::Browser && errand.ladder.top() == Tier::Browser;
        if may_visit && flight.is_busy() {
            let landed = Box::pin(flight.landed(errand.bounds.browser_total));
            errand.waits(Stage::Visit, landed).await;
            tracing::debug!(host = errand.host(), "waited for another fetch's browser visit");
        }
        let earned = flight.earned();
        // Somebody new goes on where another was refused.
        let why = if way.tier == Tier::Browser { VerdictKind::Block } else { VerdictKind::Challenge };
        if self.memory.has_file() {
            errand
                .waits(Stage::Visit, Box::pin(self.recall(errand.persona, errand.area, errand.host())))
                .await;
        }
        let is_kept = self.place(errand, way);
        if way.tier == Tier::Browser && may_visit {
            if is_kept {
                let kept = errand.waits(Stage::Visit, Box::pin(flight.kept())).await;
                way.visit = Some(Visit::begin(errand, kept, VerdictKind::Challenge));
            } else {
                // One rung lower, should another fetch earn a clearance first.
                way.tier = Tier::Impersonate;
                let entered = Box::pin(self.enter(errand, flight, way, earned, why));
                errand.waits(Stage::Visit, entered).await?;
            }
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
        let is_kept = || self.memory.is_kept(errand.key(), errand.host());
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

    /// One attempt: the answer's head, its verdict and, when that is good, its whole body.
    /// `spent` bytes were taken before, and this one's are counted in `bytes`.
    async fn attempt(
        &self,
        errand: &Errand<'_>,
        tier: Tier,
        permit: &Permit,
        spent: u64,
        bytes: &Arc<AtomicU64>,
    ) -> Result<Judged> {
        let transport = self
            .transports
            .iter()
            .find(|transport| transport.tier() == tier)
            .ok_or_else(|| Error::new(ErrorKind::Config, format!("this build has no {tier} tier")))?;
        let identity = errand.persona.on(tier);
        let manners = Manners::new(self, errand, tier, permit);
        let bounds = within(errand, spent);
        let job = Job {
            request: errand.request,
            identity,
            bounds: &bounds,
            view: errand.view,
            streaming: errand.keep.is_file(),
            gate: Some(&manners),
        };
        let answer = transport.attempt(job).await?;
        let Answer { status, version, headers, url, redirects, body, timings, browser } = answer;
        if tier == Tier::Browser && url != errand.request.url {
            // What a page did to its own address, too.
            Box::pin(self.permitted(errand, &url, None)).await?;
        }
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
            complete: begun.rest.is_none()
                && !has_no_body_to_judge(&errand.request.method, status, &begun.prefix),
            via_proxy: identity.route().proxy(&url).is_some(),
        };
        let page = sizes::Page::of(errand, tier, &seen);
        let (expect, is_usual) = self.expected(errand, &seen, page.as_ref());
        let rules = errand.rules.unwrap_or(&self.rules);
        let verdict = judging::judge(rules, &seen, &begun.prefix, expect.as_deref()).await;
        let (kept, small) = match verdict.kind {
            VerdictKind::Genuine | VerdictKind::OriginError => {
                (Some(begun.finish(errand.keep, status).await?), None)
            }
            _ => (None, Some(begun).filter(|_| is_usual && sizes::is_by_size(&verdict))),
        };
        Ok(Judged { status, version, headers, url, redirects, timings, verdict, kept, page, small, browser })
    }
}

/// Whether the body tells nothing: the response to HEAD has none, and an empty one with a success status is what many
/// servers send to a POST or DELETE.
fn has_no_body_to_judge(method: &http::Method, status: StatusCode, body: &[u8]) -> bool {
    method == http::Method::HEAD || !method.is_safe() && status.is_success() && body.is_empty()
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
fn seen<'a>(errand: &Errand<'_>, outcome: &'a Result<Judged>) -> Outcome<'a> {
    match outcome {
        Ok(judged) => Outcome::Answered {
            verdict: &judged.verdict,
            retry_after: retry_after::read(&judged.headers, SystemTime::now()),
        },
        // What breaks on the way through a pool's exit may go through the next time: nothing was sent yet.
        Err(error) if errand.persona.session.is_some() && aboard::is_broken_off(error) => {
            Outcome::Failed(ErrorKind::Connect)
        }
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
    page: Option<sizes::Page>,
    /// A page that is refused for its size alone.
    small: Option<Begun>,
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
fn another(errand: &Errand<'_>, step: &Step) -> Option<Result<Arc<Persona>>> {
    let others = errand.others?;
    match step {
        Step::NewSession { .. } => Some(others.session(errand.persona)),
        Step::NewExit { faulty, .. } => Some(others.exit(errand.persona, *faulty)),
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
