//! The memory of a running fetcher: a cache in this process, and the memory file if there is one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::OnceCell;

use super::store::{IdentityRow, TierRow};
use super::store_worker::StoreHandle;
use super::tables::{CircuitUpdate, SizeRow, SizeUpdate};
use super::tiers::{ProfileDecision, SiteTierStats, StartTier, StatKey, TierMode, TierQuery};
use super::{
    Circuit, Clearance, ClearanceState, DecayingTally, FalseAlarm, MarkupSource, PageSizeModel,
    SavedIdentity, SavedIdentityKey, SiteSection, SizeSample,
};
use crate::identity::Identity;
use crate::sync::lock_unpoisoned;
use crate::tier::Tier;
use crate::verdict::VerdictKind;

/// Seconds since 1970.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// An identity's key and a host.
type IdentityAndHost = (u64, String);

/// The host memory of a fetcher. All times are seconds since 1970.
pub(crate) struct HostMemory {
    cache: Arc<MemoryCache>,
    store: Option<StoreHandle>,
    clock: Clock,
    /// Which identities and hosts were loaded from the file.
    loaded: Mutex<HashMap<IdentityAndHost, Arc<OnceCell<()>>>>,
    /// When the circuits of a host were last read from the file.
    circuits_checked: Mutex<HashMap<String, i64>>,
    /// End of the cooldown of each circuit that was already reported.
    reported_circuits: Mutex<HashMap<(String, Tier), i64>>,
}

#[derive(Default)]
struct MemoryCache {
    sites: Mutex<HashMap<String, SiteState>>,
    clearances: Mutex<HashMap<IdentityAndHost, ClearanceState>>,
}

#[derive(Default)]
struct SiteState {
    tiers: SiteTierStats,
    /// Start times of running tier probes. One fetch probes; the others use the tier that is known to work.
    tier_probes: HashMap<(String, Tier), i64>,
    /// Start times of running probes of the default profile, by path prefix.
    profile_probes: HashMap<String, i64>,
    /// Page sizes by markup form and path prefix.
    page_sizes: [HashMap<String, PageSizeModel>; MarkupSource::ALL.len()],
    /// At most one per path prefix and kind.
    false_alarms: Vec<FalseAlarm>,
}

impl SiteState {
    fn page_sizes_mut(&mut self, form: MarkupSource) -> &mut HashMap<String, PageSizeModel> {
        &mut self.page_sizes[form as usize]
    }

    fn add_false_alarm(&mut self, alarm: FalseAlarm) {
        let is_same = |known: &FalseAlarm| known.section == alarm.section && known.kind == alarm.kind;
        if let Some(known) = self.false_alarms.iter_mut().find(|known| is_same(known)) {
            if known.seen < alarm.seen {
                *known = alarm;
            }
            return;
        }
        if self.false_alarms.len() >= MAX_FALSE_ALARMS {
            self.false_alarms.remove(0);
        }
        self.false_alarms.push(alarm);
    }
}

/// The properties of an attempt that its result is recorded under.
#[derive(Clone, Debug)]
pub(crate) struct AttemptSample {
    pub(crate) section: Arc<SiteSection>,
    pub(crate) tier: Tier,
    pub(crate) cleared: bool,
    pub(crate) profile: String,
}

