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
use crate::cli::terminal;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 all layers equal, 1 some layer differs.")]
pub(super) struct ProfileVerifyArgs {
    /// Profile, a name or a file
    #[arg(value_name = "NAME|FILE")]
    name: String,

    /// Browser to compare with, a path or a name on PATH
    ///
    /// Default: the first installed browser found.
    #[arg(long, value_name = "BROWSER")]
    browser: Option<PathBuf>,

    /// Saved recording to compare with, instead of a browser
    #[arg(long, value_name = "FILE", conflicts_with_all = ["browser", "save"])]
    against: Option<PathBuf>,

    /// File for the recording of the browser
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    /// Output format
    #[arg(long, value_enum, default_value_t = VerifyFormat::Table)]
    format: VerifyFormat,
}

/// The output format of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VerifyFormat {
    /// Table of scenarios and layers, with both values of each difference
    Table,
    /// One JSON object
    Json,
}

pub(super) fn run(args: &ProfileVerifyArgs, quiet: bool) -> Result<u8, Failure> {
    let profile = config::find_profile(&args.name)?;
    let runtime = runtime::start()?;
    let mut report = runtime.block_on(compare(args, &profile, quiet))?;
    // A saved recording does not vary, so a repetition is useless.
    let mut repeats = if args.against.is_some() { 0 } else { MAX_REPEATS };
    while !report.is_equal() && repeats > 0 {
        repeats -= 1;
        if !quiet {
            terminal::print_message("found differences; repeating to exclude races of the browser");
        }
        report.retain_common(&runtime.block_on(compare(args, &profile, quiet))?);
    }
    let mut out = terminal::stdout();
    match args.format {
        VerifyFormat::Table => {
            report.to_string().lines().try_for_each(|line| writeln!(out, "{}", redact::escape_terminal(line)))
        }
        VerifyFormat::Json => terminal::write_json(
            &mut out,
            &serde_json::to_value(&report).map_err(|cause| Failure::stdout(cause.into()))?,
        ),
    }
    .map_err(Failure::stdout)?;
    Ok(if report.is_equal() { exit::OK } else { exit::FAILED })
}

/// Runs both through all scenarios once and compares them.
async fn compare(
    args: &ProfileVerifyArgs,
    profile: &Arc<Profile>,
    quiet: bool,
) -> Result<VerifyReport, Failure> {
    let recorders = RecorderSet::new().await?;
    let reference = match &args.against {
        Some(file) => read_recording(file)?,
        None => {
            recorders
                .record_browser(find_browser(args.browser.as_deref())?, &progress_printer("browser", quiet))
                .await?
        }
    };
    if let Some(file) = &args.save {
        let text = serde_json::to_string_pretty(&reference)
            .map_err(|cause| Failure::Io(format!("could not write {}", file.display()), cause.into()))?;
        write_file(file, &text)?;
    }
    let own = recorders.record_impersonate(Arc::clone(profile), &progress_printer("rungs", quiet)).await?;
    Ok(verify(&reference, &own, &Exception::shipped()))
}

fn read_recording(file: &Path) -> Result<Recording, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|cause| Failure::Io(format!("could not read {}", file.display()), cause))?;
    serde_json::from_str(&text)
        .map_err(|cause| Failure::Config(format!("{} is not a recording: {cause}", file.display())))
}

/// The maximum number of repeated comparisons after a difference.
const MAX_REPEATS: u32 = 2;
