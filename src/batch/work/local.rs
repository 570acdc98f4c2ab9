//! The work list of one process: a queue for each host, some of it in memory and the rest on disk.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::spill::{Queue, Spill};
use super::{Lease, LeaseId, Work, WorkList};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::lock::lock;

/// The embedded work list. Hosts take turns; of each, those least deep come first, and of these in the order they came.
///
/// It holds 10,000 tasks, or 32 MiB of them, in memory. When these are all of hosts that must wait, further ones
/// go to a file without a name, up to 4 GiB of it and 200,000 hosts; then [`push`](WorkList::push) waits.
pub struct Local {
    inner: Mutex<Inner>,
    /// There may be something to lend.
    news: Notify,
    /// There may be room.
    room: Notify,
}

struct Inner {
    hosts: HashMap<Arc<str>, Host>,
    /// Hosts that have tasks and are not held, each once.
    turns: VecDeque<Arc<str>>,
    /// When holds end; one that was changed meanwhile is passed over.
    holds: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    leases: HashMap<LeaseId, Lent>,
    next: u64,
    /// Tasks in memory, and about how large they are.
    tasks: usize,
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

impl Local {
    /// An empty list that spills into `folder`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when no file can be made there.
    pub fn new(folder: &Path) -> Result<Self> {
        Self::with_cap(folder, TASKS)
    }

    fn with_cap(folder: &Path, cap: usize) -> Result<Self> {
        let spill = Spill::new(folder).map_err(|cause| spilled(&cause))?;
        let inner = Inner {
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
        };
        Ok(Self { inner: Mutex::new(inner), news: Notify::new(), room: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn told(&self, io: io::Result<()>) -> BoxFuture<'_, Result<()>> {
        self.news.notify_waiters();
        std::future::ready(io.map_err(|cause| spilled(&cause))).boxed()
    }
}

impl WorkList for Local {
    fn push(&self, work: Work) -> BoxFuture<'_, Result<()>> {
        async move {
            let mut work = Some(work);
            loop {
                let room = self.room.notified();
                {
                    let mut inner = self.lock();
                    if inner.has_room() {
                        if let Some(work) = work.take() {
                            inner.push(work).map_err(|cause| spilled(&cause))?;
                        }
                        let has_more = !inner.turns.is_empty();
                        drop(inner);
                        if has_more {
                            self.news.notify_one();
                        }
                        return Ok(());
                    }
                }
                room.await;
            }
        }
        .boxed()
    }

    fn found(&self, work: Vec<Work>) -> BoxFuture<'_, Result<()>> {
        let mut inner = self.lock();
        let pushed = work.into_iter().try_for_each(|work| inner.push(work));
        drop(inner);
        self.told(pushed)
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.lock().is_closed = true;
        self.told(Ok(()))
    }

    fn lease(&self, most: usize, time: Duration) -> BoxFuture<'_, Result<Vec<Lease>>> {
        async move {
            loop {
                let mut news = std::pin::pin!(self.news.notified());
                // What happens between the look and the wait is not missed.
                news.as_mut().enable();
                let wakes = {
                    let mut inner = self.lock();
                    let now = Instant::now();
                    inner.wake(now);
                    let mut leases = Vec::new();
                    while leases.len() < most
                        && let Some(work) = inner.take().map_err(|cause| spilled(&cause))?
                    {
                        leases.push(inner.lend(work, now + time));
                    }
                    if !leases.is_empty() {
                        let has_more = !inner.turns.is_empty();
                        drop(inner);
                        self.room.notify_one();
                        if has_more {
                            self.news.notify_one();
                        }
                        return Ok(leases);
                    }
                    if inner.is_drained() {
                        return Ok(Vec::new());
                    }
                    // Held hosts have all the room: others may be behind them.
                    self.room.notify_one();
                    inner.holds.peek().map_or(now + SWEEP, |Reverse((at, _))| (*at).min(now + SWEEP))
                };
                tokio::select! {
                    () = news => {}
                    () = sleep_until(wakes) => {}
                }
            }
        }
        .boxed()
    }

