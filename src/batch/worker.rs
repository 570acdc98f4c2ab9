//! One worker: leases a task, fetches it, gives its record away, and begins anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::journal::Outcome;
use super::observer::{Fetch, Observer as _, Observers};
use super::record::{Ending, Record};
use super::run::{Done, Job, Shared};
use super::sink::Finished;
use super::slots::Slot;
use super::work::Lease;
use crate::error::{Error, Result};
use crate::fetcher::{Manner, Page};
use crate::kind::ErrorKind;
use crate::stage::{Stage, Watch};
use crate::trace::Attempt;
use crate::verdict::VerdictKind;

/// What one fetch is watched by.
struct Watcher {
    shared: Arc<Shared>,
    slot: Slot,
    id: u64,
    lease: Lease,
    manner: Option<Manner>,
    attempts: AtomicU64,
    is_done: AtomicBool,
}

impl Watcher {
    fn fetch(&self) -> Fetch<'_> {
        Fetch { id: self.id, url: &self.lease.task.url, host: &self.lease.host }
    }

    fn observer(&self) -> &Observers {
        &self.shared.plan.observer
    }
}

impl Watch for Watcher {
    fn stage(&self, stage: Stage) {
        self.slot.idle(stage.is_idle());
        self.observer().stage(&self.fetch(), stage);
    }

    fn attempted(&self, attempt: &Attempt) {
        if self.attempts.fetch_add(1, Ordering::Relaxed) > 0 {
            self.shared.status.retries.fetch_add(1, Ordering::Relaxed);
        }
        self.observer().attempted(&self.fetch(), attempt);
    }
}

/// However a fetch ends, its host is told.
impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(manner) = &self.manner {
            self.shared.hosts.ended(&self.lease.host, manner);
        }
        if !self.is_done.load(Ordering::Relaxed) {
            self.observer().put_off(&self.fetch());
        }
    }
}

/// Works until nothing is left or the run stops.
pub(super) async fn work(shared: &Arc<Shared>) {
    while let Some(job) = shared.next().await {
        shared.more_workers();
        if let Err(error) = one(shared, job).await {
            shared.status.fail(error);
        }
        shared.idles();
    }
}

async fn one(shared: &Arc<Shared>, job: Job) -> Result<()> {
    let Job { slot, lease, manner } = job;
    let watcher = Arc::new(Watcher {
        shared: Arc::clone(shared),
        slot,
        id: lease.id.0,
        lease,
        manner,
        attempts: AtomicU64::new(0),
        is_done: AtomicBool::new(false),
    });
    let lease = &watcher.lease;
    watcher.observer().begun(&watcher.fetch());
    let outcome = tokio::select! {
        biased;
        () = cut(&watcher) => return shared.list.release(lease.id).await,
        outcome = fetched(shared, &watcher) => outcome,
    };
    let may_pass = may_pass(&outcome) && may_repeat(shared, &lease.task, &outcome);
    let bytes = outcome.as_ref().map_or(0, |page| page.bytes().len());
    shared.status.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    if may_pass && shared.puts_off() {
        shared.status.put_off.fetch_add(1, Ordering::Relaxed);
        return shared.list.bury(lease.id).await;
    }
    let mut record = Record::new(&lease.task.url, outcome);
    if let Ok(method) = lease.task.asked_by(&shared.plan.method) {
        record.asked_by(method);
    }
    let outcome = Outcome { ending: record.ending(shared.plan.fail_status), tier: record.tier(), may_pass };
    watcher.is_done.store(true, Ordering::Relaxed);
    watcher.observer().ended(&watcher.fetch(), &record);
    let crawls = shared.reading.follow.is_some();
    let mut finished = Finished {
        lease: Some(lease.id),
        key: lease.key,
        outcome,
        record: None,
        task: crawls.then(|| Box::new(lease.task.clone())),
        found: None,
        room: None,
    };
    if shared.plan.hands_out {
        let record = if crawls { followed(shared, &mut finished, record).await? } else { record };
        let done = Done::new(lease.task.url.clone(), record, finished);
        // Nobody takes it any more: then it is not done.
        if let Err(unwanted) = shared.done.send(done).await {
            return shared.list.release(unwanted.0.lease()).await;
        }
        return Ok(());
    }
    // The place is kept meanwhile: who cannot write does not fetch.
    finished.room = shared.sink.room(bytes).await;
    finished.record = Some(Box::new(record));
    shared.sink.give(finished);
    Ok(())
}

/// Looks where a page leads before it is handed out.
async fn followed(shared: &Arc<Shared>, finished: &mut Finished, mut record: Record) -> Result<Record> {
    let (reading, task) = (Arc::clone(&shared.reading), finished.task.take());
    let read = tokio::task::spawn_blocking(move || {
        let found = reading.of(&mut record, task.as_deref());
        (record, found)
    });
    let (record, found) = read.await.map_err(|_| {
        Error::new(ErrorKind::Interrupted, "a page could not be read for its links: the program ends")
    })?;
    finished.found = found;
    Ok(record)
}

/// The fetch, which is over before its lease is.
async fn fetched(shared: &Arc<Shared>, watcher: &Arc<Watcher>) -> Result<Page> {
    let plan = &shared.plan;
    let (task, common) = (&watcher.lease.task, plan.common.as_deref());
    let request = task.request(&plan.fetcher, &plan.method, common, &shared.listed)?;
    let watch: Arc<dyn Watch> = Arc::clone(watcher) as Arc<dyn Watch>;
    let request = request.robots_otherwise(plan.robots).watch(watch).tell_sent(plan.tells_sent);
    let fetching = request.send();
    timeout(LONGEST, fetching).await.unwrap_or_else(|_| {
        let message = format!("the fetch took longer than {LONGEST:?}");
        Err(Error::new(ErrorKind::Timeout, message))
    })
}

/// Ends when this fetch is to be broken off: one that only waits at once, another after a while.
async fn cut(watcher: &Watcher) {
    watcher.shared.status.stopping().await;
    if !watcher.slot.is_idle() {
        watcher.shared.status.cut().await;
    }
}

/// Whether the same fetch may go better a while later.
fn may_pass(outcome: &Result<Page>) -> bool {
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
fn may_repeat(shared: &Shared, task: &super::Task, outcome: &Result<Page>) -> bool {
    let Ok(method) = task.asked_by(&shared.plan.method) else { return false };
    let was_sent = !outcome.as_ref().is_err_and(|error| {
        matches!(error.kind(), ErrorKind::Dns | ErrorKind::Connect | ErrorKind::Proxy | ErrorKind::Robots)
    });
    !was_sent || shared.plan.fetcher.may_repeat(&task.url, &method)
}

/// What became of a line that is no task.
pub(super) const BAD: Outcome = Outcome { ending: Ending::Failed, tier: None, may_pass: false };

/// How long a task is leased.
pub(super) const LEASE: Duration = Duration::from_secs(20 * 60);
/// How long a fetch may take: it is over, and written, before its lease is.
const LONGEST: Duration = Duration::from_secs(15 * 60);
