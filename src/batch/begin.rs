//! From settings to a run: what is there already is found out first.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::Batch;
use super::crawl::{Follow, Frontier, Reading};
use super::input::Input;
use super::journal::{self, FindsReader, Journal, Purpose};
use super::output::{Output, Store};
use super::run::{Past, Plan, Run};
use super::sink::{Parts, Sink};
use super::status::Status;
use super::tally::Tally;
use super::work::{Local, WorkList};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;

/// What is on the disk already.
struct Before {
    journal: Option<Journal>,
    store: Option<Box<dyn Store>>,
    tally: Tally,
    frontier: Frontier,
    finds: Option<FindsReader>,
}

pub(super) fn begin(batch: Batch, input: Input, output: Option<Output>) -> Result<Run> {
    let folder = scratch(batch.checkpoint.as_deref());
    let Before { journal, mut store, tally, frontier, finds } =
        open(&batch, &input, output.as_ref(), &folder)?;
    let encoder = output.as_ref().map(Output::encoder);
    if let (Some(store), Some(encoder)) = (&mut store, &encoder)
        && store.position() == 0
        && let Some(prelude) = encoder.prelude()
    {
        store.write(&[prelude])?;
    }
    let list: Arc<dyn WorkList> = match &batch.list {
        Some(list) => Arc::clone(list),
        None => Arc::new(Local::new(&folder)?),
    };
    let status = Arc::new(Status::new(tally));
    let frontier = Arc::new(Mutex::new(frontier));
    let reading = Arc::new(Reading { extract: batch.extract, follow: batch.follow });
    let parts = Parts {
        store,
        encoder,
        reading: Arc::clone(&reading),
        changes: batch.changes,
        journal,
        frontier: Arc::clone(&frontier),
    };
    let sink = Sink::start(parts, Arc::clone(&list), Arc::clone(&status))?;
    let plan = Plan {
        fetcher: batch.fetcher,
        concurrency: batch.concurrency,
        retry_failed: batch.retry_failed,
        fail_status: batch.fail_status,
        robots: batch.robots,
        method: batch.method,
        common: batch.common,
        observer: batch.observer,
        hands_out: output.is_none(),
    };
    let output = output.as_ref().map(Output::label);
    Ok(Run::start(
        plan,
        (input, output, SystemTime::now()),
        list,
        status,
        Past { frontier, finds },
        (sink, reading),
    ))
}

/// Finds out what earlier runs did, and cuts the output back to what they committed.
fn open(batch: &Batch, input: &Input, output: Option<&Output>, folder: &Path) -> Result<Before> {
    let frontier = Frontier::new(folder, batch.follow.clone());
    let Some(path) = &batch.checkpoint else {
        let store = output.map(|output| output.open(None).map(|(store, _)| store)).transpose()?;
        return Ok(Before { journal: None, store, tally: Tally::default(), frontier, finds: None });
    };
    let purpose = Purpose {
        input: input.label().to_owned() + &batch.follow.as_ref().map(Follow::label).unwrap_or_default(),
        output: output.map_or_else(|| "none".to_owned(), Output::label),
        format: output.map_or_else(|| "none".to_owned(), |output| output.format().to_string()),
    };
    let (mut journal, found) = Journal::open(path, &purpose)?;
    let unread = |cause| journal::at(path, "could not be read", cause);
    if found.torn > 0 {
        tracing::warn!(bytes = found.torn, "the checkpoint's last entry was half written; it is cut off");
    }
    if found.rebooted {
        tracing::warn!(
            "the machine stopped during the last run; what had not reached the disk is done again"
        );
    }
    let mut state = found.state;
    if let (Some(len), Some(output)) = (state.replacing, output) {
        // The file was whole and named so; all that may be missing is its new name, or that this is written down.
        output.replace(&state.passing)?;
        journal.replaced(len).map_err(unread)?;
        state.replaced(len);
    }
    let store = match output {
        None => None,
        Some(output) => {
            let (store, opened) = output.open(Some(state.position))?;
            if opened.cut > 0 {
                tracing::warn!(
                    cut = opened.cut,
                    "the output went on behind what the checkpoint knows; that is cut off and done again"
                );
            }
            Some(store)
        }
    };
    let mut before = Before { journal: None, store, tally: state.tally, frontier, finds: None };
    if batch.retry_failed
        && state.tally.may_pass > 0
        && let Some(output) = output
    {
        before.store = None;
        let len = output.without(&state.passing, state.position)?;
        journal.replacing(len).map_err(unread)?;
        output.replace(&state.passing)?;
        journal.replaced(len).map_err(unread)?;
        state.replaced(len);
        before.store = Some(output.open(Some(len))?.0);
        before.tally = state.tally;
    }
    let passing = !(batch.retry_failed && output.is_none());
    if !passing {
        before.tally.forget_passing();
    }
    journal.each(passing, |entry| before.frontier.insert(entry.key).map(drop)).map_err(unread)?;
    if batch.follow.is_some() {
        before.finds = Some(journal.finds()?);
    }
    before.journal = Some(journal);
    Ok(before)
}

/// Where files without a name go: beside the checkpoint, which has room, or with the system's others.
fn scratch(checkpoint: Option<&Path>) -> PathBuf {
    let Some(path) = checkpoint else { return std::env::temp_dir() };
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => folder.to_owned(),
        None => PathBuf::from("."),
    }
}

/// What is wrong with an input's line is the line's own failure.
pub(super) fn bad(message: &str) -> Error {
    Error::new(ErrorKind::InvalidUrl, message)
}
