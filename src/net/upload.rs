//! The body of a request while it is sent, and its progress.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use tokio::time::{Instant, timeout};

use crate::exchange::error::Error;
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::RequestBody;
use crate::os::sync::lock_unpoisoned;

/// A request body, in chunks of the size that Chrome passes to HTTP/2.
pub(crate) struct UploadBody {
    /// The block that is being sent.
    block: Bytes,
    /// The blocks after it.
    rest: Option<BoxStream<'static, io::Result<Bytes>>>,
    /// All bytes that are not sent yet.
    remaining: u64,
    progress: UploadProgress,
}

impl UploadBody {
    pub(crate) fn new(body: Option<&RequestBody>, progress: UploadProgress) -> Self {
        let remaining = body.map_or(0, RequestBody::length);
        let in_memory = body.map_or_else(|| Some(Bytes::new()), RequestBody::as_bytes);
        let rest = body.filter(|_| in_memory.is_none()).map(RequestBody::stream);
        Self { block: in_memory.unwrap_or_default(), rest, remaining, progress }
    }
}

impl http_body::Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, UploadError>>> {
        while self.block.is_empty() {
            let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
            match ready!(Pin::new(rest).poll_next(cx)) {
                Some(Ok(block)) => self.block = block,
                Some(Err(cause)) => return Poll::Ready(Some(Err(UploadError(cause)))),
                None => self.rest = None,
            }
        }
        self.progress.record_chunk();
        let length = self.block.len().min(UPLOAD_CHUNK);
        let part = self.block.split_to(length);
        self.remaining = self.remaining.saturating_sub(length as u64);
        Poll::Ready(Some(Ok(http_body::Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.remaining)
    }
}

/// A file of the request body could not be read.
#[derive(Debug)]
pub(crate) struct UploadError(io::Error);

impl UploadError {
    pub(super) fn to_error(&self) -> Error {
        let cause = io::Error::new(self.0.kind(), self.0.to_string());
        Error::new(ErrorKind::Io, "could not read the request body").with_source(cause)
    }
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for UploadError {}

/// The time when the last chunk of a request body was taken for sending.
#[derive(Clone, Default)]
pub(crate) struct UploadProgress(Arc<Mutex<Option<Instant>>>);

impl UploadProgress {
    fn record_chunk(&self) {
        *lock_unpoisoned(&self.0) = Some(Instant::now());
    }

    fn last_chunk(&self) -> Option<Instant> {
        *lock_unpoisoned(&self.0)
    }

    /// Runs `sending`. Returns `None` when for `limit` it neither completed nor sent any of the body.
    pub(crate) async fn run_with_idle_timeout<T>(
        &self,
        limit: Duration,
        sending: impl Future<Output = T>,
    ) -> Option<T> {
        let mut sending = pin!(sending);
        let mut since = Instant::now();
        loop {
            match timeout(limit.saturating_sub(since.elapsed()), &mut sending).await {
                Ok(outcome) => return Some(outcome),
                Err(_) => since = self.last_chunk().filter(|last| *last > since)?,
            }
        }
    }
}

/// The minimum frame size that every peer accepts, less a frame header.
const UPLOAD_CHUNK: usize = 16_384 - 9;
