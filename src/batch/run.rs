//! A run: the workers, their shared context, and the driver task.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::field::Empty;
use tracing::info_span;

use super::autoscale::{Autoscaler, LoadSample, TICK};
use super::concurrency::ConcurrencyLimiter;
use super::context::{Completed, ResumedCrawl, RunConfig, RunContext};
use super::crawl::{PageReader, Trap};
use super::handle::{RunHandle, snapshot};
use super::host_gate::HostGate;
use super::input::Input;
use super::listed::ListedOrigins;
use super::output::Output;
use super::queue::TaskQueue;
use super::state::{Progress, RunState};
use super::summary::Summary;
use super::writer::{FinishedTask, RecordWriter, WriterHandle};
use super::{feeder, system_status, worker};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::sync::lock_unpoisoned;

/// A running batch. Dropping it stops the batch immediately; finished records are kept.
pub struct Run {
    completed: mpsc::Receiver<Completed>,
    handle: RunHandle,
    /// Records acknowledged results. `None` when the run writes to an output.
    writer: Option<WriterHandle>,
    /// The result returned last. The next call of `next` acknowledges it.
    unacknowledged: Option<FinishedTask>,
    driver: JoinHandle<Result<Summary>>,
    /// All results were returned.
    is_drained: bool,
}

impl Run {
    pub(super) fn start(
        config: RunConfig,
        input: Input,
        output: Option<Output>,
        queue: Arc<dyn TaskQueue>,
        status: Arc<RunState>,
        resumed: ResumedCrawl,
        (writer, page_reader): (RecordWriter, Arc<PageReader>),
    ) -> Self {
        let (completed_sender, completed) = mpsc::channel(config.concurrency.min(1024));
        let autoscaler = Autoscaler::new(config.concurrency);
        let streams_results = config.streams_results;
        let slots = Arc::new(ConcurrencyLimiter::new(autoscaler.limit()));
        let span = info_span!(
            "batch",
            rungs.concurrency = config.concurrency.cast_signed(),
            rungs.attempted = Empty,
            rungs.succeeded = Empty,
            rungs.blocked = Empty,
            rungs.failed = Empty,
        );
        let shared = Arc::new(RunContext {
            host_gate: HostGate::new(config.fetcher.clone(), Arc::clone(&queue), config.concurrency),
            config,
            queue,
            status: Arc::clone(&status),
            writer: writer.handle(),
            page_reader,
            listed: ListedOrigins::default(),
            frontier: Arc::clone(&resumed.frontier),
            completed: completed_sender,
            slots: Arc::clone(&slots),
            claim_lock: tokio::sync::Mutex::default(),
            workers: AtomicUsize::new(0),
            idle_workers: AtomicUsize::new(0),
            worker_exited: Notify::new(),
            is_retry_pass: AtomicBool::new(false),
            span,
        });
        let input_progress = Arc::clone(&input.progress);
        let writer_handle = streams_results.then(|| writer.handle());
        let header = SummaryHeader { began: SystemTime::now(), input: input.label().to_owned(), output };
        let driver = tokio::spawn(drive(Arc::clone(&shared), input, resumed, autoscaler, writer, header));
        Self {
            completed,
            handle: RunHandle { status, slots, input_progress },
            writer: writer_handle,
            unacknowledged: None,
            driver,
            is_drained: false,
        }
    }

    /// Returns the next result, in order of completion, or `None` when none is left. The call acknowledges the
    /// previous result: only then does a checkpoint record it.
    pub async fn next(&mut self) -> Option<Completed> {
        self.acknowledge_last();
        let Some(mut done) = self.completed.recv().await else {
            self.is_drained = true;
            return None;
        };
        self.unacknowledged = done.finished.take();
        Some(done)
    }

    /// Returns a handle that reads the progress and stops the run from elsewhere.
    #[must_use]
    pub fn handle(&self) -> RunHandle {
        self.handle.clone()
    }

