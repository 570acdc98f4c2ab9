//! The memory of a running fetcher: in this process, and behind it the file where there is one.

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
    Circuit, Clearance, ClearanceState, DecayingTally, MarkupSource, PageSizeModel, SavedIdentity,
    SavedIdentityKey, SiteSection, SizeSample,
};
use crate::identity::Identity;
use crate::sync::lock_unpoisoned;
use crate::tier::Tier;

/// Seconds since 1970.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// An identity's key and a host.
type IdentityAndHost = (u64, String);

pub(crate) struct HostMemory {
    cache: Arc<MemoryCache>,
    store: Option<StoreHandle>,
    clock: Clock,
    /// What was asked of the file already.
    loaded: Mutex<HashMap<IdentityAndHost, Arc<OnceCell<()>>>>,
    /// When the file was last asked of a host's circuits.
    circuits_checked: Mutex<HashMap<String, i64>>,
    /// Until when each circuit is open that was told on already.
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
    /// Which probes are under way, and since when: one fetch asks, the others go where it is known to work.
    tier_probes: HashMap<(String, Tier), i64>,
    /// In which parts the default profile is worn to learn whether it is let in again, and since when.
    profile_probes: HashMap<String, i64>,
    /// By form, and by part.
    page_sizes: [HashMap<String, PageSizeModel>; MarkupSource::ALL.len()],
}

impl SiteState {
    fn page_sizes_mut(&mut self, form: MarkupSource) -> &mut HashMap<String, PageSizeModel> {
        &mut self.page_sizes[form as usize]
    }
}

/// An attempt, as evidence.
#[derive(Clone, Debug)]
pub(crate) struct AttemptSample {
    pub(crate) section: Arc<SiteSection>,
    pub(crate) tier: Tier,
    pub(crate) cleared: bool,
    pub(crate) profile: String,
}

