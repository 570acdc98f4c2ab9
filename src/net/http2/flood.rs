//! Limits the frames without payload that a peer may send.
//!
//! Each such frame is cheap and allowed: PING, SETTINGS, RST_STREAM, interim responses, empty DATA. A server
//! that sends nothing else keeps a core busy while the connection is open, even when no request waits for a
//! response.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::frame::{DATA, FrameHeader};

/// How many such frames the peer may still send. Grows with time, requests and sent bytes.
pub(in crate::net) struct ControlFrameBudget {
    remaining: u32,
    refilled_at: Instant,
    /// Sent bytes that are not counted yet.
    uncounted_bytes: usize,
}

impl ControlFrameBudget {
    pub(in crate::net) fn new(now: Instant) -> Self {
        Self { remaining: MAX_FRAMES, refilled_at: now, uncounted_bytes: 0 }
    }

    /// Adds the frames of a request's response: headers, and possibly interim responses and trailers.
    pub(in crate::net) fn add_requests(&mut self, requests: u32) {
        self.refill(requests.saturating_mul(PER_REQUEST));
    }

    /// Adds the WINDOW_UPDATE frames that a peer sends for the bytes of a request body.
    pub(in crate::net) fn add_sent_bytes(&mut self, bytes: usize) {
        self.uncounted_bytes += bytes;
        self.refill(u32::try_from(self.uncounted_bytes / BYTES_PER_FRAME).unwrap_or(MAX_FRAMES));
        self.uncounted_bytes %= BYTES_PER_FRAME;
    }

    /// Counts a frame of the peer.
    ///
    /// # Errors
    /// When the budget is exhausted.
    pub(in crate::net) fn spend(&mut self, frame: &FrameHeader, now: Instant) -> io::Result<()> {
        // Padding has at most 256 bytes, so a longer frame contains data.
        let padding_limit = if frame.flags & super::frame::PADDED == 0 { 0 } else { 256 };
        if frame.kind == DATA && frame.length > padding_limit {
            return Ok(());
        }
        if self.remaining == 0 {
            let intervals =
                now.saturating_duration_since(self.refilled_at).as_millis() / REFILL_INTERVAL.as_millis();
            self.refill(u32::try_from(intervals).unwrap_or(MAX_FRAMES));
            self.refilled_at = now;
        }
        self.remaining = self.remaining.checked_sub(1).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "too many HTTP/2 control frames and empty frames")
        })?;
        Ok(())
    }

    fn refill(&mut self, more: u32) {
        self.remaining = self.remaining.saturating_add(more).min(MAX_FRAMES);
    }
}

/// The maximum budget. Web servers send a few such frames per page.
const MAX_FRAMES: u32 = 10_000;
const PER_REQUEST: u32 = 8;
/// One frame per this many sent bytes: a WINDOW_UPDATE covers at least one frame, which is larger.
const BYTES_PER_FRAME: usize = 1024;
/// One more frame per interval.
const REFILL_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::super::frame::{PADDED, PING};
    use super::*;

    fn head(kind: u8, length: usize, flags: u8) -> FrameHeader {
        FrameHeader { length, kind, flags, stream: 1 }
    }

    #[test]
    fn frames_without_payload_are_counted_and_data_is_not() {
        let now = Instant::now();
        let mut budget = ControlFrameBudget::new(now);
        for _ in 0..2 * MAX_FRAMES {
            budget.spend(&head(DATA, 1, 0), now).unwrap();
            budget.spend(&head(DATA, 300, PADDED), now).unwrap();
        }
        for frame in [head(PING, 8, 0), head(DATA, 0, 0), head(DATA, 256, PADDED), head(0xbb, 9000, 0)] {
            let mut budget = ControlFrameBudget::new(now);
            for _ in 0..MAX_FRAMES {
                budget.spend(&frame, now).unwrap();
            }
            assert_eq!(budget.spend(&frame, now).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn the_budget_grows_with_time_requests_and_sent_bytes_up_to_its_maximum() {
        let now = Instant::now();
        let ping = head(PING, 8, 0);
        let exhausted = || {
            let mut budget = ControlFrameBudget::new(now);
            (0..MAX_FRAMES).for_each(|_| budget.spend(&ping, now).unwrap());
            budget
        };
        let remaining = |mut budget: ControlFrameBudget, at| {
            (0..2 * MAX_FRAMES).take_while(|_| budget.spend(&ping, at).is_ok()).count()
        };
        assert_eq!(remaining(exhausted(), now + Duration::from_secs(1)), 100);
        assert_eq!(remaining(exhausted(), now + Duration::from_secs(100_000)), 10_000);
        let mut requested = exhausted();
        requested.add_requests(3);
        assert_eq!(remaining(requested, now), 24);
        let mut sent = exhausted();
        (0..10).for_each(|_| sent.add_sent_bytes(1000));
        assert_eq!(remaining(sent, now), 9);
        let mut much = exhausted();
        much.add_sent_bytes(1 << 40);
        assert_eq!(remaining(much, now), 10_000);
    }
}
