//! The work list: what is still to be fetched.
//!
//! Tasks are lent, not given: whoever leases one acknowledges it when its record is safe, gives it back, or
//! puts it aside, and what was not heard of by its deadline is lent to another. Nothing here says
//! where the list is: [`Local`] is in this process, another may be a store that several processes share.

mod host_queues;
mod local;
mod spill;

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::task::{Task, TaskKey};
use crate::error::Result;

pub use local::LocalQueue;

/// The name of one lease. A task that is leased again has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId(pub u64);

/// A task on loan.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// The task.
    pub task: Task,
    /// What tells the task from others.
    pub key: TaskKey,
    /// Its host, as [`Task::host`] says.
    pub host: String,
}

/// A task and what is known of it.
#[derive(Clone, Debug)]
pub struct QueuedTask {
    pub(super) task: Task,
    pub(super) key: TaskKey,
    pub(super) host: String,
}

impl QueuedTask {
    /// What is to be done for `task`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl), or
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) for its method.
    pub fn new(task: Task) -> Result<Self> {
        let (key, host) = task.identify()?;
        Ok(Self { task, key, host })
    }

    pub(super) const fn task(&self) -> &Task {
        &self.task
    }
}

/// Where the tasks are. All of it may be called by many at once, and every future may be dropped.
pub trait TaskQueue: Send + Sync {
    /// Adds a task. Waits while there is more than enough to do and no room for more.
    fn push(&self, task: QueuedTask) -> BoxFuture<'_, Result<()>>;

    /// Adds tasks that were found while another was done, before that one is acknowledged. Never waits for room: who
    /// is done with a page must not wait for those who fetch.
    fn push_discovered(&self, tasks: Vec<QueuedTask>) -> BoxFuture<'_, Result<()>>;

    /// No more tasks come from whoever reads the input.
    fn close(&self) -> BoxFuture<'_, Result<()>>;

    /// Lends up to `most` tasks for `time`, in turn by host, and none of a host that is held. Waits
    /// until there is one; an empty answer says that nothing is left and nothing can come any more.
    fn lease(&self, most: usize, time: Duration) -> BoxFuture<'_, Result<Vec<Lease>>>;

    /// These are done.
    fn ack<'a>(&'a self, leases: &'a [LeaseId]) -> BoxFuture<'a, Result<()>>;

    /// This one was not done. It is the next of its host.
    fn release(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>>;

    /// This one is put aside until [`revive`](Self::revive).
    fn defer(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>>;

    /// Brings back what was put aside. How many there are.
    fn requeue_deferred(&self) -> BoxFuture<'_, Result<u64>>;

    /// To whoever asks through this value, no task of `host` is lent: for `time`, or until it is freed.
    fn pause_host(&self, host: &str, time: Option<Duration>);

    /// Ends a hold.
    fn resume_host(&self, host: &str);
}
