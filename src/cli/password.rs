//! Reads a password from the environment, a file, or a command such as a keyring's. Arguments are not a source: every
//! user of the machine can read them.

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

/// The source of a password. At most one is set.
#[derive(Debug, Default, clap::Args)]
#[group(required = false, multiple = false)]
pub(crate) struct PasswordSource {
    /// Environment variable with the account's password
    #[arg(id = "password_env", long = "password-env", value_name = "NAME")]
    env: Option<String>,

    /// File with the account's password; - for stdin
    ///
    /// The password is the first line.
    #[arg(id = "password_file", long = "password-file", value_name = "FILE")]
    file: Option<PathBuf>,

    /// Command that prints the account's password
    ///
    /// The password is the first line that the shell command prints within 10 s. Example: --password-command 'secret-tool
    /// lookup service proxy'.
    #[arg(id = "password_command", long = "password-command", value_name = "COMMAND")]
    command: Option<String>,
}

impl PasswordSource {
    /// Whether no source is set.
    pub(crate) const fn is_none(&self) -> bool {
        self.env.is_none() && self.file.is_none() && self.command.is_none()
    }

    /// Reads the password. Returns `None` when no source is set.
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

/// Runs a command with sh in a process group of its own. At the deadline the whole group is killed.
fn from_command(command: &str, timeout: Duration) -> Result<Secret, Failure> {
    let wrong = |what: String| Failure::Config(format!("--password-command: {what}"));
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|cause| wrong(format!("could not run sh: {cause}")))?;
    let deadline = Instant::now() + timeout;
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        // The thread ends when the last process of the group ends, at the latest when the group is killed.
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut bytes = Vec::new();
            let read = stdout.by_ref().take(MAX_BYTES).read_until(b'\n', &mut bytes);
            let _ = sender.send(read.map(|_| bytes));
            // Discards further output, so that the command does not block on a full pipe.
            let _ = std::io::copy(&mut stdout, &mut std::io::sink());
        });
    }
    let late = || wrong(format!("the command took longer than {} s", timeout.as_secs_f64()));
    let read = receiver.recv_timeout(timeout).map_err(|_| late());
    let status = match &read {
        Ok(_) => wait_until(&mut child, deadline).ok_or_else(late),
        Err(_) => Err(late()),
    };
    kill_group(&mut child);
    let (bytes, status) = (read?, status?);
    if !status.success() {
        return Err(wrong(format!("the command failed ({status})")));
    }
    let bytes = bytes.map_err(|cause| wrong(format!("could not read the output of the command: {cause}")))?;
    first_line(&bytes, "--password-command: the output")
}

/// Waits for the child to end. Returns `None` at the deadline.
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

/// Kills the process group of the child and reaps the child.
fn kill_group(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Fails when all processes of the group have ended.
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
        return Err(wrong("does not contain a password"));
    }
    Ok(Secret::new(text))
}

/// The maximum number of bytes read from a source.
const MAX_BYTES: u64 = 64 * 1024;
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_first_line_of_command_output() {
        let run = |command: &str| {
            from_command(command, Duration::from_secs(10)).map(|password| password.expose().to_owned())
        };
        assert_eq!(run("printf 'hunter2\\r\\nmore\\n'").unwrap(), "hunter2");
        assert_eq!(run("echo hunter2; yes | head -c 300000").unwrap(), "hunter2");
        for (command, expected) in [
            ("exit 3", "failed"),
            ("echo hunter2; exit 1", "failed"),
            ("true", "does not contain a password"),
            ("echo", "does not contain a password"),
            ("printf '\\377\\n'", "is not UTF-8"),
            ("yes | tr -d '\\n' | head -c 70000", "too long"),
        ] {
            let failure = run(command).unwrap_err();
            assert_eq!(failure.code(), 3, "{command}");
            let text = format!("{failure:?}");
            assert!(text.contains(expected) && !text.contains("hunter2"), "{command}: {text}");
        }
    }

    #[test]
    fn command_past_its_deadline_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        // The command prints its line in time, but its child keeps the pipe open.
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
    fn error_names_a_file_or_variable_without_password() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "p@ss:w/rd\nsecond\n").unwrap();
        assert_eq!(from_file(&file).unwrap().expose(), "p@ss:w/rd");
        std::fs::write(&file, "").unwrap();
        assert!(format!("{:?}", from_file(&file).unwrap_err()).contains("does not contain a password"));
        assert!(format!("{:?}", from_file(&folder.path().join("none")).unwrap_err()).contains("none"));
        let missing = from_environment("RUNGS_NO_SUCH_VARIABLE").unwrap_err();
        assert!(format!("{missing:?}").contains("RUNGS_NO_SUCH_VARIABLE is not set"));
    }
}
