//! `rungs profile lint`.

use std::io::Write;
use std::time::SystemTime;

use rungs::doctor;
use rungs::fingerprint::lint::{AgePolicy, Date, Diagnostic, Severity, lint};
use rungs::redact;
use serde_json::json;

use crate::cli::config;
use crate::cli::exit::{self, Failure};
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 3 when there are errors; warnings do not fail.")]
pub(super) struct ProfileLintArgs {
    /// Names of profiles, or files. Default: all that are shipped.
    #[arg(value_name = "NAME|FILE")]
    names: Vec<String>,

    /// After how many weeks a capture is old.
    #[arg(long, value_name = "N", default_value_t = AgePolicy::DEFAULT_MAX_WEEKS)]
    weeks: u32,

    /// What to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

pub(super) fn run(args: &ProfileLintArgs) -> Result<u8, Failure> {
    let freshness = AgePolicy {
        today: Date::from_system_time(SystemTime::now()),
        installed_major: doctor::installed_major(),
        max_weeks: args.weeks,
    };
    let names = if args.names.is_empty() {
        rungs::fingerprint::Profile::shipped().iter().map(|profile| profile.name.clone()).collect()
    } else {
        args.names.clone()
    };
    let mut found: Vec<(String, Diagnostic)> = Vec::new();
    for name in names {
        let profile = config::find_profile(&name)?;
        found.extend(lint(&profile, &freshness).into_iter().map(|complaint| (name.clone(), complaint)));
    }
    let mut out = std::io::stdout().lock();
    show(&mut out, &found, args.format).map_err(Failure::stdout)?;
    let broken = found.iter().any(|(_, complaint)| complaint.severity == Severity::Error);
    Ok(if broken { exit::CONFIG } else { exit::OK })
}

fn show(out: &mut impl Write, found: &[(String, Diagnostic)], format: OutputFormat) -> std::io::Result<()> {
    if format == OutputFormat::Json {
        let rows: Vec<_> = found
            .iter()
            .map(|(name, complaint)| {
                json!({
                    "profile": name,
                    "id": complaint.id,
                    "severity": complaint.severity,
                    "key": complaint.key,
                    "message": complaint.message,
                })
            })
            .collect();
        return writeln!(out, "{}", serde_json::Value::from(rows));
    }
    for (name, complaint) in found {
        writeln!(
            out,
            "{}: {}",
            redact::escape_terminal(name),
            redact::escape_terminal(&complaint.to_string())
        )?;
    }
    Ok(())
}
