//! `rungs profile capture`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rungs::fingerprint::lint::Date;
use rungs::lab::{Chromium, RecorderSet, capture};
use rungs::output_file::{self, FileMode};

use crate::cli::exit::{self, Failure};
use crate::cli::runtime;
use crate::cli::terminal;

#[derive(Debug, clap::Args)]
pub(super) struct ProfileCaptureArgs {
    /// Browser, a path or a name on PATH
    ///
    /// Default: the first installed browser found.
    #[arg(long, value_name = "BROWSER")]
    browser: Option<PathBuf>,

    /// File for the profile
    ///
    /// The file appears when it is complete.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Name of the profile. Default: file name without extension
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn run(args: &ProfileCaptureArgs, quiet: bool) -> Result<u8, Failure> {
    let stem = args.output.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = args.name.clone().or(stem).unwrap_or_default();
    // Checked before the slow start of the browser.
    let folder = args.output.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let message = format!("-o/--output: folder {} does not exist", folder.display());
        return Err(Failure::Usage(message));
    }
    let runtime = runtime::start()?;
    let recording = runtime.block_on(async {
        let recorders = RecorderSet::new().await?;
        let binary = find_browser(args.browser.as_deref())?;
        Ok::<_, Failure>(recorders.record_browser(binary, &progress_printer("browser", quiet)).await?)
    })?;
    let text = capture(&recording, &name, &Date::from_system_time(SystemTime::now()).to_string())?;
    write_file(&args.output, &text)?;
    Ok(exit::OK)
}

/// Resolves the browser argument: a path, one of the known names, or a name on PATH.
pub(super) fn find_browser(given: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let Some(given) = given else { return Ok(None) };
    let missing = || Failure::Usage(format!("--browser: `{}` was not found", given.display()));
    if given.components().count() > 1 {
        return if given.is_file() { Ok(Some(given.to_owned())) } else { Err(missing()) };
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    Chromium::find_named(given)
        .or_else(|| {
            std::env::split_paths(&paths).map(|folder| folder.join(given)).find(|path| path.is_file())
        })
        .map(Some)
        .ok_or_else(missing)
}

/// Writes a file that appears only when it is complete.
pub(super) fn write_file(file: &Path, text: &str) -> Result<(), Failure> {
    let failed = |cause| Failure::Io(format!("could not write {}", file.display()), cause);
    output_file::write(file, text.as_bytes(), FileMode::Private).map_err(failed)
}

/// Returns a function that prints progress to stderr unless `quiet`.
pub(super) fn progress_printer(client: &'static str, quiet: bool) -> impl Fn(&str) + Sync {
    move |step| {
        if !quiet {
            terminal::print_message(&format!("{client}: {step}"));
        }
    }
}
