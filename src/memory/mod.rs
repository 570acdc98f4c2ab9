//! Host memory: what was learned of each site, so that the next fetch starts where the last one worked.
//!
//! Four things are kept. *Evidence*: for each part of a site ([`Area`]), which tier got pages and which was
//! refused, in which browser's clothes; it adds up over all processes, and fades. *Usual sizes*: how large its
//! pages are, where they are much alike. *Cleared identities*: the cookies a browser earned and the client
//! hints it was asked for, until they run out, for the same session, route, browser profile, place and
//! language alone. *Circuits*: hosts that fail, and when one request may try them again.

mod circuit;
mod clearance;
mod clearance_state;
mod error;
mod export;
mod file;
mod host_memory;
mod inspect;
mod page_size;
mod saved_identity;
mod site_section;
mod store;
#[cfg(test)]
mod store_tests;
mod store_worker;
mod tables;
mod tally;
mod tiers;

use std::path::PathBuf;

pub use circuit::Circuit;
pub use inspect::{ClearanceEntry, MemoryFile, SizeEntry, TierEntry};
pub use page_size::{MarkupSource, PageSizeModel};
pub use saved_identity::SavedIdentityKey;
pub use site_section::SiteSection;
pub use tally::DecayingTally;
pub use tiers::TierMode;

pub(crate) use clearance::Clearance;
pub(crate) use clearance_state::ClearanceState;
pub(crate) use host_memory::{AttemptSample, HostMemory};
pub(crate) use page_size::{SizeSample, is_similar_size, url_bit};
pub(crate) use saved_identity::SavedIdentity;
pub(crate) use tiers::{ProfileDecision, TierQuery};

/// `rungs/memory.sqlite` in the user's folder for data: `$XDG_DATA_HOME`, or `~/.local/share`. `None`
/// where there is no home.
#[must_use]
pub fn default_path() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    Some(etcetera::choose_base_strategy().ok()?.data_dir().join("rungs").join("memory.sqlite"))
}
