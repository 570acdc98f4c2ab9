//! Byte counters for proxy traffic.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes exchanged with proxies: everything above TCP, with the proxy protocol and TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Sent to proxies.
    pub sent: u64,
    /// Received from proxies.
    pub received: u64,
}

/// Counts bytes as they are sent and received.
#[derive(Debug, Default)]
pub(crate) struct ByteCounter {
    sent: AtomicU64,
    received: AtomicU64,
}

impl ByteCounter {
    pub(crate) fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns the current counts.
    pub(crate) fn snapshot(&self) -> Traffic {
        Traffic { sent: self.sent.load(Ordering::Relaxed), received: self.received.load(Ordering::Relaxed) }
    }
}