    fn ack<'a>(&'a self, leases: &'a [LeaseId]) -> BoxFuture<'a, Result<()>> {
        let mut inner = self.lock();
        for lease in leases {
            inner.leases.remove(lease);
        }
        let is_drained = inner.is_drained();
        drop(inner);
        if is_drained {
            self.news.notify_waiters();
        }
        std::future::ready(Ok(())).boxed()
    }

    fn release(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        self.lock().release(lease);
        self.told(Ok(()))
    }

    fn bury(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        let buried = self.lock().bury(lease);
        self.told(buried)
    }

    fn revive(&self) -> BoxFuture<'_, Result<u64>> {
        let revived = self.lock().revive();
        self.news.notify_waiters();
        std::future::ready(revived.map_err(|cause| spilled(&cause))).boxed()
    }

    fn hold(&self, host: &str, time: Option<Duration>) {
        let mut inner = self.lock();
        let until = time.map(|time| Instant::now() + time);
        inner.hold(host, until);
        drop(inner);
        if until.is_some() {
            // Who waits must not sleep longer than that.
            self.news.notify_one();
        }
    }

    fn free(&self, host: &str) {
        let mut inner = self.lock();
        inner.free(host);
        let has_more = !inner.turns.is_empty();
        drop(inner);
        if has_more {
            self.news.notify_one();
        }
    }
}

impl Inner {
    /// Whether another task is taken: there is room in memory, or nothing there that could be lent.
    fn has_room(&self) -> bool {
        if self.tasks < self.cap && self.bytes < BYTES {
            return true;
        }
        self.turns.is_empty() && self.spill.size() < SPILL && self.hosts.len() < HOSTS
    }

