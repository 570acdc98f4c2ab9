//! SIGUSR1: what is in flight, where each fetch waits and since when.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use rungs::{Fetcher, InFlight, Stage, redact};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Failure;

/// Hears SIGUSR1 from now on.
pub(crate) struct Asked(Signal);

impl Asked {
    /// Must be called within a runtime.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let heard = signal(SignalKind::user_defined1());
        heard.map(Self).map_err(|cause| Failure::Io("could not listen to SIGUSR1".to_owned(), cause))
    }

    /// Ends when somebody asks.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Answers on stderr, as often as somebody asks.
    pub(crate) async fn answer(&mut self, fetcher: &Fetcher) -> Infallible {
        loop {
            self.next().await;
            let _ = write!(std::io::stderr(), "{}", told(&fetcher.in_flight()));
        }
    }
}

/// A line each, as given.
pub(crate) fn told(fetches: &[InFlight]) -> String {
    let mut text = format!("{} in flight\n", fetches.len());
    let now = Instant::now();
    for fetch in fetches {
        let tier = fetch.stage.tier().map_or("-", rungs::Tier::name);
        let _ = writeln!(
            text,
            "{:>9}  attempt {:<2} {tier:<11}  {} for {}  {}",
            seconds(fetch.age),
            fetch.attempts + 1,
            place(fetch.stage, now),
            seconds(fetch.there),
            redact::terminal(&fetch.url)
        );
    }
    text
}

fn place(stage: Stage, now: Instant) -> String {
    match stage {
        Stage::Robots => "robots.txt",
        Stage::Turn => "pace of the host",
        Stage::Visit => "another fetch's visit in the browser",
        Stage::Queue => "queue of the browser",
        Stage::Attempt(rungs::Tier::Browser) => "page in the browser",
        Stage::Connect(_) => "connection",
        Stage::Answer(_) => "answer",
        Stage::Body(_) => "body",
        Stage::Rest { until } => {
            return format!("retry in {},", seconds(until.saturating_duration_since(now)));
        }
        // Work of its own, however long.
        _ => "at work",
    }
    .to_owned()
}

fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}
