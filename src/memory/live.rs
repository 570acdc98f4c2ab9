//! The memory of a running fetcher: in this process, and behind it the file where there is one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::OnceCell;

use super::evidence::{Dress, Evidence, Plan, Question, Rung, Slot};
use super::keeper::Keeper;
use super::store::{Held, Line};
use super::tables::{Measured, Pages, Turned};
use super::{Area, Circuit, Clearance, Form, Measure, Note, Saved, Tally, Usual, Who};
use crate::identity::Identity;
use crate::lock::lock;
use crate::tier::Tier;

/// Seconds since 1970.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// An identity's key and a host.
type Key = (u64, String);

pub(crate) struct Memory {
    live: Arc<Live>,
    keeper: Option<Keeper>,
    clock: Clock,
    /// What was asked of the file already.
    recalled: Mutex<HashMap<Key, Arc<OnceCell<()>>>>,
    /// When the file was last asked of a host's circuits.
    asked: Mutex<HashMap<String, i64>>,
    /// Until when each circuit is open that was told on already.
    told: Mutex<HashMap<(String, Tier), i64>>,
}

#[derive(Default)]
struct Live {
    sites: Mutex<HashMap<String, Site>>,
    notes: Mutex<HashMap<Key, Note>>,
}

#[derive(Default)]
struct Site {
    evidence: Evidence,
    /// Which probes are under way, and since when: one fetch asks, the others go where it is known to work.
    probing: HashMap<(String, Tier), i64>,
    /// In which parts the default profile is worn to learn whether it is let in again, and since when.
    dressing: HashMap<String, i64>,
    /// By form, and by part.
    usual: [HashMap<String, Usual>; Form::ALL.len()],
}

impl Site {
    fn usual(&mut self, form: Form) -> &mut HashMap<String, Usual> {
        &mut self.usual[form as usize]
    }
}

/// An attempt, as evidence.
#[derive(Clone, Debug)]
pub(crate) struct Attempted {
    pub(crate) area: Arc<Area>,
    pub(crate) tier: Tier,
    pub(crate) cleared: bool,
    pub(crate) profile: String,
}

