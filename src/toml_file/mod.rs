//! Readers' help for TOML files: errors with their place, and keys that the schema does not have.

mod error;
mod schema_keys;

pub(crate) use error::format_parse_error;
pub(crate) use schema_keys::{SchemaKeys, format_error};
