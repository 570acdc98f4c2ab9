//! Clearances: the cookies that a browser visit got and the requested client hints, until they expire.

mod clearance;
mod saved;
mod state;
mod table;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use rusqlite::Connection;
use serde::Serialize;

use super::error::StoreError;
use super::{HostMemory, IdentityAndHost, MemoryFile, make_room};
use crate::error::Result;
use crate::identity::Identity;
use crate::sync::lock_unpoisoned;

pub use saved::SavedIdentityKey;

pub(crate) use clearance::Clearance;
pub(super) use saved::SavedIdentity;
pub(super) use state::ClearanceState;
pub(super) use table::{ClearanceTable, IdentityRow};

/// A cleared identity, without the values of its cookies.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ClearanceEntry {
    /// The host that the identity is cleared for.
    pub host: String,
    /// The key of the identity.
    #[serde(flatten)]
    pub key: SavedIdentityKey,
    /// Whether the clearance got a page on the impersonate tier.
    #[serde(rename = "proven")]
    pub was_used: bool,
    /// Whether the impersonate tier can use it. If not, the host stays on the browser tier.
    #[serde(rename = "moves")]
    pub is_portable: bool,
    /// The names of the stored cookies.
    pub cookies: Vec<String>,
    /// When the clearance expires, if a cookie has an expiry; seconds since 1970.
    pub until: Option<i64>,
    /// When the clearance state last changed, in seconds since 1970.
    pub learned: i64,
}

/// The clearances of this process.
#[derive(Default)]
pub(super) struct ClearanceCache(Mutex<HashMap<IdentityAndHost, ClearanceState>>);

impl ClearanceCache {
    /// Restores what an earlier process saved, unless `identity` already has a clearance for `host`.
    pub(super) fn restore(&self, identity: &Identity, host: &str, saved: SavedIdentity, now: i64) {
        if !saved.state.is_worth_keeping(now) {
            return;
        }
        let mut clearances = self.lock();
        make_room(&mut clearances).entry((identity.key(), host.to_owned())).or_insert_with(|| {
            tracing::info!(host, "restored the clearance of an earlier run");
            saved.restore(identity);
            saved.state
        });
    }

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

    /// Saves the state of `identity` at `host`, without the cookies named in `caller_cookies`.
    pub(crate) fn save_identity(
        &self,
        key: &SavedIdentityKey,
        identity: &Identity,
        host: &str,
        caller_cookies: &[String],
    ) {
        let Some(store) = &self.store else { return };
        let Some(state) = self.clearance(identity.key(), host) else { return };
        let saved = SavedIdentity::from_identity(identity, host, state, caller_cookies);
        if saved.is_none() {
            tracing::debug!(host, "too many cookies, identity not saved");
        }
        let (key, host, learned) = (key.clone(), host.to_owned(), self.now());
        store.change(move |table: &mut ClearanceTable| match saved {
            Some(identity) => table.save(IdentityRow { host, key, identity, learned }),
            None => table.delete(key, host),
        });
    }
}

impl MemoryFile {
    /// Returns the cleared identities for `host`'s site, or for all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn clearances(&self, host: Option<&str>) -> Result<Vec<ClearanceEntry>> {
        self.read(host, |connection, matches, _| Ok(table::entries(table::load(connection)?, matches)))
    }
}

/// Returns the identity saved under `key` for `host`.
pub(super) fn load(
    connection: &Connection,
    key: &SavedIdentityKey,
    host: &str,
) -> std::result::Result<Option<SavedIdentity>, StoreError> {
    table::load_one(connection, key, host)
}

/// Returns the clearance state of the identity at `host`. Allocates no key if there are no clearances.
fn clearance_mut<'a>(
    clearances: &'a mut HashMap<IdentityAndHost, ClearanceState>,
    identity: u64,
    host: &str,
) -> Option<&'a mut ClearanceState> {
    if clearances.is_empty() { None } else { clearances.get_mut(&(identity, host.to_owned())) }
}
