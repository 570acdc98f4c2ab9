//! The manners around an attempt: what robots.txt allows, when the host may be asked, and what its
//! answer says of the pace.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};
use url::Url;

use super::progress::Progress;
use super::{Errand, Judged, Router};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::limit::{self, Asking, Ended, Leave, Limits, Opened, Permit, Turn};
use crate::lock::lock;
use crate::memory::Circuit;
use crate::net::Gate;
use crate::politeness::{Pace, Robots};
use crate::proxy;
use crate::response::Sent;
use crate::retry_after;
use crate::stage::Stage;
use crate::tier::Tier;
use crate::verdict::VerdictKind;

/// Stands before the redirects of one attempt, and holds their hosts' places while it lasts.
pub(super) struct Manners<'a> {
    router: &'a Router,
    errand: &'a Errand<'a>,
    tier: Tier,
    /// Leave for the host that was asked first.
    first: &'a Permit,
    /// The host that a redirect led to last, and the leave for it.
    hop: Mutex<Option<(Url, Permit)>>,
}

impl<'a> Manners<'a> {
    pub(super) fn new(router: &'a Router, errand: &'a Errand<'a>, tier: Tier, first: &'a Permit) -> Self {
        let manners = Self { router, errand, tier, first, hop: Mutex::default() };
        // What an attempt before this one sent.
        manners.put(None);
        manners
    }

    fn put(&self, sent: Option<Sent>) {
        if let Some(slot) = self.errand.sent {
            *lock(slot) = sent;
        }
    }

    fn hop(&self) -> MutexGuard<'_, Option<(Url, Permit)>> {
        lock(&self.hop)
    }

    /// Takes a place at the host of `url`, where the attempt has none. It has one at a time: who held
    /// one while waiting for another could wait for ever.
    async fn move_on(&self, url: &Url, crawl_delay: Duration) -> Result<()> {
        let is_there = match &*self.hop() {
            Some((there, _)) => limit::is_same(there, url),
            None => limit::is_same(&self.errand.request.url, url),
        };
        if is_there {
            return Ok(());
        }
        self.first.leave();
        *self.hop() = None;
        let ends = Some(Instant::now() + ON_THE_WAY);
        let asking = Asking { url, tier: self.tier, pace: self.errand.pace, crawl_delay, ends };
        let permit = timeout(TURN, self.router.limits.acquire(&asking)).await.map_err(|_| {
            let name = limit::name(url);
            let message = format!("{name}, where a redirect leads, had no turn for it within {TURN:?}");
            Error::new(ErrorKind::Timeout, message)
        })??;
        *self.hop() = Some((url.clone(), permit));
        Ok(())
    }
}

impl Gate for Manners<'_> {
    fn is_strict(&self) -> bool {
        self.errand.robots == Robots::Obey
    }

    fn pass<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>> {
        async move {
            let crawl_delay = self.router.permitted(self.errand, url, None).await?;
            self.router.limits.rested(url, ON_THE_WAY, None).await?;
            self.move_on(url, crawl_delay).await
        }
        .boxed()
    }

    fn wants_sent(&self) -> bool {
        self.errand.sent.is_some()
    }

    fn sent(&self, request: Sent) {
        self.put(Some(request));
    }

    fn at(&self, stage: fn(Tier) -> Stage) {
        self.errand.at(stage(self.tier));
    }
}

/// Stands before the requests for robots.txt: they may come too soon as well.
struct Rested<'a>(&'a Limits, Option<Instant>);

impl Gate for Rested<'_> {
    fn pass<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>> {
        self.0.rested(url, Duration::MAX, self.1).boxed()
    }
}

impl Router {
    /// Asks robots.txt about `url`, where it is obeyed. The time it wants between two requests.
    ///
    /// # Errors
    /// [`ErrorKind::Robots`] when it forbids the URL.
    pub(super) async fn permitted(
        &self,
        errand: &Errand<'_>,
        url: &Url,
        ends: Option<Instant>,
    ) -> Result<Duration> {
        if errand.robots == Robots::Ignore {
            return Ok(Duration::ZERO);
        }
        let gate = Rested(&self.limits, ends);
        let route = errand.persona.plain.route();
        let found = self.files.of(url, route, errand.bounds, &gate).await?;
        if let Some((who, wait)) = &found.rest {
            self.limits.rest(who, *wait);
        }
        found.known.permit(url, &found.url)?;
        Ok(found.known.crawl_delay())
    }

    /// How soon the host of `url` may be asked at `pace`, as far as is known without asking anybody.
    pub(crate) fn leave(&self, url: &Url, pace: Pace) -> Leave {
        self.limits.leave(url, pace, self.files.crawl_delay(url))
    }

