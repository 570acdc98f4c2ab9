//! Output files that are no regular files: they are written to and stay, or they are refused.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::thread;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::support::{FinishedRun, Program, RawConnection, RawServer};

fn site(conn: &mut RawConnection) -> std::io::Result<()> {
    conn.read_head()?;
    conn.send(
        "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\ncontent-type: text/html\r\ncontent-length: 22\r\nconnection: close\r\n\r\n\
         <title>a page</title>\n",
    )
}

/// The outputs of the program: a name, the arguments before the file, and those after it.
fn outputs(url: &str) -> Vec<(&'static str, Vec<String>)> {
    let own = |text: &[&str]| text.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let batch =
        ["batch", "urls.txt", "--tier", "plain", "--no-memory", "--no-progress", "--robots", "ignore"];
    vec![
        ("-o", own(&["fetch", "--tier", "plain", url, "-o"])),
        ("-c", own(&["fetch", "--tier", "plain", url, "-c"])),
        ("batch -c", own(&[&batch[..], &["-c"]].concat())),
        ("--report", own(&[&batch[..], &["--report"]].concat())),
        ("--out", own(&[&batch[..], &["--out"]].concat())),
        ("--out csv", own(&[&batch[..], &["--format", "csv", "--out"]].concat())),
        ("--out warc", own(&[&batch[..], &["--format", "warc", "--out"]].concat())),
        ("--out sqlite", own(&[&batch[..], &["--format", "sqlite", "--out"]].concat())),
        ("--checkpoint", own(&[&batch[..], &["--checkpoint"]].concat())),
        ("memory export", own(&["memory", "export"])),
    ]
}

/// The outputs that need a regular file.
const REGULAR_ONLY: [&str; 2] = ["--out sqlite", "--checkpoint"];

/// A program with a list and some host memory.
fn program(server: &RawServer) -> Program {
    let program = Program::new();
    fs::write(program.home().join("urls.txt"), server.url("/page")).expect("a list");
    let run = program.run(["fetch", "--tier", "plain", &server.url("/page")]);
    assert_eq!(run.code, 0, "{run}");
    program
}

fn run(program: &Program, arguments: &[String], file: &str) -> FinishedRun {
    program.run(arguments.iter().map(String::as_str).chain([file]))
}

#[test]
fn a_device_is_written_to_or_refused_and_stays() {
    let server = RawServer::start(site);
    let program = program(&server);
    // A node of the device that discards all data, never the real one.
    let path = program.home().join("null");
    if mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).is_err() {
        // Only root may create one.
        return;
    }
    let before = fs::symlink_metadata(&path).expect("a device");
    symlink("null", program.home().join("link")).expect("a link");
    for (name, arguments) in outputs(&server.url("/page")) {
        for file in ["null", "link"] {
            let run = run(&program, &arguments, file);
            let after = fs::symlink_metadata(&path).expect("the device is still there");
            assert!(after.file_type().is_char_device(), "{name}: {run}");
            assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()), "{name}: {run}");
            if REGULAR_ONLY.contains(&name) {
                assert!(
                    run.code != 0 && run.stderr.contains("it is a device, not a regular file"),
                    "{name}: {run}"
                );
            } else {
                assert_eq!(run.code, 0, "{name}: {run}");
            }
        }
    }
    // The host memory changes no device either.
    let program = program.variable("RUNGS_MEMORY", path.to_str().expect("a path"));
    program.run(["fetch", "--tier", "plain", &server.url("/page")]);
    let after = fs::symlink_metadata(&path).expect("the device is still there");
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
    assert!(!program.home().join("null.ckpt").exists() && !program.home().join("null.meta.json").exists());
}

