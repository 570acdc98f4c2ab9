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

use self::context::BrowserContext;
use self::error::CdpError;
use self::page::{Page, PageTask};
use self::pool::{BrowserPool, PageLease};
use self::switches::ProcessKey;
use super::{AttemptRequest, Transport};
use crate::client_hints::ACCEPT_CH;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fingerprint::profile::Browser as Worn;
use crate::net::{Connector, private_address_error};
use crate::phase::FetchPhase;
use crate::redact;
use crate::response::{BrowserUse, RawResponse};
use crate::tier::Tier;

mod certificates;
mod chromium;
mod connection;
mod context;
mod cookie_sync;
mod emulation;
mod error;
mod executable;
mod memory_usage;
mod page;
mod page_events;
mod pool;
mod process;
mod proxy_forwarder;
mod resource_blocking;
mod response_head;
mod scheduler;
mod supervisor;
mod switches;
mod targets;
#[cfg(test)]
mod tests;
mod user_data_dir;
mod watchdog;
mod xvfb;

pub(crate) use self::executable::{find, version};
pub(crate) use self::scheduler::BrowserPoolOptions;

/// Judges whether a page (status, headers, URL, body) is still a challenge that may yet let go.
pub(crate) type ChallengeCheck = Arc<dyn Fn(u16, &HeaderMap, &Url, &[u8]) -> bool + Send + Sync>;

/// How the browser is started and used.
#[derive(Clone)]
pub(crate) struct BrowserOptions {
    /// The executable. Default: what [`find`] finds.
    pub executable: Option<PathBuf>,
    /// How many browsers and pages.
    pub pool: BrowserPoolOptions,
    /// With a window, on the display there is or else on one of our own (Xvfb). Default: without.
    pub headful: bool,
    /// How contexts with a proxy reach what they ask for.
    pub connector: Arc<Connector>,
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
    pub still_challenged: Option<ChallengeCheck>,
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self {
            executable: None,
            pool: BrowserPoolOptions::default(),
            headful: false,
            connector: Arc::default(),
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
    pool: BrowserPool,
}

impl BrowserTransport {
    /// A tier that starts its browsers on first need.
    pub(crate) fn new(options: BrowserOptions) -> Self {
        Self { pool: BrowserPool::new(options.clone()), options }
    }

    /// Ends the browsers and waits until their processes and folders are gone. Attempts under way
    /// fail; a later one starts a browser anew.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// Tries, and once more on a fresh page when the first one, or its browser, broke.
    async fn fetch(&self, job: AttemptRequest<'_>) -> Result<RawResponse> {
        let worn = job.identity.profile().browser.as_ref().ok_or_else(|| {
            let name = &job.identity.profile().name;
            Error::new(ErrorKind::Config, format!("the profile `{name}` is no browser's"))
                .with_hint("the browser tier needs an identity that wears a browser")
        })?;
        let cast = ProcessKey::for_identity(job.identity, worn);
        job.enter_phase(|_| FetchPhase::BrowserQueue);
        let seat = self.pool.acquire(job.identity.key(), &cast, false).await?;
        job.enter_phase(FetchPhase::Attempt);
        let (pid, began) = (seat.browser.pid, Instant::now());
        let lost = match self.attempt_on(seat, job, worn, job.limits.browser_total).await {
            Ok(answer) => return Ok(answer),
            Err(lost) => lost,
        };
        let left = job.limits.browser_total.saturating_sub(began.elapsed());
        if left.is_zero() || !lost.can_retry(job) {
            return Err(lost.error);
        }
        tracing::warn!(pid, reason = lost.error.chain(), "a page was lost; trying once on a fresh one");
        job.enter_phase(|_| FetchPhase::BrowserQueue);
        let seat = self.pool.acquire(job.identity.key(), &cast, true).await?;
        job.enter_phase(FetchPhase::Attempt);
        self.attempt_on(seat, job, worn, left).await.map_err(|lost| lost.error)
    }

