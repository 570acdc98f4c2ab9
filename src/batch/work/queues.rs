//! A queue for each host, some of it in memory and the rest on disk. Nobody waits here.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::spill::{Queue, Spill};
use super::{Lease, LeaseId, Work};

/// What is still to be done, by host, and what is lent.
pub(super) struct Queues {
    hosts: HashMap<Arc<str>, Host>,
    /// Hosts that have tasks and are not held, each once.
    turns: VecDeque<Arc<str>>,
    /// When holds end; one that was changed meanwhile is passed over.
    holds: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    leases: HashMap<LeaseId, Lent>,
    next: u64,
    /// Tasks in memory, and about how large they are.
    pub(super) tasks: usize,
    bytes: usize,
    spill: Spill,
    buried: Option<Queue>,
    is_closed: bool,
    cap: usize,
    swept: Instant,
}

#[derive(Default)]
struct Host {
    /// Each has tasks; the least deep is first.
    levels: Vec<Level>,
    held: Held,
    in_turn: bool,
}

/// The tasks of one depth.
struct Level {
    depth: u32,
    queue: VecDeque<Work>,
    /// Behind what is in `queue`.
    disk: Option<Queue>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Held {
    #[default]
    No,
    Until(Instant),
    /// Until it is freed.
    Shut,
}

struct Lent {
    work: Work,
    until: Instant,
}

impl Queues {
    /// None yet. `cap` tasks are held in memory; what has no room goes to `spill`.
    pub(super) fn new(spill: Spill, cap: usize) -> Self {
        Self {
            hosts: HashMap::new(),
            turns: VecDeque::new(),
            holds: BinaryHeap::new(),
            leases: HashMap::new(),
            next: 0,
            tasks: 0,
            bytes: 0,
            spill,
            buried: None,
            is_closed: false,
            cap,
            swept: Instant::now(),
        }
    }

    /// Nothing more comes from the input.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether a host waits for its turn.
    pub(super) fn has_turns(&self) -> bool {
        !self.turns.is_empty()
    }

    /// When to look again, at the latest.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        self.holds.peek().map_or(now + SWEEP, |Reverse((at, _))| (*at).min(now + SWEEP))
    }

    /// Whether another task is taken: there is room in memory, or nothing there that could be lent.
    pub(super) fn has_room(&self) -> bool {
        if self.tasks < self.cap && self.bytes < BYTES {
            return true;
        }
        self.turns.is_empty() && self.spill.size() < SPILL && self.hosts.len() < HOSTS
    }

    pub(super) fn push(&mut self, work: Work) -> io::Result<()> {
        let is_full = self.tasks >= self.cap || self.bytes >= BYTES;
        let name: Arc<str> = work.host.as_str().into();
        let level = self.hosts.entry(Arc::clone(&name)).or_default().level(work.task.depth);
        if is_full || level.disk.is_some() {
            return self.spill.push(&mut level.disk, &written(&work)?).map(|()| self.queue_up(&name));
        }
        self.tasks += 1;
        self.bytes += size(&work);
        level.queue.push_back(work);
        self.queue_up(&name);
        Ok(())
    }

    /// The host takes its place in line, where it has tasks and is not held.
    fn queue_up(&mut self, name: &Arc<str>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.held == Held::No && !host.in_turn && host.has_tasks() {
            host.in_turn = true;
            self.turns.push_back(Arc::clone(name));
        } else if host.held == Held::No && !host.has_tasks() {
            self.hosts.remove(name);
        }
    }

    /// The next task of the next host.
    pub(super) fn take(&mut self) -> io::Result<Option<Work>> {
        while let Some(name) = self.turns.pop_front() {
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            host.in_turn = false;
            if host.held != Held::No {
                continue;
            }
            let Some(level) = host.levels.first_mut() else { continue };
            let work = match level.queue.pop_front() {
                Some(work) => {
                    self.tasks -= 1;
                    self.bytes -= size(&work).min(self.bytes);
                    Some(work)
                }
                None => match self.spill.pop(&mut level.disk)? {
                    Some(bytes) => Some(read(&bytes)?),
                    None => None,
                },
            };
            if !level.has_tasks() {
                host.levels.remove(0);
            }
            self.queue_up(&name);
            if work.is_some() {
                return Ok(work);
            }
        }
        Ok(None)
    }

    /// What is lent as `lease` is done with.
    pub(super) fn acknowledge(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
    }

