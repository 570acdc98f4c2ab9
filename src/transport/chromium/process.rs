//! One browser process. A dedicated thread starts it, reads its events, kills its whole group and reaps it.
//! That thread lives exactly as long as the process. The kernel sends the parent-death signal when the
//! spawning *thread* ends, so a pooled thread must not spawn it.

use std::any::Any;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::{oneshot, watch};

use super::connection::{CdpConnection, CdpEvent};
use super::process_table;
use super::user_data_dir::{UserDataDir, create_file};
use super::watchdog::Watchdog;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::child_environment::restrict_environment;
use crate::os::sync::lock_unpoisoned;

/// How to start a browser process.
pub(crate) struct LaunchSpec {
    pub executable: PathBuf,
    /// Its switches, given the folder for its user data.
    pub switches: SwitchesFn,
    /// Parent of its user data folder.
    pub scratch_parent: PathBuf,
    /// Changes its environment.
    pub environment: EnvironmentFn,
}

/// Returns the switches for a user data folder.
pub(crate) type SwitchesFn = Box<dyn FnOnce(&Path) -> Vec<String> + Send>;

/// Changes the environment of the command. The folder is the browser's own and is removed with it. Returns a value that
/// is dropped after the browser has exited.
pub(crate) type EnvironmentFn = Box<dyn FnOnce(&Path, &mut Command) -> Result<Box<dyn Any>> + Send>;

/// Observes a browser process.
pub(crate) trait ProcessObserver: Send + Sync + 'static {
    /// Called when the process runs. The returned value is dropped before the process is reaped.
    fn on_start(self: &Arc<Self>, pid: Pid) -> Box<dyn Any> {
        let _ = pid;
        Box::new(())
    }

    /// Called with each event.
    fn on_event(&self, connection: &CdpConnection, event: &CdpEvent<'_>) {
        let _ = (connection, event);
    }

    /// Called when the browser has closed its pipe.
    fn on_browser_closed(&self) {}
}

/// A browser process. Dropping it kills the process and waits until it and its folder are gone.
pub(crate) struct Process {
    state: Arc<Mutex<ProcessState>>,
    finished: watch::Receiver<bool>,
}

#[derive(Default)]
struct ProcessState {
    /// Set until the process is reaped. After that, another process may have the number.
    pid: Option<Pid>,
    stop: bool,
    exit_status: Option<ExitStatus>,
    stderr_tail: String,
}

impl Process {
    /// Starts the process. Its messages go to `observer` and to the pending commands of `connection`.
    pub(crate) async fn start(
        spec: LaunchSpec,
        connection: CdpConnection,
        observer: Arc<impl ProcessObserver>,
    ) -> Result<Self> {
        let state = Arc::new(Mutex::new(ProcessState::default()));
        let (finish, finished) = watch::channel(false);
        let (started, answer) = oneshot::channel();
        let thread_state = Arc::clone(&state);
        // The handle is not needed: `finished` signals the end.
        std::thread::Builder::new()
            .name("rungs-browser".to_owned())
            .spawn(move || {
                supervise(spec, &thread_state, &connection, &observer, started);
                finish.send_replace(true);
            })
            .map_err(|cause| start_error(cause, "could not start a thread"))?;
        // Created before the await: dropping this future then kills the process.
        let process = Self { state, finished };
        answer.await.map_err(|cause| start_error(io::Error::other(cause), "its thread ended"))??;
        Ok(process)
    }

    /// Returns the process id while it runs. Its group has the same number.
    pub(crate) fn pid(&self) -> Option<u32> {
        lock_unpoisoned(&self.state).pid.map(|pid| pid.as_raw_nonzero().get().cast_unsigned())
    }

    /// Returns the last line on stderr, once the process has exited.
    pub(crate) fn stderr_tail(&self) -> String {
        lock_unpoisoned(&self.state).stderr_tail.clone()
    }

    /// Returns the status of the process, once it has exited.
    #[cfg(feature = "lab")]
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        lock_unpoisoned(&self.state).exit_status
    }

    /// Kills the whole group.
    pub(crate) fn kill(&self) {
        let mut state = lock_unpoisoned(&self.state);
        state.stop = true;
        if let Some(pid) = state.pid {
            kill_group(pid);
        }
    }

    /// Waits until the process is reaped and its folder removed. Returns whether that happened within `limit`.
    pub(crate) async fn wait_for_exit(&self, limit: Duration) -> bool {
        let mut finished = self.finished.clone();
        tokio::time::timeout(limit, finished.wait_for(|done| *done)).await.is_ok()
    }
}

impl Process {
    /// Whether the process is reaped and its folder removed.
    pub(crate) fn has_exited(&self) -> bool {
        // A closed channel also means that the thread ended.
        *self.finished.borrow() || self.finished.has_changed().is_err()
    }

