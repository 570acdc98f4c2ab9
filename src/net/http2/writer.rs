//! Writes the client's frames: header blocks are encoded again, other frames pass.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::frame::{
    ACK, CONTINUATION, END_HEADERS, END_STREAM, FRAME_HEAD, FrameHeader, GOAWAY, HEADERS, PADDED, PING,
    PRIORITY, RST_STREAM, SETTINGS, copy_up_to,
};
use super::headers_slot::TICKET_HEADER;
use super::headers_slot::{PendingHeaders, RequestHeaders};
use crate::fingerprint::hpack::HpackDecoder;
use crate::fingerprint::profile::{Hpack, Priority};
use crate::net::http2::hpack::HpackEncoder;

/// Parses the frames of the HTTP/2 stack and encodes header blocks again.
pub(in crate::net) struct FrameWriter {
    decoder: HpackDecoder,
    pub(in crate::net) encoder: HpackEncoder,
    /// Remaining bytes of the preface.
    preface_left: usize,
    head: Vec<u8>,
    /// Payload bytes that still pass unchanged.
    passthrough: usize,
    /// The header block being collected.
    block: Option<OutgoingBlock>,
    /// Whether it imitates a browser's behaviour.
    is_browser: bool,
    /// When the peer last sent data.
    pub(in crate::net) last_received: Instant,
    /// The number of PINGs sent.
    pings: u64,
    /// The number of requests written since this was last read.
    pub(in crate::net) requests: u32,
    /// Frames that are held back until the first request.
    deferred: Option<Vec<u8>>,
    /// A small frame being collected, to decide whether it is sent.
    candidate: Option<(FrameHeader, Vec<u8>)>,
    /// The streams of the latest requests, by ticket number; and the streams that were reset.
    streams: VecDeque<(u64, u32)>,
    resets: VecDeque<u32>,
}

struct OutgoingBlock {
    stream: u32,
    ends_stream: bool,
    /// Remaining payload bytes of the current frame, and whether it is the block's last frame.
    remaining: usize,
    is_last: bool,
    payload: Vec<u8>,
}

impl FrameWriter {
    pub(in crate::net) fn new(hpack: Hpack, is_browser: bool) -> Self {
        Self {
            decoder: HpackDecoder::default(),
            encoder: HpackEncoder::new(hpack),
            preface_left: PREFACE_LEN,
            head: Vec::with_capacity(FRAME_HEAD),
            passthrough: 0,
            block: None,
            is_browser,
            last_received: Instant::now(),
            pings: 0,
            requests: 0,
            deferred: is_browser.then(Vec::new),
            candidate: None,
            streams: VecDeque::new(),
            resets: VecDeque::new(),
        }
    }

    /// Whether a frame can be inserted at this position.
    pub(in crate::net) fn is_between_frames(&self) -> bool {
        let frame = self.head.is_empty() && self.passthrough == 0 && self.candidate.is_none();
        self.preface_left == 0 && frame && self.block.is_none()
    }

    /// Resets the stream of the request with this number, if it is one of the latest.
    pub(in crate::net) fn reset(&mut self, number: u64, out: &mut Vec<u8>) {
        let Some((_, stream)) = self.streams.iter().find(|(other, _)| *other == number).copied() else {
            return;
        };
        if self.is_browser && self.is_first_reset(stream) {
            FrameHeader { length: CANCEL.len(), kind: RST_STREAM, flags: 0, stream }.write(out);
            out.extend_from_slice(&CANCEL);
        }
    }

    fn is_first_reset(&mut self, stream: u32) -> bool {
        let first = !self.resets.contains(&stream);
        if first {
            push_bounded(&mut self.resets, stream);
        }
        first
    }

    pub(in crate::net) fn process(
        &mut self,
        mut input: &[u8],
        pending: &PendingHeaders,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        while !input.is_empty() {
            if self.preface_left > 0 {
                self.preface_left -= copy_up_to(&mut input, self.preface_left, out);
            } else if self.passthrough > 0 {
                self.passthrough -= copy_up_to(&mut input, self.passthrough, out);
            } else if let Some((head, payload)) = self.candidate.as_mut() {
                copy_up_to(&mut input, head.length - payload.len(), payload);
                self.finish_candidate(out);
            } else if let Some(block) = self.block.as_mut().filter(|block| block.remaining > 0) {
                let taken = copy_up_to(&mut input, block.remaining, &mut block.payload);
                block.remaining -= taken;
                self.finish_block(pending, out)?;
            } else {
                copy_up_to(&mut input, FRAME_HEAD - self.head.len(), &mut self.head);
                if self.head.len() == FRAME_HEAD {
                    self.on_frame_header(out)?;
                    self.finish_block(pending, out)?;
                }
            }
        }
        Ok(())
    }

