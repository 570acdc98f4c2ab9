//! SIGUSR1: what is in flight, where each fetch waits and since when.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use rungs::{FetchPhase, Fetcher, InFlight, redact};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Failure;

/// Hears SIGUSR1 from now on.
pub(crate) struct DumpOnSignal(Signal);

impl DumpOnSignal {
    /// Must be called within a runtime.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let heard = signal(SignalKind::user_defined1());
        heard.map(Self).map_err(|cause| Failure::Io("could not listen to SIGUSR1".to_owned(), cause))
    }

    /// Ends when somebody asks.
    pub(crate) async fn recv(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Answers on stderr, as often as somebody asks.
    pub(crate) async fn run(&mut self, fetcher: &Fetcher) -> Infallible {
        loop {
            self.recv().await;
            let _ = write!(std::io::stderr(), "{}", format_in_flight(&fetcher.in_flight()));
        }
    }
}

/// A line each, as given.
pub(crate) fn format_in_flight(fetches: &[InFlight]) -> String {
    let mut text = format!("{} in flight\n", fetches.len());
    let now = Instant::now();
    for fetch in fetches {
        let tier = fetch.phase.tier().map_or("-", rungs::Tier::name);
        let _ = writeln!(
            text,
            "{:>9}  attempt {:<2} {tier:<11}  {} for {}  {}",
            format_seconds(fetch.age),
            fetch.attempts + 1,
            format_phase(fetch.phase, now),
            format_seconds(fetch.in_phase_for),
            redact::escape_terminal(&fetch.url)
        );
    }
    text
}

fn format_phase(stage: FetchPhase, now: Instant) -> String {
    match stage {
        FetchPhase::Robots => "robots.txt",
        FetchPhase::RateLimit => "pace of the host",
        FetchPhase::Clearance => "another fetch's visit in the browser",
        FetchPhase::BrowserQueue => "queue of the browser",
        FetchPhase::Attempt(rungs::Tier::Browser) => "page in the browser",
        FetchPhase::Connect(_) => "connection",
        FetchPhase::Response(_) => "answer",
        FetchPhase::Body(_) => "body",
        FetchPhase::Backoff { until } => {
            return format!("retry in {},", format_seconds(until.saturating_duration_since(now)));
        }
        // Work of its own, however long.
        _ => "at work",
    }
    .to_owned()
}

fn format_seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}
