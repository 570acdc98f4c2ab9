//! The memory file: an SQLite database that processes share.

mod error;
mod export;
mod memory_file;
mod open;
mod store;
pub(super) mod table;
#[cfg(test)]
mod tests;
mod worker;

pub use memory_file::MemoryFile;
pub use table::Section;

pub(super) use error::StoreError;
pub(super) use table::Tables;
pub(super) use worker::StoreHandle;
