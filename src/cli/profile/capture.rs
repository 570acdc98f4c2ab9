//! `rungs profile capture`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rungs::fingerprint::lint::Date;
use rungs::lab::{Chromium, RecorderSet, capture};

use crate::cli::atomic_file;
use crate::cli::exit::{self, Failure};
use crate::cli::runtime;

#[derive(Debug, clap::Args)]
pub(super) struct ProfileCaptureArgs {
    /// The browser to capture: a path, or a name on PATH. Default: the first one found.
    #[arg(long, value_name = "BROWSER")]
    browser: Option<PathBuf>,

    /// Where the profile goes. It appears only when it is whole.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// The profile's name. Default: the file's stem.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn run(args: &ProfileCaptureArgs, quiet: bool) -> Result<u8, Failure> {
    let stem = args.output.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = args.name.clone().or(stem).unwrap_or_default();
    // Known before the browser takes its time.
    if !atomic_file::parent_dir(&args.output).is_dir() {
        let message =
            format!("there is no folder {} to write to", atomic_file::parent_dir(&args.output).display());
        return Err(Failure::Usage(message));
    }
    let runtime = runtime::start()?;
    let recording = runtime.block_on(async {
        let stage = RecorderSet::new().await?;
        let binary = find_browser(args.browser.as_deref())?;
        Ok::<_, Failure>(stage.record_browser(binary, &progress_printer("browser", quiet)).await?)
    })?;
    let text = capture(&recording, &name, &Date::from_system_time(SystemTime::now()).to_string())?;
    write_file(&args.output, &text)?;
    Ok(exit::OK)
}

/// The executable a user means: a path, one of the known names, or a name on PATH.
pub(super) fn find_browser(given: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let Some(given) = given else { return Ok(None) };
    let missing = || Failure::Usage(format!("there is no browser `{}`", given.display()));
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

/// Writes `text` so that the file is whole or not there.
pub(super) fn write_file(file: &Path, text: &str) -> Result<(), Failure> {
    let failed = |cause| Failure::Io(format!("could not write {}", file.display()), cause);
    let mut temporary = atomic_file::create_private(file).map_err(failed)?;
    temporary.write_all(text.as_bytes()).map_err(failed)?;
    temporary.persist(file).map(drop).map_err(|cause| failed(cause.error))
}

/// Progress on stderr, unless it is not wanted.
pub(super) fn progress_printer(who: &'static str, quiet: bool) -> impl Fn(&str) + Sync {
    move |what| {
        if !quiet {
            eprintln!("{who}: {what}");
        }
    }
}
