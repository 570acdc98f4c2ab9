//! One field: its name, its selector, and the part of the element that it takes.

use std::fmt;

use scraper::ElementRef;
use serde_json::Value;

use super::css::{CssSelector, SelectorError};
use super::document::Document;
use super::elements::attribute;
use super::{page_urls, text};
use crate::text::html;

/// A field to extract from pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: String,
    all: bool,
    css: CssSelector,
    part: FieldPart,
}

/// The part of an element that a field takes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FieldPart {
    Text,
    Html,
    Attribute(String),
}

impl Field {
    /// Returns the name, without `[]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parses `name=CSS@attr`.
    pub(super) fn parse(text: &str) -> Result<Self, SelectorError> {
        let Some((name, css)) = text.split_once('=') else {
            return Err(SelectorError::new(text.chars().count() + 1, "`=` is missing: write NAME=CSS"));
        };
        Self::new(name, css).map_err(|error| match error {
            FieldError::Name(error) => error,
            FieldError::Css(error) => error.shifted(name.chars().count() + 1),
        })
    }

    /// Creates a field from its name and its `CSS@attr`, which a target file has separately.
    pub(crate) fn new(name: &str, text: &str) -> Result<Self, FieldError> {
        let (bare, all) = name.strip_suffix("[]").map_or((name, false), |bare| (bare, true));
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if let Some((at, c)) = bare.chars().enumerate().find(|(_, c)| !is_allowed(*c)) {
            let message = format!(
                "`{}` in a name: use letters, digits, `_` and `-`, and append `[]` for all matches",
                c.escape_debug()
            );
            return Err(FieldError::Name(SelectorError::new(at + 1, message)));
        }
        if bare.is_empty() || bare.len() > MAX_NAME {
            let message = format!("a name must have 1 to {MAX_NAME} characters");
            return Err(FieldError::Name(SelectorError::new(1, message)));
        }
        let (css, part) = split_part(text);
        let css = CssSelector::parse(css).map_err(FieldError::Css)?;
        Ok(Self { name: bare.to_owned(), all, css, part })
    }

    /// Returns the value if no element matches.
    pub(super) fn empty_value(&self) -> Value {
        if self.all { Value::Array(Vec::new()) } else { Value::Null }
    }

    /// Extracts the value from a page. It reduces `remaining`, in bytes, and the value is cut when that reaches zero.
    pub(super) fn extract(&self, document: &Document, remaining: &mut usize) -> Value {
        let mut values =
            document.select(&self.css).filter_map(|element| self.element_value(document, element, remaining));
        if !self.all {
            return values.next().map_or(Value::Null, Value::String);
        }
        Value::Array(values.take(MAX_MATCHES).map(Value::String).collect())
    }

    fn element_value(
        &self,
        document: &Document,
        element: ElementRef<'_>,
        remaining: &mut usize,
    ) -> Option<String> {
        if *remaining == 0 || document.is_over() {
            return None;
        }
        let mut value = match &self.part {
            FieldPart::Text => text::element_text(document, element, *remaining),
            FieldPart::Html => element.html(),
            FieldPart::Attribute(name) => {
                let value = attribute(element, name)?;
                match page_urls::is_url_attribute(&name.to_ascii_lowercase())
                    .then(|| document.resolve(value))
                    .flatten()
                {
                    Some(url) => url.into(),
                    None => value.to_owned(),
                }
            }
        };
        if value.len() >= *remaining {
            value.truncate(html::floor_char_boundary(&value, *remaining));
            *remaining = 0;
        } else {
            // An empty value counts too.
            *remaining = remaining.saturating_sub(value.len() + VALUE_OVERHEAD);
        }
        Some(value)
    }
}

/// An invalid name or an invalid selector of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldError {
    Name(SelectorError),
    Css(SelectorError),
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) | Self::Css(error) => error.fmt(f),
        }
    }
}

/// Splits the text at its last `@` into selector and part, if an attribute name follows it.
fn split_part(text: &str) -> (&str, FieldPart) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    match text.rsplit_once('@') {
        Some((css, "html")) => (css, FieldPart::Html),
        Some((css, name)) if !name.is_empty() && name.chars().all(is_name) => {
            (css, FieldPart::Attribute(name.to_owned()))
        }
        _ => (text, FieldPart::Text),
    }
}

/// Maximum length of a name, in characters.
const MAX_NAME: usize = 100;
/// Maximum values of one field.
const MAX_MATCHES: usize = 10_000;
/// Bytes that a value counts in addition to its length.
const VALUE_OVERHEAD: usize = 8;
