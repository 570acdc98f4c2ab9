//! How outcomes are shown: one format a file.

pub(crate) mod body;
pub(crate) mod json;
pub(crate) mod story;
