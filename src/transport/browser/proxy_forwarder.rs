//! A loopback proxy between one identity's context and the identity's proxies. Chromium accepts a proxy password
//! only if every request is paused, and does not support SOCKS5 with a password. TLS passes through unchanged.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use url::Url;

use self::relay::{ResponseSide, read_head, relay};
use self::request_head::ProxyRequest;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::net::{BoxIo, ConnectTarget, Connector, private_address_error, proxy_authorization};
use crate::proxy::ProxyRules;
use crate::sync::lock_unpoisoned;
use crate::trace::Timings;
use crate::traffic::ByteCounter;

mod peer_check;
mod relay;
mod request_head;

/// A listener for one identity's context. Dropping it closes the listener and its connections.
pub(super) struct Forwarder {
    address: SocketAddr,
    shared: Arc<ForwarderInner>,
    task: JoinHandle<()>,
}

struct ForwarderInner {
    proxy_rules: ProxyRules,
    byte_counter: Arc<ByteCounter>,
    user_agent: Option<String>,
    connector: Arc<Connector>,
    limits: Limits,
    /// The browser's process group. Only its processes are served.
    group: u32,
    local_address: SocketAddr,
    /// Number of visits in progress whose URL has a private address.
    private_visits: AtomicUsize,
    /// Recent errors by target, which say more than the browser's net errors.
    recent_errors: Mutex<VecDeque<(String, Error)>>,
}

