//! `--metrics`: what a batch does, as text for Prometheus (OpenMetrics).

mod address;
mod machine;
mod serve;

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
use rungs::batch::{Ending, Fetch, Handle, Observer, Record};

pub(crate) use address::Address;
pub(crate) use serve::Server;

/// What is counted. Clones count together.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Counted>);

struct Counted {
    registry: Registry,
    attempts: Family<AttemptLabels, Counter>,
    took: Family<WayLabels, Histogram>,
    waited: Histogram,
    fetches: Family<FetchLabels, Counter>,
    fetch_took: Family<EndingLabels, Histogram>,
    bytes: Counter,
    begun: Counter,
    put_off: Counter,
    lag: Histogram,
    now: Now,
    hosts: Names,
    proxies: Names,
    fail_status: bool,
    run: OnceLock<Handle>,
}

/// What is looked up when somebody asks.
#[derive(Default)]
struct Now {
    in_flight: Gauge,
    working: Gauge,
    waiting: Gauge,
    limit: Gauge,
    queue: Gauge,
    put_off: Gauge,
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
struct WayLabels {
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
struct EndingLabels {
    ending: &'static str,
    tier: &'static str,
}

/// The names that have lines of their own: the first ones.
#[derive(Default)]
struct Names(Mutex<HashSet<String>>);

impl Metrics {
    /// With `fail_status`, a status of 400 or more is a failure.
    pub(crate) fn new(fail_status: bool) -> Self {
        let mut counted = Counted {
            registry: Registry::with_prefix("rungs"),
            attempts: Family::default(),
            took: Family::new_with_constructor(seconds),
            waited: seconds(),
            fetches: Family::default(),
            fetch_took: Family::new_with_constructor(seconds),
            bytes: Counter::default(),
            begun: Counter::default(),
            put_off: Counter::default(),
            lag: Histogram::new(exponential_buckets(0.0001, 2.0, 14)),
            now: Now::default(),
            hosts: Names::default(),
            proxies: Names::default(),
            fail_status,
            run: OnceLock::new(),
        };
        counted.register();
        Self(Arc::new(counted))
    }

    /// This is the run that is looked at.
    pub(crate) fn watch(&self, run: Handle) {
        // There is one run a program.
        let _ = self.0.run.set(run);
    }

    /// How much later than asked for the runtime woke somebody.
    fn lagged(&self, seconds: f64) {
        self.0.lag.observe(seconds);
    }

    /// All of it as text.
    fn text(&self) -> String {
        self.0.look();
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("a string takes all that is written to it");
        text
    }
}

impl Counted {
    fn register(&mut self) {
        let Self { registry, now, .. } = self;
        registry.register("attempts", "Attempts that are over", self.attempts.clone());
        let unit = || Unit::Seconds;
        registry.register_with_unit("attempt", "How long attempts took", unit(), self.took.clone());
        let help = "How long attempts waited for their host's pace";
        registry.register_with_unit("pace_wait", help, unit(), self.waited.clone());
        registry.register("fetches", "Fetches that are over", self.fetches.clone());
        registry.register_with_unit("fetch", "How long fetches took", unit(), self.fetch_took.clone());
        let help = "Bytes of bodies received";
        registry.register_with_unit("received", help, Unit::Bytes, self.bytes.clone());
        registry.register("begun", "Fetches that began", self.begun.clone());
        let help = "Fetches broken off or failed in a way that may pass, to be made again";
        registry.register("put_off", help, self.put_off.clone());
        let help = "How much later than asked for the runtime woke a task";
        registry.register_with_unit("loop_lag", help, unit(), self.lag.clone());
        registry.register("in_flight", "Fetches that began and are not over", now.in_flight.clone());
        let help = "Places taken by fetches that work, and by whoever looks for the next task";
        registry.register("working", help, now.working.clone());
        let help = "Fetches under way that wait for a host, a clock or the browser";
        registry.register("waiting", help, now.waiting.clone());
        registry.register("limit", "How many may work at once now", now.limit.clone());
        registry.register("queue_length", "Tasks read and not begun", now.queue.clone());
        registry.register("to_repeat", "Tasks kept for the second pass", now.put_off.clone());
        registry.register("input_read_ratio", "How much of the input is read", now.part.clone());
        registry.register("open_fds", "File descriptors open", now.descriptors.clone());
        let help = "Resident memory of the program, browsers not counted";
        registry.register_with_unit("resident_memory", help, Unit::Bytes, now.memory.clone());
    }

