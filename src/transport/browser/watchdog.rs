//! What ends a browser when this process is killed and cannot. The kernel ends the browser itself then
//! (its parent-death signal), but its helpers only notice by and by, and nobody removes its folder.

use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

/// A shell that waits for the end of a pipe that this process alone holds open, then kills the browser's group
/// and removes its folder. Dropping it ends it, and nothing else.
pub(super) struct Watchdog {
    child: Child,
    /// Closed by the system when this process dies, however it dies.
    pipe: Option<PipeWriter>,
}

impl Watchdog {
    /// Watches over the browser that leads `group` and lives in `folder`.
    pub(super) fn start(group: Pid, folder: &Path) -> io::Result<Self> {
        let (end, pipe) = io::pipe()?;
        let child = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("GROUP", group.as_raw_nonzero().to_string())
            .env("FOLDER", folder)
            .stdin(end)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What a terminal or a supervisor sends to our group is not for it: it has to outlive us.
            .process_group(0)
            .spawn()?;
        Ok(Self { child, pipe: Some(pipe) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Killed before the pipe closes, or it would do its work.
        let killed = self.child.kill();
        self.pipe = None;
        if let Err(cause) = killed.and_then(|()| self.child.wait()) {
            tracing::debug!(%cause, "the browser's watchdog was gone already");
        }
    }
}

/// Helpers may write into the folder until they are dead: hence twice.
const SCRIPT: &str =
    r#"read -r _; kill -s KILL -- "-$GROUP"; rm -rf -- "$FOLDER" || { sleep 1; rm -rf -- "$FOLDER"; }"#;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// A process that leads a group of its own, and has a child in it.
    fn group() -> (Child, Pid) {
        let child =
            Command::new("/bin/sh").args(["-c", "sleep 600 & wait"]).process_group(0).spawn().unwrap();
        let pid = Pid::from_child(&child);
        (child, pid)
    }

    fn until(is: impl Fn() -> bool) {
        let limit = Instant::now() + Duration::from_secs(60);
        while !is() {
            assert!(Instant::now() < limit);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_end_of_the_pipe_ends_the_group_and_removes_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        let (mut child, pid) = group();
        let mut dog = Watchdog::start(pid, folder.path()).unwrap();
        dog.pipe = None;
        assert!(!child.wait().unwrap().success());
        dog.child.wait().unwrap();
        until(|| rustix::process::test_kill_process_group(pid).is_err());
        assert!(!folder.path().exists());
    }

    #[test]
    fn a_watchdog_that_is_dropped_kills_no_process() {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, pid) = group();
        drop(Watchdog::start(pid, folder.path()).unwrap());
        assert!(child.try_wait().unwrap().is_none());
        assert!(folder.path().exists());
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
    }
}
