//! CSS selectors, and errors for invalid ones.

use std::fmt;

use scraper::Selector;

/// A parsed selector and its source text.
#[derive(Clone)]
pub(crate) struct CssSelector {
    pub(super) selector: Selector,
    text: String,
}

/// An error in a selector or a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SelectorError {
    /// The position in characters, starting at 1.
    pub(crate) column: usize,
    message: String,
}

impl CssSelector {
    /// Parses a selector.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > MAX_SELECTOR_LEN {
            return Err(SelectorError::new(
                MAX_SELECTOR_LEN,
                format!("the selector is longer than {MAX_SELECTOR_LEN} bytes"),
            ));
        }
        if text.trim().is_empty() {
            return Err(SelectorError::new(1, "the selector is missing"));
        }
        match Selector::parse(text) {
            Ok(selector) => Ok(Self { selector, text: text.to_owned() }),
            Err(_) => Err(locate_error(text)),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the element type `name` occurs in the selector.
    pub(super) fn names_type(&self, name: &str) -> bool {
        self.subject_types().iter().any(|subject| subject.as_deref() == Some(name))
    }

    /// Returns the type that each alternative of the selector requires of its elements, in lower case.
    fn subject_types(&self) -> Vec<Option<String>> {
        split_top_level(&self.text, |c| c == ',')
            .into_iter()
            .map(|alternative| {
                let is_combinator = |c: char| c.is_ascii_whitespace() || matches!(c, '>' | '+' | '~');
                let compounds = split_top_level(alternative.trim(), is_combinator);
                let last = compounds.into_iter().rfind(|compound| !compound.is_empty())?;
                let end = last.find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_')));
                let name = &last[..end.unwrap_or(last.len())];
                (!name.is_empty()).then(|| name.to_ascii_lowercase())
            })
            .collect()
    }

    /// Returns a type of elements that neither are links nor can contain links, if the selector selects no others.
    pub(crate) fn type_without_links(&self) -> Option<String> {
        let types: Option<Vec<String>> = self.subject_types().into_iter().collect();
        let types = types?;
        let is_linkless = types.iter().all(|name| LINKLESS_ELEMENTS.contains(&name.as_str()));
        types.into_iter().next().filter(|_| is_linkless)
    }

    /// Whether it counts positions from the first sibling, and does not search: then a shared cache makes it fast.
    pub(super) fn needs_cache(&self) -> bool {
        let text = self.text.to_ascii_lowercase();
        text.contains(":nth-") && !text.contains(":nth-last") && !text.contains(":has") && !text.contains('~')
    }
}

impl SelectorError {
    pub(super) fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }

    /// Adds `columns` to the column.
    pub(super) fn shifted(mut self, columns: usize) -> Self {
        self.column += columns;
        self
    }
}

/// Finds the first token with which no valid selector can continue. The parser itself reports no position.
fn locate_error(text: &str) -> SelectorError {
    let mut valid_end = 0;
    for end in token_ends(text) {
        let start = &text[..end];
        if COMPLETIONS.iter().any(|rest| Selector::parse(&[start, rest].concat()).is_ok()) {
            valid_end = end;
        }
    }
    let column = text[..valid_end].chars().count() + 1;
    let rest = text[valid_end..].trim();
    if rest.is_empty() {
        return SelectorError::new(column, format!("the selector `{}` is incomplete", text.escape_debug()));
    }
    let blanks = text[valid_end..].chars().take_while(|c| c.is_whitespace()).count();
    SelectorError::new(column + blanks, format!("`{}` is not a supported CSS selector", rest.escape_debug()))
}

/// Returns the end of each token. A name is one token.
fn token_ends(text: &str) -> Vec<usize> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let mut ends = Vec::new();
    let mut before = None;
    for (at, c) in text.char_indices() {
        if before.is_some_and(|before| !(is_name(before) && is_name(c))) {
            ends.push(at);
        }
        before = Some(c);
    }
    ends.push(text.len());
    ends
}

/// Splits a selector at separators outside of brackets and quotes.
fn split_top_level(text: &str, is_separator: impl Fn(char) -> bool) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quote, mut nesting, mut is_escaped) = (None, 0_usize, false);
    for (at, c) in text.char_indices() {
        let was_escaped = is_escaped;
        is_escaped = c == '\\' && !was_escaped;
        match c {
            _ if was_escaped => {}
            _ if quote == Some(c) => quote = None,
            _ if quote.is_some() => {}
            '"' | '\'' => quote = Some(c),
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting = nesting.saturating_sub(1),
            _ if nesting == 0 && is_separator(c) => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl PartialEq for CssSelector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CssSelector {}

impl fmt::Debug for CssSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CssSelector").field(&self.text).finish()
    }
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

/// Texts that may complete an incomplete selector.
const COMPLETIONS: [&str; 13] =
    ["", "a", "]", "a]", "=a]", "\"]", "']", ")", "a)", "1)", "(a)", "first-child", ":first-child)"];
/// Elements that are not links, and in which HTML allows none.
const LINKLESS_ELEMENTS: [&str; 21] = [
    "base", "br", "col", "embed", "hr", "img", "input", "meta", "optgroup", "option", "param", "script",
    "select", "source", "style", "textarea", "title", "track", "wbr", "head", "button",
];
/// Maximum length of a selector, in bytes.
const MAX_SELECTOR_LEN: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_selector_is_an_error_that_names_the_column() {
        for (text, column, message) in [
            ("", 1, "missing"),
            ("  ", 1, "missing"),
            ("h1[", 4, "incomplete"),
            ("a >", 4, "incomplete"),
            ("a > > b", 5, "`> b` is not"),
            ("a:foo", 3, "`foo`"),
            ("div::before", 5, "`:before`"),
            ("p..x", 3, "`.x`"),
            ("]", 1, "`]`"),
            ("a:nth-child(x) > > b", 13, "`x) > > b`"),
            ("é > 5", 5, "`5`"),
        ] {
            let error = CssSelector::parse(text).unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.to_string().contains(message), "{text}: {error}");
        }
        assert!(CssSelector::parse(&"a ".repeat(2000)).is_err());
    }

    #[test]
    fn common_selectors_are_parsed() {
        for text in [
            "a",
            "a.next[rel~=next]",
            "ul > li:nth-child(2n+1) a[href^='/p/']",
            "h1, h2",
            "a:not(.x):is(.y, .z)",
            "div:has(> img)",
            "#id + p ~ q",
        ] {
            assert_eq!(CssSelector::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_selector_of_elements_without_links_names_their_type() {
        for (text, expected) in [
            ("img", Some("img")),
            ("ul > li img.x[alt='a, b'], INPUT:not(.y > a)", Some("img")),
            ("form img", Some("img")),
            ("img, a", None),
            ("img > a", None),
            (".img", None),
            ("*", None),
            ("form", None),
            ("[alt='x img']", None),
        ] {
            assert_eq!(CssSelector::parse(text).unwrap().type_without_links().as_deref(), expected, "{text}");
        }
        assert!(CssSelector::parse("head > LINK[rel=next]").unwrap().names_type("link"));
        assert!(!CssSelector::parse(".link, [link], link a").unwrap().names_type("link"));
    }
}
