//! How outcomes are shown: one format a file.

pub(crate) mod body;
pub(crate) mod human;
pub(crate) mod json;