impl HostMemory {
    /// Creates a memory that is stored in the file at `path`, or only in this process.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self::with_clock(path, Arc::new(wall_clock))
    }

    pub(crate) fn with_clock(path: Option<PathBuf>, clock: Clock) -> Self {
        let cache: Arc<MemoryCache> = Arc::default();
        let store = path.and_then(|path| {
            let (now, cache) = (Arc::clone(&clock), Arc::clone(&cache));
            StoreHandle::start(path, move || now(), move |sums| cache.apply_sums(sums))
                .inspect_err(
                    |cause| tracing::warn!(%cause, "could not start the host memory thread, nothing is saved"),
                )
                .ok()
        });
        let (loaded, circuits_checked, reported_circuits) =
            (Mutex::default(), Mutex::default(), Mutex::default());
        Self { cache, store, clock, loaded, circuits_checked, reported_circuits }
    }

    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
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
            let loaded = store.load_site(&section.site, key, host).await;
            {
                let mut sites = self.cache.sites();
                let site = make_room(&mut sites).entry(section.site.clone()).or_default();
                loaded.tallies.into_iter().for_each(|(key, tally)| site.tiers.set(key, tally));
                for SizeRow { path_prefix, form, model, .. } in loaded.page_sizes {
                    let known = site.page_sizes_mut(form).entry(path_prefix).or_default();
                    if known.seen <= model.seen {
                        *known = model;
                    }
                }
                loaded.false_alarms.into_iter().for_each(|alarm| site.add_false_alarm(alarm));
            }
            let Some(saved) = loaded.identity.filter(|saved| saved.state.is_worth_keeping(self.now())) else {
                return;
            };
            let mut clearances = self.cache.clearances();
            make_room(&mut clearances).entry((identity.key(), host.to_owned())).or_insert_with(|| {
                tracing::info!(host, "restored the clearance of an earlier run");
                saved.restore(identity);
                saved.state
            });
        };
        once.get_or_init(|| load).await;
    }

    /// Returns the tier at which a fetch starts. Only one fetch at a time gets a probe.
    pub(crate) fn start_tier(&self, site: &str, query: &TierQuery<'_>) -> StartTier {
        let now = self.now();
        let mut sites = self.cache.sites();
        let Some(site) = sites.get_mut(site) else {
            return StartTier { tier: query.start, known: query.start };
        };
        let start = site.tiers.start_tier(query, now);
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
        let mut sites = self.cache.sites();
        let Some(site) = sites.get_mut(site) else { return ProfileDecision::Default };
        match site.tiers.choose_profile(query, is_usable, now) {
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

    /// Returns the usual size in bytes of the page with this [`url_bit`](super::url_bit), if known.
    pub(crate) fn usual_page_size(
        &self,
        section: &SiteSection,
        form: MarkupSource,
        url_bit: u64,
    ) -> Option<u64> {
        self.cache
            .sites()
            .get_mut(&section.site)?
            .page_sizes_mut(form)
            .get(&section.path_prefix)?
            .bytes_for(url_bit)
    }

    /// Records the size of a page.
    pub(crate) fn record_page_size(&self, section: &SiteSection, form: MarkupSource, sample: SizeSample) {
        let at = self.now();
        let SiteSection { site, path_prefix } = section;
        {
            let mut sites = self.cache.sites();
            let known = site_mut(&mut sites, site).page_sizes_mut(form);
            if !known.contains_key(path_prefix) {
                if known.len() >= MAX_SIZES
                    && let Some(oldest) =
                        known.iter().min_by_key(|(_, model)| model.seen).map(|(prefix, _)| prefix.clone())
                {
                    known.remove(&oldest);
                }
                known.insert(path_prefix.clone(), PageSizeModel::default());
            }
            if let Some(model) = known.get_mut(path_prefix) {
                model.learn(sample, at);
            }
        }
        if let Some(store) = &self.store {
            store.record_size(SizeUpdate {
                site: site.clone(),
                path_prefix: path_prefix.clone(),
                form,
                sample,
                at,
            });
        }
    }

    /// Whether the browser got a page like this one, of `bytes` bytes, that was classified as `kind` too.
    pub(crate) fn is_false_alarm(&self, section: &SiteSection, kind: VerdictKind, bytes: u64) -> bool {
        let now = self.now();
        self.cache.sites().get(&section.site).is_some_and(|site| {
            let mut alarms = site.false_alarms.iter();
            alarms.any(|alarm| alarm.section == *section && alarm.kind == kind && alarm.covers(bytes, now))
        })
    }

    /// Records that the browser got a page that a lower tier refused as `kind`.
    pub(crate) fn record_false_alarm(&self, section: &SiteSection, kind: VerdictKind, bytes: u64) {
        let alarm = FalseAlarm { section: section.clone(), kind, bytes, seen: self.now() };
        site_mut(&mut self.cache.sites(), &section.site).add_false_alarm(alarm.clone());
        if let Some(store) = &self.store {
            store.record_false_alarm(alarm);
        }
    }

    /// Whether the memory is stored in a file.
    pub(crate) const fn has_file(&self) -> bool {
        self.store.is_some()
    }

    /// Whether it is time to read the circuits of `host` from the file again.
    pub(crate) fn should_check_circuits(&self, host: &str) -> bool {
        let now = self.now();
        self.has_file()
            && lock_unpoisoned(&self.circuits_checked)
                .get(host)
                .is_none_or(|last| now.saturating_sub(*last) >= CIRCUIT_CHECK_INTERVAL)
    }

    /// Returns the circuits of `host` that other processes opened and that were not reported yet. Reads the file
    /// at most every five seconds per host.
    pub(crate) async fn new_circuits(&self, host: &str) -> Vec<Circuit> {
        let Some(store) = &self.store else { return Vec::new() };
        let now = self.now();
        {
            let mut checked = lock_unpoisoned(&self.circuits_checked);
            let last = make_room(&mut checked).entry(host.to_owned()).or_insert(i64::MIN);
            if now.saturating_sub(*last) < CIRCUIT_CHECK_INTERVAL {
                return Vec::new();
            }
            *last = now;
        }
        let mut circuits = store.load_circuits(host).await;
        let mut reported = lock_unpoisoned(&self.reported_circuits);
        circuits.retain(|circuit| {
            let key = (circuit.host.clone(), circuit.tier);
            make_room(&mut reported).insert(key, circuit.until).is_none_or(|until| until < circuit.until)
        });
        circuits
    }

    /// Records that a circuit opened, for other processes.
    pub(crate) fn record_open_circuit(&self, circuit: Circuit) {
        let Some(store) = &self.store else { return };
        make_room(&mut lock_unpoisoned(&self.reported_circuits))
            .insert((circuit.host.clone(), circuit.tier), circuit.until);
        store.record_circuit(CircuitUpdate::Open(circuit));
    }

    /// Records that a circuit closed.
    pub(crate) fn record_closed_circuit(&self, host: &str, tier: Tier) {
        if let Some(store) = &self.store {
            store.record_circuit(CircuitUpdate::Closed { host: host.to_owned(), tier });
        }
    }

    /// Records that an attempt got a page (`is_page`) or was refused.
    pub(crate) fn record_attempt(&self, sample: AttemptSample, is_page: bool) {
        let now = self.now();
        let AttemptSample { section, tier, cleared, profile } = sample;
        let key =
            StatKey { path_prefix: section.path_prefix.clone(), mode: TierMode::new(tier, cleared), profile };
        let tally = if is_page { DecayingTally::from_page(now) } else { DecayingTally::from_refusal(now) };
        let store_update = self.store.as_ref().map(|store| (store, key.clone()));
        {
            let mut sites = self.cache.sites();
            let site = site_mut(&mut sites, &section.site);
            if !site.tier_probes.is_empty() {
                site.tier_probes.remove(&(key.path_prefix.clone(), tier));
            }
            if tier == Tier::Impersonate {
                site.profile_probes.remove(&key.path_prefix);
            }
            site.tiers.add(key, tally);
        }
        if let Some((store, key)) = store_update {
            store.record_tally(TierRow { site: section.site.clone(), key, tally });
        }
    }

    /// Returns the clearance state of the identity at `host`, unless it has expired.
    pub(crate) fn clearance(&self, identity: u64, host: &str) -> Option<ClearanceState> {
        let mut clearances = self.cache.clearances();
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
        make_room(&mut self.cache.clearances()).insert((identity, host.to_owned()), state);
    }

    /// Records that the impersonate tier got a page. Returns whether this changed the clearance state.
    pub(crate) fn record_clearance_use(&self, identity: u64, host: &str) -> bool {
        let mut clearances = self.cache.clearances();
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
        let mut clearances = self.cache.clearances();
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
        match SavedIdentity::from_identity(identity, host, state, caller_cookies) {
            Some(saved) => {
                store.save_identity(IdentityRow {
                    host: host.to_owned(),
                    key: key.clone(),
                    identity: saved,
                    learned: self.now(),
                });
            }
            None => {
                tracing::debug!(host, "too many cookies, identity not saved");
                store.drop_identity(key.clone(), host);
            }
        }
    }

    /// Waits until all pending rows are written.
    pub(crate) async fn flush(&self) {
        if let Some(store) = &self.store {
            store.flush().await;
        }
    }
}

impl MemoryCache {
    /// Takes over the tallies of all processes after a write.
    fn apply_sums(&self, sums: Vec<TierRow>) {
        let mut sites = self.sites();
        for TierRow { site, key, tally } in sums {
            if let Some(site) = sites.get_mut(&site) {
                site.tiers.set(key, tally);
            }
        }
    }

    fn sites(&self) -> MutexGuard<'_, HashMap<String, SiteState>> {
        lock_unpoisoned(&self.sites)
    }

    fn clearances(&self) -> MutexGuard<'_, HashMap<IdentityAndHost, ClearanceState>> {
        lock_unpoisoned(&self.clearances)
    }
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

