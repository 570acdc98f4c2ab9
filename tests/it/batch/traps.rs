//! A crawl of a site of traps: which URLs must be requested, and which must not, against a truth list.

mod addresses;
mod markup;
mod responses;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use crate::support::{FinishedRun, Program, RawServer};

/// A small part of the site, with a path of its own.
pub(super) struct TrapCase {
    name: String,
    /// The answers by target. In targets, fields and bodies, `~` is the path of the case, and `^` the origin.
    pages: Vec<(String, Answer)>,
    /// The targets that must be requested.
    wanted: Vec<String>,
}

/// An answer of the site.
#[derive(Clone)]
pub(super) struct Answer {
    status: u16,
    fields: String,
    body: Vec<u8>,
}

impl TrapCase {
    /// A case whose first page has this body.
    pub(super) fn new(name: impl Into<String>, body: impl Into<String>) -> Self {
        Self { name: name.into(), pages: Vec::new(), wanted: Vec::new() }.page("~/", body)
    }

    /// A page that must be requested.
    pub(super) fn page(self, target: &str, body: impl Into<String>) -> Self {
        self.answer(target, 200, "content-type: text/html\r\n", body.into())
    }

    /// An answer to a request that must be made.
    pub(super) fn answer(
        mut self,
        target: &str,
        status: u16,
        fields: &str,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let answer = Answer { status, fields: fields.to_owned(), body: body.into() };
        self.pages.push((target.to_owned(), answer));
        self.wanted.push(target.to_owned());
        self
    }

    /// Pages without content that must be requested.
    pub(super) fn wants(mut self, targets: &[&str]) -> Self {
        for target in targets {
            self = self.page(target, format!("<title>{}</title><p>{target}", target.len()));
        }
        self
    }
}

/// The site: its answers by target, and the truth.
struct TrapSite {
    server: RawServer,
    /// The wanted targets, with the case of each.
    truth: BTreeMap<String, String>,
    cases: usize,
}

impl TrapSite {
    fn start(cases: &[TrapCase], robots: &str) -> Self {
        let mut answers = BTreeMap::new();
        let mut truth = BTreeMap::new();
        let mut index = String::from("<title>index</title>");
        for (at, case) in cases.iter().enumerate() {
            let path = format!("/{}", word(at));
            let _ = write!(index, "<a href='{path}/'>x</a>");
            let own = |text: &str| text.replace('~', &path);
            for (target, answer) in &case.pages {
                let fields = own(&answer.fields);
                let body = match String::from_utf8(answer.body.clone()) {
                    Ok(text) => own(&text).into_bytes(),
                    Err(_) => answer.body.clone(),
                };
                answers.insert(own(target), Answer { fields, body, ..answer.clone() });
            }
            truth.extend(case.wanted.iter().map(|target| (own(target), case.name.clone())));
        }
        let page = |body: String, kind: &str| Answer {
            status: 200,
            fields: format!("content-type: {kind}\r\n"),
            body: body.into_bytes(),
        };
        answers.insert("/".to_owned(), page(index, "text/html"));
        answers.insert("/robots.txt".to_owned(), page(robots.to_owned(), "text/plain"));
        for target in ["/", "/robots.txt"] {
            truth.insert(target.to_owned(), "the site".to_owned());
        }
        Self { server: serve(answers), truth, cases: cases.len() }
    }

    /// Returns a table of the targets that differ from the truth, and their number.
    fn compare(&self) -> (String, usize) {
        let heads = self.server.heads();
        let requested: BTreeSet<&str> = heads.iter().filter_map(|head| head.split(' ').nth(1)).collect();
        let lost: Vec<_> =
            self.truth.iter().filter(|(target, _)| !requested.contains(target.as_str())).collect();
        let extra: Vec<&str> =
            requested.iter().copied().filter(|target| !self.truth.contains_key(*target)).collect();
        let found = self.truth.len() - lost.len();
        let mut table = format!(
            "{} cases, {} requests: {found} found, {} lost, {} extra\n",
            self.cases,
            heads.len(),
            lost.len(),
            extra.len()
        );
        for (target, case) in &lost {
            let _ = writeln!(table, "lost  {target}  ({case})");
        }
        for target in &extra {
            let _ = writeln!(table, "extra {target}");
        }
        (table, lost.len() + extra.len())
    }
}

