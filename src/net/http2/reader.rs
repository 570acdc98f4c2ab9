//! Reads the peer's frames: counts them, and extracts SETTINGS_HEADER_TABLE_SIZE.

use std::io;

use tokio::time::Instant;

use super::flood::ControlFrameBudget;
use super::frame::{ACK, FRAME_HEAD, FrameHeader, SETTINGS, copy_up_to};

/// Parses the peer's frames to find SETTINGS_HEADER_TABLE_SIZE.
pub(in crate::net) struct FrameReader {
    /// The budget for frames without payload.
    pub(in crate::net) budget: ControlFrameBudget,
    head: Vec<u8>,
    skipping: usize,
    settings: Option<(usize, Vec<u8>)>,
}

impl FrameReader {
    pub(in crate::net) fn new(now: Instant) -> Self {
        Self { budget: ControlFrameBudget::new(now), head: Vec::new(), skipping: 0, settings: None }
    }

    /// Inspects received bytes. Returns the table size when they set one.
    ///
    /// The HTTP/2 stack sees a size below 64 KiB instead. Only the rewriter reads what it encodes, and it
    /// would announce the size to the rewriter's decoder, which allows no more.
    ///
    /// # Errors
    /// When the peer sends too many frames without payload.
    pub(in crate::net) fn inspect(&mut self, input: &mut [u8], now: Instant) -> io::Result<Option<u32>> {
        let mut allowed = None;
        let mut at = 0;
        while at < input.len() {
            if self.skipping > 0 {
                let skipped = self.skipping.min(input.len() - at);
                self.skipping -= skipped;
                at += skipped;
            } else if let Some((remaining, payload)) = &mut self.settings {
                let taken = (*remaining).min(input.len() - at);
                for byte in &mut input[at..at + taken] {
                    let index = payload.len();
                    payload.push(*byte);
                    let entry = &payload[index - index % SETTING_LEN..];
                    if matches!(index % SETTING_LEN, 2 | 3) && entry[..2] == HEADER_TABLE_SIZE {
                        *byte = 0;
                    }
                }
                at += taken;
                *remaining -= taken;
                if *remaining == 0 {
                    let mut set =
                        payload.chunks_exact(SETTING_LEN).filter(|entry| entry[..2] == HEADER_TABLE_SIZE);
                    allowed =
                        set.next_back().map(|e| u32::from_be_bytes([e[2], e[3], e[4], e[5]])).or(allowed);
                    self.settings = None;
                }
            } else {
                at += copy_up_to(&mut &input[at..], FRAME_HEAD - self.head.len(), &mut self.head);
                if self.head.len() < FRAME_HEAD {
                    break;
                }
                let head = FrameHeader::read(&std::mem::take(&mut self.head));
                self.budget.spend(&head, now)?;
                if head.kind == SETTINGS && head.flags & ACK == 0 && (1..=MAX_SETTINGS).contains(&head.length)
                {
                    self.settings = Some((head.length, Vec::with_capacity(head.length)));
                } else {
                    self.skipping = head.length;
                }
            }
        }
        Ok(allowed)
    }
}

const HEADER_TABLE_SIZE: [u8; 2] = [0, 1];
/// Bytes of one setting: its number and its value.
const SETTING_LEN: usize = 6;
const MAX_SETTINGS: usize = 16_384;
