//! `rungs profile lint`.

use std::io::Write;
use std::time::SystemTime;

use rungs::doctor;
use rungs::fingerprint::lint::{AgePolicy, Date, Diagnostic, Severity, lint};
use rungs::redact;
use serde_json::json;

use crate::cli::config;
use crate::cli::exit::{self, Failure};
use crate::cli::terminal;
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 no errors (warnings are allowed), 3 errors.")]
pub(super) struct ProfileLintArgs {
    /// Profiles, names or files. Default: all shipped
    #[arg(value_name = "NAME|FILE")]
    names: Vec<String>,

    /// Age in weeks after which a capture is old
    #[arg(long, value_name = "N", default_value_t = AgePolicy::DEFAULT_MAX_WEEKS)]
    weeks: u32,

    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

pub(super) fn run(args: &ProfileLintArgs) -> Result<u8, Failure> {
    let age_policy = AgePolicy {
        today: Date::from_system_time(SystemTime::now()),
        installed_major: doctor::installed_major(),
        max_weeks: args.weeks,
    };
    let names = if args.names.is_empty() {
        rungs::fingerprint::Profile::shipped().iter().map(|profile| profile.name.clone()).collect()
    } else {
        args.names.clone()
    };
    let mut diagnostics: Vec<(String, Diagnostic)> = Vec::new();
    for name in names {
        let profile = config::find_profile(&name)?;
        diagnostics
            .extend(lint(&profile, &age_policy).into_iter().map(|diagnostic| (name.clone(), diagnostic)));
    }
    let mut out = terminal::stdout();
    show(&mut out, &diagnostics, args.format).map_err(Failure::stdout)?;
    let has_errors = diagnostics.iter().any(|(_, diagnostic)| diagnostic.severity == Severity::Error);
    Ok(if has_errors { exit::CONFIG } else { exit::OK })
}

fn show(
    out: &mut impl Write,
    diagnostics: &[(String, Diagnostic)],
    format: OutputFormat,
) -> std::io::Result<()> {
    if format == OutputFormat::Json {
        let rows: Vec<_> = diagnostics
            .iter()
            .map(|(name, diagnostic)| {
                json!({
                    "profile": name,
                    "id": diagnostic.id,
                    "severity": diagnostic.severity,
                    "key": diagnostic.key,
                    "message": diagnostic.message,
                })
            })
            .collect();
        return terminal::write_json(out, &rows);
    }
    for (name, diagnostic) in diagnostics {
        writeln!(
            out,
            "{}: {}",
            redact::escape_terminal(name),
            redact::escape_terminal(&diagnostic.to_string())
        )?;
    }
    Ok(())
}
