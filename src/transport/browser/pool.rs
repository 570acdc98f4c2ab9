//! The browsers that are running, and the queue in front of them: first come, first served.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::field::Empty;
use tracing::{Instrument, info_span};

use super::BrowserOptions;
use super::chromium::{Chromium, Usage};
use super::scheduler::{BrowserCandidate, Placement, PoolLimits, WaitReason, choose};
use super::switches::ProcessKey;
use super::{memory_usage, supervisor};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::sync::lock_unpoisoned;

/// The browsers of one tier. Starts none before it must; dropping it ends them all and waits for it.
pub(super) struct BrowserPool(Arc<PoolInner>);

/// What the pool, its keeper and the starts under way share.
pub(super) struct PoolInner {
    pub options: BrowserOptions,
    pub limits: PoolLimits,
    page_count: Arc<PageCount>,
    /// Whoever holds it is next. Fair.
    queue_lock: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    browsers: Vec<Arc<Chromium>>,
    starting: usize,
    waiting: usize,
    /// Goes up when all are closed: what was started before is not kept.
    epoch: u64,
    is_supervised: bool,
    /// A start failed while others were running: not again before then.
    retry_launch_at: Option<Instant>,
    /// What the fetch at the door waits for.
    wait_reason: Option<WaitReason>,
}

/// The pages open in all browsers, and word that something changed.
struct PageCount {
    open: AtomicUsize,
    changed: watch::Sender<()>,
}

/// Leave to open one page in a browser.
pub(super) struct PageLease {
    pub browser: Arc<Chromium>,
    pub permit: PagePermit,
    /// How many pages the browser was asked for, this one included.
    pub served: usize,
    /// It was running before this page was asked for.
    pub reused: bool,
}

/// One open page's share of the bounds; let go of when dropped.
pub(super) struct PagePermit {
    usage: Arc<Usage>,
    page_count: Arc<PageCount>,
}

impl BrowserPool {
    pub(super) fn new(options: BrowserOptions) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let limits = PoolLimits::new(&options.pool, cores, memory_usage::available());
        let gate = Arc::new(PageCount { open: AtomicUsize::new(0), changed: watch::Sender::new(()) });
        let (door, state) = (tokio::sync::Mutex::default(), Mutex::default());
        Self(Arc::new(PoolInner { options, limits, page_count: gate, queue_lock: door, state }))
    }

    /// Leave to open a page for `identity` in a browser that plays `cast`, once it is this fetch's turn and there is room. Dropping
    /// the future leaves the queue. `again`: it had its turn, and is not turned away now.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when too many wait or no browser can be started, [`ErrorKind::Timeout`]
    /// when no page became free in time.
    pub(super) async fn acquire(&self, identity: u64, cast: &ProcessKey, again: bool) -> Result<PageLease> {
        let asked = Instant::now();
        let _waiting = self.0.enqueue(again)?;
        let patience = self.0.options.pool.queue_timeout;
        let turn = tokio::time::timeout(patience, self.0.wait_for_page(identity, cast, asked));
        turn.await.unwrap_or_else(|_| Err(self.0.timeout_error()))
    }

    /// Ends all browsers and waits until their processes and folders are gone.
    pub(super) async fn close(&self) {
        let browsers = self.0.take_all();
        join_all(browsers.iter().map(|browser| browser.close())).await;
    }

    /// The browsers that run now.
    #[cfg(test)]
    pub(super) fn browsers(&self) -> Vec<Arc<Chromium>> {
        self.0.browsers()
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().waiting
    }
}

impl Drop for BrowserPool {
    fn drop(&mut self) {
        let browsers = self.0.take_all();
        for browser in &browsers {
            browser.process.kill();
        }
        for browser in &browsers {
            // The keeper may hold one for a moment: its own drop is not enough.
            browser.process.wait_blocking();
        }
    }
}

