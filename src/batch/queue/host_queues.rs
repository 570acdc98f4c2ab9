//! A queue for each host, some of it in memory and the rest on disk. Nobody waits here.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::spill::{DiskQueue, SpillFile};
use super::{Lease, LeaseId, QueuedTask};

/// What is still to be done, by host, and what is lent.
pub(super) struct HostQueues {
    hosts: HashMap<Arc<str>, HostQueue>,
    /// Hosts that have tasks and are not held, each once.
    ready_hosts: VecDeque<Arc<str>>,
    /// When holds end; one that was changed meanwhile is passed over.
    pauses: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    leases: HashMap<LeaseId, LeasedTask>,
    next_lease: u64,
    /// Tasks in memory, and about how large they are.
    pub(super) tasks: usize,
    bytes: usize,
    spill: SpillFile,
    deferred: Option<DiskQueue>,
    is_closed: bool,
    cap: usize,
    last_sweep: Instant,
}

#[derive(Default)]
struct HostQueue {
    /// Each has tasks; the least deep is first.
    depths: Vec<DepthQueue>,
    pause: PauseState,
    is_ready: bool,
}

/// The tasks of one depth.
struct DepthQueue {
    depth: u32,
    queue: VecDeque<QueuedTask>,
    /// Behind what is in `queue`.
    disk: Option<DiskQueue>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum PauseState {
    #[default]
    Active,
    PausedUntil(Instant),
    /// Until it is freed.
    Paused,
}

struct LeasedTask {
    work: QueuedTask,
    deadline: Instant,
}

impl HostQueues {
    /// None yet. `cap` tasks are held in memory; what has no room goes to `spill`.
    pub(super) fn new(spill: SpillFile, cap: usize) -> Self {
        Self {
            hosts: HashMap::new(),
            ready_hosts: VecDeque::new(),
            pauses: BinaryHeap::new(),
            leases: HashMap::new(),
            next_lease: 0,
            tasks: 0,
            bytes: 0,
            spill,
            deferred: None,
            is_closed: false,
            cap,
            last_sweep: Instant::now(),
        }
    }

    /// Nothing more comes from the input.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether a host waits for its turn.
    pub(super) fn has_ready_hosts(&self) -> bool {
        !self.ready_hosts.is_empty()
    }

    /// When to look again, at the latest.
    pub(super) fn next_wakeup(&self, now: Instant) -> Instant {
        self.pauses.peek().map_or(now + SWEEP_INTERVAL, |Reverse((at, _))| (*at).min(now + SWEEP_INTERVAL))
    }

    /// Whether another task is taken: there is room in memory, or nothing there that could be lent.
    pub(super) fn has_capacity(&self) -> bool {
        if self.tasks < self.cap && self.bytes < MAX_BYTES {
            return true;
        }
        self.ready_hosts.is_empty() && self.spill.size() < MAX_SPILL_BYTES && self.hosts.len() < MAX_HOSTS
    }

    pub(super) fn push(&mut self, work: QueuedTask) -> io::Result<()> {
        let is_full = self.tasks >= self.cap || self.bytes >= MAX_BYTES;
        let name: Arc<str> = work.host.as_str().into();
        let level = self.hosts.entry(Arc::clone(&name)).or_default().depth_queue(work.task.depth);
        if is_full || level.disk.is_some() {
            return self.spill.push(&mut level.disk, &serialize(&work)?).map(|()| self.enqueue_host(&name));
        }
        self.tasks += 1;
        self.bytes += memory_size(&work);
        level.queue.push_back(work);
        self.enqueue_host(&name);
        Ok(())
    }

    /// The host takes its place in line, where it has tasks and is not held.
    fn enqueue_host(&mut self, name: &Arc<str>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.pause == PauseState::Active && !host.is_ready && host.has_tasks() {
            host.is_ready = true;
            self.ready_hosts.push_back(Arc::clone(name));
        } else if host.pause == PauseState::Active && !host.has_tasks() {
            self.hosts.remove(name);
        }
    }

    /// The next task of the next host.
    pub(super) fn pop(&mut self) -> io::Result<Option<QueuedTask>> {
        while let Some(name) = self.ready_hosts.pop_front() {
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            host.is_ready = false;
            if host.pause != PauseState::Active {
                continue;
            }
            let Some(level) = host.depths.first_mut() else { continue };
            let work = match level.queue.pop_front() {
                Some(work) => {
                    self.tasks -= 1;
                    self.bytes -= memory_size(&work).min(self.bytes);
                    Some(work)
                }
                None => match self.spill.pop(&mut level.disk)? {
                    Some(bytes) => Some(deserialize(&bytes)?),
                    None => None,
                },
            };
            if !level.has_tasks() {
                host.depths.remove(0);
            }
            self.enqueue_host(&name);
            if work.is_some() {
                return Ok(work);
            }
        }
        Ok(None)
    }

