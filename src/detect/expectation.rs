//! What a target's page must have to be one: a 200 without it is a stub, whatever else it says.

use encoding_rs::Encoding;
use http::header;

use super::content_kind::ContentKind;
use super::selector::Selector;
use super::text::{contains, contains_ignore_case};
use super::{PREFIX, ResponseView, html};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::verdict::{Evidence, Verdict, VerdictKind};

/// A page that is smaller than one part in so many of the usual size is a stub.
const MIN_USUAL_SHARE: usize = 10;

/// What one target's pages must have. Everything not said is not asked for.
///
/// Only a 200 that no rule speaks against is held to it; a 404 or an empty 204 is the site's answer.
/// What is beyond the part of a body that is looked at ([`PREFIX`]) is not held against a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    css: Option<Selector>,
    text: Option<String>,
    min_bytes: Option<usize>,
    usual_bytes: Option<usize>,
    /// The learned size is not asked for.
    ignores_learned_size: bool,
}

impl Expectation {
    /// An element that must be there: `tag#id.class[attr*=\"v\"]`, or two such joined by a blank or `>`.
    ///
    /// A page of more than 64 KiB or 1000 tags is not parsed: there the selector's longest word must
    /// stand in its source.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is not such a selector.
    pub fn css(mut self, selector: &str) -> Result<Self> {
        self.css = Some(Selector::parse(selector).map_err(|what| Error::new(ErrorKind::Config, what))?);
        Ok(self)
    }

    /// A text that must stand in the body as it is, in the page's own charset.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// The least size of the body, in bytes after content decoding.
    #[must_use]
    pub const fn min_bytes(mut self, bytes: usize) -> Self {
        self.min_bytes = Some(bytes);
        self
    }

    /// The usual size of the body, in bytes: a page of less than a tenth of it is a stub.
    #[must_use]
    pub const fn usual_bytes(mut self, bytes: usize) -> Self {
        self.usual_bytes = Some(bytes);
        self
    }

    /// Whether a page must not be far smaller than its neighbours were, once their usual size is learned.
    /// Where [`min_bytes`](Self::min_bytes) or [`usual_bytes`](Self::usual_bytes) says a size, that is asked
    /// for instead. Default: true.
    #[must_use]
    pub const fn check_usual_size(mut self, wanted: bool) -> Self {
        self.ignores_learned_size = !wanted;
        self
    }

    /// The name of the rule that refuses a page smaller than usual.
    pub(crate) const USUAL_BYTES: &str = "expect/usual-bytes";

    /// Whether the learned size may be asked for.
    pub(crate) const fn allows_learned_size(&self) -> bool {
        !self.ignores_learned_size && self.min_bytes.is_none() && self.usual_bytes.is_none()
    }

    /// Whether the answer is smaller than its usual size allows.
    pub(crate) fn is_too_small(&self, seen: &ResponseView<'_>) -> bool {
        self.usual_bytes.is_some_and(|usual| seen.body.len() < usual / MIN_USUAL_SHARE)
    }

    /// Whether nothing is expected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The verdict on a page that misses something; `None` for one that has it all.
    pub(super) fn check(&self, seen: &ResponseView<'_>) -> Option<Verdict> {
        if seen.status != 200 {
            return None;
        }
        let misses = [
            self.css.as_ref().and_then(|selector| check_css(selector, seen)),
            self.text.as_ref().and_then(|text| check_text(text, seen)),
            self.min_bytes.and_then(|least| check_size("expect/min-bytes", least, seen)),
            self.usual_bytes.and_then(|usual| check_size(Self::USUAL_BYTES, usual / MIN_USUAL_SHARE, seen)),
        ];
        let evidence: Vec<Evidence> = misses.into_iter().flatten().collect();
        (!evidence.is_empty()).then_some(Verdict {
            kind: VerdictKind::Stub,
            vendor: None,
            confidence: 0.9,
            evidence,
        })
    }
}

fn check_css(selector: &Selector, seen: &ResponseView<'_>) -> Option<Evidence> {
    let body = &seen.body[..seen.body.len().min(PREFIX)];
    if !seen.complete || ContentKind::from_response(seen.headers, body) != ContentKind::Html {
        return None;
    }
    let there = contains_ignore_case(body, selector.token().as_bytes())
        && html::parse(seen.body).is_none_or(|document| html::has_element(&document, selector));
    // A page beyond the bound may have it further down.
    let unread = seen.body.len() > PREFIX;
    (!there && !unread)
        .then(|| missing_evidence("expect/css", "element", &format!("no {}", selector.as_str())))
}

fn check_text(text: &str, seen: &ResponseView<'_>) -> Option<Evidence> {
    if !seen.complete || seen.body.len() > PREFIX {
        return None;
    }
    let has = |needle: &[u8]| !needle.is_empty() && contains(seen.body, needle);
    let there = has(text.as_bytes()) || charset(seen).is_some_and(|c| has(&c.encode(text).0));
    (!there).then(|| missing_evidence("expect/text", "body", &format!("no `{text}`")))
}

fn check_size(rule: &str, least: usize, seen: &ResponseView<'_>) -> Option<Evidence> {
    let bytes = seen.body.len();
    (seen.complete && bytes < least)
        .then(|| missing_evidence(rule, "size", &format!("{bytes} bytes, at least {least} expected")))
}