    /// Waits for the end. Results not yet returned by [`next`](Self::next) are dropped; with a checkpoint, the next
    /// run fetches their URLs.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when input, output, checkpoint or request queue failed; finished records are kept.
    /// [`ErrorKind::Interrupted`] when the runtime shuts down first.
    pub async fn finish(mut self) -> Result<Summary> {
        self.acknowledge_last();
        // The writer ends when the last handle is dropped.
        if self.writer.take().is_some() && !self.is_drained {
            self.handle.stop(Duration::ZERO);
            self.handle.stop(Duration::ZERO);
            self.completed.close();
        }
        (&mut self.driver).await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Interrupted,
                "the task that drives the batch panicked or was cancelled",
            ))
        })
    }

    /// Acknowledges the result returned last.
    fn acknowledge_last(&mut self) {
        if let (Some(finished), Some(writer)) = (self.unacknowledged.take(), &self.writer) {
            writer.submit(finished);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.handle.stop(Duration::ZERO);
        self.handle.stop(Duration::ZERO);
    }
}

/// The parts of a summary that are known at the start.
struct SummaryHeader {
    began: SystemTime,
    input: String,
    output: Option<Output>,
}

impl SummaryHeader {
    /// Creates the summary, and writes it to the output if the format stores summaries.
    ///
    /// # Errors
    /// When the output could not be written.
    fn into_summary(
        self,
        progress: Progress,
        (traps, beyond): (Vec<Trap>, u64),
        complete: bool,
        output_closed: bool,
    ) -> Result<Summary> {
        let summary = Summary {
            version: env!("CARGO_PKG_VERSION"),
            began: self.began,
            elapsed: self.began.elapsed().unwrap_or_default(),
            input: self.input,
            output: self.output.as_ref().map(Output::label),
            progress,
            traps,
            beyond,
            complete: complete && !output_closed,
            output_closed,
        };
        if let Some(output) = &self.output {
            output.write_summary(&summary)?;
        }
        Ok(summary)
    }
}

async fn drive(
    shared: Arc<RunContext>,
    input: Input,
    resumed: ResumedCrawl,
    autoscaler: Autoscaler,
    writer: RecordWriter,
    header: SummaryHeader,
) -> Result<Summary> {
    let (status, slots, input_progress) =
        (Arc::clone(&shared.status), Arc::clone(&shared.slots), Arc::clone(&input.progress));
    let frontier = Arc::clone(&resumed.frontier);
    let input_thread = {
        let (queue, status) = (Arc::clone(&shared.queue), Arc::clone(&status));
        let shared = Arc::downgrade(&shared);
        let runtime = runtime::Handle::current();
        let read = move || {
            feeder::feed(&shared, &status, input, resumed, &runtime);
            if let Err(error) = runtime.block_on(queue.close()) {
                status.fail(error);
            }
        };
        std::thread::Builder::new().name("rungs-input".to_owned()).spawn(read)
    };
    if let Err(cause) = input_thread {
        status.fail(Error::new(ErrorKind::Io, "could not start the input thread").with_source(cause));
    }
    let autoscaling = tokio::spawn(run_autoscaler(Arc::clone(&shared), autoscaler));
    run_passes(&shared).await;
    autoscaling.abort();
    let complete = !status.is_stopping();
    if complete {
        status.mark_complete();
    }
    let page_reader = Arc::clone(&shared.page_reader);
    let span = shared.span.clone();
    drop(shared);
    let written = tokio::task::spawn_blocking(move || writer.finish()).await;
    let written = written.unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the record writer panicked")));
    let counters = status.counters();
    for (name, count) in [
        ("rungs.attempted", counters.attempted),
        ("rungs.succeeded", counters.succeeded),
        ("rungs.blocked", counters.blocked),
        ("rungs.failed", counters.failed),
    ] {
        span.record(name, count.cast_signed());
    }
    if let Some(error) = status.take_error() {
        return Err(error);
    }
    written?;
    page_reader.warn_of_linkless_selectors();
    let limits_reached = lock_unpoisoned(&frontier).limits_reached();
    header.into_summary(
        snapshot(&status, &slots, &input_progress),
        limits_reached,
        complete,
        status.is_output_closed(),
    )
}

/// Runs the first pass, then the retry pass for deferred tasks.
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
    worker::spawn_worker(shared);
    shared.wait_for_workers().await;
}

/// Adapts the concurrency limit to the load.
async fn run_autoscaler(shared: Arc<RunContext>, mut autoscaler: Autoscaler) {
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
        shared.slots.set_limit(autoscaler.update(&sample));
        (before, at) = (done, now);
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("handle", &self.handle).finish_non_exhaustive()
    }
}
