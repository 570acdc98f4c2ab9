//! The report, the SIGUSR1 status and the metrics of a run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Program, RawConnection, RawServer, RunningProgram, until, until_some};

/// The arguments of every batch in this file.
const COMMON: [&str; 6] = ["--tier", "plain", "--no-memory", "--no-progress", "--robots", "ignore"];

/// A server that answers `/slow` only after the flag is set, closes on `/bad`, and answers 404 on `/gone`.
fn server() -> (RawServer, Arc<AtomicBool>) {
    let go = Arc::new(AtomicBool::new(false));
    let may_answer = Arc::clone(&go);
    let server = RawServer::start(move |conn: &mut RawConnection| {
        let head = conn.read_head()?;
        if head.starts_with("GET /bad") {
            return Ok(());
        }
        if head.starts_with("GET /slow") {
            // A test that fails drops the server without setting the flag.
            until("the test's permission to answer", || {
                may_answer.load(Ordering::SeqCst) || conn.is_stopping()
            });
        }
        let status = if head.starts_with("GET /gone") { "404 Not Found" } else { "200 OK" };
        conn.send(format!("HTTP/1.1 {status}\r\ncontent-length: 6\r\nconnection: close\r\n\r\na page"))
    });
    (server, go)
}

fn list(program: &Program, urls: &[String]) {
    fs::write(program.home().join("urls.txt"), urls.join("\n")).expect("a list is written");
}

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["batch", "urls.txt", "--out", "out.jsonl"][..], more, &COMMON].concat()
}

#[test]
fn a_report_shows_what_was_fetched_and_what_failed() {
    let (server, _) = server();
    let program = Program::new();
    let mut urls: Vec<String> = (0..30).map(|n| server.url(&format!("/page/{n}"))).collect();
    urls.extend([server.url("/bad/<script>alert(1)</script>"), server.url("/gone")]);
    list(&program, &urls);
    let run = program.run(arguments(&["--report", "report.html", "-f", "--retry", "0"]));
    assert_eq!(run.code, 8, "{run}");
    let page = fs::read_to_string(program.home().join("report.html")).expect("a report");
    for text in [
        "<dt>attempted</dt><dd>32</dd>",
        "<dt>succeeded</dt><dd>30</dd>",
        "<dt>failed</dt><dd>2</dd>",
        "<td>plain</td><td>30</td>",
        "<td>status 404</td><td>1</td>",
        "<td>protocol</td><td>1</td>",
        "/bad/%3Cscript%3Ealert(1)%3C/script%3E",
        "none (direct)",
        "no answer: protocol",
    ] {
        assert!(page.contains(text), "no `{text}` in {page}");
    }
    for wrong in ["<script", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(wrong), "`{wrong}` in {page}");
    }
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(program.leftover_files().is_empty());
}

#[test]
fn an_interrupted_run_writes_its_report_and_a_wrong_path_is_reported_first() {
    let (server, go) = server();
    let program = Program::new();
    list(&program, &[server.url("/page"), server.url("/slow")]);
    let run = program.run(arguments(&["--report", "nowhere/report.html"]));
    assert_eq!(run.code, 3, "{run}");
    assert!(run.stderr.contains("--report nowhere/report.html") && server.connections() == 0, "{run}");
    let running = program.start(arguments(&["--report", "report.html"]));
    until("both requests", || server.heads().len() >= 2);
    running.signal(Signal::INT);
    running.wait_for_stderr("again to stop at once");
    running.signal(Signal::INT);
    let run = running.finish();
    go.store(true, Ordering::SeqCst);
    assert_eq!(run.code, 130, "{run}");
    let page = fs::read_to_string(program.home().join("report.html")).expect("a report");
    assert!(page.contains("stopped before its end"), "{page}");
}

#[test]
fn sigusr1_prints_what_each_fetch_waits_for_and_for_how_long() {
    let (server, go) = server();
    let program = Program::new();
    let slow = server.url("/slow?x=1").replace("http://", "http://jane:hunter2@");
    for command in ["batch", "fetch"] {
        go.store(false, Ordering::SeqCst);
        let before = server.heads().len();
        list(&program, std::slice::from_ref(&slow));
        let running = match command {
            "batch" => program.start(["batch", "urls.txt"].iter().chain(&COMMON)),
            _ => program.start(["fetch", slow.as_str(), "--tier", "plain", "--no-memory"].iter()),
        };
        until("the request", || server.heads().len() > before);
        running.signal(Signal::USR1);
        let said = running.wait_for_stderr("/slow?x=1");
        let line = said.lines().find(|line| line.contains("/slow?x=1")).expect("its line");
        for part in [" s  attempt 1 ", " plain ", " response for ", "http://***:***@127.0.0.1"] {
            assert!(line.contains(part), "{command}: no `{part}` in {line}");
        }
        assert!(said.contains("1 in flight") && !said.contains("hunter2"), "{said}");
        go.store(true, Ordering::SeqCst);
        let run = running.finish();
        assert_eq!(run.code, 0, "{command}: {run}");
    }
}

/// The response to these bytes.
fn asked(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers, and closes");
    answer
}

