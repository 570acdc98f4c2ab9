//! A thin layer between the HTTP/2 stack and the wire: HEADERS leave as the browser writes them.
//!
//! The stack below us Huffman-codes always and knows one stream dependency a connection. So each
//! request reaches it bare, with a ticket in place of its fields; here the ticket is turned into
//! the real fields, encoded and prioritised as the profile says. All other frames pass untouched.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use http::HeaderName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dress::Fields;
use super::hpack::Encoder;
use super::tls::BoxIo;
use crate::fingerprint::hpack::HpackDecoder;
use crate::fingerprint::profile::Priority;

/// The header a bare request carries its ticket in. It never leaves this layer.
pub(crate) const TICKET: HeaderName = HeaderName::from_static("rungs-ticket");

/// The fields of requests that are on their way to the wire.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<Shelf>);

#[derive(Default)]
struct Shelf {
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    deposits: HashMap<u64, Deposit>,
    /// Whose requests were given up, oldest first. Their frames may still be on the way here, and
    /// must not leave bare: the latest are kept.
    given_up: VecDeque<u64>,
}

/// What one request's HEADERS frame is made of.
struct Deposit {
    fields: Fields,
    priority: Option<Priority>,
}

/// A claim on deposited fields. Dropping it gives the request up.
pub(crate) struct Ticket {
    number: u64,
    shelf: Arc<Shelf>,
}

impl Counter {
    /// Leaves a request's fields here until its HEADERS frame passes.
    pub(crate) fn deposit(&self, fields: Fields, priority: Option<Priority>) -> Ticket {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.deposits.insert(number, Deposit { fields, priority });
        Ticket { number, shelf: Arc::clone(&self.0) }
    }

    fn collect(&self, number: u64) -> Option<Deposit> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).deposits.remove(&number)
    }
}

impl Ticket {
    /// The number, as the header's value.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.shelf.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.deposits.contains_key(&self.number) {
            return;
        }
        waiting.given_up.push_back(self.number);
        if waiting.given_up.len() > GIVEN_UP_KEPT
            && let Some(oldest) = waiting.given_up.pop_front()
        {
            waiting.deposits.remove(&oldest);
        }
    }
}

/// The stream between the HTTP/2 stack and TLS.
pub(crate) struct Reframed {
    io: BoxIo,
    counter: Counter,
    writer: Writer,
    reader: Reader,
    /// Bytes that are ready for the wire.
    out: Vec<u8>,
    sent: usize,
}

impl Reframed {
    pub(crate) fn new(io: BoxIo, counter: Counter) -> Self {
        Self { io, counter, writer: Writer::default(), reader: Reader::default(), out: Vec::new(), sent: 0 }
    }

    /// Sends what is ready.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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

impl AsyncRead for Reframed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.io.as_mut().poll_read(cx, buf))?;
        if let Some(allowed) = self.reader.watch(&mut buf.filled_mut()[before..]) {
            self.writer.encoder.resize(allowed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Reframed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // One write is taken in whole; the next waits until it has left.
        ready!(self.drain(cx))?;
        let this = &mut *self;
        this.writer.take(buf, &this.counter, &mut this.out)?;
        // What does not leave now leaves with the next write or flush.
        if let Poll::Ready(Err(cause)) = this.drain(cx) {
            return Poll::Ready(Err(cause));
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        self.io.as_mut().poll_shutdown(cx)
    }
}

/// Follows our own frames and rewrites header blocks.
struct Writer {
    decoder: HpackDecoder,
    encoder: Encoder,
    /// Bytes of the preface that are still to come.
    preface: usize,
    head: Vec<u8>,
    /// Payload bytes that still pass untouched.
    passing: usize,
    /// The header block being gathered.
    block: Option<Block>,
}

struct Block {
    stream: u32,
    ends_stream: bool,
    /// Payload bytes of the frame at hand that are still to come, and whether it is the last.
    left: usize,
    last: bool,
    payload: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            decoder: HpackDecoder::default(),
            encoder: Encoder::default(),
            preface: PREFACE,
            head: Vec::with_capacity(FRAME_HEAD),
            passing: 0,
            block: None,
        }
    }
}