    /// Handles a complete frame header: header blocks are collected, other frames pass.
    fn on_frame_header(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let head = std::mem::take(&mut self.head);
        let FrameHeader { length, kind, flags, stream } = FrameHeader::read(&head);
        match (kind, &mut self.block) {
            (HEADERS, None) => {
                if flags & (PADDED | PRIORITY) != 0 {
                    return Err(unexpected_frame_error("a HEADERS frame with padding or a priority"));
                }
                self.block = Some(OutgoingBlock {
                    stream,
                    ends_stream: flags & END_STREAM != 0,
                    remaining: length,
                    is_last: flags & END_HEADERS != 0,
                    payload: Vec::with_capacity(length),
                });
            }
            (CONTINUATION, Some(block)) => {
                block.remaining = length;
                block.is_last = flags & END_HEADERS != 0;
            }
            // Chrome sends its first request before it processes the server's SETTINGS.
            (SETTINGS, None) if flags & ACK != 0 && length == 0 => {
                self.deferred.as_mut().unwrap_or(out).extend_from_slice(&head);
            }
            (GOAWAY | RST_STREAM, None) if self.is_browser && (4..=MAX_FRAME).contains(&length) => {
                self.candidate = Some((FrameHeader::read(&head), Vec::with_capacity(length)));
            }
            (_, None) => {
                out.extend_from_slice(&head);
                self.passthrough = length;
            }
            (_, Some(_)) => return Err(unexpected_frame_error("a frame inside a header block")),
        }
        Ok(())
    }

    /// Encodes the header block again once it is complete.
    fn finish_block(&mut self, pending: &PendingHeaders, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(block) = self.block.take_if(|block| block.remaining == 0 && block.is_last) else {
            return Ok(());
        };
        let decoded = self.decoder.decode_bytes(&block.payload).map_err(io::Error::other)?;
        let number = decoded
            .iter()
            .find(|field| field.name == TICKET_HEADER.as_str().as_bytes())
            .and_then(|field| std::str::from_utf8(&field.value).ok()?.parse().ok());
        let stored = number.and_then(|number| pending.take(number));
        let mut encoded = Vec::with_capacity(512);
        let priority = stored.as_ref().and_then(|stored| stored.priority);
        match &stored {
            Some(RequestHeaders { fields, .. }) => {
                let pseudo = decoded.iter().filter(|field| field.name.first() == Some(&b':'));
                let pseudo = pseudo.map(|field| (&field.name[..], &field.value[..]));
                let real = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
                self.encoder.encode(pseudo.chain(real), &mut encoded);
            }
            None => {
                let own = decoded.iter().filter(|field| field.name != TICKET_HEADER.as_str().as_bytes());
                self.encoder.encode(own.map(|field| (&field.name[..], &field.value[..])), &mut encoded);
            }
        }
        write_block(&block, priority, &encoded, out);
        out.extend(self.deferred.take().into_iter().flatten());
        self.requests = self.requests.saturating_add(1);
        if let Some(number) = number {
            push_bounded(&mut self.streams, (number, block.stream));
        }
        if self.is_browser && self.last_received.elapsed() > PING_AFTER_IDLE {
            self.write_ping(out);
        }
        Ok(())
    }

    /// Sends a PING, numbered as Chrome numbers it.
    fn write_ping(&mut self, out: &mut Vec<u8>) {
        let payload = (2 * self.pings + 1).to_be_bytes();
        self.pings += 1;
        FrameHeader { length: payload.len(), kind: PING, flags: 0, stream: 0 }.write(out);
        out.extend_from_slice(&payload);
    }

    /// Sends a collected frame, unless a browser would not. A browser closes without GOAWAY and resets a
    /// stream once.
    fn finish_candidate(&mut self, out: &mut Vec<u8>) {
        let Some((head, payload)) = self.candidate.take_if(|(head, payload)| payload.len() == head.length)
        else {
            return;
        };
        let is_clean_goaway = head.kind == GOAWAY && payload.get(4..8) == Some(&[0; 4]);
        if is_clean_goaway || head.kind == RST_STREAM && !self.is_first_reset(head.stream) {
            return;
        }
        head.write(out);
        out.extend_from_slice(&payload);
    }
}

fn push_bounded<T>(all: &mut VecDeque<T>, one: T) {
    all.push_back(one);
    if all.len() > MAX_TRACKED_STREAMS {
        all.pop_front();
    }
}

/// Writes a HEADERS frame, and CONTINUATION frames for the rest.
fn write_block(block: &OutgoingBlock, priority: Option<Priority>, encoded: &[u8], out: &mut Vec<u8>) {
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
    FrameHeader { length: extra.len() + first.len(), kind: HEADERS, flags, stream: block.stream }.write(out);
    out.extend_from_slice(extra);
    out.extend_from_slice(first);
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.len().min(MAX_FRAME));
        let flags = if after.is_empty() { END_HEADERS } else { 0 };
        FrameHeader { length: part.len(), kind: CONTINUATION, flags, stream: block.stream }.write(out);
        out.extend_from_slice(part);
        rest = after;
    }
}

fn unexpected_frame_error(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the HTTP/2 stack wrote {what}"))
}

const PREFACE_LEN: usize = 24;
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
/// After this long without data from the peer, Chrome sends a PING with its next request.
const PING_AFTER_IDLE: Duration = Duration::from_secs(10);
/// How many streams are tracked.
const MAX_TRACKED_STREAMS: usize = 256;
/// The maximum frame size that every peer accepts. Few peers allow more, and Chrome does not use more for
/// headers.
const MAX_FRAME: usize = 16_384;
