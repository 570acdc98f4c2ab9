//! The parts of Chrome's HTTP/2 that the stack lacks: its HPACK encoding, frame order and limits.

mod flood;
mod frame;
mod headers_slot;
mod hpack;
mod reader;
mod response_block;
mod rewrite;
mod writer;

pub(super) use headers_slot::{HeadersTicket, PendingHeaders, TICKET_HEADER, UnreadResponse};
pub(super) use response_block::restore_names;
pub(super) use rewrite::FrameRewriter;
