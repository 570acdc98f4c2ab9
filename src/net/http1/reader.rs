//! The stream between the connection and the HTTP/1.1 stack.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunks::ChunkRewriter;
use super::head::{self, Start};
use crate::exchange::response::ReceivedHead;
use crate::net::io::read_limit::ReadLimit;
use crate::net::tls::BoxIo;
use crate::os::sync::lock_unpoisoned;

/// What the sender and the reader of one connection know of each other. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct ResponseWatch(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Whether the next response answers a HEAD request. `None` if no request was sent.
    awaited: Mutex<Option<bool>>,
    is_odd: AtomicBool,
    framing: Mutex<Option<Vec<(HeaderName, HeaderValue)>>>,
    received: Mutex<Option<ReceivedHead>>,
}

impl ResponseWatch {
    /// Announces that a request will be sent.
    pub(crate) fn expect_response(&self, to_head_request: bool) {
        *lock_unpoisoned(&self.0.received) = None;
        *lock_unpoisoned(&self.0.awaited) = Some(to_head_request);
    }

    /// Whether a response was so unlike RFC 9112 that another reader may see another end of it. Then the connection is
    /// not reused.
    pub(crate) fn is_odd(&self) -> bool {
        self.0.is_odd.load(Ordering::Relaxed)
    }

    /// Restores the framing fields as the server sent them, if the stack received others.
    pub(crate) fn restore_framing(&self, headers: &mut HeaderMap) {
        if let Some(fields) = lock_unpoisoned(&self.0.framing).take() {
            headers.remove(header::CONTENT_LENGTH);
            headers.remove(header::TRANSFER_ENCODING);
            for (name, value) in fields {
                headers.append(name, value);
            }
        }
    }

    /// Takes the reason phrase and the names of the last response, as received.
    pub(crate) fn take_received(&self) -> Option<ReceivedHead> {
        lock_unpoisoned(&self.0.received).take()
    }

    fn take_awaited(&self) -> Option<bool> {
        lock_unpoisoned(&self.0.awaited).take()
    }

    fn mark_odd(&self, is_odd: bool) {
        self.0.is_odd.fetch_or(is_odd, Ordering::Relaxed);
    }
}

/// A byte stream whose responses are rewritten into the form of RFC 9112. Limits the size of their heads.
pub(crate) struct ResponseReader {
    io: BoxIo,
    limit: ReadLimit,
    max_head: usize,
    watch: ResponseWatch,
    state: State,
    /// The bytes of a head that is not complete.
    head: Vec<u8>,
    /// Rewritten bytes, and how many of them were returned.
    out: Vec<u8>,
    returned: usize,
}

enum State {
    /// Bytes are returned as they are.
    Raw,
    Head {
        is_head_request: bool,
        /// How many bytes were searched for the end.
        searched: usize,
    },
    Chunks(ChunkRewriter),
}

impl ResponseReader {
    pub(crate) fn new(io: BoxIo, limit: ReadLimit, max_head: usize, watch: ResponseWatch) -> Self {
        Self { io, limit, max_head, watch, state: State::Raw, head: Vec::new(), out: Vec::new(), returned: 0 }
    }

    /// Rewrites received bytes to `out`. At the end of the connection, `input` is empty.
    fn push(&mut self, input: &[u8]) -> io::Result<()> {
        match &mut self.state {
            State::Raw => self.out.extend_from_slice(input),
            State::Chunks(chunks) => {
                chunks.push(input, &mut self.out)?;
                self.watch.mark_odd(chunks.is_odd);
                if chunks.is_ended() {
                    self.state = State::Raw;
                }
            }
            State::Head { .. } if input.is_empty() => self.pass_head(),
            State::Head { .. } => {
                self.head.extend_from_slice(input);
                while matches!(self.state, State::Head { .. }) && self.take_head()? {}
            }
        }
        Ok(())
    }

    /// Rewrites one head if it is complete.
    fn take_head(&mut self) -> io::Result<bool> {
        let State::Head { is_head_request, searched } = &mut self.state else { return Ok(false) };
        let start = match head::find_start(&self.head) {
            Start::At(start) => start,
            Start::Unknown if self.head.len() <= self.max_head => return Ok(false),
            Start::Unknown | Start::Foreign => {
                self.pass_head();
                return Ok(false);
            }
        };
        let Some(end) = head::find_end(&self.head, start.max(*searched)) else {
            *searched = self.head.len();
            return if self.head.len() > self.max_head { Err(too_large()) } else { Ok(false) };
        };
        if end > self.max_head {
            return Err(too_large());
        }
        let Some(rewritten) = head::rewrite(&self.head[start..end], *is_head_request) else {
            self.watch.mark_odd(true);
            self.pass_head();
            return Ok(false);
        };
        self.out.extend_from_slice(&rewritten.bytes);
        self.watch.mark_odd(rewritten.is_odd || start > 0);
        if rewritten.is_interim {
            *searched = 0;
            self.head.drain(..end);
            return Ok(true);
        }
        *lock_unpoisoned(&self.watch.0.framing) = rewritten.framing;
        *lock_unpoisoned(&self.watch.0.received) = Some(rewritten.received);
        let rest = std::mem::take(&mut self.head).split_off(end);
        self.state = if rewritten.is_chunked { State::Chunks(ChunkRewriter::default()) } else { State::Raw };
        if !rest.is_empty() {
            self.push(&rest)?;
        }
        Ok(false)
    }

