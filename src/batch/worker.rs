//! The worker loop: leases a task, fetches it and submits its record.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;
use tracing::Instrument;

use super::concurrency::{ConcurrencySlot, max_waiting};
use super::context::{ClaimedTask, Completed, RunContext};
use super::observer::{FetchRef, Observer as _, Observers};
use super::outcome::TaskOutcome;
use super::queue::Lease;
use super::record::Record;
use super::writer::FinishedTask;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::phase::{FetchObserver, FetchPhase};
use crate::exchange::response::Capture;
use crate::exchange::trace::Attempt;
use crate::exchange::verdict::VerdictKind;
use crate::fetcher::{HostPacing, Response};
use crate::net::is_private_address_error;
use crate::os::sync::lock_unpoisoned;

/// The observer of one task's fetch.
struct TaskObserver {
    context: Arc<RunContext>,
    slot: ConcurrencySlot,
    id: u64,
    lease: Lease,
    pacing: Option<HostPacing>,
    attempts: AtomicU64,
    is_done: AtomicBool,
}

impl TaskObserver {
    fn fetch_ref(&self) -> FetchRef<'_> {
        FetchRef { id: self.id, url: &self.lease.task.url, host: &self.lease.host }
    }

    fn observers(&self) -> &Observers {
        &self.context.config.observers
    }
}

impl FetchObserver for TaskObserver {
    fn on_phase(&self, phase: FetchPhase) {
        self.slot.set_idle(phase.is_waiting());
        self.observers().on_phase(&self.fetch_ref(), phase);
    }

    fn on_attempt(&self, attempt: &Attempt) {
        if self.attempts.fetch_add(1, Ordering::Relaxed) > 0 {
            self.context.status.retries.fetch_add(1, Ordering::Relaxed);
        }
        self.observers().on_attempt(&self.fetch_ref(), attempt);
    }
}

/// Reports the end of the fetch to the host gate, however it ends.
impl Drop for TaskObserver {
    fn drop(&mut self) {
        if let Some(pacing) = &self.pacing {
            self.context.host_gate.on_fetch_end(&self.lease.host, pacing);
        }
        if !self.is_done.load(Ordering::Relaxed) {
            self.observers().on_defer(&self.fetch_ref());
        }
    }
}

/// Spawns a worker if none is idle and the maximum is not reached.
fn ensure_idle_worker(shared: &Arc<RunContext>) {
    let max = shared.config.concurrency + max_waiting(shared.config.concurrency);
    if shared.idle_workers.load(Ordering::Relaxed) == 0 && shared.workers.load(Ordering::Relaxed) < max {
        spawn_worker(shared);
    }
}

/// Spawns a worker.
pub(super) fn spawn_worker(shared: &Arc<RunContext>) {
    shared.workers.fetch_add(1, Ordering::Relaxed);
    shared.mark_idle();
    let guard = WorkerGuard(Arc::clone(shared));
    let span = shared.span.clone();
    tokio::spawn(async move { run_worker(&guard.0).await }.instrument(span));
}

/// Counts one worker until it is dropped.
struct WorkerGuard(Arc<RunContext>);

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        self.0.workers.fetch_sub(1, Ordering::Release);
        self.0.worker_exited.notify_one();
    }
}

/// Runs until no task is left or the run stops.
async fn run_worker(shared: &Arc<RunContext>) {
    while let Some(claimed) = shared.claim().await {
        ensure_idle_worker(shared);
        if let Err(error) = process_task(shared, claimed).await {
            shared.status.fail(error);
        }
        shared.mark_idle();
    }
}

async fn process_task(shared: &Arc<RunContext>, claimed: ClaimedTask) -> Result<()> {
    let ClaimedTask { slot, lease, pacing } = claimed;
    let observer = Arc::new(TaskObserver {
        context: Arc::clone(shared),
        slot,
        id: lease.id.0,
        lease,
        pacing,
        attempts: AtomicU64::new(0),
        is_done: AtomicBool::new(false),
    });
    let lease = &observer.lease;
    let capture = shared.config.captures_request.then(Arc::<Mutex<Capture>>::default);
    observer.observers().on_start(&observer.fetch_ref());
    let outcome = tokio::select! {
        biased;
        () = wait_for_abort(&observer) => return shared.queue.release(lease.id).await,
        outcome = fetch(shared, &observer, capture.as_ref()) => outcome,
    };
    let retryable = is_retryable(&outcome) && may_repeat(shared, &lease.task, &outcome);
    let bytes = outcome.as_ref().map_or(0, |page| page.bytes().len());
    shared.status.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    if retryable && shared.should_defer() {
        shared.status.deferred.fetch_add(1, Ordering::Relaxed);
        return shared.queue.defer(lease.id).await;
    }
    let record = build_record(shared, lease, outcome, capture);
    let outcome = TaskOutcome {
        status: record.record_status(shared.config.fail_status),
        tier: record.tier(),
        is_retryable: retryable,
    };
    observer.is_done.store(true, Ordering::Relaxed);
    observer.observers().on_finish(&observer.fetch_ref(), &record);
    let crawls = shared.page_reader.crawl.is_some();
    let mut finished = FinishedTask {
        lease: Some(lease.id),
        key: lease.key,
        outcome,
        record: None,
        task: crawls.then(|| Box::new(lease.task.clone())),
        discovered: None,
        reservation: None,
    };
    if shared.config.streams_results {
        let record = if crawls { discover_links(shared, &mut finished, record).await? } else { record };
        let done = Completed::new(lease.task.url.clone(), record, finished);
        // The receiver is closed: the task is not finished.
        if let Err(unsent) = shared.completed.send(done).await {
            return shared.queue.release(unsent.0.lease()).await;
        }
        return Ok(());
    }
    // The slot is kept meanwhile, so that slow outputs slow down the fetches.
    finished.reservation = shared.writer.reserve(bytes).await;
    finished.record = Some(Box::new(record));
    shared.writer.submit(finished);
    Ok(())
}