impl Forwarder {
    /// Listens on a free loopback port for the browser with process group `group`.
    pub(super) async fn start(
        identity: &Identity,
        connector: &Arc<Connector>,
        limits: &Limits,
        group: u32,
    ) -> Result<Self> {
        let port_error = |cause: io::Error| {
            Error::new(ErrorKind::Proxy, "could not open a local proxy port").with_source(cause)
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(port_error)?;
        let address = listener.local_addr().map_err(port_error)?;
        let shared = Arc::new(ForwarderInner {
            proxy_rules: identity.proxy_rules().clone(),
            byte_counter: Arc::clone(identity.byte_counter()),
            user_agent: identity.profile().browser.as_ref().map(|browser| browser.user_agent.clone()),
            connector: Arc::clone(connector),
            limits: *limits,
            group,
            local_address: address,
            private_visits: AtomicUsize::new(0),
            recent_errors: Mutex::default(),
        });
        Ok(Self { address, task: tokio::spawn(serve(listener, Arc::clone(&shared))), shared })
    }

    /// Returns its URL for Chromium's proxy settings.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether it still runs. It ends with the async runtime on which it was started.
    pub(super) fn is_alive(&self) -> bool {
        !self.task.is_finished()
    }

    /// Starts a visit to `url`. If `url` has a private address, the caller chose it, and private addresses are
    /// permitted until the visit is dropped.
    pub(super) async fn begin_visit(&self, url: &Url) -> ForwardedVisit {
        self.shared.recent_errors().clear();
        let shared = &self.shared;
        let guarded = shared.connector.requires_public(&shared.proxy_rules, url, &shared.limits).await;
        if !guarded {
            shared.private_visits.fetch_add(1, Ordering::Relaxed);
        }
        ForwardedVisit { shared: Arc::clone(shared), guarded }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
        let traffic = self.shared.byte_counter.snapshot();
        tracing::debug!(sent = traffic.sent, received = traffic.received, "closed a context's proxy port");
    }
}

/// A visit in progress.
pub(super) struct ForwardedVisit {
    shared: Arc<ForwarderInner>,
    guarded: bool,
}

impl ForwardedVisit {
    /// Replaces the browser's general proxy error by the forwarder's error, if one was recorded.
    pub(super) fn explain(&self, error: Error, url: &Url) -> Error {
        if error.kind() != ErrorKind::Proxy {
            return error;
        }
        let port = url.port_or_known_default().unwrap_or(0);
        let target = format!("{}:{port}", url.host_str().unwrap_or_default());
        let mut recent_errors = self.shared.recent_errors();
        // After a redirect, another host failed: use the latest error.
        let index = recent_errors
            .iter()
            .rposition(|(host, _)| *host == target)
            .or(recent_errors.len().checked_sub(1));
        index.and_then(|index| recent_errors.remove(index)).map_or(error, |(_, recent)| recent)
    }
}

impl Drop for ForwardedVisit {
    fn drop(&mut self) {
        if !self.guarded {
            self.shared.private_visits.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl ForwarderInner {
    fn recent_errors(&self) -> std::sync::MutexGuard<'_, VecDeque<(String, Error)>> {
        lock_unpoisoned(&self.recent_errors)
    }

    fn record_error(&self, target: String, error: Error) {
        tracing::debug!(target_host = target, cause = error.chain(), "the proxy forwarder could not connect");
        let mut recent_errors = self.recent_errors();
        if recent_errors.len() >= MAX_ERRORS {
            recent_errors.pop_front();
        }
        recent_errors.push_back((target, error));
    }

    /// Whether the peer is the browser and not another program.
    async fn is_own_browser(self: &Arc<Self>, peer: SocketAddr) -> bool {
        let shared = Arc::clone(self);
        let check = move || peer_check::is_peer_in_group(peer, shared.local_address, shared.group);
        tokio::task::spawn_blocking(check).await.unwrap_or(false)
    }

    /// Opens a connection for `request`. Returns it with the bytes to write first.
    async fn connect(&self, request: &ProxyRequest) -> Result<(BoxIo, Vec<u8>, ResponseSide)> {
        let proxy = self.proxy_rules.proxy_to(request.tunnel, &request.host);
        let guarded = self.private_visits.load(Ordering::Relaxed) == 0;
        let target = ConnectTarget {
            host: &request.host,
            port: request.port,
            proxy,
            requires_public: guarded,
            limits: &self.limits,
            byte_counter: &self.byte_counter,
            user_agent: self.user_agent.as_deref(),
        };
        if self.connector.is_forbidden(&target) {
            return Err(private_address_error(&request.host));
        }
        let mut timings = Timings::default();
        if request.tunnel {
            return Ok((self.connector.open(&target, &mut timings).await?, Vec::new(), ResponseSide::Tunnel));
        }
        match proxy.filter(|proxy| !proxy.scheme().is_socks()) {
            Some(proxy) => {
                let stream = self.connector.connect_to_proxy(&target, proxy, &mut timings).await?;
                let authorization = proxy_authorization(proxy);
                Ok((stream, request.for_proxy(authorization.expose()), ResponseSide::Proxy(proxy.clone())))
            }
            None => Ok((
                self.connector.open(&target, &mut timings).await?,
                request.for_site(),
                ResponseSide::Site,
            )),
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<ForwarderInner>) {
    let mut open = JoinSet::new();
    loop {
        let (client, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) if open.len() < MAX_OPEN => accepted,
                Ok(_) => continue,
                Err(cause) => {
                    // Most likely out of file descriptors: wait until some are closed.
                    tracing::debug!(%cause, "the proxy forwarder could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            Some(_) = open.join_next() => continue,
        };
        let shared = Arc::clone(&shared);
        open.spawn(async move {
            if !shared.is_own_browser(peer).await {
                tracing::warn!(%peer, "refused a connection by another program to the browser's proxy port");
                return;
            }
            if let Err(cause) = forward(client, &shared).await {
                tracing::debug!(%cause, "a connection through the proxy forwarder failed");
            }
        });
    }
}

async fn forward(mut client: TcpStream, shared: &ForwarderInner) -> io::Result<()> {
    let _ = client.set_nodelay(true);
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let (head, rest) = timeout(HEAD_LIMIT, read_head(&mut client)).await.map_err(late)??;
    let Some(request) = ProxyRequest::parse(head) else {
        return client.write_all(status_response("400 Bad Request").as_bytes()).await;
    };
    // Stop connecting when the client closes the connection.
    let opened = tokio::select! {
        opened = shared.connect(&request) => opened,
        () = wait_closed(&client) => return Ok(()),
    };
    let (mut server, first, response_side) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            shared.record_error(request.target(), error);
            // The status that Chromium reports as a proxy error. For http URLs that is only 407.
            let status = if request.tunnel { "502 Bad Gateway" } else { "407 Proxy Authentication Required" };
            return client.write_all(status_response(status).as_bytes()).await;
        }
    };
    if request.tunnel {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    }
    server.write_all(&first).await?;
    server.write_all(&rest).await?;
    server.flush().await?;
    let refusal = relay(client, server, &response_side).await?;
    if let Some(error) = refusal {
        shared.record_error(request.target(), error);
    }
    Ok(())
}

/// Returns when the client has closed the connection.
async fn wait_closed(client: &TcpStream) {
    if let Ok(1..) = client.peek(&mut [0]).await {
        std::future::pending::<()>().await;
    }
}

fn status_response(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
}

const MAX_OPEN: usize = 512;
const MAX_ERRORS: usize = 16;
/// From the start of a connection to the end of its request head. Browsers open some connections in advance.
const HEAD_LIMIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::fingerprint::Profile;

    async fn start_forwarder(proxy: &str, group: u32) -> Forwarder {
        let profile = Profile::named("chrome-156-linux").unwrap();
        let identity = Identity::new("test", profile, Some(proxy.parse().unwrap()));
        Forwarder::start(&identity, &Arc::default(), &Limits::default(), group).await.unwrap()
    }

    fn own_group() -> u32 {
        rustix::process::getpgrp().as_raw_nonzero().get().cast_unsigned()
    }

    /// Sends `request`. Returns all bytes up to the end of the connection.
    async fn exchange(forwarder: &Forwarder, request: &str) -> String {
        let mut client = TcpStream::connect(forwarder.address).await.unwrap();
        // A refused connection may be closed before all bytes are written.
        let _ = client.write_all(request.as_bytes()).await;
        let mut response = String::new();
        let _ = client.read_to_string(&mut response).await;
        response
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread")]
    async fn another_program_cannot_use_the_proxy() {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://jane:s3cret@{}", upstream.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = upstream.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                let _ = read_head(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await;
            }
        });
        let request = "CONNECT site.example:443 HTTP/1.1\r\n\r\n";
        let mut browser = std::process::Command::new("sleep");
        std::os::unix::process::CommandExt::process_group(&mut browser, 0);
        let mut browser = browser.arg("60").spawn().unwrap();
        let foreign = exchange(&start_forwarder(&proxy, browser.id()).await, request).await;
        browser.kill().unwrap();
        browser.wait().unwrap();
        assert_eq!((foreign.as_str(), connections.load(Ordering::Relaxed)), ("", 0));
        let ours = exchange(&start_forwarder(&proxy, own_group()).await, request).await;
        assert!(ours.starts_with("HTTP/1.1 200") && ours.ends_with("hello"), "{ours}");
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn private_addresses_are_permitted_only_during_a_visit_to_one() {
        // No server listens at the proxy address: the error kind shows whether it was tried.
        let forwarder = start_forwarder("http://127.0.0.1:9", own_group()).await;
        let request = "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n";
        let (public, private) = ("http://site.example/", "http://127.0.0.1:1/");
        let proxy_failed = || Error::new(ErrorKind::Proxy, "the browser says");
        for (visited, kind) in
            [(public, ErrorKind::Redirect), (private, ErrorKind::Proxy), (public, ErrorKind::Redirect)]
        {
            let url: Url = visited.parse().unwrap();
            let visit = forwarder.begin_visit(&url).await;
            assert!(exchange(&forwarder, request).await.starts_with("HTTP/1.1 407"), "{visited}");
            let error = visit.explain(proxy_failed(), &private.parse().unwrap());
            assert_eq!(error.kind(), kind, "{visited}: {}", error.chain());
            assert_eq!(
                visit.explain(proxy_failed(), &url).to_string(),
                "the browser says",
                "each error is used once"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn requests_that_are_not_proxy_requests_are_refused() {
        let forwarder = start_forwarder("http://127.0.0.1:9", own_group()).await;
        for request in ["GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n"] {
            assert!(exchange(&forwarder, request).await.starts_with("HTTP/1.1 400"), "{request:?}");
        }
        assert_eq!(exchange(&forwarder, &"x".repeat(300 * 1024)).await, "", "a head above the size limit");
    }
}
