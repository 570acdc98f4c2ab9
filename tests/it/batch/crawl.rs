//! `rungs batch --follow`: each page of a site once, and only a part of an endless site. Also the extraction of fields.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rungs::Fetcher;
use rungs::batch::{Batch, CrawlOptions};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{FinishedRun, Program, RawConnection, RawServer, until};

const COMMON: [&str; 4] = ["--tier", "plain", "--no-memory", "--no-progress"];
/// The pages of the site in addition to its first page.
const PAGES: usize = 240;

/// A site whose pages link to two more each, to the first page, to other sites, to an endless calendar and list, to
/// themselves under session ids and other names, and to `nofollow` pages.
fn site() -> RawServer {
    let sessions = Arc::new(AtomicUsize::new(0));
    RawServer::start(move |conn| {
        loop {
            let head = conn.read_head()?;
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            if target == "/robots.txt" {
                conn.send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?;
                continue;
            }
            let session = sessions.fetch_add(1, Ordering::SeqCst);
            answer(conn, &page(&target, session))?;
        }
    })
}

fn answer(conn: &mut RawConnection, page: &str) -> io::Result<()> {
    let length = page.len();
    conn.send(format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{page}"))
}

fn page(target: &str, session: usize) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.split(';').next().unwrap_or_default();
    let mut links =
        vec!["/#top".to_owned(), "http://127.0.0.2:1/away".to_owned(), "mailto:a@b.test".to_owned()];
    let number = |text: &str| text.parse::<usize>().unwrap_or_default();
    let mut head = String::new();
    if path == "/" {
        links.extend(["/p/0", "/cal/2026/1/1", "/list?from=0", "/loop/a"].map(ToOwned::to_owned));
    } else if let Some(n) = path.strip_prefix("/p/").map(number) {
        let more = [2 * n + 1, 2 * n + 2].into_iter().filter(|n| *n < PAGES);
        links.extend(
            more.map(|n| {
                format!("/p/{n};jsessionid={session:032x}?utm_source=p{n}&PHPSESSID={session:032x}")
            }),
        );
        links.push(format!("/p/./{n}#part"));
        // The first page is also served under a second URL, to which all pages link.
        links.push("/p/first".to_owned());
        let canonical = if n == 0 { "first".to_owned() } else { n.to_string() };
        let _ = write!(head, "<link rel=canonical href=/p/{canonical}>");
    } else if let Some(date) = path.strip_prefix("/cal/") {
        let day = date.split('/').fold(0, |days, part| days * 30 + number(part)) + 1;
        links.push(format!("/cal/{}/{}/{}", 2000 + day / 900 % 60, day / 30 % 30, day % 30));
    } else if path == "/list" {
        links.push(format!("/list?from={}", number(query.trim_start_matches("from=")) + 1));
    } else if path.starts_with("/loop") {
        links.push(format!("{path}/a"));
    }
    let mut page =
        format!("<title>{path}</title>{head}<h1>Page <b>{path}</b></h1><a rel=nofollow href=/private>no</a>");
    for link in links {
        let _ = write!(page, "<p><a class=follow href=\"{link}\">x</a></p>");
    }
    page
}

fn crawl(program: &Program, site: &RawServer, arguments: &[&str]) -> FinishedRun {
    fs::write(program.home().join("urls.txt"), site.url("/")).expect("a list is written");
    program.run([&["batch", "urls.txt", "--out", "out.jsonl"][..], arguments, &COMMON].concat())
}

