//! The connection pool, by identity and origin. HTTP/2 connections are shared, HTTP/1.1 connections checked
//! out.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::exchange::{Http1Sender, Http2Sender};
use crate::exchange::address_rule::AddressSpace;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::sync::lock_unpoisoned;

/// The key of a pooled connection: its identity and origin. Two identities never share a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionKey {
    pub(crate) identity: u64,
    /// Whether the connection is reserved for requests without credentials.
    pub(crate) anonymous: bool,
    /// Whether HTTP/2 was not offered.
    pub(crate) only_http1: bool,
    /// The number of the client certificate.
    pub(crate) certificate: Option<u64>,
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A connection on which a request can be sent.
pub(crate) enum PooledConn {
    Http1(Http1Sender),
    Http2(Http2Sender),
}

impl PooledConn {
    /// The kind of address that the connection leads to.
    pub(crate) const fn space(&self) -> AddressSpace {
        match self {
            Self::Http1(sender) => sender.space,
            Self::Http2(sender) => sender.space,
        }
    }
}

/// The result of a reservation.
pub(crate) enum PoolAdmission {
    /// A permit to open a connection. Released when the connection is closed.
    Connect(OwnedSemaphorePermit),
    Reuse(PooledConn),
}

/// An HTTP/1.1 connection whose response body is still streaming.
pub(crate) struct CheckedOut {
    pool: Pool,
    key: ConnectionKey,
    sender: Option<Http1Sender>,
}

impl CheckedOut {
    /// Returns the connection to the pool after the body was read. The next request can use it immediately.
    pub(crate) async fn release(mut self) {
        let Some(mut sender) = self.sender.take() else { return };
        // A connection that must close never becomes ready.
        if let Ok(Ok(())) = timeout(READY_TIMEOUT, sender.ready()).await {
            self.pool.insert_idle(&self.key, sender);
        }
    }
}

impl Drop for CheckedOut {
    /// The body was not read to its end. If little is left, the connection can still be reused.
    fn drop(&mut self) {
        let (Some(mut sender), Ok(runtime)) = (self.sender.take(), Handle::try_current()) else { return };
        let (pool, key) = (self.pool.clone(), self.key.clone());
        runtime.spawn(async move {
            if sender.ready().await.is_ok() {
                pool.insert_idle(&key, sender);
            }
        });
    }
}

/// How many connections may be open, and how long idle ones stay open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolConfig {
    /// The maximum number of open connections. Default: 1024, or half of the process's file descriptor limit
    /// if that is lower.
    pub(crate) max_connections: usize,
    /// How long a connection may be idle before it is closed. Default: 90 s.
    pub(crate) idle_timeout: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        // The other half is for name servers, files, pipes and the host application.
        let descriptors = getrlimit(Resource::Nofile)
            .current
            .map_or(usize::MAX, |most| usize::try_from(most / 2).unwrap_or(usize::MAX));
        Self { max_connections: descriptors.clamp(1, MAX_CONNECTIONS), idle_timeout: Duration::from_secs(90) }
    }
}

#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    config: PoolConfig,
    permits: Arc<Semaphore>,
    /// Notified when a checked-out connection is idle again.
    returned: Notify,
    origins: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    open: HashMap<ConnectionKey, PoolEntry>,
    /// The origins, by identity, whose servers require HTTP/1.1.
    require_http1: HashSet<ConnectionKey>,
    has_sweeper: bool,
}

#[derive(Default)]
struct PoolEntry {
    shared: Option<(Http2Sender, Instant)>,
    idle: Vec<(Http1Sender, Instant)>,
    /// Locked while one request connects; the others wait to share the connection.
    connecting: Arc<tokio::sync::Mutex<()>>,
    /// Whether the origin speaks only HTTP/1.1. Connections are not shared then, so requests do not wait.
    http1_only: bool,
}

impl PoolEntry {
    /// When the least recently used connection was last used.
    fn oldest(&self) -> Option<Instant> {
        let shared = self.shared.as_ref().map(|(_, used)| *used);
        shared.into_iter().chain(self.idle.first().map(|(_, since)| *since)).min()
    }
}

impl Pool {
    pub(crate) fn new(config: PoolConfig) -> Self {
        Self(Arc::new(Inner {
            config,
            permits: Arc::new(Semaphore::new(config.max_connections)),
            returned: Notify::new(),
            origins: Mutex::default(),
        }))
    }

