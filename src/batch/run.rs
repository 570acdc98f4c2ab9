//! A run: the workers, what they share, and the one that watches over them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::Method;
use tokio::runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};

use super::crawl::{Frontier, Reading};
use super::handle::{Handle, progress};
use super::hosts::Hosts;
use super::input::Input;
use super::journal::FindsReader;
use super::listed::ListedOrigins;
use super::observer::Observers;
use super::output::Output;
use super::record::Record;
use super::sink::{Finished, Sink, Way};
use super::slots::{Slot, Slots, most_waiting};
use super::status::Status;
use super::summary::{Heading, Summary};
use super::throttle::{Sample, TICK, Throttle};
use super::work::{Lease, LeaseId, WorkList};
use super::worker::{self, LEASE};
use super::{Common, gauge, reader};
use crate::error::{Error, Result};
use crate::fetcher::{Fetcher, Manner, Page};
use crate::kind::ErrorKind;
use crate::lock::lock;
use crate::politeness::Robots;

/// A batch under way. Dropped, it stops at once; what is finished is kept.
pub struct Run {
    done: mpsc::Receiver<Done>,
    handle: Handle,
    /// Where it is noted what is done with; none where nothing is handed out.
    sink: Option<Way>,
    /// What was handed out last: done when the next is asked for.
    last: Option<Finished>,
    driver: JoinHandle<Result<Summary>>,
    /// All was handed out.
    is_over: bool,
}

/// One URL that is done.
#[non_exhaustive]
pub struct Done {
    /// The URL, as it was given.
    pub url: String,
    /// Its page, or why there is none.
    pub result: Result<Page>,
    finished: Option<Finished>,
}

/// What a run goes by.
pub(super) struct Plan {
    pub(super) fetcher: Fetcher,
    pub(super) concurrency: usize,
    pub(super) retry_failed: bool,
    pub(super) fail_status: bool,
    pub(super) robots: Robots,
    pub(super) method: Method,
    pub(super) common: Option<Box<Common>>,
    pub(super) observer: Observers,
    /// Records tell the request as it left.
    pub(super) tells_sent: bool,
    /// Pages go to whoever holds the run, not to an output.
    pub(super) hands_out: bool,
}

/// A task to be done now.
pub(super) struct Job {
    pub(super) slot: Slot,
    pub(super) lease: Lease,
    pub(super) manner: Option<Manner>,
}

/// What the workers share.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) list: Arc<dyn WorkList>,
    pub(super) status: Arc<Status>,
    pub(super) hosts: Hosts,
    pub(super) sink: Way,
    pub(super) reading: Arc<Reading>,
    pub(super) listed: ListedOrigins,
    pub(super) done: mpsc::Sender<Done>,
    slots: Arc<Slots>,
    /// Held by the one worker that looks for a task.
    turn: tokio::sync::Mutex<()>,
    workers: AtomicUsize,
    /// Workers that have no task.
    idle: AtomicUsize,
    left: Notify,
    /// The second pass: what fails now has failed.
    is_last_pass: AtomicBool,
    /// The parent of what its fetches do.
    span: Span,
}

/// What was met before this run, and what of it is still to be done.
pub(super) struct Past {
    pub(super) frontier: Arc<Mutex<Frontier>>,
    pub(super) finds: Option<FindsReader>,
}

impl Run {
    pub(super) fn start(
        plan: Plan,
        input: Input,
        output: Option<Output>,
        list: Arc<dyn WorkList>,
        status: Arc<Status>,
        past: Past,
        (sink, reading): (Sink, Arc<Reading>),
    ) -> Self {
        let (to, done) = mpsc::channel(plan.concurrency.min(1024));
        let throttle = Throttle::new(plan.concurrency);
        let plan_hands_out = plan.hands_out;
        let slots = Arc::new(Slots::new(throttle.limit()));
        let span = info_span!(
            "batch",
            rungs.concurrency = plan.concurrency.cast_signed(),
            rungs.attempted = Empty,
            rungs.succeeded = Empty,
            rungs.blocked = Empty,
            rungs.failed = Empty,
        );
        let shared = Arc::new(Shared {
            hosts: Hosts::new(plan.fetcher.clone(), Arc::clone(&list)),
            plan,
            list,
            status: Arc::clone(&status),
            sink: sink.way(),
            reading,
            listed: ListedOrigins::default(),
            done: to,
            slots: Arc::clone(&slots),
            turn: tokio::sync::Mutex::default(),
            workers: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            left: Notify::new(),
            is_last_pass: AtomicBool::new(false),
            span,
        });
        let gauge = Arc::clone(&input.gauge);
        let way = plan_hands_out.then(|| sink.way());
        let heading = Heading { began: SystemTime::now(), input: input.label().to_owned(), output };
        let driver = tokio::spawn(drive(Arc::clone(&shared), input, past, throttle, sink, heading));
        Self { done, handle: Handle { status, slots, gauge }, sink: way, last: None, driver, is_over: false }
    }

