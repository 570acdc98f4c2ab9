//! One browser process of the pool: its contexts, what it was used for, and how it stands.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chromiumoxide::cdp::browser_protocol::{browser, target};
use tokio::sync::Mutex;

use super::BrowserOptions;
use super::connection::CdpConnection;
use super::context::{BrowserContext, COMMAND_LIMIT, idle_contexts};
use super::emulation::Emulation;
use super::error::CdpError;
use super::process::{LaunchSpec, Process};
use super::proxy_forwarder::Forwarder;
use super::switches::{ProcessKey, switches};
use super::targets::{BrowserTargets, auto_attach};
use super::{executable, xvfb};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fingerprint::profile::Browser as Worn;
use crate::net::Connector;
use crate::sync::lock_unpoisoned;
use crate::transport::AttemptRequest;

/// One browser process and what is open in it.
pub(super) struct Chromium {
    pub process_key: ProcessKey,
    pub connection: CdpConnection,
    pub targets: Arc<BrowserTargets>,
    pub process: Process,
    pub pid: u32,
    pub usage: Arc<Usage>,
    pub started_at: Instant,
    lifecycle: std::sync::Mutex<Lifecycle>,
    health_probe: std::sync::Mutex<HealthProbe>,
    /// By the identity's key.
    contexts: Mutex<HashMap<u64, Arc<BrowserContext>>>,
    /// The identities that were given a page here, their contexts not disposed of since.
    identities: std::sync::Mutex<HashSet<u64>>,
}

/// What a browser was and is used for.
#[derive(Default)]
pub(super) struct Usage {
    /// Pages open now.
    pub open: AtomicUsize,
    /// Pages given out since it was started.
    pub served: AtomicUsize,
    /// What it takes, in bytes, when last looked at; 0 before.
    pub pss: AtomicU64,
}

/// How far a browser is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifecycle {
    /// It takes pages.
    Serving,
    /// It takes no more; what is open may end.
    Draining(Instant),
    /// It was asked to end.
    Closing(Instant),
    /// It was killed.
    Killed,
}

/// A question on its way, to learn whether the browser still answers.
#[derive(Default)]
struct HealthProbe {
    pending: Option<(Instant, Arc<AtomicBool>)>,
    missed: bool,
    last: Option<Instant>,
}

impl Chromium {
    pub(super) async fn launch(options: &BrowserOptions, cast: ProcessKey) -> Result<Self> {
        let root = rustix::process::geteuid().is_root();
        if root {
            static SAID: std::sync::Once = std::sync::Once::new();
            SAID.call_once(|| tracing::warn!("running as root: the browser runs without its sandbox"));
        }
        let began = Instant::now();
        let connection = CdpConnection::new(MAX_MESSAGE);
        let targets = Arc::new(BrowserTargets::default());
        let (for_switches, for_cast) = (options.clone(), cast.clone());
        let plan = LaunchSpec {
            executable: executable::resolve_executable(options.executable.as_deref())?,
            switches: Box::new(move |data| switches(&for_switches, &for_cast, data, root)),
            own_display: options.headful && !xvfb::has_display(),
            scratch_parent: options.scratch_parent.clone(),
            ca_file: options.ca_file.clone(),
        };
        let process = Process::start(plan, connection.clone(), Arc::clone(&targets)).await?;
        let browser = Self {
            process_key: cast,
            connection,
            targets,
            pid: process.pid().unwrap_or_default(),
            process,
            usage: Arc::default(),
            started_at: Instant::now(),
            lifecycle: std::sync::Mutex::new(Lifecycle::Serving),
            health_probe: std::sync::Mutex::default(),
            contexts: Mutex::default(),
            identities: std::sync::Mutex::default(),
        };
        match browser.handshake().await {
            Ok(product) => {
                let took = began.elapsed();
                let span = tracing::Span::current();
                span.record("process.pid", i64::from(browser.pid)).record("rungs.browser", &product);
                tracing::info!(pid = browser.pid, product, ?took, "launched a browser");
                Ok(browser)
            }
            Err(fault) => {
                browser.process.kill();
                browser.process.wait_for_exit(KILL_LIMIT).await;
                let words = browser.process.stderr_tail();
                let error = Error::new(ErrorKind::Browser, "the browser did not start").with_source(fault);
                Err(if words.is_empty() { error } else { error.with_hint(format!("it said: {words}")) })
            }
        }
    }

    async fn handshake(&self) -> Result<String, CdpError> {
        let version = self.connection.run(None, &browser::GetVersionParams::default(), LAUNCH_LIMIT).await?;
        self.connection.run(None, &auto_attach(), LAUNCH_LIMIT).await?;
        Ok(version.product)
    }

    /// Whether pages may be opened in it.
    pub(super) fn is_serving(&self) -> bool {
        self.lifecycle() == Lifecycle::Serving && self.connection.is_alive()
    }

    pub(super) fn lifecycle(&self) -> Lifecycle {
        *lock_unpoisoned(&self.lifecycle)
    }

    pub(super) fn set_lifecycle(&self, stage: Lifecycle) {
        *lock_unpoisoned(&self.lifecycle) = stage;
    }

    /// Gives it no more pages. It goes when those that are open have ended.
    pub(super) fn retire(&self, reason: &str) {
        let mut stage = lock_unpoisoned(&self.lifecycle);
        if *stage == Lifecycle::Serving {
            *stage = Lifecycle::Draining(Instant::now());
            let pages = self.usage.served.load(Ordering::Relaxed);
            let open = self.usage.open.load(Ordering::Relaxed);
            let pss_mb = self.usage.pss.load(Ordering::Relaxed) / 1_000_000;
            tracing::info!(pid = self.pid, reason, pages, open, pss_mb, "recycling a browser");
        }
    }

