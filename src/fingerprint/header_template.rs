//! A template's fields as they are put on a request: read once, not for every request.

use std::fmt;
use std::sync::{Arc, OnceLock};

use http::{HeaderName, HeaderValue};

use super::profile::TemplateField;

/// A field, ready to be worn.
#[derive(Clone, Debug)]
pub(crate) struct CompiledField {
    pub(crate) name: HeaderName,
    /// The name in the case it has on an HTTP/1.1 wire.
    pub(crate) wire_name: Arc<str>,
    pub(crate) value: FieldValue,
}

/// What stands in a field.
#[derive(Clone, Debug)]
pub(crate) enum FieldValue {
    /// What the request has for it.
    FromRequest,
    Fixed(HeaderValue),
    /// A text with places in it.
    Template(String),
}

impl CompiledField {
    /// The field, or its name when that is none.
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

/// What a template keeps of its fields for requests. Its copy, which may be changed, begins with nothing; it is no
/// part of what a template says.
#[derive(Default)]
pub(crate) struct TemplateCache(OnceLock<Result<Vec<CompiledField>, String>>);

impl TemplateCache {
    /// The fields of the template that this one belongs to, or the name of one that is none.
    pub(crate) fn get_or_compile(&self, fields: &[TemplateField]) -> Result<&[CompiledField], &str> {
        let pressed = self.0.get_or_init(|| fields.iter().map(CompiledField::from_field).collect());
        pressed.as_deref().map_err(String::as_str)
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
        f.write_str("Rail")
    }
}
