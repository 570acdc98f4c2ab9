//! `rungs diagnose` changes one property of the client at a time. Tested against the lab's sites and sites that check
//! only one property.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rungs::diagnose::{Diagnoser, DiagnosisReport, MAX_REQUESTS, Probe, ProbeResult};
use rungs::lab::{Authority, DemoOrigin, Exchange, Recorder, Reply, SITES};
use rungs::{DetectionLayer, Fetcher, FetcherBuilder};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::support::{Program, RawServer, Squid, rungs, until};

const PAGE: &str = "<!doctype html><title>a page</title><p>A page with some words in it.</p>";
const NO: &str = "<!doctype html><title>Access denied</title><p>No.</p>";

/// The response of a site to a request.
type Site = fn(&Exchange) -> Reply;

fn trusted(pem: &str) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), pem).expect("the CA is written");
    file
}

/// A diagnosis without long pauses and without a window.
fn quick(builder: FetcherBuilder, url: &str) -> Diagnoser {
    Diagnoser::new(builder, url).pause(Duration::from_millis(10)).window(false)
}

async fn run(diagnose: Diagnoser) -> DiagnosisReport {
    diagnose.run().await.expect("good settings")
}

/// The variants that were tried, with their outcomes.
fn tried(report: &DiagnosisReport) -> Vec<(Probe, ProbeResult)> {
    let made = report.steps.iter().filter(|step| step.result != ProbeResult::Skipped);
    made.map(|step| (step.probe, step.result)).collect()
}

