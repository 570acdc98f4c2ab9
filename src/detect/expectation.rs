//! Requirements on a target's pages. A 200 that does not meet them is a stub.

use super::content_kind::ContentKind;
use super::selector::Selector;
use super::text::{contains, contains_ignore_case};
use super::{PREFIX, ResponseView, html};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::verdict::{Evidence, Verdict, VerdictKind};
use crate::text::charset;

/// A page smaller than the usual size divided by this number is a stub.
const MIN_USUAL_SHARE: usize = 10;

/// Requirements on the pages of one target. Default: none.
///
/// They apply only to a 200 that no rule classifies as a block; a 404 or an empty 204 is a genuine response. Content
/// beyond the first [`PREFIX`] bytes is not checked and counts as present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    css: Option<Selector>,
    text: Option<String>,
    min_bytes: Option<usize>,
    usual_bytes: Option<usize>,
    /// The learned page size is not checked.
    ignores_learned_size: bool,
}

impl Expectation {
    /// Requires an element: `tag#id.class[attr*=\"v\"]`, or two such selectors joined by a space or `>`.
    ///
    /// A page of more than 64 KiB or 1000 tags is not parsed. Its source must then contain the longest word of the
    /// selector.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the selector has another form.
    pub fn css(mut self, selector: &str) -> Result<Self> {
        self.css = Some(Selector::parse(selector).map_err(|message| Error::new(ErrorKind::Config, message))?);
        Ok(self)
    }

    /// Requires a text in the body, exact and in the page's charset.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Requires a minimum body size, in bytes after content decoding.
    #[must_use]
    pub const fn min_bytes(mut self, bytes: usize) -> Self {
        self.min_bytes = Some(bytes);
        self
    }

    /// Sets the usual body size, in bytes. A page of less than a tenth of it is a stub.
    #[must_use]
    pub const fn usual_bytes(mut self, bytes: usize) -> Self {
        self.usual_bytes = Some(bytes);
        self
    }

    /// Whether a page far smaller than the learned size of similar pages is a stub. A size set with
    /// [`min_bytes`](Self::min_bytes) or [`usual_bytes`](Self::usual_bytes) replaces the learned one. Default: true.
    #[must_use]
    pub const fn check_usual_size(mut self, enabled: bool) -> Self {
        self.ignores_learned_size = !enabled;
        self
    }

    /// Id of the rule that rejects a page smaller than usual.
    pub(crate) const USUAL_BYTES: &str = "expect/usual-bytes";

    /// Whether the learned size is checked.
    pub(crate) const fn allows_learned_size(&self) -> bool {
        !self.ignores_learned_size && self.min_bytes.is_none() && self.usual_bytes.is_none()
    }

    /// Whether the response is smaller than its usual size allows.
    pub(crate) fn is_too_small(&self, view: &ResponseView<'_>) -> bool {
        self.usual_bytes.is_some_and(|usual| view.body.len() < usual / MIN_USUAL_SHARE)
    }

    /// Whether there are no requirements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns a stub verdict if the page does not meet a requirement, else `None`.
    pub(super) fn check(&self, view: &ResponseView<'_>) -> Option<Verdict> {
        if view.status != 200 {
            return None;
        }
        let missing = [
            self.css.as_ref().and_then(|selector| check_css(selector, view)),
            self.text.as_ref().and_then(|text| check_text(text, view)),
            self.min_bytes.and_then(|minimum| check_size("expect/min-bytes", minimum, view)),
            self.usual_bytes.and_then(|usual| check_size(Self::USUAL_BYTES, usual / MIN_USUAL_SHARE, view)),
        ];
        let evidence: Vec<Evidence> = missing.into_iter().flatten().collect();
        (!evidence.is_empty()).then_some(Verdict {
            kind: VerdictKind::Stub,
            vendor: None,
            confidence: 0.9,
            evidence,
        })
    }
}

fn check_css(selector: &Selector, view: &ResponseView<'_>) -> Option<Evidence> {
    let body = &view.body[..view.body.len().min(PREFIX)];
    if !view.complete || ContentKind::from_response(view.headers, body) != ContentKind::Html {
        return None;
    }
    let is_found = contains_ignore_case(body, selector.token().as_bytes())
        && html::parse(view.body).is_none_or(|document| html::has_element(&document, selector));
    // The unread rest of a larger page may contain it.
    let is_cut = view.body.len() > PREFIX;
    (!is_found && !is_cut)
        .then(|| missing_evidence("expect/css", "element", &format!("no {}", selector.as_str())))
}

