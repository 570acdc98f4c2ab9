//! URLs that a public site names, by redirects, links and sitemaps, reach no private address: as literals, by names,
//! and by names whose addresses change.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{FinishedRun, NameServer, Namespace, Program, RawConnection, RawServer, in_namespace};

const TIERS: &[&str] =
    if cfg!(feature = "browser") { &["plain", "impersonate", "browser"] } else { &["plain", "impersonate"] };
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const NAMESPACE: Namespace<'static> = Namespace {
    addresses: &["93.184.216.34", "10.0.0.1", "169.254.169.254"],
    resolv_conf: NameServer::RESOLV_CONF,
    variables: &[],
};

/// Private hosts that a public site may name. A name's addresses depend on its first letters.
const PRIVATE_HOSTS: [&str; 9] = [
    "10.0.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "[::ffff:10.0.0.1]",
    "[::ffff:0:10.0.0.1]",
    "localhost",
    "private.shop.test",
    "metadata.shop.test",
    "loopback.shop.test",
];

/// A network with a public site, private servers, and a name server.
struct Network {
    names: NameServer,
    _servers: Vec<RawServer>,
    /// The requests at private addresses: address, path.
    visits: Arc<Mutex<Vec<String>>>,
}

impl Network {
    fn start() -> Self {
        let names =
            NameServer::start(|name, asked| match name.split(['.', '-']).next().unwrap_or_default() {
                "private" => vec![LOCAL],
                "metadata" => vec![METADATA],
                "loopback" => vec![Ipv4Addr::LOCALHOST],
                "mixed" => vec![LOCAL, PUBLIC],
                // The answers change after the first question.
                "then" => vec![if asked == 0 { PUBLIC } else { LOCAL }],
                "before" => vec![if asked == 0 { LOCAL } else { PUBLIC }],
                _ => vec![PUBLIC],
            });
        let visits = Arc::<Mutex<Vec<String>>>::default();
        let mut servers = vec![RawServer::start_at(SocketAddr::from((PUBLIC, 80)), serve_public)];
        for address in [LOCAL, METADATA, Ipv4Addr::LOCALHOST] {
            let visits = Arc::clone(&visits);
            servers.push(RawServer::start_at(SocketAddr::from((address, 80)), move |conn| {
                loop {
                    let head = conn.read_head()?;
                    let target = target_of(&head);
                    // The browser asks for the icon of a page that it may show.
                    if target != "/favicon.ico" {
                        visits.lock().expect("no panic").push(format!("{address}{target}"));
                    }
                    answer(conn, &target, "treasure")?;
                }
            }));
        }
        Self { names, _servers: servers, visits }
    }

    /// Returns and forgets the requests at private addresses.
    fn take_visits(&self) -> Vec<String> {
        std::mem::take(&mut self.visits.lock().expect("no panic"))
    }
}

fn target_of(head: &str) -> String {
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn serve_public(conn: &mut RawConnection) -> std::io::Result<()> {
    let head = conn.read_head()?;
    answer(conn, &target_of(&head), "public")
}

/// Answers a request for `/FORM?URL,URL…`, where the form names these URLs.
fn answer(conn: &mut RawConnection, target: &str, title: &str) -> std::io::Result<()> {
    let (path, urls) = target.split_once('?').unwrap_or((target, ""));
    let each = |form: &dyn Fn(&str) -> String| -> String { urls.split(',').map(form).collect() };
    let (status, kind, body) = match path {
        "/redirect" => (format!("302 Found\r\nlocation: {urls}"), "text/html", String::new()),
        "/refresh" => {
            let page =
                format!("<meta http-equiv=refresh content='0; url={urls}'><title>{title}</title>moved");
            ("200 OK".to_owned(), "text/html", page)
        }
        "/refresh-header" => {
            (format!("200 OK\r\nrefresh: 0; url={urls}"), "text/html", format!("<title>{title}</title>moved"))
        }
        "/swap" if title == "public" => {
            (format!("302 Found\r\nlocation: {urls}"), "text/html", String::new())
        }
        // Refused now, and perhaps accepted after a retry or on another tier.
        "/busy" | "/swap" => ("503 Service Unavailable".to_owned(), "text/html", "busy".repeat(100)),
        "/challenge" => (
            "403 Forbidden\r\ncf-mitigated: challenge".to_owned(),
            "text/html",
            "<title>Just a moment...</title><script>window._cf_chl_opt = {}</script>".to_owned(),
        ),
        "/links" => {
            let links = each(&|url| format!("<a href='{url}'>x</a><link rel=alternate href='{url}'>"));
            ("200 OK".to_owned(), "text/html", format!("<title>{title}</title>{links}"))
        }
        "/head" => {
            let links = each(&|url| {
                format!(
                    "<link rel=canonical href='{url}'><link rel=alternate href='{url}'>\
                     <meta http-equiv=refresh content='9; url={url}'><iframe src='{url}'></iframe>"
                )
            });
            (
                "200 OK".to_owned(),
                "text/html",
                format!("<title>{title}</title>{links}<p>{}", "text ".repeat(99)),
            )
        }
        "/sitemap.xml" => {
            let entries = each(&|url| format!("<url><loc>{url}</loc></url>"));
            ("200 OK".to_owned(), "text/xml", format!("<urlset>{entries}</urlset>"))
        }
        "/index.xml" => {
            let entries = each(&|url| format!("<sitemap><loc>{url}</loc></sitemap>"));
            ("200 OK".to_owned(), "text/xml", format!("<sitemapindex>{entries}</sitemapindex>"))
        }
        "/robots.txt" => {
            let lines =
                PRIVATE_HOSTS.map(|host| format!("Sitemap: http://{host}/robots-sitemap.xml\n")).concat();
            ("200 OK".to_owned(), "text/plain", format!("User-agent: *\nAllow: /\n{lines}"))
        }
        _ => ("200 OK".to_owned(), "text/html", format!("<title>{title}</title>")),
    };
    let length = body.len();
    let close = if title == "public" || path == "/swap" { "connection: close\r\n" } else { "" };
    conn.send(format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{close}\r\n{body}"
    ))
}

