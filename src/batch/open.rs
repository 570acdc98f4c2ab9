//! From settings to a run: what is there already is found out first.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::Batch;
use super::counters::Counters;
use super::crawl::{CrawlOptions, Frontier, PageReader};
use super::input::Input;
use super::journal::{self, DiscoveriesReader, Journal, JournalHeader, JournalState};
use super::observer::Observers;
use super::output::{Columns, Output, RecordFormat, RecordStore};
use super::queue::{LocalQueue, TaskQueue};
use super::run::{ResumedCrawl, Run, RunConfig};
use super::state::RunState;
use super::writer::{RecordWriter, WriterParts};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

/// What is on the disk already.
struct ResumedState {
    journal: Option<Journal>,
    store: Option<Box<dyn RecordStore>>,
    counters: Counters,
    frontier: Frontier,
    discoveries: Option<DiscoveriesReader>,
}

pub(super) fn start(batch: Batch, input: Input, output: Option<Output>) -> Result<Run> {
    let folder = scratch_dir(batch.checkpoint.as_deref());
    let ResumedState { mut journal, mut store, counters: tally, frontier, discoveries: finds } =
        load_resumed_state(&batch, &input, output.as_ref(), &folder)?;
    let encoder = output.as_ref().map(|output| output.encoder(extract_columns(&batch)));
    if let (Some(store), Some(encoder)) = (&mut store, &encoder)
        && store.position() == 0
        && let Some(prelude) = encoder.header()
    {
        store.write(&[prelude])?;
        if let Some(journal) = &mut journal {
            let path = journal.path().to_owned();
            journal
                .commit(store.position(), &[])
                .map_err(|cause| journal::checkpoint_error(&path, "could not be used", cause))?;
        }
    }
    let list: Arc<dyn TaskQueue> = match &batch.queue {
        Some(list) => Arc::clone(list),
        None => Arc::new(LocalQueue::new(&folder)?),
    };
    let status = Arc::new(RunState::new(tally));
    let bodies = output.as_ref().map(Output::create_body_store).transpose()?.flatten();
    let frontier = Arc::new(Mutex::new(frontier));
    let reading = Arc::new(PageReader { extract: batch.extract, crawl: batch.crawl });
    let parts = WriterParts {
        store,
        encoder,
        bodies,
        page_reader: Arc::clone(&reading),
        record_hooks: batch.record_hooks,
        journal,
        frontier: Arc::clone(&frontier),
    };
    let sink = RecordWriter::start(parts, Arc::clone(&list), Arc::clone(&status))?;
    let plan = RunConfig {
        fetcher: batch.fetcher,
        concurrency: batch.concurrency,
        retry_failed: batch.retry_failed,
        fail_status: batch.fail_status,
        robots: batch.robots,
        method: batch.method,
        request_hook: batch.request_hook,
        observers: Observers(batch.observers),
        captures_request: output.as_ref().is_some_and(Output::captures_request),
        streams_results: output.is_none(),
    };
    Ok(Run::start(
        plan,
        input,
        output,
        list,
        status,
        ResumedCrawl { frontier, discoveries: finds },
        (sink, reading),
    ))
}

