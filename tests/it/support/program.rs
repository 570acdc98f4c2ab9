//! The built program, run as a user would, with a home of its own and nothing of the tester's environment.

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

/// Runs `rungs` with these arguments in a home of its own, to its end.
pub(crate) fn rungs<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> FinishedRun {
    Program::new().run(arguments)
}

/// The program and its home. Runs of one value share the home, and with it what the program remembers.
pub(crate) struct Program {
    home: TempDir,
    variables: Vec<(String, String)>,
    input: Vec<u8>,
    is_open: bool,
    limit: Duration,
    descriptors: Option<&'static str>,
}

/// A run that goes on.
pub(crate) struct RunningProgram {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    said: Arc<Mutex<Vec<u8>>>,
    limit: Duration,
    _stdin: Sender<()>,
}

/// A run that ended. Prints as the whole of it, for `assert!(…, "{run}")`.
#[derive(Debug)]
pub(crate) struct FinishedRun {
    /// The exit code; `128 + signal` if a signal ended it, as a shell counts.
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// The most memory it held at once, in kB: `VmHWM` of the kernel, last seen before its end.
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
        }
    }

    /// Sets an environment variable.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What stdin brings. Default: nothing.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Leaves stdin open behind its input, as a terminal or a pipe that goes on does.
    pub(crate) fn keep_stdin_open(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// Closes stdin behind its input again.
    pub(crate) fn close_stdin(mut self) -> Self {
        self.is_open = false;
        self
    }

    /// After how long a run is killed and the test fails. Default: 90 s.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The limit of open files, as `ulimit` takes it: `-Sn 64`. Default: the tester's.
    pub(crate) fn open_file_limit(mut self, limit: &'static str) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// The folder it runs in; relative paths in its arguments start here.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// What it left in its temp folder: nothing, if it is tidy.
    pub(crate) fn leftover_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.home().join("tmp")).expect("the temp folder is there");
        entries.map(|entry| entry.expect("the temp folder can be listed").path()).collect()
    }

    /// Runs it to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> FinishedRun {
        self.start(arguments).finish()
    }

    /// Starts it.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> RunningProgram {
        let folder = |name: &str| self.home().join(name);
        let program = env!("CARGO_BIN_EXE_rungs");
        let mut command = Command::new(if self.descriptors.is_some() { "/bin/sh" } else { program });
        if let Some(limit) = self.descriptors {
            command.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\""), program]);
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
        // By threads of their own: a full pipe must not stop the program. It may well not read what it is given.
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

    /// Waits until it has said this on stderr; what it has said by then.
    ///
    /// # Panics
    /// When it takes longer than its limit, with what it said.
    pub(crate) fn wait_for_stderr(&self, text: &str) -> String {
        let deadline = Instant::now() + self.limit;
        loop {
            let said = String::from_utf8_lossy(&self.said.lock().expect("no reader panicked")).into_owned();
            if said.contains(text) {
                return said;
            }
            assert!(Instant::now() < deadline, "rungs did not say `{text}` within {:?}\n{said}", self.limit);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes longer than its limit, with what it printed.
    pub(crate) fn finish(mut self) -> FinishedRun {
        let deadline = Instant::now() + self.limit;
        let mut peak_kb = 0;
        let status = loop {
            // It only grows, and is gone with the process.
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
        // The pipes end with the program, unless a child of its own outlives it, and that is a finding too.
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
        // A test that fails midway leaves no program behind. After `finish` there is none, and the kill is an error.
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

/// The most memory that a process held so far, in kB; none when it has ended.
fn peak(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Reads a pipe to its end on a thread, and sends what it had; `said` has it as it comes.
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