fn fetch(tier: &str, arguments: &[&str]) -> FinishedRun {
    let fixed = ["fetch", "--tier", tier, "--no-memory", "--format", "json"];
    crate::support::rungs(fixed.iter().chain(arguments))
}

/// Runs a batch of the lines. Returns its records.
fn batch(tier: &str, lines: &str, arguments: &[&str]) -> (Vec<Value>, FinishedRun) {
    let program = Program::new();
    fs::write(program.home().join("urls.txt"), lines).expect("the list is written");
    let fixed = ["batch", "--tier", tier, "--no-memory", "--no-progress", "--concurrency", "1"];
    let input = if lines.is_empty() { &[][..] } else { &["urls.txt"] };
    let run = program.run(fixed.iter().chain(input).chain(arguments));
    let records = run.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    (records, run)
}

fn record<'a>(records: &'a [Value], run: &FinishedRun, url: &str) -> &'a Value {
    let found = records.iter().find(|record| record["url"] == url);
    found.unwrap_or_else(|| panic!("no record of {url}\n{run}"))
}

/// Asserts that a record says why its URL was refused.
fn assert_refused(record: &Value, run: &FinishedRun) {
    let message = record["error"]["message"].as_str().unwrap_or_default();
    assert_eq!(record["error"]["kind"], "redirect", "{record}\n{run}");
    assert!(message.contains("private address of"), "{record}\n{run}");
}

fn host_name(url: &str) -> String {
    url::Url::parse(url).expect("a valid URL").host_str().expect("a host").to_owned()
}

#[test]
fn a_redirect_of_a_public_site_reaches_no_private_address() {
    in_namespace(module_path!(), "redirects", &NAMESPACE);
}

#[test]
#[ignore = "runs in a namespace"]
fn redirects() {
    let network = Network::start();
    for tier in TIERS {
        for (at, host) in PRIVATE_HOSTS.iter().enumerate() {
            // The first name keeps its address, or changes it after the first look-up.
            for first in ["www", "then"] {
                for robots in ["ignore", "obey"] {
                    // Each start of a browser takes seconds, and the variants differ in the router only.
                    if *tier == "browser" && at > 0 && (first, robots) != ("www", "ignore") {
                        continue;
                    }
                    let site = format!("http://{first}-{tier}-{at}-{robots}.test/redirect?http://{host}/x");
                    let run = fetch(tier, &["--retry", "0", "--robots", robots, &site]);
                    assert_eq!(
                        (run.code, &run.json()["error"]["kind"]),
                        (6, &"redirect".into()),
                        "{site}\n{run}"
                    );
                    assert!(run.stderr.contains("private address of"), "{site}\n{run}");
                    assert_eq!(network.take_visits(), [""; 0], "{site}\n{run}");
                    if robots == "ignore" {
                        // The browser tier looks it up before, to choose a context.
                        let (asked, most) = (
                            network.names.questions(&host_name(&site)),
                            if *tier == "browser" { 2 } else { 1 },
                        );
                        // A look-up may ask a second time: on a busy machine, answers are late.
                        assert!((1..=2 * most).contains(&asked), "the first name is looked up once: {asked}");
                    }
                }
            }
        }
        // The address that was checked is the one that is connected to.
        for host in [format!("then-{tier}.shop.test"), format!("mixed-{tier}.shop.test")] {
            let run = fetch(tier, &[&format!("http://www.test/redirect?http://{host}/x")]);
            assert_eq!((run.code, network.take_visits()), (0, Vec::new()), "{run}");
        }
        let trusted = format!("http://www.test/redirect?http://private-{tier}.test/x");
        assert_eq!(fetch(tier, &["--allow-private", &trusted]).code, 0);
        assert_eq!(network.take_visits(), ["10.0.0.1/x"], "the control: the servers can be reached");
        let own = "http://10.0.0.1/redirect?http://private.test/y";
        assert_eq!(fetch(tier, &[own]).code, 0);
        assert_eq!(network.take_visits().len(), 2, "a private site may lead to private addresses");
    }
}

