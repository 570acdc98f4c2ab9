//! The browser tier: a pool of running Chromium processes, controlled over pipes, with one browser context
//! per identity.
//!
//! The protocol types are chromiumoxide's, the connection is not: chromiumoxide's handler cannot send
//! commands to child sessions. Workers and cross-site frames would then have a user agent that differs from
//! the page's. `Runtime` is never enabled and no script is injected, because pages can detect both.

use std::fmt;
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
use self::page::{Page, PageSizes, PageTask};
use self::pool::{BrowserPool, PageLease};
use self::switches::ProcessKey;
use super::Transport;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::phase::FetchPhase;
use crate::exchange::response::{BrowserUse, RawResponse, SentRequest};
use crate::exchange::tier::Tier;
use crate::fingerprint::profile::Browser as BrowserProfile;
use crate::identity::client_hints::ACCEPT_CH;
use crate::net::AttemptRequest;
use crate::net::{Connector, mask_secrets};
use crate::text::redact;
use crate::transport::chromium::error::CdpError;

mod certificates;
mod chromium;
mod context;
mod cookie_sync;
mod emulation;
mod error;
mod memory_guard;
mod page;
mod page_events;
mod pool;
mod proxy_forwarder;
mod resource_blocking;
mod response_head;
mod scheduler;
mod supervisor;
mod switches;
mod target_events;
mod targets;
#[cfg(test)]
mod tests;
mod xvfb;

pub(crate) use self::scheduler::BrowserPoolOptions;
pub(crate) use crate::transport::chromium::executable::{find, version};

/// Returns whether a page (status, headers, URL, body) is still a challenge that may resolve by itself.
pub(crate) type ChallengeCheck = Arc<dyn Fn(u16, &HeaderMap, &Url, &[u8]) -> PageVerdict + Send + Sync>;

/// The verdict on a page while the browser shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageVerdict {
    /// Not a challenge.
    Page,
    Challenge,
    /// The challenge of a known protection service, which answered instead of the server.
    VendorChallenge,
}

