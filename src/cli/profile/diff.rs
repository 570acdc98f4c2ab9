//! `rungs profile diff`.

use std::io::Write;

use rungs::fingerprint::diff::{Difference, diff};
use rungs::redact;
use serde_json::Value;

use crate::cli::config;
use crate::cli::exit::{self, Failure};
use crate::cli::terminal;
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 equal, 1 different.")]
pub(super) struct ProfileDiffArgs {
    /// First profile, a name or a file
    #[arg(value_name = "A")]
    left: String,

    /// Second profile, a name or a file
    #[arg(value_name = "B")]
    right: String,

    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

pub(super) fn run(args: &ProfileDiffArgs) -> Result<u8, Failure> {
    let differences = diff(&*config::find_profile(&args.left)?, &*config::find_profile(&args.right)?);
    let mut out = terminal::stdout();
    show(&mut out, &differences, args.format).map_err(Failure::stdout)?;
    Ok(if differences.is_empty() { exit::OK } else { exit::FAILED })
}

fn show(out: &mut impl Write, differences: &[Difference], format: OutputFormat) -> std::io::Result<()> {
    if format == OutputFormat::Json {
        return terminal::write_json(out, differences);
    }
    for difference in differences {
        writeln!(out, "{}", redact::escape_terminal(&difference.path))?;
        for (sign, value) in [('-', &difference.left), ('+', &difference.right)] {
            let text = value.as_ref().map_or_else(|| "(absent)".to_owned(), Value::to_string);
            writeln!(out, "  {sign} {}", redact::escape_terminal(&text))?;
        }
    }
    Ok(())
}
