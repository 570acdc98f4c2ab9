//! What Chrome's HTTP/2 needs beyond the stack: its own HPACK encoding, frame order and limits.

mod flood;
mod frame;
mod headers_slot;
mod hpack;
mod reader;
mod rewrite;
mod writer;

pub(super) use headers_slot::{HeadersTicket, PendingHeaders, UnreadResponse};
pub(super) use rewrite::{FrameRewriter, TICKET_HEADER};
