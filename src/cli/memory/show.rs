//! `rungs memory show`.

use std::io::Write;
use std::time::{Duration, SystemTime};

use rungs::memory::{Circuit, ClearanceEntry, SizeEntry, TierEntry};
use rungs::redact::escape_terminal;
use serde_json::json;

use super::open_existing;
use crate::cli::exit::{self, Failure};
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
pub(super) struct MemoryShowArgs {
    /// The site of this host. Default: everything.
    host: Option<String>,

    /// What to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// All that is shown.
#[derive(Default, serde::Serialize)]
struct MemoryContents {
    evidence: Vec<TierEntry>,
    sizes: Vec<SizeEntry>,
    identities: Vec<ClearanceEntry>,
    circuits: Vec<Circuit>,
}

pub(super) fn run(args: &MemoryShowArgs) -> Result<u8, Failure> {
    let host = args.host.as_deref();
    let known = match open_existing()? {
        Some(notebook) => MemoryContents {
            evidence: notebook.tiers(host)?,
            sizes: notebook.page_sizes(host)?,
            identities: notebook.clearances(host)?,
            circuits: notebook.circuits(host)?,
        },
        None => MemoryContents::default(),
    };
    let mut out = std::io::stdout().lock();
    let shown = match args.format {
        OutputFormat::Json => writeln!(out, "{}", json!(known)),
        OutputFormat::Text => write_text(&mut out, &known),
    };
    shown.map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn write_text(out: &mut impl Write, known: &MemoryContents) -> std::io::Result<()> {
    let MemoryContents { evidence, sizes, identities, circuits } = known;
    if evidence.is_empty() && sizes.is_empty() && identities.is_empty() && circuits.is_empty() {
        return writeln!(out, "nothing is remembered");
    }
    let mut last = String::new();
    for line in evidence {
        let area = escape_terminal(&line.section.to_string());
        if area != last {
            writeln!(out, "{area}")?;
            last = area;
        }
        let state = match line.ask_again {
            Some(at) => format!("{}, asked again {}", line.state, format_date(at)),
            None => line.state.to_owned(),
        };
        writeln!(
            out,
            "  {:<11}  {:<24}  {:>6} pages  {:>6} refusals  seen {}  {state}",
            line.rung.name(),
            escape_terminal(&line.profile),
            line.tally.pages,
            line.tally.refusals,
            format_date(line.tally.seen)
        )?;
    }
    if !sizes.is_empty() {
        writeln!(out, "sizes")?;
    }
    for line in sizes {
        let usual = match line.usual_bytes {
            Some(bytes) => format!("usually {bytes} bytes"),
            None => "no usual size".to_owned(),
        };
        let area = escape_terminal(&line.section.to_string());
        writeln!(out, "  {area}  {}  {usual}  {} pages", line.form.name(), line.model.pages)?;
    }
    if !circuits.is_empty() {
        writeln!(out, "failing")?;
    }
    for line in circuits {
        let host = escape_terminal(&line.host);
        writeln!(
            out,
            "  {host}  {}  {} {} faults in a row  left alone since {}  tried again {}",
            line.tier,
            line.faults,
            line.kind,
            format_date(line.since),
            format_date(line.until)
        )?;
    }
    if !identities.is_empty() {
        writeln!(out, "cleared")?;
    }
    for line in identities {
        let place = Some(escape_terminal(&line.key.place)).filter(|place| !place.is_empty());
        let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
        let until =
            line.until.map_or_else(|| "no end named".to_owned(), |at| format!("until {}", format_date(at)));
        let state = if !line.is_portable {
            "good in the browser only"
        } else if line.was_used {
            "worked"
        } else {
            "not used yet"
        };
        writeln!(
            out,
            "  {}  {} as {}{place} by {}  cookies {}  {until}  {state}",
            escape_terminal(&line.host),
            escape_terminal(&line.key.session),
            escape_terminal(&line.key.profile),
            line.key.route.get(..8).unwrap_or(&line.key.route),
            escape_terminal(&line.cookies.join(" ")),
        )?;
    }
    Ok(())
}

/// A time, in UTC, to the second.
fn format_date(seconds: i64) -> String {
    let since = u64::try_from(seconds).ok().map(Duration::from_secs);
    let time = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    // Beyond the year 9999 nothing is said.
    time.filter(|_| seconds < 253_402_300_800)
        .map_or_else(|| "-".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
}
