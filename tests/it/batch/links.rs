//! Which URLs a crawl or a sitemap asks for: exactly those that were linked or listed, in which order, as whom.

use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rungs::batch::{Batch, Input, Output, RecordFormat};
use rungs::{Fetcher, RobotsPolicy};
use serde_json::Value;

use crate::support::{FinishedRun, Program, RawServer};

/// A site that answers each target with what `page` returns, else with 404.
fn site(page: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> RawServer {
    RawServer::start(move |conn| {
        loop {
            let head = conn.read_head()?;
            let target = head.split(' ').nth(1).unwrap_or_default();
            let (status, body) = page(target).map_or((404, String::new()), |body| (200, body));
            let kind = if target.contains(".xml") { "application/xml" } else { "text/html" };
            let length = body.len();
            conn.send(format!(
                "HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
            ))?;
        }
    })
}

/// A site of these targets and their pages.
fn site_of(pages: &'static [(&'static str, &'static str)]) -> RawServer {
    site(move |target| {
        let page = pages.iter().find(|(of, _)| *of == target)?;
        Some(format!("<!doctype html><title>t</title>{}", page.1))
    })
}

const COMMON: [&str; 8] =
    ["--out", "out.jsonl", "--tier", "plain", "--no-memory", "--no-progress", "--robots", "ignore"];

fn crawl(program: &Program, list: &str, arguments: &[&str]) -> FinishedRun {
    fs::write(program.home().join("urls.txt"), list).expect("a list is written");
    program.run([&["batch", "urls.txt"][..], &COMMON, arguments].concat())
}

/// The requested targets in order.
fn asked(site: &RawServer) -> Vec<String> {
    site.heads().iter().filter_map(|head| head.split(' ').nth(1)).map(ToOwned::to_owned).collect()
}

/// The requested targets, sorted.
fn sorted(site: &RawServer) -> Vec<String> {
    let mut asked = asked(site);
    asked.sort();
    asked
}

#[test]
fn a_crawl_requests_exactly_the_linked_urls() {
    const LINKS: [&str; 17] = [
        "/a/b",
        "/a%2Fb",
        "/article?sid=26",
        "/article?sid=27",
        "/article?sid=28&mode=flat",
        "/f?a=1&b=2",
        "/f?b=2&a=1",
        "/g?x",
        "/g?x=",
        "/g?x&&y",
        "/h?",
        "/h?a=1;b=2",
        "/i?q=a%20b",
        "/i?q=a+b",
        "/u?utm_source=x&z=1",
        "/w?key=%252fx",
        "/w?key=%2fx",
    ];
    let server = site(|target| {
        let mut page = format!("<title>{target}</title><p>{target}</p>");
        for link in LINKS.iter().filter(|_| target == "/") {
            let _ = write!(page, "<a href='{}#part'>x</a>", link.replace('&', "&amp;"));
        }
        Some(page)
    });
    let run = crawl(&Program::new(), &server.url("/"), &["--follow", "a"]);
    assert_eq!(run.code, 0, "{run}");
    let mut expected = vec!["/"];
    expected.extend(LINKS);
    expected.sort_unstable();
    assert_eq!(sorted(&server), expected, "{run}");
}

#[test]
fn a_parameter_is_a_session_id_only_if_it_varies_for_one_page() {
    // Each page links to all others with a session ID of its own; or each ID selects a story.
    for (stories, most) in [(false, 8), (true, 100)] {
        let count = Arc::new(Mutex::new(0_u64));
        let server = site(move |target| {
            let mut count = count.lock().expect("no thread panicked");
            *count += 1;
            let last = target.chars().last()?;
            let content = if stories { format!("story {last}") } else { "same".to_owned() };
            let mut page = format!("<title>{}</title><p>{content}</p>", target.split('?').next()?);
            for n in 0..5_u64 {
                let id = if stories { n } else { *count };
                let path = if stories { "/story".to_owned() } else { format!("/p{n}") };
                let _ = write!(page, "<a href='{path}?sid=8f3a9c81d7e6{id:04}'>x</a>");
            }
            Some(page)
        });
        let run = crawl(&Program::new(), &server.url("/"), &["--follow", "a"]);
        assert_eq!(run.code, 0, "{run}");
        let asked = sorted(&server);
        for n in 0..5 {
            let begins = if stories { format!("/story?sid=8f3a9c81d7e6000{n}") } else { format!("/p{n}?") };
            assert!(asked.iter().any(|target| target.starts_with(&begins)), "{begins}: {asked:?}");
        }
        assert!(asked.len() <= most, "{asked:?}");
    }
}

#[test]
fn a_canonical_url_keeps_no_page_away() {
    const LIST: &[(&str, &str)] = &[
        ("/list?page=2", "<link rel=canonical href=/list><a href=/list>first</a><a href=/p/2>2</a>"),
        ("/list", "<link rel=canonical href=/list><a href=/p/1>1</a>"),
        ("/p/1", "<link rel=canonical href=/list>one"),
        ("/p/2", "two"),
    ];
    let server = site_of(LIST);
    assert_eq!(crawl(&Program::new(), &server.url("/list?page=2"), &["--follow", "a"]).code, 0);
    assert_eq!(sorted(&server), ["/list", "/list?page=2", "/p/1", "/p/2"]);
    let server = site_of(LIST);
    let run = crawl(&Program::new(), &server.url("/list?page=2"), &["--follow", "a", "--trust-canonical"]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(sorted(&server), ["/list?page=2", "/p/2"]);
}

#[test]
fn elements_with_a_url_are_followed_and_others_are_refused() {
    const PAGES: &[(&str, &str)] = &[
        (
            "/",
            "<link rel=next href=/next><link rel=stylesheet href=/s.css><iframe src=/frame></iframe><map><area href=/area></map>\
            <template><a href=/{{id}}>x</a></template><noscript><a href=/noscript>x</a></noscript>\
            <svg><a xlink:href=/svg><text>x</text></a></svg><form action=/send><input></form>\
            <x-a><template shadowrootmode=open><a href=/shadow>x</a></template></x-a>",
        ),
        ("/next", "n"),
        ("/frame", "f"),
        ("/area", "a"),
        ("/noscript", "n"),
        ("/svg", "s"),
        ("/shadow", "s"),
    ];
    for (follow, expected) in [
        ("link[rel=next]", vec!["/", "/next"]),
        ("iframe, frame", vec!["/", "/frame"]),
        ("area", vec!["/", "/area"]),
        ("a", vec!["/", "/noscript", "/shadow", "/svg"]),
        ("*", vec!["/", "/area", "/frame", "/next", "/noscript", "/shadow", "/svg"]),
    ] {
        let server = site_of(PAGES);
        let run = crawl(&Program::new(), &server.url("/"), &["--follow", follow]);
        assert_eq!(
            (run.code, sorted(&server)),
            (0, expected.into_iter().map(String::from).collect()),
            "{follow}: {run}"
        );
    }
    let server = site_of(PAGES);
    let run = crawl(&Program::new(), &server.url("/"), &["--follow", "img[src]"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("a `img` element is not a link"), "{run}");
    let run = crawl(&Program::new(), &server.url("/"), &["--follow", "form"]);
    assert_eq!(asked(&server), ["/"]);
    assert!(run.stderr.contains("nothing was followed for `form`: it matched 1 elements"), "{run}");
}

#[test]
fn what_can_be_read_of_a_sitemap_is_requested_and_the_rest_is_reported() {
    let set =
        |inside: &str| format!("<?xml version='1.0'?>\n<urlset xmlns='s'><url><loc>/1</loc></url>{inside}");
    let (ampersand, entity) =
        ("<url><loc>/2?a=1&b=2</loc></url></urlset>", "<url><loc>/caf&eacute;</loc></url></urlset>");
    for (body, expected, problem) in [
        (set(ampersand), vec!["/1", "/2?a=1&b=2"], ""),
        (format!("\n\n{}", set(ampersand)), vec!["/1", "/2?a=1&b=2"], ""),
        (set(entity), vec!["/1"], "line 2, column 48: unknown reference `&eacute;`"),
        (set("<url><loc>/4</lo"), vec!["/1"], "the sitemap ends within an entry"),
        (
            "<rss><channel><link>/</link><item><link>/1</link></item></channel></rss>".to_owned(),
            vec!["/1"],
            "",
        ),
        ("<feed><entry><link href='/1'/></entry></feed>".to_owned(), vec!["/1"], ""),
    ] {
        let text = body.clone();
        let server =
            site(move |target| Some(if target == "/s.xml" { text.clone() } else { "page".to_owned() }));
        let program = Program::new();
        let run = program.run([&["batch", "--sitemap", &server.url("/s.xml")][..], &COMMON].concat());
        let mut wanted = vec!["/s.xml"];
        wanted.extend(expected);
        wanted.sort_unstable();
        assert_eq!(sorted(&server), wanted, "{body}: {run}");
        assert_eq!(run.code, if problem.is_empty() { 0 } else { 8 }, "{body}: {run}");
        let records = fs::read_to_string(program.home().join("out.jsonl")).expect("an output");
        assert!(records.contains(problem), "{body}: {records}");
    }
}

#[test]
fn robots_txt_names_the_sitemaps_of_listed_sites() {
    let server = site(|target| match target {
        "/robots.txt" => Some("User-agent: *\nAllow: /\nSitemap: /s.xml\nSitemap: /t.xml".to_owned()),
        "/s.xml" => Some("<urlset><url><loc>/1</loc></url></urlset>".to_owned()),
        "/t.xml" => Some("<urlset><url><loc>/2</loc></url></urlset>".to_owned()),
        _ => Some("page".to_owned()),
    });
    let run = crawl(&Program::new(), &server.url("/listed"), &["--sitemap", "robots"]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(sorted(&server), ["/1", "/2", "/listed", "/robots.txt", "/s.xml", "/t.xml"]);
    let run = Program::new().run(["batch", "--sitemap", "robots"]);
    assert_eq!(run.code, 2, "{run}");
}

#[test]
fn links_of_the_same_origin_are_requested_with_the_credentials_of_the_seed() {
    let other = site_of(&[("/other", "o"), ("/moved", "m")]);
    let (away, moved) = (other.url("/other"), other.url("/moved"));
    let server = RawServer::start(move |conn| {
        loop {
            let head = conn.read_head()?;
            let (status, more, body) = match head.split(' ').nth(1).unwrap_or_default() {
                "/" => {
                    (200, String::new(), format!("<a href=/in>1</a><a href=/move>2</a><a href={away}>3</a>"))
                }
                "/in" => (200, String::new(), "<a href=/deep>4</a>".to_owned()),
                "/move" => (302, format!("location: {moved}\r\n"), String::new()),
                _ => (200, String::new(), "page".to_owned()),
            };
            let length = body.len();
            conn.send(format!(
                "HTTP/1.1 {status} x\r\ncontent-type: text/html\r\n{more}content-length: {length}\r\n\r\n{body}"
            ))?;
        }
    });
    let program = Program::new();
    let list = server.url("/").replace("http://", "http://jane:hunter2@");
    let run = crawl(&program, &list, &["--follow", "a", "--follow-external", "--depth", "3"]);
    assert_eq!(run.code, 0, "{run}");
    let is_authorized =
        |head: &String| head.to_ascii_lowercase().contains("\r\nauthorization: basic amfuztpodw50zxiy\r\n");
    let heads = server.heads();
    assert_eq!((heads.len(), heads.iter().filter(|head| is_authorized(head)).count()), (4, 4), "{heads:?}");
    let heads = other.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert!(heads.iter().all(|head| !head.to_ascii_lowercase().contains("authorization")), "{heads:?}");
    for file in ["out.jsonl", "out.jsonl.ckpt"] {
        let bytes = fs::read(program.home().join(file)).expect("it was written");
        assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"), "{file}");
    }
}

#[test]
fn a_batch_keeps_the_order_of_its_list_per_session_and_with_one_fetch_at_a_time() {
    let server = site(|target| {
        // Later tasks are answered faster.
        let n: u64 = target.rsplit('/').next()?.parse().ok()?;
        std::thread::sleep(Duration::from_millis(20 * (8 - n)));
        Some("page".to_owned())
    });
    let line = |n: usize, session: &str| {
        let mut line = serde_json::json!({ "url": server.url(&format!("/{session}/{n}")) });
        if !session.is_empty() {
            line["session"] = Value::from(session);
        }
        format!("{line}\n")
    };
    let list: String = (0..8).map(|n| line(n, ["s", "t", ""][n % 3])).collect();
    let run = crawl(&Program::new(), &list, &[]);
    assert_eq!(run.code, 0, "{run}");
    let of = |session: &str| -> Vec<String> {
        asked(&server).into_iter().filter(|target| target.starts_with(&format!("/{session}/"))).collect()
    };
    assert_eq!(
        (of("s"), of("t")),
        (
            vec!["/s/0".into(), "/s/3".into(), "/s/6".into()],
            vec!["/t/1".into(), "/t/4".into(), "/t/7".into()]
        )
    );
    let before = server.heads().len();
    let run = crawl(&Program::new(), &list, &["--concurrency", "1"]);
    assert_eq!(run.code, 0, "{run}");
    let numbers: Vec<String> = asked(&server)[before..]
        .iter()
        .filter_map(|target| target.rsplit('/').next())
        .map(String::from)
        .collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_in_the_order_in_which_their_fetches_ended() {
    let server = site(|_| Some("page".to_owned()));
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out.jsonl");
    let urls: Vec<String> = (0..8).map(|n| server.url(&format!("/{n}"))).collect();
    let fetcher = Fetcher::builder().max_tier(rungs::Tier::Plain).build().expect("a fetcher");
    let batch = Batch::new(fetcher).concurrency(1).robots(RobotsPolicy::Ignore).each_record(|record| {
        // Every other record takes longer than the fetch of the next.
        if record.url().ends_with(['0', '2', '4', '6']) {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    });
    let output = Output::file(&out, RecordFormat::Jsonl);
    let run = batch.save(Input::tasks("a list", urls.clone()), output).expect("it begins");
    assert!(run.finish().await.expect("it ends well").complete);
    let records = fs::read_to_string(out).expect("records");
    let written: Vec<Value> = records
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["url"].take())
        .collect();
    assert_eq!(written, urls);
}
