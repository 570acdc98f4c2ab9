//! The way of a record to the disk: made into bytes on some threads, written and journalled on one.
//!
//! Nothing here runs on the threads that fetch. Records under way hold room, by their size; fetches that
//! find none wait for it.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::crawl::{Admitted, Found, Frontier, Reading};
use super::journal::{self, Journal, Outcome};
use super::output::{Bodies, Encode, Encoded, Store};
use super::record::Record;
use super::status::Status;
use super::task::{Key, Task};
use super::work::{LeaseId, Work, WorkList};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::lock::lock;

/// A task that is finished, and what is to be kept of it.
pub(super) struct Finished {
    /// `None` for what never was on the work list.
    pub(super) lease: Option<LeaseId>,
    pub(super) key: Key,
    pub(super) outcome: Outcome,
    pub(super) record: Option<Box<Record>>,
    /// The task itself, in a crawl.
    pub(super) task: Option<Box<Task>>,
    /// What it led to, where that was looked for already.
    pub(super) found: Option<Found>,
    /// Its room.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Finished {
    /// What never was on the work list.
    pub(super) const fn bad(key: Key, outcome: Outcome) -> Self {
        Self { lease: None, key, outcome, record: None, task: None, found: None, room: None }
    }
}

/// A task that is finished, ready to be written.
struct Ready {
    lease: Option<LeaseId>,
    key: Key,
    outcome: Outcome,
    encoded: Option<Encoded>,
    found: Option<Found>,
    _room: Option<OwnedSemaphorePermit>,
}

/// What is made of every record before it is written.
pub(super) type Change = dyn Fn(&mut Record) -> Result<()> + Send + Sync;

/// Where records go.
pub(super) struct Parts {
    pub(super) store: Option<Box<dyn Store>>,
    pub(super) encoder: Option<Box<dyn Encode>>,
    pub(super) bodies: Option<Bodies>,
    pub(super) reading: Arc<Reading>,
    pub(super) changes: Vec<Box<Change>>,
    pub(super) journal: Option<Journal>,
    pub(super) frontier: Arc<Mutex<Frontier>>,
}

/// The threads and the way to them.
pub(super) struct Sink {
    to: Sender<Finished>,
    room: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
    writer: JoinHandle<Result<()>>,
}

/// The way to them. Cheap to clone; the threads end when the last is gone.
#[derive(Clone)]
pub(super) struct Way {
    to: Sender<Finished>,
    room: Arc<Semaphore>,
}

impl Sink {
    /// Starts the threads.
    pub(super) fn start(parts: Parts, list: Arc<dyn WorkList>, status: Arc<Status>) -> Result<Self> {
        let (to, from) = mpsc::channel::<Finished>();
        let (ready, written) = mpsc::channel::<Ready>();
        let Parts { store, encoder, bodies, reading, changes, journal, frontier } = parts;
        let from = Arc::new(Mutex::new(from));
        let making = Arc::new(Making { encoder, bodies: bodies.clone(), reading, changes });
        let mut threads = Vec::new();
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(MAKERS) {
            let (from, ready, making) = (Arc::clone(&from), ready.clone(), Arc::clone(&making));
            let status = Arc::clone(&status);
            threads.push(spawn("rungs-records", move || make(&from, &ready, &making, &status))?);
        }
        let committed = store.as_ref().map_or(0, |store| store.position());
        let runtime = Handle::current();
        let writer =
            Writer { store, bodies, journal, frontier, list, status, runtime, committed, dirty: false };
        let writer = spawn("rungs-writer", move || writer.run(&written))?;
        Ok(Self { to, room: Arc::new(Semaphore::new(ROOM)), threads, writer })
    }

    pub(super) fn way(&self) -> Way {
        Way { to: self.to.clone(), room: Arc::clone(&self.room) }
    }

    /// Waits until all is written. Every [`Way`] must be gone, or will be.
    pub(super) fn finish(self) -> Result<()> {
        drop(self.to);
        for thread in self.threads {
            thread.join().map_err(|_| broken())?;
        }
        self.writer.join().map_err(|_| broken())?
    }
}

impl Way {
    /// Waits until there is room for a record with a body of `bytes`.
    pub(super) async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // The body, and what is made of it.
        let units = (bytes / UNIT * 2 + LEAST).min(ROOM);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(units).await.ok()
    }

    /// Gives a task to be written. When the threads are gone, their error is told by [`Sink::finish`].
    pub(super) fn give(&self, finished: Finished) {
        let _ = self.to.send(finished);
    }
}

/// What makes records.
struct Making {
    encoder: Option<Box<dyn Encode>>,
    bodies: Option<Bodies>,
    reading: Arc<Reading>,
    changes: Vec<Box<Change>>,
}

fn make(from: &Mutex<Receiver<Finished>>, ready: &Sender<Ready>, making: &Making, status: &Status) {
    loop {
        let next = lock(from).recv();
        let Ok(Finished { lease, key, outcome, mut record, task, mut found, room }) = next else { return };
        if let Some(record) = &mut record
            && let Some(read) = making.reading.of(record, task.as_deref())
        {
            found = Some(read);
        }
        let encoded = match record.map(|record| making.encoded(*record)).transpose() {
            Ok(encoded) => encoded.flatten(),
            Err(error) => {
                status.fail(error);
                continue;
            }
        };
        if ready.send(Ready { lease, key, outcome, encoded, found, _room: room }).is_err() {
            return;
        }
    }
}

