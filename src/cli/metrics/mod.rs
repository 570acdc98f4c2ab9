//! `--metrics`: the metrics of a batch, in OpenMetrics text for Prometheus.

mod address;
mod connections;
mod host;
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

/// The metrics of a batch. Clones share their counts.
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

/// Gauges that are updated at each request for metrics.
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
    /// The kind of the verdict, or of the error when there was no response.
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

/// The label values that have a series of their own. Later values share the series `other`.
#[derive(Default)]
struct LabelCap(Mutex<HashSet<String>>);

impl Metrics {
    /// Creates the metrics. With `fail_status`, a status of 400 or more is a failure.
    pub(crate) fn new(fail_status: bool) -> Self {
        let mut metrics = MetricSet {
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
        metrics.register();
        Self(Arc::new(metrics))
    }

    /// Sets the run that the gauges read.
    pub(crate) fn attach(&self, run: RunHandle) {
        // A process has one run.
        let _ = self.0.run.set(run);
    }

    /// Records how late the runtime woke a task.
    fn record_lag(&self, seconds: f64) {
        self.0.lag.observe(seconds);
    }

    /// Encodes all metrics as text.
    fn render(&self) -> String {
        self.0.update_gauges();
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("writing to a string does not fail");
        text
    }
}

impl MetricSet {
    fn register(&mut self) {
        let Self { registry, gauges, .. } = self;
        registry.register("attempts", "Finished attempts", self.attempts.clone());
        let unit = || Unit::Seconds;
        registry.register_with_unit("attempt", "Duration of attempts", unit(), self.attempt_duration.clone());
        let help = "Time that attempts waited for the rate limit of their host";
        registry.register_with_unit("pace_wait", help, unit(), self.pace_wait.clone());
        registry.register("fetches", "Finished fetches", self.fetches.clone());
        registry.register_with_unit("fetch", "Duration of fetches", unit(), self.fetch_duration.clone());
        let help = "Received body bytes";
        registry.register_with_unit("received", help, Unit::Bytes, self.bytes.clone());
        registry.register("begun", "Started fetches", self.started.clone());
        let help = "Fetches that were interrupted or failed transiently and will be repeated";
        registry.register("put_off", help, self.deferred.clone());
        let help = "Delay with which the runtime wakes tasks";
        registry.register_with_unit("loop_lag", help, unit(), self.lag.clone());
        registry.register("in_flight", "Fetches in flight", gauges.in_flight.clone());
        let help = "Concurrency slots in use by active fetches and by workers that look for a task";
        registry.register("working", help, gauges.working.clone());
        let help = "Fetches in flight that wait for a host, a timer or the browser";
        registry.register("waiting", help, gauges.waiting.clone());
        registry.register("limit", "Current limit of active fetches", gauges.limit.clone());
        registry.register("queue_length", "Tasks that were read and not started", gauges.queue.clone());
        registry.register("to_repeat", "Tasks deferred to the second pass", gauges.deferred.clone());
        registry.register("input_read_ratio", "Part of the input that was read", gauges.part.clone());
        registry.register("open_fds", "Open file descriptors", gauges.descriptors.clone());
        let help = "Resident memory of the program, without browsers";
        registry.register_with_unit("resident_memory", help, Unit::Bytes, gauges.memory.clone());
    }

    fn update_gauges(&self) {
        let gauges = &self.gauges;
        gauges.descriptors.set(process::open_descriptors().map_or(-1, to_i64));
        gauges.memory.set(process::resident_memory().map_or(-1, to_i64));
        let Some(progress) = self.run.get().map(RunHandle::progress) else { return };
        let started = progress.counters.attempted + gauges.in_flight.get().unsigned_abs() + progress.put_off;
        gauges.working.set(to_i64(progress.working));
        gauges.waiting.set(to_i64(progress.waiting));
        gauges.limit.set(to_i64(progress.limit));
        gauges.queue.set(to_i64(progress.read.saturating_sub(started)));
        gauges.deferred.set(to_i64(progress.put_off));
        gauges.part.set(progress.part);
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
        let elapsed = attempt.elapsed.as_secs_f64();
        self.0.attempt_duration.get_or_create(&ProxyLabels { tier, proxy }).observe(elapsed);
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
        let elapsed = record.elapsed().as_secs_f64();
        self.0.fetch_duration.get_or_create(&StatusLabels { ending, tier }).observe(elapsed);
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
    /// Returns the name itself, or `other` when [`MAX_LABELS`] names have a series.
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

/// Creates a histogram with buckets from 2 ms to about a minute.
fn seconds_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.002, 2.0, 16))
}

fn to_i64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The maximum number of hosts, and of proxies, with a series of their own.
const MAX_LABELS: usize = 100;
/// The maximum length of a label value. Host names are shorter.
const MAX_LABEL_BYTES: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_capped_and_escaped() {
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
