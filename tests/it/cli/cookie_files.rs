//! `-b FILE` and `-c FILE`: the change that a site made last is the one that is written, whichever tier saw it.

use std::path::Path;

use crate::support::{Program, RawServer};

/// A session cookie that the site renews, one that it deletes, and one that it leaves alone.
const GIVEN: &str = "# Netscape HTTP Cookie File\n\
    127.0.0.1\tFALSE\t/\tFALSE\t0\tsid\told\n\
    127.0.0.1\tFALSE\t/\tFALSE\t0\tgone\t1\n\
    127.0.0.1\tFALSE\t/\tFALSE\t0\tkept\t1\n";

/// Renews one cookie, deletes another one, and sets one of its own.
fn renewing_site() -> RawServer {
    RawServer::start(|conn| {
        loop {
            conn.read_head()?;
            conn.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 26\r\n\
                 Set-Cookie: sid=new; Path=/\r\nSet-Cookie: gone=; Path=/; Max-Age=0\r\nSet-Cookie: own=1; Path=/\r\n\r\n\
                 <!doctype html><p>page</p>",
            )?;
        }
    })
}

/// Refuses the plain tier before it renews anything.
fn refusing_site() -> RawServer {
    RawServer::start(|conn| {
        loop {
            let head = conn.read_head()?;
            let is_plain = !head.contains("Chrome/");
            let (status, cookies) = if is_plain {
                ("403 Forbidden", "")
            } else {
                ("200 OK", "Set-Cookie: sid=new; Path=/\r\nSet-Cookie: gone=; Path=/; Max-Age=0\r\n")
            };
            conn.send(format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: 26\r\n{cookies}\r\n\
                 <!doctype html><p>page</p>"
            ))?;
        }
    })
}

/// Name and value of each cookie in the file, sorted.
fn cookies(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("the cookie file is there");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut pairs: Vec<_> =
        lines.map(|line| line.split('\t').skip(5).collect::<Vec<_>>().join("=")).collect();
    pairs.sort_unstable();
    pairs
}

#[test]
fn what_the_site_changed_on_one_tier_is_in_the_cookie_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cookies.txt");
    let path = file.to_str().expect("a plain path");
    for tier in ["plain", "impersonate"] {
        let site = renewing_site();
        std::fs::write(&file, GIVEN).expect("the file is written");
        let run = Program::new().run(["fetch", "--tier", tier, "-b", path, "-c", path, &site.url("/")]);
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(cookies(&file), ["kept=1", "own=1", "sid=new"], "{tier}");
        // The next run sends what the last one wrote.
        let run = Program::new().run(["fetch", "--tier", tier, "-b", path, &site.url("/again")]);
        assert_eq!(run.code, 0, "{run}");
        let head = site.heads().pop().expect("two requests came");
        assert!(head.contains("sid=new") && !head.contains("gone="), "{head}");
    }
}

#[test]
fn what_the_site_changed_after_an_escalation_is_in_the_cookie_file() {
    let site = refusing_site();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cookies.txt");
    let path = file.to_str().expect("a plain path");
    std::fs::write(&file, GIVEN).expect("the file is written");
    let run =
        Program::new().run(["fetch", "--max-tier", "impersonate", "-b", path, "-c", path, &site.url("/")]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(cookies(&file), ["kept=1", "sid=new"]);
}

#[test]
fn a_batch_writes_what_the_site_changed_too() {
    let site = renewing_site();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cookies.txt");
    let path = file.to_str().expect("a plain path");
    std::fs::write(&file, GIVEN).expect("the file is written");
    let run = Program::new()
        .input(format!("{}\n{}\n", site.url("/1"), site.url("/2")))
        .run(["batch", "-", "--tier", "plain", "-q", "-b", path, "-c", path]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(cookies(&file), ["kept=1", "own=1", "sid=new"]);
}

/// A page's script renews and deletes cookies in the browser; the HTTP tiers send what is left.
#[cfg(feature = "browser")]
#[test]
fn what_a_script_changed_in_the_browser_is_in_the_cookie_file() {
    let site = RawServer::start(|conn| {
        loop {
            conn.read_head()?;
            let page = "<!doctype html><title>t</title><p>page</p>\
                <script>document.cookie = 'sid=new; path=/'; document.cookie = 'gone=; path=/; max-age=0'</script>";
            let length = page.len();
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}"
            ))?;
        }
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cookies.txt");
    let path = file.to_str().expect("a plain path");
    std::fs::write(&file, GIVEN).expect("the file is written");
    let run = Program::new().run(["fetch", "--tier", "browser", "-b", path, "-c", path, &site.url("/")]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(cookies(&file), ["kept=1", "sid=new"]);
}

#[test]
fn a_bad_line_is_reported_and_the_other_cookies_are_sent() {
    let site = renewing_site();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cookies.txt");
    let path = file.to_str().expect("a plain path");
    let lines = "127.0.0.1\tFALSE\t/\tFALSE\t0\tsid\told\nno cookie hunter2\n127.0.0.1\tFALSE\t/\tFALSE\t1999999999.5\tkept\t1\n";
    std::fs::write(&file, lines).expect("the file is written");
    let run = Program::new().run(["fetch", "--tier", "plain", "-b", path, &site.url("/")]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("skipped line 2 of ") && !run.stderr.contains("hunter2"), "{run}");
    let head = site.heads().pop().expect("a request came");
    assert!(head.contains("sid=old") && head.contains("kept=1"), "{head}");
    let missing = folder.path().join("none.txt");
    let run = Program::new().run([
        "fetch",
        "--tier",
        "plain",
        "-b",
        missing.to_str().expect("a plain path"),
        &site.url("/"),
    ]);
    assert!(run.code == 0 && run.stderr.contains("none.txt does not exist"), "{run}");
}
