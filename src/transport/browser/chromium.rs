//! One browser process of the pool: its contexts, what it was used for, and how it stands.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chromiumoxide::cdp::browser_protocol::{browser, target};
use tokio::sync::Mutex;

use super::BrowserOptions;
use super::connection::Connection;
use super::context::{COMMAND_LIMIT, Context, spare};
use super::faults::Fault;
use super::forward::Forwarder;
use super::process::{Plan, Process};
use super::switches::{Cast, switches};
use super::targets::{Targets, auto_attach};
use super::wear::Wear;
use super::{display, find};
use crate::error::{Error, Result};
use crate::fingerprint::profile::Browser as Worn;
use crate::kind::ErrorKind;
use crate::lock::lock;
use crate::net::Ways;
use crate::transport::Job;

/// One browser process and what is open in it.
pub(super) struct Chromium {
    pub cast: Cast,
    pub connection: Connection,
    pub targets: Arc<Targets>,
    pub process: Process,
    pub pid: u32,
    pub load: Arc<Load>,
    pub born: Instant,
    stage: std::sync::Mutex<Stage>,
    pulse: std::sync::Mutex<Pulse>,
    /// By the identity's key.
    contexts: Mutex<HashMap<u64, Arc<Context>>>,
    /// The identities that were given a page here, their contexts not disposed of since.
    homes: std::sync::Mutex<HashSet<u64>>,
}

/// What a browser was and is used for.
#[derive(Default)]
pub(super) struct Load {
    /// Pages open now.
    pub open: AtomicUsize,
    /// Pages given out since it was started.
    pub served: AtomicUsize,
    /// What it takes, in bytes, when last looked at; 0 before.
    pub pss: AtomicU64,
}

/// How far a browser is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
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
struct Pulse {
    asked: Option<(Instant, Arc<AtomicBool>)>,
    missed: bool,
    last: Option<Instant>,
}

impl Chromium {
    pub(super) async fn launch(options: &BrowserOptions, cast: Cast) -> Result<Self> {
        let root = rustix::process::geteuid().is_root();
        if root {
            static SAID: std::sync::Once = std::sync::Once::new();
            SAID.call_once(|| tracing::warn!("running as root: the browser runs without its sandbox"));
        }
        let began = Instant::now();
        let connection = Connection::new(MAX_MESSAGE);
        let targets = Arc::new(Targets::default());
        let (for_switches, for_cast) = (options.clone(), cast.clone());
        let plan = Plan {
            executable: find::executable(options.executable.as_deref())?,
            switches: Box::new(move |data| switches(&for_switches, &for_cast, data, root)),
            own_display: options.headful && !display::is_there(),
            scratch_parent: options.scratch_parent.clone(),
            ca_file: options.ca_file.clone(),
        };
        let process = Process::start(plan, connection.clone(), Arc::clone(&targets)).await?;
        let browser = Self {
            cast,
            connection,
            targets,
            pid: process.pid().unwrap_or_default(),
            process,
            load: Arc::default(),
            born: Instant::now(),
            stage: std::sync::Mutex::new(Stage::Serving),
            pulse: std::sync::Mutex::default(),
            contexts: Mutex::default(),
            homes: std::sync::Mutex::default(),
        };
        match browser.greet().await {
            Ok(product) => {
                let took = began.elapsed();
                let span = tracing::Span::current();
                span.record("process.pid", i64::from(browser.pid)).record("rungs.browser", &product);
                tracing::info!(pid = browser.pid, product, ?took, "launched a browser");
                Ok(browser)
            }
            Err(fault) => {
                browser.process.kill();
                browser.process.ended(KILL_LIMIT).await;
                let words = browser.process.last_words();
                let error = Error::new(ErrorKind::Browser, "the browser did not start").with_source(fault);
                Err(if words.is_empty() { error } else { error.with_hint(format!("it said: {words}")) })
            }
        }
    }

    async fn greet(&self) -> Result<String, Fault> {
        let version = self.connection.run(None, &browser::GetVersionParams::default(), LAUNCH_LIMIT).await?;
        self.connection.run(None, &auto_attach(), LAUNCH_LIMIT).await?;
        Ok(version.product)
    }

    /// Whether pages may be opened in it.
    pub(super) fn takes_pages(&self) -> bool {
        self.stage() == Stage::Serving && self.connection.is_alive()
    }

    pub(super) fn stage(&self) -> Stage {
        *lock(&self.stage)
    }

    pub(super) fn set_stage(&self, stage: Stage) {
        *lock(&self.stage) = stage;
    }

