//! What a report counts while the batch runs. Bounded, however long that is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use super::most::{Most, Sum};
use super::series::Series;
use super::spread::Spread;
use crate::batch::record::{Ending, Record};
use crate::kind::ErrorKind;
use crate::tier::Tier;
use crate::trace::Attempt;
use crate::verdict::VerdictKind;

/// All that is counted.
#[derive(Debug)]
pub(super) struct Figures {
    began: Instant,
    pub(super) series: Series,
    pub(super) tiers: [Tiered; Tier::ALL.len()],
    pub(super) hosts: Most<Asked>,
    pub(super) proxies: Most<Asked>,
    /// Attempts by what they came to, in words.
    pub(super) verdicts: Most<Asked>,
    /// Fetches that failed, by why.
    pub(super) reasons: BTreeMap<String, Reason>,
    slowest: BinaryHeap<Reverse<Slow>>,
    pub(super) failed: Vec<Told>,
    /// All fetches that have no page.
    pub(super) failures: u64,
}

/// What came of one tier.
#[derive(Debug, Default)]
pub(super) struct Tiered {
    pub(super) asked: Asked,
    /// Fetches that it ended with a page.
    pub(super) pages: u64,
    pub(super) bytes: u64,
}

/// What came of attempts.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) attempts: u64,
    /// By [`CAME`].
    pub(super) came: [u64; CAME.len()],
    pub(super) took: Spread,
}

/// Why fetches failed.
#[derive(Debug)]
pub(super) struct Reason {
    pub(super) count: u64,
    /// The first of them.
    pub(super) url: String,
    pub(super) message: String,
}

/// One fetch, as a line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) url: String,
    pub(super) status: Option<u16>,
    pub(super) tier: Option<Tier>,
    pub(super) attempts: usize,
    /// How long its host's pace had it wait.
    pub(super) waited: Duration,
    pub(super) elapsed: Duration,
    /// Why it failed, in full.
    pub(super) message: String,
}

/// Ordered by how long it took.
#[derive(Debug, PartialEq, Eq)]
struct Slow(Told);

impl Figures {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            series: Series::new(),
            tiers: std::array::from_fn(|_| Tiered::default()),
            hosts: Most::default(),
            proxies: Most::default(),
            verdicts: Most::default(),
            reasons: BTreeMap::new(),
            slowest: BinaryHeap::new(),
            failed: Vec::new(),
            failures: 0,
        }
    }

    /// How long it goes on.
    pub(super) fn passed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn attempted(&mut self, host: &str, attempt: &Attempt, passed: Duration) {
        self.series.at(passed).took.add(attempt.elapsed);
        self.tiers[place(attempt.tier)].asked.add(attempt);
        self.hosts.of(&bounded(host)).add(attempt);
        self.proxies.of(&bounded(attempt.proxy.as_deref().unwrap_or(DIRECT))).add(attempt);
        self.verdicts.of(&bounded(&named(attempt))).add(attempt);
    }

    pub(super) fn ended(&mut self, record: &Record, fail_status: bool, passed: Duration) {
        let ending = record.ending(fail_status);
        let lane = match (ending, record.tier()) {
            (Ending::Succeeded, Some(tier)) => place(tier),
            (Ending::Blocked, _) => 3,
            _ => 4,
        };
        self.series.at(passed).ended[lane] += 1;
        if let (Ok(page), Some(tier)) = (record.outcome(), record.tier()) {
            let tier = &mut self.tiers[place(tier)];
            tier.bytes += page.body_len();
            tier.pages += u64::from(ending == Ending::Succeeded);
        }
        if self.is_slow(record.elapsed()) {
            self.slowest.push(Reverse(Slow(Told::of(record))));
            if self.slowest.len() > SLOWEST {
                self.slowest.pop();
            }
        }
        if ending != Ending::Succeeded {
            self.failed(record);
        }
    }

    /// The slowest fetches, slowest first.
    pub(super) fn slowest(&self) -> Vec<&Told> {
        let mut slowest: Vec<&Slow> = self.slowest.iter().map(|Reverse(slow)| slow).collect();
        slowest.sort_by(|a, b| b.cmp(a));
        slowest.into_iter().map(|slow| &slow.0).collect()
    }

    fn is_slow(&self, elapsed: Duration) -> bool {
        self.slowest.len() < SLOWEST
            || self.slowest.peek().is_some_and(|Reverse(least)| least.0.elapsed < elapsed)
    }

    fn failed(&mut self, record: &Record) {
        self.failures += 1;
        let mut key = why(record);
        if !self.reasons.contains_key(&key) && self.reasons.len() >= REASONS {
            "anything else".clone_into(&mut key);
        }
        match self.reasons.get_mut(&key) {
            Some(reason) => reason.count += 1,
            None => {
                let Told { url, message, .. } = Told::of(record);
                self.reasons.insert(key, Reason { count: 1, url, message });
            }
        }
        if self.failed.len() < FAILED {
            self.failed.push(Told::of(record));
        }
    }
}

