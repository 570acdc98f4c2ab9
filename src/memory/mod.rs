//! Host memory: stores which tier, profile and clearance worked at each site, so that the next fetch starts there.
//!
//! It has five parts:
//! - *Tier statistics*: for each section of a site ([`SiteSection`]), which tier got pages and which was refused,
//!   with which browser profile. All processes add to them, and they decay.
//! - *Page sizes*: the usual size of the section's pages, if their sizes are similar.
//! - *False alarms*: kinds of verdicts by the structural detector that the browser disproved.
//! - *Cleared identities*: the cookies that a browser visit got and the requested client hints, until they
//!   expire. They apply only to the same session, proxy, browser profile, location and language.
//! - *Circuits*: failing hosts, and when one request may try them again.

mod circuit;
mod clearance;
mod clearance_state;
mod error;
mod export;
mod false_alarm;
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
pub use false_alarm::FalseAlarm;
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

/// Returns `rungs/memory.sqlite` in the user's data directory: `$XDG_DATA_HOME`, or `~/.local/share`.
/// `None` if the user has no home directory.
#[must_use]
pub fn default_path() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    Some(etcetera::choose_base_strategy().ok()?.data_dir().join("rungs").join("memory.sqlite"))
}
