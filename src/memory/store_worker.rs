//! The thread that reads and writes the memory file, so that no async thread waits for a disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::circuit::Circuit;
use super::error::StoreError;
use super::saved_identity::{SavedIdentity, SavedIdentityKey};
use super::store::{IdentityRow, PendingWrites, Store, TierRow};
use super::tables::{CircuitUpdate, SizeRow, SizeUpdate};
use super::tally::DecayingTally;
use super::tiers::StatKey;
use crate::tier::Tier;

/// What the thread is asked for.
enum StoreCommand {
    RecordTally(TierRow),
    SaveIdentity(Box<IdentityRow>),
    DropIdentity { key: SavedIdentityKey, host: String },
    RecordSize(SizeUpdate),
    RecordCircuit(CircuitUpdate),
    LoadCircuits { host: String, reply: oneshot::Sender<Vec<Circuit>> },
    LoadSite { site: String, key: SavedIdentityKey, host: String, reply: oneshot::Sender<LoadedSite> },
    Flush(oneshot::Sender<()>),
}

/// What the file knew of a site, and of an identity at a host.
#[derive(Debug, Default)]
pub(super) struct LoadedSite {
    pub(super) tallies: Vec<(StatKey, DecayingTally)>,
    pub(super) page_sizes: Vec<SizeRow>,
    pub(super) identity: Option<SavedIdentity>,
}

/// The way to the thread. Dropped, the thread writes what it has and ends.
pub(super) struct StoreHandle(Sender<StoreCommand>);

