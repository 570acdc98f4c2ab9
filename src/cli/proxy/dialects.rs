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
use crate::cli::terminal;
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
pub(super) struct ProxyDialectsArgs {
    /// Shipped dialect to print, or 'template'
    ///
    /// The template is the start of a dialect of your own. Default: list all dialects.
    #[arg(value_name = "NAME", conflicts_with = "format")]
    name: Option<String>,

    /// Folder with your own dialects
    ///
    /// Default: RUNGS_DIALECTS, else ~/.config/rungs/proxies.
    #[arg(long, value_name = "DIR")]
    dialects_dir: Option<PathBuf>,

    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

pub(super) fn run(args: &ProxyDialectsArgs) -> Result<u8, Failure> {
    let mut out = terminal::stdout();
    if let Some(name) = &args.name {
        out.write_all(Dialect::shipped_text(name)?.as_bytes()).map_err(Failure::stdout)?;
        return Ok(exit::OK);
    }
    let dialects = Dialect::list(config::dialects_dir(args.dialects_dir.as_deref()).as_deref())?;
    match args.format {
        OutputFormat::Text => write_table(&mut out, &dialects),
        OutputFormat::Json => {
            let rows = dialects.iter().map(|dialect| to_json(dialect)).collect::<Result<Vec<_>, _>>()?;
            terminal::write_json(&mut out, &rows)
        }
    }
    .map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn write_table(out: &mut impl Write, dialects: &[Arc<Dialect>]) -> std::io::Result<()> {
    let mut rows = vec![
        ["name", "provider", "gateway", "field", "rotation", "parameters", "lifetime"].map(str::to_owned),
    ];
    for dialect in dialects {
        let gateway = dialect.gateway().map_or_else(|| "-".to_owned(), |gateway| gateway.to_string());
        let parameters: Vec<&str> = dialect.parameters().collect();
        rows.push([
            dialect.name().to_owned(),
            dialect.title().to_owned(),
            gateway,
            dialect.credential_field().to_owned(),
            dialect.rotation().to_string(),
            if parameters.is_empty() { "-".to_owned() } else { parameters.join(",") },
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

/// Formats the range of session lifetimes, the default and the idle timeout.
fn format_lifetime(dialect: &Dialect) -> String {
    if !dialect.has_sessions() {
        return "-".to_owned();
    }
    let text = |duration| HumanDuration(duration).to_string();
    let range = dialect.ttl_range().map(|(min, max)| format!("{} to {}", text(min), text(max)));
    let default = dialect.lifetime(None).ok().flatten().map(|default| format!("default {}", text(default)));
    let idle = dialect.idle_timeout().map(|idle| format!("{} idle", text(idle)));
    let parts: Vec<String> = [range, default, idle].into_iter().flatten().collect();
    if parts.is_empty() { "unknown".to_owned() } else { parts.join(", ") }
}

fn to_json(dialect: &Dialect) -> Result<Value, Error> {
    let (source, seen) = dialect.source();
    let ttl_range = dialect.ttl_range();
    Ok(json!({
        "name": dialect.name(),
        "aliases": dialect.aliases().collect::<Vec<_>>(),
        "title": dialect.title(),
        "gateway": dialect.gateway().map(|gateway| gateway.to_string()),
        "place": dialect.credential_field(),
        "rotation": dialect.rotation().name(),
        "wishes": dialect.parameters().collect::<Vec<_>>(),
        "ttl_min_s": ttl_range.map(|(min, _)| min.as_secs()),
        "ttl_max_s": ttl_range.map(|(_, max)| max.as_secs()),
        "ttl_default_s": dialect.lifetime(None)?.map(|default| default.as_secs()),
        "idle_s": dialect.idle_timeout().map(|idle| idle.as_secs()),
        "source": source,
        "seen": seen,
        "third_party": dialect.third_party().collect::<Vec<_>>(),
        "note": dialect.note(),
    }))
}
