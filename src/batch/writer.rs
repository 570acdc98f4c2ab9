//! Writes records: several threads encode them, one thread writes and journals them in the order of their submission.
//!
//! Nothing here runs on the threads that fetch. Each record in progress reserves a place and memory by its size.
//! Fetches wait while the places or the memory are used up, so a killed run repeats few fetches.

use std::iter::Zip;
use std::ops::RangeFrom;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, IntoIter, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::crawl::{Discovered, Frontier, NewTasks, PageReader};
use super::journal::{self, Journal};
use super::ordered_receiver::{Numbered, OrderedReceiver};
use super::outcome::TaskOutcome;
use super::output::{BodyStore, EncodedRecord, RecordEncoder, RecordStore};
use super::queue::{LeaseId, QueuedTask, TaskQueue};
use super::record::Record;
use super::state::RunState;
use super::task::{Task, TaskKey};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::sync::lock_unpoisoned;

/// A finished task and the data to store.
pub(super) struct FinishedTask {
    /// `None` for a line that was never in the request queue.
    pub(super) lease: Option<LeaseId>,
    pub(super) key: TaskKey,
    pub(super) outcome: TaskOutcome,
    pub(super) record: Option<Box<Record>>,
    /// The task itself, in a crawl.
    pub(super) task: Option<Box<Task>>,
    /// The discovered links, if they were extracted already.
    pub(super) discovered: Option<Discovered>,
    /// Its place in the backlog.
    pub(super) reservation: Option<Reservation>,
}

impl FinishedTask {
    /// A line that was never in the request queue.
    pub(super) const fn for_bad_line(key: TaskKey, outcome: TaskOutcome) -> Self {
        Self { lease: None, key, outcome, record: None, task: None, discovered: None, reservation: None }
    }
}

/// A finished task, encoded for writing.
struct EncodedTask {
    lease: Option<LeaseId>,
    key: TaskKey,
    outcome: TaskOutcome,
    encoded: Option<EncodedRecord>,
    discovered: Option<Discovered>,
    _reservation: Option<Reservation>,
}

/// The place of a record in the backlog, and its share of the memory budget. Dropping it frees both.
pub(super) struct Reservation {
    _place: OwnedSemaphorePermit,
    _memory: OwnedSemaphorePermit,
}

/// The records that may be in progress at once.
#[derive(Clone)]
struct Backlog {
    places: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// Applied to every record before it is written.
pub(super) type RecordHook = dyn Fn(&mut Record) -> Result<()> + Send + Sync;

/// The parts that a writer is built from.
pub(super) struct WriterParts {
    pub(super) store: Option<Box<dyn RecordStore>>,
    pub(super) encoder: Option<Box<dyn RecordEncoder>>,
    pub(super) bodies: Option<BodyStore>,
    pub(super) page_reader: Arc<PageReader>,
    pub(super) record_hooks: Vec<Box<RecordHook>>,
    pub(super) journal: Option<Journal>,
    pub(super) frontier: Arc<Mutex<Frontier>>,
}

/// The encoder threads and the writer thread.
pub(super) struct RecordWriter {
    sender: Sender<FinishedTask>,
    backlog: Backlog,
    encoders: Vec<JoinHandle<()>>,
    writer: JoinHandle<Result<()>>,
}

/// Submits finished tasks. Cheap to clone. The threads end when the last handle is dropped.
#[derive(Clone)]
pub(super) struct WriterHandle {
    sender: Sender<FinishedTask>,
    backlog: Backlog,
}

impl RecordWriter {
    /// Starts the threads, for a run of this concurrency. As many records may wait to be written as are fetched.
    pub(super) fn start(
        parts: WriterParts,
        concurrency: usize,
        queue: Arc<dyn TaskQueue>,
        status: Arc<RunState>,
    ) -> Result<Self> {
        let (sender, from) = mpsc::channel::<FinishedTask>();
        let (ready, written) = mpsc::channel::<Numbered<EncodedTask>>();
        let WriterParts { store, encoder, bodies, page_reader, record_hooks, journal, frontier } = parts;
        let from = Arc::new(Mutex::new((0..).zip(from)));
        let record_encoder =
            Arc::new(Encoder { format: encoder, bodies: bodies.clone(), page_reader, record_hooks });
        let mut threads = Vec::new();
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(MAX_ENCODERS) {
            let (from, ready, record_encoder) =
                (Arc::clone(&from), ready.clone(), Arc::clone(&record_encoder));
            let status = Arc::clone(&status);
            threads
                .push(spawn("rungs-records", move || run_encoder(&from, &ready, &record_encoder, &status))?);
        }
        let committed = store.as_ref().map_or(0, |store| store.position());
        let runtime = Handle::current();
        let writer = WriterThread {
            store,
            bodies,
            journal,
            frontier,
            queue,
            status,
            runtime,
            committed,
            dirty: false,
        };
        let writer = spawn("rungs-writer", move || writer.run(OrderedReceiver::new(written)))?;
        let places = concurrency.clamp(MAX_ENCODERS, Semaphore::MAX_PERMITS);
        let backlog = Backlog {
            places: Arc::new(Semaphore::new(places)),
            memory: Arc::new(Semaphore::new(BUDGET_UNITS)),
        };
        Ok(Self { sender, backlog, encoders: threads, writer })
    }

