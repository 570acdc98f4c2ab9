//! Host memory: what was learned of each site, so that the next fetch starts where the last one worked.
//!
//! Four things are kept. *Evidence*: for each part of a site ([`Area`]), which tier got pages and which was
//! refused, in which browser's clothes; it adds up over all processes, and fades. *Usual sizes*: how large its
//! pages are, where they are much alike. *Cleared identities*: the cookies a browser earned and the client
//! hints it was asked for, until they run out, for the same session, route, browser profile, place and
//! language alone. *Circuits*: hosts that fail, and when one request may try them again.

mod area;
mod circuit;
mod clearance;
mod evidence;
mod fault;
mod file;
mod keeper;
mod line;
mod live;
mod note;
mod notebook;
mod saved;
mod store;
#[cfg(test)]
mod store_tests;
mod tables;
mod tally;
mod usual;

use std::path::PathBuf;

pub use area::Area;
pub use circuit::Circuit;
pub use evidence::Rung;
pub use notebook::{Cleared, Notebook, Seen, Sizes};
pub use saved::Who;
pub use tally::Tally;
pub use usual::{Form, Usual};

pub(crate) use clearance::Clearance;
pub(crate) use evidence::{Dress, Question};
pub(crate) use live::{Attempted, Memory};
pub(crate) use note::Note;
pub(crate) use saved::Saved;
pub(crate) use usual::{Measure, is_alike, mark};

/// `rungs/memory.sqlite` in the user's folder for data: `$XDG_DATA_HOME`, or `~/.local/share`. `None`
/// where there is no home.
#[must_use]
pub fn default_path() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    Some(etcetera::choose_base_strategy().ok()?.data_dir().join("rungs").join("memory.sqlite"))
}
