//! `rungs profile show`.

use std::io::Write;

use rungs::fingerprint::Profile;

use crate::cli::exit::{self, Failure};
use crate::cli::settings;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name, or a file.
    #[arg(value_name = "NAME|FILE")]
    name: String,
}

pub(super) fn run(args: &Args) -> Result<u8, Failure> {
    let text = text(&args.name)?;
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(Failure::stdout)?;
    Ok(exit::OK)
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
