//! Reads the peer's frames: counts them, extracts SETTINGS_HEADER_TABLE_SIZE, and rewrites header blocks.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::flood::ControlFrameBudget;
use super::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_HEAD, FrameHeader, GOAWAY, HEADERS, PADDED,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, copy_up_to,
};
use super::response_block::{self, BlockKind};
use crate::fingerprint::h2::{MAX_BLOCK, MAX_FRAME};
use crate::fingerprint::hpack::HpackDecoder;

/// Rewrites the peer's frames for the HTTP/2 stack.
pub(in crate::net) struct FrameReader {
    /// The budget for frames without payload.
    pub(in crate::net) budget: ControlFrameBudget,
    head: Vec<u8>,
    /// The remaining bytes of a frame that passes as it is.
    passing: usize,
    /// A frame of which the whole payload is needed.
    collecting: Option<(FrameHeader, Vec<u8>)>,
    /// A header block of which CONTINUATION frames are missing.
    block: Option<HeaderBlock>,
    decoder: HpackDecoder,
    /// The streams that received the headers of a final response, and not their end.
    answered: BTreeSet<u32>,
    /// Set when the peer requires HTTP/1.1.
    requires_http1: Arc<AtomicBool>,
}

struct HeaderBlock {
    kind: u8,
    flags: u8,
    stream: u32,
    /// The bytes of the payload before the block: the stream that PUSH_PROMISE promises.
    prefix: Vec<u8>,
    bytes: Vec<u8>,
}

impl FrameReader {
    pub(in crate::net) fn new(now: Instant, requires_http1: Arc<AtomicBool>) -> Self {
        Self {
            budget: ControlFrameBudget::new(now),
            head: Vec::new(),
            passing: 0,
            collecting: None,
            block: None,
            decoder: HpackDecoder::default(),
            answered: BTreeSet::new(),
            requires_http1,
        }
    }

    /// Passes `received` bytes as they are, if all belong to a frame that passes. Returns whether they do.
    pub(in crate::net) fn pass(&mut self, received: usize) -> bool {
        let passes = received <= self.passing;
        if passes {
            self.passing -= received;
        }
        passes
    }

    /// Appends the rewritten form of `input` to `out`. Returns the table size when the input sets one.
    ///
    /// The HTTP/2 stack sees a size below 64 KiB instead. Only the rewriter reads what it encodes, and it
    /// would announce the size to the rewriter's decoder, which allows no more.
    ///
    /// # Errors
    /// When the peer sends too many frames without payload, or a header block that is too large or interrupted.
    pub(in crate::net) fn push(
        &mut self,
        mut input: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
    ) -> io::Result<Option<u32>> {
        let mut allowed = None;
        while !input.is_empty() {
            if self.passing > 0 {
                self.passing -= copy_up_to(&mut input, self.passing, out);
            } else if let Some((head, payload)) = &mut self.collecting {
                copy_up_to(&mut input, head.length - payload.len(), payload);
            } else {
                copy_up_to(&mut input, FRAME_HEAD - self.head.len(), &mut self.head);
                if self.head.len() == FRAME_HEAD {
                    let bytes = std::mem::take(&mut self.head);
                    self.begin_frame(FrameHeader::read(&bytes), &bytes, now, out)?;
                }
            }
            if let Some((head, payload)) =
                self.collecting.take_if(|(head, payload)| payload.len() == head.length)
            {
                allowed = self.end_frame(&head, payload, out)?.or(allowed);
                // A small block can refer to a large entry of the table many times.
                if out.len() > MAX_REWRITTEN {
                    return Err(invalid("the header blocks exceed the size limit"));
                }
            }
        }
        Ok(allowed)
    }

    fn begin_frame(
        &mut self,
        head: FrameHeader,
        bytes: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        self.budget.spend(&head, now)?;
        if self.block.as_ref().is_some_and(|block| head.kind != CONTINUATION || head.stream != block.stream) {
            return Err(invalid("a header block was interrupted by another frame"));
        }
        if head.kind == RST_STREAM || head.kind == DATA && head.flags & END_STREAM != 0 {
            self.answered.remove(&head.stream);
        }
        let most = match head.kind {
            SETTINGS if head.flags & ACK == 0 => MAX_FRAME,
            GOAWAY => MAX_FRAME,
            HEADERS | PUSH_PROMISE => MAX_BLOCK,
            CONTINUATION if self.block.is_some() => MAX_BLOCK,
            _ => 0,
        };
        if most == MAX_BLOCK && head.length > MAX_BLOCK {
            return Err(invalid("a header block exceeds the size limit"));
        }
        if most == 0 || head.length > most {
            out.extend_from_slice(bytes);
            self.passing = head.length;
        } else {
            let payload = Vec::with_capacity(head.length.min(MAX_FRAME));
            self.collecting = Some((head, payload));
        }
        Ok(())
    }

