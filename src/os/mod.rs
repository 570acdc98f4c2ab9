//! Files, locks and child processes.

#[cfg(any(feature = "browser", feature = "lab"))]
pub(crate) mod child_environment;
pub mod output_file;
pub(crate) mod paths;
pub(crate) mod sync;
