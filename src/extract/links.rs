//! The links of a page.

use std::collections::HashSet;

use scraper::ElementRef;
use url::Url;

use super::css::CssSelector;
use super::document::Document;
use super::page_urls::{elements, has_token, is_web};
use crate::credentials::strip_fragment_and_credentials;

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// Absolute http or https URL without fragment and credentials.
    pub(crate) url: Url,
    /// Whether it has `rel=nofollow`.
    pub(crate) nofollow: bool,
}

impl Document {
    /// Returns the links of the page, or those that a selector of `within` matches or contains. Without duplicates,
    /// in the order they are found, with a total of at most `max_bytes`.
    pub(crate) fn anchors(&self, within: Option<&[CssSelector]>, max_bytes: usize) -> Vec<Anchor> {
        let mut collector =
            LinkCollector { anchors: Vec::new(), seen: HashSet::new(), remaining_bytes: max_bytes };
        match within {
            None => {
                let elements = self.html.tree.nodes().filter_map(ElementRef::wrap);
                elements
                    .filter(|element| is_link(*element))
                    .take_while(|_| !self.is_over())
                    .for_each(|element| collector.add(self, element));
            }
            Some(selectors) => {
                // Nested matches visit an element at most once per level; this limits the total.
                let mut remaining_visits = MAX_VISITED_ELEMENTS;
                for element in selectors.iter().flat_map(|css| self.select(css)) {
                    if is_link(element) {
                        collector.add(self, element);
                        continue;
                    }
                    for inner in element.descendent_elements().take(remaining_visits) {
                        remaining_visits -= 1;
                        collector.add(self, inner);
                    }
                }
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
    document.anchors(None, MAX_BYTES).into_iter().map(|anchor| anchor.url.into()).collect()
}

/// Collects links without duplicates, within limits.
struct LinkCollector {
    anchors: Vec<Anchor>,
    seen: HashSet<Url>,
    remaining_bytes: usize,
}

impl LinkCollector {
    fn add(&mut self, document: &Document, element: ElementRef<'_>) {
        if !is_link(element) || self.anchors.len() >= MAX_LINKS {
            return;
        }
        let Some(mut url) = element.attr("href").and_then(|href| document.resolve(href)).filter(is_web)
        else {
            return;
        };
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

fn is_link(element: ElementRef<'_>) -> bool {
    matches!(element.value().name(), "a" | "area")
}

/// Maximum links of a page, and maximum bytes of them.
const MAX_LINKS: usize = 10_000;
const MAX_BYTES: usize = 2 << 20;
const MAX_VISITED_ELEMENTS: usize = 1 << 20;