#[test]
fn a_refresh_of_a_public_site_reaches_no_private_address() {
    in_namespace(module_path!(), "refreshes", &NAMESPACE);
}

#[test]
#[ignore = "runs in a namespace"]
fn refreshes() {
    let network = Network::start();
    for tier in TIERS {
        for (at, host) in PRIVATE_HOSTS.iter().enumerate() {
            for form in ["refresh", "refresh-header"] {
                // The browser tier leaves refreshes to Chromium, whose start takes seconds.
                if *tier == "browser" && at > 0 {
                    continue;
                }
                let site = format!("http://www-{tier}-{at}-{form}.test/{form}?http://{host}/x");
                let run = fetch(tier, &["--retry", "0", "--robots", "ignore", &site]);
                assert_ne!(run.code, 0, "{site}\n{run}");
                if *tier != "browser" {
                    assert!(run.stderr.contains("private address of"), "{site}\n{run}");
                }
                assert_eq!(network.take_visits(), [""; 0], "{site}\n{run}");
            }
        }
        let trusted = format!("http://www.test/refresh?http://private-{tier}.test/x");
        assert_eq!(fetch(tier, &["--allow-private", "--robots", "ignore", &trusted]).code, 0);
        assert_eq!(network.take_visits(), ["10.0.0.1/x"], "the control: the servers can be reached");
    }
}

#[test]
fn a_retry_or_another_tier_does_not_look_for_another_address_space() {
    in_namespace(module_path!(), "retries", &NAMESPACE);
}

#[test]
#[ignore = "runs in a namespace"]
fn retries() {
    let network = Network::start();
    for (name, arguments) in [
        ("then-a.test/busy", ["--tier", "plain", "--retry", "2"]),
        ("then-b.test/busy", ["--tier", "impersonate", "--retry", "2"]),
        ("then-c.test/challenge", ["--max-tier", "impersonate", "--retry", "0"]),
    ] {
        let fixed = ["fetch", "--no-memory", "--format", "json"];
        let site = format!("http://{name}");
        let run = crate::support::rungs(fixed.iter().chain(&arguments).chain([&&*site]));
        assert!(run.stderr.contains("private address of"), "{site}\n{run}");
        assert_eq!(network.take_visits(), [""; 0], "{site}");
        assert!(
            network.names.questions(&host_name(&site)) >= 2,
            "the name was looked up again: {site}\n{run}"
        );
    }
    // The other way round: a private site is busy, then its name leads to a public site, which redirects back.
    let site = "http://before.test/swap?http://10.0.0.1/secret";
    let run = crate::support::rungs(["fetch", "--no-memory", "--tier", "plain", "--retry", "1", site]);
    assert!(run.code == 6 && run.stderr.contains("private address of"), "{run}");
    assert_eq!(network.take_visits(), ["10.0.0.1/swap?http://10.0.0.1/secret"], "{run}");
}

#[test]
fn links_of_a_public_site_reach_no_private_address() {
    in_namespace(module_path!(), "links", &NAMESPACE);
}