    /// The next that is done, in the order they are done; `None` when nothing is left. Asking for the next says
    /// that the one before is done with, and a checkpoint notes that then.
    pub async fn next(&mut self) -> Option<Done> {
        self.note();
        let Some(mut done) = self.done.recv().await else {
            self.is_over = true;
            return None;
        };
        self.last = done.finished.take();
        Some(done)
    }

    /// What looks at it and stops it from elsewhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end. What would be handed out after this call is not done: with a checkpoint, the next run
    /// does it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when input, output, checkpoint or work list could not be used to the end; what was finished
    /// is kept. [`ErrorKind::Interrupted`] when the runtime ends first.
    pub async fn finish(mut self) -> Result<Summary> {
        self.note();
        // The writer ends when nobody can tell it anything any more.
        if self.sink.take().is_some() && !self.is_over {
            self.handle.stop(Duration::ZERO);
            self.handle.stop(Duration::ZERO);
            self.done.close();
        }
        (&mut self.driver).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Interrupted, "the run ended by a fault of this program"))
        })
    }

    /// What was handed out last is done with.
    fn note(&mut self) {
        if let (Some(finished), Some(sink)) = (self.last.take(), &self.sink) {
            sink.give(finished);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.handle.stop(Duration::ZERO);
        self.handle.stop(Duration::ZERO);
    }
}

impl Done {
    pub(super) fn new(url: String, record: Record, finished: Finished) -> Self {
        Self { url, result: record.into_outcome(), finished: Some(finished) }
    }

    pub(super) fn lease(&self) -> LeaseId {
        self.finished.as_ref().and_then(|finished| finished.lease).unwrap_or(LeaseId(0))
    }
}

impl Shared {
    /// The next task and a place for it, for a worker that was counted as idle. `None` when nothing is left or the
    /// run stops.
    pub(super) async fn next(&self) -> Option<Job> {
        let next = tokio::select! {
            biased;
            () = self.status.stopping() => None,
            next = self.leased() => match next {
                Ok(next) => next,
                Err(error) => {
                    self.status.fail(error);
                    None
                }
            },
        };
        self.idle.fetch_sub(1, Ordering::Relaxed);
        next
    }

    async fn leased(&self) -> Result<Option<Job>> {
        let _turn = self.turn.lock().await;
        self.slots.room().await;
        let Some(lease) = self.list.lease(1, LEASE).await?.pop() else { return Ok(None) };
        let slot = self.slots.take();
        let manner = self.hosts.begun(&lease.host, &lease.task.url);
        Ok(Some(Job { slot, lease, manner }))
    }

    /// There is always one worker that looks for a task, until there are as many as may be.
    pub(super) fn more_workers(self: &Arc<Self>) {
        let most = self.plan.concurrency + most_waiting(self.plan.concurrency);
        if self.idle.load(Ordering::Relaxed) == 0 && self.workers.load(Ordering::Relaxed) < most {
            self.another_worker();
        }
    }

    fn another_worker(self: &Arc<Self>) {
        self.workers.fetch_add(1, Ordering::Relaxed);
        self.idles();
        let counted = Counted(Arc::clone(self));
        let span = self.span.clone();
        tokio::spawn(async move { worker::work(&counted.0).await }.instrument(span));
    }

