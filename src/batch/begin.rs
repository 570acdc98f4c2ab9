//! From settings to a run: what is there already is found out first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Batch;
use super::input::Input;
use super::journal::{self, Journal, Purpose, State};
use super::observer::Observers;
use super::output::{Output, Store};
use super::run::{Plan, Run};
use super::seen::Seen;
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
    seen: Seen,
}

pub(super) fn begin(batch: Batch, input: Input, output: Option<Output>) -> Result<Run> {
    let folder = scratch(batch.checkpoint.as_deref());
    let Before { mut journal, mut store, tally, seen } = open(&batch, &input, output.as_ref(), &folder)?;
    let encoder = output.as_ref().map(Output::encoder);
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
    let parts = Parts { store, encoder, bodies, extract: batch.extract, journal };
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
        hands_out: output.is_none(),
    };
    Ok(Run::start(plan, input, output, list, status, seen, sink))
}

/// Finds out what earlier runs did, and cuts the output back to what they committed.
fn open(batch: &Batch, input: &Input, output: Option<&Output>, folder: &Path) -> Result<Before> {
    let mut seen = Seen::new(folder);
    let Some(path) = &batch.checkpoint else {
        let open =
            |output: &Output| output.refuse_old().and_then(|()| output.open(0)).map(|(store, _)| store);
        let store = output.map(open).transpose()?;
        return Ok(Before { journal: None, store, tally: Tally::default(), seen });
    };
    let purpose = Purpose {
        input: input.label().to_owned(),
        output: output.map_or_else(|| "none".to_owned(), Output::label),
        format: output.map_or_else(|| "none".to_owned(), |output| output.format().to_string()),
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
    journal.each(|entry| seen.insert(entry.key).map(drop)).map_err(unusable)?;
    Ok(Before { journal: Some(journal), store: store.map(|(store, _)| store), tally: state.tally, seen })
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
