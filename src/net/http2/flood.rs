//! How many frames that bring nothing a peer may send.
//!
//! Every single one is cheap and allowed: a PING, SETTINGS, a reset, an interim answer, DATA without
//! data. A server that sends nothing else keeps a core busy for as long as the connection is open,
//! also when nobody waits for an answer any more.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::frame::{DATA, FrameHeader};

/// What the peer may still send of them. Grows with time and with what was sent to it.
pub(in crate::net) struct ControlFrameBudget {
    remaining: u32,
    refilled_at: Instant,
    /// Bytes sent that have not been counted yet.
    uncounted_bytes: usize,
}

impl ControlFrameBudget {
    pub(in crate::net) fn new(now: Instant) -> Self {
        Self { remaining: MAX_FRAMES, refilled_at: now, uncounted_bytes: 0 }
    }

    /// A request left: its answer has a head, may have interim ones before it and trailers after it.
    pub(in crate::net) fn add_requests(&mut self, requests: u32) {
        self.refill(requests.saturating_mul(PER_REQUEST));
    }

    /// So many bytes left: the peer opens its windows again for those that were a body's.
    pub(in crate::net) fn add_sent_bytes(&mut self, bytes: usize) {
        self.uncounted_bytes += bytes;
        self.refill(u32::try_from(self.uncounted_bytes / BYTES_PER_FRAME).unwrap_or(MAX_FRAMES));
        self.uncounted_bytes %= BYTES_PER_FRAME;
    }

    /// The peer sent a frame.
    ///
    /// # Errors
    /// When it was one too many.
    pub(in crate::net) fn spend(&mut self, frame: &FrameHeader, now: Instant) -> io::Result<()> {
        // Padding takes up to 256 bytes: in more than those there is something.
        let least = if frame.flags & super::frame::PADDED == 0 { 0 } else { 256 };
        if frame.kind == DATA && frame.length > least {
            return Ok(());
        }
        if self.remaining == 0 {
            let passed =
                now.saturating_duration_since(self.refilled_at).as_millis() / REFILL_INTERVAL.as_millis();
            self.refill(u32::try_from(passed).unwrap_or(MAX_FRAMES));
            self.refilled_at = now;
        }
        self.remaining = self.remaining.checked_sub(1).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "a flood of HTTP/2 frames that bring nothing")
        })?;
        Ok(())
    }

    fn refill(&mut self, more: u32) {
        self.remaining = self.remaining.saturating_add(more).min(MAX_FRAMES);
    }
}

/// The most at once. Browsers' servers send a handful for each page.
const MAX_FRAMES: u32 = 10_000;
const PER_REQUEST: u32 = 8;
/// One more for so many bytes sent: windows are opened by the frame, which is larger.
const BYTES_PER_FRAME: usize = 1024;
/// One more each.
const REFILL_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::super::frame::{PADDED, PING};
    use super::*;

    fn head(kind: u8, length: usize, flags: u8) -> FrameHeader {
        FrameHeader { length, kind, flags, stream: 1 }
    }

    #[test]
    fn frames_that_bring_nothing_are_counted_and_data_is_not() {
        let now = Instant::now();
        let mut patience = ControlFrameBudget::new(now);
        for _ in 0..2 * MAX_FRAMES {
            patience.spend(&head(DATA, 1, 0), now).unwrap();
            patience.spend(&head(DATA, 300, PADDED), now).unwrap();
        }
        for frame in [head(PING, 8, 0), head(DATA, 0, 0), head(DATA, 256, PADDED), head(0xbb, 9000, 0)] {
            let mut patience = ControlFrameBudget::new(now);
            for _ in 0..MAX_FRAMES {
                patience.spend(&frame, now).unwrap();
            }
            assert_eq!(patience.spend(&frame, now).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn patience_grows_with_time_requests_and_bytes_sent_and_not_beyond_its_most() {
        let now = Instant::now();
        let ping = head(PING, 8, 0);
        let used_up = || {
            let mut patience = ControlFrameBudget::new(now);
            (0..MAX_FRAMES).for_each(|_| patience.spend(&ping, now).unwrap());
            patience
        };
        let left = |mut patience: ControlFrameBudget, at| {
            (0..2 * MAX_FRAMES).take_while(|_| patience.spend(&ping, at).is_ok()).count()
        };
        assert_eq!(left(used_up(), now + Duration::from_secs(1)), 100);
        assert_eq!(left(used_up(), now + Duration::from_secs(100_000)), 10_000);
        let mut asked = used_up();
        asked.add_requests(3);
        assert_eq!(left(asked, now), 24);
        let mut sent = used_up();
        (0..10).for_each(|_| sent.add_sent_bytes(1000));
        assert_eq!(left(sent, now), 9);
        let mut much = used_up();
        much.add_sent_bytes(1 << 40);
        assert_eq!(left(much, now), 10_000);
    }
}
