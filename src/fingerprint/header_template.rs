//! Header templates compiled once, instead of per request.

use std::fmt;
use std::sync::{Arc, OnceLock};

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// One header: `["name", "value"]`, or `["name"]` for a field that the request fills or omits (`host`,
/// `cookie`, `referer`, `origin`, `content-length`, `content-type`, client hints that need Accept-CH).
/// The value `{site}` is replaced by the request's sec-fetch-site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct TemplateField {
    /// The name, in HTTP/1.1 wire case.
    pub name: String,
    /// The value, or `None` if the request fills it.
    pub value: Option<String>,
}

impl TryFrom<Vec<String>> for TemplateField {
    type Error = String;

    fn try_from(parts: Vec<String>) -> Result<Self, String> {
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), value, None) if HeaderName::from_bytes(name.as_bytes()).is_ok() => {
                Ok(Self { name, value })
            }
            (Some(name), _, None) => Err(format!("`{}` is not a header name", name.escape_debug())),
            _ => Err("a field is [\"name\", \"value\"] or [\"name\"]".to_owned()),
        }
    }
}

impl From<TemplateField> for Vec<String> {
    fn from(field: TemplateField) -> Self {
        std::iter::once(field.name).chain(field.value).collect()
    }
}

/// A compiled header field.
#[derive(Clone, Debug)]
pub(crate) struct CompiledField {
    pub(crate) name: HeaderName,
    /// The name in HTTP/1.1 wire case.
    pub(crate) wire_name: Arc<str>,
    pub(crate) value: FieldValue,
}

/// The value of a field.
#[derive(Clone, Debug)]
pub(crate) enum FieldValue {
    /// The request supplies the value.
    FromRequest,
    Fixed(HeaderValue),
    /// A text with placeholders.
    Template(String),
}

impl CompiledField {
    /// Compiles a field. The error is its name, if that is not a valid header name.
    pub(crate) fn from_field(field: &TemplateField) -> Result<Self, String> {
        let value = match &field.value {
            None => FieldValue::FromRequest,
            Some(text) if text.contains('{') => FieldValue::Template(text.clone()),
            Some(text) => HeaderValue::from_str(text)
                .map_or_else(|_| FieldValue::Template(text.clone()), FieldValue::Fixed),
        };
        let name = field.name.parse().map_err(|_| field.name.clone())?;
        Ok(Self { name, wire_name: field.name.as_str().into(), value })
    }
}

/// The compiled fields of a template. A clone starts empty, since its fields may be changed. It does not
/// count in comparisons.
#[derive(Default)]
pub(crate) struct TemplateCache(OnceLock<Result<Vec<CompiledField>, String>>);

impl TemplateCache {
    /// Returns the compiled fields, or the name of a field that is not a valid header name.
    pub(crate) fn get_or_compile(&self, fields: &[TemplateField]) -> Result<&[CompiledField], &str> {
        let compiled = self.0.get_or_init(|| fields.iter().map(CompiledField::from_field).collect());
        compiled.as_deref().map_err(String::as_str)
    }
}

impl Clone for TemplateCache {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for TemplateCache {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for TemplateCache {}

impl fmt::Debug for TemplateCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TemplateCache")
    }
}
