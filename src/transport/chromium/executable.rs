//! Finds the browser's executable: the user's choice first, then the usual names.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::child_environment::restrict_environment;

/// Returns the executable that `BrowserOptions` uses by default.
pub(crate) fn find() -> Option<PathBuf> {
    find_in_environment().or_else(|| installed().next())
}

/// Returns the executable of an installed browser, whatever the environment says.
#[cfg(feature = "lab")]
pub(crate) fn find_installed() -> Option<PathBuf> {
    installed().next()
}

/// Returns the executable of an installed browser whose file has this name.
#[cfg(feature = "lab")]
pub(crate) fn find_installed_named(name: &Path) -> Option<PathBuf> {
    installed().find(|path| path.file_name() == Some(name.as_os_str()))
}

/// Returns the executables of installed browsers. The binary comes before its wrapper, which adds switches.
fn installed() -> impl Iterator<Item = PathBuf> {
    let known = KNOWN_PATHS.iter().map(PathBuf::from).filter(|path| is_executable(path));
    known.chain(KNOWN_NAMES.iter().filter_map(|name| find_on_path(name)))
}

/// Returns the executable to start: `explicit` if given, else the result of [`find`].
pub(crate) fn resolve_executable(explicit: Option<&Path>) -> Result<PathBuf> {
    let Some(explicit) = explicit else { return find().ok_or_else(not_found_error) };
    if is_executable(explicit) {
        return Ok(explicit.to_owned());
    }
    let named =
        (explicit.components().count() == 1).then(|| explicit.to_str().and_then(find_on_path)).flatten();
    named.ok_or_else(|| {
        Error::new(ErrorKind::Browser, format!("no browser executable at {}", explicit.display()))
            .with_hint("give the path of a Chromium or Chrome executable")
    })
}

/// Returns the output of `path --version`, for example `Chromium 156.0.8078.79`. `None` when `path` is not a
/// browser.
pub(crate) fn version(path: &Path) -> Option<String> {
    read_version(path, VERSION_LIMIT).ok()
}

/// Why a program did not print its version.
#[derive(Debug)]
pub(crate) enum VersionError {
    /// It could not be run.
    NotRun(std::io::Error),
    TimedOut,
    /// It printed something else, or nothing.
    NoVersion,
}

/// Returns the output of `path --version`. If the program hangs, it is killed with the processes that it started.
pub(crate) fn read_version(path: &Path, limit: Duration) -> std::result::Result<String, VersionError> {
    let mut command = Command::new(path);
    restrict_environment(&mut command);
    let mut child = command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(VersionError::NotRun)?;
    let until = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                // It hangs or its state is unknown.
                let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
                let _ = child.wait();
                return Err(VersionError::TimedOut);
            }
        }
    }
    let mut text = String::new();
    let output = child.stdout.take().ok_or(VersionError::NoVersion)?;
    output.take(4096).read_to_string(&mut text).map_err(|_| VersionError::NoVersion)?;
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| line.contains(|c: char| c.is_ascii_digit()));
    line.map(crate::text::redact::escape_terminal).ok_or(VersionError::NoVersion)
}

fn not_found_error() -> Error {
    Error::new(ErrorKind::Browser, "no Chromium or Chrome found").with_hint(
        "install one (`make deps`, or `apt install chromium`), name one in RUNGS_BROWSER, \
         or stay below the browser tier with `--max-tier impersonate`",
    )
}

fn find_in_environment() -> Option<PathBuf> {
    ENVIRONMENT.iter().filter_map(std::env::var_os).find_map(|value| {
        let path = PathBuf::from(value);
        if is_executable(&path) { Some(path) } else { path.to_str().and_then(find_on_path) }
    })
}

pub(crate) fn find_on_path(name: &str) -> Option<PathBuf> {
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| is_executable(path))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// Environment variables that name the browser. The first that is set wins.
const ENVIRONMENT: [&str; 2] = ["RUNGS_BROWSER", "CHROME"];
/// Preferred over Debian's wrapper script of the same name, which adds other switches.
const KNOWN_PATHS: [&str; 3] =
    ["/usr/lib/chromium/chromium", "/usr/lib/chromium-browser/chromium-browser", "/opt/google/chrome/chrome"];
const KNOWN_NAMES: [&str; 8] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "brave-browser",
    "brave",
];
const VERSION_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_explicit_path_is_a_browser_error_with_a_hint() {
        let error = resolve_executable(Some(Path::new("/nonexistent/chrome"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Browser);
        assert!(error.hint().is_some());
    }

    #[test]
    fn the_installed_browser_prints_its_version() {
        let path = find().expect("these tests need a Chromium: `make deps`");
        assert!(version(&path).is_some_and(|version| version.contains('.')));
    }

    #[test]
    fn a_missing_executable_has_no_version() {
        assert_eq!(version(Path::new("/nonexistent/chrome")), None);
    }
}
