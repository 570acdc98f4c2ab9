//! Limits the bytes that a server may send before its response headers are complete.
//!
//! The HTTP/1.1 stack limits one block of headers, but skips interim responses (1xx) without counting them. A
//! server that sends them endlessly would keep a thread busy past every deadline.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::tls::BoxIo;

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

    fn consume(&self, bytes: usize) -> io::Result<()> {
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

/// A byte stream with a read limit.
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
