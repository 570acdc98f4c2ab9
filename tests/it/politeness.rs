//! robots.txt, pace, Retry-After and failing hosts, by servers that see what they are asked and when.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rungs::lab::{Authority, Heard, Recorder, Reply};
use rungs::{Bounds, Error, ErrorKind, Fetcher, FetcherBuilder, Pace, Page, Proxy, Robots, Tier};

use crate::support::{self, Certs, Nginx, RawServer, Site, Squid, rungs};

const PAGE: &str = "<!doctype html><title>a page</title><p>A page with some words in it.</p>";
const FORBIDDING: &str = "User-agent: *\nDisallow: /private\n";

fn polite() -> FetcherBuilder {
    Fetcher::builder().max_tier(Tier::Impersonate).robots(Robots::Obey)
}

fn url(server: &Recorder, path: &str) -> String {
    format!("http://{}{path}", server.addr())
}

/// The paths a server was asked for, connection by connection.
fn paths(server: &Recorder) -> Vec<String> {
    let connections = server.connections();
    connections.iter().flat_map(|one| &one.requests).map(|request| request.path.clone()).collect()
}

fn tried(error: &Error) -> usize {
    error.trace().map_or(0, |trace| trace.attempts().len())
}

/// A site whose robots.txt is `robots`, and whose every other page is there.
async fn site(robots: impl Fn() -> Reply + Send + Sync + 'static) -> Recorder {
    let reply = move |heard: &Heard| match heard.request.path.as_str() {
        "/robots.txt" => robots(),
        _ => Reply::html(200, PAGE),
    };
    Recorder::builder().start(reply).await.expect("it listens")
}

fn text(text: impl Into<String>) -> Reply {
    Reply::status(200).header("content-type", "text/plain").body(text.into())
}

