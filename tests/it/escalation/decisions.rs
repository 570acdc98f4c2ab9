//! When a fetch escalates, waits, retries and stops. Uses the library's API and servers that count requests.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use rungs::lab::{Exchange, Recorder, Reply};
use rungs::{Error, ErrorKind, Fetcher, FetcherBuilder, Response, Tier, VerdictKind};

use crate::support::{self, RawConnection, RawServer, rungs};

const PAGE: &str = "<!doctype html><title>a page</title><p>A page with some words in it.</p>";
const CHALLENGE: &str = "<!doctype html><title>Just a moment...</title><script>window._cf_chl_opt = {}</script>\
    <script src=\"/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1\"></script>";

/// A fetcher with the HTTP tiers only.
fn builder() -> FetcherBuilder {
    Fetcher::builder().max_tier(Tier::Impersonate)
}

async fn get(fetcher: &Fetcher, server: &Recorder, path: &str) -> Result<Response, Error> {
    fetcher.get(url(server, path)).send().await
}

fn url(server: &Recorder, path: &str) -> String {
    format!("http://{}{path}", server.addr())
}

/// The number of requests a server received.
fn count(server: &Recorder) -> usize {
    server.connections().iter().map(|connection| connection.requests.len()).sum()
}

fn tiers(page: &Response) -> Vec<Tier> {
    page.trace().attempts().iter().map(|attempt| attempt.tier).collect()
}

fn tried(error: &Error) -> Vec<Tier> {
    error.trace().expect("an error has a trace").attempts().iter().map(|attempt| attempt.tier).collect()
}

