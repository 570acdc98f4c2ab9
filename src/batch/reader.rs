//! The reader of the input: what is new goes on the work list, what is no task is a failure of its own.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, Weak};

use tokio::runtime;

use super::begin;
use super::crawl::{Frontier, unkept};
use super::input::{Input, Item};
use super::journal::FindsReader;
use super::record::Record;
use super::run::{Done, Past, Shared};
use super::sink::Finished;
use super::status::Status;
use super::task::Key;
use super::work::Work;
use super::worker::BAD;
use crate::error::Result;
use crate::lock::lock;

/// Reads the input to its end, on a thread that may wait for it.
pub(super) fn read(
    shared: &Weak<Shared>,
    status: &Status,
    mut input: Input,
    past: Past,
    runtime: &runtime::Handle,
) {
    let Past { frontier, finds } = past;
    if let (Some(finds), Some(shared)) = (finds, shared.upgrade())
        && let Err(error) = recall(&shared, finds, &frontier, runtime)
    {
        status.fail(error);
    }
    while !status.is_stopping() {
        // It may wait for ever here, and the run may be over meanwhile.
        let next = input.next();
        let Some(shared) = shared.upgrade() else { return };
        let read = match next {
            None => break,
            Some(Ok(item)) => take(&shared, item, &frontier, runtime),
            Some(Err(error)) => Err(error),
        };
        if let Err(error) = read {
            status.fail(error);
        }
    }
    status.is_read.store(true, Ordering::Relaxed);
}

/// Puts on the list what earlier runs found and did not do. Nothing that is found meanwhile is taken up before.
fn recall(
    shared: &Shared,
    finds: FindsReader,
    frontier: &Mutex<Frontier>,
    runtime: &runtime::Handle,
) -> Result<()> {
    let mut frontier = lock(frontier);
    for finds in finds {
        if shared.status.is_stopping() {
            return Ok(());
        }
        let finds = finds?;
        for alias in finds.aliases {
            frontier.recall_alias(alias).map_err(unkept)?;
        }
        let mut left = Vec::new();
        for task in finds.tasks {
            left.extend(frontier.recall(task).map_err(unkept)?);
        }
        shared.status.read.fetch_add(left.len() as u64, Ordering::Relaxed);
        runtime.block_on(shared.list.found(left))?;
    }
    Ok(())
}

fn take(shared: &Shared, item: Item, frontier: &Mutex<Frontier>, runtime: &runtime::Handle) -> Result<()> {
    let status = &shared.status;
    let is_new = |key: Key, url: &str| {
        let mut frontier = lock(frontier);
        frontier.list(key, url).map_err(unkept)
    };
    let (work, text, message) = match item {
        Item::Work(work) => (Ok(*work), String::new(), String::new()),
        Item::Task(task) => {
            let url = task.url.clone();
            match Work::new(task) {
                Ok(work) => (Ok(work), url, String::new()),
                Err(error) => (Err(Key::of_bad(url.as_bytes())), url, error.chain()),
            }
        }
        Item::Bad(bad) => (Err(Key::of_bad(bad.text.as_bytes())), bad.text, bad.message),
    };
    let key = match &work {
        Ok(work) => {
            // What an earlier run finished is listed too.
            shared.listed.add(&work.task);
            work.key
        }
        Err(key) => *key,
    };
    if !is_new(key, &text)? {
        status.duplicates.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    status.read.fetch_add(1, Ordering::Relaxed);
    match work {
        Ok(work) => runtime.block_on(async {
            tokio::select! {
                biased;
                pushed = shared.list.push(work) => pushed,
                () = status.stopping() => Ok(()),
            }
        }),
        Err(key) => {
            tracing::warn!("{message}");
            runtime.block_on(fail(shared, key, &text, &message));
            Ok(())
        }
    }
}

/// A line that is no task is a failure of its own.
async fn fail(shared: &Shared, key: Key, text: &str, message: &str) {
    let record = Record::new(text, Err(begin::bad(message)));
    let mut finished = Finished::bad(key, BAD);
    if shared.plan.hands_out {
        let _ = shared.done.send(Done::new(text.to_owned(), record, finished)).await;
        return;
    }
    finished.room = shared.sink.room(text.len()).await;
    finished.record = Some(Box::new(record));
    shared.sink.give(finished);
}
