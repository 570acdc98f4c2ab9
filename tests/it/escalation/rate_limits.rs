//! Rate limits, Retry-After and failing hosts. The servers record which requests arrive, and when.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rungs::lab::{Exchange, Recorder, Reply};
use rungs::{Error, ErrorKind, Fetcher, FetcherBuilder, Limits, RateLimit, Response, RobotsPolicy, Tier};

use crate::support::{self, RawServer, rungs, until_async};

pub(super) const PAGE: &str = "<!doctype html><title>a page</title><p>A page with some words in it.</p>";

pub(super) fn polite() -> FetcherBuilder {
    Fetcher::builder().max_tier(Tier::Impersonate).robots(RobotsPolicy::Obey)
}

pub(super) fn url(server: &Recorder, path: &str) -> String {
    format!("http://{}{path}", server.addr())
}

/// The paths requested from a server, connection by connection.
pub(super) fn paths(server: &Recorder) -> Vec<String> {
    let connections = server.connections();
    connections.iter().flat_map(|one| &one.requests).map(|request| request.path.clone()).collect()
}

pub(super) fn tried(error: &Error) -> usize {
    error.trace().map_or(0, |trace| trace.attempts().len())
}

/// A site with `robots` as its robots.txt and a page at every other path.
pub(super) async fn site(robots: impl Fn() -> Reply + Send + Sync + 'static) -> Recorder {
    let reply = move |heard: &Exchange| match heard.request.path.as_str() {
        "/robots.txt" => robots(),
        _ => Reply::html(200, PAGE),
    };
    Recorder::builder().start(reply).await.expect("it listens")
}

pub(super) fn text(text: impl Into<String>) -> Reply {
    Reply::status(200).header("content-type", "text/plain").body(text.into())
}