/// The records in the output.
fn records(program: &Program) -> Vec<Value> {
    let text = fs::read_to_string(program.home().join("out.jsonl")).expect("an output");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The paths and queries of all records. Panics if one is there twice.
fn targets(program: &Program, site: &RawServer) -> BTreeSet<String> {
    let records = records(program);
    let begins = site.url("");
    // A link is requested with its session ID.
    let without_session = |target: &str| match target.split_once(";jsessionid=") {
        Some((path, _)) => path.to_owned(),
        None => target.to_owned(),
    };
    let target =
        |record: &Value| without_session(&record["url"].as_str().unwrap_or_default().replace(&begins, ""));
    let targets: BTreeSet<String> = records.iter().map(target).collect();
    assert_eq!(targets.len(), records.len(), "each once");
    targets
}

fn count(targets: &BTreeSet<String>, begins: &str) -> usize {
    targets.iter().filter(|target| target.starts_with(begins)).count()
}

/// The limits of each crawl of the whole site.
const WHOLE: [&str; 5] = ["--follow", "a.follow", "--trap-limit", "250", "--trust-canonical"];

fn assert_whole(targets: &BTreeSet<String>) {
    assert_eq!(
        count(targets, "/p/"),
        PAGES,
        "the pages, and none of them under a session or another name: {targets:?}"
    );
    assert!((0..PAGES).all(|n| targets.contains(&format!("/p/{n}"))), "{targets:?}");
    assert_eq!(count(targets, "/cal/"), 250, "the calendar is bounded");
    assert_eq!(count(targets, "/list?"), 25, "the list is bounded");
    assert_eq!(count(targets, "/loop/"), 3, "a path that repeats is bounded");
    assert_eq!(targets.len(), 1 + PAGES + 250 + 25 + 3, "and nothing else: {targets:?}");
}

#[test]
fn a_crawl_has_each_page_of_the_site_once_and_its_traps_bounded() {
    let site = site();
    let program = Program::new();
    let run = crawl(&program, &site, &WHOLE);
    assert_eq!(run.code, 0, "{run}");
    assert_whole(&targets(&program, &site));
    for words in [
        "limited (dates)",
        "limited (query)",
        "limited (repeating path)",
        "/cal/N/N/N: 250 followed",
        "--trap-limit",
    ] {
        assert!(run.stderr.contains(words), "{words}: {run}");
    }
    let meta = fs::read(program.home().join("out.jsonl.meta.json")).expect("how it ended");
    let meta: Value = serde_json::from_slice(&meta).expect("JSON");
    assert_eq!(meta["traps"].as_array().map(Vec::len), Some(3), "{meta}");
    let heads = site.heads();
    let of = |target: &str| heads.iter().filter(|head| head.starts_with(&format!("GET {target}"))).count();
    assert_eq!((of("/p/7;jsessionid="), of("/p/7 "), of("/private"), of("/away")), (1, 0, 0, 0));
    let deep = heads.iter().find(|head| head.starts_with("GET /p/7;")).expect("it was asked for");
    assert!(deep.contains("?utm_source=p7&PHPSESSID="), "as linked: {deep}");
    assert!(deep.to_ascii_lowercase().contains(&format!("referer: {};", site.url("/p/3"))), "{deep}");
    // The same command again finds nothing left to do.
    let again = crawl(&program, &site, &WHOLE);
    assert_eq!((again.code, site.heads().len()), (0, heads.len()), "{again}");
}

#[test]
fn killed_twice_and_resumed_a_crawl_has_each_page_once() {
    let site = site();
    let program = Program::new();
    fs::write(program.home().join("urls.txt"), site.url("/")).expect("a list is written");
    let arguments =
        [&["batch", "urls.txt", "--out", "out.jsonl", "--concurrency", "8"][..], &WHOLE, &COMMON].concat();
    for enough in [60, 220] {
        let running = program.start(arguments.iter());
        let lines = || {
            fs::read(program.home().join("out.jsonl"))
                .map_or(0, |bytes| bytes.split_inclusive(|byte| *byte == b'\n').count())
        };
        until(&format!("{enough} lines in the output"), || lines() >= enough);
        running.signal(Signal::KILL);
        assert_eq!(running.finish().code, 128 + 9, "it was under way");
    }
    let run = program.run(arguments.iter());
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("finished in earlier runs"), "{run}");
    assert_whole(&targets(&program, &site));
    let changed = program.run([&arguments[..], &["--depth", "2"]].concat());
    assert_eq!(changed.code, 3, "a crawl goes on as it began: {changed}");
    assert!(changed.stderr.contains("to depth 2"), "{changed}");
}

