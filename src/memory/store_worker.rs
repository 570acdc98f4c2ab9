//! The thread that reads and writes the memory file, so that async threads never block on the disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::circuit::Circuit;
use super::error::StoreError;
use super::false_alarm::FalseAlarm;
use super::saved_identity::{SavedIdentity, SavedIdentityKey};
use super::store::{IdentityRow, PendingWrites, Store, TierRow};
use super::tables::{CircuitUpdate, SizeRow, SizeUpdate};
use super::tally::DecayingTally;
use super::tiers::StatKey;
use crate::tier::Tier;

/// A command to the thread.
enum StoreCommand {
    RecordTally(TierRow),
    SaveIdentity(Box<IdentityRow>),
    DropIdentity { key: SavedIdentityKey, host: String },
    RecordSize(SizeUpdate),
    RecordCircuit(CircuitUpdate),
    RecordFalseAlarm(FalseAlarm),
    LoadCircuits { host: String, reply: oneshot::Sender<Vec<Circuit>> },
    LoadSite { site: String, key: SavedIdentityKey, host: String, reply: oneshot::Sender<LoadedSite> },
    Flush(oneshot::Sender<()>),
}

/// The rows of a site, and the saved identity at a host.
#[derive(Debug, Default)]
pub(super) struct LoadedSite {
    pub(super) tallies: Vec<(StatKey, DecayingTally)>,
    pub(super) page_sizes: Vec<SizeRow>,
    pub(super) false_alarms: Vec<FalseAlarm>,
    pub(super) identity: Option<SavedIdentity>,
}

/// Handle of the thread. After it is dropped, the thread writes its pending rows and exits.
pub(super) struct StoreHandle(Sender<StoreCommand>);

