//! `rungs profile verify`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use rungs::fingerprint::Profile;
use rungs::lab::{Exception, RecorderSet, Recording, VerifyReport, verify};
use rungs::redact;

use super::capture::{find_browser, progress_printer, write_file};
use crate::cli::config;
use crate::cli::exit::{self, Failure};
use crate::cli::runtime;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 0 when all layers are equal, with 1 when one differs.")]
pub(super) struct ProfileVerifyArgs {
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
    #[arg(long, value_enum, default_value_t = VerifyFormat::Table)]
    format: VerifyFormat,
}

/// How the comparison is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VerifyFormat {
    /// A table of scenarios and layers, and both values where they differ.
    Table,
    /// One JSON object.
    Json,
}

pub(super) fn run(args: &ProfileVerifyArgs, quiet: bool) -> Result<u8, Failure> {
    let profile = config::find_profile(&args.name)?;
    let runtime = runtime::start()?;
    let mut report = runtime.block_on(compare(args, &profile, quiet))?;
    // A recording on file says the same every time.
    let mut left = if args.against.is_some() { 0 } else { MAX_REPEATS };
    while !report.is_equal() && left > 0 {
        left -= 1;
        if !quiet {
            eprintln!("a difference: once more, to tell the browser's habits from its races");
        }
        report.retain_common(&runtime.block_on(compare(args, &profile, quiet))?);
    }
    let mut out = std::io::stdout().lock();
    match args.format {
        VerifyFormat::Table => {
            report.to_string().lines().try_for_each(|line| writeln!(out, "{}", redact::escape_terminal(line)))
        }
        VerifyFormat::Json => {
            writeln!(out, "{}", serde_json::to_value(&report).map_err(|cause| Failure::stdout(cause.into()))?)
        }
    }
    .map_err(Failure::stdout)?;
    Ok(if report.is_equal() { exit::OK } else { exit::FAILED })
}

/// One run of both through all scenarios.
async fn compare(
    args: &ProfileVerifyArgs,
    profile: &Arc<Profile>,
    quiet: bool,
) -> Result<VerifyReport, Failure> {
    let stage = RecorderSet::new().await?;
    let theirs = match &args.against {
        Some(file) => read_recording(file)?,
        None => {
            stage
                .record_browser(find_browser(args.browser.as_deref())?, &progress_printer("browser", quiet))
                .await?
        }
    };
    if let Some(file) = &args.save {
        let text = serde_json::to_string_pretty(&theirs)
            .map_err(|cause| Failure::Io(format!("could not write {}", file.display()), cause.into()))?;
        write_file(file, &text)?;
    }
    let ours = stage.record_impersonate(Arc::clone(profile), &progress_printer("rungs", quiet)).await?;
    Ok(verify(&theirs, &ours, &Exception::shipped()))
}

fn read_recording(file: &Path) -> Result<Recording, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|cause| Failure::Io(format!("could not read {}", file.display()), cause))?;
    serde_json::from_str(&text)
        .map_err(|cause| Failure::Config(format!("{} is no recording: {cause}", file.display())))
}

/// How often a difference is looked at again.
const MAX_REPEATS: u32 = 2;
