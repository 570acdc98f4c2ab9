//! `rungs proxy dialects`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use rungs::redact::escape_terminal;
use rungs::target::HumanDuration;
use rungs::{Dialect, Error};
use serde_json::{Value, json};

use crate::cli::config;
use crate::cli::exit::{self, Failure};
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
pub(super) struct ProxyDialectsArgs {
    /// Print the text of this shipped dialect instead, or `template`: what one of your own starts from.
    #[arg(value_name = "NAME", conflicts_with = "format")]
    name: Option<String>,

    /// Add the dialects of this folder. Default: RUNGS_DIALECTS, or ~/.config/rungs/proxies.
    #[arg(long, value_name = "DIR")]
    dialects_dir: Option<PathBuf>,

    /// What to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

pub(super) fn run(args: &ProxyDialectsArgs) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    if let Some(name) = &args.name {
        out.write_all(Dialect::shipped_text(name)?.as_bytes()).map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    let dialects = Dialect::list(config::dialects_dir(args.dialects_dir.as_deref()).as_deref())?;
    match args.format {
        OutputFormat::Text => write_table(&mut out, &dialects),
        OutputFormat::Json => {
            let rows = dialects.iter().map(|dialect| to_json(dialect)).collect::<Result<Vec<_>, _>>()?;
            writeln!(out, "{}", Value::from(rows))
        }
    }
    .map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn write_table(out: &mut impl Write, dialects: &[Arc<Dialect>]) -> std::io::Result<()> {
    let mut rows = vec![
        ["name", "provider", "gateway", "in", "rotates by", "asks for", "sessions last"].map(str::to_owned),
    ];
    for dialect in dialects {
        let gateway = dialect.gateway().map_or_else(|| "-".to_owned(), |gateway| gateway.to_string());
        let wishes: Vec<&str> = dialect.parameters().collect();
        rows.push([
            dialect.name().to_owned(),
            dialect.title().to_owned(),
            gateway,
            dialect.credential_field().to_owned(),
            dialect.rotation().to_string(),
            if wishes.is_empty() { "-".to_owned() } else { wishes.join(",") },
            format_lifetime(dialect),
        ]);
    }
    let widths: Vec<usize> =
        (0..7).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{:<width$}", escape_terminal(cell)))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// How long a session can be asked to last, and how long it does otherwise.
fn format_lifetime(dialect: &Dialect) -> String {
    if !dialect.has_sessions() {
        return "-".to_owned();
    }
    let span = |duration| HumanDuration(duration).to_string();
    let bounds = dialect.ttl_range().map(|(min, max)| format!("{} to {}", span(min), span(max)));
    let by_itself = dialect.lifetime(None).ok().flatten().map(|default| format!("else {}", span(default)));
    let idle = dialect.idle_timeout().map(|idle| format!("{} idle", span(idle)));
    let told: Vec<String> = [bounds, by_itself, idle].into_iter().flatten().collect();
    if told.is_empty() { "not known".to_owned() } else { told.join(", ") }
}

fn to_json(dialect: &Dialect) -> Result<Value, Error> {
    let (source, seen) = dialect.source();
    let lengths = dialect.ttl_range();
    Ok(json!({
        "name": dialect.name(),
        "aliases": dialect.aliases().collect::<Vec<_>>(),
        "title": dialect.title(),
        "gateway": dialect.gateway().map(|gateway| gateway.to_string()),
        "place": dialect.credential_field(),
        "rotation": dialect.rotation().name(),
        "wishes": dialect.parameters().collect::<Vec<_>>(),
        "ttl_min_s": lengths.map(|(min, _)| min.as_secs()),
        "ttl_max_s": lengths.map(|(_, max)| max.as_secs()),
        "ttl_default_s": dialect.lifetime(None)?.map(|default| default.as_secs()),
        "idle_s": dialect.idle_timeout().map(|idle| idle.as_secs()),
        "source": source,
        "seen": seen,
        "third_party": dialect.third_party().collect::<Vec<_>>(),
        "note": dialect.note(),
    }))
}
