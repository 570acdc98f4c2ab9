//! Tests with the installed Chromium and small servers on loopback. They fail without a Chromium.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chromiumoxide_cdp::cdp::browser_protocol::target;
use http::{HeaderName, HeaderValue, Method};
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::exchange::request::Request;
use crate::exchange::response::{Body, HttpVersion};
use crate::fingerprint::Profile;
use crate::fingerprint::profile::Brand;
use crate::identity::Identity;
use crate::identity::cookies::Cookie;
use crate::net::{Overrides, TrustConfig};
use crate::settings::limits::Limits;
use crate::settings::render::RenderOptions;

mod credentials;
mod dom;
mod life;
mod memory;
mod pages;
mod pool;
mod proxy;
mod readiness;
mod repeats;
mod stealth;
mod troubles;

type Handler = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Starts a server whose responses `handler` makes from each request's head and body. An empty response is not
/// sent, and the connection stays open.
async fn serve(handler: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler: Handler = Arc::new(handler);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(exchange(stream, Arc::clone(&handler)));
        }
    });
    address
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, handler: Handler) {
    let mut bytes = Vec::new();
    let text = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break text;
        }
    };
    let answer = handler(&text);
    if answer.is_empty() {
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    // The browser may have closed the connection.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let headers = headers.iter().flat_map(|line| [*line, "\r\n"]).collect::<String>();
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn page(body: &str) -> String {
    answer("200 OK", &["Content-Type: text/html"], body)
}

fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// A browser tier with a separate scratch folder, so that tests can check what it leaves behind.
struct Bench {
    tier: BrowserTransport,
    scratch: tempfile::TempDir,
    limits: Limits,
}

impl Bench {
    fn new(change: impl FnOnce(&mut BrowserOptions)) -> Self {
        assert!(find().is_some(), "these tests need a Chromium: `make deps`");
        let scratch = tempfile::tempdir().unwrap();
        let mut options =
            BrowserOptions { scratch_parent: scratch.path().to_owned(), ..BrowserOptions::default() };
        change(&mut options);
        Self { tier: BrowserTransport::new(options), scratch, limits: Limits::default() }
    }

    async fn get(&self, identity: &Identity, url: &str) -> Result<RawResponse> {
        self.send(identity, &Request::get(url.parse().unwrap()), None).await
    }

    async fn send(
        &self,
        identity: &Identity,
        request: &Request,
        wait_for: Option<&str>,
    ) -> Result<RawResponse> {
        let render = RenderOptions { wait_for: wait_for.map(str::to_owned), ..RenderOptions::default() };
        self.render(identity, request, &render).await
    }

    async fn render(
        &self,
        identity: &Identity,
        request: &Request,
        render: &RenderOptions,
    ) -> Result<RawResponse> {
        let limits = &self.limits;
        let job = AttemptRequest { request, identity, limits, render, streaming: false, hooks: None };
        self.tier.execute(job).await
    }

    /// Returns the process ids of the browsers that accept pages.
    fn pids(&self) -> Vec<u32> {
        let browsers = self.tier.pool.browsers();
        browsers.iter().filter(|browser| browser.is_serving()).map(|browser| browser.pid).collect()
    }

    async fn open_pages(&self) -> usize {
        let mut pages = 0;
        for browser in self.tier.pool.browsers() {
            let targets = target::GetTargetsParams::default();
            let all = browser.connection.run(None, &targets, Duration::from_secs(10)).await.unwrap();
            pages += all.target_infos.iter().filter(|info| info.r#type == "page").count();
        }
        pages
    }

    fn left_behind(&self) -> usize {
        std::fs::read_dir(self.scratch.path()).unwrap().count()
    }
}

fn test_identity() -> Identity {
    identity_with_proxy(None)
}

fn identity_with_proxy(proxy: Option<crate::proxy::Proxy>) -> Identity {
    Identity::new("test", Profile::named("chrome-156-linux").unwrap(), proxy)
}

fn text(answer: &RawResponse) -> String {
    match &answer.body {
        Body::Buffered(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Body::Streaming(_) => panic!("a browser's body is whole"),
    }
}

/// Returns the processes of `group`, except zombies.
fn alive(group: u32) -> Vec<String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| {
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            fields[0] != "Z" && fields[2] == group.to_string()
        })
        .collect()
}

fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Kills the largest renderer of a browser: the one with the page, not the spare one.
fn kill_renderer(browser: u32) {
    let pids = alive(browser).into_iter().filter_map(|stat| stat.split(' ').next()?.parse::<u32>().ok());
    let renderers = pids.filter(|pid| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("--type=renderer")
    });
    let resident = |pid: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok())
    };
    kill(renderers.max_by_key(resident).unwrap());
}

/// Waits until `condition` holds.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
