//! Limits the bytes that a server may send before its response headers are complete.
//!
//! The HTTP/1.1 stack limits one block of headers, but skips interim responses (1xx) without counting them. A
//! server that sends them endlessly would keep a thread busy past every deadline.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes may still be received. Clones share it.
#[derive(Clone)]
pub(crate) struct ReadLimit(Arc<AtomicUsize>);

impl ReadLimit {
    /// Creates a limit that is not set yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(UNLIMITED)))
    }

    /// Limits the response headers of the next request to `bytes`.
    pub(crate) fn set(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// Removes the limit: the headers are complete, and the body has limits of its own.
    pub(crate) fn clear(&self) {
        self.set(UNLIMITED);
    }

    /// Counts received bytes.
    ///
    /// # Errors
    /// When they exceed the limit.
    pub(crate) fn consume(&self, bytes: usize) -> io::Result<()> {
        let remaining = self.0.load(Ordering::Relaxed);
        if remaining == UNLIMITED {
            return Ok(());
        }
        let Some(remaining) = remaining.checked_sub(bytes) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "response headers exceed the size limit"));
        };
        // If the limit was cleared or set again meanwhile, that value stays.
        let _ = self.0.compare_exchange(remaining + bytes, remaining, Ordering::Relaxed, Ordering::Relaxed);
        Ok(())
    }
}

const UNLIMITED: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_limited_until_the_headers_are_complete() {
        let limit = ReadLimit::new();
        assert!(limit.consume(1 << 40).is_ok());
        limit.set(10);
        assert!(limit.consume(6).is_ok() && limit.consume(4).is_ok());
        assert_eq!(limit.consume(1).unwrap_err().kind(), io::ErrorKind::InvalidData);
        limit.clear();
        assert!(limit.consume(1 << 40).is_ok());
    }
}
