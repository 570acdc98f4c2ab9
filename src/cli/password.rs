//! A password that is kept elsewhere: in a file, or by a program such as a keyring's.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rungs::Secret;

use super::exit::Failure;

/// The first line of a file.
pub(crate) fn of_file(path: &Path) -> Result<Secret, Failure> {
    let flag = "--proxy-password-file";
    let unreadable = |cause| Failure::Io(format!("{flag}: could not read {}", path.display()), cause);
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(LONGEST).read_to_end(&mut bytes).map_err(unreadable)?;
    first_line(flag, &bytes)
}

/// The first line that a shell's command prints.
pub(crate) fn of_command(command: &str) -> Result<Secret, Failure> {
    let flag = "--proxy-password-command";
    let failed = |cause| Failure::Io(format!("{flag}: could not run it"), cause);
    let mut shell = Command::new("/bin/sh");
    let mut child =
        shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let Some(out) = child.stdout.take() else {
        return Err(Failure::Config(format!("{flag}: it prints nothing")));
    };
    let (sender, said) = mpsc::channel();
    // On a thread of its own: a program that neither speaks nor ends is not waited for.
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = out.take(LONGEST).read_to_end(&mut bytes);
        // Nobody may be waiting any more.
        let _ = sender.send(read.map(|_| bytes));
    });
    let said = said.recv_timeout(PATIENCE);
    if said.is_err() {
        // It may have ended at this very moment.
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    let bytes =
        said.map_err(|_| Failure::Config(format!("{flag}: it did not end within {} s", PATIENCE.as_secs())))?;
    if !status.success() {
        return Err(Failure::Config(format!("{flag}: it ended with {status}")));
    }
    first_line(flag, &bytes.map_err(failed)?)
}

fn first_line(flag: &str, bytes: &[u8]) -> Result<Secret, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|_| Failure::Config(format!("{flag}: no UTF-8 text")))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(Secret::new(line)),
        None => Err(Failure::Config(format!("{flag}: the first line is empty"))),
    }
}

/// The most that is read, in bytes.
const LONGEST: u64 = 4096;
/// A keyring may ask its owner first.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password_and_a_program_that_fails_is_told_without_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\r\nsecond\n").unwrap();
        assert_eq!(of_file(file.path()).unwrap().expose(), "hunter2");
        assert_eq!(of_command("printf 'hunter2\nmore\n'").unwrap().expose(), "hunter2");
        for command in ["echo hunter2; exit 3", "true", r"printf '\377'"] {
            let error = of_command(command).unwrap_err();
            assert!(error.code() == 3 && !format!("{error:?}").contains("hunter2"), "{command}");
        }
        assert!(of_file(Path::new("/nowhere/password")).is_err());
    }
}
