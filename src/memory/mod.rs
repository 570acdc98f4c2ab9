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
mod false_alarms;
#[cfg(feature = "memory")]
mod file;
mod page_sizes;
mod site_section;
mod tiers;
mod time;
#[cfg(not(feature = "memory"))]
mod without_file;

use std::collections::HashMap;
#[cfg(feature = "memory")]
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "memory")]
use crate::identity::Identity;
#[cfg(feature = "memory")]
use crate::os::sync::lock_unpoisoned;

pub use circuits::Circuit;
pub use clearances::SavedIdentityKey;
pub use false_alarms::FalseAlarm;
pub use page_sizes::{MarkupSource, PageSizeModel};
pub use site_section::SiteSection;
pub use tiers::{DecayingTally, TierMode};

#[cfg(feature = "memory")]
pub use {
    clearances::ClearanceEntry,
    file::{MemoryFile, Section},
    page_sizes::SizeEntry,
    tiers::TierEntry,
};

pub(crate) use clearances::Clearance;
pub(crate) use page_sizes::{SizeSample, is_similar_size, url_bit};
pub(crate) use tiers::{AttemptSample, ProfileDecision, TierQuery};

/// Seconds since 1970.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// An identity's key and a host.
type IdentityAndHost = (u64, String);

/// The host memory of a fetcher: a cache in this process, and the memory file if there is one. All times are
/// seconds since 1970. The methods of each part are in its file.
pub(crate) struct HostMemory {
    tiers: Arc<tiers::TierCache>,
    page_sizes: page_sizes::SizeCache,
    false_alarms: false_alarms::FalseAlarmCache,
    clearances: clearances::ClearanceCache,
    clock: Clock,
    #[cfg(feature = "memory")]
    circuits: circuits::CircuitCache,
    #[cfg(feature = "memory")]
    store: Option<file::StoreHandle>,
    /// Which identities and hosts were loaded from the file.
    #[cfg(feature = "memory")]
    loaded: std::sync::Mutex<HashMap<IdentityAndHost, Arc<tokio::sync::OnceCell<()>>>>,
}

/// Returns the tables of the memory file. After a write, the cache takes over the tier statistics of all processes.
#[cfg(feature = "memory")]
fn memory_tables(tiers: Option<Arc<tiers::TierCache>>) -> file::Tables {
    file::Tables::new(vec![
        Box::new(tiers::TierTable::new(tiers)),
        Box::new(page_sizes::SizeTable::default()),
        Box::new(false_alarms::FalseAlarmTable::default()),
        Box::new(circuits::CircuitTable::default()),
        Box::new(clearances::ClearanceTable::default()),
    ])
}

impl HostMemory {
    /// Creates a memory in this process.
    pub(crate) fn new() -> Self {
        Self::with_clock(Arc::new(time::now))
    }

    /// Creates a memory in this process that reads the time from `clock`.
    pub(crate) fn with_clock(clock: Clock) -> Self {
        Self {
            tiers: Arc::default(),
            page_sizes: page_sizes::SizeCache::default(),
            false_alarms: false_alarms::FalseAlarmCache::default(),
            clearances: clearances::ClearanceCache::default(),
            clock,
            #[cfg(feature = "memory")]
            circuits: circuits::CircuitCache::default(),
            #[cfg(feature = "memory")]
            store: None,
            #[cfg(feature = "memory")]
            loaded: std::sync::Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }
}

#[cfg(feature = "memory")]
impl HostMemory {
    /// Stores the memory in the file at `path`.
    pub(crate) fn with_file(mut self, path: PathBuf) -> Self {
        let (tables, clock) = (memory_tables(Some(Arc::clone(&self.tiers))), Arc::clone(&self.clock));
        match file::StoreHandle::start(path, tables, move || clock()) {
            Ok(store) => self.store = Some(store),
            Err(cause) => {
                tracing::warn!(%cause, "could not start the host memory thread, nothing is saved");
            }
        }
        self
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
#[cfg(feature = "memory")]
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
