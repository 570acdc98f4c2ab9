//! Reading ahead: BoringSSL asks for a record's five bytes of head and then for its body, two calls of the system each.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream that takes what has arrived in one call, and hands it on in the parts that are asked for.
pub(crate) struct ReadAhead<S> {
    io: S,
    /// What was read and not asked for yet, `start..end` of it. Nothing is kept while there is none: most
    /// connections are idle.
    buffer: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl<S> ReadAhead<S> {
    pub(crate) const fn new(io: S) -> Self {
        Self { io, buffer: None, start: 0, end: 0 }
    }

    /// Gives of what is held.
    fn copy_buffered(&mut self, buf: &mut ReadBuf<'_>) {
        let Some(held) = &self.buffer else { return };
        let length = buf.remaining().min(self.end - self.start);
        buf.put_slice(&held[self.start..self.start + length]);
        self.start += length;
        if self.start == self.end
            && let Some(held) = self.buffer.take()
        {
            SPARE_BUFFER.set(Some(held));
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
    /// Whose turn is over leaves its room to the next on this thread.
    static SPARE_BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Two of the largest records.
const CAPACITY: usize = 32 * 1024;
/// Who asks for so much gets it without a copy.
const BYPASS_LEN: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use std::task::ready;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Counts how often it is read.
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
    async fn what_has_arrived_is_read_at_once_and_given_in_parts() {
        let bytes: Vec<u8> = (0..20_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let (mut far, near) = tokio::io::duplex(64 * 1024);
        let mut near = ReadAhead::new(CountingReader(near, 0));
        let (mut head, mut body) = ([0; 5], vec![0; 19_990]);
        for turn in 1..=3 {
            far.write_all(&bytes).await.unwrap();
            near.read_exact(&mut head).await.unwrap();
            assert!(near.buffer.is_some());
            near.read_exact(&mut body).await.unwrap();
            assert_eq!((&head[..], &body[..]), (&bytes[..5], &bytes[5..19_995]));
            near.read_exact(&mut head).await.unwrap();
            assert_eq!(head, bytes[19_995..]);
            assert!(near.buffer.is_none(), "nothing is kept for nothing");
            assert_eq!(near.io.1, turn);
        }
        drop(far);
        assert_eq!(near.read(&mut head).await.unwrap(), 0);
        assert_eq!(near.read(&mut head).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_asks_for_much_reads_for_himself_and_loses_nothing_held() {
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
