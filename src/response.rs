//! The response of one attempt, before the router classifies it.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use url::Url;

use crate::error::Result;
use crate::trace::Timings;

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
}

impl Redirect {
    pub(crate) const fn new(url: Url, status: StatusCode) -> Self {
        Self { url, status }
    }
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
    /// `:authority`.
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
    /// PNG.
    pub screenshot: Option<Bytes>,
    pub pdf: Option<Bytes>,
}

/// The bytes of a body as they arrive, after content decoding.
pub(crate) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A complete or a streaming body.
pub(crate) enum Body {
    Buffered(Bytes),
    Streaming(BodyStream),
}

/// The response of one attempt. A transport returns it with a body that may still be streaming, and enforces its limits.
pub(crate) struct RawResponse<B = Body> {
    pub status: StatusCode,
    pub version: HttpVersion,
    pub headers: HeaderMap,
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
        let Self { status, version, headers, url, redirects, body, timings, browser } = self;
        (RawResponse { status, version, headers, url, redirects, body: (), timings, browser }, body)
    }
}

impl RawResponse<()> {
    /// Adds a body.
    pub(crate) fn with_body<B>(self, body: B) -> RawResponse<B> {
        let Self { status, version, headers, url, redirects, body: (), timings, browser } = self;
        RawResponse { status, version, headers, url, redirects, body, timings, browser }
    }
}
