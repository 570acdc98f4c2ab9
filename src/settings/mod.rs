//! Settings of fetches: limits, pace, retries, and how values of TOML files are read.

pub(crate) mod budget;
pub(crate) mod cooldown;
pub(crate) mod limits;
pub(crate) mod provenance;
pub(crate) mod rate_limit;
pub(crate) mod render;
pub(crate) mod retry;
pub mod retry_after;
pub(crate) mod toml_file;
pub(crate) mod units;
