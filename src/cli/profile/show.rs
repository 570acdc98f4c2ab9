//! `rungs profile show`.

use std::io::Write;

use rungs::fingerprint::{Fingerprints, Profile};

use crate::cli::config;
use crate::cli::exit::{self, Failure};
use crate::cli::terminal;
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
pub(super) struct ProfileShowArgs {
    /// Profile, a name or a file
    #[arg(value_name = "NAME|FILE")]
    name: String,

    /// Print a derived profile merged with its base
    #[arg(long, conflicts_with = "fingerprints")]
    whole: bool,

    /// Print the fingerprints that a server computes
    #[arg(long)]
    fingerprints: bool,

    /// Output format
    ///
    /// Requires --fingerprints.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text, requires = "fingerprints")]
    format: OutputFormat,
}

pub(super) fn run(args: &ProfileShowArgs) -> Result<u8, Failure> {
    let mut out = terminal::stdout();
    if args.fingerprints {
        let expected = Fingerprints::for_profile(&*config::find_profile(&args.name)?);
        write_fingerprints(&mut out, &expected, args.format)
    } else if args.whole {
        out.write_all(config::find_profile(&args.name)?.to_toml().as_bytes())
    } else {
        out.write_all(profile_text(&args.name)?.as_bytes())
    }
    .map_err(Failure::stdout)?;
    Ok(exit::OK)
}

/// Returns the text of a profile, after checking that it is valid.
fn profile_text(name: &str) -> Result<String, Failure> {
    config::find_profile(name)?;
    if Profile::is_file(name) {
        let failed = |cause| Failure::Io(format!("could not read {name}"), cause);
        return std::fs::read_to_string(name).map_err(failed);
    }
    Ok(Profile::shipped_text(name)?.to_owned())
}

fn write_fingerprints(
    out: &mut impl Write,
    expected: &Fingerprints,
    format: OutputFormat,
) -> std::io::Result<()> {
    if format == OutputFormat::Json {
        return terminal::write_json(out, expected);
    }
    writeln!(out, "ja4          {}", expected.ja4)?;
    writeln!(out, "ja4_r        {}", expected.ja4_r)?;
    writeln!(out, "akamai       {}", expected.akamai)?;
    writeln!(out, "akamai_hash  {}", expected.akamai_hash)?;
    if expected.ja3_varies {
        writeln!(out, "ja3          varies by connection: the order of extensions is random")?;
        return writeln!(out, "ja3_text     {} (extensions sorted)", expected.ja3_text);
    }
    writeln!(out, "ja3          {}", expected.ja3)?;
    writeln!(out, "ja3_text     {}", expected.ja3_text)
}
