//! A table of fault x tier x outcome: how a fetch ends when the network or the server misbehaves.
//!
//! `cargo test --test it -- faults::every_fault_ends_as_it_should --nocapture` prints the table.

mod rows;

use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rungs::{Fetcher, Tier};

use crate::support::{
    self, Certs, END_HEADERS, End, FinishedRun, Flow, FullBacklog, GOAWAY, HEADERS, Nginx, Program,
    RST_STREAM, RawConnection, RawServer, Relay, STATUS_200, Site, frame, read_request, start_http2,
};

use rows::rows;

/// One fault, and its expected outcome on the HTTP tiers and in the browser: `page`, or the kind of the error.
struct Row {
    name: &'static str,
    fault: Fault,
    /// Additional arguments.
    flags: &'static [&'static str],
    http: &'static str,
    /// `-` where the fault cannot occur in the browser, or the frame server is not sufficient for Chromium.
    browser: &'static str,
}

/// How the fault is caused.
#[derive(Clone, Copy)]
enum Fault {
    /// A relay between rungs and nginx: site, page, flow to the client, flow to the server.
    Relay(Site, &'static str, Flow, Flow),
    /// An HTTP/1.1 server.
    Http1(fn(&mut RawConnection) -> io::Result<()>),
    /// An HTTP/2 server: its settings, and how it handles a request on a stream.
    Http2(&'static [(u16, u32)], fn(&mut RawConnection, u32) -> io::Result<()>),
    /// No SYN is answered.
    FullBacklog,
}

/// The result of one row on one tier.
struct Measured {
    tier: &'static str,
    outcome: String,
    expected: &'static str,
    elapsed: Duration,
    peak_kb: u64,
    run: FinishedRun,
}

const TIERS: &[&str] =
    if cfg!(feature = "browser") { &["plain", "impersonate", "browser"] } else { &["plain", "impersonate"] };

const UNCHANGED: Flow = Flow::new();

/// The timeouts of a fetch that must time out, and of one that must not.
const SHORT: &[&str] = &["-m", "3"];
const LONG: &[&str] = &["-m", "60"];
/// Includes the start of Chromium.
const SHORT_IN_BROWSER: &[&str] = &["-m", "15"];
/// Much longer than any timeout: a run that reaches it hangs.
const HANG_LIMIT: Duration = Duration::from_secs(85);
/// How much more memory a fetch with a fault may take than one without, in kB. The largest body is 32 MiB.
const MORE_KB: u64 = 96 * 1024;

/// Ends the connection.
fn disconnect() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

fn goaway(last: u32, reason: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat())
}

/// Runs a fetch with the fault of `row` on `tier`.
fn run_row(row: &Row, tier: &'static str, certs: &Certs, nginx: &Nginx) -> Measured {
    let expected = if tier == "browser" { row.browser } else { row.http };
    let mut held: Vec<Box<dyn std::any::Any>> = Vec::new();
    let url = match row.fault {
        Fault::Relay(site, path, down, up) => {
            let relay = Relay::start(nginx.port(site), down, up);
            let scheme = if site == Site::Clear { "http" } else { "https" };
            let url = format!("{scheme}://127.0.0.1:{}{path}", relay.port());
            held.push(Box::new(relay));
            url
        }
        Fault::Http1(handler) => {
            let server = RawServer::start(handler);
            let url = server.url("/");
            held.push(Box::new(server));
            url
        }
        Fault::Http2(settings, answer) => {
            let server = RawServer::start_tls(&certs.valid, b"\x02h2", move |conn| {
                start_http2(conn, settings)?;
                loop {
                    let stream = read_request(conn)?;
                    answer(conn, stream)?;
                }
            });
            let url = server.url("/");
            held.push(Box::new(server));
            url
        }
        Fault::FullBacklog => {
            let server = FullBacklog::start();
            let url = server.url();
            held.push(Box::new(server));
            url
        }
    };
    let limit = match (expected, tier) {
        ("timeout", "browser") => SHORT_IN_BROWSER,
        ("timeout", _) => SHORT,
        _ => LONG,
    };
    let trust = if tier == "browser" { &["-k"][..] } else { &["--cacert", certs.ca()] };
    let fixed = ["fetch", "--format", "json", "--retry", "0", "--tier", tier];
    let program = Program::new().limit(HANG_LIMIT);
    let began = Instant::now();
    let run = program.run([&fixed[..], limit, trust, row.flags, &[url.as_str()]].concat());
    let elapsed = began.elapsed();
    assert_eq!(program.leftover_files(), Vec::<std::path::PathBuf>::new(), "{} on {tier}", row.name);
    let got = run.json();
    let outcome = got["error"]["kind"].as_str().unwrap_or("page").to_owned();
    if let (Fault::Relay(_, path, ..), "page") = (row.fault, outcome.as_str()) {
        let sent = nginx.page(path.trim_start_matches("/page/"));
        let whole = if tier == "browser" {
            got["body_bytes"].as_u64() > Some(9000)
        } else {
            got["body_bytes"] == sent.len()
        };
        assert!(whole, "{} on {tier}: a part is no page\n{run}", row.name);
    }
    Measured { tier, outcome, expected, elapsed, peak_kb: run.peak_kb, run }
}

#[test]
fn every_fault_ends_as_it_should() {
    let (certs, rows) = (Certs::new(), rows());
    let nginx = Nginx::start(&certs);
    let good = Row {
        name: "",
        fault: Fault::Relay(Site::H2, "/page/700k", UNCHANGED, UNCHANGED),
        flags: &[],
        http: "page",
        browser: "page",
    };
    let base = TIERS
        .iter()
        .map(|tier| run_row(&good, tier, &certs, &nginx))
        .map(|measured| (measured.tier, measured.peak_kb));
    let base: std::collections::HashMap<_, _> = base.collect();
    let tasks: Vec<(usize, &'static str)> = (0..rows.len())
        .flat_map(|row| TIERS.iter().map(move |tier| (row, *tier)))
        .filter(|(row, tier)| *tier != "browser" || rows[*row].browser != "-")
        .collect();
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((row, tier)) = tasks.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let measured = run_row(&rows[*row], tier, &certs, &nginx);
                    all.lock().expect("the lock is not poisoned").push((*row, measured));
                }
            });
        }
    });
    let mut all = all.into_inner().expect("the lock is not poisoned");
    all.sort_by_key(|(row, measured)| (*row, TIERS.iter().position(|tier| *tier == measured.tier)));
    assert_eq!(all.len(), tasks.len(), "every fault was met on every tier");
    let (mut table, mut wrong) = (String::new(), String::new());
    for (at, row) in rows.iter().enumerate() {
        write!(table, "{:<40}", row.name).expect("a String takes all");
        for (_, measured) in all.iter().filter(|(row, _)| *row == at) {
            let more = measured.peak_kb.saturating_sub(base[measured.tier]);
            let cell =
                format!("{} {:.1} s +{} MB", measured.outcome, measured.elapsed.as_secs_f64(), more / 1024);
            write!(table, " {cell:<28}").expect("a String takes all");
            if !measured.expected.split('|').any(|expected| measured.outcome == expected)
                || more > MORE_KB
                || measured.run.stderr.contains("panicked")
            {
                writeln!(
                    wrong,
                    "{} on {}: {cell}, and not {}\n{}",
                    row.name, measured.tier, measured.expected, measured.run
                )
                .expect("a String takes all");
            }
        }
        table.push('\n');
    }
    println!("{:<40} {:<28} {:<28} browser", "fault", "plain", "impersonate");
    println!("{table}peak of a good fetch: {base:?} kB");
    assert!(wrong.is_empty(), "{wrong}");
}

