//! A bound on what a server may send before its answer's head is whole.
//!
//! The HTTP/1.1 stack bounds one head, but passes over interim answers (1xx) without counting them:
//! a server that never stops sending them keeps a thread busy past every deadline.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::tls::BoxIo;

/// How many bytes may still come. Cloning shares it.
#[derive(Clone)]
pub(crate) struct ReadLimit(Arc<AtomicUsize>);

impl ReadLimit {
    /// Nothing is bounded yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(UNLIMITED)))
    }

    /// A request goes out: its answer's head must come within `bytes`.
    pub(crate) fn set(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// The head came. Its body has bounds of its own.
    pub(crate) fn clear(&self) {
        self.set(UNLIMITED);
    }

    fn consume(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == UNLIMITED {
            return Ok(());
        }
        let Some(left) = left.checked_sub(bytes) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no end of the head is in sight"));
        };
        // Lifted in the meantime, it stays so.
        let _ = self.0.compare_exchange(left + bytes, left, Ordering::Relaxed, Ordering::Relaxed);
        Ok(())
    }
}

/// A byte stream whose reading is bounded.
pub(crate) struct LimitedReader {
    io: BoxIo,
    limit: ReadLimit,
}

impl LimitedReader {
    pub(crate) const fn new(io: BoxIo, limit: ReadLimit) -> Self {
        Self { io, limit }
    }
}

impl AsyncRead for LimitedReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.io.as_mut().poll_read(cx, buf))?;
        Poll::Ready(self.limit.consume(buf.filled().len() - before))
    }
}

impl AsyncWrite for LimitedReader {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}

const UNLIMITED: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_head_is_counted_and_what_comes_after_is_not() {
        let allowance = ReadLimit::new();
        assert!(allowance.consume(1 << 40).is_ok());
        allowance.set(10);
        assert!(allowance.consume(6).is_ok() && allowance.consume(4).is_ok());
        assert_eq!(allowance.consume(1).unwrap_err().kind(), io::ErrorKind::InvalidData);
        allowance.clear();
        assert!(allowance.consume(1 << 40).is_ok());
    }
}
