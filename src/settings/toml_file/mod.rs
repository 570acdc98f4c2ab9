//! Helpers for reading TOML files: errors with line and column, and the check for unknown keys.

mod error;
mod schema_keys;

pub(crate) use error::format_parse_error;
pub(crate) use schema_keys::{SchemaKeys, format_error};
