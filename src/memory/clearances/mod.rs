//! Clearances: the cookies that a browser visit got and the requested client hints, until they expire.

mod clearance;
mod key;
#[cfg(feature = "memory")]
mod saved;
mod state;
#[cfg(feature = "memory")]
mod table;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::{HostMemory, IdentityAndHost, make_room};
use crate::os::sync::lock_unpoisoned;

pub use key::SavedIdentityKey;

pub(crate) use clearance::Clearance;
pub(super) use state::ClearanceState;
#[cfg(feature = "memory")]
pub use table::ClearanceEntry;
#[cfg(feature = "memory")]
pub(super) use table::{ClearanceTable, load};
#[cfg(all(test, feature = "memory"))]
pub(super) use {saved::SavedIdentity, table::IdentityRow};

/// The clearances of this process.
#[derive(Default)]
pub(super) struct ClearanceCache(Mutex<HashMap<IdentityAndHost, ClearanceState>>);

impl ClearanceCache {
    fn lock(&self) -> MutexGuard<'_, HashMap<IdentityAndHost, ClearanceState>> {
        lock_unpoisoned(&self.0)
    }
}

impl HostMemory {
    /// Returns the clearance state of the identity at `host`, unless it has expired.
    pub(crate) fn clearance(&self, identity: u64, host: &str) -> Option<ClearanceState> {
        let mut clearances = self.clearances.lock();
        clearance_mut(&mut clearances, identity, host).filter(|state| state.is_current(self.now())).cloned()
    }

    /// Whether `host` stays on the browser tier, because its clearance is not portable.
    pub(crate) fn is_browser_only(&self, identity: u64, host: &str) -> bool {
        self.clearance(identity, host).is_some_and(|state| !state.is_portable)
    }

    /// Records that a browser visit passed where lower tiers were refused.
    pub(crate) fn record_clearance(&self, identity: u64, host: &str, clearance: Clearance) {
        tracing::info!(
            host,
            cookies = clearance.cookies.join(" "),
            cleared_until = clearance.until,
            "browser visit cleared the host"
        );
        let state = ClearanceState::new(clearance, self.now());
        make_room(&mut self.clearances.lock()).insert((identity, host.to_owned()), state);
    }

    /// Records that the impersonate tier got a page. Returns whether this changed the clearance state.
    pub(crate) fn record_clearance_use(&self, identity: u64, host: &str) -> bool {
        let mut clearances = self.clearances.lock();
        clearance_mut(&mut clearances, identity, host).is_some_and(|state| {
            let changed = !state.was_used || !state.is_portable;
            state.mark_used();
            changed
        })
    }

    /// Records that the impersonate tier was refused with the newest clearance. Returns whether this made the
    /// clearance not portable.
    pub(crate) fn record_clearance_refusal(&self, identity: u64, host: &str) -> bool {
        let now = self.now();
        let mut clearances = self.clearances.lock();
        let changed =
            clearance_mut(&mut clearances, identity, host).is_some_and(|state| state.mark_refused(now));
        if changed {
            tracing::info!(host, "clearance is not portable, keeping the host on the browser tier");
        }
        changed
    }
}

/// Returns the clearance state of the identity at `host`. Allocates no key if there are no clearances.
fn clearance_mut<'a>(
    clearances: &'a mut HashMap<IdentityAndHost, ClearanceState>,
    identity: u64,
    host: &str,
) -> Option<&'a mut ClearanceState> {
    if clearances.is_empty() { None } else { clearances.get_mut(&(identity, host.to_owned())) }
}