    async fn attempt_on(
        &self,
        seat: PageLease,
        job: AttemptRequest<'_>,
        worn: &Worn,
        limit: Duration,
    ) -> Result<RawResponse, FailedAttempt> {
        let deadline = Instant::now() + limit;
        let browser = Arc::clone(&seat.browser);
        let (served, reused) = (seat.served, seat.reused);
        let lent = cookie_sync::from_request(job.request);
        let ready = async {
            let (context, page) = self.open_page(seat, job, worn).await?;
            context.push_cookies(&browser.connection, job.identity, &lent).await?;
            Ok((context, page))
        };
        let ready = tokio::time::timeout_at(deadline.into(), ready).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "the browser opened no page in time")
                .with_source(CdpError::TimedOut("the commands that open a page")))
        });
        let (context, page) = ready.map_err(|error| FailedAttempt { error, sent: false })?;
        let visit = PageTask {
            request: job.request,
            limits: job.limits,
            render: job.render,
            still_challenged: self.options.still_challenged.as_ref(),
            deadline,
            hooks: job.hooks.filter(|gate| gate.is_strict()),
        };
        let span = info_span!(
            "visit",
            url.full = redact::without_credentials_and_query(&job.request.url),
            process.pid = i64::from(browser.pid),
            rungs.page = served.cast_signed(),
            http.response.status_code = Empty,
            rungs.settled = Empty,
            otel.status_code = Empty,
        );
        let mut answer = match &context.forwarder {
            Some(forwarder) => {
                let passing = forwarder.begin_visit(&job.request.url).await;
                let answer = page.visit(&visit).instrument(span.clone()).await;
                answer.map_err(|error| passing.explain(error, &job.request.url))
            }
            None => match page.visit(&visit).instrument(span.clone()).await {
                Ok(answer) => self.reject_private_redirect(job, answer).await,
                failed => failed,
            },
        };
        match &answer {
            Ok(answer) => {
                span.record("http.response.status_code", i64::from(answer.status.as_u16()));
                span.record("rungs.settled", answer.browser.as_ref().map(|shown| shown.usage.settled));
            }
            Err(_) => {
                span.record("otel.status_code", "ERROR");
            }
        }
        record_client_hints(job, &page.accept_ch());
        // A page that failed may have been given cookies all the same.
        if let Err(error) = context.pull_cookies(&browser.connection, job, &lent).await
            && answer.is_ok()
        {
            tracing::warn!(cause = error.chain(), "could not take the browser's cookies");
        }
        if let Ok(RawResponse { browser: Some(shown), .. }) = &mut answer {
            let pss = browser.usage.pss.load(Ordering::Relaxed);
            let used: &mut BrowserUse = &mut shown.usage;
            (used.pid, used.pages, used.reused) = (browser.pid, served as u64, reused);
            used.pss_mb = (pss > 0).then_some(pss / 1_000_000);
        }
        answer.map_err(|error| FailedAttempt { error, sent: true })
    }

    /// The answer, unless a public site led to it at a private address. Without a forwarder the
    /// browser has asked for it by then; what its pages ask for it refuses by itself, as any Chrome.
    async fn reject_private_redirect(
        &self,
        job: AttemptRequest<'_>,
        answer: RawResponse,
    ) -> Result<RawResponse> {
        let (ways, route, first) = (&self.options.connector, job.identity.proxy_rules(), &job.request.url);
        let hops = answer.redirects.iter().map(|hop| &hop.url).chain([&answer.url]);
        for url in hops.filter(|url| url.host() != first.host()) {
            if ways.requires_public(route, first, job.limits).await
                && ways.is_private(route, url, job.limits).await
            {
                return Err(private_address_error(url.host_str().unwrap_or_default()));
            }
        }
        Ok(answer)
    }

    /// A blank page of the identity's.
    async fn open_page(
        &self,
        seat: PageLease,
        job: AttemptRequest<'_>,
        worn: &Worn,
    ) -> Result<(Arc<BrowserContext>, Page)> {
        let PageLease { browser, permit: slot, .. } = seat;
        let context = browser.context(job, &self.options.connector, worn).await?;
        // On a task of its own: whoever gives up meanwhile must not leave a page behind.
        let opening = tokio::spawn({
            let (connection, targets) = (browser.connection.clone(), Arc::clone(&browser.targets));
            let (context, options) = (Arc::clone(&context), self.options.clone());
            let max_body = job.limits.max_body;
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
fn record_client_hints(job: AttemptRequest<'_>, asked: &[(String, String)]) {
    for (url, line) in asked {
        if let (Ok(url), Ok(value)) = (Url::parse(url), HeaderValue::from_str(line)) {
            job.identity.client_hints().record(&url, &HeaderMap::from_iter([(ACCEPT_CH, value)]));
        }
    }
}

/// An attempt that failed.
struct FailedAttempt {
    error: Error,
    /// The request may have left.
    sent: bool,
}

impl FailedAttempt {
    /// Whether the page or the browser is to blame, and sending the request again does no harm.
    fn can_retry(&self, job: AttemptRequest<'_>) -> bool {
        match error::find_cdp_error(&self.error) {
            // Refused: most often the page moved on between two commands.
            Some(CdpError::BrowserClosed | CdpError::PageClosed | CdpError::Protocol(_)) => {
                !self.sent || job.request.method.is_safe()
            }
            Some(CdpError::TimedOut(_)) => !self.sent,
            _ => false,
        }
    }
}

impl Transport for BrowserTransport {
    fn tier(&self) -> Tier {
        Tier::Browser
    }

    fn execute<'a>(&'a self, job: AttemptRequest<'a>) -> BoxFuture<'a, Result<RawResponse>> {
        async move { self.fetch(job).await.map_err(|error| error.with_url(&job.request.url)) }.boxed()
    }
}