    /// What is lent as `lease` is done with.
    pub(super) fn ack(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
    }

    pub(super) fn lease(&mut self, work: QueuedTask, until: Instant) -> Lease {
        self.next_lease += 1;
        let id = LeaseId(self.next_lease);
        let lease = Lease { id, task: work.task.clone(), key: work.key, host: work.host.clone() };
        self.leases.insert(id, LeasedTask { work, deadline: until });
        lease
    }

    pub(super) fn release(&mut self, lease: LeaseId) {
        let Some(LeasedTask { work, .. }) = self.leases.remove(&lease) else { return };
        let name: Arc<str> = work.host.as_str().into();
        self.tasks += 1;
        self.bytes += memory_size(&work);
        let level = self.hosts.entry(Arc::clone(&name)).or_default().depth_queue(work.task.depth);
        level.queue.push_front(work);
        self.enqueue_host(&name);
    }

    pub(super) fn defer(&mut self, lease: LeaseId) -> io::Result<()> {
        let Some(LeasedTask { work, .. }) = self.leases.remove(&lease) else { return Ok(()) };
        self.spill.push(&mut self.deferred, &serialize(&work)?)
    }

    pub(super) fn requeue_deferred(&mut self) -> io::Result<u64> {
        // What finds no room in memory goes to the disk again, behind what is there.
        let count = self.deferred.map_or(0, |queue| queue.len);
        for _ in 0..count {
            let Some(bytes) = self.spill.pop(&mut self.deferred)? else { break };
            self.push(deserialize(&bytes)?)?;
        }
        Ok(count)
    }

    pub(super) fn pause_host(&mut self, host: &str, until: Option<Instant>) {
        let name: Arc<str> = host.into();
        self.hosts.entry(Arc::clone(&name)).or_default().pause =
            until.map_or(PauseState::Paused, PauseState::PausedUntil);
        if let Some(until) = until {
            self.pauses.push(Reverse((until, name)));
        }
    }

    pub(super) fn resume_host(&mut self, host: &str) {
        let Some((name, known)) = self.hosts.get_key_value(host) else { return };
        if known.pause == PauseState::Active {
            return;
        }
        let name = Arc::clone(name);
        if let Some(known) = self.hosts.get_mut(&name) {
            known.pause = PauseState::Active;
        }
        self.enqueue_host(&name);
    }

    /// Ends the holds whose time has come, and takes back what was not heard of in time.
    pub(super) fn process_timeouts(&mut self, now: Instant) {
        while let Some(Reverse((at, _))) = self.pauses.peek()
            && *at <= now
            && let Some(Reverse((at, name))) = self.pauses.pop()
        {
            if self.hosts.get(&name).is_some_and(|host| host.pause == PauseState::PausedUntil(at)) {
                self.resume_host(&name);
            }
        }
        if now >= self.last_sweep + SWEEP_INTERVAL {
            self.last_sweep = now;
            let late = self.leases.iter().filter(|(_, lent)| lent.deadline <= now);
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

impl HostQueue {
    fn has_tasks(&self) -> bool {
        !self.depths.is_empty()
    }

    /// The tasks of one depth; the caller adds one.
    fn depth_queue(&mut self, depth: u32) -> &mut DepthQueue {
        let at = self.depths.partition_point(|level| level.depth < depth);
        if self.depths.get(at).is_none_or(|level| level.depth != depth) {
            // Most hosts have one level, and there may be many hosts.
            self.depths.reserve_exact(1);
            self.depths.insert(at, DepthQueue { depth, queue: VecDeque::new(), disk: None });
        }
        &mut self.depths[at]
    }
}

impl DepthQueue {
    fn has_tasks(&self) -> bool {
        !self.queue.is_empty() || self.disk.is_some()
    }
}

/// About how much memory it takes, in bytes.
fn memory_size(work: &QueuedTask) -> usize {
    let task = &work.task;
    let headers: usize = task.headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
    size_of::<QueuedTask>() + task.url.len() + task.body.as_ref().map_or(0, Vec::len) + headers
}

fn serialize(work: &QueuedTask) -> io::Result<Vec<u8>> {
    serde_json::to_vec(&work.task).map_err(io::Error::other)
}

fn deserialize(bytes: &[u8]) -> io::Result<QueuedTask> {
    let task = serde_json::from_slice(bytes).map_err(io::Error::other)?;
    QueuedTask::new(task).map_err(|error| io::Error::other(error.chain()))
}

const MAX_BYTES: usize = 32 << 20;
const MAX_SPILL_BYTES: u64 = 4 << 30;
const MAX_HOSTS: usize = 200_000;
/// How often it is looked for leases that are over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
