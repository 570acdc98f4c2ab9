//! `rungs memory show`.

use std::io::Write;
use std::time::{Duration, SystemTime};

use rungs::memory::{Circuit, Cleared, Seen, Sizes};
use rungs::redact::terminal;
use serde_json::json;

use super::existing;
use crate::cli::exit::{self, Failure};
use crate::cli::names::Told;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The site of this host. Default: everything.
    host: Option<String>,

    /// What to print.
    #[arg(long, value_enum, default_value_t = Told::Text)]
    format: Told,
}

/// All that is shown.
#[derive(Default, serde::Serialize)]
struct Known {
    evidence: Vec<Seen>,
    sizes: Vec<Sizes>,
    identities: Vec<Cleared>,
    circuits: Vec<Circuit>,
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let host = args.host.as_deref();
    let known = match existing()? {
        Some(notebook) => Known {
            evidence: notebook.seen(host)?,
            sizes: notebook.sized(host)?,
            identities: notebook.cleared(host)?,
            circuits: notebook.circuits(host)?,
        },
        None => Known::default(),
    };
    let mut out = std::io::stdout().lock();
    let shown = match args.format {
        Told::Json => writeln!(out, "{}", json!(known)),
        Told::Text => text(&mut out, &known),
    };
    shown.map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn text(out: &mut impl Write, known: &Known) -> std::io::Result<()> {
    let Known { evidence, sizes, identities, circuits } = known;
    if evidence.is_empty() && sizes.is_empty() && identities.is_empty() && circuits.is_empty() {
        return writeln!(out, "nothing is remembered");
    }
    let mut last = String::new();
    for line in evidence {
        let area = terminal(&line.area.to_string());
        if area != last {
            writeln!(out, "{area}")?;
            last = area;
        }
        let state = match line.ask_again {
            Some(at) => format!("{}, asked again {}", line.state, date(at)),
            None => line.state.to_owned(),
        };
        writeln!(
            out,
            "  {:<11}  {:<24}  {:>6} pages  {:>6} refusals  seen {}  {state}",
            line.rung.name(),
            terminal(&line.profile),
            line.tally.pages,
            line.tally.refusals,
            date(line.tally.seen)
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
        let area = terminal(&line.area.to_string());
        writeln!(out, "  {area}  {}  {usual}  {} pages", line.form.name(), line.sizes.pages)?;
    }
    if !circuits.is_empty() {
        writeln!(out, "failing")?;
    }
    for line in circuits {
        let host = terminal(&line.host);
        writeln!(
            out,
            "  {host}  {}  {} {} faults in a row  left alone since {}  tried again {}",
            line.tier,
            line.faults,
            line.kind,
            date(line.since),
            date(line.until)
        )?;
    }
    if !identities.is_empty() {
        writeln!(out, "cleared")?;
    }
    for line in identities {
        let place = Some(terminal(&line.who.place)).filter(|place| !place.is_empty());
        let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
        let until = line.until.map_or_else(|| "no end named".to_owned(), |at| format!("until {}", date(at)));
        let state = if !line.moves {
            "good in the browser only"
        } else if line.proven {
            "worked"
        } else {
            "not used yet"
        };
        writeln!(
            out,
            "  {}  {} as {}{place} by {}  cookies {}  {until}  {state}",
            terminal(&line.host),
            terminal(&line.who.session),
            terminal(&line.who.profile),
            line.who.route.get(..8).unwrap_or(&line.who.route),
            terminal(&line.cookies.join(" ")),
        )?;
    }
    Ok(())
}

/// A time, in UTC, to the second.
fn date(seconds: i64) -> String {
    let since = u64::try_from(seconds).ok().map(Duration::from_secs);
    let time = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    // Beyond the year 9999 nothing is said.
    time.filter(|_| seconds < 253_402_300_800)
        .map_or_else(|| "-".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
}