/// A site that answers each target as listed, else with an empty 404. `^` is its origin.
fn serve(answers: BTreeMap<String, Answer>) -> RawServer {
    RawServer::start(move |conn| {
        loop {
            let head = conn.read_head()?;
            let target = head.split(' ').nth(1).unwrap_or_default();
            let host = head
                .lines()
                .find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("host")));
            let origin = format!("http://{}", host.map_or("", |(_, value)| value.trim()));
            let missing =
                Answer { status: 404, fields: String::new(), body: b"<p>there is no such page".to_vec() };
            let Answer { status, fields, body } = answers.get(target).unwrap_or(&missing);
            let fields = fields.replace('^', &origin);
            let body = match std::str::from_utf8(body) {
                Ok(text) => text.replace('^', &origin).into_bytes(),
                Err(_) => body.clone(),
            };
            conn.send(format!("HTTP/1.1 {status} x\r\n{fields}content-length: {}\r\n\r\n", body.len()))?;
            conn.send(body)?;
        }
    })
}

/// A word for a number, because numbers in paths look like the pages of one trap.
fn word(mut number: usize) -> String {
    let mut word = String::new();
    for _ in 0..3 {
        word.push(char::from(b"bdfgklmnprst"[number % 12]));
        word.push(char::from(b"aeiou"[number / 12 % 5]));
        number /= 60;
    }
    word
}

fn crawl(server: &RawServer, arguments: &[&str]) -> FinishedRun {
    let program = Program::new();
    fs::write(program.home().join("urls.txt"), server.url("/")).expect("a list is written");
    let common = [
        "batch",
        "urls.txt",
        "--out",
        "out.jsonl",
        "--tier",
        "plain",
        "--no-memory",
        "--no-progress",
        "--retry",
        "0",
        "--rate",
        "1000/s",
        "--robots",
        "obey",
    ];
    program.run([&common[..], arguments].concat())
}

#[test]
fn a_crawl_of_200_traps_requests_each_page_and_nothing_else() {
    let cases: Vec<TrapCase> =
        [addresses::cases(), markup::cases(), responses::cases()].into_iter().flatten().collect();
    assert!(cases.len() >= 200, "{} cases", cases.len());
    let robots = "User-agent: *\nDisallow: /*/private/\nDisallow: /*.pdf$\nAllow: /*/private/open\n";
    let site = TrapSite::start(&cases, robots);
    let run = crawl(&site.server, &["--follow", "a, area, link[rel~=next], iframe, frame"]);
    let (table, differences) = site.compare();
    println!("{table}");
    assert_eq!(differences, 0, "{table}\n{run}");
}

/// An endless series of pages, and some pages beside it.
#[test]
fn endless_series_end_and_hide_no_page() {
    type Next = fn(u32) -> String;
    let series: [(&str, Next); 7] = [
        ("calendar by path", |n| format!("/cal/{}/{:02}", 2024 + n / 12, n % 12 + 1)),
        ("calendar by query", |n| format!("/cal?month={}-{:02}", 2024 + n / 12, n % 12 + 1)),
        ("counter", |n| format!("/list?page={n}")),
        ("filters", |n| format!("/list?color={}&size={}&sort={}", n % 7, n / 7 % 7, n / 49)),
        ("session in the path", |n| format!("/(S(x{n:04}y8f3a9c81d7e6))/page")),
        ("deeper and deeper", |n| format!("/x{}/", "/deeper".repeat(n as usize % 40 + 1))),
        ("ids in the path", |n| format!("/item/{n}/view")),
    ];
    for (name, next) in series {
        let count = std::sync::atomic::AtomicU32::new(0);
        let server = RawServer::start(move |conn| {
            loop {
                let head = conn.read_head()?;
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let n = count.fetch_add(2, std::sync::atomic::Ordering::Relaxed);
                let mut body = format!("<title>{target}</title><p>{target}</p>");
                if target == "/" {
                    body.push_str("<a href=/one>1</a><a href=/two/>2</a><a href='/three?x=1'>3</a>");
                }
                if !["/one", "/two/", "/three?x=1", "/robots.txt"].contains(&target.as_str()) {
                    let _ = write!(body, "<a href='{}'>n</a><a href='{}'>m</a>", next(n), next(n + 1));
                }
                let kind = if target == "/robots.txt" { "text/plain" } else { "text/html" };
                let body = if target == "/robots.txt" { String::new() } else { body };
                conn.send(format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                ))?;
            }
        });
        let run = crawl(&server, &["--follow", "a", "--trap-limit", "50", "--max-pages", "1000"]);
        assert_eq!(run.code, 0, "{name}: {run}");
        let heads = server.heads();
        let requested: BTreeSet<&str> = heads.iter().filter_map(|head| head.split(' ').nth(1)).collect();
        println!("{name}: {} requests", heads.len());
        for page in ["/one", "/two/", "/three?x=1"] {
            assert!(requested.contains(page), "{name}: {page} is lost");
        }
        assert!((6..400).contains(&heads.len()), "{name}: {} requests", heads.len());
    }
}
