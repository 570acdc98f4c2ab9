//! The statistics of a report. Their memory is bounded, independent of the batch's size.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::time_series::TimeSeries;
use super::top_n::{Aggregate, TopN};
use crate::batch::record::{Record, RecordStatus};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::tier::Tier;
use crate::exchange::trace::Attempt;
use crate::exchange::verdict::VerdictKind;

/// All statistics of a report.
#[derive(Debug)]
pub(super) struct ReportStats {
    began: Instant,
    pub(super) series: TimeSeries,
    pub(super) tiers: [TierTotals; Tier::ALL.len()],
    pub(super) hosts: TopN<AttemptStats>,
    pub(super) proxies: TopN<AttemptStats>,
    /// Attempts by outcome, in words.
    pub(super) verdicts: TopN<AttemptStats>,
    /// Failed fetches by reason.
    pub(super) reasons: BTreeMap<String, FailureStats>,
    slowest: BinaryHeap<Reverse<SlowFetch>>,
    pub(super) failed_fetches: Vec<FetchRow>,
    /// The number of failed fetches.
    pub(super) failures: u64,
}

/// The totals of one tier.
#[derive(Debug, Default)]
pub(super) struct TierTotals {
    pub(super) attempt_stats: AttemptStats,
    /// Fetches that succeeded on this tier.
    pub(super) pages: u64,
    pub(super) bytes: u64,
}

/// Statistics of attempts.
#[derive(Clone, Debug, Default)]
pub(super) struct AttemptStats {
    pub(super) attempts: u64,
    /// Indexed as [`OUTCOMES`].
    pub(super) outcomes: [u64; OUTCOMES.len()],
    pub(super) latency: Histogram,
}

/// The failed fetches with one reason.
#[derive(Debug)]
pub(super) struct FailureStats {
    pub(super) count: u64,
    /// URL and message of the first of these fetches.
    pub(super) url: String,
    pub(super) message: String,
}

/// One fetch, as a row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FetchRow {
    pub(super) url: String,
    pub(super) status: Option<u16>,
    pub(super) tier: Option<Tier>,
    pub(super) attempts: usize,
    /// The wait for the host's rate limit.
    pub(super) waited: Duration,
    pub(super) elapsed: Duration,
    /// The full error message.
    pub(super) message: String,
}

/// A fetch ordered by its duration.
#[derive(Debug, PartialEq, Eq)]
struct SlowFetch(FetchRow);

impl ReportStats {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            series: TimeSeries::new(),
            tiers: std::array::from_fn(|_| TierTotals::default()),
            hosts: TopN::default(),
            proxies: TopN::default(),
            verdicts: TopN::default(),
            reasons: BTreeMap::new(),
            slowest: BinaryHeap::new(),
            failed_fetches: Vec::new(),
            failures: 0,
        }
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn record_attempt(&mut self, host: &str, attempt: &Attempt, elapsed: Duration) {
        self.series.bucket_mut(elapsed).latency.add(attempt.elapsed);
        self.tiers[tier_index(attempt.tier)].attempt_stats.add(attempt);
        self.hosts.entry(&truncate(host)).add(attempt);
        self.proxies.entry(&truncate(attempt.proxy.as_deref().unwrap_or(DIRECT))).add(attempt);
        self.verdicts.entry(&truncate(&outcome_label(attempt))).add(attempt);
    }

    pub(super) fn record_fetch(&mut self, record: &Record, fail_status: bool, elapsed: Duration) {
        let status = record.record_status(fail_status);
        let lane = match (status, record.tier()) {
            (RecordStatus::Succeeded, Some(tier)) => tier_index(tier),
            (RecordStatus::Blocked, _) => 3,
            _ => 4,
        };
        self.series.bucket_mut(elapsed).ended[lane] += 1;
        if let (Ok(page), Some(tier)) = (record.outcome(), record.tier()) {
            let tier = &mut self.tiers[tier_index(tier)];
            tier.bytes += page.body_len();
            tier.pages += u64::from(status == RecordStatus::Succeeded);
        }
        if self.is_slow(record.elapsed()) {
            self.slowest.push(Reverse(SlowFetch(FetchRow::new(record))));
            if self.slowest.len() > MAX_SLOWEST {
                self.slowest.pop();
            }
        }
        if status != RecordStatus::Succeeded {
            self.record_failure(record);
        }
    }

    /// The slowest fetches, slowest first.
    pub(super) fn slowest(&self) -> Vec<&FetchRow> {
        let mut slowest: Vec<&SlowFetch> = self.slowest.iter().map(|Reverse(slow)| slow).collect();
        slowest.sort_by(|a, b| b.cmp(a));
        slowest.into_iter().map(|slow| &slow.0).collect()
    }

    fn is_slow(&self, elapsed: Duration) -> bool {
        self.slowest.len() < MAX_SLOWEST
            || self.slowest.peek().is_some_and(|Reverse(least)| least.0.elapsed < elapsed)
    }

    fn record_failure(&mut self, record: &Record) {
        self.failures += 1;
        let mut key = failure_reason(record);
        if !self.reasons.contains_key(&key) && self.reasons.len() >= MAX_REASONS {
            "other".clone_into(&mut key);
        }
        match self.reasons.get_mut(&key) {
            Some(reason) => reason.count += 1,
            None => {
                let FetchRow { url, message, .. } = FetchRow::new(record);
                self.reasons.insert(key, FailureStats { count: 1, url, message });
            }
        }
        if self.failed_fetches.len() < MAX_FAILED {
            self.failed_fetches.push(FetchRow::new(record));
        }
    }
}

