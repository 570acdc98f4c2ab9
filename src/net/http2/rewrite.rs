//! A layer between the HTTP/2 stack and TLS that writes HEADERS frames as the browser does.
//!
//! The stack always Huffman-codes and knows one stream dependency per connection. So each request reaches
//! this layer with a ticket instead of its fields. This layer replaces the ticket with the fields, encoded
//! and prioritised as the profile defines. Other frames pass unchanged, unless the profile is a browser's.
//! Then this layer imitates the browser's SETTINGS acknowledgement, resets and PINGs, and omits GOAWAY. A
//! server that floods the client with empty frames is disconnected.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::fingerprint::profile::Hpack;
use crate::net::tls::BoxIo;

use super::headers_slot::PendingHeaders;
use super::reader::FrameReader;
use super::writer::FrameWriter;

/// The stream between the HTTP/2 stack and TLS.
pub(crate) struct FrameRewriter {
    io: BoxIo,
    pending_headers: PendingHeaders,
    writer: FrameWriter,
    reader: FrameReader,
    /// Bytes to be sent.
    out: Vec<u8>,
    sent: usize,
    /// Rewritten frames of the peer, and how much of them the stack has read.
    received: Vec<u8>,
    read: usize,
}

impl FrameRewriter {
    /// Creates a rewriter over `io` that encodes headers in the style of `hpack`. `is_browser` enables the
    /// browser's other behaviour.
    /// `requires_http1` is set when the peer requires HTTP/1.1.
    pub(crate) fn new(
        io: BoxIo,
        pending_headers: PendingHeaders,
        hpack: Hpack,
        is_browser: bool,
        requires_http1: Arc<AtomicBool>,
    ) -> Self {
        let writer = FrameWriter::new(hpack, is_browser);
        Self {
            io,
            pending_headers,
            writer,
            reader: FrameReader::new(Instant::now(), requires_http1),
            out: Vec::new(),
            sent: 0,
            received: Vec::new(),
            read: 0,
        }
    }

    /// Resets the streams whose responses will not be read to their end.
    fn reset_unread(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pending_headers.register_waker(cx.waker());
        if self.writer.is_between_frames() {
            for number in self.pending_headers.take_unread() {
                self.writer.reset(number, &mut self.out);
            }
        }
        self.write_out(cx)
    }

    /// Copies rewritten frames to `buf`. Returns whether there were any.
    fn return_received(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let pending = &self.received[self.read..];
        let length = pending.len().min(buf.remaining());
        buf.put_slice(&pending[..length]);
        self.read += length;
        if self.read == self.received.len() {
            self.read = 0;
            self.received.clear();
            self.received.shrink_to(KEPT_BUFFER);
        }
        length > 0
    }

    /// Sends the pending bytes.
    fn write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            let wrote = ready!(self.io.as_mut().poll_write(cx, &self.out[self.sent..]))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += wrote;
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for FrameRewriter {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Bytes that cannot be sent now are sent with the next write, flush or read.
        if let Poll::Ready(Err(cause)) = self.reset_unread(cx) {
            return Poll::Ready(Err(cause));
        }
        let this = &mut *self;
        loop {
            if this.return_received(buf) {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(this.io.as_mut().poll_read(cx, buf))?;
            let now = Instant::now();
            this.writer.last_received = now;
            let length = buf.filled().len() - before;
            if this.reader.pass(length) {
                return Poll::Ready(Ok(()));
            }
            let allowed = this.reader.push(&buf.filled()[before..], now, &mut this.received)?;
            buf.set_filled(before);
            if let Some(allowed) = allowed {
                this.writer.encoder.resize(allowed);
            }
        }
    }
}

impl AsyncWrite for FrameRewriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // Each write is accepted as a whole; the next one waits until it was sent.
        ready!(self.reset_unread(cx))?;
        let this = &mut *self;
        this.writer.process(buf, &this.pending_headers, &mut this.out)?;
        this.reader.budget.add_requests(std::mem::take(&mut this.writer.requests));
        this.reader.budget.add_sent_bytes(buf.len());
        // Bytes that cannot be sent now are sent with the next write or flush.
        if let Poll::Ready(Err(cause)) = this.write_out(cx) {
            return Poll::Ready(Err(cause));
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_out(cx))?;
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_out(cx))?;
        self.io.as_mut().poll_shutdown(cx)
    }
}

