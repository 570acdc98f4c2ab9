//! The part of HTTP/2 framing that the frame rewriter needs (RFC 9113, section 4.1).

pub(in crate::net) use crate::fingerprint::h2::{
    ACK, END_HEADERS, END_STREAM, FRAME_HEADER as FRAME_HEAD, HAS_PRIORITY as PRIORITY, PADDED,
};

/// The nine-byte frame header.
pub(in crate::net) struct FrameHeader {
    pub(in crate::net) length: usize,
    pub(in crate::net) kind: u8,
    pub(in crate::net) flags: u8,
    pub(in crate::net) stream: u32,
}

impl FrameHeader {
    pub(in crate::net) fn read(bytes: &[u8]) -> Self {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        Self {
            length: usize::from(byte(0)) << 16 | usize::from(byte(1)) << 8 | usize::from(byte(2)),
            kind: byte(3),
            flags: byte(4),
            stream: u32::from_be_bytes([byte(5) & 0x7f, byte(6), byte(7), byte(8)]),
        }
    }

    pub(in crate::net) fn write(&self, out: &mut Vec<u8>) {
        let [_, a, b, c] = u32::try_from(self.length).unwrap_or(0).to_be_bytes();
        out.extend_from_slice(&[a, b, c, self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
    }
}

/// Moves up to `most` bytes from `input` to `out` and returns how many.
pub(in crate::net) fn copy_up_to(input: &mut &[u8], most: usize, out: &mut Vec<u8>) -> usize {
    let (taken, rest) = input.split_at(most.min(input.len()));
    out.extend_from_slice(taken);
    *input = rest;
    taken.len()
}

pub(in crate::net) const DATA: u8 = 0;
pub(in crate::net) const HEADERS: u8 = 1;
pub(in crate::net) const RST_STREAM: u8 = 3;
pub(in crate::net) const SETTINGS: u8 = 4;
pub(in crate::net) const PUSH_PROMISE: u8 = 5;
pub(in crate::net) const PING: u8 = 6;
pub(in crate::net) const GOAWAY: u8 = 7;
pub(in crate::net) const CONTINUATION: u8 = 9;
