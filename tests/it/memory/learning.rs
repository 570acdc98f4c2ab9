//! What the host memory learns besides tiers: which browser profile passes, how large pages usually are, and which
//! hosts fail. Each run is a separate process.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rungs::lab::{Exchange, Recorder, Reply};
use rusqlite::Connection;
use serde_json::Value;

use crate::support::{FinishedRun, Program, RawServer};

const PAGE: &str = "<!doctype html><title>a page</title><p>A page with some words in it.</p>";
const NO: &str = "<!doctype html><title>Access denied</title><p>No.</p>";
/// A shipped profile that is not the default on any system on which these tests run.
const OTHER: &str = "google-chrome-156-android";

fn url(server: &Recorder, path: &str) -> String {
    format!("http://{}{path}", server.addr())
}

fn fetch(program: &Program, more: &[&str], url: &str) -> FinishedRun {
    let tier = if more.contains(&"--tier") { &[][..] } else { &["--max-tier", "impersonate"] };
    program.run(["fetch", "--format", "json"].iter().chain(tier).chain(more).chain([&url]))
}

/// Tier, browser profile and verdict of each attempt.
fn attempts(run: &FinishedRun) -> Vec<(String, String, String)> {
    let json = run.json();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let all = json["attempts"].as_array().expect("attempts").iter();
    all.map(|attempt| {
        (word(&attempt["tier"]), word(&attempt["browser_profile"]), word(&attempt["verdict"]["kind"]))
    })
    .collect()
}

/// The same without the profiles.
fn tiers(run: &FinishedRun) -> Vec<(String, String)> {
    attempts(run).into_iter().map(|(tier, _, kind)| (tier, kind)).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(tier, kind)| ((*tier).to_owned(), (*kind).to_owned())).collect()
}

fn memory(program: &Program) -> Connection {
    Connection::open(program.home().join("data/rungs/memory.sqlite")).expect("the memory opens")
}

fn requests(server: &Recorder) -> usize {
    server.connections().iter().map(|connection| connection.requests.len()).sum()
}

