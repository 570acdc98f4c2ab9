//! Reads HTML: the title, the visible text, and whether an element matches.

use std::time::Duration;

use memchr::memchr_iter;
use scraper::{ElementRef, Html};

use super::selector::Selector;
use crate::text::html::{self, ParseLimits, WorkLimit};

/// Maximum size of a page that is parsed, in bytes. Every known block page is far smaller.
const MAX_PARSED: usize = 64 * 1024;

/// Maximum number of tags in a page that is parsed.
const MAX_TAGS: usize = 1000;

/// Maximum nodes and levels of the tree, since misnested tags can make it grow with the square of their number, and
/// maximum time for it.
const LIMITS: ParseLimits = ParseLimits { nodes: 20_000, depth: 2 * MAX_TAGS };
const MAX_TIME: Duration = Duration::from_secs(2);

/// Maximum size of a blank page in bytes, and the elements that show nothing by themselves.
const MAX_BLANK_LEN: usize = 4096;
const STRUCTURAL_TAGS: [&str; 10] =
    ["!doctype", "html", "head", "meta", "title", "body", "div", "p", "span", "br"];

/// Maximum length of a short text in characters, and the elements whose text is not visible.
const MAX_SHORT_TEXT: usize = 200;
const INVISIBLE_TAGS: [&str; 4] = ["script", "style", "title", "noscript"];

/// The first bytes of a page in which its title is searched, and the maximum length of the title in bytes.
const TITLE_SEARCH_LEN: usize = 64 * 1024;
const MAX_TITLE_LEN: usize = 1024;

/// Returns the page's title with decoded entities and collapsed white space, if it has one.
pub(crate) fn title(body: &[u8]) -> Option<String> {
    let head = &body[..body.len().min(TITLE_SEARCH_LEN)];
    let start = find_tag(head, b"<title")?;
    let rest = &head[start..];
    let end = find_tag(rest, b"</title").unwrap_or(rest.len()).min(MAX_TITLE_LEN);
    if let Some(text) = rest[..end].strip_prefix(b"<title>").filter(|text| is_plain(text)) {
        return Some(collapse_white_space(&String::from_utf8_lossy(text)));
    }
    // Parsing the element alone makes the cost independent of the page.
    let element = String::from_utf8_lossy(&rest[..end]);
    let document = parse_text(&element);
    let title = elements(&document).find(|element| element.value().name() == "title")?;
    Some(collapse_white_space(&title.text().collect::<String>()))
}

/// Whether a title needs no parsing: it has no entities, tags or NULs.
fn is_plain(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'&' | b'<' | 0))
}

pub(super) fn collapse_white_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Parses the page if it is small and simple enough.
pub(super) fn parse(body: &[u8]) -> Option<Html> {
    is_parsable(body).then(|| parse_text(&String::from_utf8_lossy(body)))
}

fn parse_text(text: &str) -> Html {
    html::parse(text, LIMITS, &WorkLimit::start(MAX_TIME, None)).0
}

fn elements(document: &Html) -> impl Iterator<Item = ElementRef<'_>> {
    document.tree.nodes().filter_map(ElementRef::wrap)
}

/// Whether a page is small and simple enough to be parsed.
pub(super) fn is_parsable(body: &[u8]) -> bool {
    let is_tag = |at: &usize| body.get(at + 1).is_some_and(u8::is_ascii_alphabetic);
    body.len() <= MAX_PARSED && memchr_iter(b'<', body).filter(is_tag).count() <= MAX_TAGS
}

/// Whether an element of the page matches.
pub(super) fn has_element(document: &Html, selector: &Selector) -> bool {
    elements(document).any(|element| selector.matches(element))
}

/// Returns the visible text with collapsed white space, if it has 1 to 200 characters.
///
/// Titles, scripts and styles are not visible. Text that a script would add is not included.
pub(super) fn short_text(body: &[u8]) -> Option<String> {
    if body.len() > MAX_BLANK_LEN {
        return None;
    }
    let text = without_comments(&String::from_utf8_lossy(body));
    let mut visible = String::new();
    let mut inside: Option<String> = None;
    let mut pieces = text.split('<');
    visible.push_str(pieces.next().unwrap_or(""));
    for piece in pieces {
        let (tag, after) = piece.split_once('>').unwrap_or((piece, ""));
        let name = tag_name(tag).to_ascii_lowercase();
        match &inside {
            Some(open) if tag.starts_with('/') && *open == name => inside = None,
            Some(_) => continue,
            None if INVISIBLE_TAGS.contains(&name.as_str()) && !tag.starts_with('/') => {
                inside = Some(name);
                continue;
            }
            None => {}
        }
        visible.push(' ');
        visible.push_str(after);
    }
    let joined = collapse_white_space(&visible);
    (!joined.is_empty() && joined.chars().count() <= MAX_SHORT_TEXT).then_some(joined)
}