/// Finds out what earlier runs did, and cuts the output back to what they committed.
fn load_resumed_state(
    batch: &Batch,
    input: &Input,
    output: Option<&Output>,
    folder: &Path,
) -> Result<ResumedState> {
    let mut frontier = Frontier::new(folder, batch.crawl.clone());
    let Some(path) = &batch.checkpoint else {
        let open =
            |output: &Output| output.ensure_empty().and_then(|()| output.open(0)).map(|(store, _)| store);
        let store = output.map(open).transpose()?;
        return Ok(ResumedState {
            journal: None,
            store,
            counters: Counters::default(),
            frontier,
            discoveries: None,
        });
    };
    let purpose = JournalHeader {
        input: input.label().to_owned() + &batch.crawl.as_ref().map(CrawlOptions::label).unwrap_or_default(),
        output: output.map_or_else(|| "none".to_owned(), Output::label),
        format: output.map_or_else(|| "none".to_owned(), |output| format_label(batch, output)),
    };
    let (mut journal, found) = Journal::open(path, &purpose)?;
    let unusable = |cause| journal::checkpoint_error(path, "could not be used", cause);
    if found.torn_bytes > 0 {
        tracing::warn!(
            bytes = found.torn_bytes,
            "the checkpoint's last entry was half written; it is cut off"
        );
    }
    if found.rebooted {
        tracing::warn!(
            "the machine stopped during the last run; what had not reached the disk is done again"
        );
    }
    let mut state = found.state;
    if !state.owns_output {
        if let Some(output) = output
            && let Err(error) = output.ensure_empty()
        {
            // Nothing is in it yet.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        journal.commit(0, &[]).map_err(unusable)?;
    }
    if let Some(len) = state.replacing {
        // All was prepared; what may be missing is the last step, or that it is written down.
        replace(&mut journal, &mut state, output, len).map_err(|error| error.into_error(unusable))?;
    }
    if batch.retry_failed && state.counters.retryable > 0 {
        let len = match output {
            Some(output) => output.prepare_replace(&state.retryable, state.position)?,
            None => 0,
        };
        journal.begin_replace(len).map_err(unusable)?;
        replace(&mut journal, &mut state, output, len).map_err(|error| error.into_error(unusable))?;
    }
    let store = output.map(|output| output.open(state.position)).transpose()?;
    let cut = store.as_ref().map_or(0, |(_, opened)| opened.truncated);
    if cut > 0 {
        tracing::warn!(
            cut,
            "the output went on behind what the checkpoint knows; that is cut off and done again"
        );
    }
    journal.for_each_entry(|entry| frontier.insert(entry.key)).map_err(unusable)?;
    let finds = batch.crawl.is_some().then(|| journal.discoveries()).transpose()?;
    let store = store.map(|(store, _)| store);
    Ok(ResumedState { journal: Some(journal), store, counters: state.counters, frontier, discoveries: finds })
}

/// What is read out of pages: what the batch wants, and what any target may.
fn extract_columns(batch: &Batch) -> Columns {
    let mut fields: Vec<String> = batch.extract.field_names().map(ToOwned::to_owned).collect();
    for name in batch.fetcher.field_names() {
        if !fields.contains(&name) {
            fields.push(name);
        }
    }
    Columns { fields, text: batch.extract.has_text(), links: batch.extract.has_links() }
}

/// How a checkpoint calls the format: where it has columns, they stay.
fn format_label(batch: &Batch, output: &Output) -> String {
    let mut name = output.format().to_string();
    if output.format() == RecordFormat::Csv {
        let Columns { fields, text, links } = extract_columns(batch);
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
    state: &mut JournalState,
    output: Option<&Output>,
    len: u64,
) -> std::result::Result<(), ReplaceError> {
    if let Some(output) = output {
        output.replace(&state.retryable).map_err(ReplaceError::Output)?;
    }
    journal.finish_replace(len).map_err(ReplaceError::Journal)?;
    state.apply_replaced(len);
    Ok(())
}

/// Which of the two could not be written.
enum ReplaceError {
    Output(Error),
    Journal(std::io::Error),
}

impl ReplaceError {
    fn into_error(self, journal: impl FnOnce(std::io::Error) -> Error) -> Error {
        match self {
            Self::Output(error) => error,
            Self::Journal(cause) => journal(cause),
        }
    }
}

/// Where files without a name go: beside the checkpoint, which has room, or with the system's others.
fn scratch_dir(checkpoint: Option<&Path>) -> PathBuf {
    let Some(path) = checkpoint else { return std::env::temp_dir() };
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => folder.to_owned(),
        None => PathBuf::from("."),
    }
}

/// What is wrong with an input's line is the line's own failure.
pub(super) fn bad_line_error(message: &str) -> Error {
    Error::new(ErrorKind::InvalidUrl, message)
}
