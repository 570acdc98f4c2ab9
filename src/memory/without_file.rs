//! What a memory without a file does for other processes and later runs: nothing.

#![expect(
    clippy::unused_async,
    clippy::unused_self,
    reason = "the methods are those of a memory with a file"
)]

use super::{Circuit, HostMemory, SavedIdentityKey, SiteSection};
use crate::exchange::tier::Tier;
use crate::identity::Identity;

impl HostMemory {
    pub(crate) const fn has_file(&self) -> bool {
        false
    }

    pub(crate) async fn load(&self, _: &SavedIdentityKey, _: &Identity, _: &SiteSection, _: &str) {}

    pub(crate) async fn flush(&self) {}

    pub(crate) const fn should_check_circuits(&self, _: &str) -> bool {
        false
    }

    pub(crate) async fn new_circuits(&self, _: &str) -> Vec<Circuit> {
        Vec::new()
    }

    pub(crate) fn record_open_circuit(&self, _: Circuit) {}

    pub(crate) const fn record_closed_circuit(&self, _: &str, _: Tier) {}

    pub(crate) const fn save_identity(&self, _: &SavedIdentityKey, _: &Identity, _: &str, _: &[String]) {}
}
