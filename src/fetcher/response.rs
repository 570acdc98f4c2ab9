//! The response of a fetch.

use std::path::Path;
#[cfg(feature = "extract")]
use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "extract")]
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::response::{
    BrowserUse, FrameDocument, HttpVersion, RawResponse, ReceivedHead, Redirect, SentRequest,
};
use crate::exchange::tier::Tier;
use crate::exchange::trace::{Timings, Trace};
#[cfg(feature = "extract")]
use crate::extract::Extractor;
use crate::router::StoredBody;
use crate::text::charset;

/// A genuine response of the site, with any status.
pub struct Response {
    pub(super) fetched: RawResponse<StoredBody>,
    trace: Trace,
    elapsed: Duration,
    /// The end of the fetch's total time, which extraction keeps too.
    #[cfg(feature = "extract")]
    pub(super) deadline: Option<Instant>,
    /// The extractor of its target.
    #[cfg(feature = "extract")]
    pub(super) extract: Option<Arc<Extractor>>,
    /// Boxed because it is rarely captured.
    sent_request: Option<Box<SentRequest>>,
    /// Whether a public site sent the response, so that the URLs it names must be public.
    restricts_links: bool,
}

impl Response {
    pub(super) fn new(
        fetched: RawResponse<StoredBody>,
        trace: Trace,
        elapsed: Duration,
        sent: Option<SentRequest>,
    ) -> Self {
        let sent_request = sent.map(Box::new);
        Self {
            fetched,
            trace,
            elapsed,
            #[cfg(feature = "extract")]
            deadline: None,
            #[cfg(feature = "extract")]
            extract: None,
            sent_request,
            restricts_links: true,
        }
    }

    /// Sets the extractor of the target, and the end of the fetch's total time.
    #[cfg(feature = "extract")]
    pub(super) fn with_extraction(self, extract: Option<Arc<Extractor>>, deadline: Option<Instant>) -> Self {
        Self { deadline, extract, ..self }
    }

    pub(super) const fn restrict_links(mut self, restrict: bool) -> Self {
        self.restricts_links = restrict;
        self
    }

    /// Whether the URLs that the response names must be public, because a public site sent it.
    pub(crate) const fn restricts_links(&self) -> bool {
        self.restricts_links
    }

    /// Returns the status code.
    pub const fn status(&self) -> StatusCode {
        self.fetched.status
    }

    /// Returns the HTTP version of the response.
    pub const fn version(&self) -> HttpVersion {
        self.fetched.version
    }

    /// Returns the header fields as sent by the site.
    pub const fn headers(&self) -> &HeaderMap {
        &self.fetched.headers
    }

    /// Returns the header fields in the order received. Over HTTP/1, the names have the case received.
    pub fn header_fields(&self) -> Vec<(&str, &HeaderValue)> {
        self.fetched.received.fields(self.headers())
    }

    /// Returns the reason phrase as received, which may be empty. `None` over HTTP/2 and HTTP/3.
    pub fn reason(&self) -> Option<&[u8]> {
        self.fetched.received.reason()
    }

    pub(crate) const fn received(&self) -> &ReceivedHead {
        &self.fetched.received
    }

    /// Returns the final URL, after redirects.
    pub const fn url(&self) -> &Url {
        &self.fetched.url
    }

    /// Returns the followed redirects in order.
    pub fn redirects(&self) -> &[Redirect] {
        &self.fetched.redirects
    }

    /// Returns the tier that got the response.
    pub fn tier(&self) -> Tier {
        self.trace.attempts().last().map_or(Tier::Plain, |attempt| attempt.tier)
    }

    /// Returns the browser profile of the last attempt. `None` on the plain tier.
    pub fn browser_profile(&self) -> Option<&str> {
        self.trace.attempts().last()?.browser_profile.as_deref()
    }

    /// Returns the trace with all attempts of the fetch.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns the duration of the whole fetch, including waits.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Returns the timings of the last attempt.
    pub const fn timings(&self) -> Timings {
        self.fetched.timings
    }

    /// Returns the last request after redirects, if
    /// [`RequestBuilder::capture_request`](super::RequestBuilder::capture_request) was set. On the browser tier, the
    /// request of the page's document.
    pub fn sent_request(&self) -> Option<&SentRequest> {
        self.sent_request.as_deref()
    }

    /// Returns how the browser was used. `None` if another tier got the response.
    pub fn browser(&self) -> Option<&BrowserUse> {
        self.fetched.browser.as_ref().map(|output| &output.usage)
    }

    /// Returns the screenshot (PNG), if [`RequestBuilder::screenshot`](super::RequestBuilder::screenshot) was set
    /// and the browser rendered a page. It shows the whole page, at most 4,096 CSS pixels wide and 16,384 high.
    pub fn screenshot(&self) -> Option<&Bytes> {
        self.fetched.browser.as_ref()?.screenshot.as_ref()
    }

    /// Returns the page as PDF, if [`RequestBuilder::pdf`](super::RequestBuilder::pdf) was set and the browser
    /// rendered a page.
    pub fn pdf(&self) -> Option<&Bytes> {
        self.fetched.browser.as_ref()?.pdf.as_ref()
    }

    /// Returns the documents of the page's frames, if [`RequestBuilder::frames`](super::RequestBuilder::frames) was set and
    /// the browser rendered a page. At most 100 frames, together at most as large as a body may be.
    pub fn frames(&self) -> Option<&[FrameDocument]> {
        self.fetched.browser.as_ref()?.frames.as_deref()
    }

    /// Returns the body with its content coding removed. If the browser got an HTML page, it is the settled DOM.
    /// Empty if the body was streamed to a file.
    pub const fn bytes(&self) -> &Bytes {
        &self.stored_body().bytes
    }

    /// Returns the length of the body in bytes, in memory or in a file.
    pub const fn body_len(&self) -> u64 {
        self.stored_body().length
    }

    /// Returns the file that the body was streamed to, if any.
    pub fn file(&self) -> Option<&Path> {
        self.stored_body().file.as_deref()
    }

    /// Returns the body as text, decoded as by Chromium. The encoding is that of the byte order mark, else of
    /// Content-Type, else of the page's meta element or XML declaration. Without any of them, JSON, XML and valid UTF-8
    /// are UTF-8, and the encoding of other text is guessed. A malformed sequence becomes U+FFFD.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] if the body is not text: binary data, or malformed in a media type that is not one of text.
    pub fn text(&self) -> Result<String> {
        charset::decode(self.headers(), self.url(), self.bytes()).ok_or_else(|| {
            Error::new(ErrorKind::Decode, "the body is not text").with_hint("read the body as bytes")
        })
    }

    const fn stored_body(&self) -> &StoredBody {
        &self.fetched.body
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status().as_u16())
            .field("url", &crate::text::redact::url(self.url()))
            .field("tier", &self.tier())
            .field("body_len", &self.body_len())
            .finish_non_exhaustive()
    }
}