impl PoolInner {
    fn enqueue(self: &Arc<Self>, again: bool) -> Result<QueuedFetch> {
        let mut state = self.lock();
        let all = state.waiting + self.page_count.open.load(Ordering::Relaxed);
        let most = self.limits.pages.saturating_add(self.options.pool.queue);
        if !again && all >= most {
            let message = format!("the browser tier is full: {} fetches wait for a page", state.waiting);
            return Err(Error::new(ErrorKind::Browser, message)
                .with_hint("fetch fewer at once, or allow more to wait (`browser_queue`)"));
        }
        state.waiting += 1;
        Ok(QueuedFetch(Arc::clone(self)))
    }

    async fn wait_for_page(
        self: &Arc<Self>,
        identity: u64,
        cast: &ProcessKey,
        asked: Instant,
    ) -> Result<PageLease> {
        let _door = self.queue_lock.lock().await;
        let mut changed = self.page_count.changed.subscribe();
        let mut start: Option<JoinHandle<Result<()>>> = None;
        loop {
            changed.mark_unchanged();
            match self.try_acquire(identity, cast, asked, start.is_none()) {
                Ok(seat) => return Ok(seat),
                Err(Placement::Launch) => start = Some(self.launch(cast)),
                Err(_) => {}
            }
            tokio::select! {
                ended = wait_for_launch(&mut start) => {
                    start = None;
                    ended?;
                }
                // The gate is ours as well: it does not close.
                _ = changed.changed() => {}
                () = tokio::time::sleep(MEMORY_POLL) => {}
            }
        }
    }

    /// A seat, or what to do for want of one.
    fn try_acquire(
        self: &Arc<Self>,
        identity: u64,
        cast: &ProcessKey,
        asked: Instant,
        may_start: bool,
    ) -> Result<PageLease, Placement> {
        let available = memory_usage::available();
        let mut state = self.lock();
        let all = state.browsers.iter().filter(|browser| browser.is_serving());
        let (serving, others): (Vec<_>, Vec<_>) = all.partition(|browser| browser.process_key == *cast);
        let candidates: Vec<BrowserCandidate> = serving
            .iter()
            .map(|browser| BrowserCandidate {
                open: browser.usage.open.load(Ordering::Relaxed),
                has_identity: browser.has_identity(identity),
            })
            .collect();
        let open = self.page_count.open.load(Ordering::Relaxed);
        let next = match choose(&self.limits, &candidates, others.len(), open, state.starting, available) {
            Placement::Take(index) => return Ok(self.lease_page(serving[index], identity, asked)),
            Placement::Launch
                if !may_start || state.retry_launch_at.is_some_and(|rest| rest > Instant::now()) =>
            {
                Placement::Wait(WaitReason::Pages)
            }
            Placement::Replace => {
                // Whoever has a page in it keeps it; the process ends with the last one.
                if let Some(other) =
                    others.iter().min_by_key(|other| other.usage.open.load(Ordering::Relaxed))
                {
                    other.retire("room for another identity");
                }
                self.notify();
                Placement::Wait(WaitReason::Pages)
            }
            next => next,
        };
        state.wait_reason = if let Placement::Wait(why) = next { Some(why) } else { None };
        if next == Placement::Launch {
            state.starting += 1;
        }
        Err(next)
    }

    fn lease_page(&self, browser: &Arc<Chromium>, identity: u64, asked: Instant) -> PageLease {
        browser.add_identity(identity);
        self.page_count.open.fetch_add(1, Ordering::Relaxed);
        browser.usage.open.fetch_add(1, Ordering::Relaxed);
        let served = browser.usage.served.fetch_add(1, Ordering::Relaxed) + 1;
        if served >= self.options.pool.recycle_pages {
            browser.retire("pages");
        }
        PageLease {
            permit: PagePermit {
                usage: Arc::clone(&browser.usage),
                page_count: Arc::clone(&self.page_count),
            },
            served,
            reused: browser.started_at < asked,
            browser: Arc::clone(browser),
        }
    }