    /// Blocks until the process has exited, at most for [`DROP_LIMIT`].
    pub(crate) fn wait_blocking(&self) {
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
    spec: LaunchSpec,
    state: &Mutex<ProcessState>,
    connection: &CdpConnection,
    observer: &Arc<impl ProcessObserver>,
    started: oneshot::Sender<Result<()>>,
) {
    let (mut child, messages, commands, scratch, environment) = match spawn(spec) {
        Ok(parts) => parts,
        Err(error) => {
            connection.close();
            // The receiver is gone when the caller was dropped.
            let _ = started.send(Err(error));
            return;
        }
    };
    let pid = Pid::from_child(&child);
    let watchdog = Watchdog::start(pid, scratch.path(), scratch.short())
        .inspect_err(|cause| tracing::debug!(%cause, "could not start the browser's watchdog"));
    {
        let mut state = lock_unpoisoned(state);
        state.pid = Some(pid);
        if state.stop {
            kill_group(pid);
        }
    }
    let guard = observer.on_start(pid);
    connection.attach_writer(commands);
    let _ = started.send(Ok(()));
    connection.read_events(messages, |event| observer.on_event(connection, &event));
    connection.close();
    observer.on_browser_closed();
    // Before the process is reaped: the guard sends signals to its group.
    drop(guard);
    reap(&mut child, pid, state, watchdog.ok());
    drop(environment);
    lock_unpoisoned(state).stderr_tail = last_line(&scratch.log()).unwrap_or_default();
}

/// Waits for the process to exit, kills it after [`EXIT_GRACE`], and kills its group.
fn reap(child: &mut Child, pid: Pid, state: &Mutex<ProcessState>, watchdog: Option<Watchdog>) {
    let is_dead = |options: WaitIdOptions| {
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | options;
        // An error means that there is no child, so it is dead as well.
        rustix::process::waitid(WaitId::Pid(pid), peek).map_or(true, |status| status.is_some())
    };
    let until = Instant::now() + EXIT_GRACE;
    while !is_dead(WaitIdOptions::NOHANG) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Includes renderers and helpers. The leader is not reaped yet, so the group number is still ours.
    kill_group(pid);
    is_dead(WaitIdOptions::empty());
    lock_unpoisoned(state).pid = None;
    // Before the kernel can reuse the number.
    drop(watchdog);
    match child.wait() {
        Ok(status) => lock_unpoisoned(state).exit_status = Some(status),
        Err(cause) => tracing::debug!(%cause, "the browser was already reaped"),
    }
    let until = Instant::now() + GROUP_GRACE;
    while process_table::is_group_running(pid) && Instant::now() < until {
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

type SpawnedProcess = (Child, PipeReader, PipeWriter, UserDataDir, Box<dyn Any>);

fn spawn(spec: LaunchSpec) -> Result<SpawnedProcess> {
    let scratch = UserDataDir::create(&spec.scratch_parent)?;
    let mut command = Command::new(&spec.executable);
    restrict_environment(&mut command);
    command.args((spec.switches)(&scratch.user_data())).env("TMPDIR", scratch.tmp());
    let environment = (spec.environment)(scratch.path(), &mut command)?;
    let name = spec.executable.display().to_string();
    let (child, messages, commands) =
        spawn_with_pipes(command, &scratch.log()).map_err(|cause| start_error(cause, &name))?;
    tracing::debug!(pid = child.id(), browser = name, "started browser process");
    Ok((child, messages, commands, scratch, environment))
}

fn spawn_with_pipes(mut command: Command, log: &Path) -> io::Result<(Child, PipeReader, PipeWriter)> {
    let (for_browser, commands) = io::pipe()?;
    let (messages, from_browser) = io::pipe()?;
    // Numbers that do not collide with 3 and 4, which they get in the child.
    let reads = rustix::io::fcntl_dupfd_cloexec(for_browser.as_fd(), 10)?;
    let writes = rustix::io::fcntl_dupfd_cloexec(from_browser.as_fd(), 10)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(create_file(log)?).process_group(0);
    set_up_child(&mut command, reads, writes);
    let child = command.spawn()?;
    // `command` owns the child's ends. They must be closed here so that the reader sees the end of the pipe.
    drop(command);
    Ok((child, messages, commands))
}

/// Sets up the child: descriptors 3 and 4 for the pipes, the umask, and the parent-death signal.
#[expect(unsafe_code, reason = "pre_exec and fixed descriptor numbers have no safe API")]
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
        // The browser's own files. It creates some of them with modes that only the umask restricts.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        for (fd, number) in [(&reads, 3), (&writes, 4)] {
            // SAFETY: only dup2 uses it, which accepts a closed number as well as an open one, and it
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

/// Returns the last line that is not blank.
fn last_line(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(STDERR_TAIL_LEN)))?;
    let mut bytes = Vec::new();
    file.take(STDERR_TAIL_LEN).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Ok(crate::text::redact::escape_terminal(line.trim()))
}

/// How long a browser that closed its pipe may take to exit by itself.
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// How long killed helpers may take to exit.
const GROUP_GRACE: Duration = Duration::from_secs(10);
/// How long a drop may block.
const DROP_LIMIT: Duration = Duration::from_secs(5);
const STDERR_TAIL_LEN: u64 = 2048;