#[test]
fn a_pipe_is_written_to_or_refused_and_stays() {
    let server = RawServer::start(site);
    let program = program(&server);
    let path = program.home().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    for (name, arguments) in outputs(&server.url("/page")) {
        if REGULAR_ONLY.contains(&name) {
            let run = run(&program, &arguments, "pipe");
            assert!(
                run.code != 0 && run.stderr.contains("it is a pipe, not a regular file"),
                "{name}: {run}"
            );
        } else {
            let reader = thread::spawn({
                let path = path.clone();
                move || fs::read(path).expect("the pipe can be read")
            });
            let run = run(&program, &arguments, "pipe");
            assert_eq!(run.code, 0, "{name}: {run}");
            assert!(!reader.join().expect("a reader").is_empty(), "{name}");
        }
        assert!(fs::symlink_metadata(&path).expect("a pipe").file_type().is_fifo(), "{name}");
    }
    // A lock of the host memory that never answers.
    let lock = program.home().join("memory.lock");
    mknodat(CWD, &lock, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    let memory = program.home().join("memory");
    let program = program.variable("RUNGS_MEMORY", memory.to_str().expect("a path"));
    let run = program.run(["memory", "show"]);
    assert!(run.code == 0, "a missing memory is empty: {run}");
    fs::write(&memory, "").expect("a file");
    let run = program.run(["memory", "show"]);
    assert!(run.code != 0 && run.stderr.contains("pipe"), "{run}");
}

#[test]
fn directories_and_sockets_are_refused() {
    let server = RawServer::start(site);
    let program = program(&server);
    fs::create_dir(program.home().join("folder")).expect("a folder");
    let _listener = std::os::unix::net::UnixListener::bind(program.home().join("socket")).expect("a socket");
    for (name, arguments) in outputs(&server.url("/page")) {
        for file in ["folder", "socket", "folder/"] {
            let run = run(&program, &arguments, file);
            assert!(run.code != 0 && run.stderr.contains("error: "), "{name} {file}: {run}");
        }
    }
    assert!(fs::read_dir(program.home().join("folder")).expect("the folder").next().is_none());
    assert!(fs::symlink_metadata(program.home().join("socket")).expect("it").file_type().is_socket());
}

#[test]
fn links_stay_and_permissions_are_kept() {
    let server = RawServer::start(site);
    for (name, arguments) in outputs(&server.url("/page")) {
        let program = program(&server);
        let home = program.home();
        fs::create_dir(home.join("sub")).expect("a folder");
        symlink("sub/target", home.join("link")).expect("a link");
        let run = run(&program, &arguments, "link");
        assert_eq!(run.code, 0, "{name}: {run}");
        assert!(home.join("link").is_symlink(), "{name}");
        let target = home.join("sub/target");
        assert!(fs::metadata(&target).expect("the target").len() > 0, "{name}");
        if name.starts_with("--out") || name == "--checkpoint" {
            continue;
        }
        let is_private = matches!(name, "-c" | "batch -c" | "memory export");
        for before in [0o640, 0o604] {
            fs::set_permissions(&target, fs::Permissions::from_mode(before)).expect("permissions");
            assert_eq!(program.run(arguments.iter().map(String::as_str).chain(["link"])).code, 0, "{name}");
            let after = fs::metadata(&target).expect("the target").mode() & 0o777;
            assert_eq!(after, if is_private { 0o600 } else { before }, "{name}");
        }
    }
}

#[test]
fn an_open_file_is_written_to() {
    let server = RawServer::start(site);
    let program = program(&server);
    for (name, arguments) in outputs(&server.url("/page")) {
        for file in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            let run = run(&program, &arguments, file);
            if REGULAR_ONLY.contains(&name) {
                assert_ne!(run.code, 0, "{name} {file}: {run}");
            } else {
                assert!(run.code == 0 && !run.stdout.is_empty(), "{name} {file}: {run}");
            }
        }
    }
    for file in ["/dev/stdout.ckpt", "/dev/stdout.meta.json", "/dev/fd/1.ckpt"] {
        assert!(!Path::new(file).exists(), "{file}");
    }
}

#[test]
fn a_retry_of_failures_keeps_the_link_of_the_output() {
    let server = RawServer::start(|conn: &mut RawConnection| {
        let head = conn.read_head()?;
        if head.starts_with("GET /bad") {
            return Ok(());
        }
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx")
    });
    let program = Program::new();
    let home = program.home();
    fs::write(home.join("urls.txt"), format!("{}\n{}", server.url("/bad"), server.url("/good")))
        .expect("a list");
    fs::create_dir(home.join("sub")).expect("a folder");
    symlink("sub/out.jsonl", home.join("link.jsonl")).expect("a link");
    let common =
        ["batch", "urls.txt", "--tier", "plain", "--no-memory", "--no-progress", "--robots", "ignore"];
    let common = [&common[..], &["--retry", "0", "--out", "link.jsonl"]].concat();
    assert_eq!(program.run(&common).code, 8);
    fs::set_permissions(home.join("sub/out.jsonl"), fs::Permissions::from_mode(0o640)).expect("permissions");
    let run = program.run([&common[..], &["--retry-failed"]].concat());
    assert_eq!(run.code, 8, "{run}");
    let target = home.join("sub/out.jsonl");
    assert!(home.join("link.jsonl").is_symlink());
    assert_eq!(fs::metadata(&target).expect("a file").mode() & 0o777, 0o640);
    assert_eq!(fs::read_to_string(&target).expect("a file").lines().count(), 2);
}
