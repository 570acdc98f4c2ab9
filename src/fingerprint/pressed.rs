//! A template's fields as they are put on a request: read once, not for every request.

use std::fmt;
use std::sync::{Arc, OnceLock};

use http::{HeaderName, HeaderValue};

use super::profile::Field;

/// A field, ready to be worn.
#[derive(Clone, Debug)]
pub(crate) struct Pressed {
    pub(crate) name: HeaderName,
    /// The name in the case it has on an HTTP/1.1 wire.
    pub(crate) spelled: Arc<str>,
    pub(crate) value: Filling,
}

/// What stands in a field.
#[derive(Clone, Debug)]
pub(crate) enum Filling {
    /// What the request has for it.
    Open,
    Fixed(HeaderValue),
    /// A text with places in it.
    Written(String),
}

impl Pressed {
    /// The field, or its name when that is none.
    pub(crate) fn of(field: &Field) -> Result<Self, String> {
        let value = match &field.value {
            None => Filling::Open,
            Some(text) if text.contains('{') => Filling::Written(text.clone()),
            Some(text) => {
                HeaderValue::from_str(text).map_or_else(|_| Filling::Written(text.clone()), Filling::Fixed)
            }
        };
        let name = field.name.parse().map_err(|_| field.name.clone())?;
        Ok(Self { name, spelled: field.name.as_str().into(), value })
    }
}

/// What a template keeps of its fields for requests. Its copy, which may be changed, begins with nothing; it is no
/// part of what a template says.
#[derive(Default)]
pub(crate) struct Rail(OnceLock<Result<Vec<Pressed>, String>>);

impl Rail {
    /// The fields of the template that this one belongs to, or the name of one that is none.
    pub(crate) fn of(&self, fields: &[Field]) -> Result<&[Pressed], &str> {
        let pressed = self.0.get_or_init(|| fields.iter().map(Pressed::of).collect());
        pressed.as_deref().map_err(String::as_str)
    }
}

impl Clone for Rail {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Rail {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Rail {}

impl fmt::Debug for Rail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rail")
    }
}
