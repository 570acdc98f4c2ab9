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

use super::autoscale::{Autoscaler, LoadSample, TICK};
use super::concurrency::{ConcurrencyLimiter, ConcurrencySlot, max_waiting};
use super::crawl::{Frontier, PageReader};
use super::handle::{RunHandle, snapshot};
use super::host_gate::HostGate;
use super::input::Input;
use super::journal::DiscoveriesReader;
use super::listed::ListedOrigins;
use super::observer::Observers;
use super::output::Output;
use super::queue::{Lease, LeaseId, TaskQueue};
use super::record::Record;
use super::state::RunState;
use super::summary::{Summary, SummaryHeader};
use super::worker::{self, LEASE_DURATION};
use super::writer::{FinishedTask, RecordWriter, WriterHandle};
use super::{RequestHook, feeder, system_status};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fetcher::{Fetcher, HostPacing, Response};
use crate::rate_limit::RobotsPolicy;
use crate::sync::lock_unpoisoned;

/// A batch under way. Dropped, it stops at once; what is finished is kept.
pub struct Run {
    completed: mpsc::Receiver<Completed>,
    handle: RunHandle,
    /// Where it is noted what is done with; none where nothing is handed out.
    writer: Option<WriterHandle>,
    /// What was handed out last: done when the next is asked for.
    unacknowledged: Option<FinishedTask>,
    driver: JoinHandle<Result<Summary>>,
    /// All was handed out.
    is_drained: bool,
}

/// One URL that is done.
#[non_exhaustive]
pub struct Completed {
    /// The URL, as it was given.
    pub url: String,
    /// Its page, or why there is none.
    pub result: Result<Response>,
    finished: Option<FinishedTask>,
}

/// What a run goes by.
pub(super) struct RunConfig {
    pub(super) fetcher: Fetcher,
    pub(super) concurrency: usize,
    pub(super) retry_failed: bool,
    pub(super) fail_status: bool,
    pub(super) robots: RobotsPolicy,
    pub(super) method: Method,
    pub(super) request_hook: Option<Box<RequestHook>>,
    pub(super) observers: Observers,
    /// Records tell the request as it left.
    pub(super) captures_request: bool,
    /// Pages go to whoever holds the run, not to an output.
    pub(super) streams_results: bool,
}

/// A task to be done now.
pub(super) struct ClaimedTask {
    pub(super) slot: ConcurrencySlot,
    pub(super) lease: Lease,
    pub(super) pacing: Option<HostPacing>,
}

/// What the workers share.
pub(super) struct RunContext {
    pub(super) config: RunConfig,
    pub(super) queue: Arc<dyn TaskQueue>,
    pub(super) status: Arc<RunState>,
    pub(super) host_gate: HostGate,
    pub(super) writer: WriterHandle,
    pub(super) page_reader: Arc<PageReader>,
    pub(super) listed: ListedOrigins,
    pub(super) completed: mpsc::Sender<Completed>,
    slots: Arc<ConcurrencyLimiter>,
    /// Held by the one worker that looks for a task.
    claim_lock: tokio::sync::Mutex<()>,
    workers: AtomicUsize,
    /// Workers that have no task.
    idle_workers: AtomicUsize,
    worker_exited: Notify,
    /// The second pass: what fails now has failed.
    is_retry_pass: AtomicBool,
    /// The parent of what its fetches do.
    span: Span,
}

/// What was met before this run, and what of it is still to be done.
pub(super) struct ResumedCrawl {
    pub(super) frontier: Arc<Mutex<Frontier>>,
    pub(super) discoveries: Option<DiscoveriesReader>,
}

