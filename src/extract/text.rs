//! The text of a page and of its elements.

use ego_tree::iter::Edge;
use ego_tree::{NodeId, NodeRef};
use scraper::{ElementRef, Node};

use super::document::Document;
use super::elements::is_html;
use super::style::{Display, Style, WhiteSpace};
use super::text_writer::TextWriter;

/// Returns the text of an element with collapsed white space, at most about `max_bytes`. The content of a script
/// counts only if `element` is the script itself.
pub(super) fn element_text(document: &Document, element: ElementRef<'_>, max_bytes: usize) -> String {
    let mut words = WordCollector { line: String::new(), needs_space: false };
    let root = element.id();
    // Number of hidden ancestors.
    let mut hidden_depth = 0_usize;
    for (at, edge) in element.traverse().enumerate() {
        let (node, is_open) = match edge {
            Edge::Open(node) => (node, true),
            Edge::Close(node) => (node, false),
        };
        match node.value() {
            Node::Text(text) if is_open && hidden_depth == 0 => words.push(text),
            Node::Element(inner) if node.id() != root => {
                let is_unread = document.scripting && inner.name() == "noscript";
                if is_unread || HIDDEN_ELEMENTS.contains(&inner.name()) || inner.attr("hidden").is_some() {
                    hidden_depth = if is_open { hidden_depth + 1 } else { hidden_depth - 1 };
                }
                words.needs_space |= SEPARATING_ELEMENTS.contains(&inner.name());
            }
            _ => {}
        }
        if (at % NODES_PER_CHECK == 0 && document.is_over()) || words.line.len() >= max_bytes {
            break;
        }
    }
    words.line
}

/// Returns the text of the page as `innerText` of its body in a browser that knows only styles in attributes.
pub(super) fn page_text(document: &Document) -> String {
    let root = document.html.root_element();
    let body = root.child_elements().find(|child| is_html(*child, "body"));
    let Some(body) = body else { return String::new() };
    let inherited = Style::ROOT.of_child(root);
    // The text of a body that is not shown yet is that of the page.
    let style = Style { display: Display::Block, ..inherited.of_child(body) };
    let mut reader =
        TextReader { document, writer: TextWriter::default(), visited: 0, shown_cells: Vec::new() };
    reader.read_children(body, style, &Place { slots: None, depth: 0 });
    let mut text = reader.writer.into_text();
    text.truncate(crate::text::html::floor_char_boundary(&text, MAX_TEXT_BYTES));
    text
}

/// Collects words with one space between them.
struct WordCollector {
    line: String,
    needs_space: bool,
}

impl WordCollector {
    fn push(&mut self, text: &str) {
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

/// Reads the text of elements in the order in which they are shown.
struct TextReader<'a> {
    document: &'a Document,
    writer: TextWriter,
    visited: usize,
    /// Whether a row of each open table, and a cell of each open row, was shown.
    shown_cells: Vec<bool>,
}

/// Where an element is shown.
struct Place<'p> {
    /// The shadow tree that the element belongs to.
    slots: Option<&'p Slots<'p>>,
    depth: usize,
}

/// The children of a shadow host that its slots show.
struct Slots<'p> {
    host: ElementRef<'p>,
    style: Style,
    place: &'p Place<'p>,
}

impl<'a> TextReader<'a> {
    fn read_children(&mut self, element: ElementRef<'a>, style: Style, place: &Place<'_>) {
        let depth = place.depth + 1;
        if depth > MAX_SHOWN_DEPTH {
            return;
        }
        if let Some(children) = self.document.shadow_roots.children(element.id()) {
            let slots = Slots { host: element, style, place };
            let place = Place { slots: Some(&slots), depth };
            let nodes = children.iter().filter_map(|id| self.document.html.tree.get(*id));
            nodes.for_each(|node| self.read(node, style, &place));
        } else {
            let place = Place { slots: place.slots, depth };
            element.children().for_each(|node| self.read(node, style, &place));
        }
    }

    fn read(&mut self, node: NodeRef<'a, Node>, parent: Style, place: &Place<'_>) {
        self.visited += 1;
        let is_over = self.visited.is_multiple_of(NODES_PER_CHECK) && self.document.is_over();
        if is_over || self.writer.len() > MAX_TEXT_BYTES || self.visited > MAX_VISITED {
            return;
        }
        let is_shown = |text: &str| {
            let container = node.parent().and_then(ElementRef::wrap);
            parent.is_visible && !is_between_cells(parent, text) && !container.is_some_and(is_closed_details)
        };
        match node.value() {
            Node::Text(text) if is_shown(text) => {
                self.writer.push_text(text, parent.white_space, parent.transform);
            }
            Node::Element(_) => {
                if let Some(element) = ElementRef::wrap(node) {
                    self.read_element(element, parent, place);
                }
            }
            _ => {}
        }
    }

