//! How an element is laid out: the defaults of Chromium and the element's `style` attribute. Style sheets are not read.

use scraper::ElementRef;

use super::elements::is_html;

/// The properties of an element that decide about its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) display: Display,
    /// Inherited, as all properties below.
    pub(super) is_visible: bool,
    pub(super) white_space: WhiteSpace,
    pub(super) transform: Transform,
}

/// The kind of box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Display {
    None,
    /// A box whose content is skipped.
    Skipped,
    Inline,
    InlineBlock,
    Block,
    /// A block whose children are blocks. It is inline itself in `InlineFlex`.
    Flex,
    InlineFlex,
    Table,
    Caption,
    RowGroup,
    Row,
    Cell,
}

/// How white space is collapsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhiteSpace {
    Collapse,
    /// Spaces collapse, line breaks are kept.
    KeepLines,
    Keep,
}

/// How the case of text changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    None,
    Upper,
    Lower,
    Capitalize,
}

impl Style {
    /// The style of the document.
    pub(super) const ROOT: Self = Self {
        display: Display::Block,
        is_visible: true,
        white_space: WhiteSpace::Collapse,
        transform: Transform::None,
    };

    /// Returns the style of an element whose parent has the style `self`.
    pub(super) fn of_child(self, element: ElementRef<'_>) -> Self {
        let mut style = Self { display: default_display(element), ..self };
        let name = element.value().name();
        if matches!(name, "pre" | "listing" | "xmp" | "plaintext" | "textarea") {
            style.white_space = WhiteSpace::Keep;
        }
        if matches!(name, "button" | "select" | "input") {
            style.white_space = WhiteSpace::Collapse;
        }
        let hidden = element.attr("hidden");
        if hidden.is_some() {
            style.display = Display::None;
        }
        if let Some(text) = element.attr("style") {
            style.apply(text, self);
        }
        let is_blockified = matches!(self.display, Display::Flex | Display::InlineFlex);
        if is_blockified && matches!(style.display, Display::Inline | Display::InlineBlock) {
            style.display = Display::Block;
        }
        let waits_for_search = hidden.is_some_and(|value| value.eq_ignore_ascii_case("until-found"));
        if waits_for_search && style.display == Display::None {
            // `content-visibility: hidden`, which does not apply to inline boxes.
            let shown = default_display(element);
            style.display = if shown == Display::Inline { Display::Inline } else { Display::Skipped };
        }
        if element.attr("aria-hidden").is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
            style.display = Display::None;
        }
        style
    }

    /// Applies the declarations of a `style` attribute. Of two valid ones, the important one or else the last applies.
    fn apply(&mut self, text: &str, parent: Self) {
        let declarations = declarations(text);
        let (important, normal): (Vec<_>, Vec<_>) =
            declarations.into_iter().partition(|declaration| declaration.is_important);
        let (mut is_blockified, mut is_skipped) = (false, false);
        for Declaration { name, value, .. } in normal.iter().chain(&important) {
            let value = value.as_str();
            match name.as_str() {
                "display" => self.display = display(value, parent).unwrap_or(self.display),
                "float" => is_blockified |= matches!(value, "left" | "right" | "inline-start" | "inline-end"),
                "position" => is_blockified |= matches!(value, "absolute" | "fixed"),
                "content-visibility" => is_skipped = value == "hidden",
                "visibility" => {
                    self.is_visible = match value {
                        "hidden" | "collapse" => false,
                        "visible" | "initial" => true,
                        "inherit" | "unset" => parent.is_visible,
                        _ => self.is_visible,
                    }
                }
                "white-space" | "white-space-collapse" => {
                    self.white_space = white_space(value, parent).unwrap_or(self.white_space);
                }
                "text-transform" => self.transform = transform(value, parent).unwrap_or(self.transform),
                _ => {}
            }
        }
        if is_blockified && matches!(self.display, Display::Inline | Display::InlineBlock) {
            self.display = Display::Block;
        }
        if is_skipped && !matches!(self.display, Display::Inline | Display::None) {
            self.display = Display::Skipped;
        }
    }
}

impl Display {
    /// Whether a line ends before and after the box.
    pub(super) const fn is_block(self) -> bool {
        matches!(self, Self::Block | Self::Flex | Self::Table | Self::Caption)
    }

    /// Whether the box is one piece of a line, in which lines begin anew.
    pub(super) const fn is_atomic(self) -> bool {
        matches!(self, Self::InlineBlock | Self::InlineFlex)
    }
}

struct Declaration {
    name: String,
    value: String,
    is_important: bool,
}