    /// Leave to ask the host, where it is to be had without waiting.
    pub(super) fn admit_at_once(
        &self,
        errand: &Errand<'_>,
        tier: Tier,
        crawl_delay: Duration,
        progress: &mut Progress,
    ) -> Option<Permit> {
        if self.memory.has_news(&limit::name(&errand.request.url)) {
            return None;
        }
        let permit = self.limits.at_once(&asking(errand, tier, crawl_delay, progress))?;
        progress.waited = Duration::ZERO;
        Some(permit)
    }

    /// Waits until the host may be asked, and writes down how long that took. A refusal that comes from
    /// the tier's own faults is an attempt of the trace, though nothing was sent.
    pub(super) async fn admit(
        &self,
        errand: &Errand<'_>,
        tier: Tier,
        crawl_delay: Duration,
        progress: &mut Progress,
    ) -> Result<Permit> {
        self.heed(errand).await;
        let began = Instant::now();
        let permit = self.limits.acquire(&asking(errand, tier, crawl_delay, progress)).await;
        progress.waited = began.elapsed();
        permit.inspect_err(|error| {
            progress.begin(errand, tier);
            progress.cut_short(errand, error);
        })
    }

    /// Tells the host's limits what came of an attempt.
    pub(super) fn fed_back(&self, errand: &Errand<'_>, tier: Tier, permit: Permit, outcome: &Result<Judged>) {
        let turn = permit.ended(match outcome {
            Ok(judged) => self.heard(errand, judged),
            Err(error) if is_fault(errand, tier, error) => Ended::Fault(error.kind()),
            Err(_) => Ended::Untold,
        });
        let Some(turn) = turn else { return };
        let host = limit::name(&errand.request.url).into_owned();
        match turn {
            Turn::Opened(opened) => self.memory.opened(circuit(host, tier, opened, self.memory.now())),
            Turn::Closed => self.memory.closed(&host, tier),
        }
    }

    /// Takes over what other processes found of the host.
    async fn heed(&self, errand: &Errand<'_>) {
        let url = &errand.request.url;
        let now = self.memory.now();
        for Circuit { tier, kind, faults, until, lasts, .. } in self.memory.circuits(&limit::name(url)).await
        {
            let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            let (wait, lasts) = (seconds(until.saturating_sub(now)), seconds(lasts));
            self.limits.heard(url, tier, Opened { kind, faults, wait, lasts });
        }
    }

    fn heard(&self, errand: &Errand<'_>, judged: &Judged) -> Ended {
        let wait = retry_after::asked(judged.status, &judged.headers, SystemTime::now());
        if let Some(wait) = wait {
            self.limits.rest(&judged.url, wait);
        }
        let elsewhere = !limit::is_same(&judged.url, &errand.request.url);
        if !elsewhere && (wait.is_some() || judged.verdict.kind == VerdictKind::RateLimit) {
            return Ended::TooFast;
        }
        let timings = &judged.timings;
        let connecting = timings.dns + timings.connect + timings.tls;
        let latency = timings.first_byte.saturating_sub(connecting);
        // The browser's first byte is not told, and another host's is no word on this one.
        Ended::Answered((!elsewhere && !latency.is_zero() && judged.browser.is_none()).then_some(latency))
    }
}

/// What the host of `errand` is asked for.
fn asking<'a>(errand: &Errand<'a>, tier: Tier, crawl_delay: Duration, progress: &Progress) -> Asking<'a> {
    Asking { url: &errand.request.url, tier, pace: errand.pace, crawl_delay, ends: progress.ends }
}

/// A circuit that opened just now, as other processes are told of it.
fn circuit(host: String, tier: Tier, opened: Opened, now: i64) -> Circuit {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let Opened { kind, faults, wait, lasts } = opened;
    let until = now.saturating_add(seconds(wait));
    Circuit { host, tier, kind, faults, since: now, until, lasts: seconds(lasts) }
}

/// Whether an error is the doing of the host that was asked first, and not of a proxy, of the caller, or
/// of another host that a redirect led to. A page in the browser may take its time for many reasons.
fn is_fault(errand: &Errand<'_>, tier: Tier, error: &Error) -> bool {
    let by_exit = errand.persona.session.is_some()
        && errand.persona.on(tier).route().proxy(&errand.request.url).is_some();
    let of_the_host = match error.kind() {
        // Any exit of a pool may break a connection: only what it says of the host counts.
        kind if by_exit => kind == ErrorKind::Connect && proxy::is_of_site(error),
        ErrorKind::Connect | ErrorKind::Tls | ErrorKind::Protocol => true,
        ErrorKind::Timeout => tier != Tier::Browser,
        _ => false,
    };
    let at = error.url().and_then(|url| Url::parse(url).ok());
    of_the_host && at.is_none_or(|at| limit::is_same(&at, &errand.request.url))
}

/// How long the host of a redirect may make an attempt wait that is under way.
const ON_THE_WAY: Duration = Duration::from_secs(5);
/// How long an attempt under way waits for its turn there.
const TURN: Duration = Duration::from_secs(20);
