//! One browser process of the pool: its contexts, its usage and its lifecycle.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chromiumoxide_cdp::cdp::browser_protocol::{browser, target};
use rustix::process::Pid;
use tokio::sync::Mutex;

use super::BrowserOptions;
use super::certificates;
use super::context::{BrowserContext, COMMAND_LIMIT, ContextKey, idle_contexts};
use super::emulation::Emulation;
use super::memory_guard::MemoryGuard;
use super::proxy_forwarder::Forwarder;
use super::switches::{ProcessKey, switches};
use super::targets::{BrowserTargets, auto_attach};
use super::xvfb::{self, Xvfb};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::fingerprint::profile::Browser as BrowserProfile;
use crate::net::AttemptRequest;
use crate::net::Connector;
use crate::os::sync::lock_unpoisoned;
use crate::transport::chromium::connection::{CdpConnection, CdpEvent};
use crate::transport::chromium::error::CdpError;
use crate::transport::chromium::executable;
use crate::transport::chromium::process::{EnvironmentFn, LaunchSpec, Process, ProcessObserver};

/// One browser process and its contexts.
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
    contexts: Mutex<HashMap<ContextKey, Arc<BrowserContext>>>,
    /// Identities that received a page here and whose contexts are not disposed of.
    identities: std::sync::Mutex<HashSet<u64>>,
}

/// Counters of a browser's use.
#[derive(Default)]
pub(super) struct Usage {
    /// Pages open now.
    pub open: AtomicUsize,
    /// Pages leased since the browser started.
    pub served: AtomicUsize,
    /// Memory at the last sample, in bytes (PSS); 0 before the first.
    pub pss: AtomicU64,
}

/// Whether a browser accepts pages, or how far its shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifecycle {
    /// It accepts pages.
    Serving,
    /// It accepts no more pages; open pages may finish.
    Draining(Instant),
    /// It was asked to exit.
    Closing(Instant),
    /// It was killed.
    Killed,
}

/// A command in flight that shows whether the browser still replies.
#[derive(Default)]
struct HealthProbe {
    pending: Option<(Instant, Arc<AtomicBool>)>,
    missed: bool,
    last: Option<Instant>,
}

/// Tells the targets what happens in the process, and watches its memory.
struct TargetObserver(Arc<BrowserTargets>);

impl ProcessObserver for TargetObserver {
    fn on_start(self: &Arc<Self>, pid: Pid) -> Box<dyn Any> {
        let guard = MemoryGuard::start(pid, Arc::clone(&self.0)).inspect_err(
            |cause| tracing::warn!(%cause, "could not start the thread that watches a page's memory"),
        );
        Box::new(guard)
    }

    fn on_event(&self, connection: &CdpConnection, event: &CdpEvent<'_>) {
        self.0.on_event(connection, event);
    }

    fn on_browser_closed(&self) {
        self.0.on_browser_closed();
    }
}

/// Sets the home folder with the certificates of `ca_file`, and the display of an Xvfb of its own.
fn environment(ca_file: Option<PathBuf>, own_display: bool) -> EnvironmentFn {
    Box::new(move |folder, command| {
        if let Some(ca_file) = &ca_file {
            command.env("HOME", certificates::create_home(folder, ca_file)?).env_remove("XDG_DATA_HOME");
        }
        let display = if own_display { Some(Xvfb::start(folder)?) } else { None };
        if let Some(display) = &display {
            display.set_environment(command);
        }
        Ok(Box::new(display))
    })
}