    pub(super) fn handle(&self) -> WriterHandle {
        WriterHandle { sender: self.sender.clone(), backlog: self.backlog.clone() }
    }

    /// Waits until everything is written. It returns only after every [`WriterHandle`] is dropped.
    pub(super) fn finish(self) -> Result<()> {
        drop(self.sender);
        for thread in self.encoders {
            thread.join().map_err(|_| thread_panicked())?;
        }
        self.writer.join().map_err(|_| thread_panicked())?
    }
}

impl WriterHandle {
    /// Waits for a place and for memory for a record with a body of `bytes`.
    pub(super) async fn reserve(&self, bytes: usize) -> Option<Reservation> {
        // Twice the body: raw and encoded.
        let units = (bytes / BUDGET_UNIT * 2 + MIN_UNITS).min(BUDGET_UNITS);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let Backlog { places, memory } = self.backlog.clone();
        let place = places.acquire_owned().await.ok()?;
        let memory = memory.acquire_many_owned(units).await.ok()?;
        Some(Reservation { _place: place, _memory: memory })
    }

    /// Submits a task for writing. If the threads ended, [`RecordWriter::finish`] returns their error.
    pub(super) fn submit(&self, finished: FinishedTask) {
        let _ = self.sender.send(finished);
    }
}

/// Encodes records, after the hooks changed them.
struct Encoder {
    format: Option<Box<dyn RecordEncoder>>,
    bodies: Option<BodyStore>,
    page_reader: Arc<PageReader>,
    record_hooks: Vec<Box<RecordHook>>,
}

/// Submitted tasks, numbered in their order.
type NumberedTasks = Zip<RangeFrom<u64>, IntoIter<FinishedTask>>;

/// One number's place among the encoded tasks. Dropping it sends the task, or that it is lost.
struct EncodedSlot<'a> {
    ready: &'a Sender<Numbered<EncodedTask>>,
    number: u64,
    task: Option<EncodedTask>,
}

impl Drop for EncodedSlot<'_> {
    fn drop(&mut self) {
        // Without a receiver, the writer thread ended with an error.
        let _ = self.ready.send((self.number, self.task.take()));
    }
}

fn run_encoder(
    from: &Mutex<NumberedTasks>,
    ready: &Sender<Numbered<EncodedTask>>,
    record_encoder: &Encoder,
    status: &RunState,
) {
    loop {
        let next = lock_unpoisoned(from).next();
        let Some((number, finished)) = next else { return };
        let mut slot = EncodedSlot { ready, number, task: None };
        match record_encoder.encode_task(finished) {
            Ok(encoded) => slot.task = Some(encoded),
            Err(error) => status.fail(error),
        }
    }
}

impl Encoder {
    fn encode_task(&self, finished: FinishedTask) -> Result<EncodedTask> {
        let FinishedTask { lease, key, outcome, mut record, task, mut discovered, reservation } = finished;
        if let Some(record) = &mut record
            && let Some(read) = self.page_reader.read(record, task.as_deref())
        {
            discovered = Some(read);
        }
        let encoded = record.map(|record| self.encode(*record)).transpose()?.flatten();
        Ok(EncodedTask { lease, key, outcome, encoded, discovered, _reservation: reservation })
    }

    fn encode(&self, mut record: Record) -> Result<Option<EncodedRecord>> {
        for hook in &self.record_hooks {
            hook(&mut record)?;
        }
        if let Some(bodies) = &self.bodies {
            bodies.store(&mut record)?;
        }
        self.format.as_ref().map(|format| format.encode(&record)).transpose()
    }
}

/// The one thread that writes.
struct WriterThread {
    store: Option<Box<dyn RecordStore>>,
    bodies: Option<BodyStore>,
    journal: Option<Journal>,
    frontier: Arc<Mutex<Frontier>>,
    queue: Arc<dyn TaskQueue>,
    status: Arc<RunState>,
    runtime: Handle,
    /// The store's position in the journal's last commit.
    committed: u64,
    dirty: bool,
}

