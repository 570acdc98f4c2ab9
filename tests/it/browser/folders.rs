//! The browser's folder in a TMPDIR that other users share, or that has an unusual path.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use crate::support::{FinishedRun, Program, RawServer, until};

fn server() -> RawServer {
    RawServer::start(|conn| {
        let head = conn.read_head()?;
        if head.starts_with("GET /hang") {
            return conn.hold_open();
        }
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<p>it")
    })
}

/// Fetches a page in the browser with `folder` as TMPDIR.
fn fetch(server: &RawServer, folder: &Path) -> FinishedRun {
    let program = Program::new().variable("TMPDIR", folder.to_str().expect("a plain path"));
    program.run(["fetch", "--tier", "browser", &server.url("/")])
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn the_browser_s_folder_and_its_files_are_private_whatever_the_umask() {
    let server = server();
    for umask in ["000", "022", "077"] {
        let program = Program::new().umask(umask);
        let hang = server.url(&format!("/hang?{umask}"));
        let run = program.start(["fetch", "--tier", "browser", "--headful", &hang]);
        until("a request for the page", || {
            server.heads().iter().any(|head| head.contains(&format!("/hang?{umask} ")))
        });
        let mut folders = program.leftover_files();
        assert!(!folders.is_empty());
        let mut files = 0;
        while let Some(path) = folders.pop() {
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if meta.is_symlink() {
                continue;
            }
            assert_eq!(meta.mode() & 0o077, 0, "umask {umask}: {:o} {}", meta.mode(), path.display());
            files += usize::from(meta.is_file());
            if meta.is_dir() {
                // Chromium may remove it meanwhile.
                folders.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
            }
        }
        assert!(files > 5, "{files}");
        run.signal(rustix::process::Signal::INT);
        run.finish();
    }
}

#[test]
fn a_browser_starts_in_every_safe_folder_and_leaves_nothing() {
    let server = server();
    let home = tempfile::tempdir().expect("a folder");
    let make = |name: &str| {
        let folder = home.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    };
    let shared = make("shared");
    set_mode(&shared, 0o1777);
    for name in ["fifo", "folder"] {
        fs::create_dir(shared.join(format!("rungs-browser-{name}"))).expect("a folder");
    }
    let fifo = shared.join("rungs-browser-fifo/owner.lock");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o666)).expect("a FIFO");
    fs::create_dir(shared.join("rungs-browser-folder/owner.lock")).expect("a folder");
    let foreign = make("foreign-sticky");
    set_mode(&foreign, 0o1777);
    chown(&foreign, Some(65534), Some(65534)).expect("the tests run as root");
    let long = make(&"long/".repeat(30));
    let spaces = make("a b  'c");
    let link = home.path().join("link");
    symlink(&spaces, &link).expect("a link");
    for folder in [&shared, &foreign, &long, &spaces, &link] {
        let before = entries(folder);
        let run = fetch(&server, folder);
        assert_eq!(run.code, 0, "{}: {run}", folder.display());
        assert_eq!(entries(folder), before, "{}", folder.display());
    }
}

#[test]
fn a_folder_that_cannot_be_used_or_is_not_safe_is_named_in_the_error() {
    let server = server();
    let home = tempfile::tempdir().expect("a folder");
    let path = |name: &str| home.path().join(name);
    fs::write(path("file"), "").expect("a file");
    for (name, mode, owner) in [("open", 0o777, 0), ("foreign", 0o755, 65534), ("group", 0o770, 65534)] {
        fs::create_dir(path(name)).expect("a folder");
        set_mode(&path(name), mode);
        chown(path(name), Some(owner), Some(65534)).expect("the tests run as root");
    }
    for (name, words) in [
        ("missing", "No such file"),
        ("file", "not a folder"),
        ("open", "all users may write to it"),
        ("foreign", "belongs to another user"),
        ("group", "belongs to another user"),
    ] {
        let run = fetch(&server, &path(name));
        assert_eq!(run.code, 1, "{name}: {run}");
        assert!(run.stderr.contains(words) && run.stderr.contains(name), "{name}: {run}");
        assert!(run.stderr.contains("hint: set TMPDIR"), "{name}: {run}");
    }
}
