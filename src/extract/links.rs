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
    /// Absolute, of http or https, without fragment and without credentials.
    pub(crate) url: Url,
    /// It says `rel=nofollow`.
    pub(crate) nofollow: bool,
}

impl Document {
    /// The links of the whole page, or those that are, or are in, what one of `within` matches. Each once, in the order
    /// they are found, as many as have room in `most` bytes.
    pub(crate) fn anchors(&self, within: Option<&[CssSelector]>, most: usize) -> Vec<Anchor> {
        let mut found = LinkCollector { anchors: Vec::new(), seen: HashSet::new(), remaining_bytes: most };
        match within {
            None => {
                let elements = self.html.tree.nodes().filter_map(ElementRef::wrap);
                elements.for_each(|element| found.add(self.base(), element));
            }
            Some(all) => {
                // Where one match is in another, nothing is looked at more often than it has levels.
                let mut looks = MAX_VISITED_ELEMENTS;
                for element in all.iter().flat_map(|css| self.select(css)) {
                    if is_link(element) {
                        found.add(self.base(), element);
                        continue;
                    }
                    for inner in element.descendent_elements().take(looks) {
                        looks -= 1;
                        found.add(self.base(), inner);
                    }
                }
            }
        }
        found.anchors
    }

    /// Whether the page itself asks that its links are not followed.
    pub(crate) fn is_nofollow(&self) -> bool {
        let mut metas = elements(&self.html, "meta");
        metas.any(|meta| {
            let name = meta.attr("name").unwrap_or_default().trim();
            let is_for_us = ["robots", "rungs"].iter().any(|robot| robot.eq_ignore_ascii_case(name));
            is_for_us && has_nofollow(meta.attr("content").unwrap_or_default())
        })
    }
}

/// Whether a list of robots' directives has one against following links.
pub(crate) fn has_nofollow(directives: &str) -> bool {
    directives.split(',').any(|one| {
        // A header may name a robot first.
        let (robot, directive) =
            one.rsplit_once(':').map_or(("", one), |(robot, directive)| (robot.trim(), directive));
        let is_for_us = robot.is_empty() || robot.eq_ignore_ascii_case("rungs");
        let directive = directive.trim();
        is_for_us && ["nofollow", "none"].iter().any(|no| no.eq_ignore_ascii_case(directive))
    })
}

/// All links of the page, as text.
pub(super) fn link_urls(document: &Document) -> Vec<String> {
    document.anchors(None, MAX_BYTES).into_iter().map(|anchor| anchor.url.into()).collect()
}

/// What the page's URLs are relative to.
pub(super) fn base_url(html: &Html, url: &Url) -> Url {
    let href = elements(html, "base").find_map(|element| element.attr("href"));
    href.and_then(|href| resolve_url(url, href)).filter(is_web).unwrap_or_else(|| url.clone())
}

pub(super) fn canonical_url(html: &Html, base: &Url) -> Option<Url> {
    let mut links = elements(html, "link").filter(|link| has_token(*link, "rel", "canonical"));
    let mut url = links.find_map(|link| resolve_url(base, link.attr("href")?)).filter(is_web)?;
    strip_fragment_and_credentials(&mut url);
    Some(url)
}

/// The URL that a page is best known by as its `Link` headers say (RFC 8288), with the page's URL as `base`.
pub(crate) fn canonical_from_headers(headers: &HeaderMap, base: &Url) -> Option<Url> {
    let said = headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok());
    let links = said.flat_map(|line| split_unquoted(line, ',')).filter_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        is_canonical(parameters).then_some(target)
    });
    let mut url = links.filter_map(|target| resolve_url(base, target)).find(is_web)?;
    strip_fragment_and_credentials(&mut url);
    Some(url)
}

/// Whether a link's parameters say `rel=canonical`, of the page itself.
fn is_canonical(parameters: &str) -> bool {
    let pairs = || split_unquoted(parameters, ';').filter_map(|parameter| parameter.split_once('='));
    let get = |name: &str| {
        let mut values = pairs().filter(|(other, _)| other.trim().eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim().trim_matches('"'))
    };
    let is_word = |rel: &str| rel.split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case("canonical"));
    get("anchor").is_none() && get("rel").is_some_and(is_word)
}

/// The parts of a header between these, outside of quotes and angle brackets.
fn split_unquoted(line: &str, at: char) -> impl Iterator<Item = &str> {
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
        c == at && !quoted && !bracketed
    })
}

/// Whether the value of such an attribute is a URL.
pub(super) fn is_url_attribute(attribute: &str) -> bool {
    URL_ATTRIBUTES.contains(&attribute)
}

/// A URL of a page, made absolute.
pub(super) fn resolve_url(base: &Url, text: &str) -> Option<Url> {
    // Where it is longer than any server takes, it is no link.
    let text = text.trim();
    let url = (text.len() <= MAX_URL).then(|| base.join(text).ok()).flatten()?;
    (url.as_str().len() <= MAX_URL).then_some(url)
}

/// What was found so far.
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

/// Neither fragment nor credentials.
fn strip_fragment_and_credentials(url: &mut Url) {
    url.set_fragment(None);
    // Neither fails on a URL with a host.
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

/// The longest URL that is a link, in bytes.
pub(crate) const MAX_URL: usize = 2048;
/// The most links of a page, and the most bytes of them.
const MAX_LINKS: usize = 10_000;
const MAX_BYTES: usize = 2 << 20;
const MAX_VISITED_ELEMENTS: usize = 1 << 20;
/// Attributes that hold a URL.
const URL_ATTRIBUTES: [&str; 9] =
    ["href", "src", "action", "formaction", "poster", "cite", "data", "background", "longdesc"];
