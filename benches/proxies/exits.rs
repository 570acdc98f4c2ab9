//! Proxy pools with real squids on loopback. First prints which connection uses which user name. Then fetches
//! many pages through four proxies: one stops, one changes its password, one is slow.
//!
//! `cargo run --example exits -- [PAGES] [AT_ONCE]`. Exits with 1 if a page was lost.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rungs::{
    Dialect, Error, Fetcher, GeoTarget, ProxyAccount, ProxyPool, ProxyStats, RateLimit, RotationMode, Secret,
    Tier,
};

#[path = "../../tests/it/support"]
#[allow(dead_code, unused_imports, reason = "the tests use more of them")]
mod support {
    pub(crate) mod certs;
    pub(crate) mod daemon;
    pub(crate) mod nginx;
    mod nginx_conf;
    pub(crate) mod relay;
    pub(crate) mod squid;
}

use support::certs::Certs;
use support::nginx::{Nginx, Site};
use support::relay::{Flow, Relay};
use support::squid::{Squid, SquidOptions};

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(usual);
    let (pages, at_once) = (number(0, 2_000_usize).max(10), number(1, 32_usize).max(1));
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    sessions(&certs, &nginx).await;
    if health(&certs, &nginx, pages, at_once).await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Twenty concurrent fetches in each mode, on each tier (four on the browser tier).
async fn sessions(certs: &Certs, nginx: &Nginx) {
    println!(
        "| mode | tier | fetches | connections to the gateway | proxy user names |\n|---|---|---:|---:|---|"
    );
    let url = nginx.url_by(Site::H2, "site.test", "/page/hello");
    for (mode, tier, fetches) in [
        (RotationMode::Rotating, Tier::Plain, 20),
        (RotationMode::Rotating, Tier::Impersonate, 20),
        (RotationMode::Rotating, Tier::Browser, 4),
        (RotationMode::Sticky, Tier::Plain, 20),
        (RotationMode::Sticky, Tier::Impersonate, 20),
        (RotationMode::Sticky, Tier::Browser, 4),
    ] {
        let squid = Squid::start_with(&ANY_CREDENTIALS);
        let dialect = Dialect::find("decodo", None).expect("it is shipped");
        let account = ProxyAccount::new(dialect, "jane", Secret::new("s3cret"))
            .gateway(squid.url_without_user().parse().expect("a gateway"))
            .geo(GeoTarget::default().country("us"));
        let fetcher = fetcher(certs, tier, ProxyPool::new().account(account).mode(mode));
        let pages = futures_util::future::join_all((0..fetches).map(|_| fetcher.get(&url).send())).await;
        let received = pages.iter().filter(|page| page.is_ok()).count();
        fetcher.close().await;
        drop(fetcher);
        let least = if mode == RotationMode::Rotating { fetches } else { 1 };
        let requests = squid.requests(least);
        let users: BTreeSet<&str> = requests.iter().filter_map(|request| request.user.as_deref()).collect();
        let names = match users.len() {
            0..=2 => users.iter().map(|user| format!("`{user}`")).collect::<Vec<_>>().join(", "),
            many => format!("{many}, as `{}`", users.first().copied().unwrap_or_default()),
        };
        println!("| {} | {tier} | {received} of {fetches} | {} | {names} |", mode.name(), requests.len());
    }
}

