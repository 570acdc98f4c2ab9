//! The response of one attempt, before the router classifies it.

mod received_head;

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use url::Url;

use crate::exchange::error::Result;
use crate::exchange::trace::Timings;

pub(crate) use received_head::ReceivedHead;

/// The HTTP version of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
    /// HTTP/3 (the browser tier only)
    Http3,
}

impl HttpVersion {
    /// `1.0`, `1.1`, `2` or `3`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
            Self::Http3 => "3",
        }
    }
}

/// One followed redirect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Redirect {
    /// The URL that redirected.
    pub url: Url,
    /// The status of the redirect.
    pub status: StatusCode,
    /// The headers of the redirect. Empty if the browser did not report them.
    pub headers: HeaderMap,
    pub(crate) received: ReceivedHead,
    /// The page of a refresh, if it is captured. `None` also if it was not read to its end.
    pub(crate) page: Option<Bytes>,
}

impl Redirect {
    pub(crate) fn new(url: Url, status: StatusCode, headers: HeaderMap) -> Self {
        Self { url, status, headers, received: ReceivedHead::default(), page: None }
    }

    pub(crate) fn with_received(self, received: ReceivedHead) -> Self {
        Self { received, ..self }
    }

    /// Returns the reason phrase as received, which may be empty. `None` over HTTP/2 and HTTP/3.
    #[must_use]
    pub fn reason(&self) -> Option<&[u8]> {
        self.received.reason()
    }

    /// Returns the header fields in the order received. Over HTTP/1, the names have the case received.
    #[must_use]
    pub fn header_fields(&self) -> Vec<(&str, &HeaderValue)> {
        self.received.fields(&self.headers)
    }
}

/// What a fetch sent, and the response that it refused, for an archive.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    /// The requests of the last attempt, those of redirects included. On the browser tier, those of documents.
    pub requests: Vec<SentRequest>,
    /// The response of the last attempt, if it is a block, a challenge or empty.
    pub refused: Option<RefusedResponse>,
}

/// A response that a fetch refused.
#[derive(Debug)]
pub(crate) struct RefusedResponse {
    pub status: StatusCode,
    pub url: Url,
    pub headers: HeaderMap,
    pub received: ReceivedHead,
    pub redirects: Vec<Redirect>,
    /// The body, or its start.
    pub body: Bytes,
    pub is_complete: bool,
}

/// A request as it was sent. Values that may be secret are `***`: cookies, credentials, and the caller's non-standard
/// headers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentRequest {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The HTTP version.
    pub version: HttpVersion,
    /// The header fields with the order and case of the wire. For HTTP/2, the first one is `host`, with the value of
    /// `:authority`. On the browser tier, their order is not known: it is that in which Chromium reports them.
    pub headers: Vec<(String, HeaderValue)>,
}

/// How the browser tier fetched a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BrowserUse {
    /// The id of the browser process.
    pub pid: u32,
    /// The number of pages that the process has served, this one included.
    pub pages: u64,
    /// The proportional set size (PSS) of all its processes in MB; `None` if it cannot be read.
    pub pss_mb: Option<u64>,
    /// Whether the process was already running.
    pub reused: bool,
    /// Whether the page settled: parsed, no request in flight, and the awaited selector present. Otherwise the body is
    /// the state of the page at the timeout.
    pub settled: bool,
}

/// The output of the browser tier besides the response.
#[derive(Debug, Default)]
pub(crate) struct BrowserOutput {
    pub usage: BrowserUse,
    /// The size of the document in bytes as received, after content decoding. `None` if the page loaded several.
    pub document_bytes: Option<u64>,
    /// PNG.
    pub screenshot: Option<Bytes>,
    pub pdf: Option<Bytes>,
    /// The text that the page shows (`innerText`), if requested.
    pub text: Option<String>,
    /// The documents of the frames, if requested.
    pub frames: Option<Vec<FrameDocument>>,
    /// The request of each redirect and of the page, with secrets.
    #[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "only the browser tier has them"))]
    pub requests: Vec<SentRequest>,
}

/// The document that a frame of a page shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FrameDocument {
    /// Its URL, `about:srcdoc` for a document inside the page.
    pub url: String,
    /// Its DOM as HTML.
    pub html: String,
    /// The URL that its links are relative to.
    #[serde(skip)]
    pub(crate) base: Option<Url>,
}

/// The bytes of a body as they arrive, after content decoding.
pub(crate) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A complete or a streaming body.
pub(crate) enum Body {
    Buffered(Bytes),
    Streaming(BodyStream),
}

impl Body {
    /// Reads the body, or its start: the chunks until there are more than `limit` bytes.
    pub(crate) async fn read_start(self, limit: usize) -> Result<BytesMut> {
        let mut bytes = BytesMut::new();
        match self {
            Self::Buffered(whole) => bytes.extend_from_slice(&whole),
            Self::Streaming(mut stream) => {
                while bytes.len() <= limit
                    && let Some(chunk) = stream.next().await
                {
                    bytes.extend_from_slice(&chunk?);
                }
            }
        }
        Ok(bytes)
    }
}

/// The response of one attempt. A transport returns it with a body that may still be streaming, and enforces its limits.
pub(crate) struct RawResponse<B = Body> {
    pub status: StatusCode,
    pub version: HttpVersion,
    pub headers: HeaderMap,
    pub received: ReceivedHead,
    /// The URL after redirects.
    pub url: Url,
    /// The redirects followed, first to last.
    pub redirects: Vec<Redirect>,
    pub body: B,
    pub timings: Timings,
    /// `None` for the HTTP tiers.
    pub browser: Option<BrowserOutput>,
}

impl<B> RawResponse<B> {
    /// Separates the body from the rest.
    pub(crate) fn into_parts(self) -> (RawResponse<()>, B) {
        let Self { status, version, headers, received, url, redirects, body, timings, browser } = self;
        (RawResponse { status, version, headers, received, url, redirects, body: (), timings, browser }, body)
    }
}

impl RawResponse<()> {
    /// Adds a body.
    pub(crate) fn with_body<B>(self, body: B) -> RawResponse<B> {
        let Self { status, version, headers, received, url, redirects, body: (), timings, browser } = self;
        RawResponse { status, version, headers, received, url, redirects, body, timings, browser }
    }
}
