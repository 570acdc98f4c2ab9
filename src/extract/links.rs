//! The links of a page.

use std::collections::HashSet;

use html5ever::ns;
use scraper::ElementRef;
use url::Url;

use super::css::CssSelector;
use super::document::Document;
use super::elements::{attribute, elements_within, is_html};
use super::page_urls::{elements, has_token, is_web};
use crate::exchange::credentials::strip_fragment_and_credentials;

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// Absolute http or https URL without fragment and credentials.
    pub(crate) url: Url,
    /// Whether it has `rel=nofollow`.
    pub(crate) nofollow: bool,
}

/// How often a selector matched, and how many of the matches are or contain a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SelectorUse {
    pub(crate) matched: u64,
    pub(crate) linked: u64,
}

impl Document {
    /// Returns the links of the page. Without duplicates, in the order they are found, with a total of at most
    /// `max_bytes`.
    pub(crate) fn anchors(&self, max_bytes: usize) -> Vec<Anchor> {
        let mut collector = LinkCollector::new(max_bytes);
        let links = self.elements().take_while(|_| !self.is_over());
        for element in links {
            if let Some(href) = link_target(element) {
                collector.add(self, element, href);
            }
        }
        collector.anchors
    }

    /// Returns the links that a selector matches or that are in elements that it matches, as [`anchors`](Self::anchors)
    /// does. Also `link`, `iframe` and `frame` elements are links if a selector matches them. Counts the matches of
    /// each selector in `uses`.
    pub(crate) fn anchors_within(
        &self,
        selectors: &[CssSelector],
        max_bytes: usize,
        uses: &mut [SelectorUse],
    ) -> Vec<Anchor> {
        let mut collector = LinkCollector::new(max_bytes);
        // Nested matches visit an element at most once per level; this limits the total.
        let mut remaining_visits = MAX_VISITED_ELEMENTS;
        for (css, used) in selectors.iter().zip(uses) {
            let names_links = css.names_type("link");
            for element in self.select(css) {
                used.matched += 1;
                if let Some(target) = link_target(element).or_else(|| embedded_target(element)) {
                    used.linked += 1;
                    if names_links || !is_resource(element) {
                        collector.add(self, element, target);
                    }
                    continue;
                }
                let mut has_link = false;
                for inner in elements_within(*element).take(remaining_visits) {
                    remaining_visits -= 1;
                    if let Some(href) = link_target(inner) {
                        has_link = true;
                        collector.add(self, inner, href);
                    }
                }
                used.linked += u64::from(has_link);
            }
        }
        collector.anchors
    }

    /// Whether a robots `meta` element of the page has `nofollow`.
    pub(crate) fn is_nofollow(&self) -> bool {
        let mut metas = elements(&self.html, "meta");
        metas.any(|meta| {
            let name = meta.attr("name").unwrap_or_default().trim();
            let is_relevant = ["robots", "rungs"].iter().any(|robot| robot.eq_ignore_ascii_case(name));
            is_relevant && has_nofollow(meta.attr("content").unwrap_or_default())
        })
    }
}

/// Whether a list of robots directives contains `nofollow` or `none`.
pub(crate) fn has_nofollow(directives: &str) -> bool {
    directives.split(',').any(|item| {
        // In a header, a robot's name may precede the directive.
        let (robot, directive) =
            item.rsplit_once(':').map_or(("", item), |(robot, directive)| (robot.trim(), directive));
        let is_relevant = robot.is_empty() || robot.eq_ignore_ascii_case("rungs");
        let directive = directive.trim();
        is_relevant && ["nofollow", "none"].iter().any(|known| known.eq_ignore_ascii_case(directive))
    })
}

/// Returns all links of the page as text.
pub(super) fn link_urls(document: &Document) -> Vec<String> {
    document.anchors(MAX_BYTES).into_iter().map(|anchor| anchor.url.into()).collect()
}

/// Collects links without duplicates, within limits.
struct LinkCollector {
    anchors: Vec<Anchor>,
    seen: HashSet<Url>,
    remaining_bytes: usize,
}

impl LinkCollector {
    fn new(max_bytes: usize) -> Self {
        Self { anchors: Vec::new(), seen: HashSet::new(), remaining_bytes: max_bytes }
    }

    fn add(&mut self, document: &Document, element: ElementRef<'_>, target: &str) {
        if self.anchors.len() >= MAX_LINKS {
            return;
        }
        let Some(mut url) = document.resolve(target).filter(is_web) else { return };
        strip_fragment_and_credentials(&mut url);
        let bytes = url.as_str().len();
        if bytes > self.remaining_bytes {
            self.remaining_bytes = 0;
        } else if self.seen.insert(url.clone()) {
            self.remaining_bytes -= bytes;
            self.anchors.push(Anchor { url, nofollow: has_token(element, "rel", "nofollow") });
        }
    }
}

/// Returns the URL of a link that a reader can follow: of `a` and `area` in HTML, and of `a` in SVG.
fn link_target(element: ElementRef<'_>) -> Option<&str> {
    if is_html(element, "a") || is_html(element, "area") {
        return element.attr("href");
    }
    let is_svg = element.value().name.ns == ns!(svg) && element.value().name() == "a";
    let target = || attribute(element, "href").or_else(|| attribute(element, "xlink:href"));
    is_svg.then(target).flatten()
}

/// Returns the URL of a page that the element links or shows without a reader's doing.
fn embedded_target(element: ElementRef<'_>) -> Option<&str> {
    if is_html(element, "link") {
        return element.attr("href");
    }
    (is_html(element, "iframe") || is_html(element, "frame")).then(|| element.attr("src")).flatten()
}

/// Whether the element links a resource that is part of the page.
fn is_resource(element: ElementRef<'_>) -> bool {
    is_html(element, "link") && RESOURCE_LINKS.iter().any(|word| has_token(element, "rel", word))
}

/// Relations of resources, which a selector follows only if it names the element `link`.
const RESOURCE_LINKS: [&str; 10] = [
    "stylesheet",
    "icon",
    "apple-touch-icon",
    "mask-icon",
    "manifest",
    "preload",
    "modulepreload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
];
/// Maximum links of a page, and maximum bytes of them.
pub(crate) const MAX_LINKS: usize = 10_000;
const MAX_BYTES: usize = 2 << 20;
const MAX_VISITED_ELEMENTS: usize = 1 << 20;
