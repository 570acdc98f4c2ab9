//! Snapshots of what the program prints: help, errors, traces and JSON. `cargo insta review`, or
//! `INSTA_UPDATE=always cargo test --test it cli::snapshots`, accepts a change.

use std::fmt::Write as _;

use insta::{Settings, assert_snapshot};

use crate::support::{Program, RawServer, rungs};

/// Every command that has a help page.
const COMMANDS: [&[&str]; 29] = [
    &[],
    &["fetch"],
    &["batch"],
    &["profile"],
    &["profile", "list"],
    &["profile", "show"],
    &["profile", "capture"],
    &["profile", "verify"],
    &["profile", "lint"],
    &["profile", "diff"],
    &["target"],
    &["target", "list"],
    &["target", "show"],
    &["target", "check"],
    &["proxy"],
    &["proxy", "dialects"],
    &["proxy", "render"],
    &["proxy", "lint"],
    &["proxy", "check"],
    &["memory"],
    &["memory", "show"],
    &["memory", "clear"],
    &["memory", "export"],
    &["memory", "import"],
    &["detect"],
    &["diagnose"],
    &["doctor"],
    &["lab"],
    &["generate"],
];

fn help(command: &[&str], flag: &str) -> String {
    let run = rungs(command.iter().copied().chain([flag]));
    assert_eq!(run.code, 0, "{command:?} {flag}: {run}");
    run.text()
}

#[test]
fn the_short_help_has_one_line_per_option() {
    for command in COMMANDS {
        let text = help(command, "-h");
        let name = command.join("_");
        assert_snapshot!(format!("h_{name}"), text);
        for line in text.lines() {
            assert!(
                line.chars().count() <= 100,
                "`rungs {} -h` has a line that is too long: {line}",
                command.join(" ")
            );
        }
        let options: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with('-')).collect();
        let all: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
        let wrapped = all.iter().filter(|line| line.starts_with("            ")).count();
        assert_eq!(wrapped, 0, "`rungs {} -h` wraps options:\n{text}", command.join(" "));
        assert!(options.len() <= all.len());
    }
}

#[test]
fn the_long_help_of_fetch_and_batch() {
    for command in ["fetch", "batch"] {
        assert_snapshot!(format!("help_{command}"), help(&[command], "--help"));
    }
}

/// Ports, times and versions differ from run to run.
fn filtered() -> Settings {
    let mut settings = Settings::clone_current();
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:[port]");
    settings.add_filter(r" +\d+(\.\d+)? ?ms\b", " [ms]");
    settings.add_filter(r#""(\w*_ms|dns|connect|tls|first_byte|total|elapsed)": [\d.]+"#, r#""$1": "[ms]""#);
    settings.add_filter(r"Chrome/\d+", "Chrome/[major]");
    settings.add_filter(r"chrome-\d+", "chrome-[major]");
    settings
}

fn site(response: &'static str) -> RawServer {
    RawServer::start(move |conn| {
        loop {
            conn.read_head()?;
            conn.send(response)?;
        }
    })
}

const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 42\r\nSet-Cookie: a=1\r\n\r\n\
    <!doctype html><title>t</title><p>page</p>";
const BLOCKED: &str = "HTTP/1.1 403 Forbidden\r\ncf-mitigated: challenge\r\nserver: cloudflare\r\nContent-Type: text/html\r\n\
    Content-Length: 30\r\n\r\n<title>Just a moment...</title>";

#[test]
fn a_page_as_json() {
    let site = site(PAGE);
    let run = rungs(["fetch", "--tier", "plain", "--format", "json", &site.url("/p")]);
    assert_eq!(run.code, 0, "{run}");
    filtered().bind(|| assert_snapshot!("page_as_json", run.text()));
}

#[test]
fn a_blocked_page_as_text_and_as_json() {
    let site = site(BLOCKED);
    let run = Program::new().run(["fetch", "--max-tier", "impersonate", &site.url("/p")]);
    assert_eq!(run.code, 7, "{run}");
    filtered().bind(|| assert_snapshot!("blocked_as_text", run.stderr));
    let run = Program::new().run(["fetch", "--max-tier", "impersonate", "--format", "json", &site.url("/p")]);
    filtered().bind(|| assert_snapshot!("blocked_as_json", run.text()));
}

#[test]
fn a_trace_as_text() {
    let site = site(PAGE);
    let run = rungs(["fetch", "--tier", "plain", "--trace", "-o", "/dev/null", &site.url("/p")]);
    assert_eq!(run.code, 0, "{run}");
    filtered().bind(|| assert_snapshot!("trace_as_text", run.stderr));
}

#[test]
fn ten_errors_of_bad_input() {
    let mut printed = String::new();
    for arguments in [
        &["fetch", "ftp://shop.example/"][..],
        &["fetch", "http://"],
        &["fetch", "-H", "no colon", "http://127.0.0.1:1/"],
        &["fetch", "--max-size", "many", "http://127.0.0.1:1/"],
        &["fetch", "--rate", "fast", "http://127.0.0.1:1/"],
        &["fetch", "--as", "netscape", "http://127.0.0.1:1/"],
        &["fetch", "--target", "missing", "http://127.0.0.1:1/"],
        &["fetch", "-x", "gopher://proxy:1", "http://127.0.0.1:1/"],
        &["fetch", "--tier", "plain", "http://127.0.0.1:1/"],
        &["batch", "missing.txt"],
    ] {
        let run = Program::new().run(arguments);
        let _ = writeln!(printed, "$ rungs {}\n[{}]\n{}", arguments.join(" "), run.code, run.stderr);
    }
    filtered().bind(|| assert_snapshot!("errors", printed));
}
