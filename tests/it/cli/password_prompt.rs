//! `-u USER` asks for the password on the terminal.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use crate::support::{RawConnection, RawServer};

/// Sends the `Authorization` of the request back.
fn echo(conn: &mut RawConnection) -> io::Result<()> {
    let head = conn.read_head()?;
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:"));
    let body = format!("sent {}", line.unwrap_or_default());
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Runs a command on a terminal, types `keys` once it asks, and returns the exit code and all that the terminal shows.
fn type_password(arguments: &str, keys: &str) -> (i32, String) {
    let home = tempfile::tempdir().expect("a folder");
    let command = format!("{} fetch --no-memory --tier plain {arguments}", env!("CARGO_BIN_EXE_rungs"));
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("HOME", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("util-linux is installed");
    let mut input = child.stdin.take().expect("it is piped");
    let mut output = child.stdout.take().expect("it is piped");
    let mut shown = Vec::new();
    let mut is_typed = false;
    let mut bytes = [0; 256];
    loop {
        let length = output.read(&mut bytes).expect("a pipe can be read");
        if length == 0 {
            break;
        }
        shown.extend_from_slice(&bytes[..length]);
        if !is_typed && String::from_utf8_lossy(&shown).contains("password for user 'jane': ") {
            input.write_all(keys.as_bytes()).expect("it reads");
            is_typed = true;
        }
    }
    let code = child.wait().expect("it ends").code().expect("an exit code");
    (code, String::from_utf8_lossy(&shown).into_owned())
}

#[test]
fn the_terminal_asks_and_does_not_show_the_password() {
    let server = RawServer::start(echo);
    let (code, shown) = type_password(&format!("-u jane {}", server.url("/")), "hunter3\u{7f}2\n");
    assert_eq!(code, 0, "{shown}");
    // jane:hunter2
    assert!(shown.contains("Basic amFuZTpodW50ZXIy") && !shown.contains("hunter"), "{shown}");
    let (code, shown) = type_password(&format!("-u jane {}", server.url("/")), "hun\u{3}");
    assert_eq!(code, 130, "{shown}");
    assert!(shown.contains("interrupted while asking for a password"), "{shown}");
    assert_eq!(server.connections(), 1, "nothing is sent");
}

#[test]
fn a_user_without_a_password_needs_a_terminal() {
    let server = RawServer::start(echo);
    let home = tempfile::tempdir().expect("a folder");
    let run = Command::new("setsid")
        .args(["--wait", env!("CARGO_BIN_EXE_rungs"), "fetch", "--no-memory", "-u", "jane", &server.url("/")])
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .output()
        .expect("util-linux is installed");
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("could not ask for the password of `jane` on a terminal"), "{stderr}");
    assert!(stderr.contains("`USER:` for an empty password"), "{stderr}");
    assert_eq!(server.connections(), 0, "nothing is sent");
}
