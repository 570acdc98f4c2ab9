//! The response of a fetch.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use encoding_rs::UTF_8;
use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use crate::charset;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::extract::{self, Document, ExtractedData, Extractor};
use crate::response::{
    BrowserUse, FrameDocument, HttpVersion, RawResponse, ReceivedHead, Redirect, SentRequest,
};
use crate::router::StoredBody;
use crate::tier::Tier;
use crate::trace::{Timings, Trace};

/// A genuine response of the site, with any status.
pub struct Response {
    fetched: RawResponse<StoredBody>,
    trace: Trace,
    elapsed: Duration,
    /// The end of the fetch's total time, which extraction keeps too.
    deadline: Option<Instant>,
    /// The extractor of its target.
    extract: Option<Arc<Extractor>>,
    /// Boxed because it is rarely captured.
    sent_request: Option<Box<SentRequest>>,
    /// Whether a public site sent the response, so that the URLs it names must be public.
    restricts_links: bool,
}

impl Response {
    pub(super) fn new(
        fetched: RawResponse<StoredBody>,
        trace: Trace,
        (elapsed, deadline): (Duration, Option<Instant>),
        extract: Option<Arc<Extractor>>,
        sent: Option<SentRequest>,
    ) -> Self {
        let sent_request = sent.map(Box::new);
        Self { fetched, trace, elapsed, deadline, extract, sent_request, restricts_links: true }
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

    /// Extracts the fields of `wanted` and of its target. A response that is not HTML has no fields. Takes about 1
    /// ms per 100 KiB: do not call it on an async thread. It ends with the timeout of the fetch, if there is one; a page
    /// that arrived just before has 0.2 s.
    #[must_use]
    pub fn extract(&self, wanted: &Extractor) -> ExtractedData {
        let wanted = self.merged_extract(wanted);
        self.extract_from(&wanted, self.document().as_ref())
    }

    /// Extracts the data of `wanted` from the page's document, and the links from those of its frames too.
    pub(crate) fn extract_from(&self, wanted: &Extractor, document: Option<&Document>) -> ExtractedData {
        let mut data =
            document.map_or_else(|| wanted.extract_nothing(), |document| wanted.extract_from(document));
        if let Some(text) = self.shown_text().filter(|_| wanted.has_text())
            && document.is_some_and(|document| !document.has_shadow_roots())
        {
            data.text = Some(text.to_owned());
        }
        if let Some(links) = &mut data.links {
            let mut known: HashSet<String> = links.iter().cloned().collect();
            let of_links = Extractor::new().links(true);
            for frame in self.frame_documents() {
                let found = of_links.extract_from(&frame).links.unwrap_or_default();
                links.extend(found.into_iter().filter(|link| known.insert(link.clone())));
            }
            links.truncate(extract::MAX_LINKS);
        }
        data
    }

    /// Returns the text that the browser's page shows. `innerText` does not include shadow trees.
    fn shown_text(&self) -> Option<&str> {
        self.fetched.browser.as_ref()?.text.as_deref()
    }

    /// Parses the documents of the frames.
    pub(crate) fn frame_documents(&self) -> impl Iterator<Item = Document> {
        let frames = self.frames().unwrap_or_default();
        frames.iter().map(|frame| {
            let base = frame.base.as_ref().unwrap_or_else(|| self.url());
            Document::parse(&frame.html, base, UTF_8, true, self.deadline)
        })
    }

    /// Returns `own` merged with the extractor of the target.
    pub(crate) fn merged_extract(&self, own: &Extractor) -> Extractor {
        self.extract.as_ref().map_or_else(|| own.clone(), |target| target.merge(own))
    }

    /// Parses the body. `None` if it is not HTML or not in memory.
    pub(crate) fn document(&self) -> Option<Document> {
        if !self.is_html() {
            return None;
        }
        let text = self.text().unwrap_or_else(|_| String::from_utf8_lossy(self.bytes()).into_owned());
        let encoding = charset::encoding(self.headers(), self.url(), self.bytes());
        // The browser ran the page's scripts.
        let scripting = self.tier() == Tier::Browser;
        let document = Document::parse(&text, self.url(), encoding, scripting, self.deadline);
        Some(document.with_canonical(self.canonical()))
    }

    /// Returns the canonical URL of the `Link` header.
    pub(crate) fn canonical(&self) -> Option<Url> {
        extract::canonical_from_headers(self.headers(), self.url())
    }

    fn is_html(&self) -> bool {
        match self.headers().get(http::header::CONTENT_TYPE) {
            Some(kind) => {
                let kind = String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase();
                kind.contains("html") && !self.bytes().is_empty()
            }
            None => self.bytes().trim_ascii_start().starts_with(b"<"),
        }
    }

    const fn stored_body(&self) -> &StoredBody {
        &self.fetched.body
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status().as_u16())
            .field("url", &crate::redact::url(self.url()))
            .field("tier", &self.tier())
            .field("body_len", &self.body_len())
            .finish_non_exhaustive()
    }
}