    pub(super) fn lend(&mut self, work: Work, until: Instant) -> Lease {
        self.next += 1;
        let id = LeaseId(self.next);
        let lease = Lease { id, task: work.task.clone(), key: work.key, host: work.host.clone() };
        self.leases.insert(id, Lent { work, until });
        lease
    }

    pub(super) fn release(&mut self, lease: LeaseId) {
        let Some(Lent { work, .. }) = self.leases.remove(&lease) else { return };
        let name: Arc<str> = work.host.as_str().into();
        self.tasks += 1;
        self.bytes += size(&work);
        let level = self.hosts.entry(Arc::clone(&name)).or_default().level(work.task.depth);
        level.queue.push_front(work);
        self.queue_up(&name);
    }

    pub(super) fn bury(&mut self, lease: LeaseId) -> io::Result<()> {
        let Some(Lent { work, .. }) = self.leases.remove(&lease) else { return Ok(()) };
        self.spill.push(&mut self.buried, &written(&work)?)
    }

    pub(super) fn revive(&mut self) -> io::Result<u64> {
        // What finds no room in memory goes to the disk again, behind what is there.
        let count = self.buried.map_or(0, |queue| queue.len);
        for _ in 0..count {
            let Some(bytes) = self.spill.pop(&mut self.buried)? else { break };
            self.push(read(&bytes)?)?;
        }
        Ok(count)
    }

    pub(super) fn hold(&mut self, host: &str, until: Option<Instant>) {
        let name: Arc<str> = host.into();
        self.hosts.entry(Arc::clone(&name)).or_default().held = until.map_or(Held::Shut, Held::Until);
        if let Some(until) = until {
            self.holds.push(Reverse((until, name)));
        }
    }

    pub(super) fn free(&mut self, host: &str) {
        let Some((name, known)) = self.hosts.get_key_value(host) else { return };
        if known.held == Held::No {
            return;
        }
        let name = Arc::clone(name);
        if let Some(known) = self.hosts.get_mut(&name) {
            known.held = Held::No;
        }
        self.queue_up(&name);
    }

    /// Ends the holds whose time has come, and takes back what was not heard of in time.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(Reverse((at, _))) = self.holds.peek()
            && *at <= now
            && let Some(Reverse((at, name))) = self.holds.pop()
        {
            if self.hosts.get(&name).is_some_and(|host| host.held == Held::Until(at)) {
                self.free(&name);
            }
        }
        if now >= self.swept + SWEEP {
            self.swept = now;
            let late = self.leases.iter().filter(|(_, lent)| lent.until <= now);
            let late: Vec<LeaseId> = late.map(|(id, _)| *id).collect();
            for lease in late {
                self.release(lease);
            }
        }
    }

    /// Nothing is left, and nothing can come back.
    pub(super) fn is_drained(&self) -> bool {
        self.is_closed && self.leases.is_empty() && self.hosts.values().all(|host| !host.has_tasks())
    }
}

impl Host {
    fn has_tasks(&self) -> bool {
        !self.levels.is_empty()
    }

    /// The tasks of one depth; the caller adds one.
    fn level(&mut self, depth: u32) -> &mut Level {
        let at = self.levels.partition_point(|level| level.depth < depth);
        if self.levels.get(at).is_none_or(|level| level.depth != depth) {
            // Most hosts have one level, and there may be many hosts.
            self.levels.reserve_exact(1);
            self.levels.insert(at, Level { depth, queue: VecDeque::new(), disk: None });
        }
        &mut self.levels[at]
    }
}

impl Level {
    fn has_tasks(&self) -> bool {
        !self.queue.is_empty() || self.disk.is_some()
    }
}

/// About how much memory it takes, in bytes.
fn size(work: &Work) -> usize {
    let task = &work.task;
    let headers: usize = task.headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
    size_of::<Work>() + task.url.len() + task.body.as_ref().map_or(0, Vec::len) + headers
}

fn written(work: &Work) -> io::Result<Vec<u8>> {
    serde_json::to_vec(&work.task).map_err(io::Error::other)
}

fn read(bytes: &[u8]) -> io::Result<Work> {
    let task = serde_json::from_slice(bytes).map_err(io::Error::other)?;
    Work::new(task).map_err(|error| io::Error::other(error.chain()))
}

const BYTES: usize = 32 << 20;
const SPILL: u64 = 4 << 30;
const HOSTS: usize = 200_000;
/// How often it is looked for leases that are over.
const SWEEP: Duration = Duration::from_secs(1);