impl HostMemory {
    /// A memory with this file behind it, or of this process alone.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self::with_clock(path, Arc::new(wall_clock))
    }

    pub(crate) fn with_clock(path: Option<PathBuf>, clock: Clock) -> Self {
        let cache: Arc<MemoryCache> = Arc::default();
        let store = path.and_then(|path| {
            let (now, sites) = (Arc::clone(&clock), Arc::clone(&cache));
            StoreHandle::start(path, move || now(), move |sums| sites.apply_sums(sums))
                .inspect_err(
                    |cause| tracing::warn!(%cause, "no thread for the host memory: it is for this run only"),
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

    /// Brings what the file knows of the site and of the identity at `host`, once.
    pub(crate) async fn load(
        &self,
        who: &SavedIdentityKey,
        identity: &Identity,
        area: &SiteSection,
        host: &str,
    ) {
        let Some(keeper) = &self.store else { return };
        let once = {
            let mut recalled = lock_unpoisoned(&self.loaded);
            if recalled.len() >= MAX_HOSTS {
                recalled.clear();
            }
            Arc::clone(recalled.entry((identity.key(), host.to_owned())).or_default())
        };
        let bring = async {
            let recalled = keeper.load_site(&area.site, who, host).await;
            {
                let mut sites = self.cache.sites();
                let site = make_room(&mut sites).entry(area.site.clone()).or_default();
                recalled.tallies.into_iter().for_each(|(slot, tally)| site.tiers.set(slot, tally));
                for SizeRow { path_prefix: group, form, model: usual, .. } in recalled.page_sizes {
                    let known = site.page_sizes_mut(form).entry(group).or_default();
                    if known.seen <= usual.seen {
                        *known = usual;
                    }
                }
            }
            let Some(saved) = recalled.identity.filter(|saved| saved.note.is_worth_keeping(self.now()))
            else {
                return;
            };
            let mut notes = self.cache.clearances();
            make_room(&mut notes).entry((identity.key(), host.to_owned())).or_insert_with(|| {
                tracing::info!(host, "cleared already, by an earlier run");
                saved.restore(identity);
                saved.note
            });
        };
        once.get_or_init(|| bring).await;
    }

    /// Where a fetch starts. A probe is given to one fetch at a time.
    pub(crate) fn start_tier(&self, site: &str, question: &TierQuery<'_>) -> StartTier {
        let now = self.now();
        let mut sites = self.cache.sites();
        let Some(site) = sites.get_mut(site) else {
            return StartTier { tier: question.start, known: question.start };
        };
        let plan = site.tiers.start_tier(question, now);
        if !plan.is_probe() {
            return plan;
        }
        let since = site.tier_probes.entry((question.path_prefix.to_owned(), plan.tier)).or_insert(i64::MIN);
        if now.saturating_sub(*since) < PROBE_TIMEOUT {
            return StartTier { tier: plan.known, ..plan };
        }
        *since = now;
        plan
    }

    /// Which profile a fetch wears. The default is probed by one fetch at a time, where it may at all.
    pub(crate) fn choose_profile(
        &self,
        site: &str,
        question: &TierQuery<'_>,
        wearable: impl Fn(&str) -> bool,
        may_probe: bool,
    ) -> ProfileDecision {
        let now = self.now();
        let mut sites = self.cache.sites();
        let Some(site) = sites.get_mut(site) else { return ProfileDecision::Default };
        match site.tiers.choose_profile(question, wearable, now) {
            ProfileDecision::Probe { fallback: instead } => {
                let since = site.profile_probes.entry(question.path_prefix.to_owned()).or_insert(i64::MIN);
                if !may_probe || now.saturating_sub(*since) < PROBE_TIMEOUT {
                    return ProfileDecision::Other(instead);
                }
                *since = now;
                ProfileDecision::Probe { fallback: instead }
            }
            dress => dress,
        }
    }

    /// How large the page of this [`mark`](super::mark) usually is, in bytes, where one can tell.
    pub(crate) fn usual_page_size(&self, area: &SiteSection, form: MarkupSource, mark: u64) -> Option<u64> {
        self.cache.sites().get_mut(&area.site)?.page_sizes_mut(form).get(&area.path_prefix)?.bytes_for(mark)
    }

    /// Learns from the size of a page.
    pub(crate) fn record_page_size(&self, area: &SiteSection, form: MarkupSource, measure: SizeSample) {
        let at = self.now();
        let SiteSection { site, path_prefix: group } = area;
        {
            let mut sites = self.cache.sites();
            let known = site_mut(&mut sites, site).page_sizes_mut(form);
            if !known.contains_key(group) {
                if known.len() >= MAX_SIZES
                    && let Some(oldest) =
                        known.iter().min_by_key(|(_, usual)| usual.seen).map(|(group, _)| group.clone())
                {
                    known.remove(&oldest);
                }
                known.insert(group.clone(), PageSizeModel::default());
            }
            if let Some(usual) = known.get_mut(group) {
                usual.learn(measure, at);
            }
        }
        if let Some(keeper) = &self.store {
            keeper.record_size(SizeUpdate {
                site: site.clone(),
                path_prefix: group.clone(),
                form,
                sample: measure,
                at,
            });
        }
    }

    /// Whether there is a file behind it.
    pub(crate) const fn has_file(&self) -> bool {
        self.store.is_some()
    }

    /// Whether the file is to be asked again whether other processes found `host` failing.
    pub(crate) fn should_check_circuits(&self, host: &str) -> bool {
        let now = self.now();
        self.has_file()
            && lock_unpoisoned(&self.circuits_checked)
                .get(host)
                .is_none_or(|last| now.saturating_sub(*last) >= CIRCUIT_CHECK_INTERVAL)
    }

    /// On which tiers other processes found `host` failing, as far as that is news here. The file is asked
    /// every few seconds.
    pub(crate) async fn new_circuits(&self, host: &str) -> Vec<Circuit> {
        let Some(keeper) = &self.store else { return Vec::new() };
        let now = self.now();
        {
            let mut asked = lock_unpoisoned(&self.circuits_checked);
            let last = make_room(&mut asked).entry(host.to_owned()).or_insert(i64::MIN);
            if now.saturating_sub(*last) < CIRCUIT_CHECK_INTERVAL {
                return Vec::new();
            }
            *last = now;
        }
        let mut circuits = keeper.load_circuits(host).await;
        let mut told = lock_unpoisoned(&self.reported_circuits);
        circuits.retain(|circuit| {
            let key = (circuit.host.clone(), circuit.tier);
            make_room(&mut told).insert(key, circuit.until).is_none_or(|until| until < circuit.until)
        });
        circuits
    }

    /// A host failed too often on a tier: the other processes are told.
    pub(crate) fn record_open_circuit(&self, circuit: Circuit) {
        let Some(keeper) = &self.store else { return };
        make_room(&mut lock_unpoisoned(&self.reported_circuits))
            .insert((circuit.host.clone(), circuit.tier), circuit.until);
        keeper.record_circuit(CircuitUpdate::Open(circuit));
    }

    /// It answered again.
    pub(crate) fn record_closed_circuit(&self, host: &str, tier: Tier) {
        if let Some(keeper) = &self.store {
            keeper.record_circuit(CircuitUpdate::Closed { host: host.to_owned(), tier });
        }
    }

    /// An attempt got a page, or was refused.
    pub(crate) fn record_attempt(&self, attempted: AttemptSample, page: bool) {
        let now = self.now();
        let AttemptSample { section: area, tier, cleared, profile } = attempted;
        let slot =
            StatKey { path_prefix: area.path_prefix.clone(), mode: TierMode::new(tier, cleared), profile };
        let tally = if page { DecayingTally::from_page(now) } else { DecayingTally::from_refusal(now) };
        let told = self.store.as_ref().map(|keeper| (keeper, slot.clone()));
        {
            let mut sites = self.cache.sites();
            let site = site_mut(&mut sites, &area.site);
            if !site.tier_probes.is_empty() {
                site.tier_probes.remove(&(slot.path_prefix.clone(), tier));
            }
            if tier == Tier::Impersonate {
                site.profile_probes.remove(&slot.path_prefix);
            }
            site.tiers.add(slot, tally);
        }
        if let Some((keeper, slot)) = told {
            keeper.record_tally(TierRow { site: area.site.clone(), key: slot, tally });
        }
    }

    /// What the identity holds for `host`, unless it is too old.
    pub(crate) fn clearance(&self, identity: u64, host: &str) -> Option<ClearanceState> {
        let mut notes = self.cache.clearances();
        clearance_mut(&mut notes, identity, host).filter(|note| note.is_current(self.now())).cloned()
    }

    /// Whether the browser keeps `host`, because clearance does not move.
    pub(crate) fn is_browser_only(&self, identity: u64, host: &str) -> bool {
        self.clearance(identity, host).is_some_and(|note| !note.is_portable)
    }

    /// The browser passed where the tiers below did not.
    pub(crate) fn record_clearance(&self, identity: u64, host: &str, clearance: Clearance) {
        tracing::info!(
            host,
            cookies = clearance.cookies.join(" "),
            cleared_until = clearance.until,
            "cleared"
        );
        let note = ClearanceState::new(clearance, self.now());
        make_room(&mut self.cache.clearances()).insert((identity, host.to_owned()), note);
    }

    /// The impersonate tier got a page. Whether that is news of a clearance.
    pub(crate) fn record_clearance_use(&self, identity: u64, host: &str) -> bool {
        let mut notes = self.cache.clearances();
        clearance_mut(&mut notes, identity, host).is_some_and(|note| {
            let news = !note.was_used || !note.is_portable;
            note.mark_used();
            news
        })
    }

    /// The impersonate tier was refused with the newest clearance. Whether that shows that it does not move.
    pub(crate) fn record_clearance_refusal(&self, identity: u64, host: &str) -> bool {
        let now = self.now();
        let mut notes = self.cache.clearances();
        let news = clearance_mut(&mut notes, identity, host).is_some_and(|note| note.mark_refused(now));
        if news {
            tracing::info!(host, "clearance does not move: the browser keeps the host");
        }
        news
    }

    /// Writes down what `identity` holds for `host`, without its cookies called as in `typed`.
    pub(crate) fn save_identity(
        &self,
        who: &SavedIdentityKey,
        identity: &Identity,
        host: &str,
        typed: &[String],
    ) {
        let Some(keeper) = &self.store else { return };
        let Some(note) = self.clearance(identity.key(), host) else { return };
        match SavedIdentity::from_identity(identity, host, note, typed) {
            Some(saved) => {
                keeper.save_identity(IdentityRow {
                    host: host.to_owned(),
                    key: who.clone(),
                    identity: saved,
                    learned: self.now(),
                });
            }
            None => {
                tracing::debug!(host, "too many cookies to remember");
                keeper.drop_identity(who.clone(), host);
            }
        }
    }

    /// Waits until all is written.
    pub(crate) async fn flush(&self) {
        if let Some(keeper) = &self.store {
            keeper.flush().await;
        }
    }
}

impl MemoryCache {
    /// What all processes saw, as of the last write.
    fn apply_sums(&self, sums: Vec<TierRow>) {
        let mut sites = self.sites();
        for TierRow { site, key: slot, tally } in sums {
            if let Some(site) = sites.get_mut(&site) {
                site.tiers.set(slot, tally);
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

/// Room for one more: beyond the most half is forgotten at once, rather than one a fetch.
fn make_room<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>) -> &mut HashMap<K, V> {
    if map.len() >= MAX_HOSTS {
        let mut keep = false;
        map.retain(|_, _| {
            keep = !keep;
            keep
        });
    }
    map
}

/// What is known of this site, made room for where nothing is.
fn site_mut<'a>(sites: &'a mut HashMap<String, SiteState>, name: &str) -> &'a mut SiteState {
    if !sites.contains_key(name) {
        make_room(sites).insert(name.to_owned(), SiteState::default());
    }
    sites.get_mut(name).expect("it was put there")
}

/// What the identity holds for `host`. Where nobody holds anything, nothing is looked up.
fn clearance_mut<'a>(
    notes: &'a mut HashMap<IdentityAndHost, ClearanceState>,
    identity: u64,
    host: &str,
) -> Option<&'a mut ClearanceState> {
    if notes.is_empty() { None } else { notes.get_mut(&(identity, host.to_owned())) }
}

fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The most sites, and the most hosts of identities, that are remembered in a process.
const MAX_HOSTS: usize = 10_000;
/// The most parts of a site whose sizes are remembered in a process, of each form.
const MAX_SIZES: usize = 1000;
/// How often the file is asked whether other processes found a host failing, in seconds.
const CIRCUIT_CHECK_INTERVAL: i64 = 5;
/// A probe that told nothing is given to another fetch after so many seconds.
const PROBE_TIMEOUT: i64 = 120;
