//! `rungs profile show`.

use std::io::Write;

use rungs::fingerprint::{Fingerprints, Profile};

use crate::cli::config;
use crate::cli::exit::{self, Failure};
use crate::cli::value_enums::OutputFormat;

#[derive(Debug, clap::Args)]
pub(super) struct ProfileShowArgs {
    /// Its name, or a file.
    #[arg(value_name = "NAME|FILE")]
    name: String,

    /// Show a derived profile with all that it takes from its base.
    #[arg(long, conflicts_with = "fingerprints")]
    whole: bool,

    /// Show the fingerprints that servers will compute instead.
    #[arg(long)]
    fingerprints: bool,

    /// How to print the fingerprints.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text, requires = "fingerprints")]
    format: OutputFormat,
}

pub(super) fn run(args: &ProfileShowArgs) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    if args.fingerprints {
        let promised = Fingerprints::for_profile(&*config::find_profile(&args.name)?);
        write_fingerprints(&mut out, &promised, args.format)
    } else if args.whole {
        out.write_all(config::find_profile(&args.name)?.to_toml().as_bytes())
    } else {
        out.write_all(profile_text(&args.name)?.as_bytes())
    }
    .map_err(Failure::stdout)?;
    Ok(exit::OK)
}

/// The profile's own text, once it has been read without complaint.
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
    promised: &Fingerprints,
    format: OutputFormat,
) -> std::io::Result<()> {
    if format == OutputFormat::Json {
        let text = serde_json::to_string(promised)?;
        return writeln!(out, "{text}");
    }
    writeln!(out, "ja4          {}", promised.ja4)?;
    writeln!(out, "ja4_r        {}", promised.ja4_r)?;
    writeln!(out, "akamai       {}", promised.akamai)?;
    writeln!(out, "akamai_hash  {}", promised.akamai_hash)?;
    if promised.ja3_varies {
        writeln!(out, "ja3          another with every connection: extensions come in random order")?;
        return writeln!(out, "ja3_text     {} (extensions sorted)", promised.ja3_text);
    }
    writeln!(out, "ja3          {}", promised.ja3)?;
    writeln!(out, "ja3_text     {}", promised.ja3_text)
}