    /// Returns an open connection for `key`, if there is one.
    pub(crate) fn checkout(&self, key: &ConnectionKey) -> Option<PooledConn> {
        let now = Instant::now();
        let mut origins = self.lock();
        let entry = origins.open.get_mut(key)?;
        if let Some((shared, used)) = &mut entry.shared {
            if !shared.is_closed() && now - *used < self.0.config.idle_timeout {
                *used = now;
                return Some(PooledConn::Http2(shared.clone()));
            }
            entry.shared = None;
        }
        while let Some((sender, since)) = entry.idle.pop() {
            if sender.is_ready() && now - since < self.0.config.idle_timeout {
                return Some(PooledConn::Http1(sender));
            }
        }
        None
    }

    /// Waits for a request that is already connecting to `key`, unless the connection could not be shared.
    pub(crate) async fn lock_connecting(&self, key: &ConnectionKey) -> Option<OwnedMutexGuard<()>> {
        let connecting = {
            let mut origins = self.lock();
            let entry = origins.open.entry(key.clone()).or_default();
            if entry.http1_only || !key.tls {
                return None;
            }
            Arc::clone(&entry.connecting)
        };
        timeout(CONNECT_WAIT, connecting.lock_owned()).await.ok()
    }

    /// Returns a permit to open a connection, or a connection to `key` that was returned meanwhile. At the
    /// limit, closes an idle connection.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when all connections stay in use for longer than `within`.
    pub(crate) async fn reserve(
        &self,
        key: &ConnectionKey,
        fresh: bool,
        within: Duration,
    ) -> Result<PoolAdmission> {
        let waiting = async {
            let mut permit = pin!(Arc::clone(&self.0.permits).acquire_owned());
            loop {
                let mut returned = pin!(self.0.returned.notified());
                returned.as_mut().enable();
                if !fresh && let Some(connection) = self.checkout(key) {
                    return Some(PoolAdmission::Reuse(connection));
                }
                self.evict_oldest();
                tokio::select! {
                    biased;
                    permit = &mut permit => return permit.ok().map(PoolAdmission::Connect),
                    () = returned => {}
                }
            }
        };
        if let Ok(permit) = Arc::clone(&self.0.permits).try_acquire_owned() {
            return Ok(PoolAdmission::Connect(permit));
        }
        timeout(within, waiting).await.ok().flatten().ok_or_else(|| {
            let total = self.0.config.max_connections;
            let message =
                format!("timed out after {within:?} waiting for one of {total} connections, all in use");
            let error = Error::new(ErrorKind::Timeout, message);
            if total < MAX_CONNECTIONS {
                error.with_hint("raise the limit of file descriptors (`ulimit -n 4096`)")
            } else {
                error
            }
        })
    }

    /// Shares an HTTP/2 connection from now on.
    pub(crate) fn insert_shared(&self, key: &ConnectionKey, sender: &Http2Sender) {
        self.start_sweeper();
        self.lock().open.entry(key.clone()).or_default().shared = Some((sender.clone(), Instant::now()));
    }

    /// Records that `key` speaks only HTTP/1.1.
    pub(crate) fn mark_http1_only(&self, key: &ConnectionKey) {
        self.lock().open.entry(key.clone()).or_default().http1_only = true;
    }

    /// Records that the server of `key` requires HTTP/1.1, for all later connections of this identity.
    pub(crate) fn require_http1(&self, key: &ConnectionKey) {
        let mut origins = self.lock();
        if origins.require_http1.len() < MAX_REQUIRING_HTTP1 {
            origins.require_http1.insert(ConnectionKey { anonymous: false, ..key.clone() });
        }
    }

    /// Whether the server of `key` requires HTTP/1.1.
    pub(crate) fn requires_http1(&self, key: &ConnectionKey) -> bool {
        let required = &self.lock().require_http1;
        !required.is_empty() && required.contains(&ConnectionKey { anonymous: false, ..key.clone() })
    }

    /// Removes a shared connection that turned out to be closed.
    pub(crate) fn remove_shared(&self, key: &ConnectionKey) {
        if let Some(entry) = self.lock().open.get_mut(key) {
            entry.shared = None;
        }
    }

    /// Removes all connections of an identity. A connection with a response in progress closes after it.
    pub(crate) fn drop_identity(&self, identity: u64) {
        let mut origins = self.lock();
        origins.open.retain(|key, _| key.identity != identity);
        origins.require_http1.retain(|key| key.identity != identity);
    }

    /// Wraps a connection so that it returns to the pool after its response body.
    pub(crate) fn track_checked_out(&self, key: &ConnectionKey, sender: Http1Sender) -> CheckedOut {
        self.start_sweeper();
        CheckedOut { pool: self.clone(), key: key.clone(), sender: Some(sender) }
    }

