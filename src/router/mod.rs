//! The loop that climbs: attempt, judge, decide, until there is a page or no rung is left.

mod flight;
mod keep;
mod memory;
mod policy;
mod retry_after;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::bounds::Bounds;
use crate::detect::{self, Rules, Seen};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::kind::ErrorKind;
use crate::request::Request;
use crate::response::{Answer, Body, Hop, HttpVersion};
use crate::tier::Tier;
use crate::trace::{Attempt, AttemptError, Timings, Trace};
use crate::transport::{Job, Transport};
use crate::verdict::{Verdict, VerdictKind};

pub(crate) use keep::{Keep, Kept};
pub(crate) use policy::Ladder;

use flight::{Flights, Turn};
use keep::Begun;
use memory::Memory;
use policy::{History, Outcome, Step};

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
pub(crate) struct Errand<'a> {
    pub(crate) request: &'a Request,
    pub(crate) persona: &'a Persona,
    pub(crate) bounds: &'a Bounds,
    pub(crate) ladder: Ladder,
    pub(crate) wait_for: Option<&'a str>,
    pub(crate) keep: &'a Keep,
}

impl Errand<'_> {
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
                    progress.cut_short(errand, &error);
                    Err(error)
                }
            },
        };
        if found.is_ok() {
            self.memory.learn(errand.persona.dressed.key(), errand.host(), &progress.trace);
        }
        (found.map_err(|error| error.with_url(&errand.request.url)), progress.trace)
    }

    async fn climb(&self, errand: &Errand<'_>, progress: &mut Progress) -> Result<Found> {
        let ladder = errand.ladder;
        let (identity, host) = (errand.persona.dressed.key(), errand.host());
        let mut tier = self.memory.start(identity, host).unwrap_or(ladder.min).clamp(ladder.min, ladder.max);
        let mut retried = 0;
        let mut turn: Option<Turn> = None;
        let mut shared = false;
        loop {
            let earned = self.flights.earned(identity, host);
            progress.under_way = Some((tier, Instant::now()));
            let outcome = self.attempt(errand, tier).await;
            let history = History { tier, retried, method: &errand.request.method };
            let step = policy::decide(ladder, history, &seen(&outcome));
            progress.ended(errand, &outcome, &step);
            match (step, outcome) {
                (Step::Retry { after, .. }, _) => {
                    retried += 1;
                    sleep(jittered(after)).await;
                }
                (Step::Climb { to: Tier::Browser, .. }, _) => {
                    retried = 0;
                    if shared {
                        // What another fetch had just earned was no good one rung lower.
                        self.memory.does_not_move(identity, host);
                    }
                    turn = self.turn(identity, host).await;
                    shared = !shared && turn.as_ref().is_some_and(|turn| turn.is_late(earned));
                    if shared {
                        // Somebody was at the browser meanwhile: try with what it earned.
                        progress.trace.amend("share: another fetch earned a clearance meanwhile");
                        turn = None;
                    } else {
                        tier = Tier::Browser;
                    }
                }
                (Step::Climb { to, .. }, _) => {
                    tier = to;
                    retried = 0;
                }
                (Step::Done, Ok(judged)) => {
                    if let Some(turn) = turn {
                        turn.earned();
                    }
                    return judged.found();
                }
                (Step::Blocked { hint }, Ok(judged)) => return Err(blocked(hint, &judged.verdict)),
                (_, Err(error)) => return Err(error),
                (Step::Fail, Ok(_)) => return Err(Error::new(ErrorKind::Protocol, "the attempt failed")),
            }
        }
    }

    /// A turn at the browser; none is needed where clearance does not move anyway.
    async fn turn(&self, identity: u64, host: &str) -> Option<Turn> {
        let turn = self.flights.turn(identity, host).await;
        (self.memory.start(identity, host) != Some(Tier::Browser)).then_some(turn)
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
            wait_for: errand.wait_for,
            streaming: errand.keep.is_file(),
        };
        let answer = transport.attempt(job).await?;
        let Answer { status, version, headers, url, redirects, body, timings } = answer;
        let begun = match body {
            Body::Whole(prefix) => Begun { prefix, rest: None },
            Body::Coming(stream) => Begun::read(stream, detect::PREFIX).await?,
        };
        let verdict = self.rules.judge(&Seen {
            tier: Some(tier),
            status: status.as_u16(),
            headers: &headers,
            url: &url,
            requested: &errand.request.url,
            body: &begun.prefix,
            // The answer to HEAD has no body to judge by.
            complete: begun.rest.is_none() && errand.request.method != http::Method::HEAD,
            via_proxy: identity.route().proxy(&url).is_some(),
        });
        let kept = match verdict.kind {
            VerdictKind::Genuine | VerdictKind::OriginError => Some(begun.finish(errand.keep, status).await?),
            _ => None,
        };
        Ok(Judged { status, version, headers, url, redirects, timings, verdict, kept })
    }
}

/// What was done, and the attempt that is being made.
#[derive(Default)]
struct Progress {
    trace: Trace,
    under_way: Option<(Tier, Instant)>,
}

impl Progress {
    /// Writes down the attempt under way, with what came of it and why another follows.
    fn ended(&mut self, errand: &Errand<'_>, outcome: &Result<Judged>, step: &Step) {
        let Some(mut attempt) = self.begun(errand) else { return };
        match outcome {
            Ok(judged) => {
                attempt.status = Some(judged.status.as_u16());
                attempt.verdict = Some(judged.verdict.clone());
            }
            Err(error) => attempt.error = Some(failure(error)),
        }
        attempt.next = match step {
            Step::Retry { why, .. } | Step::Climb { why, .. } => Some(why.clone()),
            Step::Done | Step::Blocked { .. } | Step::Fail => None,
        };
        tracing::info!(
            tier = %attempt.tier,
            status = attempt.status,
            verdict = attempt.verdict.as_ref().map(ToString::to_string),
            error = attempt.error.as_ref().map(|error| error.message.as_str()),
            elapsed_ms = attempt.elapsed.as_millis(),
            next = attempt.next.as_deref(),
            "attempt"
        );
        self.trace.push(attempt);
    }

    /// The whole fetch ran out of time: the attempt under way, if there is one, ends with it.
    fn cut_short(&mut self, errand: &Errand<'_>, error: &Error) {
        if let Some(mut attempt) = self.begun(errand) {
            attempt.error = Some(failure(error));
            self.trace.push(attempt);
        }
    }

    fn begun(&mut self, errand: &Errand<'_>) -> Option<Attempt> {
        let (tier, started) = self.under_way.take()?;
        let identity = errand.persona.on(tier);
        Some(Attempt {
            tier,
            browser_profile: (tier != Tier::Plain).then(|| identity.profile().name.clone()),
            proxy: identity.route().proxy(&errand.request.url).map(ToString::to_string),
            status: None,
            verdict: None,
            elapsed: started.elapsed(),
            error: None,
            next: None,
        })
    }
}

fn failure(error: &Error) -> AttemptError {
    AttemptError { kind: error.kind(), message: error.chain() }
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