/// Splits a `style` attribute into declarations in lower case, without comments.
fn declarations(text: &str) -> Vec<Declaration> {
    let text = &text[..crate::text::html::floor_char_boundary(text, MAX_STYLE)];
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut quote, mut nesting) = (None, 0_usize);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if quote.is_none() && rest.starts_with("/*") {
            rest = rest[2..].split_once("*/").map_or("", |(_, after)| after);
            part.push(' ');
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            _ if quote == Some(c) => quote = None,
            _ if quote.is_some() => {}
            '"' | '\'' => quote = Some(c),
            '(' | '[' | '{' => nesting += 1,
            ')' | ']' | '}' => nesting = nesting.saturating_sub(1),
            ';' if nesting == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    let declarations = parts.iter().filter_map(|part| {
        let (name, value) = part.split_once(':')?;
        let value = value.trim().to_ascii_lowercase();
        let plain = value.strip_suffix("important").and_then(|value| value.trim_end().strip_suffix('!'));
        let is_important = plain.is_some();
        let value = plain.unwrap_or(&value).split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        Some(Declaration { name: name.trim().to_ascii_lowercase(), value, is_important })
    });
    declarations.collect()
}

/// Returns the box of a value of `display`. `None` for an invalid value.
fn display(value: &str, parent: Style) -> Option<Display> {
    Some(match value {
        "none" | "table-column" | "table-column-group" => Display::None,
        "inline" | "contents" | "initial" | "unset" | "ruby" | "ruby-text" | "math" | "inline flow"
        | "flow inline" => Display::Inline,
        "inline-block" | "inline-table" | "inline flow-root" | "inline table" => Display::InlineBlock,
        "inline-flex" | "inline-grid" | "inline flex" | "inline grid" | "-webkit-inline-flex" => {
            Display::InlineFlex
        }
        "block" | "flow" | "flow-root" | "list-item" | "block flow" | "block flow-root" | "-webkit-box" => {
            Display::Block
        }
        "flex" | "grid" | "block flex" | "block grid" | "-webkit-flex" => Display::Flex,
        "table" | "block table" => Display::Table,
        "table-caption" => Display::Caption,
        "table-row-group" | "table-header-group" | "table-footer-group" => Display::RowGroup,
        "table-row" => Display::Row,
        "table-cell" => Display::Cell,
        "inherit" => parent.display,
        _ => return None,
    })
}

fn white_space(value: &str, parent: Style) -> Option<WhiteSpace> {
    Some(match value.split(' ').next().unwrap_or_default() {
        "normal" | "nowrap" | "initial" | "collapse" | "wrap" => WhiteSpace::Collapse,
        "pre" | "pre-wrap" | "break-spaces" | "preserve" => WhiteSpace::Keep,
        "pre-line" | "preserve-breaks" => WhiteSpace::KeepLines,
        "inherit" | "unset" => parent.white_space,
        _ => return None,
    })
}

fn transform(value: &str, parent: Style) -> Option<Transform> {
    Some(match value {
        "uppercase" => Transform::Upper,
        "lowercase" => Transform::Lower,
        "capitalize" => Transform::Capitalize,
        "none" | "initial" => Transform::None,
        "inherit" | "unset" => parent.transform,
        _ => return None,
    })
}

/// Returns the box of an element without styles, as Chromium's own style sheet has it.
fn default_display(element: ElementRef<'_>) -> Display {
    let name = element.value().name();
    if !is_html(element, name) {
        return match name {
            "text" | "foreignObject" => Display::Block,
            "title" | "desc" | "metadata" | "script" | "style" | "annotation" | "annotation-xml" => {
                Display::None
            }
            _ => Display::Inline,
        };
    }
    match name {
        "dialog" if element.attr("open").is_none() => Display::None,
        _ if element.attr("popover").is_some() => Display::None,
        _ if NONE.contains(&name) => Display::None,
        _ if BLOCKS.contains(&name) => Display::Block,
        "button" | "select" => Display::InlineBlock,
        "table" => Display::Table,
        "caption" => Display::Caption,
        "thead" | "tbody" | "tfoot" => Display::RowGroup,
        "tr" => Display::Row,
        "td" | "th" => Display::Cell,
        _ => Display::Inline,
    }
}

/// Maximum bytes of a `style` attribute that are read.
const MAX_STYLE: usize = 16 * 1024;
/// Elements without a box, or whose content is shown only where they are not supported.
const NONE: [&str; 28] = [
    "area", "audio", "base", "basefont", "canvas", "col", "colgroup", "datalist", "embed", "head", "iframe",
    "link", "meta", "meter", "noembed", "noframes", "object", "param", "progress", "rp", "script", "source",
    "style", "template", "title", "track", "video", "frame",
];
/// Elements that are blocks.
const BLOCKS: [&str; 47] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "center",
    "dd",
    "details",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "frameset",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hgroup",
    "hr",
    "html",
    "legend",
    "li",
    "listing",
    "main",
    "marquee",
    "menu",
    "nav",
    "ol",
    "optgroup",
    "option",
    "p",
    "plaintext",
    "pre",
    "search",
    "section",
    "summary",
    "ul",
    "xmp",
];