impl Chromium {
    /// Starts a browser and waits until it replies.
    pub(super) async fn launch(options: &BrowserOptions, key: ProcessKey) -> Result<Self> {
        let root = rustix::process::geteuid().is_root();
        if root {
            static WARNED: std::sync::Once = std::sync::Once::new();
            WARNED.call_once(|| tracing::warn!("running as root: the browser runs without its sandbox"));
        }
        let began = Instant::now();
        let connection = CdpConnection::new(MAX_MESSAGE);
        let targets = Arc::new(BrowserTargets::default());
        let (switch_options, switch_key) = (options.clone(), key.clone());
        let spec = LaunchSpec {
            executable: executable::resolve_executable(options.executable.as_deref())?,
            switches: Box::new(move |data| switches(&switch_options, &switch_key, data, root)),
            environment: environment(options.ca_file.clone(), options.headful && !xvfb::has_display()),
            scratch_parent: options.scratch_parent.clone(),
        };
        let process =
            Process::start(spec, connection.clone(), Arc::new(TargetObserver(Arc::clone(&targets)))).await?;
        let browser = Self {
            process_key: key,
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
                tracing::info!(pid = browser.pid, product, ?took, "launched browser");
                Ok(browser)
            }
            Err(fault) => {
                browser.process.kill();
                browser.process.wait_for_exit(KILL_LIMIT).await;
                let stderr = browser.process.stderr_tail();
                let error = Error::new(ErrorKind::Browser, "the browser did not start").with_source(fault);
                Err(if stderr.is_empty() {
                    error
                } else {
                    error.with_hint(format!("check the browser's last message: {stderr}"))
                })
            }
        }
    }

    async fn handshake(&self) -> Result<String, CdpError> {
        let version = self.connection.run(None, &browser::GetVersionParams::default(), LAUNCH_LIMIT).await?;
        self.connection.run(None, &auto_attach(), LAUNCH_LIMIT).await?;
        Ok(version.product)
    }

    /// Whether pages may be opened in this browser.
    pub(super) fn is_serving(&self) -> bool {
        self.lifecycle() == Lifecycle::Serving && self.connection.is_alive()
    }

    pub(super) fn lifecycle(&self) -> Lifecycle {
        *lock_unpoisoned(&self.lifecycle)
    }

    pub(super) fn set_lifecycle(&self, lifecycle: Lifecycle) {
        *lock_unpoisoned(&self.lifecycle) = lifecycle;
    }

    /// Stops accepting pages. The supervisor ends the browser once its open pages are closed.
    pub(super) fn retire(&self, reason: &str) {
        let mut lifecycle = lock_unpoisoned(&self.lifecycle);
        if *lifecycle == Lifecycle::Serving {
            *lifecycle = Lifecycle::Draining(Instant::now());
            let pages = self.usage.served.load(Ordering::Relaxed);
            let open = self.usage.open.load(Ordering::Relaxed);
            let pss_mb = self.usage.pss.load(Ordering::Relaxed) / 1_000_000;
            tracing::info!(pid = self.pid, reason, pages, open, pss_mb, "recycling browser");
        }
    }

    /// Sends a health probe every [`PROBE_INTERVAL`]. Returns whether two probes in a row got no reply, each for
    /// half of `limit`. A single miss may mean that this process itself was suspended.
    pub(super) fn is_hung(&self, now: Instant, limit: Duration) -> bool {
        let mut probe = lock_unpoisoned(&self.health_probe);
        match &probe.pending {
            Some((_, answered)) if answered.load(Ordering::Relaxed) => {
                (probe.pending, probe.missed) = (None, false);
            }
            Some((at, _)) if now.duration_since(*at) < limit / 2 => {}
            Some(_) if probe.missed => return true,
            Some(_) => (probe.pending, probe.missed, probe.last) = (None, true, None),
            None => {}
        }
        let due = probe.last.is_none_or(|last| now.duration_since(last) >= PROBE_INTERVAL);
        if probe.pending.is_none() && due {
            let answered = Arc::new(AtomicBool::new(false));
            let signal = ReplySignal(Arc::clone(&answered));
            self.connection.send_with_guard(None, &browser::GetVersionParams::default(), Box::new(signal));
            (probe.pending, probe.last) = (Some((now, answered)), Some(now));
        }
        false
    }

    /// Whether `identity` has a context here, or is about to get one.
    pub(super) fn has_identity(&self, identity: u64) -> bool {
        lock_unpoisoned(&self.identities).contains(&identity)
    }

    pub(super) fn add_identity(&self, identity: u64) {
        lock_unpoisoned(&self.identities).insert(identity);
    }

    /// Returns the identity's context for this request, created on first use.
    pub(super) async fn context(
        &self,
        job: AttemptRequest<'_>,
        connector: &Arc<Connector>,
        profile: &BrowserProfile,
    ) -> Result<Arc<BrowserContext>> {
        let identity = job.identity;
        let requires_public = connector.expects_public(identity.proxy_rules(), job.request, job.limits).await;
        let key = ContextKey { identity: identity.key(), requires_public };
        let mut contexts = self.contexts.lock().await;
        self.dispose_idle_contexts(&mut contexts, Some(key));
        if let Some(context) = contexts.get(&key) {
            if context.is_usable() {
                context.touch();
                return Ok(Arc::clone(context));
            }
            self.dispose(context);
        }
        let group = self.process.pid().ok_or(CdpError::BrowserClosed)?;
        let forwarder = Forwarder::start(identity, connector, job.limits, requires_public, group).await?;
        let create = target::CreateBrowserContextParams {
            dispose_on_detach: Some(true),
            proxy_server: Some(forwarder.url()),
            // Chromium would bypass the proxy for loopback addresses.
            proxy_bypass_list: Some("<-loopback>".to_owned()),
            ..target::CreateBrowserContextParams::default()
        };
        let id: String = self.connection.run(None, &create, COMMAND_LIMIT).await?.browser_context_id.into();
        let emulation = Emulation::for_identity(identity, profile);
        let permission = emulation.geolocation_permission(&id);
        self.targets.register_context(&id, emulation);
        if let Some(permission) = permission {
            self.connection.run(None, &permission, COMMAND_LIMIT).await?;
        }
        let deny = browser::SetDownloadBehaviorParams {
            browser_context_id: Some(id.clone().into()),
            ..browser::SetDownloadBehaviorParams::new(browser::SetDownloadBehaviorBehavior::Deny)
        };
        self.connection.run(None, &deny, COMMAND_LIMIT).await?;
        let context = Arc::new(BrowserContext::new(id, forwarder));
        contexts.insert(key, Arc::clone(&context));
        self.add_identity(identity.key());
        Ok(context)
    }

    /// Disposes of contexts that were idle for long.
    pub(super) fn dispose_idle(&self) {
        // When locked, `context` disposes of them.
        if let Ok(mut contexts) = self.contexts.try_lock() {
            self.dispose_idle_contexts(&mut contexts, None);
        }
    }

    fn dispose_idle_contexts(
        &self,
        contexts: &mut HashMap<ContextKey, Arc<BrowserContext>>,
        wanted: Option<ContextKey>,
    ) {
        for key in idle_contexts(contexts, wanted) {
            if let Some(context) = contexts.remove(&key) {
                if !contexts.keys().any(|other| other.identity == key.identity) {
                    lock_unpoisoned(&self.identities).remove(&key.identity);
                }
                self.dispose(&context);
            }
        }
    }

    fn dispose(&self, context: &BrowserContext) {
        self.targets.remove_context(&context.id);
        let dispose = target::DisposeBrowserContextParams::new(context.id.clone());
        self.connection.send_with_guard(None, &dispose, Box::new(()));
    }

    /// Asks the browser to exit.
    pub(super) fn request_close(&self) {
        self.connection.send_with_guard(None, &browser::CloseParams::default(), Box::new(()));
    }

    /// Ends the browser and waits until its processes and its folder are gone.
    pub(super) async fn close(&self) {
        // A browser that is dead or hangs does not reply; it is killed below.
        let reply = self.connection.run(None, &browser::CloseParams::default(), CLOSE_LIMIT).await;
        if reply.is_err() || !self.process.wait_for_exit(CLOSE_LIMIT).await {
            self.process.kill();
            if !self.process.wait_for_exit(KILL_LIMIT).await {
                tracing::warn!(pid = self.pid, "could not end the browser");
            }
        }
    }
}

/// Sets a flag when dropped: the browser replied to a command, or has exited.
struct ReplySignal(Arc<AtomicBool>);

impl Drop for ReplySignal {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// From start to the first reply.
const LAUNCH_LIMIT: Duration = Duration::from_secs(20);
/// How long the browser may take to exit by itself.
pub(super) const CLOSE_LIMIT: Duration = Duration::from_secs(3);
const KILL_LIMIT: Duration = Duration::from_secs(15);
/// How often a health probe is sent.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The largest message accepted from the browser: a page of 32 MiB, escaped.
const MAX_MESSAGE: usize = 160 * 1024 * 1024;