    /// Starts a browser on a task of its own: who waits for it may go, or be served elsewhere first.
    fn launch(self: &Arc<Self>, cast: &ProcessKey) -> JoinHandle<Result<()>> {
        let starting = LaunchGuard(Arc::clone(self));
        let (epoch, cast) = (self.lock().epoch, cast.clone());
        let span = info_span!("browser_launch", process.pid = Empty, rungs.browser = Empty);
        let launching = async move {
            let shared = &starting.0;
            match Chromium::launch(&shared.options, cast).await {
                Ok(browser) => {
                    shared.add(Arc::new(browser), epoch).await;
                    Ok(())
                }
                Err(error) => {
                    let mut state = shared.lock();
                    if !state.browsers.iter().any(|browser| browser.is_serving()) {
                        return Err(error);
                    }
                    state.retry_launch_at = Some(Instant::now() + LAUNCH_RETRY_DELAY);
                    tracing::warn!(cause = error.chain(), "could not start another browser");
                    Ok(())
                }
            }
        };
        tokio::spawn(launching.instrument(span))
    }

    async fn add(self: &Arc<Self>, browser: Arc<Chromium>, epoch: u64) {
        let (closed, unkept) = {
            let mut state = self.lock();
            let closed = state.epoch != epoch;
            if !closed {
                state.browsers.push(Arc::clone(&browser));
            }
            (closed, !closed && !std::mem::replace(&mut state.is_supervised, true))
        };
        if closed {
            browser.close().await;
        } else if unkept && let Err(cause) = supervisor::start(Arc::downgrade(self)) {
            self.lock().is_supervised = false;
            tracing::warn!(%cause, "no thread to look after the browsers with");
        }
    }

    pub(super) fn browsers(&self) -> Vec<Arc<Chromium>> {
        self.lock().browsers.clone()
    }

    /// Forgets a browser that has ended.
    pub(super) fn remove(&self, pid: u32) {
        self.lock().browsers.retain(|browser| browser.pid != pid);
        self.notify();
    }

    /// Tells who waits to look again.
    pub(super) fn notify(&self) {
        self.page_count.changed.send_replace(());
    }

    /// Whether the keeper may go: there is nothing to look after, and the next start begins one anew.
    pub(super) fn stop_supervision(&self) -> bool {
        let mut state = self.lock();
        let idle = state.browsers.is_empty();
        state.is_supervised = !idle;
        idle
    }

    fn take_all(&self) -> Vec<Arc<Chromium>> {
        let mut state = self.lock();
        state.epoch += 1;
        std::mem::take(&mut state.browsers)
    }

    fn timeout_error(&self) -> Error {
        let why = self.lock().wait_reason;
        let error = Error::new(ErrorKind::Timeout, "no page of the browser became free in time");
        match why {
            Some(WaitReason::Memory) => error.with_hint("memory is short: free some, or fetch fewer at once"),
            _ => error.with_hint("fetch fewer at once, or allow more pages (`--browser-pages`)"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock_unpoisoned(&self.state)
    }
}

impl Drop for PagePermit {
    fn drop(&mut self) {
        self.usage.open.fetch_sub(1, Ordering::Relaxed);
        self.page_count.open.fetch_sub(1, Ordering::Relaxed);
        self.page_count.changed.send_replace(());
    }
}

/// A fetch in the queue; leaves it when dropped.
struct QueuedFetch(Arc<PoolInner>);

impl Drop for QueuedFetch {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

/// A browser on its way; over when dropped.
struct LaunchGuard(Arc<PoolInner>);

impl Drop for LaunchGuard {
    fn drop(&mut self) {
        self.0.lock().starting -= 1;
        self.0.notify();
    }
}

/// The end of a start, if one is under way.
async fn wait_for_launch(start: &mut Option<JoinHandle<Result<()>>>) -> Result<()> {
    match start {
        Some(start) => start.await.map_err(|cause| {
            Error::new(ErrorKind::Browser, "could not start the browser").with_source(cause)
        })?,
        None => std::future::pending().await,
    }
}

/// Memory tells nobody when there is more of it.
const MEMORY_POLL: Duration = Duration::from_millis(250);
/// How long after a failed start another one is tried while other browsers serve.
const LAUNCH_RETRY_DELAY: Duration = Duration::from_secs(5);