impl Asked {
    fn add(&mut self, attempt: &Attempt) {
        self.attempts += 1;
        self.came[came(attempt)] += 1;
        self.took.add(attempt.elapsed);
    }
}

impl Sum for Asked {
    fn weight(&self) -> u64 {
        self.attempts
    }

    fn merge(&mut self, other: &Self) {
        self.attempts += other.attempts;
        for (count, more) in self.came.iter_mut().zip(other.came) {
            *count += more;
        }
        self.took.merge(&other.took);
    }
}

impl Told {
    fn of(record: &Record) -> Self {
        let attempts = record.attempts();
        Self {
            url: bounded(record.url()),
            status: record.status(),
            tier: record.tier(),
            attempts: attempts.len(),
            waited: attempts.iter().map(|attempt| attempt.waited).sum(),
            elapsed: record.elapsed(),
            message: record.outcome().err().map_or_else(String::new, |error| bounded(&error.chain())),
        }
    }
}

impl Ord for Slow {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.elapsed.cmp(&other.0.elapsed).then_with(|| self.0.url.cmp(&other.0.url))
    }
}

impl PartialOrd for Slow {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Where a tier stands among all.
pub(super) const fn place(tier: Tier) -> usize {
    match tier {
        Tier::Plain => 0,
        Tier::Impersonate => 1,
        Tier::Browser => 2,
    }
}

/// Which of [`CAME`] an attempt belongs to.
fn came(attempt: &Attempt) -> usize {
    match (&attempt.verdict, &attempt.error) {
        (Some(verdict), _) => match verdict.kind {
            VerdictKind::Genuine => 0,
            VerdictKind::RateLimit => 2,
            VerdictKind::OriginError => 3,
            VerdictKind::ProxyFault => PROXY,
            _ => 1,
        },
        (None, Some(error)) if error.kind == ErrorKind::Proxy => PROXY,
        (None, _) => 5,
    }
}

/// What an attempt came to, in words.
fn named(attempt: &Attempt) -> String {
    match (&attempt.verdict, &attempt.error) {
        (Some(verdict), _) => match &verdict.vendor {
            Some(vendor) => format!("{vendor} {}", verdict.kind),
            None => verdict.kind.to_string(),
        },
        (None, Some(error)) => format!("no answer: {}", error.kind.name().replace('_', " ")),
        (None, None) => "no answer".to_owned(),
    }
}

/// Why a fetch failed, in few words.
fn why(record: &Record) -> String {
    match record.outcome() {
        Ok(page) => format!("status {}", page.status().as_u16()),
        Err(error) if error.is_blocked() => match record.attempts().last() {
            Some(attempt) => format!("blocked: {}", bounded(&named(attempt))),
            None => "blocked: not asked".to_owned(),
        },
        Err(error) => error.kind().name().replace('_', " "),
    }
}

/// Text from the network, cut to a length.
fn bounded(text: &str) -> String {
    let mut chars = text.chars();
    let mut cut: String = chars.by_ref().take(TEXT).collect();
    if chars.next().is_some() {
        cut.push('…');
    }
    cut
}

/// What attempts come to, as it is drawn.
pub(super) const CAME: [&str; 6] =
    ["genuine", "refused", "rate limit", "origin error", "proxy fault", "no answer"];
/// Proxy faults among [`CAME`].
pub(super) const PROXY: usize = 4;
/// The way without a proxy.
pub(super) const DIRECT: &str = "none (direct)";
/// How many of the slowest fetches are told.
const SLOWEST: usize = 20;
/// How many of the failed fetches are told: the first.
pub(super) const FAILED: usize = 50;
/// The most reasons told apart.
const REASONS: usize = 60;
/// The most characters of any text.
const TEXT: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::trace::AttemptError;
    use crate::verdict::Verdict;

