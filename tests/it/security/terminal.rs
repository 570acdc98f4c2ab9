//! Whatever a site, a proxy or a file says, nothing that the program prints about it is interpreted by a terminal. The
//! body of a page is the exception: on stdout it is as received.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rungs::redact::is_harmful;

use crate::support::{FinishedRun, Program, RawConnection, RawServer};

/// What a hostile site puts into every field it controls.
const PAYLOADS: [&str; 17] = [
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil/\x1b\\",
    "\x1bPq\x1b\\",
    "\u{9b}31m",
    "\u{9d}0;title\u{9c}",
    "\u{90}q",
    "\u{85}error: x",
    "\u{2028}error: x\u{2029}",
    "\rerror: x",
    "\x08\x08\x08",
    "\x7f\x07",
    "\u{202e}gpj.exe\u{202c}",
    "\u{2066}a\u{2069}\u{61c}\u{200e}\u{200f}",
    "\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}\u{180e}",
    "\u{e0001}\u{e0041}\u{e007f}",
    "\u{206a}\u{fff9}\u{fffb}\u{3164}\u{115f}",
];

/// The answers of the site: status line, fields and body, with `P` for the payload.
const ANSWERS: [(&str, &str); 15] = [
    ("reason", "HTTP/1.1 200 P\r\ncontent-type: text/html\r\n\r\n<title>x</title>"),
    (
        "refusal",
        "HTTP/1.1 403 P\r\ncontent-type: text/html\r\nx-a: P\r\n\r\n<title>Just a moment...P</title>",
    ),
    (
        "challenge",
        "HTTP/1.1 403 x\r\ncf-mitigated: challenge\r\nserver: P\r\n\r\n<title>Just a moment...P</title>P",
    ),
    (
        "field",
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nx-a: P\r\n\r\n<title>P</title><p>P<a href='/P?P#P'>P</a>",
    ),
    ("name", "HTTP/1.1 200 OK\r\nx-P: a\r\n\r\nx"),
    ("type", "HTTP/1.1 200 OK\r\ncontent-type: P\r\ncontent-encoding: P\r\n\r\nx"),
    ("cookie", "HTTP/1.1 200 OK\r\nset-cookie: P=P; Domain=P; path=/P\r\nset-cookie: aP=1\r\n\r\nx"),
    ("redirect", "HTTP/1.1 302 P\r\nlocation: /field?P#P\r\n\r\n"),
    ("host", "HTTP/1.1 302 Found\r\nlocation: http://aPb.invalid/P\r\n\r\n"),
    ("bad-url", "HTTP/1.1 302 Found\r\nlocation: http://[P\r\n\r\n"),
    ("scheme", "HTTP/1.1 302 Found\r\nlocation: xP:P\r\n\r\n"),
    ("json", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"error\": \"P\", \"P\": 1}"),
    ("wait", "HTTP/1.1 429 P\r\nretry-after: P\r\nx-a: P\r\n\r\nP"),
    ("login", "HTTP/1.1 401 P\r\nwww-authenticate: Basic realm=\"P\"\r\n\r\nP"),
    ("broken", "P HTTP/1.1 200 OK\r\ncontent-length: P\r\n\r\nP"),
];

/// A site, a sitemap, a robots.txt and a proxy with the payload.
fn hostile(payload: &'static str) -> RawServer {
    RawServer::start(move |conn: &mut RawConnection| {
        let head = conn.read_head()?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let name = path.trim_start_matches('/').split(['?', '/']).next().unwrap_or_default().to_owned();
        let answer = if head.starts_with("CONNECT ") {
            "HTTP/1.1 407 P\r\nproxy-authenticate: P\r\n\r\nP".to_owned()
        } else if path == "/robots.txt" {
            "HTTP/1.1 200 P\r\n\r\nUser-agent: *\nDisallow: /type?P\nDisallow: /P*\nP: P\n".to_owned()
        } else if path == "/sitemap.xml" {
            let host =
                head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
            format!(
                "HTTP/1.1 200 OK\r\n\r\n<urlset><url><loc>P</loc></url><url><loc>http://{host}/field?P</loc></url>\
                 <url><loc>http://otherP.invalid/P</loc></url><url><loc>http://{host}/type?P</loc></url></urlset>"
            )
        } else {
            let found = ANSWERS.iter().find(|(known, _)| *known == name);
            found.map_or("HTTP/1.1 404 P\r\n\r\nP", |(_, answer)| answer).to_owned()
        };
        // The marker is also a letter of the protocol's name.
        let marked = answer.replace("HTTP/1.1", "@@").replace('P', payload);
        send(conn, &marked.replace("@@", "HTTP/1.1"))
    })
}