    /// Gives it no more pages. It goes when those that are open have ended.
    pub(super) fn retire(&self, reason: &str) {
        let mut stage = lock(&self.stage);
        if *stage == Stage::Serving {
            *stage = Stage::Draining(Instant::now());
            let pages = self.load.served.load(Ordering::Relaxed);
            let open = self.load.open.load(Ordering::Relaxed);
            let pss_mb = self.load.pss.load(Ordering::Relaxed) / 1_000_000;
            tracing::info!(pid = self.pid, reason, pages, open, pss_mb, "recycling a browser");
        }
    }

    /// Asks whether it still answers, every [`PULSE`]. Whether it has been silent for twice `limit`:
    /// once may be us who slept.
    pub(super) fn is_hung(&self, now: Instant, limit: Duration) -> bool {
        let mut pulse = lock(&self.pulse);
        match &pulse.asked {
            Some((_, answered)) if answered.load(Ordering::Relaxed) => {
                (pulse.asked, pulse.missed) = (None, false);
            }
            Some((at, _)) if now.duration_since(*at) < limit / 2 => {}
            Some(_) if pulse.missed => return true,
            Some(_) => (pulse.asked, pulse.missed, pulse.last) = (None, true, None),
            None => {}
        }
        let due = pulse.last.is_none_or(|last| now.duration_since(last) >= PULSE);
        if pulse.asked.is_none() && due {
            let answered = Arc::new(AtomicBool::new(false));
            let tells = Answered(Arc::clone(&answered));
            self.connection.tell(None, &browser::GetVersionParams::default(), Box::new(tells));
            (pulse.asked, pulse.last) = (Some((now, answered)), Some(now));
        }
        false
    }

    /// Whether `identity` has, or is about to have, its context here.
    pub(super) fn is_home(&self, identity: u64) -> bool {
        lock(&self.homes).contains(&identity)
    }

    pub(super) fn welcome(&self, identity: u64) {
        lock(&self.homes).insert(identity);
    }

    /// The context that is this identity's, made on first need.
    pub(super) async fn context(&self, job: Job<'_>, ways: &Arc<Ways>, worn: &Worn) -> Result<Arc<Context>> {
        let identity = job.identity;
        let mut contexts = self.contexts.lock().await;
        self.dispose_spare(&mut contexts, Some(identity.key()));
        if let Some(context) = contexts.get(&identity.key()) {
            if context.is_sound() {
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
        let wear = Wear::of(identity, worn);
        let permission = wear.permission(&id);
        self.targets.dress(&id, wear);
        if let Some(permission) = permission {
            self.connection.run(None, &permission, COMMAND_LIMIT).await?;
        }
        let deny = browser::SetDownloadBehaviorParams {
            browser_context_id: Some(id.clone().into()),
            ..browser::SetDownloadBehaviorParams::new(browser::SetDownloadBehaviorBehavior::Deny)
        };
        self.connection.run(None, &deny, COMMAND_LIMIT).await?;
        let context = Arc::new(Context::new(id, forwarder));
        contexts.insert(identity.key(), Arc::clone(&context));
        self.welcome(identity.key());
        Ok(context)
    }

    /// Disposes of contexts nobody used for long.
    pub(super) fn tidy(&self) {
        // Locked: somebody is about to tidy up himself.
        if let Ok(mut contexts) = self.contexts.try_lock() {
            self.dispose_spare(&mut contexts, None);
        }
    }

    fn dispose_spare(&self, contexts: &mut HashMap<u64, Arc<Context>>, wanted: Option<u64>) {
        for key in spare(contexts, wanted) {
            if let Some(context) = contexts.remove(&key) {
                lock(&self.homes).remove(&key);
                self.dispose(&context);
            }
        }
    }

    fn dispose(&self, context: &Context) {
        self.targets.undress(&context.id);
        let dispose = target::DisposeBrowserContextParams::new(context.id.clone());
        self.connection.tell(None, &dispose, Box::new(()));
    }

    /// Asks it to end.
    pub(super) fn ask_to_close(&self) {
        self.connection.tell(None, &browser::CloseParams::default(), Box::new(()));
    }

    /// Ends it and waits until its processes and its folder are gone.
    pub(super) async fn close(&self) {
        // It may be dead or stuck: asking is a courtesy.
        let asked = self.connection.run(None, &browser::CloseParams::default(), CLOSE_LIMIT).await;
        if asked.is_err() || !self.process.ended(CLOSE_LIMIT).await {
            self.process.kill();
            if !self.process.ended(KILL_LIMIT).await {
                tracing::warn!(pid = self.pid, "the browser could not be ended");
            }
        }
    }
}

/// Says that a command was answered, or that the browser is gone, by being dropped.
struct Answered(Arc<AtomicBool>);

impl Drop for Answered {
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
const PULSE: Duration = Duration::from_secs(1);
/// The largest message taken from the browser: a page of 32 MiB, escaped.
const MAX_MESSAGE: usize = 160 * 1024 * 1024;
