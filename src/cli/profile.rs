//! `rungs profile list|show`.

use std::io::Write;

use rungs::fingerprint::Profile;
use serde_json::json;

use super::args::{Profile as Args, ProfileCommand};
use super::exit::{self, Failure};
use super::settings;

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    match &args.command {
        ProfileCommand::List { json } => list(&mut out, *json),
        ProfileCommand::Show { name } => out.write_all(text(name)?.as_bytes()),
    }
    .map_err(Failure::stdout)?;
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
                })
            })
            .collect();
        return writeln!(out, "{}", serde_json::Value::from(rows));
    }
    let width = profiles.iter().map(|profile| profile.name.len()).max().unwrap_or(0);
    for profile in profiles {
        let from = &profile.provenance;
        writeln!(
            out,
            "{:<width$}  {} {}, {}, {}",
            profile.name, from.browser, from.version, from.os, from.captured
        )?;
    }
    Ok(())
}

/// The profile's own text, once it has been read without complaint.
fn text(name: &str) -> Result<String, Failure> {
    settings::profile(name)?;
    if settings::is_file(name) {
        let failed = |cause| Failure::Io(format!("could not read {name}"), cause);
        return std::fs::read_to_string(name).map_err(failed);
    }
    Ok(Profile::shipped_text(name)?.to_owned())
}
