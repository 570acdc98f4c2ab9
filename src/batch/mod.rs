//! Many URLs: a work list, workers, a journal to resume from, and records written as they come.

mod record;

pub use record::{Ending, Record};
