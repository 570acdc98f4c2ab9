//! The loop that climbs: attempt, judge, decide, until there is a page or no rung is left.

mod flight;
mod judging;
mod keep;
mod policy;
mod progress;
mod recall;
mod retry_after;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::bounds::Bounds;
use crate::cookies::Cookie;
use crate::detect::{self, Expect, Rules, Seen};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::kind::ErrorKind;
use crate::memory::{Memory, Who};
use crate::request::Request;
use crate::response::{Answer, Body, Hop, HttpVersion, Shown};
use crate::tier::Tier;
use crate::trace::{Timings, Trace};
use crate::transport::{Job, Transport};
use crate::verdict::{Verdict, VerdictKind};
use crate::view::View;

pub(crate) use keep::{Keep, Kept};
pub(crate) use policy::Ladder;

use flight::{End, Flight, Flights, Leave};
use keep::Begun;
use policy::{History, Outcome, Step};
use progress::Progress;

/// Who asks: one session, as it appears on the plain tier and on the others.
pub(crate) struct Persona {
    /// The session's name; `None` for a fetcher's own.
    pub(crate) session: Option<String>,
    pub(crate) plain: Identity,
    pub(crate) dressed: Identity,
    /// Whose clearances the memory keeps.
    pub(crate) who: Who,
}

impl Persona {
    fn on(&self, tier: Tier) -> &Identity {
        if tier == Tier::Plain { &self.plain } else { &self.dressed }
    }
}

/// One fetch.
pub(crate) struct Errand<'a> {
    pub(crate) request: &'a Request,
    pub(crate) persona: &'a Persona,
    pub(crate) bounds: &'a Bounds,
    pub(crate) ladder: Ladder,
    pub(crate) view: &'a View,
    pub(crate) keep: &'a Keep,
    pub(crate) expect: Option<&'a Expect>,
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
    pub(crate) fn new(transports: Vec<Arc<dyn Transport>>, rules: Rules, memory: Memory) -> Self {
        Self { transports, rules, memory, flights: Flights::default() }
    }

    /// Waits until all that was learned is written.
    pub(crate) async fn flush(&self) {
        self.memory.flush().await;
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
                    progress.cut_short(errand, &error);
                    Err(error)
                }
            },
        };
        (found.map_err(|error| error.with_url(&errand.request.url)), progress.trace)
    }

    async fn climb(&self, errand: &Errand<'_>, progress: &mut Progress) -> Result<Found> {
        let ladder = errand.ladder;
        let flight = self.flights.of(errand.key(), errand.host());
        let mut way = Way { tier: ladder.min, known: None, retried: 0, shares: 0, visit: None };
        loop {
            self.begin(errand, &flight, &mut way).await?;
            let tier = way.tier;
            let earned = flight.earned();
            progress.under_way = Some((tier, Instant::now()));
            let attempted = self.attempted(errand, tier);
            let outcome = self.attempt(errand, tier).await;
            self.tried(attempted, &outcome);
            let history = History { tier, retried: way.retried, method: &errand.request.method };
            let step = way.probed(policy::decide(ladder, history, &seen(&outcome)), &outcome);
            progress.ended(errand, &outcome, &step);
            match (step, outcome) {
                (Step::Retry { after, .. }, _) => {
                    way.retried += 1;
                    sleep(jittered(after)).await;
                }
                (Step::Climb { to: Tier::Browser, .. }, outcome) => {
                    way.retried = 0;
                    if flight.earned() == earned {
                        self.refused(errand);
                    }
                    let why = outcome.map_or(VerdictKind::Challenge, |judged| judged.verdict.kind);
                    if let Some(amended) = self.enter(errand, &flight, &mut way, earned, why).await? {
                        progress.trace.amend(amended);
                    }
                }
                (Step::Climb { to, .. }, _) => {
                    way.tier = to;
                    way.retried = 0;
                }
                (Step::Done, Ok(judged)) => {
                    self.learn(errand, &way, &judged);
                    return judged.found();
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
    /// host memory says.
    async fn begin(&self, errand: &Errand<'_>, flight: &Arc<Flight>, way: &mut Way) -> Result<()> {
        let ladder = errand.ladder;
        if way.visit.is_some() || way.retried > 0 {
            return Ok(());
        }
        let may_visit = ladder.min < Tier::Browser && ladder.max == Tier::Browser;
        if may_visit && flight.landed(errand.bounds.browser_total).await {
            tracing::debug!(host = errand.host(), "waited for another fetch's browser visit");
        }
        let earned = flight.earned();
        let is_kept = self.place(errand, way).await;
        if way.tier == Tier::Browser && may_visit {
            if is_kept {
                way.visit = Some(Visit::begin(errand, flight.kept().await, VerdictKind::Challenge));
            } else {
                // One rung lower, should another fetch earn a clearance first.
                way.tier = Tier::Impersonate;
                self.enter(errand, flight, way, earned, VerdictKind::Challenge).await?;
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
    async fn attempt(&self, errand: &Errand<'_>, tier: Tier) -> Result<Judged> {
        let transport = self
            .transports
            .iter()
            .find(|transport| transport.tier() == tier)
            .ok_or_else(|| Error::new(ErrorKind::Config, format!("this build has no {tier} tier")))?;
        let identity = errand.persona.on(tier);
        let job = Job {
            request: errand.request,
            identity,
            bounds: errand.bounds,
            view: errand.view,
            streaming: errand.keep.is_file(),
        };
        let answer = transport.attempt(job).await?;
        let Answer { status, version, headers, url, redirects, body, timings, browser } = answer;
        let begun = match body {
            Body::Whole(prefix) => Begun { prefix, rest: None },
            Body::Coming(stream) => Begun::read(stream, detect::PREFIX).await?,
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

/// How far a fetch has come.
struct Way {
    tier: Tier,
    /// Where it goes on when the first attempt, a tier below, was a probe and is refused.
    known: Option<Tier>,
    /// How often this tier was tried again after a failure.
    retried: u32,
    /// How often another fetch's clearance was used instead of earning one.
    shares: u32,
    visit: Option<Visit>,
}

/// Being at the browser.
struct Visit {
    leave: Leave,
    why: VerdictKind,
    /// The cookies there were.
    before: Vec<Cookie>,
}

impl Visit {
    fn begin(errand: &Errand<'_>, leave: Leave, why: VerdictKind) -> Self {
        tracing::info!(host = errand.host(), because = %why, "browser visit");
        Self { leave, why, before: errand.persona.dressed.jar().list() }
    }
}

impl Way {
    /// Tells those who wait that the visit came to nothing.
    fn lost(&self, end: &End) {
        if let Some(Visit { leave: Leave::Turn(turn), why, .. }) = &self.visit {
            turn.lost(*why, end.clone());
        }
    }
}

fn ended(end: End) -> Error {
    match end {
        End::Refused { verdict, hint } => blocked(hint, &verdict),
        End::Failed(kind) => Error::new(kind, "the browser failed for other fetches of this host just now"),
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

/// Never less than asked for, up to a quarter more: many waiting fetches must not return as one.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + rand::rng().random_range(0.0..0.25))
}

/// How often one fetch takes another's clearance before it earns one itself: each was good for somebody.
const MAX_SHARES: u32 = 4;
