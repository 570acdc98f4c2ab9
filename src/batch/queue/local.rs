//! The request queue of one process.

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
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::sync::lock_unpoisoned;

/// The embedded request queue. Hosts take turns. The tasks of a host are ordered by depth, then by arrival. Listed tasks
/// with a session are ordered by session instead, and only one of a session is leased.
///
/// It keeps 10,000 tasks, or 32 MiB of them, in memory. If all their hosts are paused, further tasks go to an unnamed
/// file of up to 4 GiB, for up to 200,000 hosts. Beyond that, [`push`](TaskQueue::push) waits.
pub struct LocalQueue {
    queues: Mutex<HostQueues>,
    /// A task may be available.
    task_added: Notify,
    /// Capacity may be available.
    capacity_freed: Notify,
}

impl LocalQueue {
    /// Creates an empty queue that spills into `folder`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the file could not be created.
    pub fn new(folder: &Path) -> Result<Self> {
        Self::with_cap(folder, MAX_TASKS)
    }

    /// Leases tasks in the order in which they were added, as far as hosts are not paused.
    pub(in crate::batch) fn keep_order(self) -> Self {
        self.lock().keep_order();
        self
    }

    fn with_cap(folder: &Path, cap: usize) -> Result<Self> {
        let spill = SpillFile::new(folder).map_err(|cause| spill_error(&cause))?;
        let queues = Mutex::new(HostQueues::new(spill, cap));
        Ok(Self { queues, task_added: Notify::new(), capacity_freed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, HostQueues> {
        lock_unpoisoned(&self.queues)
    }

    /// Unlocks the queues, and wakes another waiter if more tasks are available.
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
    fn push(&self, task: QueuedTask) -> BoxFuture<'_, Result<()>> {
        async move {
            let mut task = Some(task);
            loop {
                let capacity_freed = self.capacity_freed.notified();
                {
                    let mut queues = self.lock();
                    if queues.has_capacity() {
                        if let Some(task) = task.take() {
                            queues.push(task).map_err(|cause| spill_error(&cause))?;
                        }
                        self.wake_next(queues);
                        return Ok(());
                    }
                }
                capacity_freed.await;
            }
        }
        .boxed()
    }

    fn push_discovered(&self, tasks: Vec<QueuedTask>) -> BoxFuture<'_, Result<()>> {
        let mut queues = self.lock();
        let pushed = tasks.into_iter().try_for_each(|task| queues.push(task));
        drop(queues);
        self.notify_ready(pushed)
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.lock().close();
        self.notify_ready(Ok(()))
    }

    fn lease(&self, max: usize, time: Duration) -> BoxFuture<'_, Result<Vec<Lease>>> {
        async move {
            loop {
                let mut task_added = std::pin::pin!(self.task_added.notified());
                // Registered before the check, so that a task added between check and wait is not missed.
                task_added.as_mut().enable();
                let wakes = {
                    let mut queues = self.lock();
                    let now = Instant::now();
                    queues.process_timeouts(now);
                    let mut leases = Vec::new();
                    while leases.len() < max
                        && let Some(task) = queues.pop().map_err(|cause| spill_error(&cause))?
                    {
                        leases.push(queues.lease(task, now + time));
                    }
                    if !leases.is_empty() {
                        self.wake_next(queues);
                        self.capacity_freed.notify_one();
                        return Ok(leases);
                    }
                    if queues.is_drained() {
                        return Ok(Vec::new());
                    }
                    // Paused hosts may use all the capacity, while the input has tasks of other hosts.
                    self.capacity_freed.notify_one();
                    queues.next_wakeup(now)
                };
                tokio::select! {
                    () = task_added => {}
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
        // Also the next task of a session may be ready.
        if queues.is_drained() || queues.has_ready_hosts() {
            self.task_added.notify_waiters();
        }
        drop(queues);
        std::future::ready(Ok(())).boxed()
    }

    fn release(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        self.lock().release(lease);
        self.notify_ready(Ok(()))
    }

    fn defer(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        let deferred = self.lock().defer(lease);
        self.notify_ready(deferred)
    }

    fn requeue_deferred(&self) -> BoxFuture<'_, Result<u64>> {
        let requeued = self.lock().requeue_deferred();
        self.task_added.notify_waiters();
        std::future::ready(requeued.map_err(|cause| spill_error(&cause))).boxed()
    }

    fn pause_host(&self, host: &str, time: Option<Duration>) {
        let mut queues = self.lock();
        let until = time.map(|time| Instant::now() + time);
        queues.pause_host(host, until);
        drop(queues);
        if until.is_some() {
            // A waiter must recompute its wakeup time.
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
    Error::new(ErrorKind::Io, "could not use the spill file of the request queue").with_source(cause)
}

const MAX_TASKS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::task::Task;

    const LONG: Duration = Duration::from_secs(600);

    fn task(url: &str) -> QueuedTask {
        QueuedTask::new(Task::from(url)).unwrap()
    }

    async fn queue(cap: usize, urls: &[&str]) -> LocalQueue {
        let queue = LocalQueue::with_cap(&std::env::temp_dir(), cap).unwrap();
        for url in urls {
            queue.push(task(url)).await.unwrap();
        }
        queue
    }

    async fn take_leases(queue: &LocalQueue, max: usize) -> Vec<Lease> {
        queue.lease(max, LONG).await.unwrap()
    }

    fn urls(leases: &[Lease]) -> Vec<&str> {
        leases.iter().map(|lease| lease.task.url.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_take_turns_and_each_keeps_its_order() {
        let queue = queue(100, &["http://a/1", "http://a/2", "http://a/3", "http://b/1", "http://c/1"]).await;
        let leases = take_leases(&queue, 10).await;
        assert_eq!(urls(&leases), ["http://a/1", "http://b/1", "http://c/1", "http://a/2", "http://a/3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_host_is_skipped_until_its_time_or_until_it_is_resumed() {
        let queue = queue(100, &["http://a/1", "http://a/2", "http://b/1", "http://c/1"]).await;
        queue.pause_host("a", Some(Duration::from_secs(3)));
        queue.pause_host("c", None);
        assert_eq!(urls(&take_leases(&queue, 10).await), ["http://b/1"]);
        let began = Instant::now();
        assert_eq!(urls(&take_leases(&queue, 10).await), ["http://a/1", "http://a/2"]);
        assert_eq!(began.elapsed().as_secs(), 3);
        queue.resume_host("c");
        assert_eq!(urls(&take_leases(&queue, 10).await), ["http://c/1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_lease_is_handed_out_again() {
        let queue = queue(100, &["http://a/1"]).await;
        let first = queue.lease(1, Duration::from_secs(5)).await.unwrap();
        let again = take_leases(&queue, 1).await;
        assert_eq!(urls(&again), ["http://a/1"]);
        assert_ne!(first[0].id, again[0].id);
        queue.ack(&[first[0].id]).await.unwrap();
        queue.close().await.unwrap();
        assert!(!queue.lock().is_drained(), "a late acknowledgement is ignored");
        queue.ack(&[again[0].id]).await.unwrap();
        assert!(take_leases(&queue, 1).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_drained_only_when_all_tasks_are_acknowledged() {
        let queue = queue(100, &["http://a/1"]).await;
        queue.close().await.unwrap();
        let lease = take_leases(&queue, 1).await.remove(0);
        let waiting = queue.lease(1, LONG);
        queue.release(lease.id).await.unwrap();
        assert_eq!(urls(&waiting.await.unwrap()), ["http://a/1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn deferred_tasks_return_when_they_are_requeued() {
        let queue = queue(100, &["http://a/1", "http://b/1"]).await;
        queue.close().await.unwrap();
        let leases = take_leases(&queue, 2).await;
        queue.defer(leases[0].id).await.unwrap();
        queue.ack(&[leases[1].id]).await.unwrap();
        assert!(take_leases(&queue, 1).await.is_empty());
        assert_eq!(queue.requeue_deferred().await.unwrap(), 1);
        assert_eq!(urls(&take_leases(&queue, 1).await), ["http://a/1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn push_waits_for_a_full_queue_unless_all_its_hosts_are_paused() {
        let queue = queue(2, &["http://a/1", "http://a/2"]).await;
        let late = queue.push(task("http://b/1"));
        assert!(late.now_or_never().is_none(), "the queue is full");
        queue.pause_host("a", None);
        let leasing = take_leases(&queue, 1);
        let pushing = async {
            queue.push(task("http://a/3")).await.unwrap();
            queue.push(task("http://b/1")).await.unwrap();
        };
        let (leases, ()) = tokio::join!(leasing, pushing);
        assert_eq!(urls(&leases), ["http://b/1"], "a task after those of the paused host");
        assert_eq!(queue.lock().tasks, 2);
        queue.resume_host("a");
        let leases = take_leases(&queue, 10).await;
        assert_eq!(
            urls(&leases),
            ["http://a/1", "http://a/2", "http://a/3"],
            "from memory, then from the disk"
        );
    }

    fn of_session(session: &str, url: &str) -> QueuedTask {
        QueuedTask::new(Task { session: Some(session.to_owned()), ..Task::from(url) }).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_tasks_of_a_session_are_leased_one_by_one_in_order() {
        let queue = queue(100, &["http://a/0"]).await;
        for url in ["http://a/1", "http://a/2", "http://b/3", "http://a/4"] {
            queue.push(of_session("s", url)).await.unwrap();
        }
        queue.push(of_session("t", "http://a/5")).await.unwrap();
        queue.close().await.unwrap();
        let leases = take_leases(&queue, 10).await;
        assert_eq!(urls(&leases), ["http://a/0", "http://a/1", "http://a/5"]);
        queue.release(leases[1].id).await.unwrap();
        let again = take_leases(&queue, 10).await;
        assert_eq!(urls(&again), ["http://a/1"]);
        queue.ack(&[leases[0].id, again[0].id]).await.unwrap();
        let second = take_leases(&queue, 10).await;
        assert_eq!(urls(&second), ["http://a/2"]);
        // The next task of the session waits for its host.
        queue.pause_host("b", None);
        queue.ack(&[second[0].id]).await.unwrap();
        assert!(queue.lease(10, LONG).now_or_never().is_none());
        queue.resume_host("b");
        let third = take_leases(&queue, 10).await;
        assert_eq!(urls(&third), ["http://b/3"]);
        queue.ack(&[third[0].id]).await.unwrap();
        let last = take_leases(&queue, 10).await;
        assert_eq!(urls(&last), ["http://a/4"]);
        queue.ack(&[last[0].id, leases[2].id]).await.unwrap();
        assert!(take_leases(&queue, 1).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deferred_task_of_a_session_is_not_overtaken() {
        let queue = queue(100, &["http://a/0"]).await;
        for url in ["http://a/1", "http://b/2", "http://a/3"] {
            queue.push(of_session("s", url)).await.unwrap();
        }
        queue.push(of_session("t", "http://a/4")).await.unwrap();
        queue.close().await.unwrap();
        let leases = take_leases(&queue, 10).await;
        assert_eq!(urls(&leases), ["http://a/0", "http://a/1", "http://a/4"]);
        queue.defer(leases[1].id).await.unwrap();
        queue.defer(leases[0].id).await.unwrap();
        queue.ack(&[leases[2].id]).await.unwrap();
        assert!(take_leases(&queue, 10).await.is_empty(), "the rest of the session waits too");
        assert_eq!(queue.requeue_deferred().await.unwrap(), 4);
        let mut again = Vec::new();
        loop {
            let leases = take_leases(&queue, 1).await;
            let Some(lease) = leases.first() else { break };
            again.push(lease.task.url.clone());
            queue.ack(&[lease.id]).await.unwrap();
        }
        let of_s: Vec<&str> = again.iter().map(String::as_str).filter(|url| !url.ends_with("/0")).collect();
        assert_eq!((of_s, again.len()), (vec!["http://a/1", "http://b/2", "http://a/3"], 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_keeps_the_order_leases_the_oldest_task_first() {
        let queue = queue(100, &["http://a/1", "http://a/2", "http://b/3"]).await.keep_order();
        queue.push(of_session("s", "http://a/4")).await.unwrap();
        queue.push(task("http://a/5")).await.unwrap();
        let leases = take_leases(&queue, 10).await;
        assert_eq!(urls(&leases), ["http://a/1", "http://a/2", "http://b/3", "http://a/4", "http://a/5"]);
    }
}