#[test]
fn a_crawl_stops_at_its_depth_and_page_limits() {
    let site = site();
    let program = Program::new();
    let run = crawl(&program, &site, &["--follow", "a.follow", "--depth", "2", "--trust-canonical"]);
    assert_eq!(run.code, 0, "{run}");
    let expected = [
        "/",
        "/p/0",
        "/p/1",
        "/p/2",
        "/cal/2026/1/1",
        "/list?from=0",
        "/list?from=1",
        "/loop/a",
        "/loop/a/a",
    ];
    let got = targets(&program, &site);
    assert!(expected.iter().all(|target| got.contains(*target)), "{got:?}");
    assert_eq!((count(&got, "/cal/"), got.len()), (2, expected.len() + 1), "{got:?}");

    let program = Program::new();
    let run = crawl(&program, &site, &["--follow", "pattern:/p/*", "--max-pages", "50", "--trust-canonical"]);
    assert_eq!(run.code, 0, "{run}");
    let got = targets(&program, &site);
    assert_eq!((got.len(), count(&got, "/p/")), (50, 49), "{got:?}");
    assert!((0..31).all(|n| got.contains(&format!("/p/{n}"))), "the shallow ones first: {got:?}");
    assert!(run.stderr.contains("--max-pages is reached"), "{run}");
}

#[test]
fn where_robots_txt_is_ignored_so_is_nofollow_and_other_sites_must_be_allowed() {
    let site = site();
    let program = Program::new();
    let run = crawl(
        &program,
        &site,
        &["--follow", "a", "--depth", "1", "--robots", "ignore", "--allow", "127.0.0.2"],
    );
    assert_eq!(run.code, 8, "no server listens there: {run}");
    let got = targets(&program, &site);
    assert!(got.contains("/private") && got.contains("http://127.0.0.2:1/away"), "{got:?}");
    let run = crawl(&Program::new(), &site, &["--follow", "a["]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("--follow `a[`: column 3"), "{run}");
}

#[test]
fn fields_are_read_into_records_by_flags_and_by_targets() {
    let site = site();
    let program = Program::new();
    let target = "schema = 1\n[match]\nhosts = [\"127.0.0.1\"]\n[extract]\nheading = \"h1\"\n\"links[]\" = \"a.follow@href\"\n";
    fs::write(program.home().join("shop.toml"), target).expect("a target is written");
    let url = site.url("/p/200");
    let fetch =
        ["fetch", &url, "--tier", "plain", "--no-memory", "--format", "json", "--target", "shop.toml"];
    let asked =
        ["--select", "title=title", "--select", "none=h9", "--select", "all[]=p > a", "--links", "--text"];
    let run = program.run([&fetch[..], &asked].concat());
    assert_eq!(run.code, 0, "{run}");
    let record: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let fields = &record["fields"];
    assert_eq!(fields["heading"], "Page /p/200", "{record}");
    assert_eq!((&fields["title"], &fields["none"]), (&"/p/200".into(), &Value::Null), "{record}");
    assert_eq!(fields["all"], serde_json::json!(["x", "x", "x", "x", "x"]), "{record}");
    assert_eq!(fields["links"][0], format!("{}#top", site.url("/")), "{record}");
    assert_eq!(record["links"][0], site.url("/private"), "{record}");
    assert_eq!(record["canonical"], site.url("/p/200"), "{record}");
    assert!(
        record["text"].as_str().is_some_and(|text| text.starts_with("Page /p/200\nno\n\nx\n\nx")),
        "{record}"
    );

    fs::write(program.home().join("urls.txt"), &url).expect("a list is written");
    let batch = ["batch", "urls.txt", "--out", "out.csv", "--target", "shop.toml", "--select", "url=title"];
    let run = program.run([&batch[..], &COMMON].concat());
    assert_eq!(run.code, 0, "{run}");
    let mut reader = csv::Reader::from_path(program.home().join("out.csv")).expect("a CSV");
    let columns: Vec<String> = reader.headers().expect("a head").iter().map(ToOwned::to_owned).collect();
    assert_eq!(columns[columns.len() - 3..], ["fields.url", "heading", "fields.links"], "{columns:?}");
    let row = reader.records().next().expect("a row").expect("it is whole");
    assert_eq!((&row[columns.len() - 3], &row[columns.len() - 2]), ("/p/200", "Page /p/200"));
    assert!(row[columns.len() - 1].starts_with("[\"http"), "{row:?}");
}

