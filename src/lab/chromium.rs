//! The installed Chromium without a driver. No CDP domain is enabled, so its traffic is unmodified.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::devtools::DevTools;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::child_environment::restrict_environment;

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a process whose pipe broke may take to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
const MAX_REMOVALS: u32 = 50;

/// Stdin and stdout become the debugging pipe. Chromium exits when it closes, also if this process dies.
const WITH_PIPE: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

/// Install paths of distributions. The binary comes before its wrapper, which adds switches.
const KNOWN_PATHS: [&str; 6] = [
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
];

/// Options for starting Chromium.
#[derive(Clone, Debug, Default)]
pub struct LaunchOptions {
    /// The executable. Default: the first of the known install paths.
    pub binary: Option<PathBuf>,
    /// A leaf key to trust, as returned by [`Authority::pin`](super::Authority::pin).
    pub pin: Option<String>,
    /// Chromium's `--host-resolver-rules`, for example `MAP * 127.0.0.1`.
    pub rules: Option<String>,
    /// Whether the user agent stays that of a headless browser. With `--user-agent`, Chromium sends no client
    /// hints. Default: false.
    pub headless_agent: bool,
    /// Further switches.
    pub switches: Vec<String>,
}

/// A running Chromium with a new profile. Dropping it kills the browser and removes the profile. If this
/// process dies first, the browser exits by itself.
pub struct Chromium {
    child: Child,
    profile: ProfileDir,
    devtools: Mutex<DevTools>,
    version: String,
}

impl Chromium {
    /// Returns the executable that would be started.
    #[must_use]
    pub fn find() -> Option<PathBuf> {
        KNOWN_PATHS.iter().map(PathBuf::from).find(|path| path.is_file())
    }

    /// Returns the known install path whose file has this name.
    #[must_use]
    pub fn find_named(name: &Path) -> Option<PathBuf> {
        let matches = |path: &PathBuf| path.file_name() == Some(name.as_os_str()) && path.is_file();
        KNOWN_PATHS.iter().map(PathBuf::from).find(matches)
    }

    /// Starts Chromium headless and waits until it accepts navigations.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when Chromium is not installed or does not start.
    pub async fn start(launch: LaunchOptions) -> Result<Self> {
        let binary = launch.binary.or_else(Self::find).ok_or_else(|| {
            Error::new(ErrorKind::Browser, "no Chromium found")
                .with_hint("install it, for example with `apt-get install chromium`")
        })?;
        let private = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new()
            .permissions(private)
            .tempdir()
            .map_err(|cause| protocol_error("could not create the profile folder").with_source(cause))?;
        let (version, user_agent) = user_agent(&binary).await?;
        let mut command = Command::new("/bin/sh");
        restrict_environment(command.as_std_mut());
        command
            .args(["-c", WITH_PIPE])
            .arg(&binary)
            .args(SWITCHES)
            .args((!launch.headless_agent).then(|| format!("--user-agent={user_agent}")))
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .args(launch.pin.map(|pin| format!("--ignore-certificate-errors-spki-list={pin}")))
            .args(launch.rules.map(|rules| format!("--host-resolver-rules={rules}")))
            .args(launch.switches)
            .args(rustix::process::geteuid().is_root().then_some("--no-sandbox"))
            .arg("about:blank")
            // Files that a killed browser leaves behind are removed with the profile.
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let mut child = command.spawn().map_err(|cause| run_error(&binary).with_source(cause))?;
        let profile = ProfileDir { group: group(&child), folder: Some(folder) };
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(protocol_error("the debugging pipe is missing"));
        };
        let mut devtools = DevTools::new(stdin, stdout);
        let started = tokio::select! {
            started = timeout(START_TIMEOUT, devtools.wait_for_first_page()) => started
                .map_err(|_| start_error(&binary, &format!("did not open its first page within {START_TIMEOUT:?}"))),
            status = child.wait() => return Err(exit_error(&binary, status)),
        };
        match started {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                return Err(match timeout(EXIT_TIMEOUT, child.wait()).await {
                    Ok(status) => exit_error(&binary, status),
                    Err(_) => error,
                });
            }
            Err(error) => return Err(error),
        }
        Ok(Self { child, profile, devtools: Mutex::new(devtools), version })
    }

    /// Opens `url` in a new tab as if a user typed it, and waits for the start of the server's response.
    /// Calls run one at a time: Chromium may drop a navigation when another one begins.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when Chromium does not respond or the navigation fails.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.devtools.lock().await.navigate_new_tab(url).await
    }

    /// The debugging pipe.
    pub(super) fn devtools(&mut self) -> &mut DevTools {
        self.devtools.get_mut()
    }

    /// The output of `--version`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The profile folder.
    #[must_use]
    pub fn profile(&self) -> &Path {
        self.profile.path()
    }

    /// Closes the browser and waits until it exits. Kills it after a timeout.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when it cannot be killed.
    pub async fn stop(self) -> Result<()> {
        let Self { mut child, profile: _profile, devtools, .. } = self;
        drop(devtools);
        if timeout(REPLY_TIMEOUT, child.wait()).await.is_err() {
            child
                .kill()
                .await
                .map_err(|cause| protocol_error("could not kill the browser").with_source(cause))?;
        }
        Ok(())
    }
}