    /// Asks whether it still answers, every [`PULSE`]. Whether it has been silent for twice `limit`:
    /// once may be us who slept.
    pub(super) fn is_hung(&self, now: Instant, limit: Duration) -> bool {
        let mut pulse = lock_unpoisoned(&self.health_probe);
        match &pulse.pending {
            Some((_, answered)) if answered.load(Ordering::Relaxed) => {
                (pulse.pending, pulse.missed) = (None, false);
            }
            Some((at, _)) if now.duration_since(*at) < limit / 2 => {}
            Some(_) if pulse.missed => return true,
            Some(_) => (pulse.pending, pulse.missed, pulse.last) = (None, true, None),
            None => {}
        }
        let due = pulse.last.is_none_or(|last| now.duration_since(last) >= PROBE_INTERVAL);
        if pulse.pending.is_none() && due {
            let answered = Arc::new(AtomicBool::new(false));
            let tells = ReplySignal(Arc::clone(&answered));
            self.connection.send_with_guard(None, &browser::GetVersionParams::default(), Box::new(tells));
            (pulse.pending, pulse.last) = (Some((now, answered)), Some(now));
        }
        false
    }

    /// Whether `identity` has, or is about to have, its context here.
    pub(super) fn has_identity(&self, identity: u64) -> bool {
        lock_unpoisoned(&self.identities).contains(&identity)
    }

    pub(super) fn add_identity(&self, identity: u64) {
        lock_unpoisoned(&self.identities).insert(identity);
    }

    /// The context that is this identity's, made on first need.
    pub(super) async fn context(
        &self,
        job: AttemptRequest<'_>,
        ways: &Arc<Connector>,
        worn: &Worn,
    ) -> Result<Arc<BrowserContext>> {
        let identity = job.identity;
        let mut contexts = self.contexts.lock().await;
        self.dispose_idle_contexts(&mut contexts, Some(identity.key()));
        if let Some(context) = contexts.get(&identity.key()) {
            if context.is_usable() {
                context.touch();
                return Ok(Arc::clone(context));
            }
            self.dispose(context);
        }
        let forwarder = if identity.proxy_rules().is_direct() {
            None
        } else {
            let group = self.process.pid().ok_or(CdpError::BrowserClosed)?;
            Some(Forwarder::start(identity, ways, job.limits, group).await?)
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
        let wear = Emulation::for_identity(identity, worn);
        let permission = wear.geolocation_permission(&id);
        self.targets.register_context(&id, wear);
        if let Some(permission) = permission {
            self.connection.run(None, &permission, COMMAND_LIMIT).await?;
        }
        let deny = browser::SetDownloadBehaviorParams {
            browser_context_id: Some(id.clone().into()),
            ..browser::SetDownloadBehaviorParams::new(browser::SetDownloadBehaviorBehavior::Deny)
        };
        self.connection.run(None, &deny, COMMAND_LIMIT).await?;
        let context = Arc::new(BrowserContext::new(id, forwarder));
        contexts.insert(identity.key(), Arc::clone(&context));
        self.add_identity(identity.key());
        Ok(context)
    }

    /// Disposes of contexts nobody used for long.
    pub(super) fn dispose_idle(&self) {
        // Locked: somebody is about to tidy up himself.
        if let Ok(mut contexts) = self.contexts.try_lock() {
            self.dispose_idle_contexts(&mut contexts, None);
        }
    }

    fn dispose_idle_contexts(&self, contexts: &mut HashMap<u64, Arc<BrowserContext>>, wanted: Option<u64>) {
        for key in idle_contexts(contexts, wanted) {
            if let Some(context) = contexts.remove(&key) {
                lock_unpoisoned(&self.identities).remove(&key);
                self.dispose(&context);
            }
        }
    }

    fn dispose(&self, context: &BrowserContext) {
        self.targets.remove_context(&context.id);
        let dispose = target::DisposeBrowserContextParams::new(context.id.clone());
        self.connection.send_with_guard(None, &dispose, Box::new(()));
    }

    /// Asks it to end.
    pub(super) fn request_close(&self) {
        self.connection.send_with_guard(None, &browser::CloseParams::default(), Box::new(()));
    }

    /// Ends it and waits until its processes and its folder are gone.
    pub(super) async fn close(&self) {
        // It may be dead or stuck: asking is a courtesy.
        let asked = self.connection.run(None, &browser::CloseParams::default(), CLOSE_LIMIT).await;
        if asked.is_err() || !self.process.wait_for_exit(CLOSE_LIMIT).await {
            self.process.kill();
            if !self.process.wait_for_exit(KILL_LIMIT).await {
                tracing::warn!(pid = self.pid, "the browser could not be ended");
            }
        }
    }
}

/// Says that a command was answered, or that the browser is gone, by being dropped.
struct ReplySignal(Arc<AtomicBool>);

impl Drop for ReplySignal {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// From start to the first answer.
const LAUNCH_LIMIT: Duration = Duration::from_secs(20);
/// How long the browser may take to end by itself.
pub(super) const CLOSE_LIMIT: Duration = Duration::from_secs(3);
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// How often a browser is asked whether it still answers.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The largest message taken from the browser: a page of 32 MiB, escaped.
const MAX_MESSAGE: usize = 160 * 1024 * 1024;
