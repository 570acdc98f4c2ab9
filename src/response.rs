//! What came back from one attempt, before the router has judged it.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use url::Url;

use crate::error::Result;
use crate::trace::Timings;

/// The HTTP version an answer came over.
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

/// One redirect that was followed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Redirect {
    /// The URL that redirected.
    pub url: Url,
    /// With which status.
    pub status: StatusCode,
}

impl Redirect {
    pub(crate) const fn new(url: Url, status: StatusCode) -> Self {
        Self { url, status }
    }
}

/// A request as it left. What may be a secret in it is `***`: cookies, credentials, and whatever the caller added that
/// HTTP itself does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentRequest {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The HTTP version it went by.
    pub version: HttpVersion,
    /// The header fields in their order, spelled as they were. HTTP/2 has an authority in place of `host`, which is the
    /// first then.
    pub headers: Vec<(String, HeaderValue)>,
}

/// How the browser tier got a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BrowserUse {
    /// The browser's process.
    pub pid: u32,
    /// How many pages that process has served, this one included.
    pub pages: u64,
    /// Memory of all its processes, each shared page counted once, in MB; `None` where it cannot be read.
    pub pss_mb: Option<u64>,
    /// Whether the process was there before this page was asked for.
    pub reused: bool,
    /// Whether the page had come to rest: parsed, its network quiet, what was waited for there. Otherwise the
    /// body is what was there when its time was up.
    pub settled: bool,
}

/// What a browser's page gives besides the answer.
#[derive(Debug, Default)]
pub(crate) struct BrowserOutput {
    pub usage: BrowserUse,
    /// PNG.
    pub screenshot: Option<Bytes>,
    pub pdf: Option<Bytes>,
}

/// Bytes of a body as they arrive, content coding removed.
pub(crate) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A body that is here, or still coming.
pub(crate) enum Body {
    Buffered(Bytes),
    Streaming(BodyStream),
}

/// One attempt's answer. The body may still be coming; its bounds are enforced by who made it.
pub(crate) struct RawResponse {
    pub status: StatusCode,
    pub version: HttpVersion,
    pub headers: HeaderMap,
    /// The URL that answered, after redirects.
    pub url: Url,
    /// The redirects followed, first to last.
    pub redirects: Vec<Redirect>,
    pub body: Body,
    pub timings: Timings,
    /// `None` for the HTTP tiers.
    pub browser: Option<BrowserOutput>,
}
