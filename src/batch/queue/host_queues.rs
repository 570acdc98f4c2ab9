//! A queue for each host, in memory and on disk. Nothing here waits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::spill::{DiskQueue, SpillFile};
use super::{Lease, LeaseId, QueuedTask, SESSION_MARK};

/// The queued tasks by host, and the leased tasks.
pub(super) struct HostQueues {
    hosts: HashMap<Arc<str>, HostQueue>,
    /// Hosts that have tasks and are not paused, each once.
    ready_hosts: VecDeque<Arc<str>>,
    /// The ends of pauses. An entry whose pause changed meanwhile is ignored.
    pauses: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    leases: HashMap<LeaseId, LeasedTask>,
    next_lease: u64,
    /// The number of tasks in memory; `bytes` is their approximate size.
    pub(super) tasks: usize,
    bytes: usize,
    spill: SpillFile,
    deferred: Option<DiskQueue>,
    is_closed: bool,
    cap: usize,
    last_sweep: Instant,
    /// Whether the queue with the oldest task is next.
    in_order: bool,
    next_number: u64,
}

#[derive(Default)]
struct HostQueue {
    /// Non-empty queues, the smallest depth first.
    depths: Vec<DepthQueue>,
    pause: PauseState,
    is_ready: bool,
    /// A task of a session's queue is leased.
    is_busy: bool,
    /// A task of a session's queue is deferred, so that the later ones are too.
    is_deferred: bool,
    /// The sessions whose next task is at this host, which is paused.
    blocked_sessions: Vec<Arc<str>>,
}