fn send(conn: &mut RawConnection, answer: &str) -> io::Result<()> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    conn.send(format!("{head}\r\nconnection: close\r\n\r\n{body}"))
}

/// Checks everything that was printed, and counts it.
/// Runs `try_payload` for each payload, several at the same time. Returns the sum of the runs.
fn for_each_payload(try_payload: impl Fn(&'static str) -> usize + Sync) -> usize {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut tried = 0;
        while let Some(payload) = PAYLOADS.get(next.fetch_add(1, Ordering::SeqCst)) {
            tried += try_payload(payload);
        }
        tried
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no worker panics")).sum()
    })
}

/// How many programs run at the same time. Most of their time is waiting.
const AT_ONCE: usize = 4;

fn check(run: &FinishedRun, payload: &str, command: &[&str], tried: &mut usize) {
    *tried += 1;
    for (name, text) in [("stdout", &run.text()), ("stderr", &run.stderr)] {
        check_text(text, &format!("{name} of {command:?}, {payload:?}"), |c| c == '\n');
    }
    assert!(!run.stderr.contains("panicked"), "{run}");
    let forged =
        run.stderr.lines().chain(run.text().lines().collect::<Vec<_>>()).any(|line| line == "error: x");
    assert!(!forged, "a forged line: {run}");
}

fn check_text(text: &str, what: &str, is_allowed: impl Fn(char) -> bool) {
    let harmful = text.char_indices().find(|(_, c)| is_harmful(*c) && !is_allowed(*c));
    if let Some((at, c)) = harmful {
        let around: String =
            text[..at].chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
        panic!("{c:?} in {what} after {around:?}");
    }
}

#[test]
fn nothing_that_a_site_says_of_a_fetch_is_interpreted_by_a_terminal() {
    let tried = for_each_payload(|payload| {
        let mut tried = 0;
        let server = hostile(payload);
        let program = Program::new();
        let urls: Vec<String> = ANSWERS.iter().map(|(name, _)| server.url(&format!("/{name}"))).collect();
        for tier in ["plain", "impersonate"] {
            let mut command = vec![
                "fetch", "-vvv", "--trace", "--format", "json", "--tier", tier, "--retry", "0", "--text",
                "--links", "--select", "t=title", "-m", "20",
            ];
            command.extend(urls.iter().map(String::as_str));
            check(&program.run(&command), payload, &command, &mut tried);
        }
        // Failures as text, on the last one of which `-f` reports a status.
        for name in ["refusal", "wait", "login"] {
            let url = server.url(&format!("/{name}"));
            let command = ["fetch", "-f", "--tier", "plain", "--retry", "0", "-o", "none", "-m", "20", &url];
            check(&program.run(command), payload, &command, &mut tried);
        }
        // A proxy that says it.
        let proxy = server.url("");
        let through = ["fetch", "-vvv", "--trace", "--retry", "0", "--tier", "plain", "-x", &proxy];
        for rest in [&["https://a.invalid/"][..], &["--format", "json", "http://a.invalid/wait"]] {
            let command = [&through[..], rest].concat();
            check(&program.run(&command), payload, &command, &mut tried);
        }
        let echo = server.url("/json");
        for format in ["text", "json"] {
            let command = [
                "proxy",
                "check",
                "--requests",
                "1",
                "--tier",
                "plain",
                "--format",
                format,
                "--echo",
                &echo,
                "-x",
                &proxy,
            ];
            check(&program.run(command), payload, &command, &mut tried);
            let url = server.url("/challenge");
            let command = ["diagnose", "--pause", "0.01", "--max-tier", "plain", "--format", format, &url];
            check(&program.run(command), payload, &command, &mut tried);
        }
        for command in
            [&["memory", "show"][..], &["memory", "show", "--format", "json"], &["memory", "export", "-"]]
        {
            check(&program.run(command), payload, command, &mut tried);
        }
        tried
    });
    eprintln!("{tried} runs of {} answers", ANSWERS.len());
}

