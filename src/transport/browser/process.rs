//! One browser process: started, watched, killed with its whole group and reaped by one thread of
//! its own. That thread lives exactly as long as the process: the kernel's parent-death signal
//! fires when the *thread* that spawned ends, so no pooled thread may do it.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::{oneshot, watch};

use super::certificates;
use super::connection::CdpConnection;
use super::targets::BrowserTargets;
use super::user_data_dir::{UserDataDir, remove_abandoned};
use super::watchdog::Watchdog;
use super::xvfb::Xvfb;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::sync::lock_unpoisoned;

/// What to start.
pub(super) struct LaunchSpec {
    pub executable: PathBuf,
    /// Its switches, given the folder for its user data.
    pub switches: SwitchesFn,
    /// Where its folder is made.
    pub scratch_parent: PathBuf,
    pub ca_file: Option<PathBuf>,
    /// A window needs a display, and there is none.
    pub own_display: bool,
}

/// Makes the switches from the folder for user data.
pub(super) type SwitchesFn = Box<dyn FnOnce(&Path) -> Vec<String> + Send>;

/// A browser process. Dropping it kills it, and waits until it and its folder are gone.
pub(super) struct Process {
    state: Arc<Mutex<ProcessState>>,
    finished: watch::Receiver<bool>,
}

#[derive(Default)]
struct ProcessState {
    /// Set while the process is not reaped: only then is the number certain to be ours.
    pid: Option<Pid>,
    stop: bool,
    stderr_tail: String,
}

impl Process {
    /// Starts the process; its messages go to `targets` and to the waiting commands of `connection`.
    pub(super) async fn start(
        plan: LaunchSpec,
        connection: CdpConnection,
        targets: Arc<BrowserTargets>,
    ) -> Result<Self> {
        let life = Arc::new(Mutex::new(ProcessState::default()));
        let (finish, finished) = watch::channel(false);
        let (started, answer) = oneshot::channel();
        let of_thread = Arc::clone(&life);
        // Its handle is not kept: `finished` says when it ends.
        std::thread::Builder::new()
            .name("rungs-browser".to_owned())
            .spawn(move || {
                supervise(plan, &of_thread, &connection, &targets, started);
                finish.send_replace(true);
            })
            .map_err(|cause| start_error(cause, "no thread for it"))?;
        // Made before the answer is waited for: a caller that gives up here kills what was started.
        let process = Self { state: life, finished };
        answer.await.map_err(|cause| start_error(io::Error::other(cause), "its supervisor died"))??;
        Ok(process)
    }

    /// The process id, while it runs; its group has the same number.
    pub(super) fn pid(&self) -> Option<u32> {
        lock_unpoisoned(&self.state).pid.map(|pid| pid.as_raw_nonzero().get().cast_unsigned())
    }

    /// What it last said on stderr, once it has ended.
    pub(super) fn stderr_tail(&self) -> String {
        lock_unpoisoned(&self.state).stderr_tail.clone()
    }

    /// Kills the whole group.
    pub(super) fn kill(&self) {
        let mut life = lock_unpoisoned(&self.state);
        life.stop = true;
        if let Some(pid) = life.pid {
            kill_group(pid);
        }
    }

    /// Waits until it is reaped and its folder removed. Whether it came to that within `limit`.
    pub(super) async fn wait_for_exit(&self, limit: Duration) -> bool {
        let mut finished = self.finished.clone();
        tokio::time::timeout(limit, finished.wait_for(|done| *done)).await.is_ok()
    }
}

impl Process {
    /// Whether it is reaped and its folder removed.
    pub(super) fn has_exited(&self) -> bool {
        // A closed channel means the thread is over, too.
        *self.finished.borrow() || self.finished.has_changed().is_err()
    }

    /// Waits for that, a little while. Blocks.
    pub(super) fn wait_blocking(&self) {
        let until = Instant::now() + DROP_LIMIT;
        while !self.has_exited() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        self.wait_blocking();
    }
}

fn supervise(
    plan: LaunchSpec,
    life: &Mutex<ProcessState>,
    connection: &CdpConnection,
    targets: &BrowserTargets,
    started: oneshot::Sender<Result<()>>,
) {
    let (mut child, messages, commands, scratch, display) = match spawn(plan) {
        Ok(parts) => parts,
        Err(error) => {
            connection.close();
            // The caller may have given up: then nobody needs the reason.
            let _ = started.send(Err(error));
            return;
        }
    };
    let pid = Pid::from_child(&child);
    let watchdog = Watchdog::start(pid, scratch.path())
        .inspect_err(|cause| tracing::debug!(%cause, "no watchdog for the browser"));
    {
        let mut life = lock_unpoisoned(life);
        life.pid = Some(pid);
        if life.stop {
            kill_group(pid);
        }
    }
    connection.attach_writer(commands);
    let _ = started.send(Ok(()));
    connection.read_events(messages, |event| targets.on_event(connection, &event));
    connection.close();
    targets.on_browser_closed();
    reap(&mut child, pid, life, watchdog.ok());
    drop(display);
    lock_unpoisoned(life).stderr_tail = last_line(&scratch.log()).unwrap_or_default();
}

