//! Dropping a fetch at any point frees what it held: sockets, permits of hosts, browser pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rungs::{Fetcher, FetcherBuilder, Limits, RateLimit, Tier};
use tokio::time::timeout;

use crate::support::{Certs, Flow, Nginx, RawConnection, RawServer, Relay, Site, until_async};

/// The concurrency limit of a host.
const PERMITS: usize = 4;
/// Far longer than any fetch here takes.
const LONG: Duration = Duration::from_secs(60);

fn builder() -> FetcherBuilder {
    let mut bounds = Limits::default();
    (bounds.connect, bounds.tls, bounds.read_idle) = (LONG, LONG, LONG);
    (bounds.first_byte, bounds.http_total) = (LONG, LONG);
    let pace = RateLimit::new().concurrency(4);
    Fetcher::builder().retries(0).limits(bounds).rate_limit(pace)
}

/// The number of requests being answered, and its peak.
#[derive(Default)]
struct ConcurrencyGauge {
    now: AtomicUsize,
    peak: AtomicUsize,
}

/// Answers in four parts with pauses, so that a fetch can be dropped in the middle.
fn answer_slowly(conn: &mut RawConnection, gauge: &ConcurrencyGauge) -> std::io::Result<()> {
    loop {
        conn.read_head()?;
        let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
        gauge.peak.fetch_max(now, Ordering::SeqCst);
        let parts = [
            "HTTP/1.1 200 OK\r\ncontent-",
            "type: text/html\r\ncontent-length: 20\r\n\r\n",
            "<title>one",
            "</title>..",
        ];
        let sent = parts.iter().try_for_each(|part| {
            thread::sleep(Duration::from_millis(10));
            conn.send(part)
        });
        gauge.now.fetch_sub(1, Ordering::SeqCst);
        sent?;
    }
}

/// Checks that all permits are free: as many fetches as there are permits are answered at the same time.
async fn check_all_permits_are_free(
    fetcher: &Fetcher,
    tier: Tier,
    url: &str,
    gauge: &ConcurrencyGauge,
) -> Result<(), String> {
    gauge.peak.store(0, Ordering::SeqCst);
    // Several rounds: the first answers may end before the last request arrives.
    for _ in 0..20 {
        let asked = join_all((0..PERMITS).map(|_| fetcher.get(url).tier(tier).send()));
        let pages = timeout(LONG, asked).await.map_err(|_| "the fetches after it hang")?;
        for page in pages {
            page.map_err(|error| format!("a fetch after it fails: {error:?}"))?;
        }
        if gauge.peak.load(Ordering::SeqCst) >= PERMITS {
            return Ok(());
        }
    }
    Err(format!("only {} at the same time", gauge.peak.load(Ordering::SeqCst)))
}