impl Memory {
    /// A memory with this file behind it, or of this process alone.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self::with_clock(path, Arc::new(wall_clock))
    }

    pub(crate) fn with_clock(path: Option<PathBuf>, clock: Clock) -> Self {
        let live: Arc<Live> = Arc::default();
        let keeper = path.and_then(|path| {
            let (now, sites) = (Arc::clone(&clock), Arc::clone(&live));
            Keeper::start(path, move || now(), move |sums| sites.learned(sums))
                .inspect_err(
                    |cause| tracing::warn!(%cause, "no thread for the host memory: it is for this run only"),
                )
                .ok()
        });
        let (recalled, asked, told) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { live, keeper, clock, recalled, asked, told }
    }

    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Brings what the file knows of the site and of the identity at `host`, once.
    pub(crate) async fn recall(&self, who: &Who, identity: &Identity, area: &Area, host: &str) {
        let Some(keeper) = &self.keeper else { return };
        let once = {
            let mut recalled = lock(&self.recalled);
            if recalled.len() >= MAX_HOSTS {
                recalled.clear();
            }
            Arc::clone(recalled.entry((identity.key(), host.to_owned())).or_default())
        };
        let bring = async {
            let recalled = keeper.recall(&area.site, who, host).await;
            {
                let mut sites = self.live.sites();
                let site = room(&mut sites).entry(area.site.clone()).or_default();
                recalled.evidence.into_iter().for_each(|(slot, tally)| site.evidence.set(slot, tally));
                for Pages { group, form, usual, .. } in recalled.usual {
                    let known = site.usual(form).entry(group).or_default();
                    if known.seen <= usual.seen {
                        *known = usual;
                    }
                }
            }
            let Some(saved) = recalled.saved.filter(|saved| saved.note.is_worth_keeping(self.now())) else {
                return;
            };
            let mut notes = self.live.notes();
            room(&mut notes).entry((identity.key(), host.to_owned())).or_insert_with(|| {
                tracing::info!(host, "cleared already, by an earlier run");
                saved.restore(identity);
                saved.note
            });
        };
        once.get_or_init(|| bring).await;
    }

    /// Where a fetch starts. A probe is given to one fetch at a time.
    pub(crate) fn plan(&self, site: &str, question: &Question<'_>) -> Plan {
        let now = self.now();
        let mut sites = self.live.sites();
        let Some(site) = sites.get_mut(site) else {
            return Plan { start: question.start, known: question.start };
        };
        let plan = site.evidence.plan(question, now);
        if !plan.is_probe() {
            return plan;
        }
        let since = site.probing.entry((question.group.to_owned(), plan.start)).or_insert(i64::MIN);
        if now.saturating_sub(*since) < PROBE {
            return Plan { start: plan.known, ..plan };
        }
        *since = now;
        plan
    }

    /// Which profile a fetch wears. The default is probed by one fetch at a time, where it may at all.
    pub(crate) fn dress(
        &self,
        site: &str,
        question: &Question<'_>,
        wearable: impl Fn(&str) -> bool,
        may_probe: bool,
    ) -> Dress {
        let now = self.now();
        let mut sites = self.live.sites();
        let Some(site) = sites.get_mut(site) else { return Dress::Default };
        match site.evidence.dress(question, wearable, now) {
            Dress::Probe { instead } => {
                let since = site.dressing.entry(question.group.to_owned()).or_insert(i64::MIN);
                if !may_probe || now.saturating_sub(*since) < PROBE {
                    return Dress::Other(instead);
                }
                *since = now;
                Dress::Probe { instead }
            }
            dress => dress,
        }
    }

    /// How large the page of this [`mark`](super::mark) usually is, in bytes, where one can tell.
    pub(crate) fn usual(&self, area: &Area, form: Form, mark: u64) -> Option<u64> {
        self.live.sites().get_mut(&area.site)?.usual(form).get(&area.group)?.of(mark)
    }

    /// Learns from the size of a page.
    pub(crate) fn measured(&self, area: &Area, form: Form, measure: Measure) {
        let at = self.now();
        let Area { site, group } = area;
        {
            let mut sites = self.live.sites();
            let known = here(&mut sites, site).usual(form);
            if !known.contains_key(group) {
                if known.len() >= MAX_SIZES
                    && let Some(oldest) =
                        known.iter().min_by_key(|(_, usual)| usual.seen).map(|(group, _)| group.clone())
                {
                    known.remove(&oldest);
                }
                known.insert(group.clone(), Usual::default());
            }
            if let Some(usual) = known.get_mut(group) {
                usual.learn(measure, at);
            }
        }
        if let Some(keeper) = &self.keeper {
            keeper.measured(Measured { site: site.clone(), group: group.clone(), form, measure, at });
        }
    }

    /// Whether there is a file behind it.
    pub(crate) const fn has_file(&self) -> bool {
        self.keeper.is_some()
    }

    /// Whether the file is to be asked again whether other processes found `host` failing.
    pub(crate) fn has_news(&self, host: &str) -> bool {
        let now = self.now();
        self.has_file() && lock(&self.asked).get(host).is_none_or(|last| now.saturating_sub(*last) >= NEWS)
    }

    /// On which tiers other processes found `host` failing, as far as that is news here. The file is asked
    /// every few seconds.
    pub(crate) async fn circuits(&self, host: &str) -> Vec<Circuit> {
        let Some(keeper) = &self.keeper else { return Vec::new() };
        let now = self.now();
        {
            let mut asked = lock(&self.asked);
            let last = room(&mut asked).entry(host.to_owned()).or_insert(i64::MIN);
            if now.saturating_sub(*last) < NEWS {
                return Vec::new();
            }
            *last = now;
        }
        let mut circuits = keeper.circuits(host).await;
        let mut told = lock(&self.told);
        circuits.retain(|circuit| {
            let key = (circuit.host.clone(), circuit.tier);
            room(&mut told).insert(key, circuit.until).is_none_or(|until| until < circuit.until)
        });
        circuits
    }

    /// A host failed too often on a tier: the other processes are told.
    pub(crate) fn opened(&self, circuit: Circuit) {
        let Some(keeper) = &self.keeper else { return };
        room(&mut lock(&self.told)).insert((circuit.host.clone(), circuit.tier), circuit.until);
        keeper.turned(Turned::Open(circuit));
    }

    /// It answered again.
    pub(crate) fn closed(&self, host: &str, tier: Tier) {
        if let Some(keeper) = &self.keeper {
            keeper.turned(Turned::Closed { host: host.to_owned(), tier });
        }
    }

    /// An attempt got a page, or was refused.
    pub(crate) fn tried(&self, attempted: Attempted, page: bool) {
        let now = self.now();
        let Attempted { area, tier, cleared, profile } = attempted;
        let slot = Slot { group: area.group.clone(), rung: Rung::of(tier, cleared), profile };
        let tally = if page { Tally::page(now) } else { Tally::refusal(now) };
        let told = self.keeper.as_ref().map(|keeper| (keeper, slot.clone()));
        {
            let mut sites = self.live.sites();
            let site = here(&mut sites, &area.site);
            if !site.probing.is_empty() {
                site.probing.remove(&(slot.group.clone(), tier));
            }
            if tier == Tier::Impersonate {
                site.dressing.remove(&slot.group);
            }
            site.evidence.add(slot, tally);
        }
        if let Some((keeper, slot)) = told {
            keeper.seen(Line { site: area.site.clone(), slot, tally });
        }
    }

    /// What the identity holds for `host`, unless it is too old.
    pub(crate) fn note(&self, identity: u64, host: &str) -> Option<Note> {
        let mut notes = self.live.notes();
        held(&mut notes, identity, host).filter(|note| note.is_current(self.now())).cloned()
    }

    /// Whether the browser keeps `host`, because clearance does not move.
    pub(crate) fn is_kept(&self, identity: u64, host: &str) -> bool {
        self.note(identity, host).is_some_and(|note| !note.moves)
    }

    /// The browser passed where the tiers below did not.
    pub(crate) fn cleared(&self, identity: u64, host: &str, clearance: Clearance) {
        tracing::info!(
            host,
            cookies = clearance.cookies.join(" "),
            cleared_until = clearance.until,
            "cleared"
        );
        let note = Note::cleared(clearance, self.now());
        room(&mut self.live.notes()).insert((identity, host.to_owned()), note);
    }

    /// The impersonate tier got a page. Whether that is news of a clearance.
    pub(crate) fn impersonated(&self, identity: u64, host: &str) -> bool {
        let mut notes = self.live.notes();
        held(&mut notes, identity, host).is_some_and(|note| {
            let news = !note.proven || !note.moves;
            note.impersonated();
            news
        })
    }

    /// The impersonate tier was refused with the newest clearance. Whether that shows that it does not move.
    pub(crate) fn refused(&self, identity: u64, host: &str) -> bool {
        let now = self.now();
        let mut notes = self.live.notes();
        let news = held(&mut notes, identity, host).is_some_and(|note| note.refused(now));
        if news {
            tracing::info!(host, "clearance does not move: the browser keeps the host");
        }
        news
    }

    /// Writes down what `identity` holds for `host`, without its cookies called as in `typed`.
    pub(crate) fn hold(&self, who: &Who, identity: &Identity, host: &str, typed: &[String]) {
        let Some(keeper) = &self.keeper else { return };
        let Some(note) = self.note(identity.key(), host) else { return };
        match Saved::of(identity, host, note, typed) {
            Some(saved) => {
                keeper.held(Held { host: host.to_owned(), who: who.clone(), saved, learned: self.now() });
            }
            None => {
                tracing::debug!(host, "too many cookies to remember");
                keeper.dropped(who.clone(), host);
            }
        }
    }

    /// Waits until all is written.
    pub(crate) async fn flush(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.flush().await;
        }
    }
}

