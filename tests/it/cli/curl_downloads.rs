//! Downloads with curl's flags: resumed, conditional, and under names that a server or a URL chooses.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::support::{FinishedRun, Program, RawConnection, RawServer, rungs};

const FILE: &[u8] = b"0123456789";

/// Serves `FILE` with byte ranges, an ETag and a date.
fn file_server() -> RawServer {
    RawServer::start(|conn| {
        loop {
            let head = conn.read_head()?;
            serve(conn, &head)?;
        }
    })
}

fn serve(conn: &mut RawConnection, head: &str) -> io::Result<()> {
    let has = |line: &str| head.to_ascii_lowercase().contains(&format!("\r\n{line}\r\n"));
    let common = "etag: \"v2\"\r\nlast-modified: Wed, 01 Jan 2020 00:00:00 GMT\r\n";
    let start: usize = head
        .to_ascii_lowercase()
        .split_once("\r\nrange: bytes=")
        .and_then(|(_, rest)| rest.split('-').next()?.parse().ok())
        .unwrap_or(0);
    if has("if-none-match: \"v2\"") || head.contains("If-Modified-Since: Thu, 02 Jan 2020") {
        return conn.send(format!("HTTP/1.1 304 Not Modified\r\n{common}\r\n"));
    }
    let is_changed = has("if-range: \"v1\"");
    if start >= FILE.len() && !is_changed {
        return conn.send(format!(
            "HTTP/1.1 416 Range Not Satisfiable\r\ncontent-range: bytes */{}\r\ncontent-length: 0\r\n\r\n",
            FILE.len()
        ));
    }
    if head.starts_with("GET /gone") {
        return conn.send("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\ngone");
    }
    let is_whole = start == 0 || is_changed || head.starts_with("GET /noranges");
    let part = if is_whole { FILE } else { &FILE[start..] };
    let status = if is_whole {
        "200 OK\r\n".to_owned()
    } else {
        format!("206 Partial Content\r\ncontent-range: bytes {start}-{}/{}\r\n", FILE.len() - 1, FILE.len())
    };
    conn.send(format!(
        "HTTP/1.1 {status}{common}content-type: text/plain\r\ncontent-length: {}\r\n\r\n",
        part.len()
    ))?;
    conn.send(part)
}

fn fetch(arguments: &[&str]) -> FinishedRun {
    rungs(["fetch", "--max-tier", "impersonate", "--retry", "0"].iter().chain(arguments))
}

