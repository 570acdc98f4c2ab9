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
use crate::kind::ErrorKind;

pub(crate) use css::Css;
pub(crate) use document::Document;
pub use field::Field;
pub(crate) use links::{MAX_URL, canonical_said, says_nofollow};

/// What to read out of pages. Of one page at most 8 MiB, 400,000 nodes and 512 levels are read, and what is behind that
/// is not; of its fields together 4 MiB, of its text 1 MiB, of its links 10,000.
#[derive(Clone, Debug, Default)]
#[must_use = "it reads nothing by itself"]
pub struct Extract {
    fields: Vec<Field>,
    text: bool,
    links: bool,
}

/// What was read out of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extracted {
    /// The fields by name: a string or `null`, or an array for `name[]`.
    pub fields: Map<String, Value>,
    /// What a reader sees of it, a line for each block, where it was wanted.
    pub text: Option<String>,
    /// The links, where they were wanted: absolute, of http and https alone, without fragment, each once, in order.
    pub links: Option<Vec<String>>,
    /// Which URL the page says it is best known by (`rel=canonical`), where links were wanted.
    pub canonical: Option<String>,
    /// The page was larger, deeper or slower to read than is allowed, and what is behind that was not read.
    pub is_cut: bool,
}

impl Extract {
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
        let field = Field::read(text).map_err(|wrong| {
            let message = format!("`{}`: {wrong}", text.escape_debug());
            Error::new(ErrorKind::InvalidRequest, message)
        })?;
        self.put(field);
        Ok(self)
    }

    /// A field more, in place of one with its name.
    pub(crate) fn put(&mut self, field: Field) {
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
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(Field::name)
    }

    pub(crate) const fn has_text(&self) -> bool {
        self.text
    }

    pub(crate) const fn has_links(&self) -> bool {
        self.links
    }

    /// What is wanted here or there; of two fields with one name, the other's.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for field in &other.fields {
            both.put(field.clone());
        }
        both.text |= other.text;
        both.links |= other.links;
        both
    }

    /// Reads the page at `url`. Takes about a millisecond for 100 KiB, and is not to be called on a thread that fetches.
    #[must_use]
    pub fn of(&self, html: &str, url: &Url) -> Extracted {
        self.from(&Document::read(html, url))
    }

    /// What a page that is no HTML has of it: nothing, said in the same form.
    pub(crate) fn of_other(&self) -> Extracted {
        Extracted {
            fields: self.fields.iter().map(|field| (field.name().to_owned(), field.nothing())).collect(),
            text: None,
            links: self.links.then(Vec::new),
            canonical: None,
            is_cut: false,
        }
    }

    pub(crate) fn from(&self, document: &Document) -> Extracted {
        let mut room = MAX_FIELDS;
        let fields = self.fields.iter().map(|field| (field.name().to_owned(), field.of(document, &mut room)));
        Extracted {
            fields: fields.collect(),
            text: self.text.then(|| text::of_page(document)),
            links: self.links.then(|| links::plain(document)),
            canonical: if self.links { document.canonical().map(ToString::to_string) } else { None },
            is_cut: document.is_cut() || room == 0,
        }
    }
}

/// The most bytes of one page's fields together.
const MAX_FIELDS: usize = 4 << 20;

#[cfg(test)]
mod tests;
