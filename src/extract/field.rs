//! One field: what it is called, which element it is of, and what of that.

use std::fmt;

use scraper::ElementRef;
use serde_json::Value;

use super::css::{CssSelector, SelectorError};
use super::document::{Document, floor_char_boundary};
use super::{links, text};

/// One field of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: String,
    all: bool,
    css: CssSelector,
    part: FieldPart,
}

/// What of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FieldPart {
    Text,
    Html,
    Attribute(String),
}

impl Field {
    /// Its name, without `[]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads `name=CSS@attr`.
    pub(super) fn parse(text: &str) -> Result<Self, SelectorError> {
        let Some((name, css)) = text.split_once('=') else {
            return Err(SelectorError::new(text.chars().count() + 1, "`=` is missing: write NAME=CSS"));
        };
        Self::new(name, css).map_err(|wrong| match wrong {
            FieldError::Name(wrong) => wrong,
            FieldError::Css(wrong) => wrong.shifted(name.chars().count() + 1),
        })
    }

    /// A field from its parts, as a target has them.
    pub(crate) fn new(name: &str, text: &str) -> Result<Self, FieldError> {
        let (bare, all) = name.strip_suffix("[]").map_or((name, false), |bare| (bare, true));
        let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if let Some((at, c)) = bare.chars().enumerate().find(|(_, c)| !is_good(*c)) {
            let message = format!(
                "`{}` in a name: it is of letters, digits, `_` and `-`, with `[]` behind it for all matches",
                c.escape_debug()
            );
            return Err(FieldError::Name(SelectorError::new(at + 1, message)));
        }
        if bare.is_empty() || bare.len() > MAX_NAME {
            let message = format!("a name is of 1 to {MAX_NAME} characters");
            return Err(FieldError::Name(SelectorError::new(1, message)));
        }
        let (css, part) = split_part(text);
        let css = CssSelector::parse(css).map_err(FieldError::Css)?;
        Ok(Self { name: bare.to_owned(), all, css, part })
    }

    /// What it is where nothing matches.
    pub(super) fn empty_value(&self) -> Value {
        if self.all { Value::Array(Vec::new()) } else { Value::Null }
    }

    /// What it is on this page. What is written takes from `room`, in bytes; where that ends, so does the field.
    pub(super) fn extract(&self, document: &Document, room: &mut usize) -> Value {
        let mut values =
            document.select(&self.css).filter_map(|element| self.element_value(document, element, room));
        if !self.all {
            return values.next().map_or(Value::Null, Value::String);
        }
        Value::Array(values.take(MAX_MATCHES).map(Value::String).collect())
    }

    fn element_value(
        &self,
        document: &Document,
        element: ElementRef<'_>,
        room: &mut usize,
    ) -> Option<String> {
        if *room == 0 {
            return None;
        }
        let mut value = match &self.part {
            FieldPart::Text => text::element_text(element, *room),
            // Twice as much is enough to know that it is too much.
            FieldPart::Html => element.html(),
            FieldPart::Attribute(name) => {
                let value = element.attr(name)?;
                match links::is_url_attribute(name)
                    .then(|| links::resolve_url(document.base(), value))
                    .flatten()
                {
                    Some(url) => url.into(),
                    None => value.to_owned(),
                }
            }
        };
        if value.len() >= *room {
            value.truncate(floor_char_boundary(&value, *room));
            *room = 0;
        } else {
            // An empty value takes room too.
            *room = room.saturating_sub(value.len() + VALUE_OVERHEAD);
        }
        Some(value)
    }
}

/// What is wrong with a field: its name, or its selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldError {
    Name(SelectorError),
    Css(SelectorError),
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(wrong) | Self::Css(wrong) => wrong.fmt(f),
        }
    }
}

/// The selector and what is behind its last `@`, where that is the name of an attribute.
fn split_part(text: &str) -> (&str, FieldPart) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    match text.rsplit_once('@') {
        Some((css, "html")) => (css, FieldPart::Html),
        Some((css, name)) if !name.is_empty() && name.chars().all(is_name) => {
            (css, FieldPart::Attribute(name.to_ascii_lowercase()))
        }
        _ => (text, FieldPart::Text),
    }
}

/// The longest name.
const MAX_NAME: usize = 100;
/// The most values of one field.
const MAX_MATCHES: usize = 10_000;
/// What a value takes beside its bytes.
const VALUE_OVERHEAD: usize = 8;