/// Settings for starting and using the browsers.
#[derive(Clone)]
pub(crate) struct BrowserOptions {
    /// The executable. Default: the one that [`find`] returns.
    pub executable: Option<PathBuf>,
    /// Sizes and time limits of the pool.
    pub pool: BrowserPoolOptions,
    /// Show a window, on the existing display or else on a private one (Xvfb). Default: headless.
    pub headful: bool,
    /// Opens the connections of all contexts.
    pub connector: Arc<Connector>,
    /// Accept any certificate.
    pub insecure: bool,
    /// Certificates (PEM) to trust in addition to the browser's own. Needs NSS's `certutil`.
    pub ca_file: Option<PathBuf>,
    /// Additional command-line switches.
    pub extra_args: Vec<String>,
    /// Parent of the user data folders. Default: the system's folder for temporary files.
    pub scratch_parent: PathBuf,
    /// Detects challenge pages. Without it, the settled page is the response.
    pub still_challenged: Option<ChallengeCheck>,
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self {
            executable: None,
            pool: BrowserPoolOptions::default(),
            headful: false,
            connector: Arc::default(),
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
        // Switches may contain secrets, and a closure has no `Debug`.
        f.debug_struct("BrowserOptions")
            .field("executable", &self.executable)
            .field("pool", &self.pool)
            .field("headful", &self.headful)
            .field("insecure", &self.insecure)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

/// The browser tier. It starts browsers on first use, and ends them when dropped.
pub(crate) struct BrowserTransport {
    options: BrowserOptions,
    pool: BrowserPool,
}

impl BrowserTransport {
    /// Creates the tier without starting a browser.
    pub(crate) fn new(options: BrowserOptions) -> Self {
        Self { pool: BrowserPool::new(options.clone()), options }
    }

    /// Ends the browsers and waits until their processes and folders are gone. Attempts in progress
    /// fail; a later attempt starts a new browser.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// Makes the attempt. Retries once on a new page when the first page or its browser failed.
    async fn fetch(&self, job: AttemptRequest<'_>) -> Result<RawResponse> {
        let profile = job.identity.profile().browser.as_ref().ok_or_else(|| {
            let name = &job.identity.profile().name;
            Error::new(ErrorKind::Config, format!("the profile `{name}` is not a browser profile"))
                .with_hint("use a browser profile: the browser tier needs one")
        })?;
        let key = ProcessKey::for_identity(job.identity, profile);
        job.report_phase(|_| FetchPhase::BrowserQueue);
        let lease = self.pool.acquire(job.identity.key(), &key, false).await?;
        job.report_phase(FetchPhase::Attempt);
        let (pid, began) = (lease.browser.pid, Instant::now());
        let failed = match self.attempt_on(lease, job, profile, job.limits.browser_total).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let remaining = job.limits.browser_total.saturating_sub(began.elapsed());
        if remaining.is_zero() || !failed.can_retry(job) {
            return Err(failed.error);
        }
        tracing::warn!(pid, reason = failed.error.chain(), "page failed, retrying on a new page");
        job.report_phase(|_| FetchPhase::BrowserQueue);
        let lease = self.pool.acquire(job.identity.key(), &key, true).await?;
        job.report_phase(FetchPhase::Attempt);
        self.attempt_on(lease, job, profile, remaining).await.map_err(|failed| failed.error)
    }

    async fn attempt_on(
        &self,
        lease: PageLease,
        job: AttemptRequest<'_>,
        profile: &BrowserProfile,
        limit: Duration,
    ) -> Result<RawResponse, FailedAttempt> {
        let deadline = Instant::now() + limit;
        let browser = Arc::clone(&lease.browser);
        let (served, reused) = (lease.served, lease.reused);
        let request_cookies = cookie_sync::from_request(job.request);
        let opened = async {
            let (context, page) = self.open_page(lease, job, profile).await?;
            context.push_cookies(&browser.connection, job, &request_cookies).await?;
            Ok((context, page))
        };
        let opened = tokio::time::timeout_at(deadline.into(), opened).await.unwrap_or_else(|_| {
            let total = job.limits.browser_total;
            let message = format!("timed out opening a browser page (limit of the whole visit: {total:?})");
            Err(Error::new(ErrorKind::Timeout, message)
                .with_source(CdpError::TimedOut("the commands that open a page")))
        });
        let (context, page) = opened.map_err(|error| FailedAttempt { error, sent: false })?;
        let visit = PageTask {
            request: job.request,
            limits: job.limits,
            render: job.render,
            still_challenged: self.options.still_challenged.as_ref(),
            deadline,
            hooks: job.hooks.filter(|hooks| hooks.is_strict()),
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
        let forwarded = context
            .forwarder
            .begin_visit(job.request)
            .map_err(|error| FailedAttempt { error, sent: false })?;
        let response = page.visit(&visit).instrument(span.clone()).await;
        let mut response = response.map_err(|error| forwarded.explain(error, &job.request.url));
        if response.is_err()
            && let Some(excess) = page.memory_excess()
        {
            // The browser reports the other pages of the process one by one.
            tokio::time::sleep(CRASH_REPORT_PAUSE).await;
            if excess.stays_in_browser() {
                // The next page would be ended for the same memory.
                browser.retire("memory of its shared processes");
            }
            response = Err(CdpError::MemoryExceeded(excess).into());
        }
        match &response {
            Ok(response) => {
                span.record("http.response.status_code", i64::from(response.status.as_u16()));
                span.record("rungs.settled", response.browser.as_ref().map(|output| output.usage.settled));
            }
            Err(_) => {
                span.record("otel.status_code", "ERROR");
            }
        }
        record_client_hints(job, &page.accept_ch());
        // A page that failed may have received cookies nevertheless.
        if let Err(error) = context.pull_cookies(&browser.connection, job, &request_cookies).await
            && response.is_ok()
        {
            tracing::warn!(cause = error.chain(), "could not read the browser's cookies");
        }
        if let Ok(response) = &response {
            let (connector, rules) = (&self.options.connector, job.identity.proxy_rules());
            connector.record_last_url(rules, job.request, &response.url);
        }
        if let Ok(RawResponse { browser: Some(output), .. }) = &mut response {
            let pss = browser.usage.pss.load(Ordering::Relaxed);
            let used: &mut BrowserUse = &mut output.usage;
            (used.pid, used.pages, used.reused) = (browser.pid, served as u64, reused);
            used.pss_mb = (pss > 0).then_some(pss / 1_000_000);
            report_requests(job, std::mem::take(&mut output.requests));
        }
        response.map_err(|error| FailedAttempt { error: error.mark_sent(), sent: true })
    }

    /// Opens a blank page in the identity's context.
    async fn open_page(
        &self,
        lease: PageLease,
        job: AttemptRequest<'_>,
        profile: &BrowserProfile,
    ) -> Result<(Arc<BrowserContext>, Page)> {
        let PageLease { browser, permit, .. } = lease;
        let context = browser.context(job, &self.options.connector, profile).await?;
        // In a separate task, so that the page is closed even if this future is dropped meanwhile.
        let opening = tokio::spawn({
            let (connection, targets) = (browser.connection.clone(), Arc::clone(&browser.targets));
            let (context, options) = (Arc::clone(&context), self.options.clone());
            let memory = job.limits.page_memory.unwrap_or_else(|| self.pool.page_memory());
            let sizes = PageSizes { max_body: job.limits.max_body, memory };
            async move {
                let id = context.id.clone();
                let guard = Box::new((permit, context));
                Page::open(connection, targets, &id, &options, sizes, guard).await
            }
        });
        let page = opening.await.map_err(|cause| {
            Error::new(ErrorKind::Browser, "could not open a browser page").with_source(cause)
        })??;
        Ok((context, page))
    }
}

/// Reports the requests for documents as sent, with secrets masked.
fn report_requests(job: AttemptRequest<'_>, requests: Vec<SentRequest>) {
    let Some(hooks) = job.hooks.filter(|hooks| hooks.wants_request_capture()) else { return };
    for request in requests {
        hooks.on_request_sent(mask_secrets(job.request, request));
    }
}

/// Records the client hints that sites requested from the browser. The other tiers send them from now on.
fn record_client_hints(job: AttemptRequest<'_>, accept_ch: &[(String, String)]) {
    for (url, line) in accept_ch {
        if let (Ok(url), Ok(value)) = (Url::parse(url), HeaderValue::from_str(line)) {
            job.identity.client_hints().record(&url, &HeaderMap::from_iter([(ACCEPT_CH, value)]));
        }
    }
}

/// An attempt that failed.
struct FailedAttempt {
    error: Error,
    /// The request may have been sent.
    sent: bool,
}

impl FailedAttempt {
    /// Whether the page or the browser caused the failure, and the request may be sent again.
    fn can_retry(&self, job: AttemptRequest<'_>) -> bool {
        match crate::transport::chromium::error::find_cdp_error(&self.error) {
            // `Protocol`: most often the page navigated between two commands.
            Some(CdpError::BrowserClosed | CdpError::PageClosed | CdpError::Protocol(_)) => {
                !self.sent || job.request.method.is_safe()
            }
            // Another page may be the cause. A page of its own process would exceed its limit again.
            Some(CdpError::MemoryExceeded(excess)) => {
                excess.is_ambiguous() && (!self.sent || job.request.method.is_safe())
            }
            Some(CdpError::TimedOut(_)) => !self.sent,
            _ => false,
        }
    }
}

/// How long a page that was ended for its memory waits, so that the others that ended with it are counted.
const CRASH_REPORT_PAUSE: Duration = Duration::from_millis(200);

impl Transport for BrowserTransport {
    fn tier(&self) -> Tier {
        Tier::Browser
    }

    fn execute<'a>(&'a self, job: AttemptRequest<'a>) -> BoxFuture<'a, Result<RawResponse>> {
        async move { self.fetch(job).await.map_err(|error| error.with_url(&job.request.url)) }.boxed()
    }
}
