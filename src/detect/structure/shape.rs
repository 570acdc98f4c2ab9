//! The shape of a page: its texts, scripts, forms and numbers of elements.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use ego_tree::iter::Edge;
use memchr::memchr_iter;
use scraper::Node;
use scraper::node::Element;

use crate::detect::html::collapse_white_space;
use crate::text::html::{self, ParseLimits, WorkLimit};

/// The parts of a page that features are made of. Texts are in lower case.
#[derive(Default)]
pub(super) struct PageShape {
    pub(super) title: String,
    /// The visible text, with collapsed white space.
    pub(super) text: String,
    pub(super) noscript: String,
    /// The text of headings, which is part of the visible text too.
    pub(super) headings: String,
    /// Inline scripts, as written.
    pub(super) script: String,
    /// Data in scripts of a JSON type.
    pub(super) data: String,
    /// `name=value` of attributes that name or address something.
    pub(super) names: String,
    /// Number of elements by name.
    pub(super) tags: BTreeMap<String, usize>,
    /// Addresses of forms.
    pub(super) forms: Vec<String>,
    pub(super) inline_scripts: usize,
    pub(super) external_scripts: usize,
    pub(super) refreshes: bool,
    /// The page asks search engines not to list it.
    pub(super) is_unlisted: bool,
    /// The page has text that is a token, as data for a script.
    pub(super) has_token: bool,
    pub(super) passwords: usize,
    pub(super) fields: usize,
    pub(super) hidden_fields: usize,
    /// Pictures and choices (checkboxes, radio buttons) in forms.
    pub(super) form_pictures: usize,
    pub(super) choices: usize,
    /// Number of open forms and headings, while parsing.
    open_forms: usize,
    open_headings: usize,
}

impl PageShape {
    pub(super) fn parse(text: &str) -> Self {
        let (document, _) = html::parse(text, LIMITS, &WorkLimit::start(MAX_TIME, None));
        let mut shape = Self::default();
        // The element whose content is not visible text.
        let mut inside: Option<&Element> = None;
        let mut depth = 0;
        for edge in document.tree.root().traverse() {
            let (node, opens) = match edge {
                Edge::Open(node) => (node.value(), true),
                Edge::Close(node) => (node.value(), false),
            };
            match node {
                Node::Element(element) if !opens && depth == 0 && element.name() == "form" => {
                    shape.open_forms = shape.open_forms.saturating_sub(1);
                }
                Node::Element(element) if !opens && depth == 0 && is_heading(element) => {
                    shape.open_headings = shape.open_headings.saturating_sub(1);
                }
                Node::Element(element) if opens => {
                    if inside.is_none() {
                        shape.add_element(element);
                    }
                    if depth > 0 || INVISIBLE.contains(&element.name()) {
                        depth += 1;
                        inside = inside.or(Some(element));
                    }
                }
                Node::Element(_) if depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        inside = None;
                    }
                }
                Node::Text(text) if opens => shape.add_text(text, inside),
                _ => {}
            }
        }
        shape.text = collapse_white_space(&shape.text.to_lowercase());
        shape.title = collapse_white_space(&shape.title.to_lowercase());
        shape.headings = collapse_white_space(&shape.headings.to_lowercase());
        shape.noscript = shape.noscript.to_lowercase();
        shape
    }

    fn add_element(&mut self, element: &Element) {
        let name = element.name();
        *self.tags.entry(name.to_owned()).or_default() += 1;
        let attribute = |name: &str| element.attr(name).unwrap_or("");
        let kind = attribute("type").to_ascii_lowercase();
        if name != "link" {
            for key in NAMING {
                let value = element.attr(key).filter(|value| value.len() < MAX_NAME);
                if let Some(value) = value.filter(|_| (name, key) != ("a", "href")) {
                    let _ = write!(self.names, "{key}={} ", value.to_lowercase());
                }
            }
        }
        if kind != "hidden" {
            for key in VISIBLE {
                if let Some(value) = element.attr(key).filter(|value| value.len() < MAX_NAME) {
                    self.text.push_str(value);
                    self.text.push(' ');
                }
            }
        }
        match name {
            "script" if element.attr("src").is_some() => self.external_scripts += 1,
            "script" if !kind.contains("json") => self.inline_scripts += 1,
            "meta" => {
                self.refreshes |= attribute("http-equiv").eq_ignore_ascii_case("refresh");
                self.is_unlisted |= attribute("name").eq_ignore_ascii_case("robots")
                    && attribute("content").to_ascii_lowercase().contains("noindex");
            }
            "h1" | "h2" | "h3" => self.open_headings += 1,
            "form" => {
                self.forms.push(attribute("action").to_owned());
                self.open_forms += 1;
            }
            "img" | "canvas" | "svg" if self.open_forms > 0 => self.form_pictures += 1,
            "input" => match kind.as_str() {
                "password" => self.passwords += 1,
                "hidden" => self.hidden_fields += 1,
                "checkbox" | "radio" => self.choices += 1,
                "image" => self.form_pictures += 1,
                "submit" | "button" | "reset" => {}
                _ => self.fields += 1,
            },
            "textarea" | "select" if !attribute("name").contains("recaptcha") => self.fields += 1,
            _ => {}
        }
    }

    fn add_text(&mut self, text: &str, inside: Option<&Element>) {
        let Some(element) = inside else {
            for word in text.split_ascii_whitespace() {
                if word.len() >= MIN_TOKEN && word.is_ascii() {
                    self.has_token = true;
                    continue;
                }
                for texts in [Some(&mut self.text), (self.open_headings > 0).then_some(&mut self.headings)] {
                    let Some(texts) = texts else { continue };
                    texts.push_str(word);
                    texts.push(' ');
                }
            }
            return;
        };
        match element.name() {
            "title" if self.title.is_empty() => self.title.push_str(text),
            "noscript" => self.noscript.push_str(text),
            "script" if element.attr("src").is_some() => {}
            "script" if element.attr("type").is_some_and(|kind| kind.contains("json")) => {
                self.data.push_str(text);
            }
            "script" => {
                self.script.push_str(text);
                self.script.push('\n');
            }
            _ => {}
        }
    }

    /// Returns the number of elements with one of these names.
    pub(super) fn count(&self, names: &[&str]) -> usize {
        names.iter().filter_map(|name| self.tags.get(*name)).sum()
    }

    /// Returns the number of elements that carry content.
    pub(super) fn content(&self) -> usize {
        self.count(&CONTENT)
    }

    /// Returns the length of the visible text, in letters of an alphabet: an ideograph counts four times.
    pub(super) fn text_units(&self) -> usize {
        self.text.chars().map(|c| if u32::from(c) > LAST_ALPHABET { 4 } else { 1 }).sum()
    }
}

