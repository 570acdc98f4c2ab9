//! Logs on stderr, from this program's own code only: what the libraries below log may hold header
//! values.

use std::io::IsTerminal;

use tracing::Metadata;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::otel::Spans;

/// Starts logging: warnings by default, attempts with `-v`, details with `-vv`. Spans go to a collector, or nowhere.
pub(crate) fn start(verbose: u8, quiet: bool) -> Spans {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::OFF,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false);
    let spans = Spans::read();
    let targets = Targets::new().with_target("rungs", level);
    // Spans are no lines of a log, and would be written before each that is.
    let is_shown = move |about: &Metadata<'_>| {
        about.is_event()
            && (targets.would_enable(about.target(), about.level()) || !quiet && Spans::is_loss(about))
    };
    let lines = layer.with_filter(filter_fn(is_shown).with_max_level_hint(level));
    tracing_subscriber::registry().with(spans.layer()).with(lines).init();
    spans.tell();
    spans
}