/// The samples of an OpenMetrics exposition. Panics on a malformed line.
fn samples(body: &str) -> BTreeMap<String, f64> {
    assert!(body.ends_with("# EOF\n"), "{body}");
    let mut samples = BTreeMap::new();
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let kind = comment.split(' ').next().expect("a word");
            assert!(["HELP", "TYPE", "UNIT", "EOF"].contains(&kind), "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let metric = name.split('{').next().expect("a name");
        assert!(metric.starts_with("rungs_"), "{line}");
        assert!(metric.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        assert_eq!(name.contains('{'), name.ends_with('}'), "{line}");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {line}");
    }
    samples
}

fn address(running: &RunningProgram) -> SocketAddr {
    let said = running.wait_for_stderr("/metrics");
    let (_, rest) = said.split_once("metrics at http://").expect("it says where");
    rest.split('/').next().expect("an address").parse().expect("an address with port")
}

#[test]
fn metrics_can_be_read_while_a_batch_runs() {
    let (server, go) = server();
    let program = Program::new();
    let mut urls: Vec<String> = (0..20).map(|n| server.url(&format!("/page/{n}"))).collect();
    urls.extend([server.url("/bad"), server.url("/slow")]);
    list(&program, &urls);
    let running = program.start(arguments(&["--metrics", "127.0.0.1:0", "--retry", "0"]));
    let address = address(&running);
    assert!(address.ip().is_loopback());
    let get = || {
        let answer = asked(address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("openmetrics-text"), "{head}");
        samples(body)
    };
    let host = format!("127.0.0.1:{}", server.port());
    let done = format!("rungs_fetches_total{{ending=\"succeeded\",tier=\"plain\",host=\"{host}\"}}");
    let lost = r#"rungs_attempts_total{tier="plain",verdict="protocol",proxy="none"}"#;
    let found = until_some("20 pages and one failure in the metrics", || {
        let found = get();
        (found.get(&done) == Some(&20.0) && found.get(lost) == Some(&1.0)).then_some(found)
    });
    for (name, count) in [
        (r#"rungs_attempts_total{tier="plain",verdict="genuine",proxy="none"}"#, 20.0),
        (r#"rungs_attempt_seconds_count{tier="plain",proxy="none"}"#, 21.0),
        ("rungs_received_bytes_total", 120.0),
        ("rungs_begun_total", 22.0),
        ("rungs_in_flight", 1.0),
    ] {
        assert_eq!(found.get(name), Some(&count), "{name}: {found:?}");
    }
    assert!(found["rungs_open_fds"] > 3.0 && found["rungs_resident_memory_bytes"] > 1e6);
    for (request, answer) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 404"),
        ("PUT /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 405"),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", "HTTP/1.1 403"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400"),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", "HTTP/1.1 400"),
        ("GET /metrics HTTP/1.1\r\nHost: a@localhost\r\n\r\n", "HTTP/1.1 400"),
        ("GET /metrics HTTP/1.1\r\nHost: localhost:0\r\n\r\n", "HTTP/1.1 400"),
        ("GET /metrics HTTP/1.1\r\nHost: b\u{fc}cher.example\r\n\r\n", "HTTP/1.1 400"),
        ("GET /metrics HTTP/1.1\r\nHost: localhost.\r\n\r\n", "HTTP/1.1 400"),
        ("GET /metrics HTTP/1.1\r\nHost: %6cocalhost\r\n\r\n", "HTTP/1.1 400"),
        ("nonsense\r\n\r\n", "HTTP/1.1 400"),
    ] {
        assert!(asked(address, request).starts_with(answer), "{request:?}");
    }
    go.store(true, Ordering::SeqCst);
    let run = running.finish();
    assert_eq!(run.code, 8, "{run}");
}

#[test]
fn silent_clients_and_slow_readers_do_not_delay_a_request_for_metrics() {
    let (server, go) = server();
    let program = Program::new();
    list(&program, &[server.url("/slow")]);
    let running = program.start(arguments(&["--metrics", "127.0.0.1:0", "--retry", "0"]));
    let address = address(&running);
    let connect = || TcpStream::connect(address).expect("it accepts connections");
    // Some say nothing, some stop within the head, some never read their response.
    let mut silent: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
    for (at, stream) in silent.iter_mut().enumerate() {
        let text: &[u8] = match at % 3 {
            0 => b"",
            1 => b"GET /metrics HTTP/1.1\r\nHost: loc",
            _ => b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
        };
        // The server may have closed the oldest of them.
        let _ = stream.write_all(text);
    }
    let answer = asked(address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    // The oldest idle connection was closed to make room for the others.
    let mut byte = [0];
    silent[0].set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    assert!(!matches!(silent[0].read(&mut byte), Ok(1)), "it has no response");
    go.store(true, Ordering::SeqCst);
    assert_eq!(running.finish().code, 0);
}

#[test]
fn metrics_that_cannot_be_served_are_reported_before_any_request() {
    let (server, _) = server();
    let program = Program::new();
    list(&program, &[server.url("/page")]);
    let run = program.run(arguments(&["--metrics", &format!("127.0.0.1:{}", server.port())]));
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stderr.contains("--metrics 127.0.0.1:") && server.heads().is_empty(), "{run}");
    let run = program.run(arguments(&["--metrics", "here"]));
    assert_eq!(run.code, 2, "{run}");
}
