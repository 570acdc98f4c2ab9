//! Output formats, one per file.

pub(crate) mod body;
pub(crate) mod human;
pub(crate) mod json;
