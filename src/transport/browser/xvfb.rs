//! Xvfb, a private display for one browser process with a window when no other display is available.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::child_environment::restrict_environment;
use crate::transport::chromium::executable;
use crate::transport::chromium::user_data_dir::create_file;

/// A running Xvfb that only the holder of its key can use. Dropping it ends Xvfb and waits for its exit. If
/// the starting thread dies first, the kernel ends Xvfb.
pub(super) struct Xvfb {
    child: Child,
    number: u32,
    authority: PathBuf,
}

/// Whether a display is available.
pub(super) fn has_display() -> bool {
    DISPLAYS.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

impl Xvfb {
    /// Starts Xvfb with its files in `folder`. The calling thread must outlive the browser.
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let program = executable::find_on_path(XVFB).ok_or_else(not_found_error)?;
        let authority = folder.join("xauthority");
        let log = folder.join("xvfb.log");
        let cookie: [u8; COOKIE_LEN] = rand::random();
        write_authority(&authority, &cookie)
            .map_err(|cause| start_error("could not write its key file", cause))?;
        let mut command = Command::new(program);
        restrict_environment(&mut command);
        command
            .args(["-displayfd", "1", "-screen", "0", SCREEN, "-nolisten", "tcp", "-noreset", "-auth"])
            .arg(&authority)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(create_file(&log).map_err(|cause| start_error("could not create its log file", cause))?)
            .process_group(0);
        die_with_parent(&mut command);
        let child = command.spawn().map_err(|cause| start_error("could not execute it", cause))?;
        // Created before the wait, so that dropping it ends Xvfb.
        let mut xvfb = Self { child, number: 0, authority };
        xvfb.number = xvfb.wait_ready().ok_or_else(|| {
            let stderr = last_line(&log);
            let error = Error::new(ErrorKind::Browser, "Xvfb did not start");
            if stderr.is_empty() {
                error
            } else {
                error.with_hint(format!("check Xvfb's last message: {stderr}"))
            }
        })?;
        tracing::debug!(number = xvfb.number, "started Xvfb display");
        Ok(xvfb)
    }

    /// Makes `command` use this display.
    pub(super) fn set_environment(&self, command: &mut Command) {
        command
            .env("DISPLAY", format!(":{}", self.number))
            .env("XAUTHORITY", &self.authority)
            .env_remove("WAYLAND_DISPLAY")
            .arg("--ozone-platform=x11");
    }

    /// Waits until Xvfb accepts clients. Returns its display number.
    fn wait_ready(&mut self) -> Option<u32> {
        let stdout = self.child.stdout.take()?;
        let (sender, receiver) = mpsc::channel();
        // The thread ends at the latest when Xvfb does, which the caller kills after a timeout.
        std::thread::spawn(move || {
            let mut line = String::new();
            if BufReader::new(stdout.take(64)).read_line(&mut line).is_ok() {
                let _ = sender.send(line.trim().parse().ok());
            }
        });
        receiver.recv_timeout(START_LIMIT).ok().flatten()
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        // On SIGTERM, Xvfb removes its lock and its socket.
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        let until = Instant::now() + END_LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Writes one key for every display of this machine, in Xlib's format: family, address, number, name, data.
fn write_authority(path: &Path, cookie: &[u8]) -> io::Result<()> {
    const NAME: &[u8] = b"MIT-MAGIC-COOKIE-1";
    const ANY: [u8; 2] = [0xff, 0xff];
    let mut entry = ANY.to_vec();
    for field in [&[], &[], NAME, cookie] {
        let length = u16::try_from(field.len()).map_err(io::Error::other)?;
        entry.extend(length.to_be_bytes());
        entry.extend(field);
    }
    create_file(path)?.write_all(&entry)
}

#[expect(unsafe_code, reason = "the parent-death signal is set between fork and exec")]
fn die_with_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        let parent = rustix::process::getpid();
        let hook = move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            if rustix::process::getppid() != Some(parent) {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(())
        };
        // SAFETY: between fork and exec the hook only makes system calls: no allocation, no locks.
        unsafe { command.pre_exec(hook) };
    }
}

/// Returns the last line of the log that is not blank.
fn last_line(log: &Path) -> String {
    let mut text = String::new();
    let read = File::open(log).and_then(|file| file.take(4096).read_to_string(&mut text));
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    read.ok().and(line).map(crate::text::redact::escape_terminal).unwrap_or_default()
}

fn not_found_error() -> Error {
    Error::new(ErrorKind::Browser, "a browser with a window needs a display, and none is available")
        .with_hint(
            "install Xvfb (`apt install xvfb`; `xorg-x11-server-Xvfb` or `xorg-server-xvfb` elsewhere), \
         set DISPLAY, or leave out `--headful`",
        )
}

fn start_error(what: &str, cause: io::Error) -> Error {
    Error::new(ErrorKind::Browser, format!("could not start Xvfb ({what})")).with_source(cause)
}

const XVFB: &str = "Xvfb";
const DISPLAYS: [&str; 2] = ["DISPLAY", "WAYLAND_DISPLAY"];
const SCREEN: &str = "1920x1080x24";
const COOKIE_LEN: usize = 16;
const START_LIMIT: Duration = Duration::from_secs(15);
const END_LIMIT: Duration = Duration::from_secs(2);
