//! What a reader sees of a page.

use ego_tree::iter::Edge;
use scraper::{ElementRef, Node};

use super::document::Document;

/// The text of an element, white space collapsed, at most so many bytes. What a script holds is text only of the script
/// itself.
pub(super) fn of_element(element: ElementRef<'_>, most: usize) -> String {
    let mut text = Text::new(most);
    text.take(element, false);
    text.line
}

/// The text of the page, a line for each block.
pub(super) fn of_page(document: &Document) -> String {
    let mut text = Text::new(MAX_TEXT);
    text.take(document.html.root_element(), true);
    text.end_line();
    text.whole
}

struct Text {
    whole: String,
    line: String,
    /// White space was met since the last word.
    is_apart: bool,
    most: usize,
}

impl Text {
    const fn new(most: usize) -> Self {
        Self { whole: String::new(), line: String::new(), is_apart: false, most }
    }

    fn take(&mut self, element: ElementRef<'_>, has_lines: bool) {
        let root = element.id();
        // How many elements that nobody sees are around.
        let mut hidden = 0_usize;
        for edge in element.traverse() {
            match edge {
                Edge::Open(node) => match node.value() {
                    Node::Text(text) if hidden == 0 => self.put(text),
                    Node::Element(inner) if node.id() != root => {
                        hidden +=
                            usize::from(UNSEEN.contains(&inner.name()) || inner.attr("hidden").is_some());
                        self.block(inner.name(), has_lines);
                    }
                    _ => {}
                },
                Edge::Close(node) => {
                    if let Node::Element(inner) = node.value()
                        && node.id() != root
                    {
                        hidden -=
                            usize::from(UNSEEN.contains(&inner.name()) || inner.attr("hidden").is_some());
                        self.block(inner.name(), has_lines);
                    }
                }
            }
            if self.whole.len() + self.line.len() >= self.most {
                return;
            }
        }
    }

    /// What is before a block and what is in it are words apart.
    fn block(&mut self, name: &str, has_lines: bool) {
        if BLOCKS.contains(&name) {
            self.is_apart = true;
            if has_lines && !CELLS.contains(&name) {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            if !self.whole.is_empty() {
                self.whole.push('\n');
            }
            self.whole.push_str(&self.line);
            self.line.clear();
        }
        self.is_apart = false;
    }

    fn put(&mut self, text: &str) {
        for (at, word) in text.split(char::is_whitespace).enumerate() {
            self.is_apart |= at > 0;
            if word.is_empty() {
                continue;
            }
            if self.is_apart && !self.line.is_empty() {
                self.line.push(' ');
            }
            self.is_apart = false;
            self.line.push_str(word);
        }
    }
}

/// The most bytes of a page's text.
const MAX_TEXT: usize = 1 << 20;
/// Elements whose text is not seen.
const UNSEEN: [&str; 11] = [
    "head", "script", "style", "noscript", "template", "svg", "iframe", "object", "audio", "video", "canvas",
];
/// Elements that begin a line and end it.
const BLOCKS: [&str; 42] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "br",
    "button",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "option",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "td",
    "textarea",
    "th",
    "tr",
    "ul",
    "caption",
];
/// Those among them that stand in one line.
const CELLS: [&str; 2] = ["td", "th"];