/// Returns the state of a site, which it creates if it is missing.
fn site_mut<'a>(sites: &'a mut HashMap<String, SiteState>, name: &str) -> &'a mut SiteState {
    if !sites.contains_key(name) {
        make_room(sites).insert(name.to_owned(), SiteState::default());
    }
    sites.get_mut(name).expect("it was just inserted")
}

/// Returns the clearance state of the identity at `host`. Allocates no key if there are no clearances.
fn clearance_mut<'a>(
    clearances: &'a mut HashMap<IdentityAndHost, ClearanceState>,
    identity: u64,
    host: &str,
) -> Option<&'a mut ClearanceState> {
    if clearances.is_empty() { None } else { clearances.get_mut(&(identity, host.to_owned())) }
}

fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Maximum number of sites, and of hosts of identities, in the cache.
const MAX_HOSTS: usize = 10_000;
/// Maximum number of page size models per site and markup form in the cache.
const MAX_SIZES: usize = 1000;
/// Maximum number of false alarms per site in the cache.
const MAX_FALSE_ALARMS: usize = 100;
/// Interval at which the circuits of a host are read from the file, in seconds.
const CIRCUIT_CHECK_INTERVAL: i64 = 5;
/// After this many seconds without a result, another fetch gets the probe.
const PROBE_TIMEOUT: i64 = 120;
