//! Buffers reads. BoringSSL reads a record's five-byte header and then its body, one system call each.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream that reads all available bytes in one call and returns them in the requested parts.
pub(crate) struct ReadAhead<S> {
    io: S,
    /// Bytes that were read but not returned yet: `start..end`. `None` while there are none, because most
    /// connections are idle.
    buffer: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl<S> ReadAhead<S> {
    pub(crate) const fn new(io: S) -> Self {
        Self { io, buffer: None, start: 0, end: 0 }
    }

    /// Copies buffered bytes to `buf`.
    fn copy_buffered(&mut self, buf: &mut ReadBuf<'_>) {
        let Some(buffer) = &self.buffer else { return };
        let length = buf.remaining().min(self.end - self.start);
        buf.put_slice(&buffer[self.start..self.start + length]);
        self.start += length;
        if self.start == self.end
            && let Some(buffer) = self.buffer.take()
        {
            SPARE_BUFFER.set(Some(buffer));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.buffer.is_none() {
            if buf.remaining() >= BYPASS_LEN || buf.remaining() == 0 {
                return Pin::new(&mut this.io).poll_read(cx, buf);
            }
            let mut spare = SPARE_BUFFER.take().unwrap_or_else(|| vec![0; CAPACITY].into_boxed_slice());
            let mut ahead = ReadBuf::new(&mut spare);
            let read = Pin::new(&mut this.io).poll_read(cx, &mut ahead);
            let length = ahead.filled().len();
            if !matches!(read, Poll::Ready(Ok(()))) || length == 0 {
                SPARE_BUFFER.set(Some(spare));
                return read;
            }
            (this.buffer, this.start, this.end) = (Some(spare), 0, length);
        }
        this.copy_buffered(buf);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

thread_local! {
    /// Spare read buffer, reused by the next connection on this thread.
    static SPARE_BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// The size of two maximum TLS records.
const CAPACITY: usize = 32 * 1024;
/// Reads of at least this size bypass the buffer.
const BYPASS_LEN: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use std::task::ready;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Counts the reads.
    struct CountingReader<S>(S, u32);

    impl<S: AsyncRead + Unpin> AsyncRead for CountingReader<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
            self.1 += 1;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn available_bytes_are_read_in_one_call_and_returned_in_parts() {
        let bytes: Vec<u8> = (0..20_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let (mut far, near) = tokio::io::duplex(64 * 1024);
        let mut near = ReadAhead::new(CountingReader(near, 0));
        let (mut head, mut body) = ([0; 5], vec![0; 19_990]);
        for round in 1..=3 {
            far.write_all(&bytes).await.unwrap();
            near.read_exact(&mut head).await.unwrap();
            assert!(near.buffer.is_some());
            near.read_exact(&mut body).await.unwrap();
            assert_eq!((&head[..], &body[..]), (&bytes[..5], &bytes[5..19_995]));
            near.read_exact(&mut head).await.unwrap();
            assert_eq!(head, bytes[19_995..]);
            assert!(near.buffer.is_none(), "an empty buffer is released");
            assert_eq!(near.io.1, round);
        }
        drop(far);
        assert_eq!(near.read(&mut head).await.unwrap(), 0);
        assert_eq!(near.read(&mut head).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn large_reads_bypass_the_buffer_without_losing_buffered_bytes() {
        let (mut far, near) = tokio::io::duplex(64 * 1024);
        let mut near = ReadAhead::new(near);
        far.write_all(&[1; 100]).await.unwrap();
        let mut large = vec![0; BYPASS_LEN];
        assert_eq!(near.read(&mut large).await.unwrap(), 100);
        assert!(near.buffer.is_none());
        far.write_all(&[2; 100]).await.unwrap();
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 1);
        far.write_all(&[3; 100]).await.unwrap();
        assert_eq!(near.read(&mut large).await.unwrap(), 99);
        assert_eq!(near.read(&mut large).await.unwrap(), 100);
        assert_eq!(large[..100], [3; 100]);
    }
}
