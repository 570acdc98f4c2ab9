//! Finds where a page declares to refresh to: the `Refresh` header, or `meta http-equiv=refresh`. Pure.

use std::time::Duration;

use ego_tree::NodeRef;
use encoding_rs::{Encoding, UTF_8};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use scraper::Node;
use url::Url;

use super::redirect;
use crate::exchange::error::Result;
use crate::exchange::request::{Context, Request};
use crate::text::charset;
use crate::text::html::{self, ParseLimits, WorkLimit};

/// A refresh to another URL after a delay.
#[derive(Debug, PartialEq)]
pub(crate) struct Refresh {
    pub(crate) delay: Duration,
    pub(crate) url: Url,
}

/// Whether a refresh of the response is a redirect: the response to a navigation, and an HTML page that is shown.
pub(super) fn is_possible(request: &Request, headers: &HeaderMap) -> bool {
    let is_navigation = matches!(request.context, Context::Navigation | Context::Reload | Context::Form);
    let essence = charset::essence(headers);
    let is_html = essence.is_empty() || essence == "text/html" || essence == "application/xhtml+xml";
    let is_attachment = headers.get(header::CONTENT_DISPOSITION).is_some_and(|value| {
        value.as_bytes().trim_ascii_start().to_ascii_lowercase().starts_with(b"attachment")
    });
    request.follows_refresh && is_navigation && is_html && !is_attachment
}

/// Whether [`find`] may find a refresh. Fast.
pub(super) fn may_contain(headers: &HeaderMap, body: &[u8]) -> bool {
    let is_wide = body.len() > 1
        && (body[..2].contains(&0) || body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff"));
    let contains = || {
        let mut starts = memchr::memchr2_iter(b'r', b'R', body);
        starts.any(|at| body.get(at..at + WORD.len()).is_some_and(|word| word.eq_ignore_ascii_case(WORD)))
    };
    headers.contains_key(header::REFRESH) || is_wide || contains()
}

/// Returns the refresh that Chromium would make of this page within [`MAX_DELAY`]. `body` is its start.
pub(crate) fn find(headers: &HeaderMap, url: &Url, body: &[u8]) -> Option<Refresh> {
    if charset::essence(headers).is_empty() && !body.trim_ascii_start().starts_with(b"<") {
        return None;
    }
    let mut found = None;
    let lines: Vec<String> = headers.get_all(header::REFRESH).iter().map(latin1).collect();
    consider(&mut found, &lines.join(", "), url, UTF_8);
    let encoding = charset::encoding(headers, url, body);
    let (text, _, _) = encoding.decode(body);
    let work = WorkLimit::start(MAX_TIME, None);
    let (html, _) = html::parse(&text, ParseLimits { nodes: MAX_NODES, depth: MAX_DEPTH }, &work);
    let mut base = None;
    for node in html.tree.nodes().take_while(|_| !work.is_over()) {
        let Some(element) = node.value().as_element() else { continue };
        match element.name() {
            "base" if base.is_none() => {
                base = element.attr("href").and_then(|href| charset::resolve_url(url, encoding, href));
            }
            "meta" if element.attr("http-equiv").is_some_and(|name| name.eq_ignore_ascii_case("refresh")) => {
                if let Some(content) = element.attr("content").filter(|_| !is_inert(node)) {
                    consider(&mut found, content, base.as_ref().unwrap_or(url), encoding);
                }
            }
            _ => {}
        }
    }
    found.filter(|refresh| refresh.delay <= MAX_DELAY)
}

/// Returns the request of a refresh: a GET as after a 303. `initiator` is the page's request.
pub(super) fn next_request(initiator: &Request, url: &Url, is_browser: bool) -> Result<Option<Request>> {
    let Ok(location) = HeaderValue::from_str(url.as_str()) else { return Ok(None) };
    let headers = HeaderMap::from_iter([(header::LOCATION, location)]);
    let Some(mut next) = redirect::next_request(initiator, StatusCode::SEE_OTHER, &headers)? else {
        return Ok(None);
    };
    next.url.set_fragment(url.fragment());
    if is_browser {
        // The page navigates, not the user.
        redirect::set_referer(&mut next, &initiator.url);
        next.removed.push(HeaderName::from_static("sec-fetch-user"));
    }
    next.context = Context::Navigation;
    Ok(Some(next))
}

/// Whether an element is not part of the shown document.
fn is_inert(node: NodeRef<'_, Node>) -> bool {
    let mut elements = node.ancestors().filter_map(|ancestor| ancestor.value().as_element());
    elements.any(|element| matches!(element.name(), "template" | "noscript"))
}

/// Takes a refresh unless one with a shorter delay was found, as Chromium does.
fn consider(found: &mut Option<Refresh>, content: &str, base: &Url, encoding: &'static Encoding) {
    let Some((delay, target)) = parse(content) else { return };
    let url =
        if target.is_empty() { Some(base.clone()) } else { charset::resolve_url(base, encoding, target) };
    let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) else {
        return;
    };
    if found.as_ref().is_none_or(|earlier| delay <= earlier.delay) {
        *found = Some(Refresh { delay, url });
    }
}