impl Writer {
    fn take(&mut self, mut input: &[u8], counter: &Counter, out: &mut Vec<u8>) -> io::Result<()> {
        while !input.is_empty() {
            if self.preface > 0 {
                self.preface -= pass(&mut input, self.preface, out);
            } else if self.passing > 0 {
                self.passing -= pass(&mut input, self.passing, out);
            } else if let Some(block) = self.block.as_mut().filter(|block| block.left > 0) {
                let taken = pass(&mut input, block.left, &mut block.payload);
                block.left -= taken;
                self.finish(counter, out)?;
            } else {
                pass(&mut input, FRAME_HEAD - self.head.len(), &mut self.head);
                if self.head.len() == FRAME_HEAD {
                    self.begin(out)?;
                    self.finish(counter, out)?;
                }
            }
        }
        Ok(())
    }

    /// A frame's head is whole: header blocks are gathered, the rest passes.
    fn begin(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let head = std::mem::take(&mut self.head);
        let Head { length, kind, flags, stream } = Head::read(&head);
        match (kind, &mut self.block) {
            (HEADERS, None) => {
                if flags & (PADDED | PRIORITY) != 0 {
                    return Err(unexpected("a HEADERS frame with padding or a priority"));
                }
                self.block = Some(Block {
                    stream,
                    ends_stream: flags & END_STREAM != 0,
                    left: length,
                    last: flags & END_HEADERS != 0,
                    payload: Vec::with_capacity(length),
                });
            }
            (CONTINUATION, Some(block)) => {
                block.left = length;
                block.last = flags & END_HEADERS != 0;
            }
            (_, None) => {
                out.extend_from_slice(&head);
                self.passing = length;
            }
            (_, Some(_)) => return Err(unexpected("a frame inside a header block")),
        }
        Ok(())
    }

    /// Writes the header block anew once it is whole.
    fn finish(&mut self, counter: &Counter, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(block) = self.block.take_if(|block| block.left == 0 && block.last) else { return Ok(()) };
        let decoded = self.decoder.decode_bytes(&block.payload).map_err(io::Error::other)?;
        let number = decoded
            .iter()
            .find(|field| field.name == TICKET.as_str().as_bytes())
            .and_then(|field| std::str::from_utf8(&field.value).ok()?.parse().ok());
        let deposit = number.and_then(|number| counter.collect(number));
        let mut encoded = Vec::with_capacity(512);
        let priority = deposit.as_ref().and_then(|deposit| deposit.priority);
        match &deposit {
            Some(Deposit { fields, .. }) => {
                let pseudo = decoded.iter().filter(|field| field.name.first() == Some(&b':'));
                let pseudo = pseudo.map(|field| (&field.name[..], &field.value[..]));
                let real = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
                self.encoder.encode(pseudo.chain(real), &mut encoded);
            }
            None => {
                let own = decoded.iter().filter(|field| field.name != TICKET.as_str().as_bytes());
                self.encoder.encode(own.map(|field| (&field.name[..], &field.value[..])), &mut encoded);
            }
        }
        write_block(&block, priority, &encoded, out);
        Ok(())
    }
}

/// HEADERS, and CONTINUATION for what does not fit.
fn write_block(block: &Block, priority: Option<Priority>, encoded: &[u8], out: &mut Vec<u8>) {
    let fields = priority.map(|priority| {
        let depends_on = priority.depends_on & 0x7fff_ffff | u32::from(priority.exclusive) << 31;
        let [a, b, c, d] = depends_on.to_be_bytes();
        [a, b, c, d, priority.weight]
    });
    let extra = fields.as_ref().map_or(&[][..], |fields| &fields[..]);
    let (first, mut rest) = encoded.split_at(encoded.len().min(MAX_FRAME - extra.len()));
    let mut flags = if block.ends_stream { END_STREAM } else { 0 };
    flags |= if priority.is_some() { PRIORITY } else { 0 };
    flags |= if rest.is_empty() { END_HEADERS } else { 0 };
    Head { length: extra.len() + first.len(), kind: HEADERS, flags, stream: block.stream }.write(out);
    out.extend_from_slice(extra);
    out.extend_from_slice(first);
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.len().min(MAX_FRAME));
        let flags = if after.is_empty() { END_HEADERS } else { 0 };
        Head { length: part.len(), kind: CONTINUATION, flags, stream: block.stream }.write(out);
        out.extend_from_slice(part);
        rest = after;
    }
}

