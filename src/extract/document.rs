//! A parsed page, within limits.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ego_tree::NodeId;
use encoding_rs::Encoding;
use scraper::{ElementRef, Html};
use url::Url;

use super::css::CssSelector;
use super::elements::elements_within;
use super::page_urls;
use super::shadow::ShadowRoots;
use crate::text::html::{self, ParseLimits, WorkLimit};

/// A parsed page, up to the limits. It is not `Send`, so it must not be held across an await.
pub(crate) struct Document {
    pub(super) html: Html,
    pub(super) shadow_roots: ShadowRoots,
    /// Whether the page's scripts were run, so that it shows no `noscript` element.
    pub(super) scripting: bool,
    base: Url,
    /// The encoding of the queries of the page's URLs.
    encoding: &'static Encoding,
    canonical: Option<Url>,
    is_truncated: bool,
    work: WorkLimit,
}

impl Document {
    /// Parses the page at `url`, which was decoded from `encoding`. Every input results in a tree. Without `scripting`,
    /// the content of `noscript` belongs to the page. The work on the page ends at `deadline`.
    pub(crate) fn parse(
        text: &str,
        url: &Url,
        encoding: &'static Encoding,
        scripting: bool,
        deadline: Option<Instant>,
    ) -> Self {
        Self::parse_within(text, url, encoding, scripting, WorkLimit::start(MAX_TIME, deadline))
    }

    fn parse_within(
        text: &str,
        url: &Url,
        encoding: &'static Encoding,
        scripting: bool,
        work: WorkLimit,
    ) -> Self {
        let (mut html, is_truncated) = parse(text, scripting, &work);
        let shadow_roots = ShadowRoots::attach(&mut html);
        let base = page_urls::base_url(&html, url, encoding);
        let canonical = page_urls::canonical_url(&html, &base, encoding);
        Self { html, shadow_roots, scripting, base, encoding, canonical, is_truncated, work }
    }

    /// Sets the canonical URL, unless the page itself has one.
    pub(crate) fn with_canonical(mut self, canonical: Option<Url>) -> Self {
        self.canonical = self.canonical.or(canonical);
        self
    }

    /// Resolves a URL of the page. Returns `None` for an invalid or too long one.
    pub(super) fn resolve(&self, text: &str) -> Option<Url> {
        page_urls::resolve_url(&self.base, self.encoding, text)
    }

    /// Whether the page has shadow trees.
    pub(crate) fn has_shadow_roots(&self) -> bool {
        !self.shadow_roots.is_empty()
    }

    /// Returns the canonical URL.
    pub(crate) const fn canonical(&self) -> Option<&Url> {
        self.canonical.as_ref()
    }

    /// Whether a limit cut the page, or the time for it ended before all work on it was done.
    pub(crate) const fn is_truncated(&self) -> bool {
        self.is_truncated || self.work.was_over()
    }

    /// Whether the work on the page must stop.
    pub(super) fn is_over(&self) -> bool {
        self.work.is_over()
    }

    /// Returns the matching elements, in page order, until the time for the page is over.
    pub(super) fn select<'a>(
        &'a self,
        css: &'a CssSelector,
    ) -> Box<dyn Iterator<Item = ElementRef<'a>> + 'a> {
        let elements = self.elements().take_while(|_| !self.is_over());
        if css.needs_cache() {
            // Positions among siblings are counted once.
            let matches = self.html.select(&css.selector).take_while(|_| !self.is_over());
            let matches: HashSet<NodeId> = matches.map(|element| element.id()).collect();
            return Box::new(elements.filter(move |element| matches.contains(&element.id())));
        }
        // One element at a time: a page can make a sibling or `:has()` search long for each of its elements.
        Box::new(elements.filter(|element| css.selector.matches(element)))
    }

    /// Returns the elements of the page in tree order, without the content of templates.
    pub(super) fn elements(&self) -> impl Iterator<Item = ElementRef<'_>> {
        elements_within(self.html.tree.root())
    }
}

/// Parses the page, up to the limits.
fn parse(text: &str, scripting: bool, work: &WorkLimit) -> (Html, bool) {
    let cut = &text[..html::floor_char_boundary(text, MAX_BYTES)];
    let limits = ParseLimits { nodes: MAX_NODES, depth: MAX_DEPTH };
    let (html, is_truncated) = html::parse_as(cut, scripting, limits, work);
    (html, is_truncated || cut.len() < text.len())
}

/// Maximum bytes of a page that are parsed.
const MAX_BYTES: usize = 8 << 20;
/// Maximum nodes of the tree.
const MAX_NODES: usize = 400_000;
/// Maximum levels of the tree, as in Chromium.
const MAX_DEPTH: usize = 512;
/// Maximum time for all work on a page that is slow within the other limits.
const MAX_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_page(text: &str) -> Document {
        Document::parse(text, &"http://a.test/".parse().unwrap(), encoding_rs::UTF_8, false, None)
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
        let page = "<li><a href=/x>one <b>two</b></a></li>".repeat(8_000);
        // More time than a page has: the machine may be busy.
        let work = WorkLimit::start(Duration::from_secs(120), None);
        let document = Document::parse_within(
            &page,
            &"http://a.test/".parse().unwrap(),
            encoding_rs::UTF_8,
            false,
            work,
        );
        assert!(!document.is_truncated());
        assert_eq!(document.select(&CssSelector::parse("li > a[href]").unwrap()).count(), 8_000);
    }

    #[test]
    fn a_selector_that_searches_siblings_ends_in_time() {
        let page = format!("<p class=x>{}", "<a></a>".repeat(20_000));
        let mut document = parse_page(&page);
        document.work = WorkLimit::start(Duration::from_millis(300), None);
        let css = CssSelector::parse("b ~ a, a:has(~ b)").unwrap();
        assert_eq!(document.select(&css).count(), 0);
        assert!(document.is_truncated());
    }

    #[test]
    fn work_that_began_too_late_is_reported() {
        let page = "<li><a href=/x>one</a></li>".repeat(1_000);
        let url = "http://a.test/".parse().unwrap();
        let mut document = Document::parse(&page, &url, encoding_rs::UTF_8, false, None);
        document.work = WorkLimit::start(Duration::ZERO, None);
        assert!(!document.is_truncated());
        assert_eq!(document.select(&CssSelector::parse("a").unwrap()).count(), 0);
        assert!(document.is_truncated());
    }
}