impl StoreHandle {
    /// Starts the thread, which opens the file on first use. After each write it calls `on_write` with the
    /// tallies of all processes.
    pub(super) fn start(
        path: PathBuf,
        now: impl Fn() -> i64 + Send + 'static,
        on_write: impl Fn(Vec<TierRow>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let mut worker = StoreWorker {
            path,
            state: StoreState::Closed,
            tallies: HashMap::new(),
            identities: HashMap::new(),
            sizes: Vec::new(),
            circuits: HashMap::new(),
            false_alarms: Vec::new(),
            warned: false,
        };
        std::thread::Builder::new()
            .name("rungs-memory".to_owned())
            .spawn(move || worker.run(&receiver, &now, &on_write))?;
        Ok(Self(sender))
    }

    pub(super) fn record_tally(&self, row: TierRow) {
        let _ = self.0.send(StoreCommand::RecordTally(row));
    }

    pub(super) fn save_identity(&self, row: IdentityRow) {
        let _ = self.0.send(StoreCommand::SaveIdentity(Box::new(row)));
    }

    pub(super) fn drop_identity(&self, key: SavedIdentityKey, host: &str) {
        let _ = self.0.send(StoreCommand::DropIdentity { key, host: host.to_owned() });
    }

    pub(super) fn record_size(&self, update: SizeUpdate) {
        let _ = self.0.send(StoreCommand::RecordSize(update));
    }

    pub(super) fn record_circuit(&self, update: CircuitUpdate) {
        let _ = self.0.send(StoreCommand::RecordCircuit(update));
    }

    pub(super) fn record_false_alarm(&self, alarm: FalseAlarm) {
        let _ = self.0.send(StoreCommand::RecordFalseAlarm(alarm));
    }

    /// Returns the open circuits of `host`, or none if the thread does not reply within two seconds.
    pub(super) async fn load_circuits(&self, host: &str) -> Vec<Circuit> {
        let (reply, response) = oneshot::channel();
        if self.0.send(StoreCommand::LoadCircuits { host: host.to_owned(), reply }).is_err() {
            return Vec::new();
        }
        timeout(READ_TIMEOUT, response).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Returns the rows of a site, or none if the thread does not reply within two seconds.
    pub(super) async fn load_site(&self, site: &str, key: &SavedIdentityKey, host: &str) -> LoadedSite {
        let (reply, response) = oneshot::channel();
        let command =
            StoreCommand::LoadSite { site: site.to_owned(), key: key.clone(), host: host.to_owned(), reply };
        if self.0.send(command).is_err() {
            return LoadedSite::default();
        }
        match timeout(READ_TIMEOUT, response).await {
            Ok(Ok(loaded)) => loaded,
            _ => LoadedSite::default(),
        }
    }

    /// Waits until all commands so far are processed, at most ten seconds.
    pub(super) async fn flush(&self) {
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
    /// Rows that are not written yet.
    tallies: HashMap<(String, StatKey), DecayingTally>,
    identities: HashMap<(SavedIdentityKey, String), IdentityRow>,
    sizes: Vec<SizeUpdate>,
    /// The newest change per host and tier.
    circuits: HashMap<(String, Tier), CircuitUpdate>,
    false_alarms: Vec<FalseAlarm>,
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
    fn run(
        &mut self,
        commands: &Receiver<StoreCommand>,
        now: &dyn Fn() -> i64,
        on_write: &dyn Fn(Vec<TierRow>),
    ) {
        let mut due: Option<Instant> = None;
        loop {
            let command = match due {
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => commands.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match command {
                Ok(StoreCommand::RecordTally(row)) => self.add_tally(row),
                Ok(StoreCommand::SaveIdentity(row)) => {
                    self.identities.insert((row.key.clone(), row.host.clone()), *row);
                }
                Ok(StoreCommand::DropIdentity { key, host }) => {
                    self.identities.remove(&(key.clone(), host.clone()));
                    let _ = self.with_store(|store| store.drop_identity(&key, &host));
                }
                Ok(StoreCommand::RecordSize(update)) => {
                    if self.sizes.len() < MAX_PENDING {
                        self.sizes.push(update);
                    }
                }
                Ok(StoreCommand::RecordCircuit(update)) => self.add_circuit(update),
                Ok(StoreCommand::RecordFalseAlarm(alarm)) => {
                    if self.false_alarms.len() < MAX_PENDING {
                        self.false_alarms.push(alarm);
                    }
                }
                Ok(StoreCommand::LoadCircuits { host, reply }) => {
                    let read = |store: &mut Store| store.circuits(Some(&host), now());
                    let _ = reply.send(self.with_store(read).unwrap_or_default());
                }
                Ok(StoreCommand::LoadSite { site, key, host, reply }) => {
                    let _ = reply.send(self.load_site(&site, &key, &host));
                }
                Ok(StoreCommand::Flush(reply)) => {
                    self.write(now(), on_write);
                    let _ = reply.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.write(now(), on_write),
                Err(RecvTimeoutError::Disconnected) => {
                    self.write(now(), on_write);
                    return;
                }
            }
            due = (!self.is_idle())
                .then(|| due.filter(|at| *at > Instant::now()).unwrap_or(Instant::now() + WRITE_DELAY));
        }
    }

    fn add_tally(&mut self, row: TierRow) {
        if self.tallies.len() < MAX_PENDING {
            let tally = self.tallies.entry((row.site, row.key)).or_default();
            *tally = tally.merge(row.tally);
        }
    }

    fn add_circuit(&mut self, update: CircuitUpdate) {
        let key = match &update {
            CircuitUpdate::Open(circuit) => (circuit.host.clone(), circuit.tier),
            CircuitUpdate::Closed { host, tier } => (host.clone(), *tier),
        };
        if self.circuits.len() < MAX_PENDING {
            self.circuits.insert(key, update);
        }
    }

    fn is_idle(&self) -> bool {
        self.tallies.is_empty()
            && self.identities.is_empty()
            && self.sizes.is_empty()
            && self.circuits.is_empty()
            && self.false_alarms.is_empty()
    }

    fn write(&mut self, now: i64, on_write: &dyn Fn(Vec<TierRow>)) {
        if self.is_idle() {
            return;
        }
        let to_row = |((site, key), tally): (&(String, StatKey), &DecayingTally)| TierRow {
            site: site.clone(),
            key: key.clone(),
            tally: *tally,
        };
        let pending = PendingWrites {
            tallies: self.tallies.iter().map(to_row).collect(),
            identities: self.identities.values().cloned().collect(),
            sizes: self.sizes.clone(),
            circuits: self.circuits.values().cloned().collect(),
            false_alarms: self.false_alarms.clone(),
        };
        match self.with_store(|store| store.add(&pending, now)) {
            Some(sums) => {
                self.discard_pending();
                on_write(sums);
            }
            // The rows will never be written.
            None if matches!(self.state, StoreState::Disabled) => self.discard_pending(),
            None => {}
        }
        if self.identities.len() > MAX_PENDING {
            self.identities.clear();
        }
    }

    fn discard_pending(&mut self) {
        self.tallies.clear();
        self.identities.clear();
        self.sizes.clear();
        self.circuits.clear();
        self.false_alarms.clear();
    }

    fn load_site(&mut self, site: &str, key: &SavedIdentityKey, host: &str) -> LoadedSite {
        let read = |store: &mut Store| {
            let tallies = store.tallies(Some(site))?.into_iter().map(|row| (row.key, row.tally)).collect();
            Ok(LoadedSite {
                tallies,
                page_sizes: store.page_sizes(Some(site))?,
                false_alarms: store.false_alarms(Some(site))?,
                identity: store.identity(key, host)?,
            })
        };
        self.with_store(read).unwrap_or_default()
    }

    /// Calls `work` with the open file. Returns `None` if the file cannot be used, and logs one warning.
    fn with_store<T>(&mut self, mut work: impl FnMut(&mut Store) -> Result<T, StoreError>) -> Option<T> {
        for _ in 0..2 {
            let result = self.open_store().and_then(|store| store.map(&mut work).transpose());
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

    /// Returns the file, which it opens if it is closed or its retry is due.
    fn open_store(&mut self) -> Result<Option<&mut Store>, StoreError> {
        let should_open = match &self.state {
            StoreState::Closed => true,
            StoreState::Failed(retry_at) => *retry_at <= Instant::now(),
            StoreState::Open(_) | StoreState::Disabled => false,
        };
        if should_open {
            let (store, aside) = Store::open(&self.path)?;
            if let Some(aside) = aside {
                tracing::warn!(
                    "the host memory {} was corrupt: moved it to {} and started a new one",
                    self.path.display(),
                    aside.display()
                );
            }
            self.state = StoreState::Open(store);
        }
        Ok(match &mut self.state {
            StoreState::Open(store) => Some(store),
            _ => None,
        })
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

/// How long rows are collected before they are written.
const WRITE_DELAY: Duration = Duration::from_millis(500);
/// Delay before a failed file is opened again.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// How long a fetch waits for the file.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of pending rows of one kind while the file fails.
const MAX_PENDING: usize = 10_000;
