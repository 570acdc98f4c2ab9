//! Finds the browser's executable: the user's choice first, then the usual names.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::child_environment::restrict_environment;

/// Returns the executable that [`BrowserOptions`](super::BrowserOptions) uses by default.
pub(crate) fn find() -> Option<PathBuf> {
    find_in_environment()
        .or_else(|| KNOWN_PATHS.iter().map(PathBuf::from).find(|path| is_executable(path)))
        .or_else(|| KNOWN_NAMES.iter().find_map(|name| find_on_path(name)))
}

/// Returns the executable to start: `explicit` if given, else the result of [`find`].
pub(super) fn resolve_executable(explicit: Option<&Path>) -> Result<PathBuf> {
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
    let mut command = Command::new(path);
    restrict_environment(&mut command);
    let mut child = command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let until = Instant::now() + VERSION_LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                // It hangs or its state is unknown.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(child.stdout.take()?, 4096), &mut text).ok()?;
    let line = text.lines().map(str::trim).find(|line| line.contains(|c: char| c.is_ascii_digit()))?;
    Some(crate::text::redact::escape_terminal(line))
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

pub(super) fn find_on_path(name: &str) -> Option<PathBuf> {
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
const KNOWN_PATHS: [&str; 1] = ["/usr/lib/chromium/chromium"];
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
