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
use super::admission::{Candidate, Limits, Next, Why, choose};
use super::chromium::{Chromium, Load};
use super::switches::Cast;
use super::{gauge, keeper};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::lock::lock;

/// The browsers of one tier. Starts none before it must; dropping it ends them all and waits for it.
pub(super) struct Pool(Arc<Shared>);

/// What the pool, its keeper and the starts under way share.
pub(super) struct Shared {
    pub options: BrowserOptions,
    pub limits: Limits,
    gate: Arc<Gate>,
    /// Whoever holds it is next. Fair.
    door: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    browsers: Vec<Arc<Chromium>>,
    starting: usize,
    waiting: usize,
    /// Goes up when all are closed: what was started before is not kept.
    epoch: u64,
    kept: bool,
    /// A start failed while others were running: not again before then.
    rest: Option<Instant>,
    /// What the fetch at the door waits for.
    why: Option<Why>,
}

/// The pages open in all browsers, and word that something changed.
struct Gate {
    open: AtomicUsize,
    changed: watch::Sender<()>,
}

/// Leave to open one page in a browser.
pub(super) struct Seat {
    pub browser: Arc<Chromium>,
    pub slot: Slot,
    /// How many pages the browser was asked for, this one included.
    pub served: usize,
    /// It was running before this page was asked for.
    pub reused: bool,
}

/// One open page's share of the bounds; let go of when dropped.
pub(super) struct Slot {
    load: Arc<Load>,
    gate: Arc<Gate>,
}

