//! The visible text of a page.

use ego_tree::iter::Edge;
use scraper::{ElementRef, Node};

use super::document::Document;

/// Returns the text of an element with collapsed white space, at most about `max_bytes`. The content of a script
/// counts only if `element` is the script itself.
pub(super) fn element_text(document: &Document, element: ElementRef<'_>, max_bytes: usize) -> String {
    let mut text = TextCollector::new(max_bytes);
    text.collect(document, element, false);
    text.line
}

/// Returns the visible text of the page, one line per block.
pub(super) fn page_text(document: &Document) -> String {
    let mut text = TextCollector::new(MAX_TEXT_BYTES);
    text.collect(document, document.html.root_element(), true);
    text.end_line();
    text.lines
}

struct TextCollector {
    lines: String,
    line: String,
    /// Whether there was white space after the last word.
    needs_space: bool,
    max_bytes: usize,
}

impl TextCollector {
    const fn new(max_bytes: usize) -> Self {
        Self { lines: String::new(), line: String::new(), needs_space: false, max_bytes }
    }

    fn collect(&mut self, document: &Document, element: ElementRef<'_>, has_lines: bool) {
        let root = element.id();
        // Number of hidden ancestors.
        let mut hidden_depth = 0_usize;
        for (at, edge) in element.traverse().enumerate() {
            match edge {
                Edge::Open(node) => match node.value() {
                    Node::Text(text) if hidden_depth == 0 => self.push_words(text),
                    Node::Element(inner) if node.id() != root => {
                        hidden_depth += usize::from(
                            HIDDEN_ELEMENTS.contains(&inner.name()) || inner.attr("hidden").is_some(),
                        );
                        self.on_block(inner.name(), has_lines);
                    }
                    _ => {}
                },
                Edge::Close(node) => {
                    if let Node::Element(inner) = node.value()
                        && node.id() != root
                    {
                        hidden_depth -= usize::from(
                            HIDDEN_ELEMENTS.contains(&inner.name()) || inner.attr("hidden").is_some(),
                        );
                        self.on_block(inner.name(), has_lines);
                    }
                }
            }
            let is_over = at % EDGES_PER_CHECK == 0 && document.is_over();
            if is_over || self.lines.len() + self.line.len() >= self.max_bytes {
                return;
            }
        }
    }

    /// Separates the text of a block from the text before and after it.
    fn on_block(&mut self, name: &str, has_lines: bool) {
        if BLOCK_ELEMENTS.contains(&name) {
            self.needs_space = true;
            if has_lines && !CELL_ELEMENTS.contains(&name) {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            if !self.lines.is_empty() {
                self.lines.push('\n');
            }
            self.lines.push_str(&self.line);
            self.line.clear();
        }
        self.needs_space = false;
    }

    fn push_words(&mut self, text: &str) {
        for (at, word) in text.split(char::is_whitespace).enumerate() {
            self.needs_space |= at > 0;
            if word.is_empty() {
                continue;
            }
            if self.needs_space && !self.line.is_empty() {
                self.line.push(' ');
            }
            self.needs_space = false;
            self.line.push_str(word);
        }
    }
}

/// Starts and ends of nodes between two checks of the time.
const EDGES_PER_CHECK: usize = 1024;
/// Maximum bytes of a page's text.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Elements whose text is not visible.
const HIDDEN_ELEMENTS: [&str; 11] = [
    "head", "script", "style", "noscript", "template", "svg", "iframe", "object", "audio", "video", "canvas",
];
/// Elements that start and end a line.
const BLOCK_ELEMENTS: [&str; 42] = [
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
/// Block elements that share a line.
const CELL_ELEMENTS: [&str; 2] = ["td", "th"];