/// Fetches `pages` pages through four proxies while some of them fail. Returns whether no page was lost.
async fn health(certs: &Certs, nginx: &Nginx, pages: usize, at_once: usize) -> bool {
    let mut dying = Some(Squid::start_with(&ANY_CREDENTIALS));
    let (refusing, fast, behind) = (
        Squid::start_with(&ANY_CREDENTIALS),
        Squid::start_with(&ANY_CREDENTIALS),
        Squid::start_with(&ANY_CREDENTIALS),
    );
    let slow = Relay::start(
        behind.port(),
        Flow::new().latency(Duration::from_millis(50), Duration::ZERO),
        Flow::new(),
    );
    let ports = [dying.as_ref().map_or(0, Squid::port), refusing.port(), slow.port(), fast.port()];
    let pool = ports.iter().fold(ProxyPool::new().mode(RotationMode::Rotating), |pool, port| {
        pool.proxy(format!("http://user:password@127.0.0.1:{port}").parse().expect("a proxy"))
    });
    let fetcher = fetcher(certs, Tier::Impersonate, pool.concurrency(16));
    let url = nginx.url(Site::H2, "/page/10k");
    let most = u32::try_from(at_once).unwrap_or(u32::MAX);
    let began = Instant::now();
    let mut run = futures_util::stream::iter(0..pages)
        .map(|_| fetcher.get(&url).rate_limit(RateLimit::new().concurrency(most)).send())
        .buffer_unordered(at_once);
    let (mut received, mut attempts, mut lost) = (0, 0, Vec::<Error>::new());
    let mut then = fetcher.proxy_stats();
    let mut periods = vec![("all four work", then.clone(), then.clone())];
    while let Some(outcome) = run.next().await {
        match outcome {
            Ok(page) => {
                received += 1;
                attempts += page.trace().attempts().len();
            }
            Err(error) => lost.push(error),
        }
        let event = if received == pages / 4 && dying.is_some() {
            drop(dying.take());
            Some("the first has stopped")
        } else if received == pages / 2 && periods.len() == 2 {
            refusing.reject_credentials();
            Some("the second has changed its password")
        } else {
            None
        };
        if let Some(event) = event {
            let now = fetcher.proxy_stats();
            if let Some(last) = periods.last_mut() {
                last.2.clone_from(&now);
            }
            then.clone_from(&now);
            periods.push((event, now.clone(), now));
        }
    }
    drop(run);
    let took = began.elapsed();
    let end = fetcher.proxy_stats();
    if let Some(last) = periods.last_mut() {
        last.2.clone_from(&end);
    }
    println!(
        "\n{pages} pages, {at_once} at once, in {:.1} s: {received} pages received, {} lost, {attempts} attempts\n",
        took.as_secs_f64(),
        lost.len()
    );
    println!(
        "| proxy | requests | pages | faults | blocks | time per request | recent first byte | works at the end | share of pages |\n|---|---:|---:|---:|---:|---:|---:|---|---:|"
    );
    let whole: u64 = end.iter().map(|proxy| proxy.pages).sum();
    for (name, proxy) in NAMES.iter().zip(&end) {
        println!(
            "| {name} | {} | {} | {} | {} | {:.0} ms | {} | {} | {:.1} % |",
            proxy.uses,
            proxy.pages,
            proxy.faults,
            proxy.blocks,
            proxy.busy.as_secs_f64() * 1000.0 / per(proxy.uses),
            proxy.latency.map_or_else(|| "-".to_owned(), |latency| format!("{} ms", latency.as_millis())),
            if proxy.is_healthy { "yes" } else { "no" },
            100.0 * float(proxy.pages) / per(whole),
        );
    }
    println!("\n| period | {} |\n|---|---:|---:|---:|---:|", NAMES.join(" | "));
    for (period, before, after) in &periods {
        let pages: Vec<u64> =
            before.iter().zip(after).map(|(before, after)| after.pages - before.pages).collect();
        let whole: u64 = pages.iter().sum();
        let shares: Vec<String> =
            pages.iter().map(|pages| format!("{:.1} %", 100.0 * float(*pages) / per(whole))).collect();
        println!("| {period} | {} |", shares.join(" | "));
    }
    for error in lost.iter().take(5) {
        println!("lost: {}", error.chain());
    }
    received == pages && is_counted(&end, attempts)
}

/// Whether every attempt was counted at one of the proxies.
fn is_counted(proxies: &[ProxyStats], attempts: usize) -> bool {
    proxies.iter().map(|proxy| proxy.uses).sum::<u64>() == attempts as u64
}

fn fetcher(certs: &Certs, tier: Tier, pool: ProxyPool) -> Fetcher {
    Fetcher::builder()
        .min_tier(tier)
        .max_tier(tier)
        .ca_file(certs.ca())
        .proxies(pool)
        .build()
        .expect("the settings are valid")
}

fn float(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
    let float = count as f64;
    float
}

/// A divisor: at least 1.
fn per(count: u64) -> f64 {
    float(count.max(1))
}

const ANY_CREDENTIALS: SquidOptions<'_> =
    SquidOptions { certificate: None, no_auth: false, any_credentials: true, outgoing_address: None };
const NAMES: [&str; 4] = ["dies", "rejects its password (407)", "slow", "fast"];