impl AttemptStats {
    fn add(&mut self, attempt: &Attempt) {
        self.attempts += 1;
        self.outcomes[outcome_index(attempt)] += 1;
        self.latency.add(attempt.elapsed);
    }
}

impl Aggregate for AttemptStats {
    fn weight(&self) -> u64 {
        self.attempts
    }

    fn merge(&mut self, other: &Self) {
        self.attempts += other.attempts;
        for (count, more) in self.outcomes.iter_mut().zip(other.outcomes) {
            *count += more;
        }
        self.latency.merge(&other.latency);
    }
}

impl FetchRow {
    fn new(record: &Record) -> Self {
        let attempts = record.attempts();
        Self {
            url: truncate(record.url()),
            status: record.status(),
            tier: record.tier(),
            attempts: attempts.len(),
            waited: attempts.iter().map(|attempt| attempt.waited).sum(),
            elapsed: record.elapsed(),
            message: record.outcome().err().map_or_else(String::new, |error| truncate(&error.chain())),
        }
    }
}

impl Ord for SlowFetch {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.elapsed.cmp(&other.0.elapsed).then_with(|| self.0.url.cmp(&other.0.url))
    }
}

impl PartialOrd for SlowFetch {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Returns the index of a tier.
pub(super) const fn tier_index(tier: Tier) -> usize {
    match tier {
        Tier::Plain => 0,
        Tier::Impersonate => 1,
        Tier::Browser => 2,
    }
}

/// Returns the index in [`OUTCOMES`] of an attempt.
fn outcome_index(attempt: &Attempt) -> usize {
    match (&attempt.verdict, &attempt.error) {
        (Some(verdict), _) => match verdict.kind {
            VerdictKind::Genuine => 0,
            VerdictKind::RateLimit => 2,
            VerdictKind::OriginError => 3,
            VerdictKind::ProxyFault => PROXY_FAULT,
            _ => 1,
        },
        (None, Some(error)) if error.kind == ErrorKind::Proxy => PROXY_FAULT,
        (None, _) => 5,
    }
}

/// Describes the outcome of an attempt.
fn outcome_label(attempt: &Attempt) -> String {
    match (&attempt.verdict, &attempt.error) {
        (Some(verdict), _) => match &verdict.vendor {
            Some(vendor) => format!("{vendor} {}", verdict.kind),
            None => verdict.kind.to_string(),
        },
        (None, Some(error)) => format!("no answer: {}", error.kind.name().replace('_', " ")),
        (None, None) => "no answer".to_owned(),
    }
}

/// Returns the reason of a failure, in a few words.
fn failure_reason(record: &Record) -> String {
    match record.outcome() {
        Ok(page) => format!("status {}", page.status().as_u16()),
        Err(error) if error.is_blocked() => match record.attempts().last() {
            Some(attempt) => format!("blocked: {}", truncate(&outcome_label(attempt))),
            None => "blocked: no request sent".to_owned(),
        },
        Err(error) => error.kind().name().replace('_', " "),
    }
}

/// Truncates text from the network to [`MAX_TEXT_CHARS`].
fn truncate(text: &str) -> String {
    let mut chars = text.chars();
    let mut cut: String = chars.by_ref().take(MAX_TEXT_CHARS).collect();
    if chars.next().is_some() {
        cut.push('…');
    }
    cut
}

/// The outcomes of attempts, as displayed.
pub(super) const OUTCOMES: [&str; 6] =
    ["genuine", "refused", "rate limit", "origin error", "proxy fault", "no answer"];
/// The index of proxy faults in [`OUTCOMES`].
pub(super) const PROXY_FAULT: usize = 4;
/// The name of a direct connection in the table of proxies.
pub(super) const DIRECT: &str = "none (direct)";
/// The number of slowest fetches in the report.
const MAX_SLOWEST: usize = 20;
/// The number of failed fetches in the report: the first ones.
pub(super) const MAX_FAILED: usize = 50;
/// The maximum number of distinct reasons.
const MAX_REASONS: usize = 60;
/// The maximum number of characters of a text.
const MAX_TEXT_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::error::Error;
    use crate::exchange::trace::AttemptError;
    use crate::exchange::verdict::Verdict;

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
    fn attempts_are_counted_by_outcome() {
        let mut stats = ReportStats::new();
        for (kind, at) in [
            (Some(VerdictKind::Genuine), 0),
            (Some(VerdictKind::Challenge), 1),
            (Some(VerdictKind::Stub), 1),
            (Some(VerdictKind::RateLimit), 2),
            (Some(VerdictKind::OriginError), 3),
            (Some(VerdictKind::ProxyFault), PROXY_FAULT),
            (None, PROXY_FAULT),
        ] {
            let attempt = attempt(kind, kind.is_none().then_some("http://gate:1"));
            let before = stats.tiers[1].attempt_stats.outcomes[at];
            stats.record_attempt("a.example", &attempt, Duration::ZERO);
            assert_eq!(stats.tiers[1].attempt_stats.outcomes[at], before + 1, "{kind:?}");
        }
        let top = stats.proxies.top(9);
        assert_eq!((top.first[0].0, top.first[0].1.attempts), (DIRECT, 6));
        assert_eq!((top.first[1].0, top.first[1].1.outcomes[PROXY_FAULT]), ("http://gate:1", 1));
        let verdicts = stats.verdicts.top(9);
        assert!(verdicts.first.iter().any(|(name, _)| *name == "acme rate limit"), "words");
        assert!(verdicts.first.iter().any(|(name, _)| *name == "no answer: proxy"), "words");
    }

    #[test]
    fn lists_are_bounded_and_so_is_their_text() {
        let mut stats = ReportStats::new();
        for n in 0..10_000 {
            let url = format!("http://site.example/{n}/{}", "x".repeat(2000));
            let record = Record::new(&url, Err(Error::new(ErrorKind::Timeout, "y".repeat(5000))));
            stats.record_fetch(&record, false, Duration::ZERO);
        }
        assert_eq!((stats.failures, stats.failed_fetches.len()), (10_000, MAX_FAILED));
        assert_eq!(stats.slowest().len(), MAX_SLOWEST);
        assert_eq!(stats.reasons["timeout"].count, 10_000);
        assert!(stats.failed_fetches.iter().all(|row| row.url.chars().count() <= MAX_TEXT_CHARS + 1));
        assert!(stats.failed_fetches.iter().all(|row| row.message.chars().count() <= MAX_TEXT_CHARS + 1));
        assert_eq!(stats.series.buckets()[0].ended, [0, 0, 0, 0, 10_000]);
    }
}
