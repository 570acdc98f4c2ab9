//! `rungs profile list`.

use std::io::Write;

use rungs::fingerprint::Profile;
use serde_json::json;

use crate::cli::exit::{self, Failure};
use crate::cli::terminal;

#[derive(Debug, clap::Args)]
pub(super) struct ProfileListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ProfileListArgs) -> Result<u8, Failure> {
    let mut out = terminal::stdout();
    list(&mut out, args.json).map_err(Failure::stdout)?;
    Ok(exit::OK)
}

fn list(out: &mut impl Write, as_json: bool) -> std::io::Result<()> {
    let profiles = Profile::shipped();
    if as_json {
        let rows: Vec<_> = profiles
            .iter()
            .map(|profile| {
                json!({
                    "name": profile.name,
                    "browser": profile.provenance.browser,
                    "version": profile.provenance.version,
                    "os": profile.provenance.os,
                    "captured": profile.provenance.captured,
                    "derived": profile.provenance.derived,
                })
            })
            .collect();
        return terminal::write_json(out, &rows);
    }
    let width = profiles.iter().map(|profile| profile.name.len()).max().unwrap_or(0);
    for profile in profiles {
        let provenance = &profile.provenance;
        writeln!(
            out,
            "{:<width$}  {} {}, {}, {}{}",
            profile.name,
            provenance.browser,
            provenance.version,
            provenance.os,
            provenance.captured,
            if provenance.derived { " (derived)" } else { "" }
        )?;
    }
    Ok(())
}
