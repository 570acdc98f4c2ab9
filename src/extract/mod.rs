//! What is read out of a page: fields by CSS selectors, its text, its links. Pure.
//!
//! ```
//! use rungs::extract::Extract;
//!
//! let wanted = Extract::new().field("title=h1")?.field("prices[]=.price")?.field("image=img@src")?;
//! let page = "<h1> A  lamp </h1><img src=l.png><p class=price>7</p><p class=price>8</p>";
//! let read = wanted.of(page, &"https://shop.example/p/1".parse().expect("a URL"));
//! assert_eq!(read.fields["title"], "A lamp");
//! assert_eq!(read.fields["prices"], serde_json::json!(["7", "8"]));
//! assert_eq!(read.fields["image"], "https://shop.example/p/l.png");
//! # Ok::<(), rungs::Error>(())
//! ```

mod css;
mod document;
mod field;
mod links;
mod text;

use serde_json::{Map, Value};
use url::Url;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;

pub(crate) use css::CssSelector;
pub(crate) use document::Document;
pub use field::Field;
pub(crate) use links::{MAX_URL, canonical_from_headers, has_nofollow};

/// What to read out of pages. Of one page at most 8 MiB, 400,000 nodes and 512 levels are read, and what is behind that
/// is not; of its fields together 4 MiB, of its text 1 MiB, of its links 10,000.
#[derive(Clone, Debug, Default)]
#[must_use = "it reads nothing by itself"]
pub struct Extractor {
    fields: Vec<Field>,
    text: bool,
    links: bool,
}

/// What was read out of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtractedData {
    /// The fields by name: a string or `null`, or an array for `name[]`.
    pub fields: Map<String, Value>,
    /// What a reader sees of it, a line for each block, where it was wanted.
    pub text: Option<String>,
    /// The links, where they were wanted: absolute, of http and https alone, without fragment, each once, in order.
    pub links: Option<Vec<String>>,
    /// Which URL the page says it is best known by (`rel=canonical`), where links were wanted.
    pub canonical: Option<String>,
    /// The page was larger, deeper or slower to read than is allowed, and what is behind that was not read.
    pub is_truncated: bool,
}

impl Extractor {
    /// Nothing so far.
    pub const fn new() -> Self {
        Self { fields: Vec::new(), text: false, links: false }
    }

    /// A field more: `name=CSS` is the text of the first element that matches, white space collapsed, or `null`;
    /// `name[]=CSS` all of them as an array. `CSS@attr` takes the attribute instead, `@href`, `@src` and the like made
    /// absolute; `CSS@html` the element as HTML. A name is of letters, digits, `_` and `-`; of two fields with one name the
    /// last counts.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] naming what was written and the column that is wrong.
    pub fn field(mut self, text: &str) -> Result<Self> {
        let field = Field::parse(text).map_err(|wrong| {
            let message = format!("`{}`: {wrong}", text.escape_debug());
            Error::new(ErrorKind::InvalidRequest, message)
        })?;
        self.set_field(field);
        Ok(self)
    }

    /// A field more, in place of one with its name.
    pub(crate) fn set_field(&mut self, field: Field) {
        self.fields.retain(|other| other.name() != field.name());
        self.fields.push(field);
    }

    /// Whether the page's text is wanted. Default: false.
    pub const fn text(mut self, wanted: bool) -> Self {
        self.text = wanted;
        self
    }

    /// Whether the page's links are wanted. Default: false.
    pub const fn links(mut self, wanted: bool) -> Self {
        self.links = wanted;
        self
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty() && !self.text && !self.links
    }

    /// The names of the fields, in their order.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(Field::name)
    }

    pub(crate) const fn has_text(&self) -> bool {
        self.text
    }

    pub(crate) const fn has_links(&self) -> bool {
        self.links
    }

    /// What is wanted here or there; of two fields with one name, the other's.
    pub(crate) fn merge(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for field in &other.fields {
            both.set_field(field.clone());
        }
        both.text |= other.text;
        both.links |= other.links;
        both
    }

    /// Reads the page at `url`. Takes about a millisecond for 100 KiB, and is not to be called on a thread that fetches.
    #[must_use]
    pub fn extract(&self, html: &str, url: &Url) -> ExtractedData {
        self.extract_from(&Document::parse(html, url))
    }

    /// What a page that is no HTML has of it: nothing, said in the same form.
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
        let mut room = MAX_FIELD_BYTES;
        let fields =
            self.fields.iter().map(|field| (field.name().to_owned(), field.extract(document, &mut room)));
        ExtractedData {
            fields: fields.collect(),
            text: self.text.then(|| text::page_text(document)),
            links: self.links.then(|| links::link_urls(document)),
            canonical: if self.links { document.canonical().map(ToString::to_string) } else { None },
            is_truncated: document.is_truncated() || room == 0,
        }
    }
}

/// The most bytes of one page's fields together.
const MAX_FIELD_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests;