#[test]
fn a_download_is_resumed_and_never_mixed() {
    let server = file_server();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let (file, etag) = (path.to_str().unwrap(), folder.path().join("etag"));
    fs::write(&etag, "\"v1\"\n").unwrap();
    let etag = etag.to_str().unwrap();
    for (before, url, arguments, code, after) in [
        (&b"01234"[..], "/f", &["-C", "-"][..], 0, FILE),
        (b"", "/f", &["-C", "-"], 0, FILE),
        (b"012xxxxxxxx", "/f", &["-C", "3"], 0, FILE),
        (FILE, "/f", &["-C", "-"], 0, FILE),
        (b"more than the server has", "/f", &["-C", "-"], 1, b"more than the server has"),
        (b"01234", "/noranges", &["-C", "-"], 1, b"01234"),
        (b"01234", "/gone", &["-C", "-"], 4, b"01234"),
        (b"old56", "/f", &["-C", "-", "--etag-compare", etag], 0, FILE),
        (b"old56", "/f", &["-C", "-", "-H", "If-Range: \"v1\""], 0, FILE),
    ] {
        fs::write(&path, before).unwrap();
        let run = fetch(&[arguments, &["-o", file, &server.url(url)]].concat());
        let now = fs::read(&path).unwrap();
        assert_eq!((run.code, now.as_slice()), (code, after), "{before:?} {arguments:?} {run}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(fetch(&["-C", "-", "-o", file, &server.url("/f")]).code, 0);
    assert_eq!(fs::read(&path).unwrap(), FILE);
    let run = fetch(&["-C", "4", &server.url("/f")]);
    assert_eq!((run.code, run.stdout.as_slice()), (0, &FILE[4..]), "{run}");
    assert_eq!(fetch(&["-C", "4", &server.url("/noranges")]).code, 1);
    assert_eq!(fetch(&["-C", "x", &server.url("/f")]).code, 2);
}

#[test]
fn a_broken_download_leaves_what_arrived() {
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        conn.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100000\r\n\r\n")?;
        conn.send("x".repeat(70_000))
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let run = fetch(&["-C", "-", "-o", path.to_str().unwrap(), &server.url("/")]);
    assert_eq!(run.code, 1, "{run}");
    let length = fs::metadata(&path).map_or(0, |file| file.len());
    assert!((1..=70_000).contains(&length), "{length} bytes");
}

#[test]
fn a_condition_that_fails_leaves_the_file() {
    let server = file_server();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, etag) = (path("f"), path("etag"));
    let url = server.url("/f");
    let run = fetch(&["--etag-save", &etag, "--etag-compare", &etag, "-o", &file, &url]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!((fs::read(&file).unwrap(), fs::read(&etag).unwrap()), (FILE.to_vec(), b"\"v2\"\n".to_vec()));
    fs::write(&file, "kept").unwrap();
    let run = fetch(&["--etag-save", &etag, "--etag-compare", &etag, "-o", &file, &url]);
    assert_eq!((run.code, fs::read(&file).unwrap()), (0, b"kept".to_vec()), "{run}");
    assert_eq!(fs::read(&etag).unwrap(), b"\"v2\"\n");
    let run = fetch(&["-z", "2 Jan 2020", "-o", &file, &url]);
    assert_eq!((run.code, fs::read(&file).unwrap()), (0, b"kept".to_vec()), "{run}");
    let run = fetch(&["-z", "1 Jan 2019", "-o", &file, &url]);
    assert_eq!((run.code, fs::read(&file).unwrap()), (0, FILE.to_vec()), "{run}");
    let heads = server.heads().concat();
    for line in [
        "If-None-Match: \"\"\r\n",
        "If-None-Match: \"v2\"\r\n",
        "If-Modified-Since: Tue, 01 Jan 2019 00:00:00 GMT\r\n",
    ] {
        assert!(heads.contains(line), "{line} in {heads}");
    }
    assert_eq!(fetch(&["-z", "nonsense", &url]).code, 2);
}

/// Runs a fetch in `folder`.
fn fetch_in(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let program = Program::new();
    let output = Command::new(env!("CARGO_BIN_EXE_rungs"))
        .args(["fetch", "--tier", "plain", "--retry", "0", "--no-memory"])
        .args(arguments)
        .current_dir(folder)
        .env("HOME", program.home())
        .output()
        .expect("the program runs");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_server_cannot_choose_a_path_or_replace_a_file() {
    let server = RawServer::start(|conn| {
        let head = conn.read_head()?;
        let name = head.split(' ').nth(1).and_then(|path| path.split_once('?')).map_or("", |(_, name)| name);
        let name = name.replace("%22", "\"").replace("%20", " ").replace("%27", "'");
        let line = if name.is_empty() {
            String::new()
        } else {
            format!("content-disposition: attachment; {name}\r\n")
        };
        conn.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{line}content-length: 3\r\n\r\nnew"
        ))
    });
    for (name, file) in [
        ("filename=a.txt", "a.txt"),
        ("filename=%22../../b.txt%22", "b.txt"),
        ("filename=/tmp/c.txt", "c.txt"),
        ("filename=.profile", "_profile"),
        ("filename*=UTF-8''..%2f..%2fd.txt", "d.txt"),
        ("filename=..", "url.txt"),
        ("inline", "url.txt"),
        ("", "url.txt"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("x/y");
        fs::create_dir_all(&folder).unwrap();
        let url = server.url(&format!("/d/url.txt?{name}"));
        let (code, stderr) = fetch_in(&folder, &["-J", "-O", &url]);
        assert_eq!(code, 0, "{name}: {stderr}");
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [file], "{name}");
        assert!(stderr.contains(file), "{stderr}");
        fs::write(folder.join(file), "old").unwrap();
        let (code, stderr) = fetch_in(&folder, &["-J", "-O", &url]);
        assert_ne!(code, 0, "{name}: {stderr}");
        assert_eq!(fs::read(folder.join(file)).unwrap(), b"old", "{name}");
    }
}

#[test]
fn the_name_of_the_url_is_used_and_replacement_is_reported() {
    let server = file_server();
    let folder = tempfile::tempdir().unwrap();
    let url = server.url("/d/f.txt?x=/y");
    let (code, stderr) = fetch_in(folder.path(), &["-O", &url]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(fs::read(folder.path().join("f.txt")).unwrap(), FILE);
    let (code, stderr) = fetch_in(folder.path(), &["-O", &url]);
    assert!(code == 0 && stderr.contains("replaced f.txt"), "{stderr}");
    let (code, stderr) = fetch_in(folder.path(), &["-O", &server.url("/d/")]);
    assert!(code == 2 && stderr.contains("no file name"), "{stderr}");
}
