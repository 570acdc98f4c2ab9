//! Logging to stderr. Only events of this program are shown: those of its dependencies may contain header values.

use std::fmt;
use std::io::IsTerminal;

use rungs::redact;
use tracing::Metadata;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::otel::Spans;

/// Starts logging: warnings by default, attempts with `-v`, details with `-vv`. Spans go to a collector if one is set.
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
        .with_target(false)
        .fmt_fields(debug_fn(write_field).delimited(" "));
    let spans = Spans::read();
    let targets = Targets::new().with_target("rungs", level);
    // Only events: an enabled span would be written in front of each of its events.
    let is_shown = move |metadata: &Metadata<'_>| {
        metadata.is_event()
            && (targets.would_enable(metadata.target(), metadata.level())
                || !quiet && Spans::is_loss(metadata))
    };
    let lines = layer.with_filter(filter_fn(is_shown).with_max_level_hint(level));
    tracing_subscriber::registry().with(spans.layer()).with(lines).init();
    spans.log_config_error();
    spans
}

/// Writes one field of an event, escaped: an event may contain text of a site, and is one line.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let text = redact::escape_terminal(&format!("{value:?}"));
    match field.name() {
        "message" => writer.write_str(&text),
        name => write!(writer, "{name}={text}"),
    }
}