/// Waits until no more than `most` connections are open. `when` is part of the failure's message.
async fn wait_for_open_connections(relay: &Relay, most: usize, when: &str) {
    until_async(&format!("no more than {most} open connections ({when})"), || {
        relay.open_connections() <= most
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_dropped_at_any_point_frees_sockets_and_permits() {
    let gauge = Arc::new(ConcurrencyGauge::default());
    let server = RawServer::start({
        let gauge = Arc::clone(&gauge);
        move |conn| answer_slowly(conn, &gauge)
    });
    let relay = Relay::start(server.port(), Flow::new(), Flow::new());
    let url = format!("http://127.0.0.1:{}/", relay.port());
    let mut random = StdRng::seed_from_u64(6);
    for tier in [Tier::Plain, Tier::Impersonate] {
        let fetcher = builder().build().expect("good settings");
        for _ in 0..30 {
            let dropped = (0..6).map(|_| {
                let limit = Duration::from_micros(random.random_range(0..60_000));
                timeout(limit, fetcher.get(&url).tier(tier).send())
            });
            join_all(dropped).await;
        }
        // The connections of dropped fetches are closed. Idle ones stay, at most one per permit.
        wait_for_open_connections(&relay, PERMITS, tier.name()).await;
        check_all_permits_are_free(&fetcher, tier, &url, &gauge)
            .await
            .unwrap_or_else(|why| panic!("{tier}: {why}"));
        drop(fetcher);
        wait_for_open_connections(&relay, 0, &format!("{tier}, fetcher dropped")).await;
    }

    // Control: fetches that are not dropped keep their connections, and the same check notices that.
    let silent = RawServer::start(crate::support::never_answers);
    let held = Relay::start(silent.port(), Flow::new(), Flow::new());
    let there = format!("http://127.0.0.1:{}/", held.port());
    let fetcher = builder().build().expect("good settings");
    let kept: Vec<_> = (0..2).map(|_| tokio::spawn(fetcher.get(&there).tier(Tier::Plain).send())).collect();
    until_async("two open connections", || held.open_connections() == 2).await;
    let closed = wait_for_open_connections(&held, 1, "while both fetches are kept");
    assert!(timeout(Duration::from_millis(300), closed).await.is_err(), "two are open");
    kept.iter().for_each(tokio::task::JoinHandle::abort);
    wait_for_open_connections(&held, 0, "both fetches dropped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_permit_is_noticed() {
    let gauge = Arc::new(ConcurrencyGauge::default());
    let server = RawServer::start({
        let gauge = Arc::clone(&gauge);
        move |conn| {
            if conn.index == 0 {
                return crate::support::never_answers(conn);
            }
            answer_slowly(conn, &gauge)
        }
    });
    let fetcher = builder().build().expect("good settings");
    let kept = tokio::spawn(fetcher.get(server.url("/")).tier(Tier::Plain).send());
    until_async("the request", || !server.heads().is_empty()).await;
    let found = check_all_permits_are_free(&fetcher, Tier::Plain, &server.url("/"), &gauge).await;
    assert!(found.is_err_and(|why| why.starts_with("only ")), "one place is taken");
    kept.abort();
    let _ = kept.await;
    check_all_permits_are_free(&fetcher, Tier::Plain, &server.url("/"), &gauge)
        .await
        .expect("it is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_streams_leave_their_connection_usable() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let slow = Flow::new().latency(Duration::from_millis(5), Duration::from_millis(5)).rate(4_000_000);
    let relay = Relay::start(nginx.port(Site::H2), slow, Flow::new());
    let url = format!("https://127.0.0.1:{}/page/700k", relay.port());
    let mut random = StdRng::seed_from_u64(6);
    for tier in [Tier::Plain, Tier::Impersonate] {
        let fetcher = builder().ca_file(certs.ca()).build().expect("good settings");
        for _ in 0..10 {
            let dropped = (0..6).map(|_| {
                let limit = Duration::from_micros(random.random_range(0..400_000));
                timeout(limit, fetcher.get(&url).tier(tier).send())
            });
            join_all(dropped).await;
        }
        let pages = join_all((0..PERMITS).map(|_| fetcher.get(&url).tier(tier).send()));
        for page in timeout(LONG, pages).await.expect("they do not hang") {
            assert_eq!(page.expect("a page").body_len(), Nginx::LARGE as u64);
        }
        // A connection abandoned in its handshake may have been replaced, and is closed.
        wait_for_open_connections(&relay, 1, tier.name()).await;
        drop(fetcher);
        wait_for_open_connections(&relay, 0, &format!("{tier}, fetcher dropped")).await;
    }
}

#[cfg(feature = "browser")]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_dropped_at_any_point_is_closed_and_its_slot_freed() {
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        thread::sleep(Duration::from_millis(100));
        conn.send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<title>one</title>",
        )?;
        thread::sleep(Duration::from_millis(100));
        conn.send("<p>and a page with some words in it")
    });
    let folder = tempfile::tempdir().expect("a folder");
    let fetcher = builder().browser_folder(folder.path()).browser_pages(2).build().expect("good settings");
    let mut random = StdRng::seed_from_u64(6);
    let get = || fetcher.get(server.url("/")).tier(Tier::Browser).send();
    timeout(LONG, get()).await.expect("it does not hang").expect("the browser is up");
    for _ in 0..8 {
        let dropped = (0..3).map(|_| timeout(Duration::from_millis(random.random_range(0..1500)), get()));
        join_all(dropped).await;
    }
    let pages = join_all((0..4).map(|_| get()));
    for page in timeout(LONG, pages).await.expect("they do not hang") {
        page.expect("a page");
    }
    let renderers = || {
        let all = std::fs::read_dir("/proc").expect("Linux has /proc").flatten();
        all.filter_map(|one| std::fs::read(one.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).into_owned())
            .filter(|line| line.contains(&*folder.path().to_string_lossy()))
            .count()
    };
    assert!(renderers() > 0, "the browser is kept for the next");
    fetcher.close().await;
    assert_eq!((renderers(), std::fs::read_dir(folder.path()).expect("the folder").count()), (0, 0));
}