impl Pool {
    pub(super) fn new(options: BrowserOptions) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let limits = Limits::new(&options.pool, cores, gauge::available());
        let gate = Arc::new(Gate { open: AtomicUsize::new(0), changed: watch::Sender::new(()) });
        let (door, state) = (tokio::sync::Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { options, limits, gate, door, state }))
    }

    /// Leave to open a page for `identity` in a browser that plays `cast`, once it is this fetch's turn and there is room. Dropping
    /// the future leaves the queue. `again`: it had its turn, and is not turned away now.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when too many wait or no browser can be started, [`ErrorKind::Timeout`]
    /// when no page became free in time.
    pub(super) async fn admit(&self, identity: u64, cast: &Cast, again: bool) -> Result<Seat> {
        let asked = Instant::now();
        let _waiting = self.0.enter(again)?;
        let patience = self.0.options.pool.patience;
        let turn = tokio::time::timeout(patience, self.0.turn(identity, cast, asked));
        turn.await.unwrap_or_else(|_| Err(self.0.too_late()))
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

impl Drop for Pool {
    fn drop(&mut self) {
        let browsers = self.0.take_all();
        for browser in &browsers {
            browser.process.kill();
        }
        for browser in &browsers {
            // The keeper may hold one for a moment: its own drop is not enough.
            browser.process.wait();
        }
    }
}

impl Shared {
    fn enter(self: &Arc<Self>, again: bool) -> Result<Waiting> {
        let mut state = self.lock();
        let all = state.waiting + self.gate.open.load(Ordering::Relaxed);
        let most = self.limits.pages.saturating_add(self.options.pool.queue);
        if !again && all >= most {
            let message = format!("the browser tier is full: {} fetches wait for a page", state.waiting);
            return Err(Error::new(ErrorKind::Browser, message)
                .with_hint("fetch fewer at once, or allow more to wait (`browser_queue`)"));
        }
        state.waiting += 1;
        Ok(Waiting(Arc::clone(self)))
    }

    async fn turn(self: &Arc<Self>, identity: u64, cast: &Cast, asked: Instant) -> Result<Seat> {
        let _door = self.door.lock().await;
        let mut changed = self.gate.changed.subscribe();
        let mut start: Option<JoinHandle<Result<()>>> = None;
        loop {
            changed.mark_unchanged();
            match self.next(identity, cast, asked, start.is_none()) {
                Ok(seat) => return Ok(seat),
                Err(Next::Launch) => start = Some(self.start(cast)),
                Err(_) => {}
            }
            tokio::select! {
                ended = ended(&mut start) => {
                    start = None;
                    ended?;
                }
                // The gate is ours as well: it does not close.
                _ = changed.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// A seat, or what to do for want of one.
    fn next(
        self: &Arc<Self>,
        identity: u64,
        cast: &Cast,
        asked: Instant,
        may_start: bool,
    ) -> Result<Seat, Next> {
        let available = gauge::available();
        let mut state = self.lock();
        let all = state.browsers.iter().filter(|browser| browser.takes_pages());
        let (serving, others): (Vec<_>, Vec<_>) = all.partition(|browser| browser.cast == *cast);
        let candidates: Vec<Candidate> = serving
            .iter()
            .map(|browser| Candidate {
                open: browser.load.open.load(Ordering::Relaxed),
                home: browser.is_home(identity),
            })
            .collect();
        let open = self.gate.open.load(Ordering::Relaxed);
        let next = match choose(&self.limits, &candidates, others.len(), open, state.starting, available) {
            Next::Take(index) => return Ok(self.seat(serving[index], identity, asked)),
            Next::Launch if !may_start || state.rest.is_some_and(|rest| rest > Instant::now()) => {
                Next::Wait(Why::Pages)
            }
            Next::Replace => {
                // Whoever has a page in it keeps it; the process ends with the last one.
                if let Some(other) = others.iter().min_by_key(|other| other.load.open.load(Ordering::Relaxed))
                {
                    other.retire("room for another identity");
                }
                self.changed();
                Next::Wait(Why::Pages)
            }
            next => next,
        };
        state.why = if let Next::Wait(why) = next { Some(why) } else { None };
        if next == Next::Launch {
            state.starting += 1;
        }
        Err(next)
    }

    fn seat(&self, browser: &Arc<Chromium>, identity: u64, asked: Instant) -> Seat {
        browser.welcome(identity);
        self.gate.open.fetch_add(1, Ordering::Relaxed);
        browser.load.open.fetch_add(1, Ordering::Relaxed);
        let served = browser.load.served.fetch_add(1, Ordering::Relaxed) + 1;
        if served >= self.options.pool.recycle_pages {
            browser.retire("pages");
        }
        Seat {
            slot: Slot { load: Arc::clone(&browser.load), gate: Arc::clone(&self.gate) },
            served,
            reused: browser.born < asked,
            browser: Arc::clone(browser),
        }
    }

    /// Starts a browser on a task of its own: who waits for it may go, or be served elsewhere first.
    fn start(self: &Arc<Self>, cast: &Cast) -> JoinHandle<Result<()>> {
        let starting = Starting(Arc::clone(self));
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
                    if !state.browsers.iter().any(|browser| browser.takes_pages()) {
                        return Err(error);
                    }
                    state.rest = Some(Instant::now() + REST);
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
            (closed, !closed && !std::mem::replace(&mut state.kept, true))
        };
        if closed {
            browser.close().await;
        } else if unkept && let Err(cause) = keeper::start(Arc::downgrade(self)) {
            self.lock().kept = false;
            tracing::warn!(%cause, "no thread to look after the browsers with");
        }
    }

    pub(super) fn browsers(&self) -> Vec<Arc<Chromium>> {
        self.lock().browsers.clone()
    }

    /// Forgets a browser that has ended.
    pub(super) fn remove(&self, pid: u32) {
        self.lock().browsers.retain(|browser| browser.pid != pid);
        self.changed();
    }

    /// Tells who waits to look again.
    pub(super) fn changed(&self) {
        self.gate.changed.send_replace(());
    }

    /// Whether the keeper may go: there is nothing to look after, and the next start begins one anew.
    pub(super) fn unkeep(&self) -> bool {
        let mut state = self.lock();
        let idle = state.browsers.is_empty();
        state.kept = !idle;
        idle
    }

    fn take_all(&self) -> Vec<Arc<Chromium>> {
        let mut state = self.lock();
        state.epoch += 1;
        std::mem::take(&mut state.browsers)
    }

    fn too_late(&self) -> Error {
        let why = self.lock().why;
        let error = Error::new(ErrorKind::Timeout, "no page of the browser became free in time");
        match why {
            Some(Why::Memory) => error.with_hint("memory is short: free some, or fetch fewer at once"),
            _ => error.with_hint("fetch fewer at once, or allow more pages (`--browser-pages`)"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.open.fetch_sub(1, Ordering::Relaxed);
        self.gate.open.fetch_sub(1, Ordering::Relaxed);
        self.gate.changed.send_replace(());
    }
}

/// A fetch in the queue; leaves it when dropped.
struct Waiting(Arc<Shared>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

/// A browser on its way; over when dropped.
struct Starting(Arc<Shared>);

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.lock().starting -= 1;
        self.0.changed();
    }
}

/// The end of a start, if one is under way.
async fn ended(start: &mut Option<JoinHandle<Result<()>>>) -> Result<()> {
    match start {
        Some(start) => start.await.map_err(|cause| {
            Error::new(ErrorKind::Browser, "could not start the browser").with_source(cause)
        })?,
        None => std::future::pending().await,
    }
}

/// Memory tells nobody when there is more of it.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long after a failed start another one is tried while other browsers serve.
const REST: Duration = Duration::from_secs(5);
