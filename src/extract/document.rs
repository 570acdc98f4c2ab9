//! A page as a tree, read within bounds.

use std::time::{Duration, Instant};

use html5ever::driver::{ParseOpts, Parser, parse_document};
use html5ever::tendril::{StrTendril, TendrilSink};
use scraper::{ElementRef, Html, HtmlTreeSink};
use url::Url;

use super::css::CssSelector;
use super::links;

/// A page that was read, or as much of it as is allowed. Not to be sent to another thread, nor held across one's waits.
pub(crate) struct Document {
    pub(super) html: Html,
    base: Url,
    canonical: Option<Url>,
    is_truncated: bool,
}

impl Document {
    /// Reads the page at `url`. Whatever it is, there is a tree in the end.
    pub(crate) fn parse(text: &str, url: &Url) -> Self {
        let (html, is_truncated) = parse(text);
        let base = links::base_url(&html, url);
        let canonical = links::canonical_url(&html, &base);
        Self { html, base, canonical, is_truncated }
    }

    /// The same, best known by this URL where it does not say so itself.
    pub(crate) fn with_canonical(mut self, canonical: Option<Url>) -> Self {
        self.canonical = self.canonical.or(canonical);
        self
    }

    /// What URLs in it are relative to.
    pub(crate) const fn base(&self) -> &Url {
        &self.base
    }

    /// The URL it says it is best known by.
    pub(crate) const fn canonical(&self) -> Option<&Url> {
        self.canonical.as_ref()
    }

    /// Not all of it was read.
    pub(crate) const fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// The elements that match, in the order of the page.
    pub(super) fn select<'a>(&'a self, css: &'a CssSelector) -> impl Iterator<Item = ElementRef<'a>> {
        self.html.select(&css.selector)
    }
}

/// The last boundary of a character at `most` bytes or before.
pub(super) fn floor_char_boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Parses piece by piece, and stops where the tree is too large or too deep. A page of tags that never close, of
/// misnested formatting or of a tag with a hundred thousand attributes costs time and memory by the square of its size;
/// no piece alone costs much.
fn parse(text: &str) -> (Html, bool) {
    let mut text = text;
    let mut is_cut = false;
    if text.len() > MAX_BYTES {
        (text, is_cut) = (&text[..floor_char_boundary(text, MAX_BYTES)], true);
    }
    let mut parser = parse_document(HtmlTreeSink::new(Html::new_document()), ParseOpts::default());
    let (began, mut known) = (Instant::now(), 0);
    while !text.is_empty() {
        let (piece, rest) = text.split_at(floor_char_boundary(text, CHUNK_SIZE));
        parser.process(StrTendril::from(piece));
        text = rest;
        if !is_within_limits(&parser, &mut known) || began.elapsed() > MAX_TIME {
            return (parser.finish(), true);
        }
    }
    (parser.finish(), is_cut)
}

/// Whether the tree is as small and as flat as it may be. The first `known` nodes were looked at before.
fn is_within_limits(parser: &Parser<HtmlTreeSink>, known: &mut usize) -> bool {
    let html = parser.tokenizer.sink.sink.0.borrow();
    let nodes = html.tree.nodes();
    let count = nodes.len();
    let new = count - std::mem::replace(known, count);
    let is_deep = nodes.rev().take(new).any(|node| node.ancestors().take(MAX_DEPTH + 1).count() > MAX_DEPTH);
    count <= MAX_NODES && !is_deep
}

/// How much of a page is read, in bytes.
const MAX_BYTES: usize = 8 << 20;
/// The most nodes of its tree.
const MAX_NODES: usize = 400_000;
/// The most levels of its tree, as Chrome has it.
const MAX_DEPTH: usize = 512;
/// How long it may take, where a page finds another way to be slow.
const MAX_TIME: Duration = Duration::from_secs(10);
/// How much is read between two looks at the tree, in bytes.
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
    fn pages_that_nest_for_ever_are_cut_and_not_followed_down() {
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
    fn misnested_formatting_does_not_grow_by_its_square() {
        let open = (0..400).map(|at| format!("<i a={at}>")).collect::<Vec<_>>().concat();
        let page = format!("<p>{open}{}", "</p><p>x".repeat(100_000));
        let document = parse_page(&page);
        assert!(document.is_truncated() && nodes(&document) < 2 * MAX_NODES, "{}", nodes(&document));
    }

    #[test]
    fn a_page_of_many_elements_side_by_side_is_read_whole() {
        let document = parse_page(&"<li><a href=/x>one <b>two</b></a></li>".repeat(8_000));
        assert!(!document.is_truncated());
        assert_eq!(document.select(&CssSelector::parse("li > a[href]").unwrap()).count(), 8_000);
    }
}