/// The largest buffer that is kept for the next frames.
const KEPT_BUFFER: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::frame::*;
    use super::*;
    use crate::fingerprint::H2Reader;
    use crate::fingerprint::h2::Frame;
    use crate::fingerprint::profile::Priority;
    use crate::net::http2::headers_slot::TICKET_HEADER;
    use crate::net::http2::hpack::HpackEncoder;

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        HpackEncoder::new(Hpack::default())
            .encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())), &mut out);
        out
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        FrameHeader { length: payload.len(), kind, flags, stream }.write(&mut out);
        out.extend_from_slice(payload);
        out
    }

    /// Returns the output for `input` written `step` bytes at a time.
    fn rewrite(input: &[u8], step: usize, pending: &PendingHeaders) -> Vec<u8> {
        let (mut writer, mut out) = (FrameWriter::new(Hpack::default(), true), Vec::new());
        for part in input.chunks(step) {
            writer.process(part, pending, &mut out).unwrap();
        }
        out
    }

    const PREFACE_TEXT: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    #[test]
    fn a_ticket_is_replaced_by_the_fields_and_priority_for_any_split_of_the_bytes() {
        for step in [1, 2, 7, 10_000] {
            let pending = PendingHeaders::default();
            let fields = vec![
                ("user-agent".into(), HeaderValue::from_static("T")),
                ("cookie".into(), HeaderValue::from_static("a=1")),
                ("priority".into(), HeaderValue::from_static("u=0, i")),
            ];
            let priority = Some(Priority { weight: 255, depends_on: 0, exclusive: true });
            let ticket = pending.insert(fields, priority);
            let bare = block(&[
                (":method", "GET"),
                (":authority", "site.example"),
                (":scheme", "https"),
                (":path", "/"),
                (TICKET_HEADER.as_str(), &ticket.number().to_string()),
            ]);
            let (start, end) = bare.split_at(5);
            let mut input = PREFACE_TEXT.to_vec();
            input.extend(frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 0]));
            input.extend(frame(HEADERS, END_STREAM, 1, start));
            input.extend(frame(CONTINUATION, END_HEADERS, 1, end));
            input.extend(frame(0, END_STREAM, 1, b"data"));
            let out = rewrite(&input, step, &pending);
            let frames = H2Reader::default().push(&out).unwrap();
            let headers = frames.iter().find_map(|frame| match frame {
                Frame::Headers { fields, priority, .. } => Some((fields, priority)),
                _ => None,
            });
            let (fields, seen) = headers.expect("a HEADERS frame was written");
            assert_eq!(*seen, priority);
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            assert_eq!(
                names,
                [":method", ":authority", ":scheme", ":path", "user-agent", "cookie", "priority"]
            );
            assert!(out.ends_with(&frame(0, END_STREAM, 1, b"data")));
        }
    }

    #[test]
    fn a_block_larger_than_a_frame_continues_in_continuation_frames() {
        let pending = PendingHeaders::default();
        let long = HeaderValue::from_bytes(&vec![b'~'; 40_000]).unwrap();
        let ticket = pending.insert(vec![("x-long".into(), long)], None);
        let bare = block(&[(":method", "GET"), (TICKET_HEADER.as_str(), &ticket.number().to_string())]);
        let mut input = PREFACE_TEXT.to_vec();
        input.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bare));
        let out = rewrite(&input, 100, &pending);
        let frames = H2Reader::default().push(&out).unwrap();
        assert!(frames.iter().any(|frame| matches!(frame, Frame::Headers { fields, .. } if fields.iter().any(|f| f.value.len() == 40_000))));
    }

    #[test]
    fn the_peers_table_size_is_found_for_any_split_of_the_bytes() {
        let mut input = frame(0, 0, 1, &[0; 100]);
        input.extend(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9, 0, 1, 0, 0, 1, 0]));
        input.extend(frame(SETTINGS, ACK, 0, &[]));
        for step in [1, 5, 1000] {
            let now = Instant::now();
            let mut reader = FrameReader::new(now, Arc::default());
            let mut out = Vec::new();
            let seen: Vec<u32> =
                input.chunks(step).filter_map(|part| reader.push(part, now, &mut out).unwrap()).collect();
            assert_eq!(seen, [256], "{step}");
            assert_eq!(out, input, "{step}");
        }
    }

    #[test]
    fn header_blocks_of_responses_are_rewritten_for_any_split_of_the_bytes() {
        let response = block(&[(":status", "200"), ("content-length", "9"), ("x-a", "1")]);
        let trailers = block(&[("x-t", "1")]);
        let (start, end) = response.split_at(3);
        let padded = [&[2, 0, 0, 0, 0, 7][..], start, &[0, 0]].concat();
        let mut input = frame(HEADERS, PADDED | PRIORITY, 1, &padded);
        input.extend(frame(CONTINUATION, END_HEADERS, 1, end));
        input.extend(frame(DATA, 0, 1, b"page"));
        input.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
        for step in [1, 2, 7, 1000] {
            let now = Instant::now();
            let (mut reader, mut out) = (FrameReader::new(now, Arc::default()), Vec::new());
            input.chunks(step).for_each(|part| assert_eq!(reader.push(part, now, &mut out).unwrap(), None));
            let frames = H2Reader::default().push(&[PREFACE_TEXT, &out].concat()).unwrap();
            let names = |frame: &Frame| match frame {
                Frame::Headers { fields, .. } => {
                    fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>().join(" ")
                }
                _ => String::new(),
            };
            let seen: Vec<String> = frames.iter().map(names).collect();
            assert_eq!(seen, [":status rungs-h2-content-length x-a", "", "x-t"], "{step}");
        }
    }

    #[test]
    fn a_goaway_that_requires_http_1_ends_all_streams() {
        let requires_http1 = Arc::new(AtomicBool::new(false));
        let now = Instant::now();
        let mut reader = FrameReader::new(now, Arc::clone(&requires_http1));
        let mut out = Vec::new();
        reader.push(&frame(GOAWAY, 0, 0, &[0, 0, 0, 9, 0, 0, 0, 0xd]), now, &mut out).unwrap();
        assert_eq!(out, frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xd]));
        assert!(requires_http1.load(std::sync::atomic::Ordering::Relaxed));
    }

    #[test]
    fn header_blocks_are_limited_and_not_interrupted() {
        let push = |frames: &[Vec<u8>]| {
            let now = Instant::now();
            let mut reader = FrameReader::new(now, Arc::default());
            reader.push(&frames.concat(), now, &mut Vec::new()).is_ok()
        };
        let open = frame(HEADERS, 0, 1, &[0x88]);
        assert!(push(&[open.clone(), frame(CONTINUATION, END_HEADERS, 1, &[])]));
        assert!(!push(&[open.clone(), frame(DATA, 0, 1, &[])]));
        assert!(!push(&[open.clone(), frame(CONTINUATION, END_HEADERS, 3, &[])]));
        assert!(!push(&[frame(HEADERS, PADDED | END_HEADERS, 1, &[9, 0x88])]));
        let long: Vec<Vec<u8>> = (0..20).map(|_| frame(CONTINUATION, 0, 1, &[0; 16_000])).collect();
        assert!(!push(&[vec![open], long].concat()));
    }
}