impl Run {
    pub(super) fn start(
        plan: RunConfig,
        input: Input,
        output: Option<Output>,
        list: Arc<dyn TaskQueue>,
        status: Arc<RunState>,
        past: ResumedCrawl,
        (sink, reading): (RecordWriter, Arc<PageReader>),
    ) -> Self {
        let (to, completed) = mpsc::channel(plan.concurrency.min(1024));
        let throttle = Autoscaler::new(plan.concurrency);
        let plan_hands_out = plan.streams_results;
        let slots = Arc::new(ConcurrencyLimiter::new(throttle.limit()));
        let span = info_span!(
            "batch",
            rungs.concurrency = plan.concurrency.cast_signed(),
            rungs.attempted = Empty,
            rungs.succeeded = Empty,
            rungs.blocked = Empty,
            rungs.failed = Empty,
        );
        let shared = Arc::new(RunContext {
            host_gate: HostGate::new(plan.fetcher.clone(), Arc::clone(&list)),
            config: plan,
            queue: list,
            status: Arc::clone(&status),
            writer: sink.handle(),
            page_reader: reading,
            listed: ListedOrigins::default(),
            completed: to,
            slots: Arc::clone(&slots),
            claim_lock: tokio::sync::Mutex::default(),
            workers: AtomicUsize::new(0),
            idle_workers: AtomicUsize::new(0),
            worker_exited: Notify::new(),
            is_retry_pass: AtomicBool::new(false),
            span,
        });
        let gauge = Arc::clone(&input.progress);
        let way = plan_hands_out.then(|| sink.handle());
        let heading = SummaryHeader { began: SystemTime::now(), input: input.label().to_owned(), output };
        let driver = tokio::spawn(drive(Arc::clone(&shared), input, past, throttle, sink, heading));
        Self {
            completed,
            handle: RunHandle { status, slots, input_progress: gauge },
            writer: way,
            unacknowledged: None,
            driver,
            is_drained: false,
        }
    }

    /// The next that is done, in the order they are done; `None` when nothing is left. Asking for the next says
    /// that the one before is done with, and a checkpoint notes that then.
    pub async fn next(&mut self) -> Option<Completed> {
        self.acknowledge_last();
        let Some(mut done) = self.completed.recv().await else {
            self.is_drained = true;
            return None;
        };
        self.unacknowledged = done.finished.take();
        Some(done)
    }

    /// What looks at it and stops it from elsewhere.
    #[must_use]
    pub fn handle(&self) -> RunHandle {
        self.handle.clone()
    }

    /// Waits for the end. What would be handed out after this call is not done: with a checkpoint, the next run
    /// does it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when input, output, checkpoint or work list could not be used to the end; what was finished
    /// is kept. [`ErrorKind::Interrupted`] when the runtime ends first.
    pub async fn finish(mut self) -> Result<Summary> {
        self.acknowledge_last();
        // The writer ends when nobody can tell it anything any more.
        if self.writer.take().is_some() && !self.is_drained {
            self.handle.stop(Duration::ZERO);
            self.handle.stop(Duration::ZERO);
            self.completed.close();
        }
        (&mut self.driver).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Interrupted, "the run ended by a fault of this program"))
        })
    }

    /// What was handed out last is done with.
    fn acknowledge_last(&mut self) {
        if let (Some(finished), Some(sink)) = (self.unacknowledged.take(), &self.writer) {
            sink.submit(finished);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.handle.stop(Duration::ZERO);
        self.handle.stop(Duration::ZERO);
    }
}

impl Completed {
    pub(super) fn new(url: String, record: Record, finished: FinishedTask) -> Self {
        Self { url, result: record.into_outcome(), finished: Some(finished) }
    }

    pub(super) fn lease(&self) -> LeaseId {
        self.finished.as_ref().and_then(|finished| finished.lease).unwrap_or(LeaseId(0))
    }
}

impl RunContext {
    /// The next task and a place for it, for a worker that was counted as idle. `None` when nothing is left or the
    /// run stops.
    pub(super) async fn claim(&self) -> Option<ClaimedTask> {
        let next = tokio::select! {
            biased;
            () = self.status.wait_for_stop() => None,
            next = self.lease_next() => match next {
                Ok(next) => next,
                Err(error) => {
                    self.status.fail(error);
                    None
                }
            },
        };
        self.idle_workers.fetch_sub(1, Ordering::Relaxed);
        next
    }

    async fn lease_next(&self) -> Result<Option<ClaimedTask>> {
        let _turn = self.claim_lock.lock().await;
        self.slots.wait_for_capacity().await;
        let Some(lease) = self.queue.lease(1, LEASE_DURATION).await?.pop() else { return Ok(None) };
        let slot = self.slots.acquire();
        let manner = self.host_gate.on_fetch_start(&lease.host, &lease.task.url);
        Ok(Some(ClaimedTask { slot, lease, pacing: manner }))
    }

    /// There is always one worker that looks for a task, until there are as many as may be.
    pub(super) fn ensure_idle_worker(self: &Arc<Self>) {
        let most = self.config.concurrency + max_waiting(self.config.concurrency);
        if self.idle_workers.load(Ordering::Relaxed) == 0 && self.workers.load(Ordering::Relaxed) < most {
            self.spawn_worker();
        }
    }