/// The tasks of one depth.
struct DepthQueue {
    depth: u32,
    queue: VecDeque<QueuedTask>,
    /// The tasks after those in `queue`.
    disk: Option<DiskQueue>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum PauseState {
    #[default]
    Active,
    PausedUntil(Instant),
    /// Paused until [`HostQueues::resume_host`].
    Paused,
}

struct LeasedTask {
    queued: QueuedTask,
    deadline: Instant,
}

impl HostQueues {
    /// Creates empty queues that keep up to `cap` tasks in memory and further ones in `spill`.
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
            in_order: false,
            next_number: 0,
        }
    }

    /// Leases the tasks of all hosts in the order in which they were added, as far as hosts are not paused.
    pub(super) fn keep_order(&mut self) {
        self.in_order = true;
    }

    /// Marks the end of the input.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether a task can be leased.
    pub(super) fn has_ready_hosts(&self) -> bool {
        !self.ready_hosts.is_empty()
    }

    /// The latest time of the next check.
    pub(super) fn next_wakeup(&self, now: Instant) -> Instant {
        self.pauses.peek().map_or(now + SWEEP_INTERVAL, |Reverse((at, _))| (*at).min(now + SWEEP_INTERVAL))
    }

    /// Whether another task is accepted: there is memory left, or no task can be leased.
    pub(super) fn has_capacity(&self) -> bool {
        if self.tasks < self.cap && self.bytes < MAX_BYTES {
            return true;
        }
        self.ready_hosts.is_empty() && self.spill.size() < MAX_SPILL_BYTES && self.hosts.len() < MAX_HOSTS
    }

    pub(super) fn push(&mut self, mut queued: QueuedTask) -> io::Result<()> {
        self.next_number += 1;
        queued.number = self.next_number;
        let is_full = self.tasks >= self.cap || self.bytes >= MAX_BYTES;
        let name = queued.lane();
        let level = self.hosts.entry(Arc::clone(&name)).or_default().depth_queue(queued.task.depth);
        if is_full || level.disk.is_some() {
            return self.spill.push(&mut level.disk, &serialize(&queued)?).map(|()| self.enqueue_host(&name));
        }
        self.tasks += 1;
        self.bytes += memory_size(&queued);
        level.queue.push_back(queued);
        self.enqueue_host(&name);
        Ok(())
    }

    /// Adds the host to the ready hosts if it has tasks and is not paused.
    fn enqueue_host(&mut self, name: &Arc<str>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.pause != PauseState::Active || host.is_busy || host.is_deferred {
            return;
        }
        if !host.is_ready && host.has_tasks() {
            host.is_ready = true;
            self.ready_hosts.push_back(Arc::clone(name));
        } else if !host.has_tasks() {
            self.hosts.remove(name);
        }
    }

    /// Takes the next task of the next host.
    pub(super) fn pop(&mut self) -> io::Result<Option<QueuedTask>> {
        while let Some(name) = self.next_ready() {
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            host.is_ready = false;
            if host.pause != PauseState::Active {
                continue;
            }
            let Some(level) = host.depths.first_mut() else { continue };
            let queued = match level.queue.pop_front() {
                Some(queued) => {
                    self.tasks -= 1;
                    self.bytes -= memory_size(&queued).min(self.bytes);
                    Some(queued)
                }
                None => match self.spill.pop(&mut level.disk)? {
                    Some(bytes) => Some(deserialize(&bytes)?),
                    None => None,
                },
            };
            if !level.has_tasks() {
                host.depths.remove(0);
            }
            let Some(queued) = queued else {
                self.enqueue_host(&name);
                continue;
            };
            if !name.starts_with(SESSION_MARK) {
                self.enqueue_host(&name);
                return Ok(Some(queued));
            }
            if let Some(queued) = self.begin_session(&name, queued) {
                return Ok(Some(queued));
            }
        }
        Ok(None)
    }

    /// Marks a session as busy. If the host of its task is paused, the task is put back until that ends.
    fn begin_session(&mut self, name: &Arc<str>, queued: QueuedTask) -> Option<QueuedTask> {
        let host = self.hosts.get_mut(queued.host.as_str());
        if let Some(host) = host.filter(|host| host.pause != PauseState::Active) {
            host.blocked_sessions.push(Arc::clone(name));
            self.push_front(queued);
            return None;
        }
        if let Some(session) = self.hosts.get_mut(name) {
            session.is_busy = true;
        }
        Some(queued)
    }

    /// Takes the name of the next ready host.
    fn next_ready(&mut self) -> Option<Arc<str>> {
        if !self.in_order {
            return self.ready_hosts.pop_front();
        }
        let first_number = |name: &Arc<str>| {
            let level = self.hosts.get(name).and_then(|host| host.depths.first());
            level.map_or((u32::MAX, u64::MAX), |level| {
                (level.depth, level.queue.front().map_or(u64::MAX, |queued| queued.number))
            })
        };
        let names = self.ready_hosts.iter().take(MAX_COMPARED).enumerate();
        let (at, _) = names.min_by_key(|(_, name)| first_number(name))?;
        self.ready_hosts.remove(at)
    }

    /// Puts a task back as the next of its queue.
    fn push_front(&mut self, queued: QueuedTask) {
        self.tasks += 1;
        self.bytes += memory_size(&queued);
        let level = self.hosts.entry(queued.lane()).or_default().depth_queue(queued.task.depth);
        level.queue.push_front(queued);
    }

    /// Ends the lease of a session's task, so that its next task can be leased.
    fn end_session(&mut self, name: &Arc<str>) {
        if let Some(session) = self.hosts.get_mut(name).filter(|session| session.is_busy) {
            session.is_busy = false;
            self.enqueue_host(name);
        }
    }

    /// Removes a finished task.
    pub(super) fn ack(&mut self, lease: LeaseId) {
        if let Some(LeasedTask { queued, .. }) = self.leases.remove(&lease) {
            self.end_session(&queued.lane());
        }
    }

    pub(super) fn lease(&mut self, queued: QueuedTask, until: Instant) -> Lease {
        self.next_lease += 1;
        let id = LeaseId(self.next_lease);
        let lease = Lease { id, task: queued.task.clone(), key: queued.key, host: queued.host.clone() };
        self.leases.insert(id, LeasedTask { queued, deadline: until });
        lease
    }

    pub(super) fn release(&mut self, lease: LeaseId) {
        let Some(LeasedTask { queued, .. }) = self.leases.remove(&lease) else { return };
        let name = queued.lane();
        self.push_front(queued);
        self.end_session(&name);
        self.enqueue_host(&name);
    }

    /// Puts a task aside. The later tasks of its session wait behind it, because their order must not change.
    pub(super) fn defer(&mut self, lease: LeaseId) -> io::Result<()> {
        let Some(LeasedTask { queued, .. }) = self.leases.remove(&lease) else { return Ok(()) };
        let name = queued.lane();
        if name.starts_with(SESSION_MARK) {
            self.push_front(queued);
            if let Some(session) = self.hosts.get_mut(&name) {
                (session.is_busy, session.is_deferred) = (false, true);
            }
            return Ok(());
        }
        self.spill.push(&mut self.deferred, &serialize(&queued)?)
    }

    pub(super) fn requeue_deferred(&mut self) -> io::Result<u64> {
        // Tasks beyond the cap are appended to the spill file again.
        let count = self.deferred.map_or(0, |queue| queue.len);
        for _ in 0..count {
            let Some(bytes) = self.spill.pop(&mut self.deferred)? else { break };
            self.push(deserialize(&bytes)?)?;
        }
        Ok(count + self.requeue_sessions())
    }

    /// Lets the deferred tasks of sessions be leased again. Returns their number.
    fn requeue_sessions(&mut self) -> u64 {
        let mut deferred = Vec::new();
        let mut count = 0;
        for (name, session) in &mut self.hosts {
            if std::mem::take(&mut session.is_deferred) {
                deferred.push(Arc::clone(name));
                count += session.depths.iter().map(DepthQueue::len).sum::<u64>();
            }
        }
        for name in &deferred {
            self.enqueue_host(name);
        }
        count
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
        let mut blocked = Vec::new();
        if let Some(known) = self.hosts.get_mut(&name) {
            known.pause = PauseState::Active;
            blocked = std::mem::take(&mut known.blocked_sessions);
        }
        self.enqueue_host(&name);
        for session in blocked {
            self.enqueue_host(&session);
        }
    }

    /// Ends expired pauses, and releases expired leases.
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
            let late = self.leases.iter().filter(|(_, leased)| leased.deadline <= now);
            let late: Vec<LeaseId> = late.map(|(id, _)| *id).collect();
            for lease in late {
                self.release(lease);
            }
        }
    }

    /// Whether all tasks are finished and no more can be added.
    pub(super) fn is_drained(&self) -> bool {
        let is_empty = |host: &HostQueue| !host.has_tasks() || host.is_deferred;
        self.is_closed && self.leases.is_empty() && self.hosts.values().all(is_empty)
    }
}

