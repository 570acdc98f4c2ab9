//! Between the connection and the HTTP/1.1 stack: response heads and chunk lines in the forms that Chromium accepts,
//! rewritten into those of RFC 9112, which the stack requires.

mod chunks;
mod head;
mod reader;

pub(crate) use reader::rewrite_pieces;
pub(super) use reader::{ResponseReader, ResponseWatch};