    /// A worker has no task.
    pub(super) fn idles(&self) {
        self.idle.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether what may pass is put off to the second pass.
    pub(super) fn puts_off(&self) -> bool {
        self.plan.retry_failed && !self.is_last_pass.load(Ordering::Relaxed)
    }

    /// Waits until the last worker has left.
    async fn all_left(&self) {
        loop {
            let left = self.left.notified();
            if self.workers.load(Ordering::Acquire) == 0 {
                return;
            }
            left.await;
        }
    }
}

/// One worker more.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.workers.fetch_sub(1, Ordering::Release);
        self.0.left.notify_one();
    }
}

async fn drive(
    shared: Arc<Shared>,
    input: Input,
    past: Past,
    throttle: Throttle,
    sink: Sink,
    heading: Heading,
) -> Result<Summary> {
    let (status, slots, gauge) =
        (Arc::clone(&shared.status), Arc::clone(&shared.slots), Arc::clone(&input.gauge));
    let frontier = Arc::clone(&past.frontier);
    let reading = {
        let (list, status) = (Arc::clone(&shared.list), Arc::clone(&status));
        let shared = Arc::downgrade(&shared);
        let runtime = runtime::Handle::current();
        let read = move || {
            reader::read(&shared, &status, input, past, &runtime);
            if let Err(error) = runtime.block_on(list.close()) {
                status.fail(error);
            }
        };
        std::thread::Builder::new().name("rungs-input".to_owned()).spawn(read)
    };
    if let Err(cause) = reading {
        status.fail(Error::new(ErrorKind::Io, "a thread could not be started").with_source(cause));
    }
    let watching = tokio::spawn(watch(Arc::clone(&shared), throttle));
    passes(&shared).await;
    watching.abort();
    let complete = !status.is_stopping();
    if complete {
        status.complete();
    }
    let span = shared.span.clone();
    drop(shared);
    let written = tokio::task::spawn_blocking(move || sink.finish()).await;
    let written = written.unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the writer's thread was lost")));
    let tally = status.tally();
    for (name, count) in [
        ("rungs.attempted", tally.attempted),
        ("rungs.succeeded", tally.succeeded),
        ("rungs.blocked", tally.blocked),
        ("rungs.failed", tally.failed),
    ] {
        span.record(name, count.cast_signed());
    }
    if let Some(error) = status.take_error() {
        return Err(error);
    }
    written?;
    let bounded = lock(&frontier).bounded();
    heading.summary(progress(&status, &slots, &gauge), bounded, complete, status.is_unwanted())
}

/// The first pass, and the second for what failed in a way that may pass.
async fn passes(shared: &Arc<Shared>) {
    pass(shared).await;
    if !shared.plan.retry_failed || shared.status.is_stopping() {
        return;
    }
    shared.is_last_pass.store(true, Ordering::Relaxed);
    match shared.list.revive().await {
        Ok(0) => {}
        Ok(_) => {
            shared.status.put_off.store(0, Ordering::Relaxed);
            shared.slots.set((shared.plan.concurrency / 4).max(1));
            pass(shared).await;
        }
        Err(error) => shared.status.fail(error),
    }
}

async fn pass(shared: &Arc<Shared>) {
    shared.another_worker();
    shared.all_left().await;
}

/// Adapts the number of places to what they bring.
async fn watch(shared: Arc<Shared>, mut throttle: Throttle) {
    let (mut before, mut at) = (shared.status.tally().attempted, Instant::now());
    let (mut memory, mut descriptors) = (None, None);
    for tick in 0_u64.. {
        let due = at + TICK;
        sleep_until(due).await;
        if shared.is_last_pass.load(Ordering::Relaxed) {
            return;
        }
        let now = Instant::now();
        if tick.is_multiple_of(10) {
            (memory, descriptors) = (gauge::memory(), gauge::descriptors());
        }
        let done = shared.status.tally().attempted;
        #[expect(clippy::cast_precision_loss, reason = "fetches in a tenth of a second are few")]
        let rate = (done - before) as f64 / (now - at).as_secs_f64();
        let working = shared.slots.working();
        let sample = Sample { rate, working, lag: now - due, memory, descriptors };
        shared.slots.set(throttle.next(&sample));
        (before, at) = (done, now);
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("result", &self.result).finish_non_exhaustive()
    }
}