    /// Returns the bytes of a head as they are. The stack decides.
    fn pass_head(&mut self) {
        self.out.append(&mut self.head);
        self.state = State::Raw;
    }

    /// Copies rewritten bytes to `buf`. Returns whether there were any.
    fn return_rewritten(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let pending = &self.out[self.returned..];
        if pending.is_empty() {
            return false;
        }
        let length = pending.len().min(buf.remaining());
        buf.put_slice(&pending[..length]);
        self.returned += length;
        if self.returned == self.out.len() {
            self.returned = 0;
            self.out.clear();
            self.out.shrink_to(KEPT_BUFFER);
        }
        true
    }
}

impl AsyncRead for ResponseReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.return_rewritten(buf) {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(this.io.as_mut().poll_read(cx, buf))?;
            let received = buf.filled().len() - before;
            this.limit.consume(received)?;
            if let State::Raw = this.state
                && let Some(is_head_request) = this.watch.take_awaited()
            {
                this.state = State::Head { is_head_request, searched: 0 };
            }
            if let State::Raw = this.state {
                return Poll::Ready(Ok(()));
            }
            this.push(&buf.filled()[before..])?;
            buf.set_filled(before);
            if received == 0 {
                this.return_rewritten(buf);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for ResponseReader {
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

/// Rewrites a response that arrives in these pieces, until the connection ends. For fuzzing.
pub(crate) fn rewrite_pieces<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    is_head_request: bool,
    max_head: usize,
) -> io::Result<Vec<u8>> {
    let (io, limit) = (Box::pin(tokio::io::empty()), ReadLimit::new());
    let mut reader = ResponseReader::new(io, limit, max_head, ResponseWatch::default());
    reader.state = State::Head { is_head_request, searched: 0 };
    for piece in pieces.chain([&[][..]]) {
        reader.push(piece)?;
    }
    Ok(reader.out)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "response headers exceed the size limit")
}

/// The largest buffer that is kept for the next response.
const KEPT_BUFFER: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Returns what the stack reads when a server sends `parts`, one for each request, `step` bytes at a time.
    async fn read(parts: &[&str], step: usize) -> (String, ResponseWatch) {
        let (mut server, client) = tokio::io::duplex(step);
        let watch = ResponseWatch::default();
        let mut reader = ResponseReader::new(Box::pin(client), ReadLimit::new(), 1000, watch.clone());
        let mut all = String::new();
        for part in parts {
            watch.expect_response(false);
            let sending = async {
                server.write_all(part.as_bytes()).await.expect("the other end is open");
            };
            let mut received = vec![0; part.len() * 2];
            let mut length = 0;
            let reading = async {
                // The last byte of each part is not changed.
                while !received[..length].ends_with(b"#") {
                    length += reader.read(&mut received[length..]).await.expect("the head is small");
                }
            };
            tokio::join!(sending, reading);
            all.push_str(std::str::from_utf8(&received[..length]).expect("it is text"));
        }
        (all, watch)
    }

    #[tokio::test]
    async fn heads_and_chunks_are_rewritten_for_any_split_of_the_bytes() {
        let parts = [
            "HTTP/1.1 103 Early\r\nLink: a\r\n\r\n http/1.1  200 OK\nX-A: a\n b\n\nHTTP/1.1 204 body\n\n#",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\npage\n0\n\n#",
            "SSH-2.0-OpenSSH_9 X: y\n\n#",
        ];
        let expected = "HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nX-A: a b\r\n\r\nHTTP/1.1 204 body\n\n#\
                        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n#\
                        SSH-2.0-OpenSSH_9 X: y\n\n#";
        for step in [1, 2, 5, 1000] {
            let (text, watch) = read(&parts, step).await;
            assert_eq!(text, expected, "{step}");
            assert!(watch.is_odd());
        }
        let (_, watch) = read(&["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n#"], 7).await;
        assert!(!watch.is_odd());
    }

    #[tokio::test]
    async fn a_head_is_limited() {
        let (mut server, client) = tokio::io::duplex(10_000);
        let watch = ResponseWatch::default();
        let mut reader = ResponseReader::new(Box::pin(client), ReadLimit::new(), 1000, watch.clone());
        watch.expect_response(false);
        let head = format!("HTTP/1.1 200 OK\r\nX-A: {}", "a".repeat(1000));
        server.write_all(head.as_bytes()).await.expect("the other end is open");
        let error = reader.read(&mut [0; 100]).await.expect_err("it is too large");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