/// Parses delay and URL: the "shared declarative refresh steps" of the HTML standard, as Chromium has them.
fn parse(text: &str) -> Option<(Duration, &str)> {
    let text = text.trim_start_matches(is_space);
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let delay = parse_delay(&text[..number_end])?;
    let rest = &text[number_end..];
    if rest.is_empty() {
        return Some((delay, ""));
    }
    if !rest.starts_with(|c: char| is_space(c) || matches!(c, ';' | ',')) {
        return None;
    }
    let rest = rest.trim_start_matches(is_space);
    let rest = rest.strip_prefix([';', ',']).unwrap_or(rest).trim_start_matches(is_space);
    let url = strip_name(rest).unwrap_or(rest);
    let url = match url.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        Some(quote) => {
            let quoted = &url[1..];
            &quoted[..quoted.find(quote).unwrap_or(quoted.len())]
        }
        None => url,
    };
    Some((delay, url.trim_matches(|c| c <= ' ')))
}

/// Removes `url =`.
fn strip_name(text: &str) -> Option<&str> {
    let name = text.get(..3).filter(|name| name.eq_ignore_ascii_case("url"))?;
    let value = text[name.len()..].trim_start_matches(is_space).strip_prefix('=')?;
    Some(value.trim_start_matches(is_space))
}