fn missing_evidence(rule: &str, place: &str, text: &str) -> Evidence {
    Evidence { rule: rule.to_owned(), place: place.to_owned(), text: text.chars().take(120).collect() }
}

/// The charset that the header names, or the page itself in its first kilobyte.
fn charset(seen: &ResponseView<'_>) -> Option<&'static Encoding> {
    let header = seen.headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let head = &seen.body[..seen.body.len().min(1024)];
    [header, head].into_iter().find_map(|text| {
        let at = text.windows(8).position(|window| window.eq_ignore_ascii_case(b"charset="))? + 8;
        let label = text[at..].trim_ascii_start();
        let label = label.strip_prefix(b"\"").or_else(|| label.strip_prefix(b"'")).unwrap_or(label);
        let end = label.iter().position(|b| !(b.is_ascii_alphanumeric() || b"-_:".contains(b)));
        Encoding::for_label(&label[..end.unwrap_or(label.len())])
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use url::Url;

    use super::*;
    use crate::detect::Rules;

    fn verdict(
        expect: &Expectation,
        status: u16,
        kind: &'static str,
        body: &[u8],
        complete: bool,
    ) -> Verdict {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let url = Url::parse("https://shop.example/p/1").unwrap();
        let (requested, tier) = (&url, None);
        let seen = ResponseView {
            tier,
            status,
            headers: &headers,
            url: &url,
            requested,
            body,
            complete,
            via_proxy: false,
        };
        Rules::shipped().classify_with_expectation(&seen, expect)
    }

    const HTML: &str = "text/html";
    const PAGE: &[u8] = b"<!doctype html><title>Desk</title><div id=\"price\">349</div><p>In stock</p>";

    #[test]
    fn a_200_that_misses_what_is_expected_is_a_stub_and_says_what() {
        let table: [(Expectation, &[u8], &str); 7] = [
            (Expectation::default().css("#price").unwrap(), PAGE, ""),
            (Expectation::default().css("#stars").unwrap(), PAGE, "expect/css: no #stars"),
            (Expectation::default().css("#price").unwrap(), b"<p>price</p>", "expect/css: no #price"),
            (Expectation::default().text("In stock"), PAGE, ""),
            (Expectation::default().text("Sold out"), PAGE, "expect/text: no `Sold out`"),
            (
                Expectation::default().min_bytes(500),
                PAGE,
                "expect/min-bytes: 74 bytes, at least 500 expected",
            ),
            (
                Expectation::default().usual_bytes(9000),
                PAGE,
                "expect/usual-bytes: 74 bytes, at least 900 expected",
            ),
        ];
        for (expect, body, said) in table {
            let verdict = verdict(&expect, 200, HTML, body, true);
            let told: Vec<String> =
                verdict.evidence.iter().map(|e| format!("{}: {}", e.rule, e.text)).collect();
            assert_eq!(told.join(" "), said);
            assert_eq!(verdict.kind == VerdictKind::Stub, !said.is_empty(), "{said}");
        }
    }

    #[test]
    fn only_a_whole_200_is_held_to_it() {
        let expect = Expectation::default().css("#stars").unwrap().text("Sold out").min_bytes(10_000);
        assert!(!verdict(&expect, 200, HTML, PAGE, true).is_genuine());
        assert!(verdict(&expect, 404, HTML, PAGE, true).is_genuine());
        assert!(verdict(&expect, 200, HTML, PAGE, false).is_genuine(), "the answer to HEAD has no body");
        assert_eq!(verdict(&expect, 429, HTML, PAGE, true).kind, VerdictKind::RateLimit);
    }

    #[test]
    fn what_lies_beyond_the_prefix_is_not_held_against_a_page() {
        let expect = Expectation::default().css("#stars").unwrap().text("Sold out").min_bytes(10_000);
        let large = [PAGE, &b"<p>x</p>".repeat(PREFIX / 8)].concat();
        assert!(verdict(&expect, 200, HTML, &large, true).is_genuine());
    }

    #[test]
    fn an_element_is_not_asked_of_json_and_a_size_is() {
        let expect = Expectation::default().css("#stars").unwrap();
        assert!(verdict(&expect, 200, "application/json", b"{}", true).is_genuine());
        let expect = expect.min_bytes(100);
        assert!(!verdict(&expect, 200, "application/json", b"{}", true).is_genuine());
    }

    #[test]
    fn a_text_is_looked_for_in_the_pages_own_charset() {
        let (body, _, _) = encoding_rs::SHIFT_JIS.encode("<p>\u{5728}\u{5eab}\u{3042}\u{308a}</p>");
        let expect = Expectation::default().text("\u{5728}\u{5eab}\u{3042}\u{308a}");
        assert!(verdict(&expect, 200, "text/html; charset=Shift_JIS", &body, true).is_genuine());
        assert!(!verdict(&expect, 200, "text/html; charset=utf-8", &body, true).is_genuine());
        let told = [&b"<meta charset=\"shift_jis\">"[..], &body].concat();
        assert!(verdict(&expect, 200, HTML, &told, true).is_genuine());
    }

    #[test]
    fn a_selector_that_is_none_is_an_error_of_the_settings() {
        let error = Expectation::default().css("div + p").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`div + p`"), "{error}");
    }
}
