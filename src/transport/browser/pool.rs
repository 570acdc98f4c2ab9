//! The running browsers, and the FIFO queue of fetches that wait for a page.

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
use super::supervisor;
use super::supervisor::{SupervisedPool, SupervisionLimits};
use super::switches::ProcessKey;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::sync::lock_unpoisoned;
use crate::transport::chromium::memory_usage;

/// The browsers of one tier. It starts them on demand; dropping it ends them all and waits until they are gone.
pub(super) struct BrowserPool(Arc<PoolInner>);

/// The state shared by the pool, its supervisor and the launches in progress.
pub(super) struct PoolInner {
    pub options: BrowserOptions,
    pub limits: PoolLimits,
    page_count: Arc<PageCount>,
    /// Held by the fetch at the head of the queue. Fair.
    queue_lock: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    browsers: Vec<Arc<Chromium>>,
    starting: usize,
    waiting: usize,
    /// Incremented when all browsers are closed: a browser launched before that is discarded.
    epoch: u64,
    is_supervised: bool,
    /// Set when a launch failed while other browsers were running: the time of the next launch.
    retry_launch_at: Option<Instant>,
    /// The resource that the fetch at the head of the queue waits for.
    wait_reason: Option<WaitReason>,
}

/// The number of pages open in all browsers, and a notification of changes.
struct PageCount {
    open: AtomicUsize,
    changed: watch::Sender<()>,
}

/// A permit to open one page in a browser.
pub(super) struct PageLease {
    pub browser: Arc<Chromium>,
    pub permit: PagePermit,
    /// Pages leased from this browser so far, this one included.
    pub served: usize,
    /// The browser was running before this page was requested.
    pub reused: bool,
}

/// One open page, counted against the limits until dropped.
pub(super) struct PagePermit {
    usage: Arc<Usage>,
    page_count: Arc<PageCount>,
}

impl BrowserPool {
    pub(super) fn new(options: BrowserOptions) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let limits = PoolLimits::new(&options.pool, cores, memory_usage::available());
        let page_count = Arc::new(PageCount { open: AtomicUsize::new(0), changed: watch::Sender::new(()) });
        let (queue_lock, state) = (tokio::sync::Mutex::default(), Mutex::default());
        Self(Arc::new(PoolInner { options, limits, page_count, queue_lock, state }))
    }

    /// Waits in the queue, then returns a permit to open a page for `identity` in a browser with `key`. Dropping
    /// the future leaves the queue. A fetch that retries (`is_retry`) is accepted even when the queue is full.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when the queue is full or no browser can be started, [`ErrorKind::Timeout`]
    /// when no page became free in time.
    pub(super) async fn acquire(&self, identity: u64, key: &ProcessKey, is_retry: bool) -> Result<PageLease> {
        let requested_at = Instant::now();
        let _waiting = self.0.enqueue(is_retry)?;
        let queue_timeout = self.0.options.pool.queue_timeout;
        let page = tokio::time::timeout(queue_timeout, self.0.wait_for_page(identity, key, requested_at));
        page.await.unwrap_or_else(|_| Err(self.0.timeout_error()))
    }

    /// Ends all browsers and waits until their processes and folders are gone.
    pub(super) async fn close(&self) {
        let browsers = self.0.take_all();
        join_all(browsers.iter().map(|browser| browser.close())).await;
    }

    /// Returns the memory that one page may use by default.
    pub(super) fn page_memory(&self) -> u64 {
        self.0.limits.page_memory
    }

    /// Returns the running browsers.
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
            // The supervisor may hold a reference for a moment, so dropping ours is not enough.
            browser.process.wait_blocking();
        }
    }
}

impl PoolInner {
    fn enqueue(self: &Arc<Self>, is_retry: bool) -> Result<QueuedFetch> {
        let mut state = self.lock();
        let all = state.waiting + self.page_count.open.load(Ordering::Relaxed);
        let max = self.limits.pages.saturating_add(self.options.pool.queue);
        if !is_retry && all >= max {
            let message = format!("the browser queue is full: {} fetches wait for a page", state.waiting);
            return Err(Error::new(ErrorKind::Browser, message)
                .with_hint("lower the concurrency, or allow a longer queue (`browser_queue`)"));
        }
        state.waiting += 1;
        Ok(QueuedFetch(Arc::clone(self)))
    }

    async fn wait_for_page(
        self: &Arc<Self>,
        identity: u64,
        key: &ProcessKey,
        requested_at: Instant,
    ) -> Result<PageLease> {
        let _head_of_queue = self.queue_lock.lock().await;
        let mut changed = self.page_count.changed.subscribe();
        let mut launch: Option<JoinHandle<Result<()>>> = None;
        loop {
            changed.mark_unchanged();
            match self.try_acquire(identity, key, requested_at, launch.is_none()) {
                Ok(lease) => return Ok(lease),
                Err(Placement::Launch) => launch = Some(self.launch(key)),
                Err(_) => {}
            }
            tokio::select! {
                ended = wait_for_launch(&mut launch) => {
                    launch = None;
                    ended?;
                }
                // `self` owns the sender, so the channel does not close.
                _ = changed.changed() => {}
                () = tokio::time::sleep(MEMORY_POLL) => {}
            }
        }
    }