    /// Handles a frame whose payload is complete.
    fn end_frame(
        &mut self,
        head: &FrameHeader,
        mut payload: Vec<u8>,
        out: &mut Vec<u8>,
    ) -> io::Result<Option<u32>> {
        match head.kind {
            HEADERS | PUSH_PROMISE => self.begin_block(head, &payload)?,
            CONTINUATION => {
                if let Some(block) = &mut self.block {
                    block.bytes.extend_from_slice(&payload);
                }
            }
            _ => {
                let allowed = (head.kind == SETTINGS).then(|| take_table_size(&mut payload)).flatten();
                if head.kind == GOAWAY && payload.get(4..8) == Some(&HTTP_1_1_REQUIRED) {
                    self.requires_http1.store(true, Ordering::Relaxed);
                    // As in Chromium, no request waits for an answer.
                    payload[..4].fill(0);
                }
                head.write(out);
                out.extend_from_slice(&payload);
                return Ok(allowed);
            }
        }
        if self.block.as_ref().is_some_and(|block| block.bytes.len() > MAX_BLOCK) {
            return Err(invalid("a header block exceeds the size limit"));
        }
        if head.flags & END_HEADERS != 0
            && let Some(block) = self.block.take()
        {
            self.end_block(&block, out);
        }
        Ok(None)
    }

    fn begin_block(&mut self, head: &FrameHeader, payload: &[u8]) -> io::Result<()> {
        let malformed = || invalid("a header frame is shorter than its fields");
        let mut rest = payload;
        if head.flags & PADDED != 0 {
            let (padding, after) = rest.split_first().ok_or_else(malformed)?;
            let length = after.len().checked_sub(usize::from(*padding)).ok_or_else(malformed)?;
            rest = &after[..length];
        }
        let has_priority = head.kind == HEADERS && head.flags & PRIORITY != 0;
        let prefix = match head.kind {
            PUSH_PROMISE => 4,
            _ if has_priority => 5,
            _ => 0,
        };
        let (prefix, bytes) = rest.split_at_checked(prefix).ok_or_else(malformed)?;
        self.block = Some(HeaderBlock {
            kind: head.kind,
            flags: head.flags & END_STREAM,
            stream: head.stream,
            prefix: if has_priority { Vec::new() } else { prefix.to_vec() },
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    /// Writes a complete header block in a form that needs no table.
    fn end_block(&mut self, block: &HeaderBlock, out: &mut Vec<u8>) {
        let is_end = block.flags & END_STREAM != 0;
        let has_answer = self.answered.contains(&block.stream);
        let kind =
            if has_answer || block.kind != HEADERS { BlockKind::Trailers } else { BlockKind::Response };
        let bytes = match self.decoder.decode_bytes(&block.bytes) {
            Ok(fields) => {
                let rewritten = response_block::rewrite(&fields, kind);
                if rewritten.is_final && block.kind == HEADERS {
                    self.answered.insert(block.stream);
                }
                rewritten.bytes
            }
            // The stack ends the connection because of such a block.
            Err(_) => INVALID_BLOCK.to_vec(),
        };
        if is_end {
            self.answered.remove(&block.stream);
        }
        while self.answered.len() > MAX_ANSWERED {
            self.answered.pop_first();
        }
        let first = MAX_FRAME - block.prefix.len();
        let (start, rest) = bytes.split_at(first.min(bytes.len()));
        let end_headers = |is_last: bool| if is_last { END_HEADERS } else { 0 };
        let mut write = |kind, flags, parts: [&[u8]; 2]| {
            let length = parts[0].len() + parts[1].len();
            FrameHeader { length, kind, flags, stream: block.stream }.write(out);
            for part in parts {
                out.extend_from_slice(part);
            }
        };
        write(block.kind, block.flags | end_headers(rest.is_empty()), [&block.prefix, start]);
        let parts = rest.chunks(MAX_FRAME);
        let last = parts.len();
        for (number, part) in parts.enumerate() {
            write(CONTINUATION, end_headers(number + 1 == last), [part, &[]]);
        }
    }
}

/// Returns the last SETTINGS_HEADER_TABLE_SIZE, and replaces each by one below 64 KiB.
fn take_table_size(payload: &mut [u8]) -> Option<u32> {
    let mut allowed = None;
    for entry in payload.chunks_exact_mut(SETTING_LEN).filter(|entry| entry[..2] == HEADER_TABLE_SIZE) {
        allowed = Some(u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]));
        entry[2..4].fill(0);
    }
    allowed
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

const HEADER_TABLE_SIZE: [u8; 2] = [0, 1];
/// The error code by which a peer requires HTTP/1.1.
const HTTP_1_1_REQUIRED: [u8; 4] = [0, 0, 0, 0xd];
/// Bytes of one setting: its number and its value.
const SETTING_LEN: usize = 6;
/// A header block that refers to an entry that does not exist.
const INVALID_BLOCK: [u8; 6] = [0xff; 6];
/// The maximum size of the frames that one read is rewritten to.
const MAX_REWRITTEN: usize = 4 * 1024 * 1024;
/// The maximum number of streams of which the end was not received. The oldest are forgotten: they were cancelled.
const MAX_ANSWERED: usize = 4096;