impl WriterThread {
    fn run(mut self, mut from: OrderedReceiver<EncodedTask>) -> Result<()> {
        let mut sync_at = Instant::now() + SYNC_INTERVAL;
        loop {
            let batch = match from.recv_deadline(sync_at) {
                Ok(first) => collect_batch(first, &mut from),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            // After a failure nothing more is written, so that output and journal stay consistent.
            if !batch.is_empty()
                && !self.status.has_failed()
                && let Err(error) = self.write(batch)
            {
                self.status.fail(error);
            }
            if Instant::now() >= sync_at {
                sync_at = Instant::now() + SYNC_INTERVAL;
                if let Err(error) = self.sync() {
                    self.status.fail(error);
                }
            }
        }
        self.sync()?;
        if !self.status.is_complete() || self.status.has_failed() {
            return Ok(());
        }
        if let Some(store) = &mut self.store {
            store.finish()?;
        }
        if let Some(journal) = &mut self.journal {
            let finished = journal.mark_finished();
            finished.map_err(|cause| journal_error(journal, cause))?;
        }
        Ok(())
    }

    fn write(&mut self, batch: Vec<EncodedTask>) -> Result<()> {
        let (mut records, mut done) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let mut reservations = Vec::with_capacity(batch.len());
        let mut new = NewTasks::default();
        for ready in batch {
            let EncodedTask { lease, key, outcome, encoded, discovered, _reservation: reservation } = ready;
            if let Some(discovered) = discovered {
                new.merge(self.admit(discovered)?);
            }
            done.push((lease, key, outcome, encoded.is_some()));
            records.extend(encoded);
            reservations.push(reservation);
        }
        let (mut lens, mut position) = (Vec::new(), 0);
        if let Some(store) = &mut self.store {
            lens = store.write(&records)?;
            position = store.position();
            if store.is_closed() {
                self.status.mark_output_closed();
            }
        }
        let mut lens = lens.into_iter();
        let entries: Vec<_> = done
            .iter()
            .map(|(_, key, outcome, has_record)| {
                let len = if *has_record { lens.next().unwrap_or(0) } else { 0 };
                journal::new_entry(*key, *outcome, len)
            })
            .collect();
        if let Some(journal) = &mut self.journal {
            let tasks = new.tasks.iter().map(QueuedTask::task).chain(&new.waiting);
            let commit = journal.commit_with_discoveries(position, &entries, tasks, &new.aliases);
            commit.map_err(|cause| journal_error(journal, cause))?;
        }
        self.committed = position;
        self.dirty = true;
        self.status.record_finished(&entries);
        self.status.read.fetch_add(new.tasks.len() as u64, Ordering::Relaxed);
        if !new.tasks.is_empty() {
            self.runtime.block_on(self.queue.push_discovered(new.tasks))?;
        }
        let leases: Vec<LeaseId> = done.iter().filter_map(|(lease, ..)| *lease).collect();
        self.runtime.block_on(self.queue.ack(&leases))
    }

    fn admit(&self, discovered: Discovered) -> Result<NewTasks> {
        let mut frontier = lock_unpoisoned(&self.frontier);
        frontier.admit_discovered(discovered).map_err(super::crawl::dedup_error)
    }

    /// Syncs the output before the journal, so that the journal never covers output that is not on disk.
    fn sync(&mut self) -> Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        if !std::mem::take(&mut self.dirty) {
            return Ok(());
        }
        if let Some(bodies) = &self.bodies {
            bodies.sync()?;
        }
        if let Some(store) = &mut self.store {
            store.sync()?;
        }
        journal.mark_synced(self.committed).map_err(|cause| journal_error(journal, cause))
    }
}

/// Collects the tasks that are ready now, to be written together.
fn collect_batch(first: EncodedTask, from: &mut OrderedReceiver<EncodedTask>) -> Vec<EncodedTask> {
    let size = |ready: &EncodedTask| {
        ready.encoded.as_ref().map_or(0, EncodedRecord::len)
            + ready.discovered.as_ref().map_or(0, Discovered::memory_size)
    };
    let mut bytes = size(&first);
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH_TASKS
        && bytes < MAX_BATCH_BYTES
        && let Some(next) = from.try_recv()
    {
        bytes += size(&next);
        batch.push(next);
    }
    batch
}

fn journal_error(journal: &Journal, cause: std::io::Error) -> Error {
    super::output::write_error(journal.path(), cause)
}

fn thread_panicked() -> Error {
    Error::new(ErrorKind::Io, "a record writer thread panicked")
}

fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|cause| {
        Error::new(ErrorKind::Io, format!("could not start the thread {name}")).with_source(cause)
    })
}

/// The unit of the memory budget, in bytes.
const BUDGET_UNIT: usize = 1024;
/// Records in progress use at most 64 MiB. A single larger record is allowed.
const BUDGET_UNITS: usize = 64 * 1024;
/// The minimum reservation of a record.
const MIN_UNITS: usize = 16;
/// The maximum number of encoder threads.
const MAX_ENCODERS: usize = 4;
const MAX_BATCH_TASKS: usize = 1024;
const MAX_BATCH_BYTES: usize = 4 << 20;
/// The interval between syncs to disk.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
