//! Extracts data from a page: fields by CSS selector, its text, its links. Pure.
//!
//! ```
//! use rungs::extract::Extractor;
//!
//! let extractor = Extractor::new().field("title=h1")?.field("prices[]=.price")?.field("image=img@src")?;
//! let page = "<h1> A  lamp </h1><img src=l.png><p class=price>7</p><p class=price>8</p>";
//! let data = extractor.extract(page, &"https://shop.example/p/1".parse().expect("a URL"));
//! assert_eq!(data.fields["title"], "A lamp");
//! assert_eq!(data.fields["prices"], serde_json::json!(["7", "8"]));
//! assert_eq!(data.fields["image"], "https://shop.example/p/l.png");
//! # Ok::<(), rungs::Error>(())
//! ```

mod css;
mod document;
mod elements;
mod field;
mod links;
mod page_urls;
mod shadow;
mod style;
mod text;
mod text_writer;

use encoding_rs::UTF_8;
use serde_json::{Map, Value};
use url::Url;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

pub(crate) use css::CssSelector;
pub(crate) use document::Document;
pub use field::Field;
pub(crate) use links::{MAX_LINKS, SelectorUse, has_nofollow};
pub(crate) use page_urls::{MAX_URL, canonical_from_headers};

/// The data to extract from pages.
///
/// Limits per page: 8 MiB of HTML, 400,000 nodes, 512 levels, 128 attributes of a tag, 4 MiB for all fields, 1 MiB of
/// text, 10,000 links, and 5 s. The extraction of a response also ends with the timeout of its fetch. The rest is
/// ignored.
#[derive(Clone, Debug, Default)]
#[must_use = "an extractor does nothing until it is used"]
pub struct Extractor {
    fields: Vec<Field>,
    text: bool,
    links: bool,
}

/// The data extracted from a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtractedData {
    /// The fields by name: a string or `null`, or an array for `name[]`.
    pub fields: Map<String, Value>,
    /// The visible text as `innerText` in a browser returns it, if requested. Only styles in attributes are known, unless
    /// the browser read the text, see [`RequestBuilder::shown_text`](crate::RequestBuilder::shown_text).
    pub text: Option<String>,
    /// The links, if requested: absolute http and https URLs without fragments, without duplicates, in page order.
    pub links: Option<Vec<String>>,
    /// The page's canonical URL (`rel=canonical`), if links were requested.
    pub canonical: Option<String>,
    /// Whether the page exceeded a size, depth or time limit, so that the rest was not read.
    pub is_truncated: bool,
}

impl Extractor {
    /// Creates an extractor that extracts nothing.
    pub const fn new() -> Self {
        Self { fields: Vec::new(), text: false, links: false }
    }

    /// Adds a field.
    ///
    /// `name=CSS` is the text of the first matching element with collapsed white space, or `null`. `name[]=CSS` is
    /// an array with all matches. `CSS@attr` takes an attribute instead; URL attributes such as `@href` and `@src`
    /// become absolute. `CSS@html` takes the element as HTML. A name consists of letters, digits, `_` and `-`. Of
    /// two fields with the same name, the last one applies.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`], naming the text and the column, if the field is invalid.
    pub fn field(mut self, text: &str) -> Result<Self> {
        let field = Field::parse(text).map_err(|error| {
            let message = format!("`{}`: {error}", text.escape_debug());
            Error::new(ErrorKind::InvalidRequest, message)
        })?;
        self.set_field(field);
        Ok(self)
    }

    /// Adds a field, or replaces the one with its name.
    pub(crate) fn set_field(&mut self, field: Field) {
        self.fields.retain(|other| other.name() != field.name());
        self.fields.push(field);
    }

    /// Whether to extract the page's text. Default: false.
    pub const fn text(mut self, enabled: bool) -> Self {
        self.text = enabled;
        self
    }

    /// Whether to extract the page's links. Default: false.
    pub const fn links(mut self, enabled: bool) -> Self {
        self.links = enabled;
        self
    }

    /// Whether it extracts nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty() && !self.text && !self.links
    }

    /// Returns the names of the fields, in order.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(Field::name)
    }

    pub(crate) const fn has_text(&self) -> bool {
        self.text
    }

    pub(crate) const fn has_links(&self) -> bool {
        self.links
    }

    /// Returns the union of both. Of two fields with the same name, that of `other` applies.
    pub(crate) fn merge(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for field in &other.fields {
            both.set_field(field.clone());
        }
        both.text |= other.text;
        both.links |= other.links;
        both
    }

    /// Extracts the data from the page at `url`, as a browser without scripts reads it. Takes about a millisecond per 100 KiB; do not call it on an async
    /// thread.
    #[must_use]
    pub fn extract(&self, html: &str, url: &Url) -> ExtractedData {
        self.extract_from(&Document::parse(html, url, UTF_8, false, None))
    }

    /// Returns the empty result of a page that is not HTML.
    pub(crate) fn extract_nothing(&self) -> ExtractedData {
        ExtractedData {
            fields: self.fields.iter().map(|field| (field.name().to_owned(), field.empty_value())).collect(),
            text: None,
            links: self.links.then(Vec::new),
            canonical: None,
            is_truncated: false,
        }
    }

    pub(crate) fn extract_from(&self, document: &Document) -> ExtractedData {
        let mut remaining = MAX_FIELD_BYTES;
        let fields = self
            .fields
            .iter()
            .map(|field| (field.name().to_owned(), field.extract(document, &mut remaining)));
        ExtractedData {
            fields: fields.collect(),
            text: self.text.then(|| text::page_text(document)),
            links: self.links.then(|| links::link_urls(document)),
            canonical: if self.links { document.canonical().map(ToString::to_string) } else { None },
            is_truncated: document.is_truncated() || remaining == 0,
        }
    }
}

/// Maximum bytes of all fields of a page.
const MAX_FIELD_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod text_tests;