/// Waits for the process to end, makes it end when it does not, and takes its group along.
fn reap(child: &mut Child, pid: Pid, life: &Mutex<ProcessState>, watchdog: Option<Watchdog>) {
    let seen_dead = |options: WaitIdOptions| {
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | options;
        // No child to wait for means it is dead as well.
        rustix::process::waitid(WaitId::Pid(pid), peek).map_or(true, |status| status.is_some())
    };
    let until = Instant::now() + EXIT_GRACE;
    while !seen_dead(WaitIdOptions::NOHANG) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Renderers and helpers too. The leader is not reaped yet, so the group is certain to be ours.
    kill_group(pid);
    seen_dead(WaitIdOptions::empty());
    lock_unpoisoned(life).pid = None;
    // Before the number can be somebody else's.
    drop(watchdog);
    if let Err(cause) = child.wait() {
        tracing::debug!(%cause, "the browser was reaped by somebody else");
    }
    let until = Instant::now() + GROUP_GRACE;
    while rustix::process::test_kill_process_group(pid).is_ok() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill_group(pid: Pid) {
    if let Err(cause) = rustix::process::kill_process_group(pid, Signal::KILL)
        && cause != rustix::io::Errno::SRCH
    {
        tracing::warn!(%cause, "could not kill the browser");
    }
}

type SpawnedProcess = (Child, PipeReader, PipeWriter, UserDataDir, Option<Xvfb>);

fn spawn(plan: LaunchSpec) -> Result<SpawnedProcess> {
    remove_abandoned(&plan.scratch_parent);
    let scratch = UserDataDir::create(&plan.scratch_parent).map_err(|cause| {
        Error::new(ErrorKind::Browser, "could not make a folder for the browser").with_source(cause)
    })?;
    let mut command = Command::new(&plan.executable);
    command.args((plan.switches)(&scratch.user_data())).env("TMPDIR", scratch.tmp());
    if let Some(ca_file) = &plan.ca_file {
        command.env("HOME", certificates::create_home(scratch.path(), ca_file)?).env_remove("XDG_DATA_HOME");
    }
    let display = if plan.own_display { Some(Xvfb::start(scratch.path())?) } else { None };
    if let Some(display) = &display {
        display.set_environment(&mut command);
    }
    let name = plan.executable.display().to_string();
    let (child, messages, commands) =
        spawn_with_pipes(command, &scratch.log()).map_err(|cause| start_error(cause, &name))?;
    tracing::debug!(pid = child.id(), browser = name, "started a browser");
    Ok((child, messages, commands, scratch, display))
}

fn spawn_with_pipes(mut command: Command, log: &Path) -> io::Result<(Child, PipeReader, PipeWriter)> {
    let (for_browser, commands) = io::pipe()?;
    let (messages, from_browser) = io::pipe()?;
    // Out of the way of the two numbers they get in the child.
    let reads = rustix::io::fcntl_dupfd_cloexec(for_browser.as_fd(), 10)?;
    let writes = rustix::io::fcntl_dupfd_cloexec(from_browser.as_fd(), 10)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?).process_group(0);
    set_up_child(&mut command, reads, writes);
    let child = command.spawn()?;
    // `command` owns the child's ends: they must close here for the end of the pipe to be seen.
    drop(command);
    Ok((child, messages, commands))
}

/// In the child: descriptors 3 and 4 for the pipe, and death when our thread dies.
#[expect(unsafe_code, reason = "pre_exec and fixed descriptor numbers cannot be had safely")]
fn set_up_child(command: &mut Command, reads: OwnedFd, writes: OwnedFd) {
    use std::mem::ManuallyDrop;
    use std::os::fd::FromRawFd;
    let parent = rustix::process::getpid();
    let hook = move || {
        #[cfg(target_os = "linux")]
        {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            if rustix::process::getppid() != Some(parent) {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        for (fd, number) in [(&reads, 3), (&writes, 4)] {
            // SAFETY: only dup2 sees it, which takes a closed number as well as an open one, and it
            // is never dropped. The child execs right away, so nothing else relies on the number.
            let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
            rustix::io::dup2(fd, &mut target)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the hook only makes system calls: no allocation, no locks.
    unsafe { command.pre_exec(hook) };
}

fn start_error(cause: io::Error, what: &str) -> Error {
    Error::from_io(ErrorKind::Browser, format!("could not start the browser ({what})"), cause)
}

/// The last line with something in it.
fn last_line(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(STDERR_TAIL_LEN)))?;
    let mut bytes = Vec::new();
    file.take(STDERR_TAIL_LEN).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Ok(crate::redact::escape_terminal(line.trim()))
}

/// How long a browser that closed its pipe may take to end by itself.
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// How long killed helpers may take to go.
const GROUP_GRACE: Duration = Duration::from_millis(200);
/// How long a drop may block.
const DROP_LIMIT: Duration = Duration::from_secs(5);
const STDERR_TAIL_LEN: u64 = 2048;
