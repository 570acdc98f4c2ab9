//! Where a password comes from: the environment, a file, or a command such as a keyring's. Never the
//! command line itself, which every user of the machine can read.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rungs::Secret;
use rustix::process::{Pid, Signal, kill_process_group};

use super::exit::Failure;

/// Where the password is, at most one of them.
#[derive(Debug, Default, clap::Args)]
#[group(required = false, multiple = false)]
pub(crate) struct PasswordSource {
    /// Take the account's password from this environment variable.
    #[arg(id = "password_env", long = "password-env", value_name = "NAME")]
    env: Option<String>,

    /// Take the account's password from this file's first line; - for stdin.
    #[arg(id = "password_file", long = "password-file", value_name = "FILE")]
    file: Option<PathBuf>,

    /// Take the account's password from the first line this command prints within 10 s, as in
    /// `secret-tool lookup service proxy`.
    #[arg(id = "password_command", long = "password-command", value_name = "COMMAND")]
    command: Option<String>,
}

impl PasswordSource {
    /// Whether none was named.
    pub(crate) const fn is_none(&self) -> bool {
        self.env.is_none() && self.file.is_none() && self.command.is_none()
    }

    /// The password, from where it was said to be; `None` when nothing was said.
    pub(crate) fn read(&self) -> Result<Option<Secret>, Failure> {
        if let Some(name) = &self.env {
            return from_environment(name).map(Some);
        }
        if let Some(path) = &self.file {
            return from_file(path).map(Some);
        }
        self.command.as_deref().map(|command| from_command(command, COMMAND_TIMEOUT)).transpose()
    }
}

fn from_environment(name: &str) -> Result<Secret, Failure> {
    let value = std::env::var(name).map_err(|cause| {
        let what = match cause {
            std::env::VarError::NotPresent => "is not set",
            std::env::VarError::NotUnicode(_) => "is not text",
        };
        Failure::Config(format!("--password-env: the variable {name} {what}"))
    })?;
    first_line(value.as_bytes(), &format!("--password-env: the variable {name}"))
}

fn from_file(path: &Path) -> Result<Secret, Failure> {
    let shown = format!("--password-file: {}", path.display());
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
    };
    read.map_err(|cause| Failure::Config(format!("{shown}: {cause}")))?;
    first_line(&bytes, &shown)
}

/// Runs a command by sh, alone in its group, so that all of it ends with its deadline.
fn from_command(command: &str, patience: Duration) -> Result<Secret, Failure> {
    let wrong = |what: String| Failure::Config(format!("--password-command: {what}"));
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|cause| wrong(format!("could not run sh: {cause}")))?;
    let deadline = Instant::now() + patience;
    let (told, line) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        // It ends when the last of the group has, at the latest when that is killed.
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut bytes = Vec::new();
            let read = stdout.by_ref().take(MAX_BYTES).read_until(b'\n', &mut bytes);
            let _ = told.send(read.map(|_| bytes));
            // What else it prints is nobody's.
            let _ = std::io::copy(&mut stdout, &mut std::io::sink());
        });
    }
    let late = || wrong(format!("it took longer than {} s", patience.as_secs_f64()));
    let read = line.recv_timeout(patience).map_err(|_| late());
    let status = match &read {
        Ok(_) => wait_until(&mut child, deadline).ok_or_else(late),
        Err(_) => Err(late()),
    };
    kill_group(&mut child);
    let (bytes, status) = (read?, status?);
    if !status.success() {
        return Err(wrong(format!("it failed ({status})")));
    }
    let bytes = bytes.map_err(|cause| wrong(format!("could not read what it prints: {cause}")))?;
    first_line(&bytes, "--password-command: what it prints")
}

/// Its end, when that is before the deadline.
fn wait_until(child: &mut Child, deadline: Instant) -> Option<std::process::ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Ends whatever is left of the child and of those it started.
fn kill_group(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Where all have ended there is nobody to tell.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

fn first_line(bytes: &[u8], origin: &str) -> Result<Secret, Failure> {
    let wrong = |what: &str| Failure::Config(format!("{origin} {what}"));
    if bytes.len() as u64 >= MAX_BYTES {
        return Err(wrong("is too long for a password"));
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|_| wrong("is not UTF-8"))?;
    if text.is_empty() {
        return Err(wrong("holds no password"));
    }
    Ok(Secret::new(text))
}

/// The most bytes looked at.
const MAX_BYTES: u64 = 64 * 1024;
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gives_its_first_line() {
        let run = |command: &str| {
            from_command(command, Duration::from_secs(10)).map(|told| told.expose().to_owned())
        };
        assert_eq!(run("printf 'hunter2\\r\\nmore\\n'").unwrap(), "hunter2");
        assert_eq!(run("echo hunter2; yes | head -c 300000").unwrap(), "hunter2");
        for (command, says) in [
            ("exit 3", "failed"),
            ("echo hunter2; exit 1", "failed"),
            ("true", "holds no password"),
            ("echo", "holds no password"),
            ("printf '\\377\\n'", "is not UTF-8"),
            ("yes | tr -d '\\n' | head -c 70000", "too long"),
        ] {
            let failure = run(command).unwrap_err();
            assert_eq!(failure.code(), 3, "{command}");
            let said = format!("{failure:?}");
            assert!(said.contains(says) && !said.contains("hunter2"), "{command}: {said}");
        }
    }

    #[test]
    fn a_command_that_does_not_end_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        // A child of its own that holds the pipe open, and a line that comes in time.
        let command = format!("sleep 600 & echo $! >{}; echo hunter2; wait", file.display());
        let failure = from_command(&command, Duration::from_millis(500)).unwrap_err();
        assert!(format!("{failure:?}").contains("longer than 0.5 s"), "{failure:?}");
        let pid = std::fs::read_to_string(&file).unwrap();
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        let limit = Instant::now() + Duration::from_secs(20);
        while !gone() && Instant::now() < limit {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(gone(), "{pid} still runs");
    }

    #[test]
    fn files_and_variables_that_hold_no_password_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "p@ss:w/rd\nsecond\n").unwrap();
        assert_eq!(from_file(&file).unwrap().expose(), "p@ss:w/rd");
        std::fs::write(&file, "").unwrap();
        assert!(format!("{:?}", from_file(&file).unwrap_err()).contains("holds no password"));
        assert!(format!("{:?}", from_file(&folder.path().join("none")).unwrap_err()).contains("none"));
        let missing = from_environment("RUNGS_NO_SUCH_VARIABLE").unwrap_err();
        assert!(format!("{missing:?}").contains("RUNGS_NO_SUCH_VARIABLE is not set"));
    }
}
