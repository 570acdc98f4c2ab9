//! The browser tier: one warm Chromium, spoken to over its own pipe, a context per identity.
//!
//! chromiumoxide's typed protocol, our own connection: its handler cannot speak to child sessions,
//! so workers and cross-site frames would keep another user agent than the page. `Runtime` is never
//! enabled, and no script is ever injected: pages can see both.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chromiumoxide::cdp::browser_protocol::emulation::{
    SetUserAgentOverrideParams, UserAgentBrandVersion, UserAgentMetadata,
};
use chromiumoxide::cdp::browser_protocol::{browser, storage, target};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use tokio::sync::{Mutex, Semaphore};
use url::Url;

use self::connection::Connection;
use self::faults::Fault;
use self::forward::Forwarder;
use self::page::{Page, Visit};
use self::process::{Plan, Process};
use self::targets::{Targets, auto_attach};
use super::{Job, Transport};
use crate::cookies::Cookie;
use crate::error::{Error, Result};
use crate::fingerprint::profile::{Brand, Browser as Worn};
use crate::identity::Identity;
use crate::kind::ErrorKind;
use crate::net::{Ways, led_astray};
use crate::response::Answer;
use crate::tier::Tier;

mod answer;
mod connection;
mod cookie_sync;
mod faults;
mod find;
mod forward;
mod page;
mod process;
mod scratch;
mod switches;
mod targets;
#[cfg(test)]
mod tests;
mod trust;
mod watch;

pub(crate) use self::find::{find, version};

/// Judges whether a page (status, headers, URL, body) is still a challenge that may yet let go.
pub(crate) type StillChallenged = Arc<dyn Fn(u16, &HeaderMap, &Url, &[u8]) -> bool + Send + Sync>;

/// How the browser is started and used.
#[derive(Clone)]
pub(crate) struct BrowserOptions {
    /// The executable. Default: what [`find`] finds.
    pub executable: Option<PathBuf>,
    /// The most pages at once. Default: 2.
    pub pages: usize,
    /// With a window, on the display there is. Default: without.
    pub headful: bool,
    /// Names that resolve to a given address for a given port.
    pub resolve: Vec<(String, u16, IpAddr)>,
    /// How contexts with a proxy reach what they ask for.
    pub ways: Arc<Ways>,
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
            pages: 2,
            headful: false,
            resolve: Vec::new(),
            ways: Arc::default(),
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
            .field("pages", &self.pages)
            .field("headful", &self.headful)
            .field("resolve", &self.resolve)
            .field("insecure", &self.insecure)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

/// The browser tier. Starts nothing until it is needed; dropping it ends the browser.
pub(crate) struct BrowserTransport {
    options: BrowserOptions,
    pages: Arc<Semaphore>,
    warm: Mutex<Option<Arc<Browser>>>,
}

impl BrowserTransport {
    /// A tier that starts its browser on first need.
    pub(crate) fn new(options: BrowserOptions) -> Self {
        let pages = Arc::new(Semaphore::new(options.pages.max(1)));
        Self { options, pages, warm: Mutex::new(None) }
    }

    /// Ends the browser and waits until its processes and its folder are gone. Attempts under way
    /// fail; a later one starts a browser anew.
    pub(crate) async fn close(&self) {
        if let Some(browser) = self.warm.lock().await.take() {
            browser.close().await;
        }
    }

