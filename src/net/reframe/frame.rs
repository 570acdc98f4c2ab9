//! The little of HTTP/2 framing that this layer needs (RFC 9113, section 4.1).

pub(super) use crate::fingerprint::h2::{
    ACK, END_HEADERS, END_STREAM, FRAME_HEADER as FRAME_HEAD, HAS_PRIORITY as PRIORITY, PADDED,
};

/// The nine bytes before every frame's payload.
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        Self {
            length: usize::from(byte(0)) << 16 | usize::from(byte(1)) << 8 | usize::from(byte(2)),
            kind: byte(3),
            flags: byte(4),
            stream: u32::from_be_bytes([byte(5) & 0x7f, byte(6), byte(7), byte(8)]),
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let [_, a, b, c] = u32::try_from(self.length).unwrap_or(0).to_be_bytes();
        out.extend_from_slice(&[a, b, c, self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
    }
}

/// Moves up to `most` bytes from `input` to `out` and says how many.
pub(super) fn pass(input: &mut &[u8], most: usize, out: &mut Vec<u8>) -> usize {
    let (taken, rest) = input.split_at(most.min(input.len()));
    out.extend_from_slice(taken);
    *input = rest;
    taken.len()
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;
