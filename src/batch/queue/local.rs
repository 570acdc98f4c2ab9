//! The work list of one process: who may lend from the queues, and who waits.

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::host_queues::HostQueues;
use super::spill::SpillFile;
use super::{Lease, LeaseId, QueuedTask, TaskQueue};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::sync::lock_unpoisoned;

/// The embedded work list. Hosts take turns; of each, those least deep come first, and of these in the order they came.
///
/// It holds 10,000 tasks, or 32 MiB of them, in memory. When these are all of hosts that must wait, further ones
/// go to a file without a name, up to 4 GiB of it and 200,000 hosts; then [`push`](WorkList::push) waits.
pub struct LocalQueue {
    queues: Mutex<HostQueues>,
    /// There may be something to lend.
    task_added: Notify,
    /// There may be room.
    capacity_freed: Notify,
}

impl LocalQueue {
    /// An empty list that spills into `folder`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when no file can be made there.
    pub fn new(folder: &Path) -> Result<Self> {
        Self::with_cap(folder, MAX_TASKS)
    }

    fn with_cap(folder: &Path, cap: usize) -> Result<Self> {
        let spill = SpillFile::new(folder).map_err(|cause| spill_error(&cause))?;
        let queues = Mutex::new(HostQueues::new(spill, cap));
        Ok(Self { queues, task_added: Notify::new(), capacity_freed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, HostQueues> {
        lock_unpoisoned(&self.queues)
    }

    /// Lets go of the queues, and wakes another where there is more to lend.
    fn wake_next(&self, queues: MutexGuard<'_, HostQueues>) {
        let has_more = queues.has_ready_hosts();
        drop(queues);
        if has_more {
            self.task_added.notify_one();
        }
    }

    fn notify_ready(&self, io: io::Result<()>) -> BoxFuture<'_, Result<()>> {
        self.task_added.notify_waiters();
        std::future::ready(io.map_err(|cause| spill_error(&cause))).boxed()
    }
}

impl TaskQueue for LocalQueue {
    fn push(&self, work: QueuedTask) -> BoxFuture<'_, Result<()>> {
        async move {
            let mut work = Some(work);
            loop {
                let room = self.capacity_freed.notified();
                {
                    let mut queues = self.lock();
                    if queues.has_capacity() {
                        if let Some(work) = work.take() {
                            queues.push(work).map_err(|cause| spill_error(&cause))?;
                        }
                        self.wake_next(queues);
                        return Ok(());
                    }
                }
                room.await;
            }
        }
        .boxed()
    }

    fn push_discovered(&self, work: Vec<QueuedTask>) -> BoxFuture<'_, Result<()>> {
        let mut queues = self.lock();
        let pushed = work.into_iter().try_for_each(|work| queues.push(work));
        drop(queues);
        self.notify_ready(pushed)
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.lock().close();
        self.notify_ready(Ok(()))
    }

    fn lease(&self, most: usize, time: Duration) -> BoxFuture<'_, Result<Vec<Lease>>> {
        async move {
            loop {
                let mut news = std::pin::pin!(self.task_added.notified());
                // What happens between the look and the wait is not missed.
                news.as_mut().enable();
                let wakes = {
                    let mut queues = self.lock();
                    let now = Instant::now();
                    queues.process_timeouts(now);
                    let mut leases = Vec::new();
                    while leases.len() < most
                        && let Some(work) = queues.pop().map_err(|cause| spill_error(&cause))?
                    {
                        leases.push(queues.lease(work, now + time));
                    }
                    if !leases.is_empty() {
                        self.wake_next(queues);
                        self.capacity_freed.notify_one();
                        return Ok(leases);
                    }
                    if queues.is_drained() {
                        return Ok(Vec::new());
                    }
                    // Held hosts have all the room: others may be behind them.
                    self.capacity_freed.notify_one();
                    queues.next_wakeup(now)
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
        let mut queues = self.lock();
        for lease in leases {
            queues.ack(*lease);
        }
        let is_drained = queues.is_drained();
        drop(queues);
        if is_drained {
            self.task_added.notify_waiters();
        }
        std::future::ready(Ok(())).boxed()
    }

    fn release(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        self.lock().release(lease);
        self.notify_ready(Ok(()))
    }

    fn defer(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        let buried = self.lock().defer(lease);
        self.notify_ready(buried)
    }

    fn requeue_deferred(&self) -> BoxFuture<'_, Result<u64>> {
        let revived = self.lock().requeue_deferred();
        self.task_added.notify_waiters();
        std::future::ready(revived.map_err(|cause| spill_error(&cause))).boxed()
    }

    fn pause_host(&self, host: &str, time: Option<Duration>) {
        let mut queues = self.lock();
        let until = time.map(|time| Instant::now() + time);
        queues.pause_host(host, until);
        drop(queues);
        if until.is_some() {
            // Who waits must not sleep longer than that.
            self.task_added.notify_one();
        }
    }

    fn resume_host(&self, host: &str) {
        let mut queues = self.lock();
        queues.resume_host(host);
        self.wake_next(queues);
    }
}

fn spill_error(cause: &io::Error) -> Error {
    let cause = io::Error::new(cause.kind(), cause.to_string());
    Error::new(ErrorKind::Io, "the work list's file for what has no room in memory could not be used")
        .with_source(cause)
}

const MAX_TASKS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::task::Task;