#[test]
#[ignore = "runs in a namespace"]
fn links() {
    let network = Network::start();
    for tier in TIERS {
        let urls: Vec<String> = PRIVATE_HOSTS.iter().map(|host| format!("http://{host}/x")).collect();
        for form in ["links", "head"] {
            for first in ["www", "then"] {
                let seed = format!("http://{first}-{tier}-{form}.shop.test/{form}?{}", urls.join(","));
                let (records, run) = batch(tier, &seed, &["--follow", "a, link", "--follow-external"]);
                assert_eq!(network.take_visits(), [""; 0], "{run}");
                // A name whose addresses change may fail after its robots.txt, but not reach another address.
                if first == "www" {
                    assert_eq!(record(&records, &run, &seed)["status"], 200, "{run}");
                }
                if first == "www" && form == "links" {
                    for url in &urls {
                        let canonical = url::Url::parse(url).expect("a valid URL");
                        assert_refused(record(&records, &run, canonical.as_str()), &run);
                    }
                    assert_eq!(records.len(), urls.len() + 1, "{run}");
                }
            }
        }
        // In the scope of the site: a subdomain that leads to a private address, and one that changes.
        let seed = format!(
            "http://www.shop.test/links?http://private-{tier}.shop.test/x,http://then-{tier}.shop.test/x"
        );
        let follow = ["--follow", "a", "--robots", "ignore"];
        let (records, run) = batch(tier, &seed, &follow);
        assert_eq!(network.take_visits(), [""; 0], "{run}");
        assert_refused(record(&records, &run, &format!("http://private-{tier}.shop.test/x")), &run);
        assert_eq!(
            record(&records, &run, &format!("http://then-{tier}.shop.test/x"))["status"],
            200,
            "{run}"
        );
        // A link may redirect, and a followed page may have links of its own.
        let nested = "http://www.shop.test/links?http://other.shop.test/redirect?http://10.0.0.1/x";
        let (_, run) = batch(tier, nested, &follow);
        assert_eq!(network.take_visits(), [""; 0], "{run}");
        for allow in [&["--allow", "private.shop.test"][..], &["--allow-private"], &["--allow", "shop.test"]]
        {
            let seed = "http://www.shop.test/links?http://private.shop.test/x";
            let (records, run) = batch(tier, seed, &[&follow[..], allow].concat());
            assert_eq!(network.take_visits(), ["10.0.0.1/x"], "{allow:?}\n{run}");
            assert_eq!(record(&records, &run, "http://private.shop.test/x")["status"], 200, "{run}");
        }
        // A private site's links are the user's own network, but a public page between restricts them again.
        let seed = "http://10.0.0.1/links?http://private.shop.test/x,http://www.test/links?http://10.0.0.1/y";
        let (_, run) = batch(tier, seed, &["--follow", "a", "--follow-external", "--robots", "ignore"]);
        let visits = network.take_visits();
        assert_eq!(visits.len(), 2, "{visits:?}\n{run}");
        assert!(
            visits.contains(&"10.0.0.1/x".to_owned()) && !visits.contains(&"10.0.0.1/y".to_owned()),
            "{visits:?}"
        );
    }
}

#[test]
fn listed_urls_are_the_users_own_also_if_a_public_site_links_to_them() {
    in_namespace(module_path!(), "listed", &NAMESPACE);
}

#[test]
#[ignore = "runs in a namespace"]
fn listed() {
    let network = Network::start();
    for tier in TIERS {
        let (site, own) =
            ("http://www.shop.test/links?http://private.shop.test/own", "http://private.shop.test/own");
        for lines in [format!("{site}\n{own}"), format!("{own}\n{site}")] {
            let (records, run) = batch(tier, &lines, &["--follow", "a", "--robots", "ignore"]);
            assert_eq!(network.take_visits(), ["10.0.0.1/own"], "{run}");
            assert!(records.iter().any(|record| record["url"] == own && record["status"] == 200), "{run}");
        }
        // The connection that the user's own fetch left open is not used for a URL of the public site.
        let lines = format!("{own}\nhttp://www.shop.test/redirect?http://private.shop.test/other\n");
        let (records, run) = batch(tier, &lines, &["--robots", "ignore"]);
        assert_eq!(network.take_visits(), ["10.0.0.1/own"], "{run}");
        let refused = record(&records, &run, "http://www.shop.test/redirect?http://private.shop.test/other");
        assert_refused(refused, &run);
    }
}

#[test]
fn sitemaps_of_a_public_site_reach_no_private_address() {
    in_namespace(module_path!(), "sitemaps", &NAMESPACE);
}

