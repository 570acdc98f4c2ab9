//! CSS selectors, and what is wrong with one that is none.

use std::fmt;

use scraper::Selector;

/// A selector and how it was written.
#[derive(Clone)]
pub(crate) struct CssSelector {
    pub(super) selector: Selector,
    text: String,
}

/// What is wrong with a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SelectorError {
    /// Where, in characters from 1.
    pub(crate) column: usize,
    message: String,
}

impl CssSelector {
    /// Reads a selector.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > MAX_SELECTOR_LEN {
            return Err(SelectorError::new(
                MAX_SELECTOR_LEN,
                format!("a selector of more than {MAX_SELECTOR_LEN} bytes"),
            ));
        }
        if text.trim().is_empty() {
            return Err(SelectorError::new(1, "a selector is missing"));
        }
        match Selector::parse(text) {
            Ok(selector) => Ok(Self { selector, text: text.to_owned() }),
            Err(_) => Err(locate_error(text)),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl SelectorError {
    pub(super) fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }

    /// The same, seen from `columns` further left.
    pub(super) fn shifted(mut self, columns: usize) -> Self {
        self.column += columns;
        self
    }
}

/// Finds the first token that no selector could go on with: the parser says that something is wrong, and not where.
fn locate_error(text: &str) -> SelectorError {
    let mut good = 0;
    for end in token_ends(text) {
        let begun = &text[..end];
        if COMPLETIONS.iter().any(|ends| Selector::parse(&[begun, ends].concat()).is_ok()) {
            good = end;
        }
    }
    let column = text[..good].chars().count() + 1;
    let rest = text[good..].trim();
    if rest.is_empty() {
        return SelectorError::new(column, format!("the selector `{}` ends too early", text.escape_debug()));
    }
    let blanks = text[good..].chars().take_while(|c| c.is_whitespace()).count();
    SelectorError::new(
        column + blanks,
        format!("`{}` is no CSS selector that rungs knows", rest.escape_debug()),
    )
}

/// Where each token ends: names stay whole.
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
        f.debug_tuple("Css").field(&self.text).finish()
    }
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

/// What a selector that is only begun may end with.
const COMPLETIONS: [&str; 13] =
    ["", "a", "]", "a]", "=a]", "\"]", "']", ")", "a)", "1)", "(a)", "first-child", ":first-child)"];
/// The longest selector, in bytes.
const MAX_SELECTOR_LEN: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_selector_is_an_error_that_names_the_column() {
        for (text, column, told) in [
            ("", 1, "missing"),
            ("  ", 1, "missing"),
            ("h1[", 4, "too early"),
            ("a >", 4, "too early"),
            ("a > > b", 5, "`> b` is no"),
            ("a:foo", 3, "`foo`"),
            ("div::before", 5, "`:before`"),
            ("p..x", 3, "`.x`"),
            ("]", 1, "`]`"),
            ("a:nth-child(x) > > b", 13, "`x) > > b`"),
            ("é > 5", 5, "`5`"),
        ] {
            let wrong = CssSelector::parse(text).unwrap_err();
            assert_eq!(wrong.column, column, "{text}: {wrong}");
            assert!(wrong.to_string().contains(told), "{text}: {wrong}");
        }
        assert!(CssSelector::parse(&"a ".repeat(2000)).is_err());
    }

    #[test]
    fn selectors_of_every_day_are_read() {
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
