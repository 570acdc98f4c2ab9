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
}
