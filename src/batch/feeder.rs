//! Reads the input. New tasks are pushed to the request queue; each invalid line becomes a failed record.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, Weak};

use tokio::runtime;
use url::Url;

use super::context::{Completed, ResumedCrawl, RunContext};
use super::crawl::{Frontier, dedup_error};
use super::input::{Input, InputItem};
use super::journal::DiscoveriesReader;
use super::outcome::BAD_LINE_OUTCOME;
use super::queue::QueuedTask;
use super::record::Record;
use super::state::RunState;
use super::task::TaskKey;
use super::writer::FinishedTask;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::sync::lock_unpoisoned;

/// Reads the input to its end, on a thread that may block.
pub(super) fn feed(
    shared: &Weak<RunContext>,
    status: &RunState,
    mut input: Input,
    resumed: ResumedCrawl,
    runtime: &runtime::Handle,
) {
    let ResumedCrawl { frontier, discoveries } = resumed;
    let mut held = Vec::new();
    if let (Some(discoveries), Some(shared)) = (discoveries, shared.upgrade()) {
        match restore_discoveries(&shared, discoveries, &frontier, runtime) {
            Ok(tasks) => held = tasks,
            Err(error) => status.fail(error),
        }
    }
    while !status.is_stopping() {
        // This call may block forever, so the run may end meanwhile.
        let next = input.next();
        let Some(shared) = shared.upgrade() else { return };
        let read = match next {
            None => break,
            Some(Ok(item)) => enqueue(&shared, item, &frontier, runtime),
            Some(Err(error)) => Err(error),
        };
        if let Err(error) = read {
            status.fail(error);
        }
    }
    if let Some(shared) = shared.upgrade().filter(|_| !held.is_empty())
        && let Err(error) = runtime.block_on(shared.queue.push_discovered(held))
    {
        status.fail(error);
    }
    status.is_input_read.store(true, Ordering::Relaxed);
}

/// Pushes the tasks that earlier runs discovered and did not finish. The lock delays new discoveries until then.
/// Returns those that need the credentials of a listed URL, which the input has.
fn restore_discoveries(
    shared: &RunContext,
    discoveries: DiscoveriesReader,
    frontier: &Mutex<Frontier>,
    runtime: &runtime::Handle,
) -> Result<Vec<QueuedTask>> {
    let mut held = Vec::new();
    let mut frontier = lock_unpoisoned(frontier);
    for frame in discoveries.reopen()? {
        for alias in frame?.aliases {
            frontier.restore_alias(alias).map_err(dedup_error)?;
        }
    }
    for frame in discoveries {
        if shared.status.is_stopping() {
            return Ok(held);
        }
        let discovered = frame?;
        let mut left = Vec::new();
        for task in discovered.tasks {
            left.extend(frontier.restore(task).map_err(dedup_error)?);
        }
        shared.status.read.fetch_add(left.len() as u64, Ordering::Relaxed);
        let (waiting, left) =
            left.into_iter().partition(|queued: &QueuedTask| queued.task.seed_has_credentials);
        held.extend::<Vec<_>>(waiting);
        runtime.block_on(shared.queue.push_discovered(left))?;
    }
    Ok(held)
}

fn enqueue(
    shared: &RunContext,
    item: InputItem,
    frontier: &Mutex<Frontier>,
    runtime: &runtime::Handle,
) -> Result<()> {
    let status = &shared.status;
    let is_new = |key: TaskKey, url: &str, is_listed: bool| {
        let mut frontier = lock_unpoisoned(frontier);
        frontier.admit_listed(key, url, is_listed).map_err(dedup_error)
    };
    let (queued, text, message) = match item {
        InputItem::Queued(queued) => (Ok(*queued), String::new(), String::new()),
        InputItem::Task(task) => {
            let url = task.url.clone();
            match QueuedTask::new(task) {
                Ok(queued) => (Ok(queued), url, String::new()),
                Err(error) => (Err(TaskKey::for_bad_line(url.as_bytes())), url, error.chain()),
            }
        }
        InputItem::BadLine(bad) => (Err(TaskKey::for_bad_line(bad.text.as_bytes())), bad.text, bad.message),
    };
    let is_listed = queued.as_ref().is_ok_and(|queued| queued.task.is_listed());
    let key = match &queued {
        Ok(queued) => {
            // Also for tasks that an earlier run finished: their origins are listed too.
            queued.task.listed_origin().into_iter().for_each(|origin| shared.listed.add(origin));
            if let Ok(url) = Url::parse(&queued.task.url) {
                shared.listed.add_credentials(&url);
            }
            queued.key
        }
        Err(key) => *key,
    };
    if !is_new(key, &text, is_listed)? {
        status.duplicates.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    status.read.fetch_add(1, Ordering::Relaxed);
    match queued {
        Ok(queued) => runtime.block_on(async {
            tokio::select! {
                biased;
                pushed = shared.queue.push(queued) => pushed,
                () = status.wait_for_stop() => Ok(()),
            }
        }),
        Err(key) => {
            tracing::warn!("{message}");
            runtime.block_on(record_bad_line(shared, key, &text, &message));
            Ok(())
        }
    }
}

/// Writes a failed record for a line that is not a task.
async fn record_bad_line(shared: &RunContext, key: TaskKey, text: &str, message: &str) {
    let record = Record::new(text, Err(Error::new(ErrorKind::InvalidUrl, message)));
    let mut finished = FinishedTask::for_bad_line(key, BAD_LINE_OUTCOME);
    if shared.config.streams_results {
        let _ = shared.completed.send(Completed::new(text.to_owned(), record, finished)).await;
        return;
    }
    finished.reservation = shared.writer.reserve(text.len()).await;
    finished.record = Some(Box::new(record));
    shared.writer.submit(finished);
}
