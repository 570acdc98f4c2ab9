//! The browser tier: a pool of warm Chromiums, spoken to over their own pipes, a context per identity.
//!
//! chromiumoxide's typed protocol, our own connection: its handler cannot speak to child sessions,
//! so workers and cross-site frames would keep another user agent than the page. `Runtime` is never
//! enabled, and no script is ever injected: pages can see both.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use tracing::field::Empty;
use tracing::{Instrument, info_span};
use url::Url;

use self::context::Context;
use self::faults::Fault;
use self::page::{Page, Visit};
use self::pool::{Pool, Seat};
use self::switches::Cast;
use super::{Job, Transport};
use crate::error::{Error, Result};
use crate::fingerprint::profile::Browser as Worn;
use crate::hints::ACCEPT_CH;
use crate::kind::ErrorKind;
use crate::net::{Ways, led_astray};
use crate::redact;
use crate::response::{Answer, BrowserUse};
use crate::stage::Stage;
use crate::tier::Tier;

mod admission;
mod answer;
mod block;
mod chromium;
mod connection;
mod context;
mod cookie_sync;
mod display;
mod faults;
mod find;
mod forward;
mod gauge;
mod keeper;
mod page;
mod pool;
mod process;
mod scratch;
mod switches;
mod targets;
#[cfg(test)]
mod tests;
mod trust;
mod watch;
mod watchdog;
mod wear;

pub(crate) use self::admission::PoolOptions;
pub(crate) use self::find::{find, version};

/// Judges whether a page (status, headers, URL, body) is still a challenge that may yet let go.
pub(crate) type StillChallenged = Arc<dyn Fn(u16, &HeaderMap, &Url, &[u8]) -> bool + Send + Sync>;

/// How the browser is started and used.
#[derive(Clone)]
pub(crate) struct BrowserOptions {
    /// The executable. Default: what [`find`] finds.
    pub executable: Option<PathBuf>,
    /// How many browsers and pages.
    pub pool: PoolOptions,
    /// With a window, on the display there is or else on one of our own (Xvfb). Default: without.
    pub headful: bool,
    /// How contexts with a proxy reach what they ask for.
    pub ways: Arc<Ways>,
    /// Names that resolve to a given address for a given port.
    pub resolve: Vec<(String, u16, IpAddr)>,
    /// Take any certificate.
    pub insecure: bool,
    /// Certificates (PEM) to trust besides the browser's own. Needs NSS's `certutil`.
    pub ca_file: Option<PathBuf>,
    /// More switches for the browser.
    pub extra_args: Vec<String>,
    /// Where its folder is made. Default: the system's folder for temporary files.
    pub scratch_parent: PathBuf,
    /// Judges challenge pages; without it what is there when the page rests is the answer.
    pub still_challenged: Option<StillChallenged>,
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self {
            executable: None,
            pool: PoolOptions::default(),
            headful: false,
            ways: Arc::default(),
            resolve: Vec::new(),
            insecure: false,
            ca_file: None,
            extra_args: Vec::new(),
            scratch_parent: std::env::temp_dir(),
            still_challenged: None,
        }
    }
}

impl fmt::Debug for BrowserOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Switches may carry secrets, and a closure has nothing to show.
        f.debug_struct("BrowserOptions")
            .field("executable", &self.executable)
            .field("pool", &self.pool)
            .field("headful", &self.headful)
            .field("resolve", &self.resolve)
            .field("insecure", &self.insecure)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

/// The browser tier. Starts nothing until it is needed; dropping it ends its browsers.
pub(crate) struct BrowserTransport {
    options: BrowserOptions,
    pool: Pool,
}

impl BrowserTransport {
    /// A tier that starts its browsers on first need.
    pub(crate) fn new(options: BrowserOptions) -> Self {
        Self { pool: Pool::new(options.clone()), options }
    }

    /// Ends the browsers and waits until their processes and folders are gone. Attempts under way
    /// fail; a later one starts a browser anew.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// Tries, and once more on a fresh page when the first one, or its browser, broke.
    async fn fetch(&self, job: Job<'_>) -> Result<Answer> {
        let worn = job.identity.profile().browser.as_ref().ok_or_else(|| {
            let name = &job.identity.profile().name;
            Error::new(ErrorKind::Config, format!("the profile `{name}` is no browser's"))
                .with_hint("the browser tier needs an identity that wears a browser")
        })?;
        let cast = Cast::of(job.identity, worn);
        job.at(|_| Stage::Queue);
        let seat = self.pool.admit(job.identity.key(), &cast, false).await?;
        job.at(Stage::Attempt);
        let (pid, began) = (seat.browser.pid, Instant::now());
        let lost = match self.try_at(seat, job, worn, job.bounds.browser_total).await {
            Ok(answer) => return Ok(answer),
            Err(lost) => lost,
        };
        let left = job.bounds.browser_total.saturating_sub(began.elapsed());
        if left.is_zero() || !lost.may_repeat(job) {
            return Err(lost.error);
        }
        tracing::warn!(pid, reason = lost.error.chain(), "a page was lost; trying once on a fresh one");
        job.at(|_| Stage::Queue);
        let seat = self.pool.admit(job.identity.key(), &cast, true).await?;
        job.at(Stage::Attempt);
        self.try_at(seat, job, worn, left).await.map_err(|lost| lost.error)
    }

