//! Extraction from a response.

use std::collections::HashSet;

use encoding_rs::UTF_8;
use url::Url;

use super::response::Response;
use crate::exchange::tier::Tier;
use crate::extract::{self, Document, ExtractedData, Extractor};
use crate::text::charset;

impl Response {
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
}
