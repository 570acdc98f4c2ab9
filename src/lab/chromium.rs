//! The machine's own Chromium, opened by hand: no driver attached, so that what it says is its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::devtools::DevTools;
use crate::error::{Error, Result};
use crate::kind::ErrorKind;

const START: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
const REMOVALS: u32 = 50;

/// Stdin and stdout become the debugging pipe. Chromium ends when it closes: by us, or by our death.
const WITH_PIPE: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

/// Where distributions put it. The binary before its wrapper: a wrapper adds switches of its own.
const PLACES: [&str; 6] = [
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
];

/// How to start it.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// The binary. Default: the first of the usual places.
    pub binary: Option<PathBuf>,
    /// A leaf key to trust, as [`Authority::pin`](super::Authority::pin) says it.
    pub pin: Option<String>,
    /// Chromium's `--host-resolver-rules`, for example `MAP * 127.0.0.1`.
    pub rules: Option<String>,
    /// Whether it keeps the user agent of a headless browser. One that is told another gives no client
    /// hints. Default: false.
    pub headless_agent: bool,
    /// Further switches.
    pub switches: Vec<String>,
}

/// A running Chromium with a fresh profile. Dropping it kills it and removes the profile; should this
/// process die without, it ends by itself.
pub struct Chromium {
    child: Child,
    profile: Profile,
    port: u16,
    version: String,
}

impl Chromium {
    /// The binary that would be started.
    #[must_use]
    pub fn find() -> Option<PathBuf> {
        PLACES.iter().map(PathBuf::from).find(|path| path.is_file())
    }

    /// The one of the usual places whose file has this name.
    #[must_use]
    pub fn called(name: &Path) -> Option<PathBuf> {
        let called = |path: &PathBuf| path.file_name() == Some(name.as_os_str()) && path.is_file();
        PLACES.iter().map(PathBuf::from).find(called)
    }

    /// Starts it headless, and waits until it can be asked to open pages.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when there is none, or it does not start.
    pub async fn start(launch: Launch) -> Result<Self> {
        let binary = launch.binary.or_else(Self::find).ok_or_else(|| {
            Error::new(ErrorKind::Browser, "no Chromium was found")
                .with_hint("install it, for example with `apt-get install chromium`")
        })?;
        let folder = TempDir::new().map_err(|cause| broken("no profile folder").with_source(cause))?;
        let (version, user_agent) = user_agent(&binary).await?;
        let mut command = Command::new("/bin/sh");
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
            // What it leaves when it is killed goes with the profile.
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let mut child = command.spawn().map_err(|cause| unrunnable(&binary).with_source(cause))?;
        let profile = Profile { group: group(&child), folder: Some(folder) };
        // Waiting for its end would close the pipe it listens to.
        let pipes = (child.stdin.take(), child.stdout.take());
        let port = tokio::select! {
            port = timeout(START, debugging_port(profile.path())) => port
                .map_err(|_| no_browser(&binary, &format!("did not open its debugging port within {START:?}")))?,
            status = child.wait() => {
                let status = status.map_or_else(|_| "for no known reason".to_owned(), |status| status.to_string());
                return Err(no_browser(&binary, &format!("ended as soon as it was started ({status})")));
            }
        };
        (child.stdin, child.stdout) = pipes;
        Ok(Self { child, profile, port, version })
    }

    /// Opens `url` in a new tab as if it had been typed. Does not wait for the page.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when it does not answer.
    pub async fn open(&self, url: &str) -> Result<()> {
        let ask = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let head =
                format!("PUT /json/new?{url} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = timeout(ANSWER, ask)
            .await
            .map_err(|_| broken("it does not answer"))?
            .map_err(|cause| broken("it does not answer").with_source(cause))?;
        if answer.ends_with(b" 200") { Ok(()) } else { Err(broken("it refused to open a tab")) }
    }

    /// Its debugging pipe. It can be had once; [`stop`](Self::stop) works with and without it.
    pub(super) fn devtools(&mut self) -> Result<DevTools> {
        match (self.child.stdin.take(), self.child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok(DevTools::new(stdin, stdout)),
            _ => Err(broken("its debugging pipe is in use")),
        }
    }

    /// What it says of its version on the command line.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The folder of its profile.
    #[must_use]
    pub fn profile(&self) -> &Path {
        self.profile.path()
    }

    /// Asks it to end and waits until it is gone; one that does not listen is killed.
    ///
    /// # Errors
    /// [`ErrorKind::Browser`] when it cannot be killed.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        if timeout(ANSWER, self.child.wait()).await.is_err() {
            self.child.kill().await.map_err(|cause| broken("it could not be ended").with_source(cause))?;
        }
        Ok(())
    }
}

/// The profile folder, and the processes that write to it: they go first.
struct Profile {
    group: Option<Pid>,
    folder: Option<TempDir>,
}

impl Profile {
    fn path(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new(""), TempDir::path)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Gone already is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let Some(folder) = self.folder.take().map(TempDir::keep) else { return };
        // What was killed may still have a file half made.
        for _ in 0..REMOVALS {
            match std::fs::remove_dir_all(&folder) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => std::thread::sleep(POLL),
                _ => return,
            }
        }
    }
}

/// The user agent of the same browser with a window: headless names itself in it. Chrome says
/// `X11; Linux x86_64` on every Linux, and zeros behind the major version.
async fn user_agent(binary: &Path) -> Result<(String, String)> {
    let child = Command::new(binary)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|cause| unrunnable(binary).with_source(cause))?;
    // What it started goes with it, should it hang.
    let _all = Profile { group: group(&child), folder: None };
    let output = timeout(ANSWER, child.wait_with_output())
        .await
        .map_err(|_| no_browser(binary, &format!("did not say its version within {ANSWER:?}")))?
        .map_err(|cause| unrunnable(binary).with_source(cause))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let major = text
        .split_whitespace()
        .find_map(|word| word.split_once('.').map(|(major, _)| major))
        .filter(|major| major.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| no_browser(binary, "does not say its version with --version"))?;
    let user_agent = format!(
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36"
    );
    Ok((text.trim().to_owned(), user_agent))
}

async fn debugging_port(profile: &Path) -> u16 {
    let file = profile.join("DevToolsActivePort");
    loop {
        let text = tokio::fs::read_to_string(&file).await.unwrap_or_default();
        if let Some(port) = text.lines().next().and_then(|line| line.parse().ok()) {
            return port;
        }
        sleep(POLL).await;
    }
}

fn group(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
}

fn unrunnable(binary: &Path) -> Error {
    Error::new(ErrorKind::Browser, format!("the browser {} could not be run", binary.display()))
        .with_hint("name an executable file, or a browser on PATH")
}

fn no_browser(binary: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Browser, format!("the browser {} {what}", binary.display()))
        .with_hint("name a Chromium, Chrome, Edge or Brave that starts headless on this machine")
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Browser, format!("Chromium: {what}"))
}

const SWITCHES: [&str; 18] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--remote-debugging-port=0",
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