impl Making {
    fn encoded(&self, mut record: Record) -> Result<Option<Encoded>> {
        for change in &self.changes {
            change(&mut record)?;
        }
        if let Some(bodies) = &self.bodies {
            bodies.keep(&mut record)?;
        }
        self.encoder.as_ref().map(|encoder| encoder.encode(&record)).transpose()
    }
}

/// The one thread that writes.
struct Writer {
    store: Option<Box<dyn Store>>,
    bodies: Option<Bodies>,
    journal: Option<Journal>,
    frontier: Arc<Mutex<Frontier>>,
    list: Arc<dyn WorkList>,
    status: Arc<Status>,
    runtime: Handle,
    /// How much of the store the journal knows of.
    committed: u64,
    dirty: bool,
}

impl Writer {
    fn run(mut self, from: &Receiver<Ready>) -> Result<()> {
        let mut sync_at = Instant::now() + SYNC;
        loop {
            let batch = match from.recv_timeout(sync_at.saturating_duration_since(Instant::now())) {
                Ok(first) => gather(first, from),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            // After a failure nothing more is written: what is written stays one piece.
            if !batch.is_empty()
                && !self.status.is_broken()
                && let Err(error) = self.write(batch)
            {
                self.status.fail(error);
            }
            if Instant::now() >= sync_at {
                sync_at = Instant::now() + SYNC;
                if let Err(error) = self.sync() {
                    self.status.fail(error);
                }
            }
        }
        self.sync()?;
        if self.status.is_complete()
            && let Some(journal) = &mut self.journal
        {
            let finished = journal.finished();
            finished.map_err(|cause| unjournalled(journal, cause))?;
        }
        Ok(())
    }

    fn write(&mut self, batch: Vec<Ready>) -> Result<()> {
        let (mut records, mut done) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let mut rooms = Vec::with_capacity(batch.len());
        let mut new = Admitted::default();
        for ready in batch {
            let Ready { lease, key, outcome, encoded, found, _room: room } = ready;
            if let Some(found) = found {
                new.and(self.admit(found)?);
            }
            done.push((lease, key, outcome, encoded.is_some()));
            records.extend(encoded);
            rooms.push(room);
        }
        let (mut lens, mut position) = (Vec::new(), 0);
        if let Some(store) = &mut self.store {
            lens = store.write(&records)?;
            position = store.position();
            if store.is_unwanted() {
                self.status.unwanted();
            }
        }
        let mut lens = lens.into_iter();
        let entries: Vec<_> = done
            .iter()
            .map(|(_, key, outcome, has_record)| {
                let len = if *has_record { lens.next().unwrap_or(0) } else { 0 };
                journal::entry(*key, *outcome, len)
            })
            .collect();
        if let Some(journal) = &mut self.journal {
            let tasks = new.work.iter().map(Work::task);
            let commit = journal.commit_found(position, &entries, tasks, &new.aliases);
            commit.map_err(|cause| unjournalled(journal, cause))?;
        }
        self.committed = position;
        self.dirty = true;
        self.status.finished(&entries);
        self.status.read.fetch_add(new.work.len() as u64, Ordering::Relaxed);
        if !new.work.is_empty() {
            self.runtime.block_on(self.list.found(new.work))?;
        }
        let leases: Vec<LeaseId> = done.iter().filter_map(|(lease, ..)| *lease).collect();
        self.runtime.block_on(self.list.ack(&leases))
    }

    fn admit(&self, found: Found) -> Result<Admitted> {
        let mut frontier = lock(&self.frontier);
        frontier.admit(found).map_err(super::crawl::unkept)
    }

    /// The output before the journal: what the journal promises is there.
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
        journal.synced(self.committed).map_err(|cause| unjournalled(journal, cause))
    }
}

/// What is there already, to be written by one write.
fn gather(first: Ready, from: &Receiver<Ready>) -> Vec<Ready> {
    let size = |ready: &Ready| {
        ready.encoded.as_ref().map_or(0, Encoded::len) + ready.found.as_ref().map_or(0, Found::len)
    };
    let mut bytes = size(&first);
    let mut batch = vec![first];
    while batch.len() < BATCH
        && bytes < BATCH_BYTES
        && let Ok(next) = from.try_recv()
    {
        bytes += size(&next);
        batch.push(next);
    }
    batch
}

fn unjournalled(journal: &Journal, cause: std::io::Error) -> Error {
    super::output::unwritten(journal.path(), cause)
}

fn broken() -> Error {
    Error::new(ErrorKind::Io, "a thread that writes records ended by a fault of this program")
}

fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|cause| Error::new(ErrorKind::Io, "a thread could not be started").with_source(cause))
}

/// The unit of room, in bytes.
const UNIT: usize = 1024;
/// Records under way take at most 64 MiB, or one of them more.
const ROOM: usize = 64 * 1024;
/// The least that a record takes.
const LEAST: usize = 16;
/// Threads that make records.
const MAKERS: usize = 4;
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;
/// How often the disk is waited for.
const SYNC: Duration = Duration::from_secs(1);