/// How many rows run at the same time. Most of their time is waiting.
const AT_ONCE: usize = 4;

/// Sends a POST with retries allowed and returns how often `server` received it. It is the first request on its
/// connection, or comes after a GET.
async fn posts(server: &RawServer, url: &str, after: bool) -> usize {
    let fetcher = Fetcher::builder().retries(2).max_tier(Tier::Impersonate).build().expect("good settings");
    if after {
        fetcher.get(url).tier(Tier::Plain).send().await.expect("the first is answered");
    }
    let sent = fetcher.request(http::Method::POST, url).body("order=1").tier(Tier::Plain).send().await;
    assert!(sent.is_err(), "{sent:?}");
    server.heads().iter().filter(|head| head.starts_with("POST ")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_may_have_been_heard_is_sent_once() {
    let faults: [fn(&mut RawConnection) -> io::Result<()>; 4] =
        [support::closes_at_once, support::garbage, support::truncated_body, support::truncated_chunks];
    for (number, fault) in faults.into_iter().enumerate() {
        for after in [false, true] {
            let server = RawServer::start(move |conn| {
                if after {
                    conn.read_head()?;
                    conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
                }
                fault(conn)
            });
            assert_eq!(
                posts(&server, &server.url("/"), after).await,
                1,
                "fault {number}, after a GET: {after}"
            );
        }
    }
    for end in [End::Reset, End::HalfClose] {
        let server = RawServer::start(support::keep_answering);
        let relay = Relay::start(server.port(), UNCHANGED.end_after(0, end), UNCHANGED);
        let url = format!("http://127.0.0.1:{}/", relay.port());
        assert_eq!(posts(&server, &url, false).await, 1, "{end:?}");
    }
    // Control: a GET is sent again, so that the count above can be larger.
    let server = RawServer::start(support::answers_after(2, "hello"));
    let fetcher = Fetcher::builder().retries(2).build().expect("good settings");
    fetcher.get(server.url("/")).tier(Tier::Plain).send().await.expect("a GET is tried again");
    assert_eq!(server.heads().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_an_http_2_server_may_have_heard_is_sent_once() {
    let certs = Certs::new();
    let faults: [fn(&mut RawConnection, u32) -> io::Result<()>; 4] = [
        |conn, stream| {
            conn.send(goaway(stream, 0))?;
            disconnect()
        },
        |conn, stream| conn.send(frame(RST_STREAM, 0, stream, &2_u32.to_be_bytes())),
        |_, _| disconnect(),
        |conn, stream| {
            conn.send(frame(HEADERS, END_HEADERS, stream, STATUS_200))?;
            disconnect()
        },
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let heard = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&heard);
        let server = RawServer::start_tls(&certs.valid, b"\x02h2", move |conn| {
            start_http2(conn, &[])?;
            loop {
                let stream = read_request(conn)?;
                counted.fetch_add(1, Ordering::SeqCst);
                fault(conn, stream)?;
            }
        });
        for tier in [Tier::Plain, Tier::Impersonate] {
            heard.store(0, Ordering::SeqCst);
            let fetcher = Fetcher::builder().retries(2).ca_file(certs.ca()).build().expect("good settings");
            let post = fetcher.request(http::Method::POST, server.url("/")).body("order=1").tier(tier);
            post.send().await.expect_err("it is not answered");
            assert_eq!(heard.load(Ordering::SeqCst), 1, "fault {number} on {tier}");
        }
    }
}
