//! Tier statistics: for each section of a site, which tier got pages and which was refused.

mod stats;
#[cfg(feature = "memory")]
mod table;
mod tally;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{HostMemory, SiteSection, make_room};
use crate::exchange::tier::Tier;
use crate::os::sync::lock_unpoisoned;

pub use stats::TierMode;
pub use tally::DecayingTally;

pub(crate) use stats::{ProfileDecision, StartTier, TierQuery};
#[cfg(feature = "memory")]
pub use table::TierEntry;
#[cfg(feature = "memory")]
pub(super) use table::{TierRow, TierTable, load};

pub(super) use stats::StatKey;

use stats::SiteTierStats;

/// The properties of an attempt that its result is recorded under.
#[derive(Clone, Debug)]
pub(crate) struct AttemptSample {
    pub(crate) section: Arc<SiteSection>,
    pub(crate) tier: Tier,
    pub(crate) cleared: bool,
    pub(crate) profile: String,
}

/// The statistics of this process, by site.
#[derive(Default)]
pub(super) struct TierCache(Mutex<HashMap<String, SiteTiers>>);

#[derive(Default)]
struct SiteTiers {
    stats: SiteTierStats,
    /// Start times of running tier probes. One fetch probes; the others use the tier that is known to work.
    tier_probes: HashMap<(String, Tier), i64>,
    /// Start times of running probes of the default profile, by path prefix.
    profile_probes: HashMap<String, i64>,
}

impl TierCache {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, SiteTiers>> {
        lock_unpoisoned(&self.0)
    }
}

impl HostMemory {
    /// Returns the tier at which a fetch starts. Only one fetch at a time gets a probe.
    pub(crate) fn start_tier(&self, site: &str, query: &TierQuery<'_>) -> StartTier {
        let now = self.now();
        let mut sites = self.tiers.lock();
        let Some(site) = sites.get_mut(site) else {
            return StartTier { tier: query.start, known: query.start };
        };
        let start = site.stats.start_tier(query, now);
        if !start.is_probe() {
            return start;
        }
        let since = site.tier_probes.entry((query.path_prefix.to_owned(), start.tier)).or_insert(i64::MIN);
        if now.saturating_sub(*since) < PROBE_TIMEOUT {
            return StartTier { tier: start.known, ..start };
        }
        *since = now;
        start
    }

    /// Returns the profile for a fetch. Only one fetch at a time, with `may_probe`, probes the default.
    pub(crate) fn choose_profile(
        &self,
        site: &str,
        query: &TierQuery<'_>,
        is_usable: impl Fn(&str) -> bool,
        may_probe: bool,
    ) -> ProfileDecision {
        let now = self.now();
        let mut sites = self.tiers.lock();
        let Some(site) = sites.get_mut(site) else { return ProfileDecision::Default };
        match site.stats.choose_profile(query, is_usable, now) {
            ProfileDecision::Probe { fallback } => {
                let since = site.profile_probes.entry(query.path_prefix.to_owned()).or_insert(i64::MIN);
                if !may_probe || now.saturating_sub(*since) < PROBE_TIMEOUT {
                    return ProfileDecision::Other(fallback);
                }
                *since = now;
                ProfileDecision::Probe { fallback }
            }
            decision => decision,
        }
    }

    /// Records that an attempt got a page (`is_page`) or was refused.
    pub(crate) fn record_attempt(&self, sample: AttemptSample, is_page: bool) {
        let now = self.now();
        let AttemptSample { section, tier, cleared, profile } = sample;
        let key =
            StatKey { path_prefix: section.path_prefix.clone(), mode: TierMode::new(tier, cleared), profile };
        let tally = if is_page { DecayingTally::from_page(now) } else { DecayingTally::from_refusal(now) };
        #[cfg(feature = "memory")]
        if let Some(store) = &self.store {
            let row = TierRow { site: section.site.clone(), key: key.clone(), tally };
            store.change(|table: &mut TierTable| table.add(row));
        }
        let mut sites = self.tiers.lock();
        let site = site_mut(&mut sites, &section.site);
        if !site.tier_probes.is_empty() {
            site.tier_probes.remove(&(key.path_prefix.clone(), tier));
        }
        if tier == Tier::Impersonate {
            site.profile_probes.remove(&key.path_prefix);
        }
        site.stats.add(key, tally);
    }
}

/// Returns the state of a site, which it creates if it is missing.
fn site_mut<'a>(sites: &'a mut HashMap<String, SiteTiers>, name: &str) -> &'a mut SiteTiers {
    if !sites.contains_key(name) {
        make_room(sites).insert(name.to_owned(), SiteTiers::default());
    }
    sites.get_mut(name).expect("it was just inserted")
}

/// After this many seconds without a result, another fetch gets the probe.
const PROBE_TIMEOUT: i64 = 120;
