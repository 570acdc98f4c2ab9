//! Starts a run: recovers the state of earlier runs first.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::Batch;
use super::context::{ResumedCrawl, RunConfig};
use super::counters::Counters;
use super::crawl::{CrawlOptions, Frontier, PageReader};
use super::input::Input;
use super::journal::{self, DiscoveriesReader, Journal, JournalHeader, JournalState};
use super::observer::Observers;
use super::output::{Columns, Output, RecordFormat, RecordStore};
use super::queue::{LocalQueue, TaskQueue};
use super::run::Run;
use super::state::RunState;
use super::writer::{RecordWriter, WriterParts};
use crate::exchange::error::{Error, Result};
use crate::os::output_file;

/// The state that earlier runs left on disk.
struct ResumedState {
    journal: Option<Journal>,
    store: Option<Box<dyn RecordStore>>,
    counters: Counters,
    frontier: Frontier,
    discoveries: Option<DiscoveriesReader>,
}

pub(super) fn start(batch: Batch, input: Input, output: Option<Output>) -> Result<Run> {
    let folder = scratch_dir(batch.checkpoint.as_deref());
    let ResumedState { mut journal, mut store, counters, frontier, discoveries } =
        load_resumed_state(&batch, &input, output.as_ref(), &folder)?;
    let encoder = output.as_ref().map(|output| output.encoder(extract_columns(&batch)));
    if let (Some(store), Some(encoder)) = (&mut store, &encoder)
        && store.position() == 0
        && let Some(header) = encoder.header()
    {
        store.write(&[header])?;
        if let Some(journal) = &mut journal {
            let path = journal.path().to_owned();
            journal
                .commit(store.position(), &[])
                .map_err(|cause| journal::checkpoint_error(&path, "write", cause))?;
        }
    }
    let queue: Arc<dyn TaskQueue> = match &batch.queue {
        Some(queue) => Arc::clone(queue),
        None if batch.concurrency == 1 => Arc::new(LocalQueue::new(&folder)?.keep_order()),
        None => Arc::new(LocalQueue::new(&folder)?),
    };
    let status = Arc::new(RunState::new(counters));
    let bodies = output.as_ref().map(Output::create_body_store).transpose()?.flatten();
    let frontier = Arc::new(Mutex::new(frontier));
    let page_reader = Arc::new(PageReader::new(batch.extract, batch.crawl));
    let parts = WriterParts {
        store,
        encoder,
        bodies,
        page_reader: Arc::clone(&page_reader),
        record_hooks: batch.record_hooks,
        journal,
        frontier: Arc::clone(&frontier),
    };
    let writer = RecordWriter::start(parts, batch.concurrency, Arc::clone(&queue), Arc::clone(&status))?;
    let config = RunConfig {
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
        config,
        input,
        output,
        queue,
        status,
        ResumedCrawl { frontier, discoveries },
        (writer, page_reader),
    ))
}

/// Reads the results of earlier runs, and truncates the output to its committed length.
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
    let journal_header = JournalHeader {
        input: input.label().to_owned() + &batch.crawl.as_ref().map(CrawlOptions::label).unwrap_or_default(),
        output: output.map_or_else(|| "none".to_owned(), Output::label),
        format: output.map_or_else(|| "none".to_owned(), |output| format_label(batch, output)),
    };
    let (mut journal, recovery) = Journal::open(path, &journal_header)?;
    let unwritable = |cause| journal::checkpoint_error(path, "write", cause);
    if recovery.torn_bytes > 0 {
        tracing::warn!(
            bytes = recovery.torn_bytes,
            "truncated an incomplete entry at the end of the checkpoint"
        );
    }
    if recovery.rebooted {
        tracing::warn!(
            "the machine restarted during the last run; tasks not synced to disk are fetched again"
        );
    }
    let mut state = recovery.state;
    if !state.owns_output {
        if let Some(output) = output
            && let Err(error) = output.ensure_empty()
        {
            // The checkpoint was created just now and is empty.
            let _ = output_file::resolve_regular(path).and_then(std::fs::remove_file);
            return Err(error);
        }
        journal.commit(0, &[]).map_err(unwritable)?;
    }
    if let Some(len) = state.replacing {
        // The replacement is prepared. Only the rename, or the journal entry for it, may be missing.
        replace(&mut journal, &mut state, output, len).map_err(|error| error.into_error(unwritable))?;
    }
    if batch.retry_failed && state.counters.retryable > 0 {
        let len = match output {
            Some(output) => output.prepare_replace(&state.retryable, state.position)?,
            None => 0,
        };
        journal.begin_replace(len).map_err(unwritable)?;
        replace(&mut journal, &mut state, output, len).map_err(|error| error.into_error(unwritable))?;
    }
    let store = output.map(|output| output.open(state.position)).transpose()?;
    let cut = store.as_ref().map_or(0, |(_, opened)| opened.truncated);
    if cut > 0 {
        tracing::warn!(
            cut,
            "truncated output that the checkpoint does not cover; its tasks are fetched again"
        );
    }
    journal.for_each_entry(|entry| frontier.insert(entry.key)).map_err(unwritable)?;
    let discoveries = batch.crawl.is_some().then(|| journal.discoveries()).transpose()?;
    let store = store.map(|(store, _)| store);
    Ok(ResumedState { journal: Some(journal), store, counters: state.counters, frontier, discoveries })
}

/// The extracted columns: those of the batch, and those of any target.
fn extract_columns(batch: &Batch) -> Columns {
    let mut fields: Vec<String> = batch.extract.field_names().map(ToOwned::to_owned).collect();
    for name in batch.fetcher.field_names() {
        if !fields.contains(&name) {
            fields.push(name);
        }
    }
    Columns { fields, text: batch.extract.has_text(), links: batch.extract.has_links() }
}

/// The format's label in a checkpoint. It includes the columns, which must not change between runs.
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

/// Removes the records that are retried from the output and from the state.
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

/// An output or a journal that could not be written.
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

/// The folder for unnamed temporary files: the checkpoint's, or the system's if there is no checkpoint.
fn scratch_dir(checkpoint: Option<&Path>) -> PathBuf {
    let Some(path) = checkpoint else { return std::env::temp_dir() };
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => folder.to_owned(),
        None => PathBuf::from("."),
    }
}