#[test]
#[ignore = "runs in a namespace"]
fn sitemaps() {
    let network = Network::start();
    for tier in TIERS {
        let urls: Vec<String> = PRIVATE_HOSTS.iter().map(|host| format!("http://{host}/x")).collect();
        let maps: Vec<String> =
            PRIVATE_HOSTS.iter().map(|host| format!("http://{host}/sitemap.xml")).collect();
        for first in ["www", "then"] {
            for (at, sitemap) in [
                format!("sitemap.xml?{}", urls.join(",")),
                format!("index.xml?{}", maps.join(",")),
                format!("index.xml?http://public.shop.test/sitemap.xml?{}", urls[0]),
                format!("redirect?{}", maps[0]),
                "robots.txt".to_owned(),
            ]
            .iter()
            .enumerate()
            {
                let sitemap = format!("http://{first}-{at}-{tier}.shop.test/{sitemap}");
                let (records, run) = batch(tier, "", &["--sitemap", &sitemap]);
                assert_eq!(network.take_visits(), [""; 0], "{sitemap}\n{run}");
                if first == "www" && at == 0 {
                    let skipped = records.iter().filter(|record| !record["error"].is_null()).count();
                    assert_eq!(skipped, urls.len(), "each entry is reported\n{run}");
                    assert_refused(record(&records, &run, "http://private.shop.test/x"), &run);
                }
                if first == "www" && at == 1 {
                    assert!(run.to_string().contains("private address of `private.shop.test`"), "{run}");
                }
            }
        }
        // Names that change between look-ups, in the scope of the site.
        let entries = format!("http://then-{tier}.shop.test/x,http://mixed-{tier}.shop.test/x");
        let sitemap = format!("http://www.shop.test/sitemap.xml?{entries}");
        let (_, run) = batch(tier, "", &["--sitemap", &sitemap, "--robots", "ignore"]);
        assert_eq!((run.code, network.take_visits()), (0, Vec::new()), "{run}");
        // The controls: allowed, and the user's own.
        let trusted = "http://www.shop.test/sitemap.xml?http://private.shop.test/x";
        let (_, run) = batch(tier, "", &["--sitemap", trusted, "--robots", "ignore", "--allow-private"]);
        assert_eq!(network.take_visits(), ["10.0.0.1/x"], "{run}");
        let own = "http://private.shop.test/sitemap.xml?http://private.shop.test/x";
        let (_, run) = batch(tier, "", &["--sitemap", own, "--robots", "ignore"]);
        assert_eq!((run.code, network.take_visits().len()), (0, 2), "{run}");
    }
}

#[test]
fn a_resumed_crawl_remembers_that_a_public_site_named_a_link() {
    in_namespace(module_path!(), "resumed", &NAMESPACE);
}

#[test]
#[ignore = "runs in a namespace"]
fn resumed() {
    let network = Network::start();
    let program = Program::new();
    let links: Vec<String> = (0..20).map(|n| format!("http://private.shop.test/{n}")).collect();
    fs::write(program.home().join("urls.txt"), format!("http://www.shop.test/links?{}\n", links.join(",")))
        .expect("the list is written");
    let run = |output: &str| {
        let fixed = ["batch", "urls.txt", "--out", "out.jsonl", "--follow", "a", "--robots", "ignore"];
        let run = program.run(fixed.iter().chain(&["--tier", "plain", "--no-memory", "--no-progress"]));
        (fs::read_to_string(program.home().join(output)).expect("records were written"), run)
    };
    let (records, first) = run("out.jsonl");
    assert_eq!(records.lines().count(), 21, "{first}");
    // The state after a crash that lost all but the first commit: the page is finished, its links are not.
    let journal = program.home().join("out.jsonl.ckpt");
    let bytes = fs::read(&journal).expect("the journal is there");
    truncate_after_discoveries(&journal, &bytes);
    let (records, again) = run("out.jsonl");
    assert!(again.stderr.contains("resuming"), "{again}");
    assert_eq!(records.lines().count(), 21, "{again}");
    assert!(records.matches("private address of").count() >= 20, "{again}");
    assert_eq!(network.take_visits(), [""; 0], "{again}");
}

/// Cuts the journal after the commit that follows its first discoveries. A frame has a length, a checksum and a kind.
fn truncate_after_discoveries(path: &std::path::Path, bytes: &[u8]) {
    let mut at = bytes.iter().position(|byte| *byte == b'\n').expect("a first line") + 1;
    let mut has_discoveries = false;
    loop {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
        let kind = bytes[at + 8];
        at += 8 + length;
        has_discoveries |= kind == 8;
        if has_discoveries && kind == 3 {
            break;
        }
    }
    let file = fs::File::options().write(true).open(path).expect("the journal can be opened");
    file.set_len(at as u64).expect("the journal can be cut");
}