/// A site that serves only browsers.
fn browsers_only(heard: &Exchange) -> Reply {
    let agent = heard.request.header("user-agent").unwrap_or_default().to_owned();
    if agent.starts_with("Mozilla/") {
        return Reply::html(200, PAGE);
    }
    Reply::html(403, CHALLENGE).header("cf-mitigated", "challenge")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_escalates_and_the_trace_has_each_attempt() {
    let server = Recorder::builder().start(browsers_only).await.expect("it listens");
    let fetcher = builder().build().expect("good settings");
    let page = get(&fetcher, &server, "/").await.expect("a page");
    assert_eq!(tiers(&page), [Tier::Plain, Tier::Impersonate]);
    let profile = rungs::default_profile().expect("a browser's profile is shipped").profile;
    assert_eq!((page.tier(), page.browser_profile()), (Tier::Impersonate, Some(profile.name.as_str())));
    let first = &page.trace().attempts()[0];
    assert_eq!((first.status, first.browser_profile.as_deref()), (Some(403), None));
    let verdict = first.verdict.as_ref().expect("an answer was judged");
    assert_eq!((verdict.kind, verdict.vendor.as_deref()), (VerdictKind::Challenge, Some("cloudflare")));
    assert!(!verdict.evidence.is_empty());
    assert_eq!(first.next.as_deref(), Some("climb: cloudflare challenge"));
    assert_eq!(page.trace().attempts()[1].next, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_fetch_of_a_host_starts_where_the_last_one_worked() {
    let server = Recorder::builder().start(browsers_only).await.expect("it listens");
    let fetcher = builder().build().expect("good settings");
    get(&fetcher, &server, "/one").await.expect("a page");
    let page = get(&fetcher, &server, "/two").await.expect("a page");
    assert_eq!(tiers(&page), [Tier::Impersonate]);
    assert_eq!(count(&server), 3);
    // Host memory is shared by all sessions of a fetcher. Another fetcher has to learn it anew.
    let page = get(&fetcher.session("other"), &server, "/").await.expect("a page");
    assert_eq!(tiers(&page), [Tier::Impersonate]);
    let page = get(&builder().build().expect("good settings"), &server, "/").await.expect("a page");
    assert_eq!(tiers(&page), [Tier::Plain, Tier::Impersonate]);
    // A fetch with a tier limit keeps to it, whatever the memory says.
    let error = fetcher.get(url(&server, "/")).tier(Tier::Plain).send().await.expect_err("plain is blocked");
    assert_eq!(tried(&error), [Tier::Plain]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_with_status_200_still_escalates() {
    let server = Recorder::builder().start(|_| Reply::html(200, CHALLENGE)).await.expect("it listens");
    let fetcher = builder().build().expect("good settings");
    let error = get(&fetcher, &server, "/").await.expect_err("no tier here passes it");
    assert_eq!((error.kind(), error.is_blocked()), (ErrorKind::Blocked, true));
    assert_eq!(tried(&error), [Tier::Plain, Tier::Impersonate]);
    assert!(error.hint().is_some_and(|hint| hint.contains("--max-tier browser")), "{error:?}");
    assert_eq!(error.url(), Some(url(&server, "/").as_str()));
}

#[test]
fn blocked_at_every_tier_exits_7_with_table_and_hint() {
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        let length = CHALLENGE.len();
        conn.send(format!(
            "HTTP/1.1 403 Forbidden\r\ncf-mitigated: challenge\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{CHALLENGE}"
        ))
    });
    let url = server.url("/");
    let run = rungs(["fetch", "--max-tier", "impersonate", &url]);
    assert_eq!(run.code, 7, "{run}");
    assert!(run.stdout.is_empty(), "a block page is no page\n{run}");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines[0], format!("error: could not fetch {url}: blocked at every tier allowed"), "{run}");
    assert!(
        lines[1].starts_with("  plain        403  cloudflare challenge") && lines[1].ends_with(" ms"),
        "{run}"
    );
    assert!(lines[2].starts_with("  impersonate  403  cloudflare challenge"), "{run}");
    assert_eq!(
        lines[3], "why: probably JavaScript: the site requires JavaScript, and no attempted tier runs it",
        "{run}"
    );
    assert_eq!(lines[4], "hint: this fetch stops at `impersonate`; try `--max-tier browser`", "{run}");
    assert_eq!(lines.len(), 5, "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn genuine_responses_are_pages_whatever_their_status() {
    for status in [200, 201, 400, 401, 404, 410, 418, 500] {
        let reply = move |_: &Exchange| {
            Reply::html(status, PAGE).header("www-authenticate", "Basic realm=\"the reading room\"")
        };
        let server = Recorder::builder().start(reply).await.expect("it listens");
        let fetcher = builder().build().expect("good settings");
        let page = get(&fetcher, &server, "/").await.expect("an answer is a page");
        assert_eq!((page.status().as_u16(), tiers(&page)), (status, vec![Tier::Plain]));
        assert_eq!(page.text().expect("text"), PAGE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_waited_out_on_the_same_tier() {
    for (status, retry_after, why) in
        [(429, "1", "wait: rate limit"), (503, "1", "retry: the origin is failing")]
    {
        let asked = AtomicUsize::new(0);
        let reply = move |_: &Exchange| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::html(status, "<title>slow down</title>").header("retry-after", retry_after),
            _ => Reply::html(200, PAGE),
        };
        let server = Recorder::builder().start(reply).await.expect("it listens");
        let fetcher = builder().build().expect("good settings");
        let started = Instant::now();
        let page = get(&fetcher, &server, "/").await.expect("a page");
        assert_eq!(tiers(&page), [Tier::Plain, Tier::Plain]);
        assert!(started.elapsed() >= Duration::from_secs(1), "it waited as asked");
        let next = page.trace().attempts()[0].next.clone().expect("why");
        assert_eq!(next, why);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_beyond_the_limit_is_an_error_at_once() {
    let reply = |_: &Exchange| Reply::html(429, "<title>slow down</title>").header("retry-after", "3600");
    let server = Recorder::builder().start(reply).await.expect("it listens");
    let fetcher = builder().build().expect("good settings");
    let error = get(&fetcher, &server, "/").await.expect_err("an hour is too long");
    assert_eq!((error.kind(), count(&server)), (ErrorKind::Blocked, 1));
    assert_eq!(error.hint(), Some("the site asks to wait 3600 s (`Retry-After`); try again later"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_5xx_response_is_retried_and_then_accepted() {
    let server = Recorder::builder().start(|_| Reply::html(503, PAGE)).await.expect("it listens");
    let fetcher = builder().retries(1).build().expect("good settings");
    let page = get(&fetcher, &server, "/").await.expect("an answer is a page");
    assert_eq!((page.status().as_u16(), tiers(&page)), (503, vec![Tier::Plain, Tier::Plain]));
    assert_eq!(page.text().expect("text"), PAGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_error_is_retried_on_its_tier_and_never_escalates() {
    let server = RawServer::start(support::answers_after(2, PAGE));
    let fetcher = builder().build().expect("good settings");
    let page = fetcher.get(server.url("/")).send().await.expect("the third connection answers");
    assert_eq!(tiers(&page), [Tier::Plain; 3]);
    let first = &page.trace().attempts()[0];
    assert_eq!((first.status, first.verdict.is_none()), (None, true));
    assert_eq!(first.error.as_ref().map(|error| error.kind), Some(ErrorKind::Protocol));
    assert_eq!(first.next.as_deref(), Some("retry: protocol error"));

    let server = RawServer::start(support::closes_at_once);
    let error = fetcher.get(server.url("/")).send().await.expect_err("it never answers");
    assert_eq!((error.kind(), tried(&error)), (ErrorKind::Protocol, vec![Tier::Plain; 3]));
    assert_eq!(server.connections(), 3);
    let once = builder().retries(0).build().expect("good settings");
    let error = once.get(server.url("/")).send().await.expect_err("it never answers");
    assert_eq!(tried(&error), [Tier::Plain]);
}

/// Reads the head and closes with a reset: the unread body causes it.
fn resets(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_bytes(20).map(drop)
}

/// Begins a response and closes.
fn breaks_off(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\ncontent-le")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_may_have_arrived_is_not_sent_twice() {
    let fetcher = builder().build().expect("good settings");
    let servers = [
        RawServer::start(support::closes_at_once),
        RawServer::start(resets),
        RawServer::start(breaks_off),
        RawServer::start(support::truncated_body),
        RawServer::start(support::garbage),
    ];
    for server in servers {
        let post = fetcher.request(Method::POST, server.url("/order")).body("amount=1000");
        let error = post.send().await.expect_err("no proper answer comes");
        assert_eq!((error.kind(), server.connections()), (ErrorKind::Protocol, 1), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_over_a_connection_that_died_idle_is_not_sent_twice() {
    // Answers one request and closes when the next arrives, which may have been processed.
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        conn.read_head().map(drop)
    });
    let fetcher = builder().build().expect("good settings");
    fetcher.get(server.url("/")).send().await.expect("a page");
    let error =
        fetcher.request(Method::POST, server.url("/")).body("x").send().await.expect_err("it broke off");
    assert_eq!((error.kind(), server.connections()), (ErrorKind::Protocol, 1), "{error:?}");
    // A GET is.
    fetcher.get(server.url("/")).send().await.expect("a page");
    fetcher.get(server.url("/")).send().await.expect("a page, by a fresh connection");
    assert_eq!(server.connections(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_on_a_refused_connection_is_retried() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let fetcher = builder().retries(1).build().expect("good settings");
    let error = fetcher
        .request(Method::POST, format!("http://{address}/"))
        .body("x")
        .send()
        .await
        .expect_err("refused");
    assert_eq!((error.kind(), tried(&error)), (ErrorKind::Connect, vec![Tier::Plain; 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_tiers_are_used() {
    let server = Recorder::builder().start(|_| Reply::html(403, CHALLENGE)).await.expect("it listens");
    for (min, max, expected) in [
        (Tier::Plain, Tier::Plain, &[Tier::Plain][..]),
        (Tier::Plain, Tier::Impersonate, &[Tier::Plain, Tier::Impersonate]),
        (Tier::Impersonate, Tier::Impersonate, &[Tier::Impersonate]),
    ] {
        let fetcher = Fetcher::builder().min_tier(min).max_tier(max).build().expect("good settings");
        let error = get(&fetcher, &server, "/").await.expect_err("blocked");
        assert_eq!(tried(&error), expected);
        assert!(error.hint().is_some_and(|hint| hint.contains("--max-tier")), "{error:?}");
    }
}

#[test]
fn flags_choose_the_tiers() {
    let server = RawServer::start(|conn| {
        let head = conn.read_head()?;
        let tier = if head.contains("rungs/") { "plain" } else { "impersonate" };
        conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{tier}", tier.len()))
    });
    for (flags, expected) in [
        (&["--max-tier", "impersonate"][..], "plain"),
        (&["--tier", "plain"], "plain"),
        (&["--tier", "impersonate"], "impersonate"),
        (&["--min-tier", "impersonate", "--max-tier", "impersonate"], "impersonate"),
        (&["--min-tier", "impersonate"], "impersonate"),
    ] {
        let url = server.url("/");
        let run = rungs(["fetch"].into_iter().chain(flags.iter().copied()).chain([url.as_str()]));
        assert_eq!((run.code, run.text().as_str()), (0, expected), "{flags:?}\n{run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_ends_within_its_total_timeout_and_has_its_trace() {
    let reply = |_: &Exchange| Reply::html(429, "<title>slow down</title>").header("retry-after", "20");
    let server = Recorder::builder().start(reply).await.expect("it listens");
    let fetcher = builder().build().expect("good settings");
    let limit = Duration::from_millis(300);
    let started = Instant::now();
    let error = fetcher.get(url(&server, "/")).timeout(limit).send().await.expect_err("the wait is too long");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(tried(&error), [Tier::Plain]);

    let silent = RawServer::start(support::never_answers);
    let error = fetcher.get(silent.url("/")).timeout(limit).send().await.expect_err("no answer comes");
    let attempts = error.trace().expect("a trace").attempts();
    assert_eq!(attempts.len(), 1, "{error:?}");
    assert_eq!(attempts[0].error.as_ref().map(|error| error.kind), Some(ErrorKind::Timeout));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_fetch_leaves_the_fetcher_usable() {
    let certs = support::Certs::new();
    let nginx = support::Nginx::start(&certs);
    let fetcher = builder().ca_file(certs.ca()).build().expect("good settings");
    for site in [support::Site::H2, support::Site::H1] {
        for wait in [0, 1, 3, 10] {
            let page = fetcher.get(nginx.url(site, "/page/700k")).send();
            let _ = tokio::time::timeout(Duration::from_millis(wait), page).await;
        }
        let page = fetcher.get(nginx.url(site, "/page/700k")).send().await.expect("a page");
        assert_eq!(page.bytes(), &nginx.page("700k"), "whole, and of this fetch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_fetches_at_once_get_each_their_own_page_over_one_connection() {
    let certs = support::Certs::new();
    let nginx = support::Nginx::start(&certs);
    let fetcher = builder().ca_file(certs.ca()).build().expect("good settings");
    let all = (0..40).map(|number| {
        let request = fetcher.get(nginx.url(support::Site::H2, &format!("/echo?{number}")));
        tokio::spawn(async move { (number, request.send().await.expect("a page")) })
    });
    for fetch in all.collect::<Vec<_>>() {
        let (number, page) = fetch.await.expect("no panic");
        assert!(page.text().expect("text").contains(&format!("uri: /echo?{number}\n")), "{number}");
    }
    let visits = nginx.visits(40);
    assert!(visits.iter().all(|visit| visit.connection == visits[0].connection), "HTTP/2 is shared");
}