/// The profile folder and the process group that writes to it. Drop kills the group first.
struct ProfileDir {
    group: Option<Pid>,
    folder: Option<TempDir>,
}

impl ProfileDir {
    fn path(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new(""), TempDir::path)
    }
}

impl Drop for ProfileDir {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // The group may have exited already.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let Some(folder) = self.folder.take().map(TempDir::keep) else { return };
        // A killed process may still have an unfinished write.
        for _ in 0..MAX_REMOVALS {
            match std::fs::remove_dir_all(&folder) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => std::thread::sleep(POLL),
                _ => return,
            }
        }
    }
}

/// The user agent of the same browser with a window: headless mode identifies itself in it. Chrome sends
/// `X11; Linux x86_64` on every Linux, and zeros after the major version.
async fn user_agent(binary: &Path) -> Result<(String, String)> {
    let mut command = Command::new(binary);
    restrict_environment(command.as_std_mut());
    let child = command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|cause| run_error(binary).with_source(cause))?;
    // If the browser hangs, the processes that it started are killed too.
    let _all = ProfileDir { group: group(&child), folder: None };
    let output = timeout(REPLY_TIMEOUT, child.wait_with_output())
        .await
        .map_err(|_| start_error(binary, &format!("did not print its version within {REPLY_TIMEOUT:?}")))?
        .map_err(|cause| run_error(binary).with_source(cause))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let major = text
        .split_whitespace()
        .find_map(|word| word.split_once('.').map(|(major, _)| major))
        .filter(|major| major.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| start_error(binary, "does not print its version with --version"))?;
    let user_agent = format!(
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36"
    );
    Ok((text.trim().to_owned(), user_agent))
}

fn group(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
}

fn run_error(binary: &Path) -> Error {
    Error::new(ErrorKind::Browser, format!("the browser {} could not be run", binary.display()))
        .with_hint("name an executable file, or a browser on PATH")
}

/// The error for a process that ended during the start. Its pipe may break before its status is known.
fn exit_error(binary: &Path, status: std::io::Result<ExitStatus>) -> Error {
    let status = status.map_or_else(|_| "status unknown".to_owned(), |status| status.to_string());
    start_error(binary, &format!("ended as soon as it was started ({status})"))
}

fn start_error(binary: &Path, problem: &str) -> Error {
    Error::new(ErrorKind::Browser, format!("the browser {} {problem}", binary.display()))
        .with_hint("name a Chromium, Chrome, Edge or Brave that starts headless on this machine")
}

fn protocol_error(problem: &str) -> Error {
    Error::new(ErrorKind::Browser, format!("Chromium: {problem}"))
}

const SWITCHES: [&str; 17] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-blink-features=AutomationControlled",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--password-store=basic",
    "--lang=en-US",
    "--accept-lang=en-US,en",
    "--screen-info={1920x1080 workAreaBottom=40}",
    "--window-size=1920,1040",
    "--ignore-gpu-blocklist",
];