    fn look(&self) {
        let now = &self.now;
        now.descriptors.set(machine::descriptors().map_or(-1, signed));
        now.memory.set(machine::memory().map_or(-1, signed));
        let Some(progress) = self.run.get().map(Handle::progress) else { return };
        let begun = progress.tally.attempted + now.in_flight.get().unsigned_abs() + progress.put_off;
        now.working.set(signed(progress.working));
        now.waiting.set(signed(progress.waiting));
        now.limit.set(signed(progress.limit));
        now.queue.set(signed(progress.read.saturating_sub(begun)));
        now.put_off.set(signed(progress.put_off));
        now.part.set(progress.part);
    }
}

impl Observer for Metrics {
    fn begun(&self, _: &Fetch<'_>) {
        self.0.begun.inc();
        self.0.now.in_flight.inc();
    }

    fn attempted(&self, _: &Fetch<'_>, attempt: &Attempt) {
        let proxy =
            attempt.proxy.as_deref().map_or_else(|| "none".to_owned(), |name| self.0.proxies.of(name));
        let tier = attempt.tier.name();
        let verdict = match (&attempt.verdict, &attempt.error) {
            (Some(verdict), _) => verdict.kind.name(),
            (None, Some(error)) => error.kind.name(),
            (None, None) => "none",
        };
        self.0.attempts.get_or_create(&AttemptLabels { tier, verdict, proxy: proxy.clone() }).inc();
        let took = attempt.elapsed.as_secs_f64();
        self.0.took.get_or_create(&WayLabels { tier, proxy }).observe(took);
        self.0.waited.observe(attempt.waited.as_secs_f64());
    }

    fn ended(&self, fetch: &Fetch<'_>, record: &Record) {
        self.0.now.in_flight.dec();
        let ending = match record.ending(self.0.fail_status) {
            Ending::Succeeded => "succeeded",
            Ending::Blocked => "blocked",
            Ending::Failed => "failed",
        };
        let tier = record.tier().map_or("none", rungs::Tier::name);
        let host = self.0.hosts.of(fetch.host);
        self.0.fetches.get_or_create(&FetchLabels { ending, tier, host }).inc();
        let took = record.elapsed().as_secs_f64();
        self.0.fetch_took.get_or_create(&EndingLabels { ending, tier }).observe(took);
        if let Ok(page) = record.outcome() {
            self.0.bytes.inc_by(page.body_len());
        }
    }

    fn put_off(&self, _: &Fetch<'_>) {
        self.0.put_off.inc();
        self.0.now.in_flight.dec();
    }
}

impl Names {
    /// The name itself while there are few; `other` for one more.
    fn of(&self, name: &str) -> String {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) {
            return name.to_owned();
        }
        if known.len() >= NAMES || name.len() > LONG {
            return "other".to_owned();
        }
        known.insert(name.to_owned());
        name.to_owned()
    }
}

/// From 2 ms to about a minute.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.002, 2.0, 16))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How many hosts, and how many proxies, have lines of their own.
const NAMES: usize = 100;
/// No name of a host is longer.
const LONG: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_few_and_escaped() {
        let metrics = Metrics::new(false);
        for n in 0..10_000 {
            let host = metrics.0.hosts.of(&format!("{n}\"\n\\.example"));
            metrics.0.fetches.get_or_create(&FetchLabels { ending: "failed", tier: "plain", host }).inc();
        }
        let text = metrics.text();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("rungs_fetches_total{")).collect();
        assert_eq!(lines.len(), NAMES + 1, "{text}");
        assert!(lines.iter().any(|line| line.contains(r#"host="0\"\n\\.example""#)), "{text}");
        assert!(
            lines.iter().any(|line| line.contains(r#"host="other""#) && line.ends_with(" 9900")),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
