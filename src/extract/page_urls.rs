//! The URLs that a page names: how they are resolved, its base URL, its canonical URL.

use encoding_rs::{Encoding, UTF_8};
use http::HeaderMap;
use http::header::LINK;
use scraper::{ElementRef, Html};
use url::Url;

use super::elements::elements_within;
use crate::exchange::credentials::strip_fragment_and_credentials;
use crate::text::charset;

/// Returns the base URL of the page's relative URLs.
pub(super) fn base_url(html: &Html, url: &Url, encoding: &'static Encoding) -> Url {
    let href = elements(html, "base").find_map(|element| element.attr("href"));
    href.and_then(|href| resolve_url(url, encoding, href)).filter(is_web).unwrap_or_else(|| url.clone())
}

/// Returns the canonical URL in the page's `link` elements.
pub(super) fn canonical_url(html: &Html, base: &Url, encoding: &'static Encoding) -> Option<Url> {
    let mut links = elements(html, "link").filter(|link| has_token(*link, "rel", "canonical"));
    let mut url = links.find_map(|link| resolve_url(base, encoding, link.attr("href")?)).filter(is_web)?;
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
    let mut url = links.filter_map(|target| resolve_url(base, UTF_8, target)).find(is_web)?;
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

/// Resolves a URL of a page with this encoding, in which its query is encoded. Returns `None` for an invalid or too long
/// one.
pub(super) fn resolve_url(base: &Url, encoding: &'static Encoding, text: &str) -> Option<Url> {
    let text = text.trim_matches(|c| c <= ' ');
    let url = (text.len() <= MAX_URL).then(|| charset::resolve_url(base, encoding, text)).flatten()?;
    (url.as_str().len() <= MAX_URL).then_some(url)
}

pub(super) fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

pub(super) fn has_token(element: ElementRef<'_>, attribute: &str, word: &str) -> bool {
    let words = element.attr(attribute).unwrap_or_default();
    words.split_ascii_whitespace().any(|other| other.eq_ignore_ascii_case(word))
}

pub(super) fn elements<'a>(html: &'a Html, name: &'static str) -> impl Iterator<Item = ElementRef<'a>> {
    elements_within(html.tree.root()).filter(move |element| element.value().name() == name)
}

/// Maximum length of a link's URL in bytes. Servers rarely accept longer URLs.
pub(crate) const MAX_URL: usize = 2048;
/// Attributes that contain a URL.
const URL_ATTRIBUTES: [&str; 9] =
    ["href", "src", "action", "formaction", "poster", "cite", "data", "background", "longdesc"];
