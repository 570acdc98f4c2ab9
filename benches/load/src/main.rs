//! rungs under load, and an origin that delays its responses.
//!
//! `load engine|router URL COUNT AT_ONCE`: fetches URL COUNT times with AT_ONCE concurrent requests.
//! `load timed URL COUNT AT_ONCE`: as `router`, and prints the seconds it took.
//! `load lag URL COUNT AT_ONCE`: as `router`, and prints how long a task waits to be run, in microseconds: p50, p99, max.
//! `load idle PORT COUNT`: connects to COUNT hosts of a TLS origin on PORT, keeps one connection to each, and prints the
//! memory per connection in kB.
//! `load origin`: serves `/N` with a delay of N milliseconds, and prints its port.

mod lag;
mod many;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use many::{Done, many};
use rungs::fingerprint::Profile;
use rungs::lab::EngineOnly;
use rungs::{Fetcher, FetcherBuilder, RateLimit, Tier};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["engine", url, count, at_once] => engine(url, count.parse()?, at_once.parse()?).await,
        ["router", url, count, at_once] => router(url, count.parse()?, at_once.parse()?).await,
        ["timed", url, count, at_once] => {
            let from = Instant::now();
            router(url, count.parse()?, at_once.parse()?).await?;
            println!("{:.4}", from.elapsed().as_secs_f64());
            Ok(())
        }
        ["lag", url, count, at_once] => lag::during(router(url, count.parse()?, at_once.parse()?)).await,
        ["idle", port, count] => idle(port.parse()?, count.parse()?).await,
        ["origin"] => origin().await,
        _ => Err("see the top of this file".into()),
    }
}

/// Settings of every run: the impersonate tier, any certificate, no rate limit.
fn settings(at_once: usize) -> Done<FetcherBuilder> {
    let rate_limit = RateLimit::new().concurrency(u32::try_from(at_once)?);
    Ok(Fetcher::builder()
        .min_tier(Tier::Impersonate)
        .max_tier(Tier::Impersonate)
        .browser_profile(profile()?)
        .insecure(true)
        .max_connections(at_once.max(1024))
        .rate_limit(rate_limit))
}

fn profile() -> Done<Arc<Profile>> {
    Ok(Profile::named("chrome-156-linux")?)
}

async fn engine(url: &str, count: usize, at_once: usize) -> Done<()> {
    let (engine, url): (_, Arc<str>) = (Arc::new(EngineOnly::new(profile()?, true)?), url.into());
    many(count, at_once, move || {
        let (engine, url) = (Arc::clone(&engine), Arc::clone(&url));
        async move { Ok(engine.get(&url).await?) }
    })
    .await
}

async fn router(url: &str, count: usize, at_once: usize) -> Done<()> {
    let (fetcher, url): (_, Arc<str>) = (settings(at_once)?.build()?, url.into());
    many(count, at_once, move || {
        let (fetcher, url) = (fetcher.clone(), Arc::clone(&url));
        async move {
            let page = fetcher.get(&*url).send().await?;
            Ok((page.status().as_u16(), page.bytes().len()))
        }
    })
    .await
}

async fn idle(port: u16, count: usize) -> Done<()> {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let fetcher = &settings(count + 1024)?.resolve("*", port, here).build()?;
    let get = |n: usize| async move {
        let page = fetcher.get(format!("https://h{n}.load.example:{port}/1")).send().await?;
        Done::Ok((page.status().as_u16(), page.bytes().len()))
    };
    // One-time setup must not count as memory of the connections.
    get(0).await?;
    let before = resident()?;
    let all = stream::iter(1..=count).map(get).buffer_unordered(64);
    all.try_for_each(|_| async { Ok(()) }).await?;
    let open = std::fs::read_dir("/proc/self/fd")?.count();
    if open < count {
        return Err(format!("only {open} descriptors are open").into());
    }
    #[expect(clippy::cast_precision_loss, reason = "kB, and some thousands")]
    let each = (resident()? - before) as f64 / count as f64;
    println!("{each:.1}");
    Ok(())
}

/// Resident memory in kB.
fn resident() -> Done<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

async fn origin() -> Done<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that disconnects is not an error of the origin.
        tokio::spawn(async move { serve(stream).await.ok() });
    }
}

/// Serves requests without a body, one after the other.
async fn serve(stream: TcpStream) -> Done<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(first) = lines.next_line().await? {
        while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
        let late = first.split('/').nth(1).and_then(|path| path.split([' ', '?']).next()).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(late.parse()?)).await;
        write.write_all(ANSWER.as_bytes()).await?;
    }
    Ok(())
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nlate";
