//! `rungs profile diff`.

use std::io::Write;

use rungs::fingerprint::diff::{Difference, diff};
use rungs::redact;
use serde_json::Value;

use crate::cli::exit::{self, Failure};
use crate::cli::names::Told;
use crate::cli::settings;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 0 when they are equal, 1 when they differ.")]
pub(super) struct Args {
    /// The left one: a name, or a file.
    #[arg(value_name = "A")]
    left: String,

    /// The right one: a name, or a file.
    #[arg(value_name = "B")]
    right: String,

    /// What to print.
    #[arg(long, value_enum, default_value_t = Told::Text)]
    format: Told,
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let differences = diff(&*settings::profile(&args.left)?, &*settings::profile(&args.right)?);
    let mut out = std::io::stdout().lock();
    show(&mut out, &differences, args.format).map_err(Failure::stdout)?;
    Ok(if differences.is_empty() { exit::OK } else { exit::FAILED })
}

fn show(out: &mut impl Write, differences: &[Difference], format: Told) -> std::io::Result<()> {
    if format == Told::Json {
        let text = serde_json::to_string(differences)?;
        return writeln!(out, "{text}");
    }
    for difference in differences {
        writeln!(out, "{}", redact::terminal(&difference.path))?;
        for (sign, value) in [('-', &difference.left), ('+', &difference.right)] {
            let text = value.as_ref().map_or_else(|| "(nothing)".to_owned(), Value::to_string);
            writeln!(out, "  {sign} {}", redact::terminal(&text))?;
        }
    }
    Ok(())
}
