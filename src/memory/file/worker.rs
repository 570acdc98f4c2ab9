//! The thread that reads and writes the memory file, so that async threads never block on the disk.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::StoreError;
use super::store::Store;
use super::table::{Table, Tables};

/// A command to the thread.
enum StoreCommand {
    /// Adds a pending change to a table.
    Change(Box<dyn FnOnce(&mut Tables) + Send>),
    Read(Box<dyn FnOnce(&mut StoreWorker) + Send>),
    Flush(oneshot::Sender<()>),
}

/// Handle of the thread. After it is dropped, the thread writes its pending rows and exits.
pub(in crate::memory) struct StoreHandle(Sender<StoreCommand>);

impl StoreHandle {
    /// Starts the thread, which opens the file on first use.
    pub(in crate::memory) fn start(
        path: PathBuf,
        tables: Tables,
        now: impl Fn() -> i64 + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let mut worker = StoreWorker { path, state: StoreState::Closed, tables, warned: false };
        std::thread::Builder::new()
            .name("rungs-memory".to_owned())
            .spawn(move || worker.run(&receiver, &now))?;
        Ok(Self(sender))
    }

    /// Changes the table `T`. The thread writes the change soon.
    pub(in crate::memory) fn change<T: Table>(&self, change: impl FnOnce(&mut T) + Send + 'static) {
        let change = Box::new(move |tables: &mut Tables| change(tables.get_mut()));
        // The thread runs until this handle is dropped.
        let _ = self.0.send(StoreCommand::Change(change));
    }

    /// Reads from the file. Returns the default if it cannot be used, or not within two seconds.
    pub(in crate::memory) async fn read<T: Default + Send + 'static>(
        &self,
        mut read: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        let (reply, response) = oneshot::channel();
        let command = Box::new(move |worker: &mut StoreWorker| {
            let result = worker.with_store(|store, _| read(store.connection()));
            let _ = reply.send(result.unwrap_or_default());
        });
        if self.0.send(StoreCommand::Read(command)).is_err() {
            return T::default();
        }
        timeout(READ_TIMEOUT, response).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Waits until all commands so far are processed, at most ten seconds.
    pub(in crate::memory) async fn flush(&self) {
        let (reply, response) = oneshot::channel();
        if self.0.send(StoreCommand::Flush(reply)).is_ok() {
            let _ = timeout(READ_TIMEOUT * 5, response).await;
        }
    }
}

/// The state of the thread.
struct StoreWorker {
    path: PathBuf,
    state: StoreState,
    tables: Tables,
    /// Whether a warning about the file was logged.
    warned: bool,
}

enum StoreState {
    Closed,
    Open(Store),
    /// It failed. The thread opens it again at this time.
    Failed(Instant),
    /// It cannot be used, for example because it is another program's.
    Disabled,
}

impl StoreWorker {
    fn run(&mut self, commands: &Receiver<StoreCommand>, now: &dyn Fn() -> i64) {
        let mut due: Option<Instant> = None;
        loop {
            let command = match due {
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => commands.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match command {
                Ok(StoreCommand::Change(change)) => change(&mut self.tables),
                Ok(StoreCommand::Read(read)) => read(self),
                Ok(StoreCommand::Flush(reply)) => {
                    self.write(now());
                    let _ = reply.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.write(now()),
                Err(RecvTimeoutError::Disconnected) => {
                    self.write(now());
                    return;
                }
            }
            due = (!self.is_idle())
                .then(|| due.filter(|at| *at > Instant::now()).unwrap_or(Instant::now() + WRITE_DELAY));
        }
    }

    fn is_idle(&self) -> bool {
        self.tables.iter().all(Table::is_idle)
    }

    fn write(&mut self, now: i64) {
        if self.is_idle() {
            return;
        }
        let written = self.with_store(|store, tables| store.write(tables, now));
        if written.is_none() && matches!(self.state, StoreState::Disabled) {
            // The changes will never be written.
            self.tables.iter_mut().for_each(Table::discard);
        }
    }

    /// Calls `work` with the open file. Returns `None` if the file cannot be used, and logs one warning.
    fn with_store<T>(
        &mut self,
        mut work: impl FnMut(&mut Store, &mut Tables) -> Result<T, StoreError>,
    ) -> Option<T> {
        for _ in 0..2 {
            let result = self.open_store().and_then(|()| match &mut self.state {
                StoreState::Open(store) => work(store, &mut self.tables).map(Some),
                _ => Ok(None),
            });
            match result {
                Ok(value) => return value,
                // Opening it again moves it aside; the second try uses a new file.
                Err(StoreError::Corrupt(_)) if matches!(self.state, StoreState::Open(_)) => {
                    self.state = StoreState::Closed;
                }
                Err(error) => {
                    self.on_error(error);
                    return None;
                }
            }
        }
        None
    }

    /// Opens the file if it is closed or its retry is due.
    fn open_store(&mut self) -> Result<(), StoreError> {
        let should_open = match &self.state {
            StoreState::Closed => true,
            StoreState::Failed(retry_at) => *retry_at <= Instant::now(),
            StoreState::Open(_) | StoreState::Disabled => false,
        };
        if should_open {
            let (store, aside) = Store::open(&self.path, &self.tables)?;
            if let Some(aside) = aside {
                tracing::warn!(
                    "the host memory {} was corrupt: moved it to {} and started a new one",
                    self.path.display(),
                    aside.display()
                );
            }
            self.state = StoreState::Open(store);
        }
        Ok(())
    }

    fn on_error(&mut self, error: StoreError) {
        // A lock of another process is shorter than a full disk, so the file stays open.
        let (is_transient, is_busy) = (error.is_transient(), matches!(error, StoreError::Busy));
        let error = error.into_error(&self.path);
        if !self.warned {
            self.warned = true;
            tracing::warn!("{}; this run does not save what it learns", error.chain());
        }
        if !is_busy || !matches!(self.state, StoreState::Open(_)) {
            self.state = if is_transient {
                StoreState::Failed(Instant::now() + RETRY_DELAY)
            } else {
                StoreState::Disabled
            };
        }
    }
}

/// How long changes are collected before they are written.
const WRITE_DELAY: Duration = Duration::from_millis(500);
/// Delay before a failed file is opened again.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// How long a fetch waits for the file.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
