//! All tiers against the lab's origin and the installed Chromium, with the library and the program.

use std::path::Path;
use std::sync::Arc;

use rungs::lab::{Authority, DemoOrigin, Exchange, Recorder, Reply, SITES};
use rungs::{ErrorKind, Fetcher, Tier};
use rustix::process::Signal;
use tempfile::NamedTempFile;

use crate::support::{Program, RawServer, captured_profile, until};

/// The CA of a lab server, as a file.
fn trusted(pem: &str) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), pem).expect("the CA is written");
    file
}

fn fetcher(origin: &DemoOrigin, ca: &Path) -> Fetcher {
    Fetcher::builder()
        .browser_profile(captured_profile())
        .ca_file(ca)
        .resolve("*", origin.addr().port(), origin.addr().ip())
        .build()
        .expect("the settings are good")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_site_is_fetched_by_its_cheapest_tier_and_clearance_is_reused_below() {
    let origin = DemoOrigin::start(None).await.expect("the lab starts");
    let ca = trusted(origin.ca_pem());
    let fetcher = fetcher(&origin, ca.path());
    let [open, gated, challenged, closed] = SITES;
    for (site, tier) in [
        (open, Tier::Plain),
        (gated, Tier::Impersonate),
        (challenged, Tier::Browser),
        (challenged, Tier::Impersonate),
        (challenged, Tier::Impersonate),
    ] {
        let page = fetcher.get(origin.url(site)).send().await.expect("the page is got");
        assert_eq!((page.status().as_u16(), page.tier()), (200, tier), "{site}");
    }
    let counts = origin.counts();
    assert_eq!((counts.verifies, counts.clearances), (1, 1), "one browser visit for three pages");
    assert_eq!(counts.challenged_passed, 3);

    let error = fetcher.get(origin.url(closed)).send().await.expect_err("closed to all");
    assert_eq!(error.kind(), ErrorKind::Blocked);
    let tiers: Vec<Tier> = error.trace().expect("a trace").attempts().iter().map(|a| a.tier).collect();
    assert_eq!(tiers, Tier::ALL);

    let other = fetcher.session("another");
    let page = other.get(origin.url(challenged)).send().await.expect("the page is got");
    assert_eq!(page.tier(), Tier::Browser, "clearance belongs to the identity that earned it");
    fetcher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_fetches_of_a_challenged_site_cost_one_browser_visit() {
    let origin = DemoOrigin::start(None).await.expect("the lab starts");
    let ca = trusted(origin.ca_pem());
    let fetcher = fetcher(&origin, ca.path());
    let url = origin.url(SITES[2]);
    let visits = (0..40).map(|_| fetcher.get(&url).send());
    for page in futures_util::future::join_all(visits).await {
        assert_eq!(page.expect("the page is got").status().as_u16(), 200);
    }
    let counts = origin.counts();
    assert_eq!((counts.verifies, counts.clearances), (1, 1));
    fetcher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_shares_one_identity_between_its_urls() {
    let origin = DemoOrigin::start(None).await.expect("the lab starts");
    let ca = trusted(origin.ca_pem());
    let program = Arc::new(Program::new());
    let resolve = format!("*:{}:{}", origin.addr().port(), origin.addr().ip());
    let [_, _, challenged, closed] = SITES;
    let run = {
        let (program, ca) = (Arc::clone(&program), ca.path().to_owned());
        let urls = [origin.url(challenged), origin.url(challenged), origin.url(closed)];
        tokio::task::spawn_blocking(move || {
            let mut arguments = vec!["fetch".into(), "--format".into(), "jsonl".into(), "--cacert".into()];
            arguments.extend([ca.into_os_string(), "--resolve".into(), resolve.into()]);
            arguments.extend(urls.map(Into::into));
            program.run(arguments)
        })
        .await
        .expect("the run ends")
    };
    assert_eq!(run.code, 7, "{run}");
    let text = run.text();
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let tiers: Vec<_> = records.iter().map(|record| record["tier"].as_str()).collect();
    assert_eq!(tiers, [Some("browser"), Some("impersonate"), Some("browser")], "{run}");
    assert_eq!(records[2]["error"]["kind"], "blocked");
    assert!(run.stderr.contains("blocked at every tier allowed"), "{run}");
    for line in ["plain        403", "impersonate  403", "browser      403"] {
        assert!(run.stderr.contains(line), "{run}");
    }
    assert_eq!(program.leftover_files(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_tier_sends_the_same_bytes_as_the_tier_below() {
    let authority = Arc::new(Authority::new(&["one.test"]).expect("a CA can be made"));
    let page = |_: &Exchange| {
        Reply::html(200, "<!doctype html><link rel=icon href='data:,'><title>x</title><p>page")
    };
    let recorder = Recorder::builder()
        .tls(Arc::clone(&authority), &["h2", "http/1.1"])
        .start(page)
        .await
        .expect("the recorder listens");
    let ca = trusted(authority.ca_pem());
    let mut said = Vec::new();
    for tier in [Tier::Impersonate, Tier::Browser] {
        recorder.clear();
        let fetcher = Fetcher::builder()
            .min_tier(tier)
            .max_tier(tier)
            .browser_profile(captured_profile())
            .ca_file(ca.path())
            .resolve("one.test", recorder.addr().port(), recorder.addr().ip())
            .build()
            .expect("the settings are good");
        let url = format!("https://one.test:{}/page", recorder.addr().port());
        fetcher.get(url).send().await.expect("the page is got");
        fetcher.close().await;
        let all = recorder.connections();
        let hello =
            all.iter().find(|c| c.ja4.is_some() && !c.resumed).expect("a hello was heard").ja4.clone();
        let heard = all.iter().find_map(|c| c.requests.iter().find(|r| r.path == "/page").map(|r| (c, r)));
        let (connection, request) = heard.expect("the page was asked for");
        said.push((hello, connection.akamai.clone(), request.priority, request.headers.clone()));
    }
    assert_eq!(said[0], said[1]);
}

#[test]
fn an_interrupt_in_the_middle_of_a_fetch_leaves_no_browser_and_no_folder() {
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        conn.hold_open()
    });
    let program = Program::new();
    let running = program.start(["fetch", "--tier", "browser", &server.url("/")]);
    // Then the browser runs and is in the middle of the page.
    until("a request for the page", || !server.heads().is_empty());
    assert!(!browsers_of(&program).is_empty(), "a browser runs");
    running.signal(Signal::INT);
    let run = running.finish();
    assert_eq!(run.code, 130, "{run}");
    assert_eq!(browsers_of(&program), Vec::<String>::new());
    assert_eq!(program.leftover_files(), Vec::<std::path::PathBuf>::new());
}

/// The command lines of the processes that use the program's temp folder.
fn browsers_of(program: &Program) -> Vec<String> {
    let folder = program.home().join("tmp").display().to_string();
    let processes = std::fs::read_dir("/proc").expect("Linux has /proc").flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&folder))
        .collect()
}

/// A page that is only a script, with status 200 and without a vendor's sign.
const UNKNOWN_CHALLENGE: &str = "<!doctype html><html><head><script>(function(){var n='8c1f04',s=0;\
    for(var i=0;i<n.length;i++){s=(s*31+n.charCodeAt(i))>>>0}document.cookie='gate='+n+'.'+s+'; path=/';\
    location.reload()})()</script></head></html>";

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_of_an_unknown_vendor_is_passed_in_the_browser_once() {
    let server = RawServer::start(|conn| {
        loop {
            let head = conn.read_head()?;
            let body = if head.contains("gate=8c1f04.") {
                "<title>Lamps</title><h1>Lamps</h1><p>Brass, 88 euros.</p>"
            } else {
                UNKNOWN_CHALLENGE
            };
            let length = body.len();
            conn.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{body}"
            ))?;
        }
    });
    let fetcher = Fetcher::builder().browser_profile(captured_profile()).build().expect("good settings");
    let mut tiers = Vec::new();
    for path in ["/lamps/1", "/lamps/2", "/lamps/3"] {
        let page = fetcher.get(server.url(path)).send().await.expect("a page");
        assert!(page.text().expect("it is text").contains("Brass"), "{:?}", page.tier());
        tiers.push(page.tier());
    }
    assert_eq!(tiers, [Tier::Browser, Tier::Impersonate, Tier::Impersonate]);
    fetcher.close().await;
}