/// A site that answers 429 once, and counts requests that come before its Retry-After.
fn limiting(seconds: u32, early: Arc<AtomicUsize>) -> impl Fn(&Exchange) -> Reply + Send + Sync {
    let until: Mutex<Option<Instant>> = Mutex::new(None);
    move |_| {
        let mut until = until.lock().expect("the lock is not poisoned");
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
async fn no_request_reaches_a_host_before_its_retry_after() {
    let early = Arc::new(AtomicUsize::new(0));
    let server = Recorder::builder().start(limiting(2, Arc::clone(&early))).await.expect("it listens");
    let fetcher = Fetcher::builder().max_tier(Tier::Impersonate).retries(0).build().expect("good settings");
    let error = fetcher.get(url(&server, "/first")).send().await.expect_err("too fast");
    assert_eq!((error.kind(), tried(&error)), (ErrorKind::Blocked, 1), "{error:?}");
    // A fetch with a shorter timeout fails at once, without a request.
    let hurried = fetcher.get(url(&server, "/hurried")).timeout(Duration::from_millis(500)).send();
    let error = hurried.await.expect_err("it may not wait");
    assert_eq!(error.kind(), ErrorKind::Blocked, "{error:?}");
    assert!(error.to_string().contains("requested a delay of"), "{error}");
    // Other sessions, another tier, robots.txt: all wait.
    let others = (0..4).map(|number| {
        let mut request = fetcher.session(&number.to_string()).get(url(&server, &format!("/{number}")));
        if number == 1 {
            request = request.tier(Tier::Impersonate);
        }
        if number == 2 {
            request = request.robots(RobotsPolicy::Obey);
        }
        request.send()
    });
    let pages: Vec<Response> = join_all(others).await.into_iter().map(|page| page.expect("a page")).collect();
    assert_eq!(early.load(Ordering::SeqCst), 0, "asked before its time");
    assert!(pages[0].trace().attempts()[0].waited > Duration::ZERO, "and the trace says that it waited");
    assert!(!paths(&server).contains(&"/hurried".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_too_far_off_fails_the_next_fetch_at_once() {
    let early = Arc::new(AtomicUsize::new(0));
    let server = Recorder::builder().start(limiting(3600, Arc::clone(&early))).await.expect("it listens");
    let fetcher = Fetcher::builder().max_tier(Tier::Impersonate).build().expect("good settings");
    fetcher.get(url(&server, "/")).send().await.expect_err("an hour is too long");
    let error = fetcher.get(url(&server, "/")).send().await.expect_err("and still is");
    assert_eq!((error.kind(), paths(&server).len()), (ErrorKind::Blocked, 1), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.starts_with("try again in 3")), "{error:?}");
    // A redirect to that host is not followed either.
    let target = url(&server, "/");
    let other =
        Recorder::builder().start(move |_| Reply::redirect(302, target.clone())).await.expect("it listens");
    let error = fetcher.get(url(&other, "/")).send().await.expect_err("the other host rests");
    assert_eq!((error.kind(), paths(&server).len()), (ErrorKind::Blocked, 1), "{error:?}");
}

/// A server waits at the gate until the test opens it.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().expect("the lock is not poisoned") = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let open = self.0.lock().expect("the lock is not poisoned");
        drop(self.1.wait_while(open, |open| !*open).expect("the lock is not poisoned"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_host_and_a_rate_limited_host_do_not_delay_a_third() {
    let gate = Arc::new(Gate::default());
    let slow = RawServer::start({
        let gate = Arc::clone(&gate);
        move |conn| {
            conn.read_head()?;
            gate.wait();
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        }
    });
    let early = Arc::new(AtomicUsize::new(0));
    let limiting = Recorder::builder().start(limiting(1, Arc::clone(&early))).await.expect("it listens");
    let quick = site(|| text("")).await;
    let mut bounds = Limits::default();
    (bounds.first_byte, bounds.http_total) = (Duration::from_secs(60), Duration::from_secs(120));
    let fetcher = Fetcher::builder()
        .max_tier(Tier::Impersonate)
        .retries(0)
        .limits(bounds)
        .build()
        .expect("good settings");
    // Requests already sent cannot be called back, so the 429 comes before the others start.
    let refused = fetcher.get(url(&limiting, "/refused")).send().await;
    assert_eq!(refused.map_err(|error| error.kind()).err(), Some(ErrorKind::Blocked));
    let quick_done = AtomicBool::new(false);
    // More than the slow host's concurrency limit, and all of them first in the queue.
    let slow_ones = join_all((0..20).map(|number| fetcher.get(slow.url(&format!("/{number}"))).send()));
    let limited = join_all((0..8).map(|number| fetcher.get(url(&limiting, &format!("/{number}"))).send()));
    let quick_ones = async {
        for page in
            join_all((0..60).map(|number| fetcher.get(url(&quick, &format!("/{number}"))).send())).await
        {
            page.expect("a page");
        }
        quick_done.store(true, Ordering::SeqCst);
        // The slow host answers only now. If the others depended on it, this line would not be reached.
        assert!(slow.connections() <= 6, "{} at once", slow.connections());
        gate.open();
    };
    let (slow_ones, limited, ()) = tokio::join!(slow_ones, limited, quick_ones);
    assert!(quick_done.load(Ordering::SeqCst));
    assert_eq!(slow_ones.into_iter().flatten().count(), 20);
    assert_eq!(limited.into_iter().flatten().count(), 8);
    assert_eq!((paths(&quick).len(), early.load(Ordering::SeqCst)), (60, 0));
}

/// Measures how many requests are handled at the same time.
#[derive(Default)]
struct ConcurrencyGauge(AtomicUsize, AtomicUsize);

impl ConcurrencyGauge {
    fn hold_for(&self, time: Duration) {
        let now = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.1.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(time);
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn peak(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_takes_a_permit_of_its_target_and_releases_the_first() {
    let gauge = Arc::new(ConcurrencyGauge::default());
    let there = RawServer::start({
        let gauge = Arc::clone(&gauge);
        move |conn| loop {
            conn.read_head()?;
            gauge.hold_for(Duration::from_millis(50));
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        }
    });
    let target = there.url("/");
    let redirecting_to = |target: String| {
        RawServer::start(move |conn| {
            loop {
                conn.read_head()?;
                conn.send(format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n"))?;
            }
        })
    };
    let redirecting: Vec<RawServer> = (0..8).map(|_| redirecting_to(target.clone())).collect();
    let fetcher = Fetcher::builder().max_tier(Tier::Plain).retries(0);
    let fetcher = fetcher.rate_limit(RateLimit::new().concurrency(2)).build().expect("good settings");
    let asked = redirecting.iter().flat_map(|gate| (0..2).map(|number| gate.url(&format!("/{number}"))));
    for page in join_all(asked.map(|url| fetcher.get(url).send())).await {
        page.expect("a page");
    }
    assert_eq!(gauge.peak(), 2, "as many at once as the pace allows, redirected there or not");

    // Two hosts that redirect to each other, with one permit each: no deadlock.
    let first = Arc::new(Mutex::new(String::new()));
    let second = {
        let first = Arc::clone(&first);
        RawServer::start(move |conn| {
            loop {
                let head = conn.read_head()?;
                std::thread::sleep(Duration::from_millis(20));
                if head.starts_with("GET /end") {
                    conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
                    continue;
                }
                let to = first.lock().expect("the lock is not poisoned").clone();
                conn.send(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))?;
            }
        })
    };
    let end = second.url("/end");
    let other = RawServer::start(move |conn| {
        loop {
            let head = conn.read_head()?;
            std::thread::sleep(Duration::from_millis(20));
            if head.starts_with("GET /end") {
                conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
                continue;
            }
            conn.send(format!("HTTP/1.1 302 Found\r\nlocation: {end}\r\ncontent-length: 0\r\n\r\n"))?;
        }
    });
    *first.lock().expect("the lock is not poisoned") = other.url("/end");
    let fetcher = Fetcher::builder().max_tier(Tier::Plain).retries(0);
    let fetcher = fetcher.rate_limit(RateLimit::new().concurrency(1)).build().expect("good settings");
    let asked = (0..6).map(|number| [&other, &second][number % 2].url(&format!("/{number}")));
    for page in join_all(asked.map(|url| fetcher.get(url).send())).await {
        page.expect("a page");
    }
}

/// The pages per second of `quick`, over `times` fetches.
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
async fn throughput_beside_a_slow_host_and_a_rate_limited_host() {
    let quick = site(|| text("")).await;
    let slow = RawServer::start(|conn| {
        loop {
            conn.read_head()?;
            std::thread::sleep(Duration::from_secs(5));
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        }
    });
    let mut ratios = Vec::new();
    for round in 0..8 {
        let early = Arc::new(AtomicUsize::new(0));
        let limiting = Recorder::builder().start(limiting(3, Arc::clone(&early))).await.expect("it listens");
        let fetcher = || Fetcher::builder().max_tier(Tier::Plain).build().expect("good settings");
        // The order alternates, so that a machine that slows down favours neither.
        let before = if round % 2 == 0 { Some(rate(&fetcher(), &quick, 600).await) } else { None };
        let busy = fetcher();
        let ask = |url: String| {
            let asked = busy.get(url);
            tokio::spawn(async move { asked.send().await.is_ok() })
        };
        // Requests already sent cannot be called back, so the 429 comes before the others start.
        let mut limited = vec![ask(url(&limiting, "/first"))];
        until_async("the first request", || !paths(&limiting).is_empty()).await;
        limited.extend((0..7).map(|number| ask(url(&limiting, &format!("/{number}")))));
        let known = slow.connections();
        let slowly: Vec<_> = (0..30).map(|number| ask(slow.url(&format!("/{number}")))).collect();
        until_async("6 connections to the slow host", || slow.connections() >= known + 6).await;
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
async fn crawl_delay_and_rate_limit_space_out_requests() {
    for (robots, pace) in [
        ("User-agent: *\nCrawl-delay: 0.4", RateLimit::new()),
        ("", RateLimit::new().interval(Duration::from_millis(400))),
    ] {
        let times = Arc::new(Mutex::new(Vec::new()));
        let reply = {
            let times = Arc::clone(&times);
            move |heard: &Exchange| {
                if heard.request.path == "/robots.txt" {
                    return text(robots);
                }
                times.lock().expect("the lock is not poisoned").push(Instant::now());
                Reply::html(200, PAGE)
            }
        };
        let server = Recorder::builder().start(reply).await.expect("it listens");
        let fetcher = polite().rate_limit(pace).build().expect("good settings");
        let began = Instant::now();
        let pages = join_all((0..4).map(|_| fetcher.get(url(&server, "/")).send())).await;
        let mut waits: Vec<_> =
            pages.iter().map(|page| page.as_ref().expect("a page").trace().attempts()[0].waited).collect();
        waits.sort();
        let times = times.lock().expect("the lock is not poisoned");
        for (number, time) in (0_u32..).zip(times.iter()) {
            assert!(*time >= began + Duration::from_millis(400) * number, "{robots}: request {number}");
        }
        assert_eq!(times.len(), 4);
        assert!(waits[3] > waits[0], "{waits:?}");
    }
}

#[test]
fn rate_limit_flags_work_and_are_checked() {
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
        (["--rate", "often"], "--rate: `often` is not a rate such as 2/s"),
        (["--host-concurrency", "0"], "--host-concurrency"),
        (["--robots", "maybe"], "--robots"),
    ] {
        let run = rungs(["fetch"].into_iter().chain(flags).chain([one.as_str()]));
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains(word), "{run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_failures_open_the_circuit_and_blocks_do_not() {
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
    let message = &attempt.error.as_ref().expect("the trace says why").message;
    assert!(
        message.contains("request not sent") && message.contains("failed 5 times in a row on the plain tier"),
        "{message}"
    );
    // The other tier has its own circuit.
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