/// Follows the peer's frames to see its SETTINGS_HEADER_TABLE_SIZE.
#[derive(Default)]
struct Reader {
    head: Vec<u8>,
    skipping: usize,
    settings: Option<(usize, Vec<u8>)>,
}

impl Reader {
    /// Looks at bytes on their way up; says the table size when they set one.
    ///
    /// The stack above is told of less than 64 KiB: it writes for nobody but us, and what it reads
    /// here it would announce to our decoder, which allows no more.
    fn watch(&mut self, input: &mut [u8]) -> Option<u32> {
        let mut allowed = None;
        let mut at = 0;
        while at < input.len() {
            if self.skipping > 0 {
                let skipped = self.skipping.min(input.len() - at);
                self.skipping -= skipped;
                at += skipped;
            } else if let Some((left, payload)) = &mut self.settings {
                let taken = (*left).min(input.len() - at);
                for byte in &mut input[at..at + taken] {
                    let place = payload.len();
                    payload.push(*byte);
                    let entry = &payload[place - place % SETTING..];
                    if matches!(place % SETTING, 2 | 3) && entry[..2] == HEADER_TABLE_SIZE {
                        *byte = 0;
                    }
                }
                at += taken;
                *left -= taken;
                if *left == 0 {
                    let mut set =
                        payload.chunks_exact(SETTING).filter(|entry| entry[..2] == HEADER_TABLE_SIZE);
                    allowed =
                        set.next_back().map(|e| u32::from_be_bytes([e[2], e[3], e[4], e[5]])).or(allowed);
                    self.settings = None;
                }
            } else {
                at += pass(&mut &input[at..], FRAME_HEAD - self.head.len(), &mut self.head);
                if self.head.len() < FRAME_HEAD {
                    break;
                }
                let head = Head::read(&std::mem::take(&mut self.head));
                if head.kind == SETTINGS && head.flags & ACK == 0 && (1..=MAX_SETTINGS).contains(&head.length)
                {
                    self.settings = Some((head.length, Vec::with_capacity(head.length)));
                } else {
                    self.skipping = head.length;
                }
            }
        }
        allowed
    }
}

