//! `rungs profile verify`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use rungs::fingerprint::Profile;
use rungs::lab::{Exception, Recording, Report, Stage, verify};
use rungs::redact;

use super::capture::{browser, save, told};
use crate::cli::exit::{self, Failure};
use crate::cli::runtime;
use crate::cli::settings;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 0 when all layers are equal, with 1 when one differs.")]
pub(super) struct Args {
    /// The profile: a name, or a file.
    #[arg(value_name = "NAME|FILE")]
    name: String,

    /// The browser to hold it against: a path, or a name on PATH. Default: the first one found.
    #[arg(long, value_name = "BROWSER")]
    browser: Option<PathBuf>,

    /// A saved recording to hold it against instead of a browser.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["browser", "save"])]
    against: Option<PathBuf>,

    /// Where to save what the browser said.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How the comparison is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table of scenarios and layers, and both values where they differ.
    Table,
    /// One JSON object.
    Json,
}

pub(super) fn run(args: &Args, quiet: bool) -> Result<u8, Failure> {
    let profile = settings::profile(&args.name)?;
    let runtime = runtime::start()?;
    let mut report = runtime.block_on(compare(args, &profile, quiet))?;
    // A recording on file says the same every time.
    let mut left = if args.against.is_some() { 0 } else { REPEATS };
    while !report.is_equal() && left > 0 {
        left -= 1;
        if !quiet {
            eprintln!("a difference: once more, to tell the browser's habits from its races");
        }
        report.keep_lasting(&runtime.block_on(compare(args, &profile, quiet))?);
    }
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Table => {
            report.to_string().lines().try_for_each(|line| writeln!(out, "{}", redact::terminal(line)))
        }
        Format::Json => {
            writeln!(out, "{}", serde_json::to_value(&report).map_err(|cause| Failure::stdout(cause.into()))?)
        }
    }
    .map_err(Failure::stdout)?;
    Ok(if report.is_equal() { exit::OK } else { exit::FAILED })
}

/// One run of both through all scenarios.
async fn compare(args: &Args, profile: &Arc<Profile>, quiet: bool) -> Result<Report, Failure> {
    let stage = Stage::new().await?;
    let theirs = match &args.against {
        Some(file) => read(file)?,
        None => stage.browser(browser(args.browser.as_deref())?, &told("browser", quiet)).await?,
    };
    if let Some(file) = &args.save {
        let text = serde_json::to_string_pretty(&theirs)
            .map_err(|cause| Failure::Io(format!("could not write {}", file.display()), cause.into()))?;
        save(file, &text)?;
    }
    let ours = stage.impersonate(Arc::clone(profile), &told("rungs", quiet)).await?;
    Ok(verify(&theirs, &ours, &Exception::shipped()))
}

fn read(file: &Path) -> Result<Recording, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|cause| Failure::Io(format!("could not read {}", file.display()), cause))?;
    serde_json::from_str(&text)
        .map_err(|cause| Failure::Config(format!("{} is no recording: {cause}", file.display())))
}

/// How often a difference is looked at again.
const REPEATS: u32 = 2;