impl Live {
    /// What all processes saw, as of the last write.
    fn learned(&self, sums: Vec<Line>) {
        let mut sites = self.sites();
        for Line { site, slot, tally } in sums {
            if let Some(site) = sites.get_mut(&site) {
                site.evidence.set(slot, tally);
            }
        }
    }

    fn sites(&self) -> MutexGuard<'_, HashMap<String, Site>> {
        lock(&self.sites)
    }

    fn notes(&self) -> MutexGuard<'_, HashMap<Key, Note>> {
        lock(&self.notes)
    }
}

/// Room for one more: beyond the most half is forgotten at once, rather than one a fetch.
fn room<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>) -> &mut HashMap<K, V> {
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
fn here<'a>(sites: &'a mut HashMap<String, Site>, name: &str) -> &'a mut Site {
    if !sites.contains_key(name) {
        room(sites).insert(name.to_owned(), Site::default());
    }
    sites.get_mut(name).expect("it was put there")
}

/// What the identity holds for `host`. Where nobody holds anything, nothing is looked up.
fn held<'a>(notes: &'a mut HashMap<Key, Note>, identity: u64, host: &str) -> Option<&'a mut Note> {
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
const NEWS: i64 = 5;
/// A probe that told nothing is given to another fetch after so many seconds.
const PROBE: i64 = 120;
