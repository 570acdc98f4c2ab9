//! A browser with a window: its own display, and the error where there can be none. Also the flags for time zone,
//! position and language.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::support::{Program, RawServer, rungs, until};

/// The number of running Xvfb processes whose files are below `folder`.
fn displays(folder: &Path) -> usize {
    let lines = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let lines = lines.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    let below = folder.to_str().expect("a plain path");
    lines
        .filter(|line| line.split('\0').next().is_some_and(|program| program.ends_with("Xvfb")))
        .filter(|line| line.contains(below))
        .count()
}

#[test]
fn without_a_display_or_xvfb_the_error_names_the_package() {
    let program = Program::new().variable("PATH", "/nonexistent");
    let run = program.run(["fetch", "--tier", "browser", "--headful", "http://127.0.0.1:1/"]);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stderr.contains("needs a display") && run.stderr.contains("apt install xvfb"), "{run}");
    assert_eq!(program.leftover_files(), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn the_display_ends_with_the_browser_and_with_a_killed_rungs() {
    let server = RawServer::start(|conn| {
        let head = conn.read_head()?;
        if head.starts_with("GET /hang ") {
            return conn.hold_open();
        }
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<p>it")
    });
    let program = Program::new();
    let arguments = ["fetch", "--tier", "browser", "--headful"].map(str::to_owned);
    let run = program.run(arguments.iter().cloned().chain([server.url("/")]));
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(displays(program.home()), 0);

    let running = program.start(arguments.into_iter().chain([server.url("/hang")]));
    until("a request for the page", || server.heads().iter().any(|head| head.starts_with("GET /hang ")));
    assert_eq!(displays(program.home()), 1);
    running.signal(Signal::KILL);
    running.finish();
    until("the end of the display and of the browser's folder", || {
        displays(program.home()) == 0 && program.leftover_files().is_empty()
    });
}

#[test]
fn an_invalid_timezone_position_or_language_is_reported_with_its_flag() {
    for (flag, value) in [
        ("--timezone", "Europe/Nowhere"),
        ("--timezone", "../../etc/passwd"),
        ("--geolocation", "91,0"),
        ("--geolocation", "52.52"),
        ("--lang", "de_DE"),
        ("--lang", "de,en"),
    ] {
        let run = rungs(["fetch", flag, value, "http://127.0.0.1:1/"]);
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains(flag), "{run}");
    }
}
