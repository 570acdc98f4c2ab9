//! Reading HTML: the title, and whether an element is there.

use select::document::Document;
use select::node::Node;
use select::predicate::Name;

use super::selector::Selector;

/// The largest page that is parsed for elements. Every known block page is far smaller.
const MAX_PARSED: usize = 64 * 1024;

/// The most tags such a page may have: the parser's tree is walked by recursion, and misnested tags
/// can make it grow with the square of their number.
const MAX_TAGS: usize = 1000;

/// How far into a page its title is looked for, and how long it may be.
const TITLE_WITHIN: usize = 64 * 1024;
const TITLE_LENGTH: usize = 1024;

/// The page's title with entities decoded and white space joined, if it has one.
pub(super) fn title(body: &[u8]) -> Option<String> {
    let head = &body[..body.len().min(TITLE_WITHIN)];
    let start = find_nocase(head, b"<title")?;
    let rest = &head[start..];
    let end = find_nocase(rest, b"</title").unwrap_or(rest.len()).min(TITLE_LENGTH);
    // One element, parsed alone: its cost does not depend on the page around it.
    let element = String::from_utf8_lossy(&rest[..end]);
    let document = Document::from(&*element);
    let text = document.find(Name("title")).next()?.text();
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The parsed page, if it is small and simple enough to be parsed at all.
pub(super) fn parse(body: &[u8]) -> Option<Document> {
    if body.len() > MAX_PARSED {
        return None;
    }
    let tags = body.windows(2).filter(|pair| pair[0] == b'<' && pair[1].is_ascii_alphabetic()).count();
    (tags <= MAX_TAGS).then(|| Document::from(&*String::from_utf8_lossy(body)))
}

/// Whether an element of the page matches.
pub(super) fn has(document: &Document, selector: &Selector) -> bool {
    document.find(|node: &Node<'_>| selector.matches(node)).next().is_some()
}

fn find_nocase(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window.eq_ignore_ascii_case(needle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_decoded_and_its_white_space_joined() {
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
    fn the_deepest_page_that_is_parsed_does_not_exhaust_the_stack() {
        let deep = "<div>".repeat(MAX_TAGS);
        assert!(parse(deep.as_bytes()).is_some());
        assert!(parse("<b>".repeat(MAX_TAGS + 1).as_bytes()).is_none(), "one tag more is refused");
    }

    #[test]
    fn misnested_formatting_within_the_bound_stays_small() {
        let open: String =
            (0..MAX_TAGS / 2).map(|index| ["<i a=", &index.to_string(), ">"].concat()).collect();
        let page = ["<p>", &open, &"</p><p>x".repeat(MAX_TAGS / 2 - 1)].concat();
        let document = parse(page.as_bytes()).unwrap();
        assert!(document.nodes.len() <= MAX_TAGS * MAX_TAGS);
    }
}