fn is_android(heard: &Exchange) -> bool {
    heard.request.header("user-agent").is_some_and(|agent| agent.contains("Android"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_uses_the_profile_that_passed_and_later_probes_the_default() {
    let relaxed = Arc::new(AtomicUsize::new(0));
    let open = Arc::clone(&relaxed);
    let server = Recorder::builder()
        .start(move |heard: &Exchange| match open.load(Ordering::SeqCst) {
            0 if !is_android(heard) => Reply::html(403, NO),
            1 if heard.request.header("user-agent").is_none_or(|agent| !agent.contains("Mozilla")) => {
                Reply::html(403, NO)
            }
            _ => Reply::html(200, PAGE),
        })
        .await
        .expect("it listens");
    let program = Program::new();
    let page = url(&server, "/p/1");
    let refused = fetch(&program, &[], &page);
    assert_eq!(refused.code, 7, "{refused}");
    let default = attempts(&refused)[1].1.clone();
    assert_ne!(default, OTHER);
    let taught = fetch(&program, &["--as", OTHER], &page);
    assert_eq!(tiers(&taught), pairs(&[("impersonate", "genuine")]), "{taught}");

    let as_other = vec![("impersonate".to_owned(), OTHER.to_owned(), "genuine".to_owned())];
    let as_default = vec![("impersonate".to_owned(), default.clone(), "block".to_owned())];
    for path in ["/p/2", "/p/3", "/new/4"] {
        server.clear();
        let run = fetch(&program, &["-v"], &url(&server, path));
        assert_eq!((run.code, attempts(&run)), (0, as_other.clone()), "{run}");
        assert_eq!(run.json()["browser_profile"], OTHER);
        assert!(run.stderr.contains("because the site refuses"), "it says why: {run}");
        assert_eq!(requests(&server), 1, "no refused request");
    }
    // With the caller's own profile, session, cookies or user agent, what was learned is not used.
    let cookie = format!("{}\tFALSE\t/\tFALSE\t0\tlogin\tme\n", server.addr().ip());
    fs::write(program.home().join("cookies.txt"), cookie).expect("it is written");
    for more in [
        &["--as", &default][..],
        &["--session", "me"],
        &["-b", "cookies.txt"],
        &["-b", "login=me"],
        &["-c", "out.txt"],
        &["-A", "Mozilla/5.0 (me)"],
    ] {
        let run = fetch(&program, &[more, &["--min-tier", "impersonate"]].concat(), &page);
        assert_eq!((run.code, attempts(&run)), (7, as_default.clone()), "{more:?} {run}");
    }

    // More than an hour later: one probe with the default profile, and the page is still fetched.
    let age = "UPDATE evidence SET refused = refused - 50000, seen = seen - 50000 WHERE profile = ?1";
    memory(&program).execute(age, [&default]).expect("it is aged");
    let run = fetch(&program, &[], &page);
    assert_eq!((run.code, attempts(&run)), (0, [as_default.clone(), as_other.clone()].concat()), "{run}");
    let next = run.json()["attempts"][0]["next"].as_str().expect("a reason").to_owned();
    assert!(next.starts_with("probe: still") && next.ends_with(&format!("continuing as {OTHER}")), "{next}");
    assert_eq!(attempts(&fetch(&program, &[], &page)), as_other, "and not at once again");

    relaxed.store(1, Ordering::SeqCst);
    memory(&program).execute(age, [&default]).expect("it is aged");
    for _ in 0..2 {
        let run = fetch(&program, &[], &page);
        assert_eq!(
            attempts(&run),
            [("impersonate".to_owned(), default.clone(), "genuine".to_owned())],
            "{run}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diagnosis_records_which_profile_passes() {
    let server = Recorder::builder()
        .start(|heard: &Exchange| {
            let is_windows =
                heard.request.header("user-agent").is_some_and(|agent| agent.contains("Windows NT"));
            Reply::html(if is_windows { 200 } else { 403 }, if is_windows { PAGE } else { NO })
        })
        .await
        .expect("it listens");
    let page = url(&server, "/p/1");
    for (more, code) in [(&["--no-memory"][..], 7), (&[], 0)] {
        let program = Program::new();
        let diagnosis = ["diagnose", "--pause", "0.01", "--max-tier", "impersonate"];
        let run = program.run(diagnosis.iter().chain(more).copied().chain([page.as_str()]));
        assert!(run.code == 0 && run.text().contains("works: impersonate, another browser"), "{run}");
        server.clear();
        let run = fetch(&program, &[], &page);
        assert_eq!(run.code, code, "{run}");
        if code == 0 {
            assert_eq!(requests(&server), 1, "{run}");
            assert_eq!(run.json()["browser_profile"], "google-chrome-156-windows");
        }
    }
}

/// A shop with pages of some 60 kB. It also serves stubs: with 0 to the plain client, with 1 to all clients.
async fn shop(stubs: &Arc<AtomicUsize>) -> Recorder {
    let stubs = Arc::clone(stubs);
    Recorder::builder()
        .start(move |heard: &Exchange| {
            let is_honest =
                heard.request.header("user-agent").is_some_and(|agent| agent.starts_with("rungs"));
            let is_stub = match stubs.load(Ordering::SeqCst) {
                0 => heard.request.path.contains("stub") && is_honest,
                _ => true,
            };
            let words = 1000 + 50 * (heard.request.path.len() % 7);
            let more = if is_stub {
                String::new()
            } else {
                "<p>Some words on a thing to buy, sixty bytes of them.</p>".repeat(words)
            };
            Reply::html(200, format!("<!doctype html><title>a thing</title><p>A thing.</p>{more}"))
        })
        .await
        .expect("it listens")
}

/// Fetches pages, so that the memory learns their usual size.
fn visit(program: &Program, server: &Recorder) {
    let pages: Vec<String> = (0..12).map(|at| url(server, &format!("/p/{at}"))).collect();
    let run = program.run(["fetch", "--tier", "plain"].into_iter().chain(pages.iter().map(String::as_str)));
    assert_eq!(run.code, 0, "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_far_smaller_than_usual_escalates_and_is_accepted_when_every_tier_gets_it() {
    let stubs = Arc::default();
    let server = shop(&stubs).await;
    let program = Program::new();
    let (stub, genuine) = ("stub", "genuine");
    assert_eq!(tiers(&fetch(&program, &[], &url(&server, "/p/stub-1"))), pairs(&[("plain", genuine)]));
    assert_eq!(program.run(["memory", "clear"]).code, 0);
    visit(&program, &server);
    let shown = program.run(["memory", "show"]);
    assert!(shown.text().contains("/p/  html  usually 6") && shown.text().contains("  12 pages"), "{shown}");

    let run = fetch(&program, &[], &url(&server, "/p/stub-2"));
    assert_eq!(tiers(&run), pairs(&[("plain", stub), ("impersonate", genuine)]), "{run}");
    let evidence = &run.json()["attempts"][0]["verdict"]["evidence"][0];
    assert_eq!(evidence["rule"], "expect/usual-bytes", "{run}");
    assert_eq!(run.json()["body_bytes"].as_u64().map(|bytes| bytes > 50_000), Some(true));
    let run = fetch(&program, &["--expect-min-bytes", "20"], &url(&server, "/p/stub-3"));
    assert_eq!(tiers(&run), pairs(&[("plain", genuine)]), "the caller's size counts: {run}");
    let elsewhere = fetch(&program, &["--tier", "plain"], &url(&server, "/q/stub"));
    assert_eq!(tiers(&elsewhere), pairs(&[("plain", genuine)]), "nothing is known of /q/: {elsewhere}");

    // The whole site has changed: both tiers show that, and after that one request is enough.
    let fresh = Program::new();
    visit(&fresh, &server);
    stubs.store(1, Ordering::SeqCst);
    let run = fetch(&fresh, &[], &url(&server, "/p/1"));
    assert_eq!((run.code, tiers(&run)), (0, pairs(&[("plain", stub), ("impersonate", genuine)])), "{run}");
    let text =
        run.json()["attempts"][1]["verdict"]["evidence"][0]["text"].as_str().expect("a text").to_owned();
    assert!(text.ends_with("accepted, every tier gets the same"), "{text}");
    for path in ["/p/2", "/p/3"] {
        let run = fetch(&fresh, &[], &url(&server, path));
        assert_eq!(tiers(&run), pairs(&[("plain", genuine)]), "{run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_tier_allowed_a_small_page_is_accepted_the_fourth_time() {
    let stubs = Arc::default();
    let server = shop(&stubs).await;
    let program = Program::new();
    visit(&program, &server);
    stubs.store(1, Ordering::SeqCst);
    let page = |at: usize| url(&server, &format!("/p/{at}"));
    for at in 1..=3 {
        let out = program.home().join("page.html");
        let run = program.run(["fetch", "--tier", "plain", "-o", "page.html", &page(at)]);
        assert!(run.code == 7 && !out.exists(), "{at}: {run}");
    }
    let run = fetch(&program, &["--tier", "plain"], &page(4));
    assert_eq!((run.code, tiers(&run)), (0, pairs(&[("plain", "genuine")])), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_can_disable_the_size_check() {
    let stubs = Arc::default();
    let server = shop(&stubs).await;
    let program = Program::new();
    visit(&program, &server);
    stubs.store(1, Ordering::SeqCst);
    let target = "schema = 1\n[match]\nhosts = [\"127.0.0.1\"]\n[expect]\nusual = false\n";
    fs::create_dir(program.home().join("targets")).expect("a folder");
    fs::write(program.home().join("targets/any-size.toml"), target).expect("it is written");
    let program = program.variable("RUNGS_TARGETS", "targets");
    let shown = program.run(["target", "show", &url(&server, "/p/1")]).text();
    assert!(shown.lines().any(|line| line.contains("usual") && line.contains("false")), "{shown}");
    let run = fetch(&program, &["--tier", "plain"], &url(&server, "/p/1"));
    assert_eq!(run.code, 0, "{run}");
}

#[test]
fn an_open_circuit_lasts_into_the_next_run_until_the_host_answers() {
    let is_dead = Arc::new(AtomicBool::new(true));
    let dead = Arc::clone(&is_dead);
    let server = RawServer::start(move |conn| {
        conn.read_head()?;
        if dead.load(Ordering::SeqCst) {
            return Ok(());
        }
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
    });
    let (page, host) = (server.url("/"), format!("127.0.0.1:{}", server.port()));
    let program = Program::new();
    let dead = ["fetch", "--tier", "plain", "--retry", "0", "--format", "json"];
    let run = program.run(dead.iter().chain([&page.as_str(); 5]));
    assert_eq!(run.code, 1, "{run}");

    let shown = program.run(["memory", "show"]);
    assert!(shown.text().contains(&format!("open circuits\n  {host}  plain  5 ")), "{shown}");
    let json = program.run(["memory", "show", "127.0.0.1", "--format", "json"]).json();
    let circuit = &json["circuits"][0];
    assert_eq!((&circuit["tier"], &circuit["faults"]), (&"plain".into(), &5.into()));
    let time = |name: &str| circuit[name].as_i64().expect("a time");
    assert_eq!((time("until") - time("since"), time("lasts")), (10, 10));

    // Long enough that it does not expire during the test.
    memory(&program).execute("UPDATE circuit SET until = until + 200", []).expect("it is longer");
    is_dead.store(false, Ordering::SeqCst);
    let before = server.connections();
    let run = program.run(dead.iter().chain([&page.as_str()]));
    assert_eq!(run.code, 1, "{run}");
    let message = run.json()["attempts"][0]["error"]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("failed 5 times in a row on the plain tier; next probe in"), "{message}");
    assert_eq!(server.connections(), before, "it was not asked");
    let other = ["fetch", "--tier", "impersonate", "--retry", "0", &page];
    assert_eq!(program.run(other).code, 0, "another tier is");

    // After the cooldown one fetch tries the host, which answers again.
    memory(&program).execute("UPDATE circuit SET until = until - 400", []).expect("it is over");
    assert_eq!(program.run(dead.iter().chain([&page.as_str()])).code, 0);
    let json = program.run(["memory", "show", "--format", "json"]).json();
    assert_eq!(json["circuits"].as_array().map(Vec::len), Some(0));
    is_dead.store(true, Ordering::SeqCst);

    assert_eq!(program.run(dead.iter().chain([&page.as_str(); 5])).code, 1);
    assert!(program.run(["memory", "show"]).text().contains("open circuits"));
    assert_eq!(program.run(["memory", "clear", "127.0.0.1"]).code, 0);
    let run = program.run(dead.iter().chain([&page.as_str()]));
    assert!(run.code == 1 && !run.text().contains("request not sent"), "{run}");
}