/// The nine bytes before every frame's payload.
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn read(bytes: &[u8]) -> Self {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        Self {
            length: usize::from(byte(0)) << 16 | usize::from(byte(1)) << 8 | usize::from(byte(2)),
            kind: byte(3),
            flags: byte(4),
            stream: u32::from_be_bytes([byte(5) & 0x7f, byte(6), byte(7), byte(8)]),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let [_, a, b, c] = u32::try_from(self.length).unwrap_or(0).to_be_bytes();
        out.extend_from_slice(&[a, b, c, self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
    }
}

/// Moves up to `most` bytes from `input` to `out` and says how many.
fn pass(input: &mut &[u8], most: usize, out: &mut Vec<u8>) -> usize {
    let (taken, rest) = input.split_at(most.min(input.len()));
    out.extend_from_slice(taken);
    *input = rest;
    taken.len()
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the HTTP/2 stack wrote {what}"))
}

/// Far more than the frames that can be between the stack and this layer.
const GIVEN_UP_KEPT: usize = 256;
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x01;
const ACK: u8 = 0x01;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;
const HEADER_TABLE_SIZE: [u8; 2] = [0, 1];
/// Bytes of one setting: its number and its value.
const SETTING: usize = 6;
/// What every peer takes in one frame; few allow more, and Chrome does not use it for headers.
const MAX_FRAME: usize = 16_384;
const MAX_SETTINGS: usize = 16_384;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::fingerprint::H2Reader;
    use crate::fingerprint::h2::Frame;

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::default().encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())), &mut out);
        out
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Head { length: payload.len(), kind, flags, stream }.write(&mut out);
        out.extend_from_slice(payload);
        out
    }

    /// What leaves when `input` is written `step` bytes at a time.
    fn rewritten(input: &[u8], step: usize, counter: &Counter) -> Vec<u8> {
        let (mut writer, mut out) = (Writer::default(), Vec::new());
        for part in input.chunks(step) {
            writer.take(part, counter, &mut out).unwrap();
        }
        out
    }

    const PREFACE_TEXT: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    #[test]
    fn a_ticket_becomes_the_real_fields_with_the_priority_however_the_bytes_are_cut() {
        for step in [1, 2, 7, 10_000] {
            let counter = Counter::default();
            let fields = vec![
                ("user-agent".to_owned(), HeaderValue::from_static("T")),
                ("cookie".to_owned(), HeaderValue::from_static("a=1")),
                ("priority".to_owned(), HeaderValue::from_static("u=0, i")),
            ];
            let priority = Some(Priority { weight: 255, depends_on: 0, exclusive: true });
            let ticket = counter.deposit(fields, priority);
            let bare = block(&[
                (":method", "GET"),
                (":authority", "site.example"),
                (":scheme", "https"),
                (":path", "/"),
                (TICKET.as_str(), &ticket.number().to_string()),
            ]);
            let (start, end) = bare.split_at(5);
            let mut input = PREFACE_TEXT.to_vec();
            input.extend(frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 0]));
            input.extend(frame(HEADERS, END_STREAM, 1, start));
            input.extend(frame(CONTINUATION, END_HEADERS, 1, end));
            input.extend(frame(0, END_STREAM, 1, b"data"));
            let out = rewritten(&input, step, &counter);
            let frames = H2Reader::default().push(&out).unwrap();
            let headers = frames.iter().find_map(|frame| match frame {
                Frame::Headers { fields, priority, .. } => Some((fields, priority)),
                _ => None,
            });
            let (fields, seen) = headers.expect("a HEADERS frame left");
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
    fn a_block_larger_than_a_frame_goes_on_in_continuation() {
        let counter = Counter::default();
        let long = HeaderValue::from_bytes(&vec![b'~'; 40_000]).unwrap();
        let ticket = counter.deposit(vec![("x-long".to_owned(), long)], None);
        let bare = block(&[(":method", "GET"), (TICKET.as_str(), &ticket.number().to_string())]);
        let mut input = PREFACE_TEXT.to_vec();
        input.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bare));
        let out = rewritten(&input, 100, &counter);
        let frames = H2Reader::default().push(&out).unwrap();
        assert!(frames.iter().any(|frame| matches!(frame, Frame::Headers { fields, .. } if fields.iter().any(|f| f.value.len() == 40_000))));
    }

    #[test]
    fn requests_given_up_keep_their_fields_for_a_while_and_do_not_pile_up() {
        let counter = Counter::default();
        for _ in 0..10 * GIVEN_UP_KEPT {
            drop(counter.deposit(Vec::new(), None));
        }
        assert_eq!(counter.0.waiting.lock().unwrap().deposits.len(), GIVEN_UP_KEPT);
        let last = u64::try_from(10 * GIVEN_UP_KEPT - 1).unwrap();
        assert!(counter.collect(last).is_some(), "its frame may still pass");
    }

    #[test]
    fn the_peers_table_size_is_seen_however_the_bytes_are_cut() {
        let mut input = frame(0, 0, 1, &[0; 100]);
        input.extend(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9, 0, 1, 0, 0, 1, 0]));
        input.extend(frame(SETTINGS, ACK, 0, &[]));
        for step in [1, 5, 1000] {
            let mut reader = Reader::default();
            let seen: Vec<u32> =
                input.clone().chunks_mut(step).filter_map(|part| reader.watch(part)).collect();
            assert_eq!(seen, [256], "{step}");
        }
    }
}
