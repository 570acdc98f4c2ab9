//! A parsed page, within limits.

use std::time::{Duration, Instant};

use html5ever::driver::{ParseOpts, Parser, parse_document};
use html5ever::tendril::{StrTendril, TendrilSink};
use scraper::{ElementRef, Html, HtmlTreeSink};
use url::Url;

use super::css::CssSelector;
use super::links;

/// A parsed page, up to the limits. It is not `Send`, so it must not be held across an await.
pub(crate) struct Document {
    pub(super) html: Html,
    base: Url,
    canonical: Option<Url>,
    is_truncated: bool,
}

impl Document {
    /// Parses the page at `url`. Every input results in a tree.
    pub(crate) fn parse(text: &str, url: &Url) -> Self {
        let (html, is_truncated) = parse(text);
        let base = links::base_url(&html, url);
        let canonical = links::canonical_url(&html, &base);
        Self { html, base, canonical, is_truncated }
    }

    /// Sets the canonical URL, unless the page itself has one.
    pub(crate) fn with_canonical(mut self, canonical: Option<Url>) -> Self {
        self.canonical = self.canonical.or(canonical);
        self
    }

    /// Returns the base URL of the page's relative URLs.
    pub(crate) const fn base(&self) -> &Url {
        &self.base
    }

    /// Returns the canonical URL.
    pub(crate) const fn canonical(&self) -> Option<&Url> {
        self.canonical.as_ref()
    }

    /// Whether a limit cut the page.
    pub(crate) const fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Returns the matching elements, in page order.
    pub(super) fn select<'a>(&'a self, css: &'a CssSelector) -> impl Iterator<Item = ElementRef<'a>> {
        self.html.select(&css.selector)
    }
}

/// Returns the last character boundary at or before `index`.
pub(super) fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Parses in chunks, and stops when the tree is too large or too deep. Unclosed tags, misnested formatting, or a tag
/// with 100,000 attributes cost time and memory quadratic in the page size. A single chunk is cheap.
fn parse(text: &str) -> (Html, bool) {
    let mut text = text;
    let mut is_cut = false;
    if text.len() > MAX_BYTES {
        (text, is_cut) = (&text[..floor_char_boundary(text, MAX_BYTES)], true);
    }
    let mut parser = parse_document(HtmlTreeSink::new(Html::new_document()), ParseOpts::default());
    let (start, mut checked) = (Instant::now(), 0);
    while !text.is_empty() {
        let (chunk, rest) = text.split_at(floor_char_boundary(text, CHUNK_SIZE));
        parser.process(StrTendril::from(chunk));
        text = rest;
        if !is_within_limits(&parser, &mut checked) || start.elapsed() > MAX_TIME {
            return (parser.finish(), true);
        }
    }
    (parser.finish(), is_cut)
}

/// Whether the tree is within the node and depth limits. The first `checked` nodes were checked before.
fn is_within_limits(parser: &Parser<HtmlTreeSink>, checked: &mut usize) -> bool {
    let html = parser.tokenizer.sink.sink.0.borrow();
    let nodes = html.tree.nodes();
    let count = nodes.len();
    let new = count - std::mem::replace(checked, count);
    let is_deep = nodes.rev().take(new).any(|node| node.ancestors().take(MAX_DEPTH + 1).count() > MAX_DEPTH);
    count <= MAX_NODES && !is_deep
}

/// Maximum bytes of a page that are parsed.
const MAX_BYTES: usize = 8 << 20;
/// Maximum nodes of the tree.
const MAX_NODES: usize = 400_000;
/// Maximum levels of the tree, as in Chromium.
const MAX_DEPTH: usize = 512;
/// Maximum parse time, for pages that are slow within the other limits.
const MAX_TIME: Duration = Duration::from_secs(10);
/// Bytes that are parsed between two checks of the tree.
const CHUNK_SIZE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_page(text: &str) -> Document {
        Document::parse(text, &"http://a.test/".parse().unwrap())
    }

    fn nodes(document: &Document) -> usize {
        document.html.tree.nodes().len()
    }

    #[test]
    fn deeply_nested_pages_are_cut() {
        let deep = CssSelector::parse("div div p").unwrap();
        for open in ["<div>", "<b>", "<table><tr><td>", "<p><object>", "<a><div>", "<ul><li>", "<svg><g>"] {
            let page = format!("<p id=first>x</p>{}<p>last</p>", open.repeat(100_000));
            let document = parse_page(&page);
            assert!(document.is_truncated(), "{open}");
            assert!(nodes(&document) < 20_000, "{open}: {}", nodes(&document));
            assert_eq!(document.select(&CssSelector::parse("#first").unwrap()).count(), 1, "{open}");
            assert_eq!(document.select(&deep).count(), 0, "{open}");
        }
    }

    #[test]
    fn fostered_elements_are_as_deep_as_others() {
        let document = parse_page(&format!("<table>{}", "<div>".repeat(100_000)));
        assert!(document.is_truncated() && nodes(&document) < 20_000, "{}", nodes(&document));
    }

    #[test]
    fn misnested_formatting_does_not_grow_quadratically() {
        let open = (0..400).map(|at| format!("<i a={at}>")).collect::<Vec<_>>().concat();
        let page = format!("<p>{open}{}", "</p><p>x".repeat(100_000));
        let document = parse_page(&page);
        assert!(document.is_truncated() && nodes(&document) < 2 * MAX_NODES, "{}", nodes(&document));
    }

    #[test]
    fn a_page_of_many_sibling_elements_is_parsed_completely() {
        let document = parse_page(&"<li><a href=/x>one <b>two</b></a></li>".repeat(8_000));
        assert!(!document.is_truncated());
        assert_eq!(document.select(&CssSelector::parse("li > a[href]").unwrap()).count(), 8_000);
    }
}
