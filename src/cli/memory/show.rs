//! `rungs memory show`.

use std::io::Write;
use std::time::{Duration, SystemTime};

use rungs::memory::{Circuit, ClearanceEntry, FalseAlarm, SizeEntry, TierEntry};
use rungs::redact::escape_terminal;
use serde_json::json;

use super::open_existing;
use crate::cli::exit::{self, Failure};
use crate::cli::terminal;
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
pub(super) struct MemoryShowArgs {
    /// Host of the site. Default: all sites
    host: Option<String>,

    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// The content of the memory, as printed.
#[derive(Default, serde::Serialize)]
struct MemoryContents {
    evidence: Vec<TierEntry>,
    sizes: Vec<SizeEntry>,
    false_alarms: Vec<FalseAlarm>,
    identities: Vec<ClearanceEntry>,
    circuits: Vec<Circuit>,
}

pub(super) fn run(args: &MemoryShowArgs) -> Result<u8, Failure> {
    let host = args.host.as_deref();
    let contents = match open_existing()? {
        Some(memory) => MemoryContents {
            evidence: memory.tiers(host)?,
            sizes: memory.page_sizes(host)?,
            false_alarms: memory.false_alarms(host)?,
            identities: memory.clearances(host)?,
            circuits: memory.circuits(host)?,
        },
        None => MemoryContents::default(),
    };
    let mut out = terminal::stdout();
    let result = match args.format {
        OutputFormat::Json => terminal::write_json(&mut out, &json!(contents)),
        OutputFormat::Text => write_text(&mut out, &contents),
    };
    result.map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn write_text(out: &mut impl Write, contents: &MemoryContents) -> std::io::Result<()> {
    let MemoryContents { evidence, sizes, false_alarms, identities, circuits } = contents;
    if evidence.is_empty()
        && sizes.is_empty()
        && false_alarms.is_empty()
        && identities.is_empty()
        && circuits.is_empty()
    {
        return writeln!(out, "host memory is empty");
    }
    write_tiers(out, evidence)?;
    write_sizes(out, sizes)?;
    write_false_alarms(out, false_alarms)?;
    write_circuits(out, circuits)?;
    write_clearances(out, identities)
}

fn write_tiers(out: &mut impl Write, evidence: &[TierEntry]) -> std::io::Result<()> {
    let mut last = String::new();
    for line in evidence {
        let section = escape_terminal(&line.section.to_string());
        if section != last {
            writeln!(out, "{section}")?;
            last = section;
        }
        let state = match line.retry_at {
            Some(at) => format!("{}, next probe {}", line.state, format_date(at)),
            None => line.state.to_owned(),
        };
        writeln!(
            out,
            "  {:<11}  {:<24}  {:>6} pages  {:>6} refusals  seen {}  {state}",
            line.mode.name(),
            escape_terminal(&line.profile),
            line.tally.pages,
            line.tally.refusals,
            format_date(line.tally.seen)
        )?;
    }
    Ok(())
}

fn write_sizes(out: &mut impl Write, sizes: &[SizeEntry]) -> std::io::Result<()> {
    if !sizes.is_empty() {
        writeln!(out, "sizes")?;
    }
    for line in sizes {
        let usual = match line.usual_bytes {
            Some(bytes) => format!("usually {bytes} bytes"),
            None => "no usual size".to_owned(),
        };
        let section = escape_terminal(&line.section.to_string());
        writeln!(out, "  {section}  {}  {usual}  {} pages", line.form.name(), line.model.pages)?;
    }
    Ok(())
}

fn write_false_alarms(out: &mut impl Write, false_alarms: &[FalseAlarm]) -> std::io::Result<()> {
    if !false_alarms.is_empty() {
        writeln!(out, "false alarms")?;
    }
    for line in false_alarms {
        let section = escape_terminal(&line.section.to_string());
        let (kind, bytes, seen) = (line.kind, line.bytes, format_date(line.seen));
        writeln!(out, "  {section}  {kind}  {bytes} bytes  the browser got the same page {seen}")?;
    }
    Ok(())
}

fn write_circuits(out: &mut impl Write, circuits: &[Circuit]) -> std::io::Result<()> {
    if !circuits.is_empty() {
        writeln!(out, "open circuits")?;
    }
    for line in circuits {
        let host = escape_terminal(&line.host);
        writeln!(
            out,
            "  {host}  {}  {} consecutive {} errors  open since {}  next probe {}",
            line.tier,
            line.faults,
            line.kind,
            format_date(line.since),
            format_date(line.until)
        )?;
    }
    Ok(())
}

fn write_clearances(out: &mut impl Write, identities: &[ClearanceEntry]) -> std::io::Result<()> {
    if !identities.is_empty() {
        writeln!(out, "clearances")?;
    }
    for line in identities {
        let location = Some(escape_terminal(&line.key.location)).filter(|location| !location.is_empty());
        let location = location.map(|location| format!(" ({location})")).unwrap_or_default();
        let until =
            line.until.map_or_else(|| "no expiry".to_owned(), |at| format!("until {}", format_date(at)));
        let state = if !line.is_portable {
            "valid in the browser only"
        } else if line.was_used {
            "worked"
        } else {
            "not used yet"
        };
        writeln!(
            out,
            "  {}  {} as {}{location} by {}  cookies {}  {until}  {state}",
            escape_terminal(&line.host),
            escape_terminal(&line.key.session),
            escape_terminal(&line.key.profile),
            line.key.route.get(..8).unwrap_or(&line.key.route),
            escape_terminal(&line.cookies.join(" ")),
        )?;
    }
    Ok(())
}

/// Formats a Unix time in UTC, with seconds.
fn format_date(seconds: i64) -> String {
    let since = u64::try_from(seconds).ok().map(Duration::from_secs);
    let time = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    // RFC 3339 ends with the year 9999.
    time.filter(|_| seconds < 253_402_300_800)
        .map_or_else(|| "-".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
}
