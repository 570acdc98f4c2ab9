//! The request queue: the tasks that are not finished.
//!
//! Workers lease tasks. A worker acknowledges a task when its record is stored, releases it, or defers it. A lease
//! that passes its deadline is leased to another worker. [`LocalQueue`] is in this process; another implementation
//! may be shared by several processes.

mod host_queues;
mod local;
mod spill;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::task::{Task, TaskKey};
use crate::exchange::error::Result;

pub use local::LocalQueue;

/// The ID of one lease. A task that is leased again has another ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId(pub u64);

/// A leased task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Lease {
    /// The ID of the lease.
    pub id: LeaseId,
    /// The task.
    pub task: Task,
    /// The fingerprint of the task.
    pub key: TaskKey,
    /// The host of the task, as [`Task::host`] returns it.
    pub host: String,
}

/// A task in the queue, with its key and host.
#[derive(Clone, Debug)]
pub struct QueuedTask {
    pub(super) task: Task,
    pub(super) key: TaskKey,
    pub(super) host: String,
    /// The order in which the queue received its tasks.
    number: u64,
}

impl QueuedTask {
    /// Computes the key and the host of `task`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl) for an invalid URL, and
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) for an invalid method.
    pub fn new(task: Task) -> Result<Self> {
        let (key, host) = task.identify()?;
        Ok(Self { task, key, host, number: 0 })
    }

    /// The name of the queue for this task: that of its host, or of the session that the caller named for it.
    fn lane(&self) -> Arc<str> {
        match self.task.session.as_deref().filter(|_| self.task.is_listed()) {
            Some(session) => format!("{SESSION_MARK}{session}").into(),
            None => self.host.as_str().into(),
        }
    }

    pub(super) const fn task(&self) -> &Task {
        &self.task
    }
}

/// Begins the name of a session's queue, and no host.
const SESSION_MARK: char = '\0';

/// A request queue. Methods may be called concurrently, and every future may be dropped.
pub trait TaskQueue: Send + Sync {
    /// Adds a task. Waits while the queue is full.
    fn push(&self, task: QueuedTask) -> BoxFuture<'_, Result<()>>;

    /// Adds tasks that were discovered on a page, before that page's task is acknowledged. Never waits for capacity,
    /// because the writer must not wait for the fetches.
    fn push_discovered(&self, tasks: Vec<QueuedTask>) -> BoxFuture<'_, Result<()>>;

    /// Marks the end of the input: [`push`](Self::push) is not called again.
    fn close(&self) -> BoxFuture<'_, Result<()>>;

    /// Leases up to `max` tasks for `time`, round-robin by host, and none of a paused host. Tasks whose lines name the
    /// same session are leased one after the other, in their order. Waits until there is a task. An empty result means that all tasks are finished and no more can be added.
    fn lease(&self, max: usize, time: Duration) -> BoxFuture<'_, Result<Vec<Lease>>>;

    /// Acknowledges finished tasks.
    fn ack<'a>(&'a self, leases: &'a [LeaseId]) -> BoxFuture<'a, Result<()>>;

    /// Returns an unfinished task. It becomes the next of its host.
    fn release(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>>;

    /// Puts a task aside until [`requeue_deferred`](Self::requeue_deferred), with the later tasks of its session.
    fn defer(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>>;

    /// Adds the deferred tasks again. Returns their number.
    fn requeue_deferred(&self) -> BoxFuture<'_, Result<u64>>;

    /// Stops leasing tasks of `host` through this value: for `time`, or until [`resume_host`](Self::resume_host).
    fn pause_host(&self, host: &str, time: Option<Duration>);

    /// Ends the pause of a host.
    fn resume_host(&self, host: &str);
}