#[test]
fn a_forbidden_url_exits_9_naming_rule_and_file_and_is_not_asked_for() {
    let server = RawServer::start(|talk| {
        talk.head()?;
        let length = FORBIDDING.len();
        talk.send(format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{FORBIDDING}"
        ))
    });
    let forbidden = server.url("/private/page");
    let run = rungs(["fetch", "--robots", "obey", "--format", "json", &forbidden]);
    assert_eq!(run.code, 9, "{run}");
    let got = run.json();
    assert_eq!(
        (got["error"]["kind"].as_str(), got["robots"].as_str()),
        (Some("robots"), Some("obeyed")),
        "{run}"
    );
    assert_eq!(got["attempts"].as_array().map(Vec::len), Some(0), "{run}");
    let file = server.url("/robots.txt");
    let told = format!("error: robots.txt forbids it: `Disallow: /private` (User-agent: *) in {file}\n");
    assert!(run.stderr.contains(&told) && run.stderr.contains("hint: `--robots ignore`"), "{run}");
    assert!(server.heads().iter().all(|head| head.starts_with("GET /robots.txt ")), "{:?}", server.heads());

    let run = rungs(["fetch", "--robots", "ignore", "--trace", "--format", "json", &forbidden]);
    assert_eq!((run.code, run.json()["robots"].as_str()), (0, Some("ignored")), "{run}");
    assert!(run.stderr.contains("robots.txt ignored"), "{run}");
    let run = rungs(["fetch", "--format", "json", &forbidden]);
    assert_eq!((run.code, run.json()["robots"].as_str()), (0, Some("ignored")), "a page by hand: {run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_for_robots_txt_decides_as_the_rfc_has_it() {
    let filler = |kib: usize| format!("{}\n", "#".repeat(1023)).repeat(kib);
    let late = format!("{}{FORBIDDING}", filler(600));
    let huge = format!("{FORBIDDING}{}", filler(4096));
    let garbage: Vec<u8> =
        (0..20_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let answers: Vec<(&str, Reply, bool)> = vec![
        ("a rule", text(FORBIDDING), false),
        ("nothing", text(""), true),
        ("a page", Reply::html(200, PAGE), true),
        ("garbage", Reply::status(200).body(garbage), true),
        ("a rule past the end", text(late), true),
        ("a rule at the start of 4 MiB", text(huge), false),
        ("another's rule", text("User-agent: other\nDisallow: /"), true),
        ("403", Reply::html(403, PAGE), true),
        ("404", Reply::html(404, PAGE), true),
        ("429", Reply::html(429, PAGE), false),
        ("500", Reply::html(500, PAGE), false),
        ("503", Reply::html(503, PAGE), false),
    ];
    for (name, reply, allowed) in answers {
        let server = site(move || reply.clone()).await;
        let fetcher = polite().build().expect("good settings");
        let got = fetcher.get(url(&server, "/private")).send().await;
        assert_eq!(
            got.as_ref().map(|_| ()).map_err(Error::kind),
            allowed.then_some(()).ok_or(ErrorKind::Robots),
            "{name}"
        );
        let expected: &[&str] = if allowed { &["/robots.txt", "/private"] } else { &["/robots.txt"] };
        assert_eq!(paths(&server), expected, "{name}");
        // What was heard holds for a while.
        let again = fetcher.get(url(&server, "/private")).send().await;
        assert_eq!(again.is_ok(), allowed, "{name}");
        assert_eq!(paths(&server).iter().filter(|path| *path == "/robots.txt").count(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn robots_txt_that_cannot_be_had_forbids_and_says_why() {
    let bounds = {
        let mut bounds = Bounds::default();
        bounds.first_byte = Duration::from_millis(300);
        bounds.read_idle = Duration::from_millis(300);
        bounds
    };
    for (server, why) in [
        (RawServer::start(support::never_answers), "no answer came"),
        (RawServer::start(support::closes_at_once), ""),
        (RawServer::start(support::stalled_body), ""),
        (RawServer::start(support::garbage), ""),
    ] {
        let fetcher = polite().bounds(bounds).build().expect("good settings");
        let error = fetcher.get(server.url("/page")).send().await.expect_err("nothing is allowed");
        assert_eq!((error.kind(), tried(&error)), (ErrorKind::Robots, 0), "{error:?}");
        assert!(error.to_string().contains("cannot be had") && error.to_string().contains(why), "{error}");
        let asked = server.connections();
        assert_eq!(
            fetcher.get(server.url("/other")).send().await.map_err(|error| error.kind()).err(),
            Some(ErrorKind::Robots)
        );
        assert_eq!(server.connections(), asked, "it is not asked again at once");
        assert!(
            server.heads().iter().all(|head| head.starts_with("GET /robots.txt ")),
            "{:?}",
            server.heads()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_redirects_to_robots_txt_are_followed_and_more_are_as_if_it_were_not_there() {
    for (redirects, allowed) in [(5, false), (6, true)] {
        let reply = move |heard: &Heard| {
            let step = heard.request.path.strip_prefix("/step/").and_then(|text| text.parse().ok());
            match (heard.request.path.as_str(), step) {
                ("/private", _) => Reply::html(200, PAGE),
                (_, step) if step.unwrap_or(0) < redirects => {
                    Reply::redirect(302, format!("/step/{}", step.unwrap_or(0) + 1))
                }
                _ => text(FORBIDDING),
            }
        };
        let server = Recorder::builder().start(reply).await.expect("it listens");
        let fetcher = polite().build().expect("good settings");
        let got = fetcher.get(url(&server, "/private")).send().await;
        assert_eq!(got.is_ok(), allowed, "{redirects} redirects: {:?}", got.err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn robots_txt_is_asked_for_once_by_the_honest_client_on_a_connection_of_its_own() {
    let authority = Arc::new(Authority::new(&["one.test"]).expect("a CA can be made"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.ca_pem()).expect("the CA is written");
    let reply = |heard: &Heard| match heard.request.path.as_str() {
        "/robots.txt" => text(FORBIDDING).header("set-cookie", "from=robots; Path=/"),
        _ => Reply::html(200, PAGE).header("set-cookie", "seen=yes; Path=/"),
    };
    for protocols in [&["h2", "http/1.1"][..], &["http/1.1"]] {
        let recorder = Recorder::builder().tls(Arc::clone(&authority), protocols);
        let server = recorder.start(reply).await.expect("it listens");
        let port = server.addr().port();
        let fetcher = polite()
            .min_tier(Tier::Impersonate)
            .ca_file(&ca)
            .resolve("one.test", port, [127, 0, 0, 1].into())
            .build()
            .expect("good settings");
        let get = |path: &str| fetcher.get(format!("https://one.test:{port}{path}")).send();
        for page in join_all((0..10).map(|number| get(&format!("/page/{number}")))).await {
            assert_eq!(page.expect("a page").tier(), Tier::Impersonate);
        }
        assert_eq!(get("/private").await.expect_err("forbidden").kind(), ErrorKind::Robots);
        let connections = server.connections();
        let (honest, dressed): (Vec<_>, Vec<_>) = connections
            .iter()
            .filter(|connection| !connection.requests.is_empty())
            .partition(|connection| connection.requests[0].path == "/robots.txt");
        assert_eq!((honest.len(), honest[0].requests.len()), (1, 1), "once, alone");
        let asked = &honest[0].requests[0];
        let agent = asked.header("user-agent").unwrap_or_default();
        assert!(agent.starts_with("rungs/") && agent.contains("+https://"), "{agent}");
        assert_eq!(asked.header("cookie"), None);
        assert!(
            honest[0].ja4.is_some() && honest[0].ja4 != dressed[0].ja4,
            "nor does it wear the browser's hello"
        );
        for request in dressed.iter().flat_map(|connection| &connection.requests) {
            assert!(
                request.header("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/")),
                "{request:?}"
            );
            assert_eq!(request.cookie("from"), None, "what robots.txt set is nobody's");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_to_where_robots_txt_forbids() {
    let there = site(|| text(FORBIDDING)).await;
    let target = url(&there, "/private");
    let reply = move |heard: &Heard| match heard.request.path.as_str() {
        "/robots.txt" => text("User-agent: *\nDisallow: /here"),
        "/out" => Reply::redirect(302, target.clone()),
        "/in" => Reply::redirect(302, "/here"),
        _ => Reply::html(200, PAGE),
    };
    let here = Recorder::builder().start(reply).await.expect("it listens");
    let fetcher = polite().build().expect("good settings");
    for path in ["/out", "/in"] {
        let error = fetcher.get(url(&here, path)).send().await.expect_err("forbidden");
        assert_eq!((error.kind(), tried(&error)), (ErrorKind::Robots, 1), "{error:?}");
    }
    assert_eq!(paths(&there), ["/robots.txt"]);
    assert_eq!(paths(&here), ["/robots.txt", "/out", "/in"]);
    fetcher.get(url(&here, "/out")).robots(Robots::Ignore).send().await.expect("a page");
    assert_eq!(paths(&there), ["/robots.txt", "/private"]);
}

#[cfg(feature = "browser")]
#[tokio::test(flavor = "multi_thread")]
async fn the_browser_does_not_even_ask_where_robots_txt_forbids() {
    let reply = |heard: &Heard| match heard.request.path.as_str() {
        "/robots.txt" => text(FORBIDDING),
        "/out" => Reply::redirect(302, "/private"),
        "/script" => Reply::html(200, "<title>on</title><script>location = '/private'</script>"),
        "/in" => Reply::redirect(302, "/page"),
        _ => Reply::html(200, PAGE),
    };
    let there = site(|| text("")).await;
    let framed = format!("{PAGE}<iframe src={}></iframe>", url(&there, "/frame"));
    let reply = move |heard: &Heard| match heard.request.path.as_str() {
        "/framed" => Reply::html(200, framed.clone()),
        _ => reply(heard),
    };
    let server = Recorder::builder().start(reply).await.expect("it listens");
    let fetcher = Fetcher::builder().robots(Robots::Obey).build().expect("good settings");
    for path in ["/out", "/script"] {
        let error = fetcher.get(url(&server, path)).tier(Tier::Browser).send().await.expect_err("forbidden");
        assert_eq!(error.kind(), ErrorKind::Robots, "{path}: {error:?}");
    }
    for path in ["/page", "/in"] {
        let page = fetcher.get(url(&server, path)).header("x-mine", "1").tier(Tier::Browser).send().await;
        page.expect("a page");
    }
    assert!(!paths(&server).contains(&"/private".to_owned()), "{:?}", paths(&server));
    // What the caller sends to the site goes to no other that its pages show.
    fetcher
        .get(url(&server, "/framed"))
        .header("x-mine", "1")
        .tier(Tier::Browser)
        .send()
        .await
        .expect("a page");
    let mine = |server: &Recorder| {
        let connections = server.connections();
        let mut all = connections.iter().flat_map(|one| &one.requests);
        all.any(|request| request.header("x-mine").is_some())
    };
    assert!(paths(&there).contains(&"/frame".to_owned()) && mine(&server) && !mine(&there));
    // Without robots.txt it is asked for: the count above can fail.
    fetcher
        .get(url(&server, "/out"))
        .robots(Robots::Ignore)
        .tier(Tier::Browser)
        .send()
        .await
        .expect("a page");
    assert!(paths(&server).contains(&"/private".to_owned()));
    fetcher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn robots_txt_goes_through_the_proxy_of_the_fetch() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squid = Squid::start();
    let proxy: Proxy = squid.url().parse().expect("a proxy");
    let fetcher = polite().proxy(proxy).build().expect("good settings");
    fetcher.get(nginx.url(Site::Clear, "/echo")).send().await.expect("a page");
    let asked = nginx.visits(2);
    assert_eq!(squid.passages(2).len(), 2, "both by the proxy: {asked:?}");
    // A proxy that is dead is blamed itself, and not remembered as the site's word.
    let dead: Proxy = "http://127.0.0.1:9".parse().expect("a proxy");
    let error = fetcher.get(nginx.url(Site::H1, "/echo")).proxy(dead).send().await.expect_err("no proxy");
    assert_eq!(error.kind(), ErrorKind::Proxy, "{error:?}");
}

/// A site that answers 429 once, and knows who comes before the time it named.
fn limiting(seconds: u32, early: Arc<AtomicUsize>) -> impl Fn(&Heard) -> Reply + Send + Sync {
    let until: Mutex<Option<Instant>> = Mutex::new(None);
    move |_| {
        let mut until = until.lock().expect("nobody panicked");
        match *until {
            Some(until) => {
                early.fetch_add(usize::from(Instant::now() < until), Ordering::SeqCst);
                Reply::html(200, PAGE)
            }
            None => {
                *until = Some(Instant::now() + Duration::from_secs(seconds.into()));
                Reply::html(429, "<title>slow down</title>").header("retry-after", seconds.to_string())
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_named_a_time_is_asked_by_nobody_before_it() {
    let early = Arc::new(AtomicUsize::new(0));
    let server = Recorder::builder().start(limiting(2, Arc::clone(&early))).await.expect("it listens");
    let fetcher = Fetcher::builder().max_tier(Tier::Impersonate).retries(0).build().expect("good settings");
    let error = fetcher.get(url(&server, "/first")).send().await.expect_err("too fast");
    assert_eq!((error.kind(), tried(&error)), (ErrorKind::Blocked, 1), "{error:?}");
    // Who may not wait so long fails at once, and asks nothing.
    let hurried = fetcher.get(url(&server, "/hurried")).timeout(Duration::from_millis(500)).send();
    let error = hurried.await.expect_err("it may not wait");
    assert_eq!(error.kind(), ErrorKind::Blocked, "{error:?}");
    assert!(error.to_string().contains("wants to be left alone for another"), "{error}");
    // Other sessions, another tier, robots.txt: all wait.
    let others = (0..4).map(|number| {
        let mut request = fetcher.session(&number.to_string()).get(url(&server, &format!("/{number}")));
        if number == 1 {
            request = request.tier(Tier::Impersonate);
        }
        if number == 2 {
            request = request.robots(Robots::Obey);
        }
        request.send()
    });
    let pages: Vec<Page> = join_all(others).await.into_iter().map(|page| page.expect("a page")).collect();
    assert_eq!(early.load(Ordering::SeqCst), 0, "asked before its time");
    assert!(pages[0].trace().attempts()[0].waited > Duration::ZERO, "and the trace says that it waited");
    assert!(!paths(&server).contains(&"/hurried".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_too_far_off_fails_the_next_fetch_at_once() {
    let early = Arc::new(AtomicUsize::new(0));
    let server = Recorder::builder().start(limiting(3600, Arc::clone(&early))).await.expect("it listens");
    let fetcher = Fetcher::builder().max_tier(Tier::Impersonate).build().expect("good settings");
    fetcher.get(url(&server, "/")).send().await.expect_err("an hour is too long");
    let error = fetcher.get(url(&server, "/")).send().await.expect_err("and still is");
    assert_eq!((error.kind(), paths(&server).len()), (ErrorKind::Blocked, 1), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.starts_with("try again in 3")), "{error:?}");
    // Nor does a redirect lead there.
    let target = url(&server, "/");
    let other =
        Recorder::builder().start(move |_| Reply::redirect(302, target.clone())).await.expect("it listens");
    let error = fetcher.get(url(&other, "/")).send().await.expect_err("the other host rests");
    assert_eq!((error.kind(), paths(&server).len()), (ErrorKind::Blocked, 1), "{error:?}");
}

/// Opened by the test; a server waits before it.
#[derive(Default)]
struct Door(Mutex<bool>, Condvar);

impl Door {
    fn open(&self) {
        *self.0.lock().expect("nobody panicked") = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let open = self.0.lock().expect("nobody panicked");
        drop(self.1.wait_while(open, |open| !*open).expect("nobody panicked"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_host_and_a_limiting_one_hold_up_no_third() {
    let door = Arc::new(Door::default());
    let slow = RawServer::start({
        let door = Arc::clone(&door);
        move |talk| {
            talk.head()?;
            door.wait();
            talk.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        }
    });
    let early = Arc::new(AtomicUsize::new(0));
    let limiting = Recorder::builder().start(limiting(1, Arc::clone(&early))).await.expect("it listens");
    let quick = site(|| text("")).await;
    let mut bounds = Bounds::default();
    (bounds.first_byte, bounds.http_total) = (Duration::from_secs(60), Duration::from_secs(120));
    let fetcher = Fetcher::builder()
        .max_tier(Tier::Impersonate)
        .retries(0)
        .bounds(bounds)
        .build()
        .expect("good settings");
    // Those under way when the word comes cannot be called back: it comes before the others set out.
    let refused = fetcher.get(url(&limiting, "/refused")).send().await;
    assert_eq!(refused.map_err(|error| error.kind()).err(), Some(ErrorKind::Blocked));
    let quick_done = AtomicBool::new(false);
    // More than may be asked of the slow host at once, and all of them first in line.
    let slow_ones = join_all((0..20).map(|number| fetcher.get(slow.url(&format!("/{number}"))).send()));
    let limited = join_all((0..8).map(|number| fetcher.get(url(&limiting, &format!("/{number}"))).send()));
    let quick_ones = async {
        for page in
            join_all((0..60).map(|number| fetcher.get(url(&quick, &format!("/{number}"))).send())).await
        {
            page.expect("a page");
        }
        quick_done.store(true, Ordering::SeqCst);
        // Only now does the slow host answer: had it been needed, this would never be reached.
        assert!(slow.connections() <= 6, "{} at once", slow.connections());
        door.open();
    };
    let (slow_ones, limited, ()) = tokio::join!(slow_ones, limited, quick_ones);
    assert!(quick_done.load(Ordering::SeqCst));
    assert_eq!(slow_ones.into_iter().flatten().count(), 20);
    assert_eq!(limited.into_iter().flatten().count(), 8);
    assert_eq!((paths(&quick).len(), early.load(Ordering::SeqCst)), (60, 0));
}

/// Counts who is there at the same time.
#[derive(Default)]
struct Crowd(AtomicUsize, AtomicUsize);

impl Crowd {
    fn stay(&self, time: Duration) {
        let now = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.1.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(time);
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_takes_a_place_at_the_host_it_leads_to_and_gives_up_its_own() {
    let crowd = Arc::new(Crowd::default());
    let there = RawServer::start({
        let crowd = Arc::clone(&crowd);
        move |talk| loop {
            talk.head()?;
            crowd.stay(Duration::from_millis(50));
            talk.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        }
    });
    let target = there.url("/");
    let leading = |target: String| {
        RawServer::start(move |talk| {
            loop {
                talk.head()?;
                talk.send(format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n"))?;
            }
        })
    };
    let doors: Vec<RawServer> = (0..8).map(|_| leading(target.clone())).collect();
    let fetcher = Fetcher::builder().max_tier(Tier::Plain).retries(0);
    let fetcher = fetcher.pace(Pace::new().concurrency(2)).build().expect("good settings");
    let asked = doors.iter().flat_map(|door| (0..2).map(|number| door.url(&format!("/{number}"))));
    for page in join_all(asked.map(|url| fetcher.get(url).send())).await {
        page.expect("a page");
    }
    assert_eq!(crowd.most(), 2, "as many at once as the pace allows, redirected there or not");

    // Two hosts that lead to each other, and one place at each: nobody waits for ever.
    let first = Arc::new(Mutex::new(String::new()));
    let second = {
        let first = Arc::clone(&first);
        RawServer::start(move |talk| {
            loop {
                let head = talk.head()?;
                std::thread::sleep(Duration::from_millis(20));
                if head.starts_with("GET /end") {
                    talk.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
                    continue;
                }
                let to = first.lock().expect("nobody panicked").clone();
                talk.send(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))?;
            }
        })
    };
    let end = second.url("/end");
    let other = RawServer::start(move |talk| {
        loop {
            let head = talk.head()?;
            std::thread::sleep(Duration::from_millis(20));
            if head.starts_with("GET /end") {
                talk.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
                continue;
            }
            talk.send(format!("HTTP/1.1 302 Found\r\nlocation: {end}\r\ncontent-length: 0\r\n\r\n"))?;
        }
    });
    *first.lock().expect("nobody panicked") = other.url("/end");
    let fetcher = Fetcher::builder().max_tier(Tier::Plain).retries(0);
    let fetcher = fetcher.pace(Pace::new().concurrency(1)).build().expect("good settings");
    let asked = (0..6).map(|number| [&other, &second][number % 2].url(&format!("/{number}")));
    for page in join_all(asked.map(|url| fetcher.get(url).send())).await {
        page.expect("a page");
    }
}

/// How many pages a second of `quick`, asked `times` times.
async fn rate(fetcher: &Fetcher, quick: &Recorder, times: u32) -> f64 {
    let began = Instant::now();
    for page in join_all((0..times).map(|number| fetcher.get(url(quick, &format!("/{number}"))).send())).await
    {
        page.expect("a page");
    }
    f64::from(times) / began.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --test it -- --ignored --nocapture throughput_beside"]
async fn throughput_beside_a_slow_host_and_a_limiting_one() {
    let quick = site(|| text("")).await;
    let slow = RawServer::start(|talk| {
        loop {
            talk.head()?;
            std::thread::sleep(Duration::from_secs(5));
            talk.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        }
    });
    let mut ratios = Vec::new();
    for round in 0..8 {
        let early = Arc::new(AtomicUsize::new(0));
        let limiting = Recorder::builder().start(limiting(3, Arc::clone(&early))).await.expect("it listens");
        let fetcher = || Fetcher::builder().max_tier(Tier::Plain).build().expect("good settings");
        // By turns first and second: a machine that gets warm favours neither.
        let before = if round % 2 == 0 { Some(rate(&fetcher(), &quick, 600).await) } else { None };
        let busy = fetcher();
        let ask = |url: String| {
            let asked = busy.get(url);
            tokio::spawn(async move { asked.send().await.is_ok() })
        };
        // Those under way when the word comes cannot be called back: it comes before the others set out.
        let mut limited = vec![ask(url(&limiting, "/first"))];
        while paths(&limiting).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        limited.extend((0..7).map(|number| ask(url(&limiting, &format!("/{number}")))));
        let known = slow.connections();
        let slowly: Vec<_> = (0..30).map(|number| ask(slow.url(&format!("/{number}")))).collect();
        while slow.connections() < known + 6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let beside = rate(&busy, &quick, 600).await;
        slowly.iter().for_each(tokio::task::JoinHandle::abort);
        let got = join_all(limited).await.into_iter().filter(|got| matches!(got, Ok(true))).count();
        let alone = match before {
            Some(alone) => alone,
            None => rate(&fetcher(), &quick, 600).await,
        };
        let early = early.load(Ordering::SeqCst);
        assert_eq!((got, early), (8, 0), "all of the limiting host's, and none before its time");
        ratios.push(beside / alone);
        println!(
            "round {round}: {alone:.0} pages/s alone, {beside:.0} beside the others: {:.2}; early: {early}",
            beside / alone
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio: {:.2}", f64::midpoint(ratios[3], ratios[4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crawl_delay_and_a_pace_part_requests() {
    for (robots, pace) in [
        ("User-agent: *\nCrawl-delay: 0.4", Pace::new()),
        ("", Pace::new().interval(Duration::from_millis(400))),
    ] {
        let times = Arc::new(Mutex::new(Vec::new()));
        let reply = {
            let times = Arc::clone(&times);
            move |heard: &Heard| {
                if heard.request.path == "/robots.txt" {
                    return text(robots);
                }
                times.lock().expect("nobody panicked").push(Instant::now());
                Reply::html(200, PAGE)
            }
        };
        let server = Recorder::builder().start(reply).await.expect("it listens");
        let fetcher = polite().pace(pace).build().expect("good settings");
        let began = Instant::now();
        let pages = join_all((0..4).map(|_| fetcher.get(url(&server, "/")).send())).await;
        let mut waits: Vec<_> =
            pages.iter().map(|page| page.as_ref().expect("a page").trace().attempts()[0].waited).collect();
        waits.sort();
        let times = times.lock().expect("nobody panicked");
        for (number, time) in (0_u32..).zip(times.iter()) {
            assert!(*time >= began + Duration::from_millis(400) * number, "{robots}: request {number}");
        }
        assert_eq!(times.len(), 4);
        assert!(waits[3] > waits[0], "{waits:?}");
    }
}

#[test]
fn the_flags_set_the_pace_and_are_checked() {
    let server = RawServer::start(support::keep_answering);
    let began = Instant::now();
    let (one, two, three) = (server.url("/1"), server.url("/2"), server.url("/3"));
    let run = rungs([
        "fetch",
        "--tier",
        "plain",
        "--rate",
        "5/s",
        "--host-concurrency",
        "1",
        "--format",
        "jsonl",
        &one,
        &two,
        &three,
    ]);
    assert_eq!(run.code, 0, "{run}");
    let last: serde_json::Value =
        serde_json::from_str(run.text().lines().last().expect("three lines")).expect("JSON");
    assert!(last["attempts"][0]["waited_ms"].as_f64().is_some_and(|waited| waited > 0.0), "{run}");
    assert!(began.elapsed() >= Duration::from_millis(400), "never sooner than the rate allows");
    for (flags, word) in [
        (["--rate", "often"], "--rate: `often` is not a rate, as in 2/s"),
        (["--host-concurrency", "0"], "--host-concurrency"),
        (["--robots", "maybe"], "--robots"),
    ] {
        let run = rungs(["fetch"].into_iter().chain(flags).chain([one.as_str()]));
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains(word), "{run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_keeps_failing_is_left_alone_and_one_that_blocks_is_not() {
    let fetcher = Fetcher::builder().max_tier(Tier::Impersonate).retries(0).build().expect("good settings");
    let broken = RawServer::start(support::closes_at_once);
    for _ in 0..5 {
        let error = fetcher.get(broken.url("/")).send().await.expect_err("it closes");
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
    }
    assert_eq!(broken.connections(), 5);
    let error = fetcher.get(broken.url("/")).send().await.expect_err("it is left alone");
    assert_eq!((error.kind(), broken.connections()), (ErrorKind::Protocol, 5), "{error:?}");
    let attempt = &error.trace().expect("a trace").attempts()[0];
    let told = &attempt.error.as_ref().expect("the trace says why").message;
    assert!(
        told.contains("not asked") && told.contains("failed 5 times in a row on the plain tier"),
        "{told}"
    );
    // The other tier is another matter.
    fetcher.get(broken.url("/")).tier(Tier::Impersonate).send().await.expect_err("it closes");
    assert_eq!(broken.connections(), 6);

    let blocking = Recorder::builder().start(|_| Reply::html(403, PAGE).header("cf-mitigated", "challenge"));
    let blocking = blocking.await.expect("it listens");
    for _ in 0..8 {
        let error = fetcher.get(url(&blocking, "/")).send().await.expect_err("blocked");
        assert_eq!((error.kind(), tried(&error)), (ErrorKind::Blocked, 2), "{error:?}");
    }
    assert_eq!(paths(&blocking).len(), 16);
}