    async fn try_at(&self, seat: Seat, job: Job<'_>, worn: &Worn, limit: Duration) -> Result<Answer, Lost> {
        let deadline = Instant::now() + limit;
        let browser = Arc::clone(&seat.browser);
        let (served, reused) = (seat.served, seat.reused);
        let lent = cookie_sync::of_request(job.request);
        let ready = async {
            let (context, page) = self.open(seat, job, worn).await?;
            context.put(&browser.connection, job.identity, &lent).await?;
            Ok((context, page))
        };
        let ready = tokio::time::timeout_at(deadline.into(), ready).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "the browser opened no page in time")
                .with_source(Fault::Slow("the commands that open a page")))
        });
        let (context, page) = ready.map_err(|error| Lost { error, sent: false })?;
        let visit = Visit {
            request: job.request,
            bounds: job.bounds,
            view: job.view,
            still_challenged: self.options.still_challenged.as_ref(),
            deadline,
            gate: job.gate.filter(|gate| gate.is_strict()),
        };
        let span = info_span!(
            "visit",
            url.full = redact::bare(&job.request.url),
            process.pid = i64::from(browser.pid),
            rungs.page = served.cast_signed(),
            http.response.status_code = Empty,
            rungs.settled = Empty,
            otel.status_code = Empty,
        );
        let mut answer = match &context.forwarder {
            Some(forwarder) => {
                let passing = forwarder.visit(&job.request.url).await;
                let answer = page.visit(&visit).instrument(span.clone()).await;
                answer.map_err(|error| passing.explain(error, &job.request.url))
            }
            None => match page.visit(&visit).instrument(span.clone()).await {
                Ok(answer) => self.unless_led_astray(job, answer).await,
                failed => failed,
            },
        };
        match &answer {
            Ok(answer) => {
                span.record("http.response.status_code", i64::from(answer.status.as_u16()));
                span.record("rungs.settled", answer.browser.as_ref().map(|shown| shown.used.settled));
            }
            Err(_) => {
                span.record("otel.status_code", "ERROR");
            }
        }
        learn_hints(job, &page.asked());
        // A page that failed may have been given cookies all the same.
        if let Err(error) = context.take(&browser.connection, job, &lent).await
            && answer.is_ok()
        {
            tracing::warn!(cause = error.chain(), "could not take the browser's cookies");
        }
        if let Ok(Answer { browser: Some(shown), .. }) = &mut answer {
            let pss = browser.load.pss.load(Ordering::Relaxed);
            let used: &mut BrowserUse = &mut shown.used;
            (used.pid, used.pages, used.reused) = (browser.pid, served as u64, reused);
            used.pss_mb = (pss > 0).then_some(pss / 1_000_000);
        }
        answer.map_err(|error| Lost { error, sent: true })
    }

    /// The answer, unless a public site led to it at a private address. Without a forwarder the
    /// browser has asked for it by then; what its pages ask for it refuses by itself, as any Chrome.
    async fn unless_led_astray(&self, job: Job<'_>, answer: Answer) -> Result<Answer> {
        let (ways, route, first) = (&self.options.ways, job.identity.route(), &job.request.url);
        let hops = answer.redirects.iter().map(|hop| &hop.url).chain([&answer.url]);
        for url in hops.filter(|url| url.host() != first.host()) {
            if ways.guards(route, first, job.bounds).await && ways.is_private(route, url, job.bounds).await {
                return Err(led_astray(url.host_str().unwrap_or_default()));
            }
        }
        Ok(answer)
    }

    /// A blank page of the identity's.
    async fn open(&self, seat: Seat, job: Job<'_>, worn: &Worn) -> Result<(Arc<Context>, Page)> {
        let Seat { browser, slot, .. } = seat;
        let context = browser.context(job, &self.options.ways, worn).await?;
        // On a task of its own: whoever gives up meanwhile must not leave a page behind.
        let opening = tokio::spawn({
            let (connection, targets) = (browser.connection.clone(), Arc::clone(&browser.targets));
            let (context, options) = (Arc::clone(&context), self.options.clone());
            let max_body = job.bounds.max_body;
            async move {
                let id = context.id.clone();
                let held = Box::new((slot, context));
                Page::open(connection, targets, &id, &options, max_body, held).await
            }
        });
        let page = opening
            .await
            .map_err(|cause| Error::new(ErrorKind::Browser, "could not open a page").with_source(cause))??;
        Ok((context, page))
    }
}

/// What the browser was asked for, the tiers below tell from now on.
fn learn_hints(job: Job<'_>, asked: &[(String, String)]) {
    for (url, line) in asked {
        if let (Ok(url), Ok(value)) = (Url::parse(url), HeaderValue::from_str(line)) {
            job.identity.hints().note(&url, &HeaderMap::from_iter([(ACCEPT_CH, value)]));
        }
    }
}

/// An attempt that failed.
struct Lost {
    error: Error,
    /// The request may have left.
    sent: bool,
}

impl Lost {
    /// Whether the page or the browser is to blame, and sending the request again does no harm.
    fn may_repeat(&self, job: Job<'_>) -> bool {
        match faults::of(&self.error) {
            // Refused: most often the page moved on between two commands.
            Some(Fault::Gone | Fault::PageGone | Fault::Refused(_)) => {
                !self.sent || job.request.method.is_safe()
            }
            Some(Fault::Slow(_)) => !self.sent,
            _ => false,
        }
    }
}

impl Transport for BrowserTransport {
    fn tier(&self) -> Tier {
        Tier::Browser
    }

    fn attempt<'a>(&'a self, job: Job<'a>) -> BoxFuture<'a, Result<Answer>> {
        async move { self.fetch(job).await.map_err(|error| error.with_url(&job.request.url)) }.boxed()
    }
}