impl HostQueue {
    fn has_tasks(&self) -> bool {
        !self.depths.is_empty()
    }

    /// Returns the queue of one depth. The caller must add a task to it.
    fn depth_queue(&mut self, depth: u32) -> &mut DepthQueue {
        let at = self.depths.partition_point(|level| level.depth < depth);
        if self.depths.get(at).is_none_or(|level| level.depth != depth) {
            // Saves memory: most hosts have one depth, and there may be many hosts.
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

    fn len(&self) -> u64 {
        self.queue.len() as u64 + self.disk.map_or(0, |disk| disk.len)
    }
}

/// The approximate memory use, in bytes.
fn memory_size(queued: &QueuedTask) -> usize {
    let task = &queued.task;
    let headers: usize = task.headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
    size_of::<QueuedTask>() + task.url.len() + task.body.as_ref().map_or(0, Vec::len) + headers
}

fn serialize(queued: &QueuedTask) -> io::Result<Vec<u8>> {
    serde_json::to_vec(&(queued.number, &queued.task)).map_err(io::Error::other)
}

fn deserialize(bytes: &[u8]) -> io::Result<QueuedTask> {
    let (number, task) = serde_json::from_slice(bytes).map_err(io::Error::other)?;
    let queued = QueuedTask::new(task).map_err(|error| io::Error::other(error.chain()))?;
    Ok(QueuedTask { number, ..queued })
}

const MAX_BYTES: usize = 32 << 20;
const MAX_SPILL_BYTES: u64 = 4 << 30;
const MAX_HOSTS: usize = 200_000;
/// The maximum number of hosts whose next tasks are compared.
const MAX_COMPARED: usize = 1000;
/// The interval between checks for expired leases.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
