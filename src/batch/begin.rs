//! From settings to a run: what is there already is found out first.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::Batch;
use super::crawl::{Follow, Frontier, Reading};
use super::input::Input;
use super::journal::{self, FindsReader, Journal, Purpose, State};
use super::observer::Observers;
use super::output::{Columns, Format, Output, Store};
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
    let Before { mut journal, mut store, tally, frontier, finds } =
        open(&batch, &input, output.as_ref(), &folder)?;
    let encoder = output.as_ref().map(|output| output.encoder(columns(&batch)));
    if let (Some(store), Some(encoder)) = (&mut store, &encoder)
        && store.position() == 0
        && let Some(prelude) = encoder.prelude()
    {
        store.write(&[prelude])?;
        if let Some(journal) = &mut journal {
            let path = journal.path().to_owned();
            journal
                .commit(store.position(), &[])
                .map_err(|cause| journal::at(&path, "could not be used", cause))?;
        }
    }
    let list: Arc<dyn WorkList> = match &batch.list {
        Some(list) => Arc::clone(list),
        None => Arc::new(Local::new(&folder)?),
    };
    let status = Arc::new(Status::new(tally));
    let bodies = output.as_ref().map(Output::folder).transpose()?.flatten();
    let frontier = Arc::new(Mutex::new(frontier));
    let reading = Arc::new(Reading { extract: batch.extract, follow: batch.follow });
    let parts = Parts {
        store,
        encoder,
        bodies,
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
        observer: Observers(batch.observers),
        tells_sent: output.as_ref().is_some_and(Output::tells_sent),
        hands_out: output.is_none(),
    };
    Ok(Run::start(plan, input, output, list, status, Past { frontier, finds }, (sink, reading)))
}

/// Finds out what earlier runs did, and cuts the output back to what they committed.
fn open(batch: &Batch, input: &Input, output: Option<&Output>, folder: &Path) -> Result<Before> {
    let mut frontier = Frontier::new(folder, batch.follow.clone());
    let Some(path) = &batch.checkpoint else {
        let open =
            |output: &Output| output.refuse_old().and_then(|()| output.open(0)).map(|(store, _)| store);
        let store = output.map(open).transpose()?;
        return Ok(Before { journal: None, store, tally: Tally::default(), frontier, finds: None });
    };
    let purpose = Purpose {
        input: input.label().to_owned() + &batch.follow.as_ref().map(Follow::label).unwrap_or_default(),
        output: output.map_or_else(|| "none".to_owned(), Output::label),
        format: output.map_or_else(|| "none".to_owned(), |output| format(batch, output)),
    };
    let (mut journal, found) = Journal::open(path, &purpose)?;
    let unusable = |cause| journal::at(path, "could not be used", cause);
    if found.torn > 0 {
        tracing::warn!(bytes = found.torn, "the checkpoint's last entry was half written; it is cut off");
    }
    if found.rebooted {
        tracing::warn!(
            "the machine stopped during the last run; what had not reached the disk is done again"
        );
    }
    let mut state = found.state;
    if !state.owned {
        if let Some(output) = output
            && let Err(error) = output.refuse_old()
        {
            // Nothing is in it yet.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        journal.commit(0, &[]).map_err(unusable)?;
    }
    if let Some(len) = state.replacing {
        // All was prepared; what may be missing is the last step, or that it is written down.
        replace(&mut journal, &mut state, output, len).map_err(|error| error.or(unusable))?;
    }
    if batch.retry_failed && state.tally.may_pass > 0 {
        let len = match output {
            Some(output) => output.without(&state.passing, state.position)?,
            None => 0,
        };
        journal.replacing(len).map_err(unusable)?;
        replace(&mut journal, &mut state, output, len).map_err(|error| error.or(unusable))?;
    }
    let store = output.map(|output| output.open(state.position)).transpose()?;
    let cut = store.as_ref().map_or(0, |(_, opened)| opened.cut);
    if cut > 0 {
        tracing::warn!(
            cut,
            "the output went on behind what the checkpoint knows; that is cut off and done again"
        );
    }
    journal.each(|entry| frontier.insert(entry.key)).map_err(unusable)?;
    let finds = batch.follow.is_some().then(|| journal.finds()).transpose()?;
    let store = store.map(|(store, _)| store);
    Ok(Before { journal: Some(journal), store, tally: state.tally, frontier, finds })
}

/// What is read out of pages: what the batch wants, and what any target may.
fn columns(batch: &Batch) -> Columns {
    let mut fields: Vec<String> = batch.extract.names().map(ToOwned::to_owned).collect();
    for name in batch.fetcher.field_names() {
        if !fields.contains(&name) {
            fields.push(name);
        }
    }
    Columns { fields, text: batch.extract.has_text(), links: batch.extract.has_links() }
}

/// How a checkpoint calls the format: where it has columns, they stay.
fn format(batch: &Batch, output: &Output) -> String {
    let mut name = output.format().to_string();
    if output.format() == Format::Csv {
        let Columns { fields, text, links } = columns(batch);
        let read = [(text, "text"), (links, "links")].into_iter().filter(|(is_read, _)| *is_read);
        let columns: Vec<&str> =
            fields.iter().map(String::as_str).chain(read.map(|(_, name)| name)).collect();
        if !columns.is_empty() {
            name.push_str(" with ");
            name.push_str(&columns.join(", "));
        }
    }
    name
}

/// Takes out of the output what is to be tried again, and forgets it.
fn replace(
    journal: &mut Journal,
    state: &mut State,
    output: Option<&Output>,
    len: u64,
) -> std::result::Result<(), Wrong> {
    if let Some(output) = output {
        output.replace(&state.passing).map_err(Wrong::Output)?;
    }
    journal.replaced(len).map_err(Wrong::Journal)?;
    state.replaced(len);
    Ok(())
}

/// Which of the two could not be written.
enum Wrong {
    Output(Error),
    Journal(std::io::Error),
}

impl Wrong {
    fn or(self, journal: impl FnOnce(std::io::Error) -> Error) -> Error {
        match self {
            Self::Output(error) => error,
            Self::Journal(cause) => journal(cause),
        }
    }
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
