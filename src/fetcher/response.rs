//! A page that was got.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use url::Url;

use crate::error::Result;
use crate::extract::{self, Document, ExtractedData, Extractor};
use crate::response::{BrowserUse, HttpVersion, Redirect, SentRequest};
use crate::router::{FetchedResponse, StoredBody};
use crate::tier::Tier;
use crate::trace::{Timings, Trace};

use super::charset;

/// A genuine answer of the site, whatever its status.
pub struct Response {
    fetched: FetchedResponse,
    trace: Trace,
    elapsed: Duration,
    /// What its target reads out of pages.
    extract: Option<Arc<Extractor>>,
    /// Boxed: few ask for it.
    sent_request: Option<Box<SentRequest>>,
}

impl Response {
    pub(super) fn new(
        fetched: FetchedResponse,
        trace: Trace,
        elapsed: Duration,
        extract: Option<Arc<Extractor>>,
        sent: Option<SentRequest>,
    ) -> Self {
        Self { fetched, trace, elapsed, extract, sent_request: sent.map(Box::new) }
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.fetched.status
    }

    /// The HTTP version it came over.
    pub const fn version(&self) -> HttpVersion {
        self.fetched.version
    }

    /// The header fields, as the site sent them.
    pub const fn headers(&self) -> &HeaderMap {
        &self.fetched.headers
    }

    /// The URL that answered, after redirects.
    pub const fn url(&self) -> &Url {
        &self.fetched.url
    }

    /// The redirects followed, first to last.
    pub fn redirects(&self) -> &[Redirect] {
        &self.fetched.redirects
    }

    /// The tier that got it.
    pub fn tier(&self) -> Tier {
        self.trace.attempts().last().map_or(Tier::Plain, |attempt| attempt.tier)
    }

    /// The browser profile that got it; `None` on the plain tier.
    pub fn browser_profile(&self) -> Option<&str> {
        self.trace.attempts().last()?.browser_profile.as_deref()
    }

    /// All attempts made for it.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The time of the whole fetch, waits included.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Where the time of the last attempt went.
    pub const fn timings(&self) -> Timings {
        self.fetched.timings
    }

    /// The request that got it, after redirects, when [`RequestBuilder::tell_sent`](super::RequestBuilder::tell_sent)
    /// asked for it. `None` where the browser got it: what that sends is its own.
    pub fn sent_request(&self) -> Option<&SentRequest> {
        self.sent_request.as_deref()
    }

    /// How the browser got it; `None` when another tier did.
    pub fn browser(&self) -> Option<&BrowserUse> {
        self.fetched.browser.as_ref().map(|shown| &shown.usage)
    }

    /// The picture of the page, PNG, when [`RequestBuilder::screenshot`](super::RequestBuilder::screenshot) asked for
    /// one and a page was shown: the whole page, at most 4,096 CSS pixels wide and 16,384 high.
    pub fn screenshot(&self) -> Option<&Bytes> {
        self.fetched.browser.as_ref()?.screenshot.as_ref()
    }

    /// The page printed, when [`RequestBuilder::pdf`](super::RequestBuilder::pdf) asked for it and a page was shown.
    pub fn pdf(&self) -> Option<&Bytes> {
        self.fetched.browser.as_ref()?.pdf.as_ref()
    }

    /// The body without its content coding; the settled DOM when the browser got an HTML page.
    /// Empty when it was streamed to a file.
    pub const fn bytes(&self) -> &Bytes {
        &self.stored_body().bytes
    }

    /// How many bytes the body has, wherever it went.
    pub const fn body_len(&self) -> u64 {
        self.stored_body().length
    }

    /// The file the body was streamed to, if it was.
    pub fn file(&self) -> Option<&Path> {
        self.stored_body().file.as_deref()
    }

    /// The body as text: decoded by its byte order mark, else by the charset of Content-Type, else
    /// by the page's own meta element, else as UTF-8.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when it is no text: when bytes are not
    /// valid in that charset.
    pub fn text(&self) -> Result<String> {
        charset::decode(self.headers(), self.bytes())
    }

    /// Reads out of it what `wanted` says, and what its target says beside that. A page that is no HTML has none of it.
    /// Takes about a millisecond for 100 KiB: not for a thread that fetches.
    #[must_use]
    pub fn extract(&self, wanted: &Extractor) -> ExtractedData {
        let wanted = self.merged_extract(wanted);
        self.document().map_or_else(|| wanted.extract_nothing(), |document| wanted.extract_from(&document))
    }

    /// `own`, and what its target says beside that.
    pub(crate) fn merged_extract(&self, own: &Extractor) -> Extractor {
        self.extract.as_ref().map_or_else(|| own.clone(), |target| target.merge(own))
    }

    /// Its tree, where it is HTML and in memory.
    pub(crate) fn document(&self) -> Option<Document> {
        if !self.is_html() {
            return None;
        }
        let text = self.text().unwrap_or_else(|_| String::from_utf8_lossy(self.bytes()).into_owned());
        Some(Document::parse(&text, self.url()).with_canonical(self.canonical()))
    }

    /// The URL that its header says it is best known by.
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
        f.debug_struct("Page")
            .field("status", &self.status().as_u16())
            .field("url", &crate::redact::url(self.url()))
            .field("tier", &self.tier())
            .field("body_len", &self.body_len())
            .finish_non_exhaustive()
    }
}
