//! `--metrics`: what a batch does, as text for Prometheus (OpenMetrics).

mod address;
mod process;
mod server;

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use rungs::Attempt;
use rungs::batch::{FetchRef, Observer, Record, RecordStatus, RunHandle};

pub(crate) use address::MetricsAddress;
pub(crate) use server::MetricsServer;

/// What is counted. Clones count together.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<MetricSet>);

struct MetricSet {
    registry: Registry,
    attempts: Family<AttemptLabels, Counter>,
    attempt_duration: Family<ProxyLabels, Histogram>,
    pace_wait: Histogram,
    fetches: Family<FetchLabels, Counter>,
    fetch_duration: Family<StatusLabels, Histogram>,
    bytes: Counter,
    started: Counter,
    deferred: Counter,
    lag: Histogram,
    gauges: Gauges,
    hosts: LabelCap,
    proxies: LabelCap,
    fail_status: bool,
    run: OnceLock<RunHandle>,
}

/// What is looked up when somebody asks.
#[derive(Default)]
struct Gauges {
    in_flight: Gauge,
    working: Gauge,
    waiting: Gauge,
    limit: Gauge,
    queue: Gauge,
    deferred: Gauge,
    descriptors: Gauge,
    memory: Gauge,
    part: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AttemptLabels {
    tier: &'static str,
    /// Or the kind of the error, where there was no answer.
    verdict: &'static str,
    proxy: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProxyLabels {
    tier: &'static str,
    proxy: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FetchLabels {
    ending: &'static str,
    tier: &'static str,
    host: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabels {
    ending: &'static str,
    tier: &'static str,
}

/// The names that have lines of their own: the first ones.
#[derive(Default)]
struct LabelCap(Mutex<HashSet<String>>);

impl Metrics {
    /// With `fail_status`, a status of 400 or more is a failure.
    pub(crate) fn new(fail_status: bool) -> Self {
        let mut counted = MetricSet {
            registry: Registry::with_prefix("rungs"),
            attempts: Family::default(),
            attempt_duration: Family::new_with_constructor(seconds_histogram),
            pace_wait: seconds_histogram(),
            fetches: Family::default(),
            fetch_duration: Family::new_with_constructor(seconds_histogram),
            bytes: Counter::default(),
            started: Counter::default(),
            deferred: Counter::default(),
            lag: Histogram::new(exponential_buckets(0.0001, 2.0, 14)),
            gauges: Gauges::default(),
            hosts: LabelCap::default(),
            proxies: LabelCap::default(),
            fail_status,
            run: OnceLock::new(),
        };
        counted.register();
        Self(Arc::new(counted))
    }

    /// This is the run that is looked at.
    pub(crate) fn attach(&self, run: RunHandle) {
        // There is one run a program.
        let _ = self.0.run.set(run);
    }

    /// How much later than asked for the runtime woke somebody.
    fn record_lag(&self, seconds: f64) {
        self.0.lag.observe(seconds);
    }

    /// All of it as text.
    fn render(&self) -> String {
        self.0.update_gauges();
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("a string takes all that is written to it");
        text
    }
}

impl MetricSet {
    fn register(&mut self) {
        let Self { registry, gauges: now, .. } = self;
        registry.register("attempts", "Attempts that are over", self.attempts.clone());
        let unit = || Unit::Seconds;
        registry.register_with_unit(
            "attempt",
            "How long attempts took",
            unit(),
            self.attempt_duration.clone(),
        );
        let help = "How long attempts waited for their host's pace";
        registry.register_with_unit("pace_wait", help, unit(), self.pace_wait.clone());
        registry.register("fetches", "Fetches that are over", self.fetches.clone());
        registry.register_with_unit("fetch", "How long fetches took", unit(), self.fetch_duration.clone());
        let help = "Bytes of bodies received";
        registry.register_with_unit("received", help, Unit::Bytes, self.bytes.clone());
        registry.register("begun", "Fetches that began", self.started.clone());
        let help = "Fetches broken off or failed in a way that may pass, to be made again";
        registry.register("put_off", help, self.deferred.clone());
        let help = "How much later than asked for the runtime woke a task";
        registry.register_with_unit("loop_lag", help, unit(), self.lag.clone());
        registry.register("in_flight", "Fetches that began and are not over", now.in_flight.clone());
        let help = "Places taken by fetches that work, and by whoever looks for the next task";
        registry.register("working", help, now.working.clone());
        let help = "Fetches under way that wait for a host, a clock or the browser";
        registry.register("waiting", help, now.waiting.clone());
        registry.register("limit", "How many may work at once now", now.limit.clone());
        registry.register("queue_length", "Tasks read and not begun", now.queue.clone());
        registry.register("to_repeat", "Tasks kept for the second pass", now.deferred.clone());
        registry.register("input_read_ratio", "How much of the input is read", now.part.clone());
        registry.register("open_fds", "File descriptors open", now.descriptors.clone());
        let help = "Resident memory of the program, browsers not counted";
        registry.register_with_unit("resident_memory", help, Unit::Bytes, now.memory.clone());
    }

    fn update_gauges(&self) {
        let now = &self.gauges;
        now.descriptors.set(process::open_descriptors().map_or(-1, to_i64));
        now.memory.set(process::resident_memory().map_or(-1, to_i64));
        let Some(progress) = self.run.get().map(RunHandle::progress) else { return };
        let begun = progress.counters.attempted + now.in_flight.get().unsigned_abs() + progress.put_off;
        now.working.set(to_i64(progress.working));
        now.waiting.set(to_i64(progress.waiting));
        now.limit.set(to_i64(progress.limit));
        now.queue.set(to_i64(progress.read.saturating_sub(begun)));
        now.deferred.set(to_i64(progress.put_off));
        now.part.set(progress.part);
    }
}

impl Observer for Metrics {
    fn on_start(&self, _: &FetchRef<'_>) {
        self.0.started.inc();
        self.0.gauges.in_flight.inc();
    }

    fn on_attempt(&self, _: &FetchRef<'_>, attempt: &Attempt) {
        let proxy =
            attempt.proxy.as_deref().map_or_else(|| "none".to_owned(), |name| self.0.proxies.label_for(name));
        let tier = attempt.tier.name();
        let verdict = match (&attempt.verdict, &attempt.error) {
            (Some(verdict), _) => verdict.kind.name(),
            (None, Some(error)) => error.kind.name(),
            (None, None) => "none",
        };
        self.0.attempts.get_or_create(&AttemptLabels { tier, verdict, proxy: proxy.clone() }).inc();
        let took = attempt.elapsed.as_secs_f64();
        self.0.attempt_duration.get_or_create(&ProxyLabels { tier, proxy }).observe(took);
        self.0.pace_wait.observe(attempt.waited.as_secs_f64());
    }

    fn on_finish(&self, fetch: &FetchRef<'_>, record: &Record) {
        self.0.gauges.in_flight.dec();
        let ending = match record.record_status(self.0.fail_status) {
            RecordStatus::Succeeded => "succeeded",
            RecordStatus::Blocked => "blocked",
            RecordStatus::Failed => "failed",
        };
        let tier = record.tier().map_or("none", rungs::Tier::name);
        let host = self.0.hosts.label_for(fetch.host);
        self.0.fetches.get_or_create(&FetchLabels { ending, tier, host }).inc();
        let took = record.elapsed().as_secs_f64();
        self.0.fetch_duration.get_or_create(&StatusLabels { ending, tier }).observe(took);
        if let Ok(page) = record.outcome() {
            self.0.bytes.inc_by(page.body_len());
        }
    }

    fn on_defer(&self, _: &FetchRef<'_>) {
        self.0.deferred.inc();
        self.0.gauges.in_flight.dec();
    }
}

impl LabelCap {
    /// The name itself while there are few; `other` for one more.
    fn label_for(&self, name: &str) -> String {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) {
            return name.to_owned();
        }
        if known.len() >= MAX_LABELS || name.len() > MAX_LABEL_BYTES {
            return "other".to_owned();
        }
        known.insert(name.to_owned());
        name.to_owned()
    }
}

/// From 2 ms to about a minute.
fn seconds_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.002, 2.0, 16))
}

fn to_i64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How many hosts, and how many proxies, have lines of their own.
const MAX_LABELS: usize = 100;
/// No name of a host is longer.
const MAX_LABEL_BYTES: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_few_and_escaped() {
        let metrics = Metrics::new(false);
        for n in 0..10_000 {
            let host = metrics.0.hosts.label_for(&format!("{n}\"\n\\.example"));
            metrics.0.fetches.get_or_create(&FetchLabels { ending: "failed", tier: "plain", host }).inc();
        }
        let text = metrics.render();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("rungs_fetches_total{")).collect();
        assert_eq!(lines.len(), MAX_LABELS + 1, "{text}");
        assert!(lines.iter().any(|line| line.contains(r#"host="0\"\n\\.example""#)), "{text}");
        assert!(
            lines.iter().any(|line| line.contains(r#"host="other""#) && line.ends_with(" 9900")),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
