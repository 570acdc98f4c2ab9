//! Ends a browser when this process is killed. The kernel then kills the main browser process (parent-death
//! signal), but its helpers exit only later, and its folder would remain.

use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

/// A shell that waits for the end of a pipe that only this process holds open. It then kills the browser's
/// process group and removes its folder. Dropping the watchdog ends only the shell.
pub(crate) struct Watchdog {
    child: Child,
    /// Closed by the kernel when this process dies for any reason.
    pipe: Option<PipeWriter>,
}

impl Watchdog {
    /// Starts a watchdog for the browser that leads `group` and uses `folder`, and perhaps a `second` one.
    pub(crate) fn start(group: Pid, folder: &Path, second: Option<&Path>) -> io::Result<Self> {
        let (end, pipe) = io::pipe()?;
        let child = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("GROUP", group.as_raw_nonzero().to_string())
            .env("FOLDER", folder)
            .env("SECOND", second.unwrap_or(folder))
            .stdin(end)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A separate group, so that signals to this process's group do not end it.
            .process_group(0)
            .spawn()?;
        Ok(Self { child, pipe: Some(pipe) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Kill it before the pipe closes, or it would kill the browser.
        let killed = self.child.kill();
        self.pipe = None;
        if let Err(cause) = killed.and_then(|()| self.child.wait()) {
            tracing::debug!(%cause, "the browser's watchdog had already exited");
        }
    }
}

/// Removes the folders twice, because helpers may write into them until they are dead.
const SCRIPT: &str = r#"read -r _; kill -s KILL -- "-$GROUP"
rm -rf -- "$FOLDER" "$SECOND" || { sleep 1; rm -rf -- "$FOLDER" "$SECOND"; }"#;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::process_table;
    use super::*;

    /// Starts a process that leads a new group with one child.
    fn group() -> (Child, Pid) {
        let child =
            Command::new("/bin/sh").args(["-c", "sleep 600 & wait"]).process_group(0).spawn().unwrap();
        let pid = Pid::from_child(&child);
        (child, pid)
    }

    fn until(condition: impl Fn() -> bool) {
        let limit = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < limit);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_end_of_the_pipe_ends_the_group_and_removes_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let second = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        let (mut child, pid) = group();
        let mut watchdog = Watchdog::start(pid, folder.path(), Some(second.path())).unwrap();
        watchdog.pipe = None;
        assert!(!child.wait().unwrap().success());
        watchdog.child.wait().unwrap();
        until(|| !process_table::is_group_running(pid));
        assert!(!folder.path().exists() && !second.path().exists());
    }

    #[test]
    fn a_watchdog_that_is_dropped_kills_no_process() {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, pid) = group();
        drop(Watchdog::start(pid, folder.path(), None).unwrap());
        assert!(child.try_wait().unwrap().is_none());
        assert!(folder.path().exists());
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
    }
}