    fn read_element(&mut self, element: ElementRef<'a>, parent: Style, place: &Place<'_>) {
        let mut style = parent.of_child(element);
        let name = element.value().name();
        let is_option = is_html(element, name) && matches!(name, "option" | "optgroup");
        if is_option {
            style.display = Display::Block;
        }
        if style.display == Display::None || is_in_closed_details(element) {
            let is_replaced = is_html(element, name) && REPLACED_ELEMENTS.contains(&name);
            if is_replaced && element.attr("hidden").is_none() {
                self.read_atomic();
            }
            return;
        }
        if self.document.scripting && is_html(element, "noscript") {
            return;
        }
        if is_html(element, "slot") && self.read_slot(element, style, place) {
            return;
        }
        if is_html(element, "br") {
            if style.is_visible {
                self.writer.separate('\n');
            }
            return;
        }
        if is_html(element, name) && matches!(name, "input" | "img" | "textarea") {
            if !element.attr("type").is_some_and(|kind| kind.eq_ignore_ascii_case("hidden")) {
                self.read_atomic();
            }
            return;
        }
        self.read_box(element, style, place);
    }

    /// Reads a box that shows its children.
    fn read_box(&mut self, element: ElementRef<'a>, style: Style, place: &Place<'_>) {
        // A box that is not visible separates nothing.
        let breaks = match style.display {
            Display::Skipped => 0,
            _ if !style.is_visible => 0,
            _ if is_html(element, "p") => 2,
            display => usize::from(display.is_block()),
        };
        if breaks > 0 {
            self.writer.require_breaks(breaks);
        }
        let is_row_or_cell = matches!(style.display, Display::Row | Display::Cell);
        if is_row_or_cell && style.is_visible {
            let separator = if style.display == Display::Row { '\n' } else { '\t' };
            let is_further = self.shown_cells.last_mut().is_some_and(|shown| std::mem::replace(shown, true));
            if is_further {
                self.writer.separate(separator);
            } else {
                self.writer.require_breaks(0);
            }
        }
        if style.display.is_atomic() {
            self.writer.begin_atomic();
        }
        let opens = matches!(style.display, Display::Table | Display::Row);
        if opens {
            self.shown_cells.push(false);
        }
        if style.display == Display::Skipped {
            self.writer.require_breaks(0);
        } else {
            self.read_children(element, style, place);
        }
        if opens {
            self.shown_cells.pop();
        }
        if breaks > 0 {
            self.writer.require_breaks(breaks);
        }
        if style.display.is_atomic() {
            self.writer.end_atomic();
        }
    }

    fn read_atomic(&mut self) {
        self.writer.begin_atomic();
        self.writer.end_atomic();
    }

    /// Reads the nodes that a slot of a shadow tree shows. Returns false for the slot's own content.
    fn read_slot(&mut self, slot: ElementRef<'a>, style: Style, place: &Place<'_>) -> bool {
        let Some(slots) = place.slots else { return false };
        let name = slot.attr("name").unwrap_or_default();
        let shadow = self.document.shadow_roots.children(slots.host.id()).unwrap_or_default();
        let Some(host) = self.document.html.tree.get(slots.host.id()) else { return false };
        let shown: Vec<NodeId> = host
            .children()
            .filter(|child| !shadow.contains(&child.id()) && slot_of(*child) == Some(name))
            .map(|child| child.id())
            .collect();
        if shown.is_empty() {
            return false;
        }
        let inherited = Style { display: slots.style.display, ..style };
        let place = Place { slots: slots.place.slots, depth: place.depth + 1 };
        if place.depth <= MAX_SHOWN_DEPTH {
            let nodes = shown.into_iter().filter_map(|id| self.document.html.tree.get(id));
            nodes.for_each(|node| self.read(node, inherited, &place));
        }
        true
    }
}

/// Whether the element is in a closed `details` element, and not its summary.
fn is_in_closed_details(element: ElementRef<'_>) -> bool {
    let Some(details) = element.parent().and_then(ElementRef::wrap) else { return false };
    is_closed_details(details)
        && details.child_elements().find(|child| is_html(*child, "summary")) != Some(element)
}

fn is_closed_details(element: ElementRef<'_>) -> bool {
    is_html(element, "details") && element.attr("open").is_none()
}

/// Whether the text is only white space where a table has rows or cells.
fn is_between_cells(parent: Style, text: &str) -> bool {
    let is_table_part = matches!(parent.display, Display::Table | Display::RowGroup | Display::Row);
    is_table_part && parent.white_space != WhiteSpace::Keep && text.trim_ascii().is_empty()
}

/// Returns the name of the slot that shows a child of a shadow host.
fn slot_of(child: NodeRef<'_, Node>) -> Option<&str> {
    match child.value() {
        Node::Text(_) => Some(""),
        Node::Element(element) => Some(element.attr("slot").unwrap_or_default()),
        _ => None,
    }
}

/// Nodes between two checks of the time.
const NODES_PER_CHECK: usize = 1024;
/// Maximum nodes that are read. Slots may show a node of a page again.
const MAX_VISITED: usize = 2_000_000;
/// Maximum levels of shown elements. Shadow trees add levels to those of the page.
const MAX_SHOWN_DEPTH: usize = 600;
/// Maximum bytes of a page's text.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Elements without text of their own that are part of a line.
const REPLACED_ELEMENTS: [&str; 8] =
    ["audio", "canvas", "embed", "iframe", "meter", "object", "progress", "video"];
/// Elements whose text is not that of the element around them.
const HIDDEN_ELEMENTS: [&str; 10] =
    ["head", "script", "style", "template", "svg", "iframe", "object", "audio", "video", "canvas"];
/// Elements that separate words in the text of an element around them.
const SEPARATING_ELEMENTS: [&str; 42] = [
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
