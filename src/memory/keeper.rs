//! The thread that reads and writes the memory file, so that no async thread waits for a disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::circuit::Circuit;
use super::evidence::Slot;
use super::fault::Fault;
use super::saved::{Saved, Who};
use super::store::{Held, Line, News, Store};
use super::tables::{Measured, Pages, Turned};
use super::tally::Tally;
use crate::tier::Tier;

/// What the thread is asked for.
enum Ask {
    Seen(Line),
    Held(Box<Held>),
    Dropped { who: Who, host: String },
    Measured(Measured),
    Turned(Turned),
    Circuits { host: String, reply: oneshot::Sender<Vec<Circuit>> },
    Recall { site: String, who: Who, host: String, reply: oneshot::Sender<Recalled> },
    Flush(oneshot::Sender<()>),
}

/// What the file knew of a site, and of an identity at a host.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    pub(super) evidence: Vec<(Slot, Tally)>,
    pub(super) usual: Vec<Pages>,
    pub(super) saved: Option<Saved>,
}

/// The way to the thread. Dropped, the thread writes what it has and ends.
pub(super) struct Keeper(Sender<Ask>);

impl Keeper {
    /// Starts the thread; the file is opened when it is first needed. `learned` hears the sums of all
    /// processes after a write.
    pub(super) fn start(
        path: PathBuf,
        now: impl Fn() -> i64 + Send + 'static,
        learned: impl Fn(Vec<Line>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (asks, asked) = channel();
        let mut desk = Desk {
            path,
            state: State::Closed,
            seen: HashMap::new(),
            held: HashMap::new(),
            measured: Vec::new(),
            turned: HashMap::new(),
            warned: false,
        };
        std::thread::Builder::new()
            .name("rungs-memory".to_owned())
            .spawn(move || desk.serve(&asked, &now, &learned))?;
        Ok(Self(asks))
    }

    pub(super) fn seen(&self, line: Line) {
        let _ = self.0.send(Ask::Seen(line));
    }

    pub(super) fn held(&self, held: Held) {
        let _ = self.0.send(Ask::Held(Box::new(held)));
    }

    pub(super) fn dropped(&self, who: Who, host: &str) {
        let _ = self.0.send(Ask::Dropped { who, host: host.to_owned() });
    }

    pub(super) fn measured(&self, measured: Measured) {
        let _ = self.0.send(Ask::Measured(measured));
    }

    pub(super) fn turned(&self, turned: Turned) {
        let _ = self.0.send(Ask::Turned(turned));
    }

    /// On which tiers the file says that `host` is left alone. On none, when it does not say within two seconds.
    pub(super) async fn circuits(&self, host: &str) -> Vec<Circuit> {
        let (reply, answer) = oneshot::channel();
        if self.0.send(Ask::Circuits { host: host.to_owned(), reply }).is_err() {
            return Vec::new();
        }
        timeout(PATIENCE, answer).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// What the file knows. Nothing, when it does not say within two seconds.
    pub(super) async fn recall(&self, site: &str, who: &Who, host: &str) -> Recalled {
        let (reply, answer) = oneshot::channel();
        let ask = Ask::Recall { site: site.to_owned(), who: who.clone(), host: host.to_owned(), reply };
        if self.0.send(ask).is_err() {
            return Recalled::default();
        }
        match timeout(PATIENCE, answer).await {
            Ok(Ok(recalled)) => recalled,
            _ => Recalled::default(),
        }
    }

    /// Waits until all so far is written, or cannot be.
    pub(super) async fn flush(&self) {
        let (reply, answer) = oneshot::channel();
        if self.0.send(Ask::Flush(reply)).is_ok() {
            let _ = timeout(PATIENCE * 5, answer).await;
        }
    }
}

/// The thread's own.
struct Desk {
    path: PathBuf,
    state: State,
    /// What is not written yet.
    seen: HashMap<(String, Slot), Tally>,
    held: HashMap<(Who, String), Held>,
    measured: Vec<Measured>,
    /// The newest, by host and tier.
    turned: HashMap<(String, Tier), Turned>,
    /// Whether the user was told that the file does not work.
    warned: bool,
}

enum State {
    Closed,
    Open(Store),
    /// It failed, and is tried again from then on.
    Failed(Instant),
    /// It is not ours to touch.
    Off,
}

impl Desk {
    fn serve(&mut self, asked: &Receiver<Ask>, now: &dyn Fn() -> i64, learned: &dyn Fn(Vec<Line>)) {
        let mut due: Option<Instant> = None;
        loop {
            let ask = match due {
                None => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => asked.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match ask {
                Ok(Ask::Seen(line)) => self.note(line),
                Ok(Ask::Held(held)) => {
                    self.held.insert((held.who.clone(), held.host.clone()), *held);
                }
                Ok(Ask::Dropped { who, host }) => {
                    self.held.remove(&(who.clone(), host.clone()));
                    let _ = self.with(|store| store.drop_held(&who, &host));
                }
                Ok(Ask::Measured(measured)) => {
                    if self.measured.len() < MAX_WAITING {
                        self.measured.push(measured);
                    }
                }
                Ok(Ask::Turned(turned)) => self.turn(turned),
                Ok(Ask::Circuits { host, reply }) => {
                    let read = |store: &mut Store| store.circuits(Some(&host), now());
                    let _ = reply.send(self.with(read).unwrap_or_default());
                }
                Ok(Ask::Recall { site, who, host, reply }) => {
                    let _ = reply.send(self.recall(&site, &who, &host));
                }
                Ok(Ask::Flush(reply)) => {
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
                .then(|| due.filter(|at| *at > Instant::now()).unwrap_or(Instant::now() + GATHER));
        }
    }

    fn note(&mut self, line: Line) {
        if self.seen.len() < MAX_WAITING {
            let tally = self.seen.entry((line.site, line.slot)).or_default();
            *tally = tally.and(line.tally);
        }
    }

    fn turn(&mut self, turned: Turned) {
        let key = match &turned {
            Turned::Open(circuit) => (circuit.host.clone(), circuit.tier),
            Turned::Closed { host, tier } => (host.clone(), *tier),
        };
        if self.turned.len() < MAX_WAITING {
            self.turned.insert(key, turned);
        }
    }

    fn is_idle(&self) -> bool {
        self.seen.is_empty() && self.held.is_empty() && self.measured.is_empty() && self.turned.is_empty()
    }

    fn write(&mut self, now: i64, learned: &dyn Fn(Vec<Line>)) {
        if self.is_idle() {
            return;
        }
        let line = |((site, slot), tally): (&(String, Slot), &Tally)| Line {
            site: site.clone(),
            slot: slot.clone(),
            tally: *tally,
        };
        let news = News {
            seen: self.seen.iter().map(line).collect(),
            held: self.held.values().cloned().collect(),
            measured: self.measured.clone(),
            turned: self.turned.values().cloned().collect(),
        };
        match self.with(|store| store.add(&news, now)) {
            Some(sums) => {
                self.forget();
                learned(sums);
            }
            // What will never be written need not wait.
            None if matches!(self.state, State::Off) => self.forget(),
            None => {}
        }
        if self.held.len() > MAX_WAITING {
            self.held.clear();
        }
    }

    /// Nothing waits any more.
    fn forget(&mut self) {
        self.seen.clear();
        self.held.clear();
        self.measured.clear();
        self.turned.clear();
    }

    fn recall(&mut self, site: &str, who: &Who, host: &str) -> Recalled {
        let read = |store: &mut Store| {
            Ok((store.evidence(Some(site))?, store.usual(Some(site))?, store.held(who, host)?))
        };
        let (lines, usual, saved) = self.with(read).unwrap_or_default();
        let evidence = lines.into_iter().map(|line| (line.slot, line.tally)).collect();
        Recalled { evidence, usual, saved }
    }

    /// Does `work` with the open file. `None` when that is not possible, which the user is told once.
    fn with<T>(&mut self, mut work: impl FnMut(&mut Store) -> Result<T, Fault>) -> Option<T> {
        for _ in 0..2 {
            let done = self.store().and_then(|store| store.map(&mut work).transpose());
            match done {
                Ok(done) => return done,
                // Opened anew, it is moved aside; the second time round it is a fresh one.
                Err(Fault::Corrupt(_)) if matches!(self.state, State::Open(_)) => self.state = State::Closed,
                Err(fault) => {
                    self.failed(fault);
                    return None;
                }
            }
        }
        None
    }

    /// The file, opened if it is time to.
    fn store(&mut self) -> Result<Option<&mut Store>, Fault> {
        let closed = match &self.state {
            State::Closed => true,
            State::Failed(again) => *again <= Instant::now(),
            State::Open(_) | State::Off => false,
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
            self.state = State::Open(store);
        }
        Ok(match &mut self.state {
            State::Open(store) => Some(store),
            _ => None,
        })
    }

    fn failed(&mut self, fault: Fault) {
        // Another process at work passes sooner than a full disk.
        let (again, is_busy) = (fault.may_pass(), matches!(fault, Fault::Busy));
        let error = fault.at(&self.path);
        if !self.warned {
            self.warned = true;
            tracing::warn!("{}; what is learned now is for this run only", error.chain());
        }
        if !is_busy || !matches!(self.state, State::Open(_)) {
            self.state = if again { State::Failed(Instant::now() + TRY_AGAIN) } else { State::Off };
        }
    }
}

/// How long what was learned is gathered before it is written.
const GATHER: Duration = Duration::from_millis(500);
/// After how long a file that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// How long a fetch waits for the file.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that waits for a file that fails.
const MAX_WAITING: usize = 10_000;
