//! Parsers of bytes from the network, for fuzzing only.

use std::io;
use std::time::Duration;

use http::HeaderMap;
use url::Url;

use crate::net::{http1, refresh};
use crate::{identity::cookies, text::charset};

/// Returns the name of the encoding of a body, and its text, if it is text.
#[must_use]
pub fn decode(headers: &HeaderMap, url: &Url, body: &[u8]) -> (&'static str, Option<String>) {
    (charset::encoding(headers, url, body).name(), charset::decode(headers, url, body))
}

/// Parses the date of a cookie, in seconds since 1970.
#[must_use]
pub fn cookie_date(text: &str) -> Option<i64> {
    cookies::date::parse(text)
}

/// Returns delay and URL of the refresh that a page declares.
#[must_use]
pub fn find_refresh(headers: &HeaderMap, url: &Url, body: &[u8]) -> Option<(Duration, Url)> {
    refresh::find(headers, url, body).map(|found| (found.delay, found.url))
}

/// Rewrites an HTTP/1 response that arrives in these pieces, until the connection ends.
///
/// # Errors
/// When its head exceeds `max_head` bytes, or its chunks are malformed.
pub fn rewrite_response<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    is_head_request: bool,
    max_head: usize,
) -> io::Result<Vec<u8>> {
    http1::rewrite_pieces(pieces, is_head_request, max_head)
}
