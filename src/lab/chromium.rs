//! The installed Chromium without a driver. No CDP domain is enabled, so its traffic is unmodified.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::devtools::DevTools;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::transport::chromium::connection::CdpConnection;
use crate::transport::chromium::executable::{self, VersionError};
use crate::transport::chromium::process::{LaunchSpec, Process, ProcessObserver};

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
/// process dies first, the browser ends too.
pub struct Chromium {
    process: Process,
    connection: CdpConnection,
    devtools: Mutex<DevTools>,
    version: String,
}

/// The lab reads no events.
struct NoObserver;

impl ProcessObserver for NoObserver {}

impl Chromium {
    /// Returns the executable that would be started. The binary comes before its wrapper, which adds switches.
    #[must_use]
    pub fn find() -> Option<PathBuf> {
        executable::find_installed()
    }

    /// Returns the installed executable whose file has this name.
    #[must_use]
    pub fn find_named(name: &Path) -> Option<PathBuf> {
        executable::find_installed_named(name)
    }

    /// Starts Chromium headless and waits until it accepts navigations.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when Chromium is not installed or does not start.
    pub async fn start(launch: LaunchOptions) -> Result<Self> {
        let binary = launch.binary.clone().or_else(Self::find).ok_or_else(|| {
            Error::new(ErrorKind::Browser, "no Chromium found")
                .with_hint("install it, for example with `apt-get install chromium`")
        })?;
        let (version, user_agent) = user_agent(&binary).await?;
        let spec = LaunchSpec {
            executable: binary.clone(),
            switches: Box::new(move |data| switches(&launch, &user_agent, data)),
            scratch_parent: std::env::temp_dir(),
            environment: Box::new(|_, _| Ok(Box::new(()))),
        };
        let connection = CdpConnection::new(MAX_MESSAGE);
        let process = Process::start(spec, connection.clone(), Arc::new(NoObserver)).await?;
        let mut devtools = DevTools::new(connection.clone());
        let started = timeout(START_TIMEOUT, devtools.wait_for_first_page()).await;
        let started = started.unwrap_or_else(|_| {
            let problem = format!("did not open its first page within {START_TIMEOUT:?}");
            Err(start_error(&binary, &problem))
        });
        if let Err(error) = started {
            // Its pipe may break before its status is known.
            process.wait_for_exit(EXIT_TIMEOUT).await;
            return Err(match process.exit_status() {
                Some(status) => start_error(&binary, &format!("ended as soon as it was started ({status})")),
                None => error,
            });
        }
        Ok(Self { process, connection, devtools: Mutex::new(devtools), version })
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

    /// Closes the browser and waits until it exits. Kills it after a timeout.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when it cannot be killed.
    pub async fn stop(self) -> Result<()> {
        // Chromium exits when its pipe closes.
        self.connection.close();
        if !self.process.wait_for_exit(STOP_TIMEOUT).await {
            self.process.kill();
            if !self.process.wait_for_exit(STOP_TIMEOUT).await {
                return Err(Error::new(ErrorKind::Browser, "Chromium: could not kill the browser"));
            }
        }
        Ok(())
    }
}

fn switches(launch: &LaunchOptions, user_agent: &str, data: &Path) -> Vec<String> {
    let mut switches: Vec<String> = SWITCHES.iter().map(|switch| (*switch).to_owned()).collect();
    switches.extend((!launch.headless_agent).then(|| format!("--user-agent={user_agent}")));
    switches.push(format!("--user-data-dir={}", data.display()));
    switches.extend(launch.pin.iter().map(|pin| format!("--ignore-certificate-errors-spki-list={pin}")));
    switches.extend(launch.rules.iter().map(|rules| format!("--host-resolver-rules={rules}")));
    switches.extend(launch.switches.iter().cloned());
    switches.extend(rustix::process::geteuid().is_root().then(|| "--no-sandbox".to_owned()));
    switches.push("about:blank".to_owned());
    switches
}

/// Returns the version, and the user agent of the same browser with a window: headless mode identifies itself in it.
/// Chrome sends `X11; Linux x86_64` on every Linux, and zeros after the major version.
async fn user_agent(binary: &Path) -> Result<(String, String)> {
    let path = binary.to_owned();
    let reading = tokio::task::spawn_blocking(move || executable::read_version(&path, VERSION_TIMEOUT));
    let version = reading.await.unwrap_or(Err(VersionError::NoVersion)).map_err(|error| match error {
        VersionError::NotRun(cause) => {
            Error::new(ErrorKind::Browser, format!("the browser {} could not be run", binary.display()))
                .with_hint("name an executable file, or a browser on PATH")
                .with_source(cause)
        }
        VersionError::TimedOut => {
            start_error(binary, &format!("did not print its version within {VERSION_TIMEOUT:?}"))
        }
        VersionError::NoVersion => start_error(binary, "does not print its version with --version"),
    })?;
    let major = version
        .split_whitespace()
        .find_map(|word| word.split_once('.').map(|(major, _)| major))
        .filter(|major| major.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| start_error(binary, "does not print its version with --version"))?;
    let user_agent = format!(
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36"
    );
    Ok((version, user_agent))
}

fn start_error(binary: &Path, problem: &str) -> Error {
    Error::new(ErrorKind::Browser, format!("the browser {} {problem}", binary.display()))
        .with_hint("name a Chromium, Chrome, Edge or Brave that starts headless on this machine")
}

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a process whose pipe broke may take to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
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