    async fn fetch(&self, job: Job<'_>) -> Result<Answer> {
        let deadline = Instant::now() + job.bounds.browser_total;
        let worn = job.identity.profile().browser.as_ref().ok_or_else(|| {
            let name = &job.identity.profile().name;
            Error::new(ErrorKind::Config, format!("the profile `{name}` is no browser's"))
                .with_hint("the browser tier needs an identity that wears a browser")
        })?;
        let ready = tokio::time::timeout_at(deadline.into(), self.open(job, worn));
        let (browser, context, page) =
            ready.await.map_err(|_| Error::new(ErrorKind::Timeout, "no page became free in time"))??;
        let lent = cookie_sync::of_request(job.request);
        context.put(&browser.connection, job.identity, &lent).await?;
        let visit = Visit {
            request: job.request,
            bounds: job.bounds,
            view: job.view,
            still_challenged: self.options.still_challenged.as_ref(),
            deadline,
        };
        let answer = match &context.forwarder {
            Some(forwarder) => {
                let passing = forwarder.visit(&job.request.url).await;
                let answer = page.visit(&visit).await;
                answer.map_err(|error| passing.explain(error, &job.request.url))
            }
            None => match page.visit(&visit).await {
                Ok(answer) => self.unless_led_astray(job, answer).await,
                failed => failed,
            },
        };
        // A page that failed may have been given cookies all the same.
        if let Err(error) = context.take(&browser.connection, job, &lent).await
            && answer.is_ok()
        {
            tracing::warn!(cause = error.chain(), "could not take the browser's cookies");
        }
        answer
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

    /// A blank page of the identity's, when one may be opened.
    async fn open(&self, job: Job<'_>, worn: &Worn) -> Result<(Arc<Browser>, Arc<Context>, Page)> {
        let permit = Arc::clone(&self.pages).acquire_owned().await.map_err(|cause| {
            Error::new(ErrorKind::Browser, "the browser tier is closed").with_source(cause)
        })?;
        let browser = self.browser(worn).await?;
        let context = browser.context(job, &self.options.ways, worn).await?;
        // On a task of its own: whoever gives up meanwhile must not leave a page behind.
        let opening = tokio::spawn({
            let (connection, targets) = (browser.connection.clone(), Arc::clone(&browser.targets));
            let (context, options) = (Arc::clone(&context), self.options.clone());
            let max_body = job.bounds.max_body;
            async move {
                let id = context.id.clone();
                let held = Box::new((permit, context));
                Page::open(connection, targets, &id, &options, max_body, held).await
            }
        });
        let page = opening
            .await
            .map_err(|cause| Error::new(ErrorKind::Browser, "could not open a page").with_source(cause))??;
        Ok((browser, context, page))
    }

    /// The warm browser, or a new one when there is none or it died.
    async fn browser(&self, worn: &Worn) -> Result<Arc<Browser>> {
        let mut warm = self.warm.lock().await;
        if let Some(browser) = warm.as_ref().filter(|browser| browser.connection.is_alive()) {
            return Ok(Arc::clone(browser));
        }
        if warm.take().is_some() {
            tracing::warn!("the browser died; starting another");
        }
        let browser = Arc::new(Browser::launch(&self.options, worn).await?);
        *warm = Some(Arc::clone(&browser));
        Ok(browser)
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

/// One browser process and what is open in it.
struct Browser {
    connection: Connection,
    targets: Arc<Targets>,
    /// By the identity's key.
    contexts: Mutex<HashMap<u64, Arc<Context>>>,
    process: Process,
}

impl Browser {
    async fn launch(options: &BrowserOptions, worn: &Worn) -> Result<Self> {
        let root = rustix::process::geteuid().is_root();
        if root {
            static SAID: std::sync::Once = std::sync::Once::new();
            SAID.call_once(|| tracing::warn!("running as root: the browser runs without its sandbox"));
        }
        let connection = Connection::new(MAX_MESSAGE);
        let targets = Arc::new(Targets::default());
        let (for_switches, worn) = (options.clone(), worn.clone());
        let plan = Plan {
            executable: find::executable(options.executable.as_deref())?,
            switches: Box::new(move |data| switches::switches(&for_switches, &worn, data, root)),
            scratch_parent: options.scratch_parent.clone(),
            ca_file: options.ca_file.clone(),
        };
        let process = Process::start(plan, connection.clone(), Arc::clone(&targets)).await?;
        let browser = Self { connection, targets, contexts: Mutex::default(), process };
        match browser.greet().await {
            Ok(()) => Ok(browser),
            Err(fault) => {
                browser.process.kill();
                browser.process.ended(KILL_LIMIT).await;
                let words = browser.process.last_words();
                let error = Error::new(ErrorKind::Browser, "the browser did not start").with_source(fault);
                Err(if words.is_empty() { error } else { error.with_hint(format!("it said: {words}")) })
            }
        }
    }

    async fn greet(&self) -> Result<(), Fault> {
        let version = self.connection.run(None, &browser::GetVersionParams::default(), LAUNCH_LIMIT).await?;
        tracing::debug!(product = version.product, "the browser is up");
        self.connection.run(None, &auto_attach(), LAUNCH_LIMIT).await?;
        Ok(())
    }

    /// The context that is this identity's, made on first need.
    async fn context(&self, job: Job<'_>, ways: &Arc<Ways>, worn: &Worn) -> Result<Arc<Context>> {
        let identity = job.identity;
        let mut contexts = self.contexts.lock().await;
        for key in spare(&contexts, identity.key()) {
            if let Some(context) = contexts.remove(&key) {
                self.dispose(&context);
            }
        }
        if let Some(context) = contexts.get(&identity.key()) {
            if context.forwarder.as_ref().is_none_or(Forwarder::is_alive) {
                context.touch();
                return Ok(Arc::clone(context));
            }
            self.dispose(context);
        }
        let forwarder = if identity.route().is_direct() {
            None
        } else {
            let group = self.process.pid().ok_or(Fault::Gone)?;
            Some(Forwarder::start(identity, ways, job.bounds, group).await?)
        };
        let create = target::CreateBrowserContextParams {
            dispose_on_detach: Some(true),
            // Left alone, Chromium reads proxies from the environment by rules of its own.
            proxy_server: Some(forwarder.as_ref().map_or_else(|| "direct://".to_owned(), Forwarder::url)),
            // Chromium would go around the proxy for loopback addresses.
            proxy_bypass_list: forwarder.as_ref().map(|_| "<-loopback>".to_owned()),
            ..target::CreateBrowserContextParams::default()
        };
        let id: String = self.connection.run(None, &create, COMMAND_LIMIT).await?.browser_context_id.into();
        self.targets.dress(&id, wear(worn));
        let deny = browser::SetDownloadBehaviorParams {
            browser_context_id: Some(id.clone().into()),
            ..browser::SetDownloadBehaviorParams::new(browser::SetDownloadBehaviorBehavior::Deny)
        };
        self.connection.run(None, &deny, COMMAND_LIMIT).await?;
        let context = Arc::new(Context::new(id, forwarder));
        contexts.insert(identity.key(), Arc::clone(&context));
        Ok(context)
    }

    fn dispose(&self, context: &Context) {
        self.targets.undress(&context.id);
        let dispose = target::DisposeBrowserContextParams::new(context.id.clone());
        self.connection.tell(None, &dispose, Box::new(()));
    }

    async fn close(&self) {
        // It may be dead or stuck: asking is a courtesy.
        let asked = self.connection.run(None, &browser::CloseParams::default(), CLOSE_LIMIT).await;
        if asked.is_err() || !self.process.ended(CLOSE_LIMIT).await {
            self.process.kill();
            if !self.process.ended(KILL_LIMIT).await {
                tracing::warn!("the browser could not be ended");
            }
        }
    }
}

/// One identity's context: its cookies, storage, cache and proxy.
struct Context {
    id: String,
    forwarder: Option<Forwarder>,
    /// The cookies it held when they were last looked at.
    seen: Mutex<Vec<Cookie>>,
    used: std::sync::Mutex<Instant>,
}

impl Context {
    fn new(id: String, forwarder: Option<Forwarder>) -> Self {
        Self { id, forwarder, seen: Mutex::default(), used: std::sync::Mutex::new(Instant::now()) }
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }

    fn idle(&self) -> Duration {
        self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner).elapsed()
    }

    /// Gives the browser what the jar has and it has not, and what the caller lent.
    async fn put(&self, connection: &Connection, identity: &Identity, lent: &[Cookie]) -> Result<()> {
        let seen = self.seen.lock().await;
        let mut all = cookie_sync::news(identity.jar().list(), &seen);
        all.extend(lent.iter().cloned());
        if all.is_empty() {
            return Ok(());
        }
        let set = |cookies: &[Cookie]| storage::SetCookiesParams {
            cookies: cookies.iter().map(cookie_sync::to_browser).collect(),
            browser_context_id: Some(self.id.clone().into()),
        };
        match connection.run(None, &set(&all), COMMAND_LIMIT).await {
            Ok(_) => Ok(()),
            Err(Fault::Refused(_)) => {
                // One that it does not like spoils the lot: give them singly.
                for cookie in &all {
                    connection.tell(None, &set(std::slice::from_ref(cookie)), Box::new(()));
                }
                Ok(())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Takes the browser's cookies into the jar.
    async fn take(&self, connection: &Connection, job: Job<'_>, lent: &[Cookie]) -> Result<()> {
        let mut seen = self.seen.lock().await;
        let get = storage::GetCookiesParams { browser_context_id: Some(self.id.clone().into()) };
        let cookies = connection.run(None, &get, COMMAND_LIMIT).await?.cookies;
        *seen = cookies
            .iter()
            .filter_map(cookie_sync::from_browser)
            .filter(|cookie| !cookie_sync::is_lent(cookie, lent, &job.request.url))
            .collect();
        for cookie in seen.iter() {
            job.identity.jar().earn(cookie);
        }
        Ok(())
    }
}

/// The contexts to dispose of: not in use, and idle for long or beyond the number kept.
fn spare(contexts: &HashMap<u64, Arc<Context>>, wanted: u64) -> Vec<u64> {
    // Held by the map alone: nobody has a page in it.
    let unused = contexts.iter().filter(|(key, held)| **key != wanted && Arc::strong_count(held) == 1);
    let mut unused: Vec<(Duration, u64)> = unused.map(|(key, context)| (context.idle(), *key)).collect();
    unused.sort_unstable();
    let kept = CONTEXTS_KEPT.saturating_sub(contexts.len() - unused.len());
    let fresh = unused.iter().take(kept).filter(|(idle, _)| *idle <= CONTEXT_IDLE).count();
    unused.into_iter().skip(fresh).map(|(_, key)| key).collect()
}

/// The profile's user agent and client hints for every target. Without `acceptLanguage`: that would
/// move the header; `--accept-lang` does not.
fn wear(worn: &Worn) -> SetUserAgentOverrideParams {
    let list = |brands: &[Brand]| {
        let one = |brand: &Brand| UserAgentBrandVersion::new(brand.brand.clone(), brand.version.clone());
        Some(brands.iter().map(one).collect::<Vec<_>>())
    };
    let metadata = UserAgentMetadata {
        brands: list(&worn.brands),
        full_version_list: list(&worn.full_version_list),
        platform: worn.platform.clone(),
        platform_version: worn.platform_version.clone(),
        architecture: worn.architecture.clone(),
        model: worn.model.clone(),
        mobile: worn.mobile,
        bitness: Some(worn.bitness.clone()),
        wow64: Some(false),
        form_factors: Some(vec![if worn.mobile { "Mobile" } else { "Desktop" }.to_owned()]),
    };
    let mut wear = SetUserAgentOverrideParams::new(worn.user_agent.clone());
    wear.user_agent_metadata = Some(metadata);
    wear
}

/// From start to the first answer.
const LAUNCH_LIMIT: Duration = Duration::from_secs(20);
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// How long the browser may take to end by itself.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// A context nobody used for this long is disposed of; its cookies are in the jar.
const CONTEXT_IDLE: Duration = Duration::from_secs(300);
/// More contexts than this are kept only while pages are open in them: each costs some 65 MB.
const CONTEXTS_KEPT: usize = 8;
/// The largest message taken from the browser: a page of 32 MiB, escaped.
const MAX_MESSAGE: usize = 160 * 1024 * 1024;
