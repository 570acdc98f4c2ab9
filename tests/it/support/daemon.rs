//! A server process that ends when its value is dropped or the test run ends.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A running server and the shell that supervises it. The server is killed when the shell's stdin closes: on drop, and
/// also when the test run is killed.
pub(crate) struct Daemon {
    child: Child,
    name: String,
    said: PathBuf,
}

/// Runs `"$@"` until it ends or stdin closes, and ends as it did.
const WATCH: &str = r#"
exec 3<&0
"$@" 3<&- & server=$!
(read -r _ <&3; kill -9 $server) 2>/dev/null & watch=$!
exec 3<&-
wait $server; status=$?
kill $watch 2>/dev/null
exit $status
"#;

/// How long a server may take to open its ports. On an idle machine it takes 0.1 s.
const READY: Duration = Duration::from_secs(60);

impl Daemon {
    /// Starts `program` and waits until all `ports` accept. What it prints goes to a file in `folder`.
    ///
    /// # Errors
    /// The server's output, if it ended instead, for instance because a port was taken in the meantime.
    pub(crate) fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        ports: &[u16],
        folder: &Path,
    ) -> Result<Self, String> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let said = folder.join(format!("{name}.said"));
        let out = File::create(&said).expect("a file for what the server prints");
        let child = Command::new("/bin/sh")
            .args(["-c", WATCH, "watch"])
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(out.try_clone().expect("a file has two handles"))
            .stderr(out)
            .spawn()
            .expect("sh starts");
        let mut daemon = Self { child, name, said };
        let deadline = Instant::now() + READY;
        for port in ports {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err() {
                if let Some(status) = daemon.child.try_wait().expect("sh can be asked") {
                    return Err(format!("{} ended with {status}: {}", daemon.name, daemon.said()));
                }
                assert!(
                    Instant::now() < deadline,
                    "{} opened no port {port}: {}",
                    daemon.name,
                    daemon.said()
                );
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(daemon)
    }

    /// The server's output so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // The shell kills the server and ends at once.
        let _ = self.child.wait();
    }
}

/// Finds a program in PATH and in the system folders.
///
/// # Panics
/// With how to install it, if it is not found.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path);
    folders
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: run `make deps`"))
}

/// Distinct ports of 127.0.0.1 that were free a moment ago.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port")
    });
    held.each_ref().map(|listener| listener.local_addr().as_ref().map_or(0, SocketAddr::port))
}

/// Starts a server that needs its ports in advance. Tries three times, since another program may take a port first.
pub(crate) fn start_on_free_ports<const N: usize, T>(
    mut start: impl FnMut([u16; N]) -> Result<T, String>,
) -> ([u16; N], T) {
    let mut failure = String::new();
    for _ in 0..3 {
        let ports = free_ports();
        match start(ports) {
            Ok(started) => return (ports, started),
            Err(why) => failure = why,
        }
    }
    panic!("{failure}");
}

/// A line of a password file in Apache's MD5 format, which nginx and squid both read.
pub(crate) fn htpasswd(user: &str, password: &str) -> String {
    let made = Command::new(program("openssl"))
        .args(["passwd", "-apr1", password])
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "openssl passwd: {}", String::from_utf8_lossy(&made.stderr));
    format!("{user}:{}", String::from_utf8_lossy(&made.stdout))
}

/// Waits until `look` returns a value, for instance from a log that another process writes. `what` names the awaited
/// condition.
///
/// # Panics
/// With `what`, when there is no value within 60 s.
#[track_caller]
pub(crate) fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out after 60 s waiting for: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