impl StoreHandle {
    /// Starts the thread; the file is opened when it is first needed. `learned` hears the sums of all
    /// processes after a write.
    pub(super) fn start(
        path: PathBuf,
        now: impl Fn() -> i64 + Send + 'static,
        learned: impl Fn(Vec<TierRow>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (asks, asked) = channel();
        let mut desk = StoreWorker {
            path,
            state: StoreState::Closed,
            tallies: HashMap::new(),
            identities: HashMap::new(),
            sizes: Vec::new(),
            circuits: HashMap::new(),
            warned: false,
        };
        std::thread::Builder::new()
            .name("rungs-memory".to_owned())
            .spawn(move || desk.run(&asked, &now, &learned))?;
        Ok(Self(asks))
    }

    pub(super) fn record_tally(&self, line: TierRow) {
        let _ = self.0.send(StoreCommand::RecordTally(line));
    }

    pub(super) fn save_identity(&self, held: IdentityRow) {
        let _ = self.0.send(StoreCommand::SaveIdentity(Box::new(held)));
    }

    pub(super) fn drop_identity(&self, who: SavedIdentityKey, host: &str) {
        let _ = self.0.send(StoreCommand::DropIdentity { key: who, host: host.to_owned() });
    }

    pub(super) fn record_size(&self, measured: SizeUpdate) {
        let _ = self.0.send(StoreCommand::RecordSize(measured));
    }

    pub(super) fn record_circuit(&self, turned: CircuitUpdate) {
        let _ = self.0.send(StoreCommand::RecordCircuit(turned));
    }

    /// On which tiers the file says that `host` is left alone. On none, when it does not say within two seconds.
    pub(super) async fn load_circuits(&self, host: &str) -> Vec<Circuit> {
        let (reply, answer) = oneshot::channel();
        if self.0.send(StoreCommand::LoadCircuits { host: host.to_owned(), reply }).is_err() {
            return Vec::new();
        }
        timeout(READ_TIMEOUT, answer).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// What the file knows. Nothing, when it does not say within two seconds.
    pub(super) async fn load_site(&self, site: &str, who: &SavedIdentityKey, host: &str) -> LoadedSite {
        let (reply, answer) = oneshot::channel();
        let ask =
            StoreCommand::LoadSite { site: site.to_owned(), key: who.clone(), host: host.to_owned(), reply };
        if self.0.send(ask).is_err() {
            return LoadedSite::default();
        }
        match timeout(READ_TIMEOUT, answer).await {
            Ok(Ok(recalled)) => recalled,
            _ => LoadedSite::default(),
        }
    }

    /// Waits until all so far is written, or cannot be.
    pub(super) async fn flush(&self) {
        let (reply, answer) = oneshot::channel();
        if self.0.send(StoreCommand::Flush(reply)).is_ok() {
            let _ = timeout(READ_TIMEOUT * 5, answer).await;
        }
    }
}

/// The thread's own.
struct StoreWorker {
    path: PathBuf,
    state: StoreState,
    /// What is not written yet.
    tallies: HashMap<(String, StatKey), DecayingTally>,
    identities: HashMap<(SavedIdentityKey, String), IdentityRow>,
    sizes: Vec<SizeUpdate>,
    /// The newest, by host and tier.
    circuits: HashMap<(String, Tier), CircuitUpdate>,
    /// Whether the user was told that the file does not work.
    warned: bool,
}

enum StoreState {
    Closed,
    Open(Store),
    /// It failed, and is tried again from then on.
    Failed(Instant),
    /// It is not ours to touch.
    Disabled,
}

impl StoreWorker {
    fn run(&mut self, asked: &Receiver<StoreCommand>, now: &dyn Fn() -> i64, learned: &dyn Fn(Vec<TierRow>)) {
        let mut due: Option<Instant> = None;
        loop {
            let ask = match due {
                None => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => asked.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match ask {
                Ok(StoreCommand::RecordTally(line)) => self.add_tally(line),
                Ok(StoreCommand::SaveIdentity(held)) => {
                    self.identities.insert((held.key.clone(), held.host.clone()), *held);
                }
                Ok(StoreCommand::DropIdentity { key: who, host }) => {
                    self.identities.remove(&(who.clone(), host.clone()));
                    let _ = self.with_store(|store| store.drop_identity(&who, &host));
                }
                Ok(StoreCommand::RecordSize(measured)) => {
                    if self.sizes.len() < MAX_PENDING {
                        self.sizes.push(measured);
                    }
                }
                Ok(StoreCommand::RecordCircuit(turned)) => self.add_circuit(turned),
                Ok(StoreCommand::LoadCircuits { host, reply }) => {
                    let read = |store: &mut Store| store.circuits(Some(&host), now());
                    let _ = reply.send(self.with_store(read).unwrap_or_default());
                }
                Ok(StoreCommand::LoadSite { site, key: who, host, reply }) => {
                    let _ = reply.send(self.load_site(&site, &who, &host));
                }
                Ok(StoreCommand::Flush(reply)) => {
                    self.write(now(), learned);
                    let _ = reply.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.write(now(), learned),
                Err(RecvTimeoutError::Disconnected) => {
                    self.write(now(), learned);
                    return;
                }
            }
            due = (!self.is_idle())
                .then(|| due.filter(|at| *at > Instant::now()).unwrap_or(Instant::now() + WRITE_DELAY));
        }
    }

    fn add_tally(&mut self, line: TierRow) {
        if self.tallies.len() < MAX_PENDING {
            let tally = self.tallies.entry((line.site, line.key)).or_default();
            *tally = tally.merge(line.tally);
        }
    }

    fn add_circuit(&mut self, turned: CircuitUpdate) {
        let key = match &turned {
            CircuitUpdate::Open(circuit) => (circuit.host.clone(), circuit.tier),
            CircuitUpdate::Closed { host, tier } => (host.clone(), *tier),
        };
        if self.circuits.len() < MAX_PENDING {
            self.circuits.insert(key, turned);
        }
    }

    fn is_idle(&self) -> bool {
        self.tallies.is_empty()
            && self.identities.is_empty()
            && self.sizes.is_empty()
            && self.circuits.is_empty()
    }

    fn write(&mut self, now: i64, learned: &dyn Fn(Vec<TierRow>)) {
        if self.is_idle() {
            return;
        }
        let line = |((site, slot), tally): (&(String, StatKey), &DecayingTally)| TierRow {
            site: site.clone(),
            key: slot.clone(),
            tally: *tally,
        };
        let news = PendingWrites {
            tallies: self.tallies.iter().map(line).collect(),
            identities: self.identities.values().cloned().collect(),
            sizes: self.sizes.clone(),
            circuits: self.circuits.values().cloned().collect(),
        };
        match self.with_store(|store| store.add(&news, now)) {
            Some(sums) => {
                self.discard_pending();
                learned(sums);
            }
            // What will never be written need not wait.
            None if matches!(self.state, StoreState::Disabled) => self.discard_pending(),
            None => {}
        }
        if self.identities.len() > MAX_PENDING {
            self.identities.clear();
        }
    }

    /// Nothing waits any more.
    fn discard_pending(&mut self) {
        self.tallies.clear();
        self.identities.clear();
        self.sizes.clear();
        self.circuits.clear();
    }

    fn load_site(&mut self, site: &str, who: &SavedIdentityKey, host: &str) -> LoadedSite {
        let read = |store: &mut Store| {
            Ok((store.tallies(Some(site))?, store.page_sizes(Some(site))?, store.identity(who, host)?))
        };
        let (lines, usual, saved) = self.with_store(read).unwrap_or_default();
        let evidence = lines.into_iter().map(|line| (line.key, line.tally)).collect();
        LoadedSite { tallies: evidence, page_sizes: usual, identity: saved }
    }

    /// Does `work` with the open file. `None` when that is not possible, which the user is told once.
    fn with_store<T>(&mut self, mut work: impl FnMut(&mut Store) -> Result<T, StoreError>) -> Option<T> {
        for _ in 0..2 {
            let done = self.open_store().and_then(|store| store.map(&mut work).transpose());
            match done {
                Ok(done) => return done,
                // Opened anew, it is moved aside; the second time round it is a fresh one.
                Err(StoreError::Corrupt(_)) if matches!(self.state, StoreState::Open(_)) => {
                    self.state = StoreState::Closed
                }
                Err(fault) => {
                    self.on_error(fault);
                    return None;
                }
            }
        }
        None
    }

    /// The file, opened if it is time to.
    fn open_store(&mut self) -> Result<Option<&mut Store>, StoreError> {
        let closed = match &self.state {
            StoreState::Closed => true,
            StoreState::Failed(again) => *again <= Instant::now(),
            StoreState::Open(_) | StoreState::Disabled => false,
        };
        if closed {
            let (store, aside) = Store::open(&self.path)?;
            if let Some(aside) = aside {
                tracing::warn!(
                    "the host memory {} was damaged: it is now {}, and a new one was begun",
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

    fn on_error(&mut self, fault: StoreError) {
        // Another process at work passes sooner than a full disk.
        let (again, is_busy) = (fault.is_transient(), matches!(fault, StoreError::Busy));
        let error = fault.into_error(&self.path);
        if !self.warned {
            self.warned = true;
            tracing::warn!("{}; what is learned now is for this run only", error.chain());
        }
        if !is_busy || !matches!(self.state, StoreState::Open(_)) {
            self.state =
                if again { StoreState::Failed(Instant::now() + RETRY_DELAY) } else { StoreState::Disabled };
        }
    }
}

/// How long what was learned is gathered before it is written.
const WRITE_DELAY: Duration = Duration::from_millis(500);
/// After how long a file that failed is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// How long a fetch waits for the file.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// The most that waits for a file that fails.
const MAX_PENDING: usize = 10_000;
