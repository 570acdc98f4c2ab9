//! One worker: leases a task, fetches it, gives its record away, and begins anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::concurrency::ConcurrencySlot;
use super::journal::TaskOutcome;
use super::observer::{FetchRef, Observer as _, Observers};
use super::queue::Lease;
use super::record::{Record, RecordStatus};
use super::run::{ClaimedTask, Completed, RunContext};
use super::writer::FinishedTask;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fetcher::{HostPacing, Response};
use crate::phase::{FetchObserver, FetchPhase};
use crate::trace::Attempt;
use crate::verdict::VerdictKind;

/// What one fetch is watched by.
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
    fn on_phase(&self, stage: FetchPhase) {
        self.slot.set_idle(stage.is_waiting());
        self.observers().on_phase(&self.fetch_ref(), stage);
    }

    fn on_attempt(&self, attempt: &Attempt) {
        if self.attempts.fetch_add(1, Ordering::Relaxed) > 0 {
            self.context.status.retries.fetch_add(1, Ordering::Relaxed);
        }
        self.observers().on_attempt(&self.fetch_ref(), attempt);
    }
}

/// However a fetch ends, its host is told.
impl Drop for TaskObserver {
    fn drop(&mut self) {
        if let Some(manner) = &self.pacing {
            self.context.host_gate.on_fetch_end(&self.lease.host, manner);
        }
        if !self.is_done.load(Ordering::Relaxed) {
            self.observers().on_defer(&self.fetch_ref());
        }
    }
}

/// Works until nothing is left or the run stops.
pub(super) async fn run_worker(shared: &Arc<RunContext>) {
    while let Some(job) = shared.claim().await {
        shared.ensure_idle_worker();
        if let Err(error) = process_task(shared, job).await {
            shared.status.fail(error);
        }
        shared.mark_idle();
    }
}

async fn process_task(shared: &Arc<RunContext>, job: ClaimedTask) -> Result<()> {
    let ClaimedTask { slot, lease, pacing: manner } = job;
    let watcher = Arc::new(TaskObserver {
        context: Arc::clone(shared),
        slot,
        id: lease.id.0,
        lease,
        pacing: manner,
        attempts: AtomicU64::new(0),
        is_done: AtomicBool::new(false),
    });
    let lease = &watcher.lease;
    watcher.observers().on_start(&watcher.fetch_ref());
    let outcome = tokio::select! {
        biased;
        () = wait_for_abort(&watcher) => return shared.queue.release(lease.id).await,
        outcome = fetch(shared, &watcher) => outcome,
    };
    let may_pass = is_retryable(&outcome) && may_repeat(shared, &lease.task, &outcome);
    let bytes = outcome.as_ref().map_or(0, |page| page.bytes().len());
    shared.status.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    if may_pass && shared.should_defer() {
        shared.status.deferred.fetch_add(1, Ordering::Relaxed);
        return shared.queue.defer(lease.id).await;
    }
    let mut record = Record::new(&lease.task.url, outcome);
    if let Ok(method) = lease.task.effective_method(&shared.config.method) {
        record.set_method(method);
    }
    let outcome = TaskOutcome {
        status: record.record_status(shared.config.fail_status),
        tier: record.tier(),
        is_retryable: may_pass,
    };
    watcher.is_done.store(true, Ordering::Relaxed);
    watcher.observers().on_finish(&watcher.fetch_ref(), &record);
    let crawls = shared.page_reader.crawl.is_some();
    let mut finished = FinishedTask {
        lease: Some(lease.id),
        key: lease.key,
        outcome,
        record: None,
        task: crawls.then(|| Box::new(lease.task.clone())),
        discovered: None,
        permit: None,
    };
    if shared.config.streams_results {
        let record = if crawls { discover_links(shared, &mut finished, record).await? } else { record };
        let done = Completed::new(lease.task.url.clone(), record, finished);
        // Nobody takes it any more: then it is not done.
        if let Err(unwanted) = shared.completed.send(done).await {
            return shared.queue.release(unwanted.0.lease()).await;
        }
        return Ok(());
    }
    // The place is kept meanwhile: who cannot write does not fetch.
    finished.permit = shared.writer.reserve(bytes).await;
    finished.record = Some(Box::new(record));
    shared.writer.submit(finished);
    Ok(())
}

/// Looks where a page leads before it is handed out.
async fn discover_links(
    shared: &Arc<RunContext>,
    finished: &mut FinishedTask,
    mut record: Record,
) -> Result<Record> {
    let (reading, task) = (Arc::clone(&shared.page_reader), finished.task.take());
    let read = tokio::task::spawn_blocking(move || {
        let found = reading.read(&mut record, task.as_deref());
        (record, found)
    });
    let (record, found) = read.await.map_err(|_| {
        Error::new(ErrorKind::Interrupted, "a page could not be read for its links: the program ends")
    })?;
    finished.discovered = found;
    Ok(record)
}

/// The fetch, which is over before its lease is.
async fn fetch(shared: &Arc<RunContext>, watcher: &Arc<TaskObserver>) -> Result<Response> {
    let plan = &shared.config;
    let (task, common) = (&watcher.lease.task, plan.request_hook.as_deref());
    let request = task.build_request(&plan.fetcher, &plan.method, common, &shared.listed)?;
    let watch: Arc<dyn FetchObserver> = Arc::clone(watcher) as Arc<dyn FetchObserver>;
    let request = request.default_robots(plan.robots).observer(watch).capture_request(plan.captures_request);
    let fetching = request.send();
    timeout(FETCH_TIMEOUT, fetching).await.unwrap_or_else(|_| {
        let message = format!("the fetch took longer than {FETCH_TIMEOUT:?}");
        Err(Error::new(ErrorKind::Timeout, message))
    })
}

/// Ends when this fetch is to be broken off: one that only waits at once, another after a while.
async fn wait_for_abort(watcher: &TaskObserver) {
    watcher.context.status.wait_for_stop().await;
    if !watcher.slot.is_idle() {
        watcher.context.status.wait_for_abort().await;
    }
}

/// Whether the same fetch may go better a while later.
fn is_retryable(outcome: &Result<Response>) -> bool {
    match outcome {
        Ok(page) => matches!(page.status().as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504),
        Err(error) => match error.kind() {
            ErrorKind::Proxy | ErrorKind::Browser => true,
            // Rules stay; a robots.txt that could not be had may be had later.
            ErrorKind::Robots => std::error::Error::source(error).is_some(),
            // It was not asked at all, or too often; any other block is meant.
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
        matches!(error.kind(), ErrorKind::Dns | ErrorKind::Connect | ErrorKind::Proxy | ErrorKind::Robots)
    });
    !was_sent || shared.config.fetcher.may_repeat(&task.url, &method)
}

/// What became of a line that is no task.
pub(super) const BAD_LINE_OUTCOME: TaskOutcome =
    TaskOutcome { status: RecordStatus::Failed, tier: None, is_retryable: false };

/// How long a task is leased.
pub(super) const LEASE_DURATION: Duration = Duration::from_secs(20 * 60);
/// How long a fetch may take: it is over, and written, before its lease is.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15 * 60);