#[test]
fn an_invalid_selector_is_reported_with_its_position() {
    let program = Program::new();
    let run = program.run(["fetch", "http://127.0.0.1:1/", "--format", "json", "--select", "title=h1["]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("--select `title=h1[`: column 10"), "{run}");
    let run = program.run(["fetch", "http://127.0.0.1:1/", "--select", "title=h1"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("add --format json"), "{run}");
    let target =
        "schema = 1\n[match]\nhosts = [\"a.test\"]\n[extract]\ntitle = \"h1\"\nprice = \"p > > b\"\n";
    fs::write(program.home().join("shop.toml"), target).expect("a target is written");
    let run = program.run(["fetch", "http://a.test/", "--target", "shop.toml"]);
    assert_eq!(run.code, 3, "{run}");
    assert!(run.stderr.contains("shop.toml:6:1: `extract.price`: column 5"), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_crawls_and_gets_each_page_once() {
    let site = site();
    let folder = tempfile::tempdir().expect("a folder");
    let begin = || {
        let fetcher = Fetcher::builder().max_tier(rungs::Tier::Plain).build().expect("a fetcher");
        let follow =
            CrawlOptions::new().links("pattern:/p/*").expect("a pattern").depth(5).trust_canonical(true);
        let batch = Batch::new(fetcher).concurrency(8).crawl(follow);
        batch.checkpoint(folder.path().join("run.ckpt")).run([site.url("/p/0")]).expect("it begins")
    };
    let mut got = Vec::new();
    let mut run = begin();
    while got.len() < 20 {
        let done = run.next().await.expect("there is more");
        assert_eq!(done.result.expect("a page").status(), 200);
        got.push(done.url);
    }
    let summary = run.finish().await.expect("it ends well");
    assert_eq!((summary.progress.counters.attempted, summary.complete), (20, false));
    let mut run = begin();
    while let Some(done) = run.next().await {
        got.push(done.url);
    }
    assert!(run.finish().await.expect("it ends well").complete);
    let mut got: Vec<String> =
        got.iter().map(|url| url.split(';').next().unwrap_or_default().to_owned()).collect();
    got.sort();
    let mut expected: Vec<String> = (0..63).map(|n| site.url(&format!("/p/{n}"))).collect();
    expected.sort();
    assert_eq!(got, expected);
}

#[test]
fn a_header_names_what_else_a_page_answers_for() {
    let site = RawServer::start(|conn| {
        let head = conn.read_head()?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let (kind, link, body) = match path {
            "/" => ("text/html", "", "<a href=/doc.pdf>1</a><a href=/a>2</a><a href=/next>3</a>"),
            "/doc.pdf" => ("application/pdf", "link: </doc>; rel=canonical\r\n", "%PDF-1.7"),
            "/a" => ("text/html", "link: </b>; rel=\"canonical\"\r\n", "<h1>A page</h1>"),
            // One level deeper: requested after the levels above.
            "/next" => ("text/html", "", "<a href=/doc>1</a><a href=/b>2</a><a href=/c>3</a>"),
            _ => ("text/html", "", "<h1>A page</h1>"),
        };
        let length = body.len();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{link}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    });
    let program = Program::new();
    let arguments = ["--follow", "a", "--robots", "ignore", "--concurrency", "1"];
    let run = crawl(&program, &site, &[&arguments[..], &["--trust-canonical"]].concat());
    assert_eq!(run.code, 0, "{run}");
    let asked = |from: usize| -> Vec<String> {
        let heads = site.heads();
        heads[from..].iter().filter_map(|head| head.split(' ').nth(1)).map(ToOwned::to_owned).collect()
    };
    assert_eq!(asked(0), ["/", "/doc.pdf", "/a", "/next", "/c"]);
    // By default it keeps no page away.
    let run = crawl(&Program::new(), &site, &arguments);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(asked(5), ["/", "/doc.pdf", "/a", "/next", "/doc", "/b", "/c"]);
}