    const LONG: Duration = Duration::from_secs(600);

    fn work(url: &str) -> QueuedTask {
        QueuedTask::new(Task::from(url)).unwrap()
    }

    async fn list(cap: usize, urls: &[&str]) -> LocalQueue {
        let list = LocalQueue::with_cap(&std::env::temp_dir(), cap).unwrap();
        for url in urls {
            list.push(work(url)).await.unwrap();
        }
        list
    }

    async fn take_leases(list: &LocalQueue, most: usize) -> Vec<Lease> {
        list.lease(most, LONG).await.unwrap()
    }

    fn urls(leases: &[Lease]) -> Vec<&str> {
        leases.iter().map(|lease| lease.task.url.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_take_turns_and_each_keeps_its_order() {
        let list = list(100, &["http://a/1", "http://a/2", "http://a/3", "http://b/1", "http://c/1"]).await;
        let leases = take_leases(&list, 10).await;
        assert_eq!(urls(&leases), ["http://a/1", "http://b/1", "http://c/1", "http://a/2", "http://a/3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_host_is_passed_over_until_its_time_or_until_it_is_freed() {
        let list = list(100, &["http://a/1", "http://a/2", "http://b/1", "http://c/1"]).await;
        list.pause_host("a", Some(Duration::from_secs(3)));
        list.pause_host("c", None);
        assert_eq!(urls(&take_leases(&list, 10).await), ["http://b/1"]);
        let began = Instant::now();
        assert_eq!(urls(&take_leases(&list, 10).await), ["http://a/1", "http://a/2"]);
        assert_eq!(began.elapsed().as_secs(), 3);
        list.resume_host("c");
        assert_eq!(urls(&take_leases(&list, 10).await), ["http://c/1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_lease_is_handed_out_again() {
        let list = list(100, &["http://a/1"]).await;
        let first = list.lease(1, Duration::from_secs(5)).await.unwrap();
        let again = take_leases(&list, 1).await;
        assert_eq!(urls(&again), ["http://a/1"]);
        assert_ne!(first[0].id, again[0].id);
        list.ack(&[first[0].id]).await.unwrap();
        list.close().await.unwrap();
        assert!(!list.lock().is_drained(), "an acknowledgement that comes too late counts for nothing");
        list.ack(&[again[0].id]).await.unwrap();
        assert!(take_leases(&list, 1).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_drained_only_when_all_is_acknowledged() {
        let list = list(100, &["http://a/1"]).await;
        list.close().await.unwrap();
        let lease = take_leases(&list, 1).await.remove(0);
        let waiting = list.lease(1, LONG);
        list.release(lease.id).await.unwrap();
        assert_eq!(urls(&waiting.await.unwrap()), ["http://a/1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_put_aside_comes_back_when_it_is_revived() {
        let list = list(100, &["http://a/1", "http://b/1"]).await;
        list.close().await.unwrap();
        let leases = take_leases(&list, 2).await;
        list.defer(leases[0].id).await.unwrap();
        list.ack(&[leases[1].id]).await.unwrap();
        assert!(take_leases(&list, 1).await.is_empty());
        assert_eq!(list.requeue_deferred().await.unwrap(), 1);
        assert_eq!(urls(&take_leases(&list, 1).await), ["http://a/1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_list_makes_the_reader_wait_unless_all_of_it_is_held() {
        let list = list(2, &["http://a/1", "http://a/2"]).await;
        let late = list.push(work("http://b/1"));
        assert!(late.now_or_never().is_none(), "there is enough to do");
        list.pause_host("a", None);
        let lending = take_leases(&list, 1);
        let pushing = async {
            list.push(work("http://a/3")).await.unwrap();
            list.push(work("http://b/1")).await.unwrap();
        };
        let (leases, ()) = tokio::join!(lending, pushing);
        assert_eq!(urls(&leases), ["http://b/1"], "it was found behind the host that must wait");
        assert_eq!(list.lock().tasks, 2);
        list.resume_host("a");
        let leases = take_leases(&list, 10).await;
        assert_eq!(
            urls(&leases),
            ["http://a/1", "http://a/2", "http://a/3"],
            "from memory, then from the disk"
        );
    }
}
