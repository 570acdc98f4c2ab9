//! Open connections, by identity and origin. HTTP/2 ones are shared, HTTP/1.1 ones lent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::exchange::{Http1, Shared};
use crate::error::{Error, Result};
use crate::kind::ErrorKind;

/// Where a connection leads and whose it is. Two identities never share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) identity: u64,
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A connection to send one request on.
pub(crate) enum Lease {
    Http1(Http1),
    Http2(Shared),
}

/// How many connections may be open and how long idle ones stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    /// All open connections together. Default: 1024.
    pub(crate) total: usize,
    /// Idle HTTP/1.1 connections of one origin. Default: 32.
    pub(crate) idle_per_origin: usize,
    /// After how long an idle connection is closed. Default: 90 s.
    pub(crate) idle_for: Duration,
}

impl Default for Caps {
    fn default() -> Self {
        Self { total: 1024, idle_per_origin: 32, idle_for: Duration::from_secs(90) }
    }
}

#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    caps: Caps,
    permits: Arc<Semaphore>,
    origins: Mutex<Origins>,
}

#[derive(Default)]
struct Origins {
    open: HashMap<Key, Entry>,
    swept: bool,
}

#[derive(Default)]
struct Entry {
    shared: Option<(Shared, Instant)>,
    idle: Vec<(Http1, Instant)>,
    /// One connects, the others wait to share what comes of it.
    gate: Arc<tokio::sync::Mutex<()>>,
    /// It was seen to speak HTTP/1.1 only: nothing to share, so nobody waits.
    http1_only: bool,
}

impl Pool {
    pub(crate) fn new(caps: Caps) -> Self {
        Self(Arc::new(Inner {
            caps,
            permits: Arc::new(Semaphore::new(caps.total)),
            origins: Mutex::default(),
        }))
    }

    /// An open connection for `key`, if there is one.
    pub(crate) fn checkout(&self, key: &Key) -> Option<Lease> {
        let now = Instant::now();
        let mut origins = self.lock();
        let entry = origins.open.get_mut(key)?;
        if let Some((shared, used)) = &mut entry.shared {
            if !shared.is_closed() && now - *used < self.0.caps.idle_for {
                *used = now;
                return Some(Lease::Http2(shared.clone()));
            }
            entry.shared = None;
        }
        while let Some((sender, since)) = entry.idle.pop() {
            if sender.is_ready() && now - since < self.0.caps.idle_for {
                return Some(Lease::Http1(sender));
            }
        }
        None
    }

    /// Waits for whoever is connecting to `key` already, unless there will be nothing to share.
    pub(crate) async fn turn(&self, key: &Key) -> Option<OwnedMutexGuard<()>> {
        let gate = {
            let mut origins = self.lock();
            let entry = origins.open.entry(key.clone()).or_default();
            if entry.http1_only || !key.tls {
                return None;
            }
            Arc::clone(&entry.gate)
        };
        timeout(PATIENCE, gate.lock_owned()).await.ok()
    }

    /// The right to open one more connection: an idle one is closed for it when all are taken.
    pub(crate) async fn permit(&self, within: Duration) -> Result<OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.0.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Ok(permit);
        }
        self.evict_oldest();
        match timeout(within, permits.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::new(
                ErrorKind::Timeout,
                format!(
                    "all {} connections are busy and none came free within {within:?}",
                    self.0.caps.total
                ),
            )),
        }
    }

    /// Shares an HTTP/2 connection from now on.
    pub(crate) fn share(&self, key: &Key, sender: &Shared) {
        self.sweep_from_now_on();
        self.lock().open.entry(key.clone()).or_default().shared = Some((sender.clone(), Instant::now()));
    }

    /// Notes that `key` speaks HTTP/1.1.
    pub(crate) fn is_http1(&self, key: &Key) {
        self.lock().open.entry(key.clone()).or_default().http1_only = true;
    }

    /// Forgets a shared connection that turned out dead.
    pub(crate) fn forget_shared(&self, key: &Key) {
        if let Some(entry) = self.lock().open.get_mut(key) {
            entry.shared = None;
        }
    }

    /// Takes an HTTP/1.1 connection back once its answer's body has been read. One that is dropped
    /// before that is closed.
    pub(crate) fn give_back(&self, key: Key, mut sender: Http1) {
        self.sweep_from_now_on();
        let pool = self.clone();
        tokio::spawn(async move {
            if sender.ready().await.is_err() {
                return;
            }
            let mut origins = pool.lock();
            let idle = &mut origins.open.entry(key).or_default().idle;
            if idle.len() >= pool.0.caps.idle_per_origin {
                idle.remove(0);
            }
            idle.push((sender, Instant::now()));
        });
    }

    fn evict_oldest(&self) {
        let mut origins = self.lock();
        let oldest = origins
            .open
            .values_mut()
            .filter_map(|entry| entry.idle.first().map(|(_, since)| *since).map(|since| (since, entry)))
            .min_by_key(|(since, _)| *since);
        if let Some((_, entry)) = oldest {
            entry.idle.remove(0);
        }
    }

    /// Starts the task that closes idle connections, once, on the runtime in use.
    fn sweep_from_now_on(&self) {
        let mut origins = self.lock();
        if origins.swept {
            return;
        }
        origins.swept = true;
        let weak = Arc::downgrade(&self.0);
        let every = self.0.caps.idle_for / 4;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(inner) = Weak::upgrade(&weak) else { return };
                inner.sweep();
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Origins> {
        self.0.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn sweep(&self) {
        let now = Instant::now();
        let fresh = |since: &Instant| now - *since < self.caps.idle_for;
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        origins.open.retain(|_, entry| {
            entry.idle.retain(|(sender, since)| sender.is_ready() && fresh(since));
            if entry.shared.as_ref().is_some_and(|(sender, used)| sender.is_closed() || !fresh(used)) {
                entry.shared = None;
            }
            entry.shared.is_some() || !entry.idle.is_empty() || Arc::strong_count(&entry.gate) > 1
        });
    }
}

/// How long a request waits for another's connection attempt before it makes its own.
const PATIENCE: Duration = Duration::from_secs(1);