fn build_record(
    shared: &RunContext,
    lease: &Lease,
    outcome: Result<Response>,
    capture: Option<Arc<Mutex<Capture>>>,
) -> Record {
    let mut record = Record::new(&lease.task.url, outcome);
    record.set_capture(capture.map(|capture| std::mem::take(&mut *lock_unpoisoned(&capture))));
    if let Ok(method) = lease.task.effective_method(&shared.config.method) {
        record.set_method(method);
    }
    record
}

/// Extracts the links of a page before its result is returned to the caller.
async fn discover_links(
    shared: &Arc<RunContext>,
    finished: &mut FinishedTask,
    mut record: Record,
) -> Result<Record> {
    let (page_reader, task) = (Arc::clone(&shared.page_reader), finished.task.take());
    let read = tokio::task::spawn_blocking(move || {
        let discovered = page_reader.read(&mut record, task.as_deref());
        (record, discovered)
    });
    let (record, discovered) = read
        .await
        .map_err(|_| Error::new(ErrorKind::Interrupted, "extracting links panicked or was cancelled"))?;
    finished.discovered = discovered;
    Ok(record)
}

/// Fetches the task. A link of a public page is refused if it is at a private address, unless the caller listed it
/// while it was fetched.
async fn fetch(
    shared: &Arc<RunContext>,
    observer: &Arc<TaskObserver>,
    capture: Option<&Arc<Mutex<Capture>>>,
) -> Result<Response> {
    let lease = &observer.lease;
    let requires_public = shared.requires_public(lease)?;
    let outcome = fetch_once(shared, observer, capture, requires_public).await;
    match &outcome {
        Err(error) if requires_public && is_private_address_error(error) && !error.was_sent() => {
            if shared.refuse_link(lease)? {
                outcome
            } else {
                fetch_once(shared, observer, capture, false).await
            }
        }
        _ => outcome,
    }
}

/// The timeout is shorter than the lease.
async fn fetch_once(
    shared: &Arc<RunContext>,
    observer: &Arc<TaskObserver>,
    capture: Option<&Arc<Mutex<Capture>>>,
    requires_public: bool,
) -> Result<Response> {
    let config = &shared.config;
    let (task, common) = (&observer.lease.task, config.request_hook.as_deref());
    let request = task.build_request(&config.fetcher, &config.method, common, &shared.listed)?;
    let fetch_observer: Arc<dyn FetchObserver> = Arc::clone(observer) as Arc<dyn FetchObserver>;
    let request = request.default_robots(config.robots).observer(fetch_observer);
    let request = request.shown_text(shared.page_reader.extracts_text());
    let request = match capture {
        Some(capture) => request.capture_into(Arc::clone(capture)),
        None => request,
    };
    let request = if requires_public { request.public_only() } else { request };
    let fetching = request.send();
    timeout(FETCH_TIMEOUT, fetching).await.unwrap_or_else(|_| {
        let message = format!("the fetch timed out after {FETCH_TIMEOUT:?}, the limit of a batch");
        Err(Error::new(ErrorKind::Timeout, message))
    })
}

/// Completes when this fetch must be aborted: immediately if it only waits, else after the grace period.
async fn wait_for_abort(observer: &TaskObserver) {
    observer.context.status.wait_for_stop().await;
    if !observer.slot.is_idle() {
        observer.context.status.wait_for_abort().await;
    }
}

/// Whether the failure is transient.
fn is_retryable(outcome: &Result<Response>) -> bool {
    match outcome {
        Ok(page) => matches!(page.status().as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504),
        Err(error) => match error.kind() {
            ErrorKind::Proxy | ErrorKind::Browser => true,
            // With a source, robots.txt could not be fetched. Without one, its rules disallow the URL.
            ErrorKind::Robots => std::error::Error::source(error).is_some(),
            // Nothing was sent, or the block is a rate limit or a fault. Other blocks are not transient.
            ErrorKind::Blocked => {
                let last = error.trace().and_then(|trace| trace.attempts().last());
                last.is_none_or(|attempt| match &attempt.verdict {
                    None => true,
                    Some(verdict) => {
                        matches!(
                            verdict.kind,
                            VerdictKind::RateLimit | VerdictKind::ProxyFault | VerdictKind::OriginError
                        )
                    }
                })
            }
            kind => kind.is_retryable(),
        },
    }
}

/// Whether the request may be sent again: its method is safe, it never reached the site, or the target allows it.
fn may_repeat(shared: &RunContext, task: &super::Task, outcome: &Result<Response>) -> bool {
    let Ok(method) = task.effective_method(&shared.config.method) else { return false };
    let was_sent = !outcome.as_ref().is_err_and(|error| {
        let is_unsent = matches!(
            error.kind(),
            ErrorKind::Dns | ErrorKind::Connect | ErrorKind::Proxy | ErrorKind::Robots
        );
        is_unsent && !error.was_sent()
    });
    !was_sent || shared.config.fetcher.may_repeat(&task.url, &method)
}

/// The time limit of one fetch. The rest of the lease is for writing its record.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15 * 60);
