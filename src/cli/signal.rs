//! SIGUSR1: prints the fetches in flight, the phase of each, and its time in that phase.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use rungs::{FetchPhase, Fetcher, InFlight, redact};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Failure;
use super::terminal;

/// A listener for SIGUSR1.
pub(crate) struct DumpOnSignal(Signal);

impl DumpOnSignal {
    /// Starts to listen. Must be called within a runtime.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let signals = signal(SignalKind::user_defined1());
        signals.map(Self).map_err(|cause| Failure::Io("could not listen to SIGUSR1".to_owned(), cause))
    }

    /// Waits for the next signal.
    pub(crate) async fn recv(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Prints the fetches in flight to stderr at each signal.
    pub(crate) async fn run(&mut self, fetcher: &Fetcher) -> Infallible {
        loop {
            self.recv().await;
            let _ = write!(terminal::stderr(), "{}", format_in_flight(&fetcher.in_flight()));
        }
    }
}

/// Formats one line per fetch, in the given order.
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

fn format_phase(phase: FetchPhase, now: Instant) -> String {
    match phase {
        FetchPhase::Robots => "robots.txt",
        FetchPhase::RateLimit => "rate limit of the host",
        FetchPhase::Clearance => "browser visit of another fetch",
        FetchPhase::BrowserQueue => "browser queue",
        FetchPhase::Attempt(rungs::Tier::Browser) => "browser page",
        FetchPhase::Connect(_) => "connection",
        FetchPhase::Response(_) => "response",
        FetchPhase::Body(_) => "body",
        FetchPhase::Backoff { until } => {
            return format!("retry in {},", format_seconds(until.saturating_duration_since(now)));
        }
        // The fetch itself computes and waits for nothing.
        _ => "processing",
    }
    .to_owned()
}

fn format_seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
