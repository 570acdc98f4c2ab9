//! A Chromium process and its debugging pipe. The browser tier and the lab use it.

pub(crate) mod connection;
pub(crate) mod error;
pub(crate) mod executable;
pub(crate) mod memory_usage;
pub(crate) mod page_memory;
pub(crate) mod process;
pub(crate) mod process_table;
pub(crate) mod scratch_parent;
pub(crate) mod user_data_dir;
mod watchdog;
