//! Host memory: stores which tier, profile and clearance worked at each site, so that the next fetch starts there.
//!
//! It has five parts. Each has a file or folder with its model, its table and its lines in an export:
//! - *Tier statistics*: for each section of a site ([`SiteSection`]), which tier got pages and which was refused,
//!   with which browser profile. All processes add to them, and they decay.
//! - *Page sizes*: the usual size of the section's pages, if their sizes are similar.
//! - *False alarms*: kinds of verdicts by the structural detector that the browser disproved.
//! - *Circuits*: failing hosts, and when one request may try them again.
//! - *Clearances*: the cookies that a browser visit got and the requested client hints, until they expire. They
//!   apply only to the same session, proxy, browser profile, location and language.

mod circuits;
mod clearances;
mod error;
mod export;
mod false_alarms;
mod file;
mod memory_file;
mod page_sizes;
mod site_section;
mod store;
#[cfg(test)]
mod store_tests;
mod store_worker;
mod table;
mod tiers;
mod time;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;

use crate::identity::Identity;
use crate::sync::lock_unpoisoned;

pub use circuits::Circuit;
pub use clearances::{ClearanceEntry, SavedIdentityKey};
pub use false_alarms::FalseAlarm;
pub use memory_file::MemoryFile;
pub use page_sizes::{MarkupSource, PageSizeModel, SizeEntry};
pub use site_section::SiteSection;
pub use table::Section;
pub use tiers::{DecayingTally, TierEntry, TierMode};

pub(crate) use clearances::Clearance;
pub(crate) use page_sizes::{SizeSample, is_similar_size, url_bit};
pub(crate) use tiers::{AttemptSample, ProfileDecision, TierQuery};

use circuits::{CircuitCache, CircuitTable};
use clearances::{ClearanceCache, ClearanceTable};
use false_alarms::{FalseAlarmCache, FalseAlarmTable};
use page_sizes::{SizeCache, SizeTable};
use store_worker::StoreHandle;
use table::Tables;
use tiers::{TierCache, TierTable};

/// Seconds since 1970.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// An identity's key and a host.
type IdentityAndHost = (u64, String);

/// The host memory of a fetcher: a cache in this process, and the memory file if there is one. All times are
/// seconds since 1970. The methods of each part are in its file.
pub(crate) struct HostMemory {
    tiers: Arc<TierCache>,
    page_sizes: SizeCache,
    false_alarms: FalseAlarmCache,
    circuits: CircuitCache,
    clearances: ClearanceCache,
    store: Option<StoreHandle>,
    clock: Clock,
    /// Which identities and hosts were loaded from the file.
    loaded: Mutex<HashMap<IdentityAndHost, Arc<OnceCell<()>>>>,
}

/// Returns the tables of the memory file. After a write, the cache takes over the tier statistics of all processes.
fn memory_tables(tiers: Option<Arc<TierCache>>) -> Tables {
    Tables::new(vec![
        Box::new(TierTable::new(tiers)),
        Box::new(SizeTable::default()),
        Box::new(FalseAlarmTable::default()),
        Box::new(CircuitTable::default()),
        Box::new(ClearanceTable::default()),
    ])
}

impl HostMemory {
    /// Creates a memory that is stored in the file at `path`, or only in this process.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self::with_clock(path, Arc::new(time::now))
    }

    pub(crate) fn with_clock(path: Option<PathBuf>, clock: Clock) -> Self {
        let tiers: Arc<TierCache> = Arc::default();
        let store = path.and_then(|path| {
            let now = Arc::clone(&clock);
            StoreHandle::start(path, memory_tables(Some(Arc::clone(&tiers))), move || now())
                .inspect_err(
                    |cause| tracing::warn!(%cause, "could not start the host memory thread, nothing is saved"),
                )
                .ok()
        });
        Self {
            tiers,
            page_sizes: SizeCache::default(),
            false_alarms: FalseAlarmCache::default(),
            circuits: CircuitCache::default(),
            clearances: ClearanceCache::default(),
            store,
            clock,
            loaded: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Whether the memory is stored in a file.
    pub(crate) const fn has_file(&self) -> bool {
        self.store.is_some()
    }

    /// Loads the site, and the saved identity at `host`, from the file. Later calls do nothing.
    pub(crate) async fn load(
        &self,
        key: &SavedIdentityKey,
        identity: &Identity,
        section: &SiteSection,
        host: &str,
    ) {
        let Some(store) = &self.store else { return };
        let once = {
            let mut loaded = lock_unpoisoned(&self.loaded);
            if loaded.len() >= MAX_HOSTS {
                loaded.clear();
            }
            Arc::clone(loaded.entry((identity.key(), host.to_owned())).or_default())
        };
        let load = async {
            let (site, key, name) = (section.site.clone(), key.clone(), host.to_owned());
            let (tiers, page_sizes, false_alarms, saved) = store
                .read(move |connection| {
                    Ok((
                        tiers::load(connection, Some(&site))?,
                        page_sizes::load(connection, Some(&site))?,
                        false_alarms::load(connection, Some(&site))?,
                        clearances::load(connection, &key, &name)?,
                    ))
                })
                .await;
            self.tiers.apply(tiers, true);
            self.page_sizes.apply(page_sizes);
            self.false_alarms.add(false_alarms);
            if let Some(saved) = saved {
                self.clearances.restore(identity, host, saved, self.now());
            }
        };
        once.get_or_init(|| load).await;
    }

    /// Waits until all pending changes are written.
    pub(crate) async fn flush(&self) {
        if let Some(store) = &self.store {
            store.flush().await;
        }
    }
}

/// Returns `rungs/memory.sqlite` in the user's data directory: `$XDG_DATA_HOME`, or `~/.local/share`.
/// `None` if the user has no home directory.
#[must_use]
pub fn default_path() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    Some(etcetera::choose_base_strategy().ok()?.data_dir().join("rungs").join("memory.sqlite"))
}

/// Makes room for one more entry. At the limit it drops half of the entries at once, not one per fetch.
fn make_room<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>) -> &mut HashMap<K, V> {
    if map.len() >= MAX_HOSTS {
        let mut is_kept = false;
        map.retain(|_, _| {
            is_kept = !is_kept;
            is_kept
        });
    }
    map
}

/// Maximum number of sites, and of hosts of identities, in a cache.
const MAX_HOSTS: usize = 10_000;