fn tag_name(tag: &str) -> &str {
    tag.trim_start_matches('/').split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or("")
}

/// Removes HTML comments. A comment without an end extends to the end of the text.
fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let first = parts.next().unwrap_or("").to_owned();
    parts.fold(first, |result, part| result + part.split_once("-->").map_or("", |(_, after)| after))
}

/// Whether a page is blank: it has no text, no title and only structural elements.
pub(super) fn is_blank(body: &[u8]) -> bool {
    if body.len() > MAX_BLANK_LEN {
        return false;
    }
    let text = without_comments(&String::from_utf8_lossy(body));
    // A fragment that a script requested may be empty, so the page needs an `html` or `body` tag.
    if !["<html", "<body"].iter().any(|tag| find_tag(body, tag.as_bytes()).is_some()) {
        return false;
    }
    let mut pieces = text.split('<');
    let before = pieces.next().unwrap_or("");
    before.trim_matches(is_space).is_empty()
        && pieces.all(|piece| {
            let (tag, after) = piece.split_once('>').unwrap_or((piece, ""));
            let is_structural = STRUCTURAL_TAGS.iter().any(|known| known.eq_ignore_ascii_case(tag_name(tag)));
            let redirects = tag.to_ascii_lowercase().contains("http-equiv=\"refresh");
            is_structural && !redirects && after.replace("&nbsp;", "").trim_matches(is_space).is_empty()
        })
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{feff}' | '\u{a0}')
}

/// Returns the position of the first tag that starts with `tag`: `<` and a lower-case name.
fn find_tag(html: &[u8], tag: &[u8]) -> Option<usize> {
    let is_tag =
        |at: &usize| html.get(*at..at + tag.len()).is_some_and(|found| found.eq_ignore_ascii_case(tag));
    memchr_iter(b'<', html).find(is_tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_decoded_and_its_white_space_collapsed() {
        let table: [(&[u8], Option<&str>); 6] = [
            (
                b"<html><head><TITLE lang=en>\n Making sure you&#39;re\n not a bot! </TITLE>",
                Some("Making sure you're not a bot!"),
            ),
            (b"<title>never closed", Some("never closed")),
            (b"<title></title>", Some("")),
            (b"<title", None),
            (b"<p>no title</p>", None),
            (b"<title>\xff\xfe</title>", Some("\u{fffd}\u{fffd}")),
        ];
        for (body, expected) in table {
            assert_eq!(title(body).as_deref(), expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_page_without_text_or_elements_that_load_text_is_blank() {
        for blank in [
            "\u{feff}<html>",
            "<!DOCTYPE html>\n<html><head><meta charset=utf-8><title></title></head><body>\n</body></html>",
            "<html><body><!-- node 7 --></body></html>",
            "<html><body><div id=\"x\"><p>&nbsp;</p></div><br/></body></html>",
        ] {
            assert!(is_blank(blank.as_bytes()), "{blank}");
        }
        for page in [
            "pong",
            "",
            "<div id=results></div>",
            "<html><p>1</p>",
            "<html><title>a</title>",
            "<html><div id=app></div><script src=a></script>",
            "<html><meta http-equiv=\"refresh\" content=\"0; url=/\">",
            "<html><frameset><frame src=a></frameset>",
            "<body><img src=a>",
        ] {
            assert!(!is_blank(page.as_bytes()), "{page}");
        }
    }

    #[test]
    fn the_short_text_of_a_page_is_its_visible_text() {
        let table: [(&str, Option<&str>); 7] = [
            ("Rate limit exceeded.\n", Some("Rate limit exceeded.")),
            ("<html><title>x</title><body><h1>Access\n denied</h1></body></html>", Some("Access denied")),
            ("<script>if (a<b) { c>d }</script><p>No<!-- <p>yes</p> --></p>", Some("No")),
            ("<style>p{}</style>", None),
            ("<!-- never closed <p>a</p>", None),
            ("", None),
            (&"word ".repeat(60), None),
        ];
        for (body, expected) in table {
            assert_eq!(short_text(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn the_deepest_page_that_is_parsed_does_not_exhaust_the_stack() {
        let deep = "<div>".repeat(MAX_TAGS);
        assert!(parse(deep.as_bytes()).is_some());
        assert!(parse("<b>".repeat(MAX_TAGS + 1).as_bytes()).is_none(), "one more tag is too many");
    }

    #[test]
    fn misnested_formatting_within_the_limit_stays_small() {
        let open: String =
            (0..MAX_TAGS / 2).map(|index| ["<i a=", &index.to_string(), ">"].concat()).collect();
        let page = ["<p>", &open, &"</p><p>x".repeat(MAX_TAGS / 2 - 1)].concat();
        let document = parse(page.as_bytes()).unwrap();
        // One piece of the page may add nodes before the check.
        assert!(document.tree.nodes().len() <= 10 * LIMITS.nodes, "{}", document.tree.nodes().len());
    }
}