    fn attempt(kind: Option<VerdictKind>, proxy: Option<&str>) -> Attempt {
        Attempt {
            tier: Tier::Impersonate,
            browser_profile: None,
            proxy: proxy.map(ToOwned::to_owned),
            session: None,
            fallback: false,
            status: None,
            verdict: kind.map(|kind| Verdict { kind, vendor: Some("acme".to_owned()), ..Verdict::genuine() }),
            waited: Duration::ZERO,
            elapsed: Duration::from_millis(100),
            error: kind.is_none().then(|| AttemptError { kind: ErrorKind::Proxy, message: String::new() }),
            next: None,
        }
    }

    #[test]
    fn attempts_are_counted_by_what_they_came_to() {
        let mut figures = Figures::new();
        for (kind, at) in [
            (Some(VerdictKind::Genuine), 0),
            (Some(VerdictKind::Challenge), 1),
            (Some(VerdictKind::Stub), 1),
            (Some(VerdictKind::RateLimit), 2),
            (Some(VerdictKind::OriginError), 3),
            (Some(VerdictKind::ProxyFault), PROXY),
            (None, PROXY),
        ] {
            let attempt = attempt(kind, kind.is_none().then_some("http://gate:1"));
            let before = figures.tiers[1].asked.came[at];
            figures.attempted("a.example", &attempt, Duration::ZERO);
            assert_eq!(figures.tiers[1].asked.came[at], before + 1, "{kind:?}");
        }
        let top = figures.proxies.top(9);
        assert_eq!((top.first[0].0, top.first[0].1.attempts), (DIRECT, 6));
        assert_eq!((top.first[1].0, top.first[1].1.came[PROXY]), ("http://gate:1", 1));
        let verdicts = figures.verdicts.top(9);
        assert!(verdicts.first.iter().any(|(name, _)| *name == "acme rate limit"), "words");
        assert!(verdicts.first.iter().any(|(name, _)| *name == "no answer: proxy"), "words");
    }

    #[test]
    fn lists_are_bounded_and_so_is_their_text() {
        let mut figures = Figures::new();
        for n in 0..10_000 {
            let url = format!("http://site.example/{n}/{}", "x".repeat(2000));
            let record = Record::new(&url, Err(Error::new(ErrorKind::Timeout, "y".repeat(5000))));
            figures.ended(&record, false, Duration::ZERO);
        }
        assert_eq!((figures.failures, figures.failed.len()), (10_000, FAILED));
        assert_eq!(figures.slowest().len(), SLOWEST);
        assert_eq!(figures.reasons["timeout"].count, 10_000);
        assert!(figures.failed.iter().all(|told| told.url.chars().count() <= TEXT + 1));
        assert!(figures.failed.iter().all(|told| told.message.chars().count() <= TEXT + 1));
        assert_eq!(figures.series.slots()[0].ended, [0, 0, 0, 0, 10_000]);
    }
}
