//! Runs the built program as a user would, with its own home folder and without the tester's environment.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Runs `rungs` with these arguments in a new home folder until it ends.
pub(crate) fn rungs<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> FinishedRun {
    Program::new().run(arguments)
}

/// The program and its home folder. Runs of one value share the home folder, and so the host memory.
pub(crate) struct Program {
    home: TempDir,
    variables: Vec<(String, String)>,
    input: Vec<u8>,
    is_open: bool,
    limit: Duration,
    descriptors: Option<&'static str>,
    umask: Option<&'static str>,
}

/// A run in progress.
pub(crate) struct RunningProgram {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    said: Arc<Mutex<Vec<u8>>>,
    limit: Duration,
    _stdin: Sender<()>,
}

/// The result of a run. Its `Display` has exit code, stdout and stderr, for `assert!(…, "{run}")`.
#[derive(Debug)]
pub(crate) struct FinishedRun {
    /// The exit code; `128 + signal` if a signal ended it, as in a shell.
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// Peak memory in kB: the kernel's `VmHWM`, as last read before the end.
    pub(crate) peak_kb: u64,
}

impl Program {
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("rungs-home-").tempdir().expect("a folder for a home");
        for folder in ["config", "cache", "data", "state", "runtime", "tmp"] {
            fs::create_dir(home.path().join(folder)).expect("a folder in the home");
        }
        Self {
            home,
            variables: Vec::new(),
            input: Vec::new(),
            is_open: false,
            limit: Duration::from_secs(90),
            descriptors: None,
            umask: None,
        }
    }

    /// Sets an environment variable.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets what is written to stdin. Default: nothing.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Keeps stdin open after its input, as a terminal does.
    pub(crate) fn keep_stdin_open(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// Closes stdin after its input. This is the default.
    pub(crate) fn close_stdin(mut self) -> Self {
        self.is_open = false;
        self
    }

    /// Sets the time after which a run is killed and the test fails. Default: 90 s.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the limit of open files, as arguments of `ulimit`: `-Sn 64`. Default: inherited.
    pub(crate) fn open_file_limit(mut self, limit: &'static str) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// Sets the umask, in octal digits. Default: inherited.
    pub(crate) fn umask(mut self, digits: &'static str) -> Self {
        self.umask = Some(digits);
        self
    }

    /// The home and working folder. Relative paths in arguments start here.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The files left in its temp folder.
    pub(crate) fn leftover_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.home().join("tmp")).expect("the temp folder is there");
        entries.map(|entry| entry.expect("the temp folder can be listed").path()).collect()
    }

    /// Runs it until it ends.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> FinishedRun {
        self.start(arguments).finish()
    }

    /// Starts it.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> RunningProgram {
        let folder = |name: &str| self.home().join(name);
        let program = env!("CARGO_BIN_EXE_rungs");
        let limits = self.descriptors.map(|limit| format!("ulimit {limit} && "));
        let setup: String =
            limits.into_iter().chain(self.umask.map(|digits| format!("umask {digits} && "))).collect();
        let mut command = Command::new(if setup.is_empty() { program } else { "/bin/sh" });
        if !setup.is_empty() {
            command.args(["-c", &format!("{setup}exec \"$0\" \"$@\""), program]);
        }
        let mut child = command
            .args(arguments)
            .current_dir(self.home())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("HOME", self.home())
            .env("TMPDIR", folder("tmp"))
            .env("XDG_CONFIG_HOME", folder("config"))
            .env("XDG_CACHE_HOME", folder("cache"))
            .env("XDG_DATA_HOME", folder("data"))
            .env("XDG_STATE_HOME", folder("state"))
            .env("XDG_RUNTIME_DIR", folder("runtime"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built with the tests");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        let (input, is_open) = (self.input.clone(), self.is_open);
        // In separate threads: a full pipe must not block the program, and the program need not read its input.
        let (end, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            let _ = stdin.write_all(&input);
            if is_open {
                // Until the run is dropped.
                let _ = ended.recv();
            }
        });
        let said = Arc::default();
        let stdout = drain(child.stdout.take().expect("stdout is a pipe"), Arc::default());
        let stderr = drain(child.stderr.take().expect("stderr is a pipe"), Arc::clone(&said));
        RunningProgram { child, stdout, stderr, said, limit: self.limit, _stdin: end }
    }
}

impl RunningProgram {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, for instance `Signal::INT`.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has an id");
        kill_process(id, signal).expect("the program still runs");
    }

    /// Waits until stderr contains `text`, and returns stderr so far.
    ///
    /// # Panics
    /// When it takes longer than the run's limit, with stderr.
    pub(crate) fn wait_for_stderr(&self, text: &str) -> String {
        let deadline = Instant::now() + self.limit;
        loop {
            let said = String::from_utf8_lossy(&self.said.lock().expect("no reader panicked")).into_owned();
            if said.contains(text) {
                return said;
            }
            assert!(
                Instant::now() < deadline,
                "rungs did not print `{text}` within {:?}\n{said}",
                self.limit
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// When it takes longer than its limit, with its output.
    pub(crate) fn finish(mut self) -> FinishedRun {
        let deadline = Instant::now() + self.limit;
        let mut peak_kb = 0;
        let status = loop {
            // The value only grows, and is lost when the process ends.
            peak_kb = peak(self.child.id()).unwrap_or(peak_kb);
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                break Some(status);
            }
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        // The pipes end with the program, unless a child process outlives it, which is an error too.
        let (stdout, stderr) = (self.stdout.recv_timeout(CLOSING), self.stderr.recv_timeout(CLOSING));
        let orphan = stdout.is_err() || stderr.is_err();
        let (stdout, stderr) = (stdout.unwrap_or_default(), stderr.unwrap_or_default());
        let code =
            status.map_or(-1, |status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        let finished =
            FinishedRun { code, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned(), peak_kb };
        assert!(status.is_some(), "rungs did not end within {:?}\n{finished}", self.limit);
        assert!(!orphan, "rungs ended, and a process it started still holds its output\n{finished}");
        finished
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        // A failing test leaves no process. After `finish` there is none, and `kill` returns an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl FinishedRun {
    /// Its stdout, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its stdout, as one JSON value.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }
}

impl fmt::Display for FinishedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.text();
        if text.len() > 4000 {
            let cut = (0..=4000).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(cut);
            text.push_str(" […]");
        }
        write!(f, "exit code {}\n--- stdout\n{text}\n--- stderr\n{}", self.code, self.stderr)
    }
}

/// The peak memory of a process so far, in kB. `None` if it has ended.
fn peak(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Reads a pipe to its end in a thread, and sends all of it then. `said` has the bytes read so far.
fn drain(mut pipe: impl Read + Send + 'static, said: Arc<Mutex<Vec<u8>>>) -> Receiver<Vec<u8>> {
    let (done, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut part = vec![0; 1 << 16];
        while let Ok(read @ 1..) = pipe.read(&mut part) {
            said.lock().expect("no reader panicked").extend_from_slice(&part[..read]);
        }
        let _ = done.send(said.lock().expect("no reader panicked").clone());
    });
    receiver
}

/// How long the pipes may stay open after the program's end.
const CLOSING: Duration = Duration::from_secs(5);