    fn spawn_worker(self: &Arc<Self>) {
        self.workers.fetch_add(1, Ordering::Relaxed);
        self.mark_idle();
        let counted = WorkerGuard(Arc::clone(self));
        let span = self.span.clone();
        tokio::spawn(async move { worker::run_worker(&counted.0).await }.instrument(span));
    }

    /// A worker has no task.
    pub(super) fn mark_idle(&self) {
        self.idle_workers.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether what may pass is put off to the second pass.
    pub(super) fn should_defer(&self) -> bool {
        self.config.retry_failed && !self.is_retry_pass.load(Ordering::Relaxed)
    }

    /// Waits until the last worker has left.
    async fn wait_for_workers(&self) {
        loop {
            let left = self.worker_exited.notified();
            if self.workers.load(Ordering::Acquire) == 0 {
                return;
            }
            left.await;
        }
    }
}

/// One worker more.
struct WorkerGuard(Arc<RunContext>);

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        self.0.workers.fetch_sub(1, Ordering::Release);
        self.0.worker_exited.notify_one();
    }
}

async fn drive(
    shared: Arc<RunContext>,
    input: Input,
    past: ResumedCrawl,
    throttle: Autoscaler,
    sink: RecordWriter,
    heading: SummaryHeader,
) -> Result<Summary> {
    let (status, slots, gauge) =
        (Arc::clone(&shared.status), Arc::clone(&shared.slots), Arc::clone(&input.progress));
    let frontier = Arc::clone(&past.frontier);
    let reading = {
        let (list, status) = (Arc::clone(&shared.queue), Arc::clone(&status));
        let shared = Arc::downgrade(&shared);
        let runtime = runtime::Handle::current();
        let read = move || {
            feeder::feed(&shared, &status, input, past, &runtime);
            if let Err(error) = runtime.block_on(list.close()) {
                status.fail(error);
            }
        };
        std::thread::Builder::new().name("rungs-input".to_owned()).spawn(read)
    };
    if let Err(cause) = reading {
        status.fail(Error::new(ErrorKind::Io, "a thread could not be started").with_source(cause));
    }
    let watching = tokio::spawn(run_autoscaler(Arc::clone(&shared), throttle));
    run_passes(&shared).await;
    watching.abort();
    let complete = !status.is_stopping();
    if complete {
        status.mark_complete();
    }
    let span = shared.span.clone();
    drop(shared);
    let written = tokio::task::spawn_blocking(move || sink.finish()).await;
    let written = written.unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the writer's thread was lost")));
    let tally = status.counters();
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
    let bounded = lock_unpoisoned(&frontier).limits_reached();
    heading.into_summary(snapshot(&status, &slots, &gauge), bounded, complete, status.is_output_closed())
}

/// The first pass, and the second for what failed in a way that may pass.
async fn run_passes(shared: &Arc<RunContext>) {
    run_pass(shared).await;
    if !shared.config.retry_failed || shared.status.is_stopping() {
        return;
    }
    shared.is_retry_pass.store(true, Ordering::Relaxed);
    match shared.queue.requeue_deferred().await {
        Ok(0) => {}
        Ok(_) => {
            shared.status.deferred.store(0, Ordering::Relaxed);
            shared.slots.set_limit((shared.config.concurrency / 4).max(1));
            run_pass(shared).await;
        }
        Err(error) => shared.status.fail(error),
    }
}

async fn run_pass(shared: &Arc<RunContext>) {
    shared.spawn_worker();
    shared.wait_for_workers().await;
}

/// Adapts the number of places to what they bring.
async fn run_autoscaler(shared: Arc<RunContext>, mut throttle: Autoscaler) {
    let (mut before, mut at) = (shared.status.counters().attempted, Instant::now());
    let (mut memory, mut descriptors) = (None, None);
    for tick in 0_u64.. {
        let due = at + TICK;
        sleep_until(due).await;
        if shared.is_retry_pass.load(Ordering::Relaxed) {
            return;
        }
        let now = Instant::now();
        if tick.is_multiple_of(10) {
            (memory, descriptors) = (system_status::free_memory(), system_status::free_descriptors());
        }
        let done = shared.status.counters().attempted;
        #[expect(clippy::cast_precision_loss, reason = "fetches in a tenth of a second are few")]
        let rate = (done - before) as f64 / (now - at).as_secs_f64();
        let working = shared.slots.working();
        let sample = LoadSample { rate, working, lag: now - due, memory, descriptors };
        shared.slots.set_limit(throttle.update(&sample));
        (before, at) = (done, now);
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl fmt::Debug for Completed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("result", &self.result).finish_non_exhaustive()
    }
}
