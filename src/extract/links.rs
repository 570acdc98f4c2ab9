//! The links of a page.

use std::collections::HashSet;

use http::HeaderMap;
use http::header::LINK;
use scraper::{ElementRef, Html};
use url::Url;

use super::css::CssSelector;
use super::document::Document;

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
                    .for_each(|element| collector.add(self.base(), element));
            }
            Some(selectors) => {
                // Nested matches visit an element at most once per level; this limits the total.
                let mut remaining_visits = MAX_VISITED_ELEMENTS;
                for element in selectors.iter().flat_map(|css| self.select(css)) {
                    if is_link(element) {
                        collector.add(self.base(), element);
                        continue;
                    }
                    for inner in element.descendent_elements().take(remaining_visits) {
                        remaining_visits -= 1;
                        collector.add(self.base(), inner);
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

/// Returns the base URL of the page's relative URLs.
pub(super) fn base_url(html: &Html, url: &Url) -> Url {
    let href = elements(html, "base").find_map(|element| element.attr("href"));
    href.and_then(|href| resolve_url(url, href)).filter(is_web).unwrap_or_else(|| url.clone())
}

/// Returns the canonical URL in the page's `link` elements.
pub(super) fn canonical_url(html: &Html, base: &Url) -> Option<Url> {
    let mut links = elements(html, "link").filter(|link| has_token(*link, "rel", "canonical"));
    let mut url = links.find_map(|link| resolve_url(base, link.attr("href")?)).filter(is_web)?;
    strip_fragment_and_credentials(&mut url);
    Some(url)
}

/// Returns the canonical URL in the page's `Link` headers (RFC 8288). `base` is the page's URL.
pub(crate) fn canonical_from_headers(headers: &HeaderMap, base: &Url) -> Option<Url> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let links = values.flat_map(|value| split_unquoted(value, ',')).filter_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        is_canonical(parameters).then_some(target)
    });
    let mut url = links.filter_map(|target| resolve_url(base, target)).find(is_web)?;
    strip_fragment_and_credentials(&mut url);
    Some(url)
}

/// Whether a link's parameters contain `rel=canonical` for the page itself, without `anchor`.
fn is_canonical(parameters: &str) -> bool {
    let pairs = || split_unquoted(parameters, ';').filter_map(|parameter| parameter.split_once('='));
    let get = |name: &str| {
        let mut values = pairs().filter(|(other, _)| other.trim().eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim().trim_matches('"'))
    };
    let has_canonical =
        |rel: &str| rel.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("canonical"));
    get("anchor").is_none() && get("rel").is_some_and(has_canonical)
}

/// Splits a header at `separator`, except inside quotes and angle brackets.
fn split_unquoted(line: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    line.split(move |c| {
        let was_escaped = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted => escaped = !was_escaped,
            '"' if !was_escaped && !bracketed => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' if !quoted => bracketed = false,
            _ => {}
        }
        c == separator && !quoted && !bracketed
    })
}

/// Whether the value of this attribute is a URL.
pub(super) fn is_url_attribute(attribute: &str) -> bool {
    URL_ATTRIBUTES.contains(&attribute)
}

/// Resolves a URL of a page. Returns `None` for an invalid or too long one.
pub(super) fn resolve_url(base: &Url, text: &str) -> Option<Url> {
    let text = text.trim();
    let url = (text.len() <= MAX_URL).then(|| base.join(text).ok()).flatten()?;
    (url.as_str().len() <= MAX_URL).then_some(url)
}

/// Collects links without duplicates, within limits.
struct LinkCollector {
    anchors: Vec<Anchor>,
    seen: HashSet<Url>,
    remaining_bytes: usize,
}

impl LinkCollector {
    fn add(&mut self, base: &Url, element: ElementRef<'_>) {
        if !is_link(element) || self.anchors.len() >= MAX_LINKS {
            return;
        }
        let Some(mut url) = element.attr("href").and_then(|href| resolve_url(base, href)).filter(is_web)
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

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

/// Removes fragment and credentials.
fn strip_fragment_and_credentials(url: &mut Url) {
    url.set_fragment(None);
    // Neither call fails for a URL with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

fn has_token(element: ElementRef<'_>, attribute: &str, word: &str) -> bool {
    let words = element.attr(attribute).unwrap_or_default();
    words.split_ascii_whitespace().any(|other| other.eq_ignore_ascii_case(word))
}

fn elements<'a>(html: &'a Html, name: &'static str) -> impl Iterator<Item = ElementRef<'a>> {
    html.tree.nodes().filter_map(ElementRef::wrap).filter(move |element| element.value().name() == name)
}

/// Maximum length of a link's URL in bytes. Servers rarely accept longer URLs.
pub(crate) const MAX_URL: usize = 2048;
/// Maximum links of a page, and maximum bytes of them.
const MAX_LINKS: usize = 10_000;
const MAX_BYTES: usize = 2 << 20;
const MAX_VISITED_ELEMENTS: usize = 1 << 20;
/// Attributes that contain a URL.
const URL_ATTRIBUTES: [&str; 9] =
    ["href", "src", "action", "formaction", "poster", "cite", "data", "background", "longdesc"];