#[test]
fn nothing_that_a_site_says_of_a_batch_is_interpreted_by_a_terminal() {
    let tried = for_each_payload(|payload| {
        let mut tried = 0;
        let server = hostile(payload);
        let program = Program::new();
        let sitemap = server.url("/sitemap.xml");
        let urls: Vec<String> = ANSWERS.iter().map(|(name, _)| server.url(&format!("/{name}"))).collect();
        fs::write(program.home().join("urls.txt"), urls.join("\n")).expect("a list");
        for format in ["jsonl", "csv"] {
            let command = [
                "batch",
                "urls.txt",
                "--sitemap",
                &sitemap,
                "-vvv",
                "--tier",
                "plain",
                "--retry",
                "0",
                "--format",
                format,
                "--progress",
                "--text",
                "--links",
                "--select",
                "t[]=title",
                "--report",
                "report.html",
                "--follow",
                "a",
                "--max-pages",
                "40",
                "--no-memory",
                "-m",
                "20",
            ];
            let run = program.run(command);
            tried += 1;
            let is_cell =
                |c| format == "csv" && matches!(c, '\r' | '\t' | '\u{ad}' | '\u{200c}' | '\u{200d}');
            check_text(&run.text(), &format!("{format} {payload:?}"), |c| c == '\n' || is_cell(c));
            check_text(&run.stderr, &format!("stderr {format} {payload:?}"), |c| c == '\n');
            assert!(!run.stdout.is_empty(), "{run}");
            let report = fs::read_to_string(program.home().join("report.html")).expect("a report");
            check_text(&report, &format!("report {payload:?}"), |c| c == '\n');
        }
        tried
    });
    eprintln!("{tried} runs");
}

#[test]
fn nothing_in_a_file_is_interpreted_by_a_terminal() {
    let tried = for_each_payload(|payload| {
        let mut tried = 0;
        let program = Program::new();
        for (name, answer) in ANSWERS {
            let text = answer.replace("HTTP/1.1", "@@").replace('P', payload).replace("@@", "HTTP/1.1");
            fs::write(program.home().join("saved.http"), text).expect("a file");
            for format in ["text", "json"] {
                let command = ["detect", "--format", format, "--expect-text", payload, "saved.http"];
                check(&program.run(command), &format!("{payload} in {name}"), &command, &mut tried);
            }
        }
        // Names and values that an error repeats.
        let file = format!("a{payload}.toml").replace('/', "_");
        let text = format!(
            "hosts = [\"{0}\"]\nname = \"{0}\"\n\"{0}\" = 1\n[request.headers]\n\"{0}\" = \"{0}\"\n",
            escape_toml(payload)
        );
        fs::write(program.home().join(&file), text).expect("a file");
        for command in [
            &["target", "check", &file][..],
            &["target", "show", "--target", &file, "http://a.example/"],
            &["profile", "lint", &file],
            &["profile", "show", &file],
            &["profile", "diff", &file, "plain"],
            &["proxy", "lint", &file],
            &["fetch", "--as", &file, "http://127.0.0.1:1/"],
            &["fetch", "--target", &file, "http://127.0.0.1:1/"],
            &["fetch", "-b", &file, "http://127.0.0.1:1/"],
            &["fetch", "--cacert", &file, "https://127.0.0.1:1/"],
            &["fetch", payload],
            &["fetch", "--tier", payload, "http://127.0.0.1:1/"],
            &["fetch", "-H", payload, "http://127.0.0.1:1/"],
            &["fetch", "-X", payload, "http://127.0.0.1:1/"],
            &["fetch", "--select", payload, "--format", "json", "http://127.0.0.1:1/"],
            &["fetch", "-x", payload, "http://127.0.0.1:1/"],
            &["fetch", "-o", &format!("no/{file}"), "http://127.0.0.1:1/"],
            &["batch", &file, "--no-memory", "--robots", "ignore"],
            &["memory", "clear", payload],
            &["memory", "import", &file],
            &["detect", &file],
            &["detect", "."],
            &["detect", "--explain", "saved.http"],
            &["diagnose", "--dry-run", payload],
            &[payload],
        ] {
            check(&program.run(command), payload, command, &mut tried);
        }
        tried
    });
    eprintln!("{tried} runs");
}

fn escape_toml(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || c == '\\' { format!("\\U{:08x}", u32::from(c)) } else { c.to_string() })
        .collect()
}