fn layer(report: &DiagnosisReport) -> Option<DetectionLayer> {
    report.diagnosis.as_ref().map(|diagnosis| diagnosis.layer)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_site_of_the_lab_gets_its_diagnosis() {
    let origin = DemoOrigin::start(None).await.expect("the lab starts");
    let ca = trusted(origin.ca_pem());
    let [open, gated, challenged, closed] = SITES;
    let site = |name| {
        let builder =
            Fetcher::builder().ca_file(ca.path()).resolve("*", origin.addr().port(), origin.addr().ip());
        run(quick(builder, &origin.url(name)))
    };
    let report = site(open).await;
    assert_eq!(
        tried(&report),
        [(Probe::Plain, ProbeResult::Passed), (Probe::Impersonate, ProbeResult::Passed)]
    );
    assert_eq!((report.works, layer(&report)), (Some(Probe::Plain), None));

    // The site compares TLS, HTTP/2 and headers. The right headers alone do not pass.
    let report = site(gated).await;
    let expected = [
        (Probe::Plain, ProbeResult::Refused),
        (Probe::Headers, ProbeResult::Refused),
        (Probe::Impersonate, ProbeResult::Passed),
    ];
    assert_eq!(tried(&report), expected);
    assert_eq!((report.works, layer(&report)), (Some(Probe::Impersonate), Some(DetectionLayer::Tls)));

    let report = site(challenged).await;
    let [.., browser, cleared] = tried(&report)[..] else { panic!("{report:?}") };
    assert_eq!(
        (browser, cleared),
        ((Probe::Browser, ProbeResult::Passed), (Probe::Cleared, ProbeResult::Passed))
    );
    assert_eq!((report.works, layer(&report)), (Some(Probe::Browser), Some(DetectionLayer::Javascript)));
    assert_eq!(origin.counts().clearances, 1, "one browser visit");

    // Like a site that blocks the address: no client passes.
    let report = site(closed).await;
    assert_eq!((report.works, layer(&report)), (None, Some(DetectionLayer::Ip)));
    assert!(tried(&report).contains(&(Probe::Browser, ProbeResult::Refused)), "{report:?}");
    assert!(origin.counts().closed <= MAX_REQUESTS as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_that_check_different_layers_get_different_diagnoses() {
    /// Passes browsers, by their user agent.
    fn agent(heard: &Exchange) -> Reply {
        let is_browser =
            heard.request.header("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/"));
        Reply::html(if is_browser { 200 } else { 403 }, if is_browser { PAGE } else { NO })
    }
    /// Passes clients that return its cookie.
    fn cookie(heard: &Exchange) -> Reply {
        match heard.request.cookie("seen") {
            Some(_) => Reply::html(200, PAGE),
            None => Reply::html(403, NO).header("set-cookie", "seen=1; Path=/"),
        }
    }
    /// Passes all clients but one browser brand.
    fn brand(heard: &Exchange) -> Reply {
        let brands = heard.request.header("sec-ch-ua").unwrap_or_default().to_owned();
        let is_let_in = brands.contains("Google Chrome");
        Reply::html(if is_let_in { 200 } else { 403 }, if is_let_in { PAGE } else { NO })
    }
    /// Passes only clients that do not look like a browser.
    fn honest(heard: &Exchange) -> Reply {
        let is_browser = heard.request.header("sec-ch-ua").is_some();
        Reply::html(if is_browser { 403 } else { 200 }, if is_browser { NO } else { PAGE })
    }
    let authority = Arc::new(Authority::new(&["one.test"]).expect("a CA can be made"));
    let ca = trusted(authority.ca_pem());
    let sites: [(Site, Probe); 4] = [
        (agent, Probe::Impersonate),
        (cookie, Probe::Cookies),
        (brand, Probe::Profile),
        (honest, Probe::Plain),
    ];
    for (answer, works) in sites {
        let recorder =
            Recorder::builder().tls(Arc::clone(&authority), &["h2"]).start(answer).await.expect("up");
        let chromium = rungs::fingerprint::Profile::named("chrome-156-linux").expect("it is shipped");
        let builder = Fetcher::builder().ca_file(ca.path()).browser_profile(chromium).resolve(
            "one.test",
            recorder.addr().port(),
            recorder.addr().ip(),
        );
        let url = format!("https://one.test:{}/", recorder.addr().port());
        let report = run(quick(builder, &url).max_tier(rungs::Tier::Impersonate)).await;
        assert_eq!(
            (report.works, layer(&report)),
            (Some(works), Some(DetectionLayer::Headers)),
            "{report:?}"
        );
        assert!(
            report
                .steps
                .iter()
                .all(|step| step.probe != Probe::Browser || step.result == ProbeResult::Skipped)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_blocks_the_proxy_address_is_tried_directly_only_on_request() {
    // The proxy is recognized by its `Via` header, since all addresses are the same on loopback.
    let site = |heard: &Exchange| match heard.request.header("via") {
        Some(_) => Reply::html(403, NO),
        None => Reply::html(200, PAGE),
    };
    let recorder = Recorder::builder().start(site).await.expect("it listens");
    let squid = Squid::start();
    let url = format!("http://{}/", recorder.addr());
    let through = || {
        let builder = Fetcher::builder().proxy(squid.url().parse().expect("a proxy"));
        quick(builder, &url).max_tier(rungs::Tier::Impersonate)
    };
    let report = run(through()).await;
    assert_eq!(report.works, None);
    assert!(recorder.connections().iter().all(|c| c.requests.iter().all(|r| r.header("via").is_some())));
    let report = run(through().direct(true)).await;
    assert_eq!((report.works, layer(&report)), (Some(Probe::Direct), Some(DetectionLayer::Ip)), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diagnosis_ends_after_one_wait_for_a_rate_limit() {
    for (retry_after, requests) in [("1", 2), ("3600", 1)] {
        let recorder = Recorder::builder()
            .start(move |_| Reply::html(429, "<title>slow</title>").header("retry-after", retry_after))
            .await
            .expect("it listens");
        let report = run(quick(Fetcher::builder(), &format!("http://{}/", recorder.addr()))).await;
        assert_eq!(tried(&report), [(Probe::Plain, ProbeResult::Refused)]);
        assert_eq!((report.works, layer(&report)), (None, Some(DetectionLayer::Pace)));
        let heard: usize = recorder.connections().iter().map(|connection| connection.requests.len()).sum();
        assert_eq!(heard, requests, "retry-after {retry_after}");
    }
}

#[test]
fn a_dry_run_lists_the_requests_and_sends_none() {
    let server = RawServer::start(|_| panic!("nothing may come"));
    let url = server.url("/");
    let run = rungs(["diagnose", "--dry-run", "--max-tier", "impersonate", &url]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.text().starts_with(&format!("{url}: at most 10 requests")), "{run}");
    assert!(run.text().contains("  plain ") && !run.text().contains("  browser"), "{run}");
    let run = rungs(["diagnose", "--dry-run", "--format", "json", "--max-tier", "plain", &url]);
    let plan: Value = serde_json::from_str(&run.text()).expect("JSON");
    assert_eq!((&plan["max_requests"], &plan["ways"][0]["way"]), (&2.into(), &"plain".into()), "{run}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn diagnose_prints_what_passed_and_sets_its_exit_code_by_it() {
    let server = RawServer::start(|conn| {
        let head = conn.read_head()?;
        let (status, body) = if head.contains("rungs/") { ("403 Forbidden", NO) } else { ("200 OK", PAGE) };
        let length = body.len();
        conn.send(format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    });
    let url = server.url("/");
    let fixed = ["diagnose", "--pause", "0.01"];
    let run = rungs(fixed.into_iter().chain(["--max-tier", "impersonate", &url]));
    assert_eq!(run.code, 0, "{run}");
    let text = run.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], url);
    assert!(lines[1].starts_with("  plain ") && lines[1].contains("refused  403  block"), "{run}");
    assert!(
        lines[2].starts_with("  plain's TLS, a browser's headers") && lines[2].contains("passed   200"),
        "{run}"
    );
    assert!(lines[4].contains("not tried: impersonate passed"), "{run}");
    assert!(text.contains("\nworks: impersonate\nwhy: probably headers and cookies: "), "{run}");
    assert!(text.ends_with("hint: start there: `--min-tier impersonate`\n"), "{run}");

    let run = rungs(fixed.into_iter().chain(["--max-tier", "plain", "--format", "json", &url]));
    assert_eq!(run.code, 7, "{run}");
    let report: Value = serde_json::from_str(&run.text()).expect("JSON");
    assert_eq!((&report["works"], &report["diagnosis"]["layer"]), (&Value::Null, &"headers".into()), "{run}");
    assert_eq!(report["steps"][0]["way"], "plain");
    assert_eq!(report["steps"][0]["found"], "refused");
    assert_eq!(report["steps"][0]["attempts"][0]["status"], 403);
    assert_eq!(report["steps"][5]["reason"], "a higher tier than allowed");

    for wrong in [&["--pause", "soon", &url][..], &["-H", "x:", &url], &["ftp://a.example/"]] {
        let run = rungs(["diagnose"].into_iter().chain(wrong.iter().copied()));
        assert_eq!(run.code, 2, "{run}");
    }
}

#[test]
fn an_interrupt_while_the_browser_asks_leaves_nothing_behind() {
    // Plain, headers, impersonate and another profile come first. The fifth request is the browser's.
    let asked = AtomicUsize::new(0);
    let server = RawServer::start(move |conn| {
        conn.read_head()?;
        if asked.fetch_add(1, Ordering::SeqCst) >= 4 {
            return conn.hold_open();
        }
        conn.send(format!(
            "HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{NO}",
            NO.len()
        ))
    });
    let program = Program::new();
    let running = program.start(["diagnose", "--pause", "0.01", &server.url("/")]);
    until("a request by the browser", || server.heads().len() >= 5);
    let scratch = program.leftover_files();
    assert!(!scratch.is_empty(), "a browser runs");
    running.signal(Signal::INT);
    let run = running.finish();
    assert_eq!(run.code, 130, "{run}");
    assert_eq!(program.leftover_files(), Vec::<std::path::PathBuf>::new());
}