    /// Returns a lease, or the action to take when no page is free.
    fn try_acquire(
        self: &Arc<Self>,
        identity: u64,
        key: &ProcessKey,
        requested_at: Instant,
        may_launch: bool,
    ) -> Result<PageLease, Placement> {
        let available = memory_usage::available();
        let mut state = self.lock();
        let all = state.browsers.iter().filter(|browser| browser.is_serving());
        let (serving, others): (Vec<_>, Vec<_>) = all.partition(|browser| browser.process_key == *key);
        let candidates: Vec<BrowserCandidate> = serving
            .iter()
            .map(|browser| BrowserCandidate {
                open: browser.usage.open.load(Ordering::Relaxed),
                has_identity: browser.has_identity(identity),
            })
            .collect();
        let open = self.page_count.open.load(Ordering::Relaxed);
        let next = match choose(&self.limits, &candidates, others.len(), open, state.starting, available) {
            Placement::Take(index) => return Ok(self.lease_page(serving[index], identity, requested_at)),
            Placement::Launch
                if !may_launch || state.retry_launch_at.is_some_and(|at| at > Instant::now()) =>
            {
                Placement::Wait(WaitReason::Pages)
            }
            Placement::Replace => {
                // Its open pages continue; the process ends with the last one.
                if let Some(other) =
                    others.iter().min_by_key(|other| other.usage.open.load(Ordering::Relaxed))
                {
                    other.retire("needed for another identity");
                }
                self.notify();
                Placement::Wait(WaitReason::Pages)
            }
            next => next,
        };
        state.wait_reason = if let Placement::Wait(reason) = next { Some(reason) } else { None };
        if next == Placement::Launch {
            state.starting += 1;
        }
        Err(next)
    }

    fn lease_page(&self, browser: &Arc<Chromium>, identity: u64, requested_at: Instant) -> PageLease {
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
            reused: browser.started_at < requested_at,
            browser: Arc::clone(browser),
        }
    }

    /// Launches a browser in a separate task, because the waiting fetch may be dropped or get another page first.
    fn launch(self: &Arc<Self>, key: &ProcessKey) -> JoinHandle<Result<()>> {
        let starting = LaunchGuard(Arc::clone(self));
        let (epoch, key) = (self.lock().epoch, key.clone());
        let span = info_span!("browser_launch", process.pid = Empty, rungs.browser = Empty);
        let launching = async move {
            let pool = &starting.0;
            match Chromium::launch(&pool.options, key).await {
                Ok(browser) => {
                    pool.add(Arc::new(browser), epoch).await;
                    Ok(())
                }
                Err(error) => {
                    let mut state = pool.lock();
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
        let (closed, unsupervised) = {
            let mut state = self.lock();
            let closed = state.epoch != epoch;
            if !closed {
                state.browsers.push(Arc::clone(&browser));
            }
            (closed, !closed && !std::mem::replace(&mut state.is_supervised, true))
        };
        if closed {
            browser.close().await;
        } else if unsupervised && let Err(cause) = supervisor::start(Arc::downgrade(self)) {
            self.lock().is_supervised = false;
            tracing::warn!(%cause, "could not start the thread that supervises the browsers");
        }
    }

    fn take_all(&self) -> Vec<Arc<Chromium>> {
        let mut state = self.lock();
        state.epoch += 1;
        std::mem::take(&mut state.browsers)
    }

    fn timeout_error(&self) -> Error {
        let reason = self.lock().wait_reason;
        let limit = self.options.pool.queue_timeout;
        let error = Error::new(
            ErrorKind::Timeout,
            format!("timed out after {limit:?} waiting for a free browser page"),
        );
        match reason {
            Some(WaitReason::Memory) => error.with_hint("free some memory, or lower the concurrency"),
            _ => error.with_hint("lower the concurrency, or allow more pages (`--browser-pages`)"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock_unpoisoned(&self.state)
    }
}

impl SupervisedPool for PoolInner {
    fn supervision_limits(&self) -> SupervisionLimits {
        let options = &self.options.pool;
        SupervisionLimits {
            drain_timeout: options.drain_timeout,
            hang_timeout: options.hang_timeout,
            recycle_age: options.recycle_age,
            recycle_pss: self.limits.recycle_pss,
        }
    }

    fn browsers(&self) -> Vec<Arc<Chromium>> {
        self.lock().browsers.clone()
    }

    fn remove(&self, pid: u32) {
        self.lock().browsers.retain(|browser| browser.pid != pid);
        self.notify();
    }

    fn notify(&self) {
        self.page_count.changed.send_replace(());
    }

    fn stop_supervision(&self) -> bool {
        let mut state = self.lock();
        let idle = state.browsers.is_empty();
        state.is_supervised = !idle;
        idle
    }
}

impl Drop for PagePermit {
    fn drop(&mut self) {
        self.usage.open.fetch_sub(1, Ordering::Relaxed);
        self.page_count.open.fetch_sub(1, Ordering::Relaxed);
        self.page_count.changed.send_replace(());
    }
}

/// A fetch in the queue, until dropped.
struct QueuedFetch(Arc<PoolInner>);

impl Drop for QueuedFetch {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

/// A launch in progress, until dropped.
struct LaunchGuard(Arc<PoolInner>);

impl Drop for LaunchGuard {
    fn drop(&mut self) {
        self.0.lock().starting -= 1;
        self.0.notify();
    }
}

/// Waits for the launch in progress; forever when there is none.
async fn wait_for_launch(launch: &mut Option<JoinHandle<Result<()>>>) -> Result<()> {
    match launch {
        Some(launch) => launch.await.map_err(|cause| {
            Error::new(ErrorKind::Browser, "could not start the browser").with_source(cause)
        })?,
        None => std::future::pending().await,
    }
}

/// How often available memory is checked: the system does not notify.
const MEMORY_POLL: Duration = Duration::from_millis(250);
/// Pause after a failed launch while other browsers are running.
const LAUNCH_RETRY_DELAY: Duration = Duration::from_secs(5);