fn check_text(text: &str, view: &ResponseView<'_>) -> Option<Evidence> {
    if !view.complete || view.body.len() > PREFIX {
        return None;
    }
    let has = |needle: &[u8]| !needle.is_empty() && contains(view.body, needle);
    let is_found =
        has(text.as_bytes()) || has(&charset::encoding(view.headers, view.url, view.body).encode(text).0);
    (!is_found).then(|| missing_evidence("expect/text", "body", &format!("no `{text}`")))
}

fn check_size(rule: &str, minimum: usize, view: &ResponseView<'_>) -> Option<Evidence> {
    let bytes = view.body.len();
    (view.complete && bytes < minimum)
        .then(|| missing_evidence(rule, "size", &format!("{bytes} bytes, at least {minimum} expected")))
}

fn missing_evidence(rule: &str, place: &str, text: &str) -> Evidence {
    Evidence { rule: rule.to_owned(), place: place.to_owned(), text: text.chars().take(120).collect() }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};
    use url::Url;

    use super::*;
    use crate::detect::Rules;

    fn verdict(
        expectation: &Expectation,
        status: u16,
        kind: &'static str,
        body: &[u8],
        complete: bool,
    ) -> Verdict {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let url = Url::parse("https://shop.example/p/1").unwrap();
        let (requested, tier) = (&url, None);
        let view = ResponseView {
            tier,
            status,
            headers: &headers,
            url: &url,
            requested,
            body,
            complete,
            via_proxy: false,
        };
        Rules::shipped().classify_with_expectation(&view, expectation)
    }

    const HTML: &str = "text/html";
    const PAGE: &[u8] = b"<!doctype html><title>Desk</title><div id=\"price\">349</div><p>In stock</p>";

    #[test]
    fn a_200_that_misses_a_requirement_is_a_stub_with_evidence() {
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
        for (expectation, body, expected) in table {
            let verdict = verdict(&expectation, 200, HTML, body, true);
            let evidence: Vec<String> =
                verdict.evidence.iter().map(|e| format!("{}: {}", e.rule, e.text)).collect();
            assert_eq!(evidence.join(" "), expected);
            assert_eq!(verdict.kind == VerdictKind::Stub, !expected.is_empty(), "{expected}");
        }
    }

    #[test]
    fn only_a_complete_200_is_checked() {
        let expectation = Expectation::default().css("#stars").unwrap().text("Sold out").min_bytes(10_000);
        assert!(!verdict(&expectation, 200, HTML, PAGE, true).is_genuine());
        assert!(verdict(&expectation, 404, HTML, PAGE, true).is_genuine());
        assert!(verdict(&expectation, 200, HTML, PAGE, false).is_genuine(), "a response to HEAD has no body");
        assert_eq!(verdict(&expectation, 429, HTML, PAGE, true).kind, VerdictKind::RateLimit);
    }

    #[test]
    fn content_beyond_the_prefix_counts_as_present() {
        let expectation = Expectation::default().css("#stars").unwrap().text("Sold out").min_bytes(10_000);
        let large = [PAGE, &b"<p>x</p>".repeat(PREFIX / 8)].concat();
        assert!(verdict(&expectation, 200, HTML, &large, true).is_genuine());
    }

    #[test]
    fn json_is_checked_for_its_size_but_not_for_an_element() {
        let expectation = Expectation::default().css("#stars").unwrap();
        assert!(verdict(&expectation, 200, "application/json", b"{}", true).is_genuine());
        let expectation = expectation.min_bytes(100);
        assert!(!verdict(&expectation, 200, "application/json", b"{}", true).is_genuine());
    }

    #[test]
    fn a_text_is_searched_in_the_pages_charset() {
        let (body, _, _) = encoding_rs::SHIFT_JIS.encode("<p>\u{5728}\u{5eab}\u{3042}\u{308a}</p>");
        let expectation = Expectation::default().text("\u{5728}\u{5eab}\u{3042}\u{308a}");
        assert!(verdict(&expectation, 200, "text/html; charset=Shift_JIS", &body, true).is_genuine());
        assert!(!verdict(&expectation, 200, "text/html; charset=utf-8", &body, true).is_genuine());
        let declared = [&b"<meta charset=\"shift_jis\">"[..], &body].concat();
        assert!(verdict(&expectation, 200, HTML, &declared, true).is_genuine());
    }

    #[test]
    fn an_invalid_selector_is_a_config_error() {
        let error = Expectation::default().css("div + p").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`div + p`"), "{error}");
    }
}