    fn insert_idle(&self, key: &ConnectionKey, sender: Http1Sender) {
        let mut origins = self.lock();
        // No limit per origin: the total number and the idle time are limited already.
        origins.open.entry(key.clone()).or_default().idle.push((sender, Instant::now()));
        drop(origins);
        self.0.returned.notify_one();
    }

    /// Closes the least recently used connection. A shared one closes after its last stream.
    fn evict_oldest(&self) {
        let mut origins = self.lock();
        let oldest = origins
            .open
            .values_mut()
            .filter_map(|entry| entry.oldest().map(|since| (since, entry)))
            .min_by_key(|(since, _)| *since);
        if let Some((since, entry)) = oldest {
            if entry.shared.as_ref().is_some_and(|(_, used)| *used == since) {
                entry.shared = None;
            } else {
                entry.idle.remove(0);
            }
        }
    }

    /// Starts the task that closes idle connections, once, on the current runtime.
    fn start_sweeper(&self) {
        let mut origins = self.lock();
        if origins.has_sweeper {
            return;
        }
        origins.has_sweeper = true;
        let weak = Arc::downgrade(&self.0);
        let every = self.0.config.idle_timeout / 4;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(inner) = Weak::upgrade(&weak) else { return };
                inner.sweep();
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        lock_unpoisoned(&self.0.origins)
    }
}

impl Inner {
    fn sweep(&self) {
        let now = Instant::now();
        let fresh = |since: &Instant| now - *since < self.config.idle_timeout;
        let mut origins = lock_unpoisoned(&self.origins);
        origins.open.retain(|_, entry| {
            entry.idle.retain(|(sender, since)| sender.is_ready() && fresh(since));
            if entry.shared.as_ref().is_some_and(|(sender, used)| sender.is_closed() || !fresh(used)) {
                entry.shared = None;
            }
            entry.shared.is_some() || !entry.idle.is_empty() || Arc::strong_count(&entry.connecting) > 1
        });
    }
}

/// The maximum number of open connections, if there are enough file descriptors.
const MAX_CONNECTIONS: usize = 1024;
/// The maximum number of origins whose need of HTTP/1.1 is remembered.
const MAX_REQUIRING_HTTP1: usize = 10_000;
/// How long a request waits for another's connection attempt before it makes its own.
const CONNECT_WAIT: Duration = Duration::from_secs(1);

/// How long a connection may take to become ready after a body's last byte.
const READY_TIMEOUT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::fingerprint::Profile;
    use crate::net::exchange;

    fn key(host: &str) -> ConnectionKey {
        ConnectionKey {
            identity: 1,
            anonymous: false,
            only_http1: false,
            certificate: None,
            tls: true,
            host: host.to_owned(),
            port: 443,
        }
    }

    /// Opens a shared connection and returns its other end.
    async fn open_shared(pool: &Pool, host: &str) -> DuplexStream {
        let admission =
            pool.reserve(&key(host), true, Duration::from_secs(1)).await.expect("a connection is free");
        let PoolAdmission::Connect(permit) = admission else { panic!("a new connection was requested") };
        let (ours, theirs) = duplex(1 << 16);
        let profile = Profile::named("plain").expect("the profile is built in");
        let sender =
            exchange::handshake_http2((Box::pin(ours), AddressSpace::Public), &profile, permit).await;
        pool.insert_shared(&key(host), &sender.unwrap_or_else(|error| panic!("{error}")));
        theirs
    }

    #[tokio::test(start_paused = true)]
    async fn idle_shared_connections_are_closed_for_new_ones_oldest_first() {
        let pool = Pool::new(PoolConfig { max_connections: 2, ..PoolConfig::default() });
        let mut ends = Vec::new();
        for host in ["a", "b"] {
            ends.push(open_shared(&pool, host).await);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(pool.checkout(&key("a")).is_some(), "it becomes the most recently used one");
        ends.push(open_shared(&pool, "c").await);
        let open = |host: &str| pool.checkout(&key(host)).is_some();
        assert!(open("a") && !open("b") && open("c"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_idle_for_too_long_is_not_reused() {
        let pool = Pool::new(PoolConfig::default());
        let _end = open_shared(&pool, "a").await;
        tokio::time::advance(Duration::from_secs(89)).await;
        assert!(pool.checkout(&key("a")).is_some());
        tokio::time::advance(Duration::from_secs(90)).await;
        assert!(pool.checkout(&key("a")).is_none());
    }
}