fn is_heading(element: &Element) -> bool {
    matches!(element.name(), "h1" | "h2" | "h3")
}

/// Counts start tags of elements that carry content. Stops above `max`.
pub(super) fn count_content_tags(body: &[u8], max: usize) -> usize {
    let is_content = |at: usize| {
        let rest = &body[at + 1..];
        let end = rest.iter().take(MAX_TAG_NAME).position(|byte| !byte.is_ascii_alphanumeric());
        let name = &rest[..end.unwrap_or(rest.len().min(MAX_TAG_NAME))];
        CONTENT.iter().any(|tag| tag.as_bytes().eq_ignore_ascii_case(name))
    };
    memchr_iter(b'<', body).filter(|at| is_content(*at)).take(max + 1).count()
}

const LIMITS: ParseLimits = ParseLimits { nodes: 20_000, depth: 500 };
const MAX_TIME: Duration = Duration::from_secs(2);
/// Elements that carry content.
const CONTENT: [&str; 15] = [
    "a", "p", "li", "td", "img", "h1", "h2", "h3", "article", "dd", "option", "tr", "figure", "section",
    "label",
];
const MAX_TAG_NAME: usize = 8;
/// Elements whose content is not visible text.
const INVISIBLE: [&str; 9] =
    ["script", "style", "template", "noscript", "title", "textarea", "svg", "object", "iframe"];
/// Attributes that name or address something, and those that are visible or read aloud.
const NAMING: [&str; 7] = ["id", "class", "src", "action", "name", "href", "data-sitekey"];
const VISIBLE: [&str; 5] = ["value", "title", "aria-label", "placeholder", "alt"];
/// Values from this length on are ignored, in bytes.
const MAX_NAME: usize = 300;
/// A word of this length is data for a script, in bytes.
const MIN_TOKEN: usize = 300;
/// The last code point before those of Chinese, Japanese and Korean.
const LAST_ALPHABET: u32 = 0x2E80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_scripts_forms_and_names_are_taken_apart() {
        let shape = PageShape::parse(
            "<!doctype html><title>One  Moment</title><noscript><p>Enable JavaScript</p></noscript>\
             <body class=Gate><script src=/a.js>ignored</script><script>var A = 1</script>\
             <script type=application/json>{\"b\":1}</script><form action=/go><input type=hidden value=secret>\
             <input type=password placeholder=Key><input name=user><input type=submit value=Go></form>\
             <meta http-equiv=Refresh content=5><p>Hello &amp; <b>you</b>",
        );
        assert_eq!(shape.title, "one moment");
        assert_eq!(shape.text, "key go hello & you");
        assert!(shape.noscript.contains("enable javascript"));
        assert_eq!((shape.script.trim(), shape.data.as_str()), ("var A = 1", "{\"b\":1}"));
        assert!(shape.names.contains("class=gate ") && shape.names.contains("src=/a.js "), "{}", shape.names);
        assert_eq!((shape.inline_scripts, shape.external_scripts, shape.refreshes), (1, 1, true));
        assert_eq!((shape.passwords, shape.fields, shape.hidden_fields), (1, 1, 1));
        assert_eq!((shape.forms, shape.tags["p"]), (vec!["/go".to_owned()], 1));
    }

    #[test]
    fn content_tags_are_counted_up_to_the_limit() {
        let page = b"<P>a</p><pre>b</pre><a href=x>c</a><article><h1>d</h1><h4>e</h4><p";
        assert_eq!(count_content_tags(page, 60), 5);
        assert_eq!(count_content_tags(page, 2), 3);
        assert_eq!(PageShape::parse("<p>漢字 ab").text_units(), 11);
    }

    #[test]
    fn headings_are_text_too_and_tokens_are_not() {
        let token = "Ab3/".repeat(80);
        let page = format!("<meta name=robots content='NOINDEX'><h1>One <b>Two</b></h1><p>three {token}</p>");
        let shape = PageShape::parse(&page);
        assert_eq!((shape.headings.as_str(), shape.text.as_str()), ("one two", "one two three"));
        assert!(shape.has_token && shape.is_unlisted);
    }
}
