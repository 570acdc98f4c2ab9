//! What the workers of a run share.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use tokio::sync::{Notify, mpsc};
use tracing::Span;
use url::Url;

use super::RequestHook;
use super::concurrency::{ConcurrencyLimiter, ConcurrencySlot};
use super::crawl::{Frontier, PageReader, dedup_error};
use super::host_gate::HostGate;
use super::journal::DiscoveriesReader;
use super::listed::ListedOrigins;
use super::observer::Observers;
use super::queue::{Lease, LeaseId, TaskQueue};
use super::record::Record;
use super::state::RunState;
use super::writer::{FinishedTask, WriterHandle};
use crate::exchange::error::Result;
use crate::exchange::robots_policy::RobotsPolicy;
use crate::fetcher::{Fetcher, HostPacing, Response};
use crate::os::sync::lock_unpoisoned;

/// The result of one URL.
#[non_exhaustive]
pub struct Completed {
    /// The URL, as it was given.
    pub url: String,
    /// Its response, or the error.
    pub result: Result<Response>,
    pub(super) finished: Option<FinishedTask>,
}

/// The settings of a run.
pub(super) struct RunConfig {
    pub(super) fetcher: Fetcher,
    pub(super) concurrency: usize,
    pub(super) retry_failed: bool,
    pub(super) fail_status: bool,
    pub(super) robots: RobotsPolicy,
    pub(super) method: Method,
    pub(super) request_hook: Option<Box<RequestHook>>,
    pub(super) observers: Observers,
    /// Records contain the request as it was sent.
    pub(super) captures_request: bool,
    /// Results are returned by [`Run::next`](super::Run::next) instead of being written to an output.
    pub(super) streams_results: bool,
}

/// A leased task and its concurrency slot.
pub(super) struct ClaimedTask {
    pub(super) slot: ConcurrencySlot,
    pub(super) lease: Lease,
    pub(super) pacing: Option<HostPacing>,
}

/// State shared by the workers.
pub(super) struct RunContext {
    pub(super) config: RunConfig,
    pub(super) queue: Arc<dyn TaskQueue>,
    pub(super) status: Arc<RunState>,
    pub(super) host_gate: HostGate,
    pub(super) writer: WriterHandle,
    pub(super) page_reader: Arc<PageReader>,
    pub(super) listed: ListedOrigins,
    pub(super) frontier: Arc<Mutex<Frontier>>,
    pub(super) completed: mpsc::Sender<Completed>,
    pub(super) slots: Arc<ConcurrencyLimiter>,
    /// Held by the one worker that waits for a task.
    pub(super) claim_lock: tokio::sync::Mutex<()>,
    pub(super) workers: AtomicUsize,
    /// Workers without a task.
    pub(super) idle_workers: AtomicUsize,
    pub(super) worker_exited: Notify,
    /// The retry pass, in which failures are final.
    pub(super) is_retry_pass: AtomicBool,
    /// The parent span of the run's fetches.
    pub(super) span: Span,
}

/// The frontier of earlier runs, and their discoveries that are still to be fetched.
pub(super) struct ResumedCrawl {
    pub(super) frontier: Arc<Mutex<Frontier>>,
    pub(super) discoveries: Option<DiscoveriesReader>,
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
    /// Returns the next task and a slot for it, to a worker that was counted as idle. `None` when no task is left or
    /// the run stops.
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
        let _guard = self.claim_lock.lock().await;
        self.slots.wait_for_capacity().await;
        let Some(lease) = self.queue.lease(1, LEASE_DURATION).await?.pop() else { return Ok(None) };
        let slot = self.slots.acquire();
        let pacing = self.host_gate.on_fetch_start(&lease.host, &lease.task.url);
        Ok(Some(ClaimedTask { slot, lease, pacing }))
    }

    /// Counts a worker without a task.
    pub(super) fn mark_idle(&self) {
        self.idle_workers.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a fetch of the leased task may reach public addresses only: a public site named its URL, and the caller
    /// neither listed it nor allowed its host.
    pub(super) fn requires_public(&self, lease: &Lease) -> Result<bool> {
        let crawl = self.page_reader.crawl.as_ref();
        let host = Url::parse(&lease.task.url).ok().and_then(|url| url.host_str().map(ToOwned::to_owned));
        let is_allowed = crawl.zip(host).is_some_and(|(crawl, host)| crawl.is_allowed_host(&host));
        if !lease.task.requires_public() || is_allowed {
            return Ok(false);
        }
        Ok(!lock_unpoisoned(&self.frontier).is_listed_link(lease.key).map_err(dedup_error)?)
    }

    /// Records that a link was refused because it is at a private address. Returns false if the caller listed it
    /// meanwhile.
    pub(super) fn refuse_link(&self, lease: &Lease) -> Result<bool> {
        lock_unpoisoned(&self.frontier).refuse_link(lease.key).map_err(dedup_error)
    }

    /// Whether retryable failures are deferred to the retry pass.
    pub(super) fn should_defer(&self) -> bool {
        self.config.retry_failed && !self.is_retry_pass.load(Ordering::Relaxed)
    }

    /// Waits until the last worker has exited.
    pub(super) async fn wait_for_workers(&self) {
        loop {
            let exited = self.worker_exited.notified();
            if self.workers.load(Ordering::Acquire) == 0 {
                return;
            }
            exited.await;
        }
    }
}

impl fmt::Debug for Completed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completed").field("result", &self.result).finish_non_exhaustive()
    }
}

/// The duration of a lease.
pub(super) const LEASE_DURATION: Duration = Duration::from_secs(20 * 60);