/// Parses a number. What follows a second point is left out.
fn parse_delay(text: &str) -> Option<Duration> {
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let fraction = rest.split('.').next().unwrap_or_default();
    let seconds: f64 = format!("0{whole}.{fraction}0").parse().ok()?;
    // A delay beyond the range of the clock is longer than any limit.
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

fn latin1(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}

const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

const WORD: &[u8] = b"refresh";
/// The longest delay of a refresh that is followed.
const MAX_DELAY: Duration = Duration::from_secs(5);
/// Maximum nodes and levels of the parsed start of a page.
const MAX_NODES: usize = 100_000;
const MAX_DEPTH: usize = 512;
/// Maximum time for the search of one page.
const MAX_TIME: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(&'static str, &'static [u8])], page: &[u8]) -> Option<(u128, String)> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap()))
            .collect();
        let refresh = find(&headers, &"http://a.test/p/".parse().unwrap(), page)?;
        let url = refresh.url.as_str();
        Some((refresh.delay.as_millis(), url.strip_prefix("http://a.test/p/").unwrap_or(url).to_owned()))
    }

    /// What Chromium 156 requests.
    #[test]
    fn the_value_is_parsed_as_by_chromium() {
        for (value, expected) in [
            ("0; url=t", Some((0, "t"))),
            ("0,url=t", Some((0, "t"))),
            ("0 url=t", Some((0, "t"))),
            ("0 t", Some((0, "t"))),
            ("0;t", Some((0, "t"))),
            ("0; URL = t", Some((0, "t"))),
            (" 0\n;\turl=\tt ", Some((0, "t"))),
            ("0; url='t' x", Some((0, "t"))),
            ("0; url='t", Some((0, "t"))),
            ("0; url=\"t\"x", Some((0, "t"))),
            ("0;'t'", Some((0, "t"))),
            ("0;url=t ; x", Some((0, "t%20;%20x"))),
            ("0;url= t t", Some((0, "t%20t"))),
            ("0;url==t", Some((0, "=t"))),
            ("0; url", Some((0, "url"))),
            ("0; ur=t", Some((0, "ur=t"))),
            ("0; urlt", Some((0, "urlt"))),
            ("0; url t", Some((0, "url%20t"))),
            ("0;;url=t", Some((0, ";url=t"))),
            ("0 ;,url=t", Some((0, ",url=t"))),
            ("0.9; url=t", Some((900, "t"))),
            (".5; url=t", Some((500, "t"))),
            ("1.2.3;url=t", Some((1200, "t"))),
            ("0", Some((0, ""))),
            ("0;", Some((0, ""))),
            ("0; url=", Some((0, ""))),
            ("0; url=//b.test/x", Some((0, "http://b.test/x"))),
            ("0; url=#x", Some((0, "#x"))),
            ("5; url=t", Some((5000, "t"))),
            ("5.1; url=t", None),
            ("99999999999999999999999; url=t", None),
            ("0url=t", None),
            ("0x;url=t", None),
            ("..; url=t", None),
            ("-1; url=t", None),
            ("+0; url=t", None),
            ("x; url=t", None),
            ("; url=t", None),
            ("", None),
            ("0; url=javascript:alert(1)", None),
            ("0; url=data:text/html,x", None),
            ("0;url=http://[", None),
        ] {
            let expected = expected.map(|(delay, url)| (delay, url.to_owned()));
            let page = format!("<meta http-equiv=refresh content=\"{}\">", value.replace('"', "&quot;"));
            assert_eq!(found(&[("content-type", b"text/html")], page.as_bytes()), expected, "{value:?}");
            if !value.contains('\n') {
                let mut headers = HeaderMap::new();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
                headers.insert(header::REFRESH, HeaderValue::from_str(value).unwrap());
                let refresh = find(&headers, &"http://a.test/p/".parse().unwrap(), b"");
                assert_eq!(refresh.is_some(), expected.is_some(), "{value:?}");
            }
        }
    }

    #[test]
    fn the_shortest_delay_of_the_shown_document_applies() {
        const META: &str = "<meta http-equiv=refresh content=";
        let html: &[(&str, &[u8])] = &[("content-type", b"text/html")];
        for (page, expected) in [
            (format!("{META}'0;url=a'>{META}'0;url=b'>"), Some((0, "b"))),
            (format!("{META}'2;url=a'>{META}'1;url=b'>"), Some((1000, "b"))),
            (format!("{META}'1;url=a'>{META}'2;url=b'>"), Some((1000, "a"))),
            (format!("{META}'x'>{META}'0;url=javascript:1'>{META}'0;url=b'>"), Some((0, "b"))),
            (format!("<noscript>{META}'0;url=a'></noscript>"), None),
            (format!("<body><noscript>{META}'0;url=a'></noscript>"), None),
            (format!("<template>{META}'0;url=a'></template>"), None),
            (format!("<textarea>{META}'0;url=a'></textarea><!--{META}'0;url=a'>-->"), None),
            (format!("<svg>{META}'0;url=a'></svg>"), Some((0, "a"))),
            (format!("<body><p>x{META}'0;url=a'>"), Some((0, "a"))),
            (format!("<base href=b/>{META}'0;url=a'>"), Some((0, "b/a"))),
            (format!("{META}'0;url=a'><base href=b/>"), Some((0, "a"))),
            ("<META CONTENT='0;URL=a' CONTENT='0;URL=b' HTTP-EQUIV=REFRESH>".to_owned(), Some((0, "a"))),
            ("<meta http-equiv=' refresh' content='0;url=a'>".to_owned(), None),
            (
                format!("<meta charset=windows-1251>{META}'0;url=/&#x446;?&#x446;'>"),
                Some((0, "http://a.test/%D1%86?%F6")),
            ),
        ] {
            let expected = expected.map(|(delay, url)| (delay, url.to_owned()));
            assert_eq!(found(html, page.as_bytes()), expected, "{page}");
        }
        let page = format!("{META}'0;url=b'>");
        let (kind, later) = (("content-type", &b"text/html"[..]), ("refresh", &b"1;url=a"[..]));
        assert_eq!(found(&[kind, later], page.as_bytes()), Some((0, "b".to_owned())));
        assert_eq!(found(&[kind, ("refresh", b"0;url=a")], page.as_bytes()), Some((0, "b".to_owned())));
        assert_eq!(found(&[kind, ("refresh", b"0;url=t?\xe9")], b""), Some((0, "t?%C3%A9".to_owned())));
        assert_eq!(found(&[], page.as_bytes()), Some((0, "b".to_owned())));
        assert_eq!(found(&[("refresh", b"0;url=a")], b"text"), None);
        let wide: Vec<u8> = page.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide = [b"\xff\xfe", &wide[..]].concat();
        assert!(may_contain(&HeaderMap::new(), &wide));
        assert_eq!(found(html, &wide), Some((0, "b".to_owned())));
        assert!(
            may_contain(&HeaderMap::new(), b"<meta http-equiv=REFRESH>")
                && !may_contain(&HeaderMap::new(), b"rr")
        );
    }

    #[test]
    fn a_refresh_is_a_get_that_keeps_no_secret_of_another_origin() {
        let mut request = Request::get("http://u:p@a.test/form#x".parse().unwrap());
        request.method = http::Method::POST;
        request.body = Some("x=1".into());
        request.headers = vec![
            (header::AUTHORIZATION, HeaderValue::from_static("Bearer t")),
            (header::ACCEPT, HeaderValue::from_static("*/*")),
        ];
        let names =
            |request: &Request| request.headers.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
        let other = next_request(&request, &"http://b.test/".parse().unwrap(), true).unwrap().unwrap();
        assert_eq!(
            (other.method.as_str(), other.body.is_none(), other.url.as_str()),
            ("GET", true, "http://b.test/")
        );
        assert_eq!(names(&other), ["accept", "referer"]);
        assert_eq!(other.headers[1].1, "http://a.test/form");
        let same = next_request(&request, &"http://a.test/".parse().unwrap(), false).unwrap().unwrap();
        assert_eq!(names(&same), ["authorization", "accept"]);
        assert_eq!(same.url.as_str(), "http://u:p@a.test/");
    }

    #[test]
    fn only_navigations_to_html_are_refreshed() {
        let html = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
        let mut request = Request::get("http://a.test/".parse().unwrap());
        assert!(!is_possible(&request, &html));
        request.follows_refresh = true;
        assert!(is_possible(&request, &html) && is_possible(&request, &HeaderMap::new()));
        for (name, value) in
            [("content-type", "text/plain"), ("content-disposition", " Attachment; filename=a")]
        {
            let mut headers = html.clone();
            headers.insert(name, HeaderValue::from_static(value));
            assert!(!is_possible(&request, &headers), "{name}");
        }
        request.context = Context::Fetch;
        assert!(!is_possible(&request, &html));
    }

    proptest::proptest! {
        #[test]
        fn no_value_causes_a_panic(value in "[0-9.;, url=URL'\"\\t\\n\\x00é]{0,20}", any in "\\PC{0,20}") {
            let _ = (parse(&value), parse(&any));
            let page = format!("<meta http-equiv=refresh content=\"{value}\">{any}");
            let headers = HeaderMap::new();
            let _ = find(&headers, &"http://a.test/".parse().unwrap(), page.as_bytes());
        }
    }
}