    fn push(&mut self, work: Work) -> io::Result<()> {
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
    fn take(&mut self) -> io::Result<Option<Work>> {
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

    fn lend(&mut self, work: Work, until: Instant) -> Lease {
        self.next += 1;
        let id = LeaseId(self.next);
        let lease = Lease { id, task: work.task.clone(), key: work.key, host: work.host.clone() };
        self.leases.insert(id, Lent { work, until });
        lease
    }

    fn release(&mut self, lease: LeaseId) {
        let Some(Lent { work, .. }) = self.leases.remove(&lease) else { return };
        let name: Arc<str> = work.host.as_str().into();
        self.tasks += 1;
        self.bytes += size(&work);
        let level = self.hosts.entry(Arc::clone(&name)).or_default().level(work.task.depth);
        level.queue.push_front(work);
        self.queue_up(&name);
    }

    fn bury(&mut self, lease: LeaseId) -> io::Result<()> {
        let Some(Lent { work, .. }) = self.leases.remove(&lease) else { return Ok(()) };
        self.spill.push(&mut self.buried, &written(&work)?)
    }

    fn revive(&mut self) -> io::Result<u64> {
        // What finds no room in memory goes to the disk again, behind what is there.
        let count = self.buried.map_or(0, |queue| queue.len);
        for _ in 0..count {
            let Some(bytes) = self.spill.pop(&mut self.buried)? else { break };
            self.push(read(&bytes)?)?;
        }
        Ok(count)
    }

    fn hold(&mut self, host: &str, until: Option<Instant>) {
        let name: Arc<str> = host.into();
        self.hosts.entry(Arc::clone(&name)).or_default().held = until.map_or(Held::Shut, Held::Until);
        if let Some(until) = until {
            self.holds.push(Reverse((until, name)));
        }
    }

    fn free(&mut self, host: &str) {
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
    fn wake(&mut self, now: Instant) {
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
    fn is_drained(&self) -> bool {
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

fn spilled(cause: &io::Error) -> Error {
    let cause = io::Error::new(cause.kind(), cause.to_string());
    Error::new(ErrorKind::Io, "the work list's file for what has no room in memory could not be used")
        .with_source(cause)
}

const TASKS: usize = 10_000;
const BYTES: usize = 32 << 20;
const SPILL: u64 = 4 << 30;
const HOSTS: usize = 200_000;
/// How often it is looked for leases that are over.
const SWEEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::task::Task;

    const LONG: Duration = Duration::from_secs(600);

    fn work(url: &str) -> Work {
        Work::new(Task::from(url)).unwrap()
    }

    async fn list(cap: usize, urls: &[&str]) -> Local {
        let list = Local::with_cap(&std::env::temp_dir(), cap).unwrap();
        for url in urls {
            list.push(work(url)).await.unwrap();
        }
        list
    }

    async fn leased(list: &Local, most: usize) -> Vec<Lease> {
        list.lease(most, LONG).await.unwrap()
    }

    fn urls(leases: &[Lease]) -> Vec<&str> {
        leases.iter().map(|lease| lease.task.url.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_take_turns_and_each_keeps_its_order() {
        let list = list(100, &["http://a/1", "http://a/2", "http://a/3", "http://b/1", "http://c/1"]).await;
        let leases = leased(&list, 10).await;
        assert_eq!(urls(&leases), ["http://a/1", "http://b/1", "http://c/1", "http://a/2", "http://a/3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_host_is_passed_over_until_its_time_or_until_it_is_freed() {
        let list = list(100, &["http://a/1", "http://a/2", "http://b/1", "http://c/1"]).await;
        list.hold("a", Some(Duration::from_secs(3)));
        list.hold("c", None);
        assert_eq!(urls(&leased(&list, 10).await), ["http://b/1"]);
        let began = Instant::now();
        assert_eq!(urls(&leased(&list, 10).await), ["http://a/1", "http://a/2"]);
        assert_eq!(began.elapsed().as_secs(), 3);
        list.free("c");
        assert_eq!(urls(&leased(&list, 10).await), ["http://c/1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_heard_of_by_its_deadline_is_lent_again() {
        let list = list(100, &["http://a/1"]).await;
        let first = list.lease(1, Duration::from_secs(5)).await.unwrap();
        let again = leased(&list, 1).await;
        assert_eq!(urls(&again), ["http://a/1"]);
        assert_ne!(first[0].id, again[0].id);
        list.ack(&[first[0].id]).await.unwrap();
        list.close().await.unwrap();
        assert!(!list.lock().is_drained(), "an acknowledgement that comes too late counts for nothing");
        list.ack(&[again[0].id]).await.unwrap();
        assert!(leased(&list, 1).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_drained_only_when_all_is_acknowledged() {
        let list = list(100, &["http://a/1"]).await;
        list.close().await.unwrap();
        let lease = leased(&list, 1).await.remove(0);
        let waiting = list.lease(1, LONG);
        list.release(lease.id).await.unwrap();
        assert_eq!(urls(&waiting.await.unwrap()), ["http://a/1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_put_aside_comes_back_when_it_is_revived() {
        let list = list(100, &["http://a/1", "http://b/1"]).await;
        list.close().await.unwrap();
        let leases = leased(&list, 2).await;
        list.bury(leases[0].id).await.unwrap();
        list.ack(&[leases[1].id]).await.unwrap();
        assert!(leased(&list, 1).await.is_empty());
        assert_eq!(list.revive().await.unwrap(), 1);
        assert_eq!(urls(&leased(&list, 1).await), ["http://a/1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_list_makes_the_reader_wait_unless_all_of_it_is_held() {
        let list = list(2, &["http://a/1", "http://a/2"]).await;
        let late = list.push(work("http://b/1"));
        assert!(late.now_or_never().is_none(), "there is enough to do");
        list.hold("a", None);
        let lending = leased(&list, 1);
        let pushing = async {
            list.push(work("http://a/3")).await.unwrap();
            list.push(work("http://b/1")).await.unwrap();
        };
        let (leases, ()) = tokio::join!(lending, pushing);
        assert_eq!(urls(&leases), ["http://b/1"], "it was found behind the host that must wait");
        assert_eq!(list.lock().tasks, 2);
        list.free("a");
        let leases = leased(&list, 10).await;
        assert_eq!(
            urls(&leases),
            ["http://a/1", "http://a/2", "http://a/3"],
            "from memory, then from the disk"
        );
    }
}
