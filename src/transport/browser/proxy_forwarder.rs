//! A loopback proxy for one identity's context. It opens the context's connections, through the identity's proxies or
//! directly, and refuses those that the address rule of the fetch forbids. TLS passes through unchanged.
//!
//! With a proxy it is an HTTP proxy: Chromium accepts a proxy password only if every request is paused, and does not
//! support SOCKS5 with a password. Without one it is a SOCKS5 proxy, so that all bytes pass through unchanged.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use url::Url;

use self::relay::{MAX_HEAD, ResponseSide, relay};
use self::request_head::ProxyRequest;
use self::socks_server::Refusal;
use self::visits::Visits;
use crate::exchange::address_rule::AddressSpace;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Request;
use crate::exchange::trace::Timings;
use crate::identity::Identity;
use crate::identity::traffic::ByteCounter;
use crate::net::head_reader::read_head;
use crate::net::{BoxIo, ConnectTarget, Connector, proxy_authorization};
use crate::os::sync::lock_unpoisoned;
use crate::proxy::{Proxy, ProxyRules};
use crate::settings::limits::Limits;
use crate::text::redact;

mod peer_check;
mod relay;
mod request_head;
mod socks_server;
mod visits;

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
    /// Whether only public addresses may be reached.
    requires_public: bool,
    /// The browser's process group. Only its processes are served.
    group: u32,
    local_address: SocketAddr,
    visits: Mutex<Visits>,
    /// Recent errors by target, which say more than the browser's net errors.
    recent_errors: Mutex<VecDeque<(String, Error)>>,
}

impl Forwarder {
    /// Listens on a free loopback port for the browser with process group `group`. With `requires_public`, the page
    /// reaches public addresses only.
    pub(super) async fn start(
        identity: &Identity,
        connector: &Arc<Connector>,
        limits: &Limits,
        requires_public: bool,
        group: u32,
    ) -> Result<Self> {
        let port_error = |cause: io::Error| {
            Error::new(ErrorKind::Proxy, "could not open a local proxy port").with_source(cause)
        };
        let host = if requires_public { PUBLIC_FORWARDER } else { PRIVATE_FORWARDER };
        let listener = TcpListener::bind((host, 0)).await.map_err(port_error)?;
        let address = listener.local_addr().map_err(port_error)?;
        let shared = Arc::new(ForwarderInner {
            proxy_rules: identity.proxy_rules().clone(),
            byte_counter: Arc::clone(identity.byte_counter()),
            user_agent: identity.profile().browser.as_ref().map(|browser| browser.user_agent.clone()),
            connector: Arc::clone(connector),
            limits: *limits,
            requires_public,
            group,
            local_address: address,
            visits: Mutex::default(),
            recent_errors: Mutex::default(),
        });
        Ok(Self { address, task: tokio::spawn(serve(listener, Arc::clone(&shared))), shared })
    }

    /// Returns its URL for Chromium's proxy settings.
    pub(super) fn url(&self) -> String {
        let scheme = if self.shared.is_direct() { "socks5" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Whether it still runs. It ends with the async runtime on which it was started.
    pub(super) fn is_alive(&self) -> bool {
        !self.task.is_finished()
    }

    /// Starts a visit for `request`. The first connection to its origin decides its address rule.
    ///
    /// # Errors
    /// When the forwarder permits private addresses, and the browser keeps a connection to the origin at a public one.
    pub(super) fn begin_visit(&self, request: &Request) -> Result<ForwardedVisit> {
        let shared = Arc::clone(&self.shared);
        shared.recent_errors().clear();
        let number = shared.visits().begin(request);
        let visit = ForwardedVisit { shared, number };
        if !visit.shared.requires_public && visit.shared.connector.enforces(&request.address_rule) {
            return Err(changed_address_error(request.url.host_str().unwrap_or_default()));
        }
        Ok(visit)
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
    number: u64,
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
        if let Some((_, recent)) = index.and_then(|index| recent_errors.remove(index)) {
            return recent;
        }
        if self.shared.is_direct() {
            let gone = Error::new(ErrorKind::Connect, "the browser could not connect");
            return gone.with_source(error.chain());
        }
        error
    }
}

impl Drop for ForwardedVisit {
    fn drop(&mut self) {
        self.shared.visits().end(self.number);
    }
}

impl ForwarderInner {
    fn recent_errors(&self) -> MutexGuard<'_, VecDeque<(String, Error)>> {
        lock_unpoisoned(&self.recent_errors)
    }

    fn visits(&self) -> MutexGuard<'_, Visits> {
        lock_unpoisoned(&self.visits)
    }

    /// Whether all connections are direct.
    fn is_direct(&self) -> bool {
        self.proxy_rules.is_direct()
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

    /// Opens a direct connection to `host`, or one through a tunnel.
    async fn open(&self, host: &str, port: u16, proxy: Option<&Proxy>) -> Result<BoxIo> {
        let target = self.target(host, port, proxy);
        let (stream, space) = self.connector.dial(&target, &mut Timings::default()).await?;
        self.record(host, port, space)?;
        Ok(stream)
    }

    /// Records where a connection leads. Fails if a visit that must reach public addresses only would begin where
    /// private ones are permitted: the name's address changed since it was looked up for the visit.
    fn record(&self, host: &str, port: u16, space: AddressSpace) -> Result<()> {
        let rules = self.visits().record(host, port, space);
        if !self.requires_public && rules.iter().any(|rule| self.connector.enforces(rule)) {
            return Err(changed_address_error(host));
        }
        Ok(())
    }

    fn target<'a>(&'a self, host: &'a str, port: u16, proxy: Option<&'a Proxy>) -> ConnectTarget<'a> {
        ConnectTarget {
            host,
            port,
            proxy,
            requires_public: self.requires_public,
            limits: &self.limits,
            byte_counter: &self.byte_counter,
            user_agent: self.user_agent.as_deref(),
        }
    }

    /// Opens a connection for `request`. Returns it with the bytes to write first.
    async fn connect(&self, request: &ProxyRequest) -> Result<(BoxIo, Vec<u8>, ResponseSide)> {
        let (host, port) = (&request.host, request.port);
        let proxy = self.proxy_rules.proxy_to(request.tunnel, host);
        if request.tunnel {
            return Ok((self.open(host, port, proxy).await?, Vec::new(), ResponseSide::Tunnel));
        }
        let Some(proxy) = proxy.filter(|proxy| !proxy.scheme().is_socks()) else {
            return Ok((self.open(host, port, proxy).await?, request.for_site(), ResponseSide::Site));
        };
        let target = self.target(host, port, Some(proxy));
        self.connector.check_host(&target)?;
        let stream = self.connector.connect_to_proxy(&target, proxy, &mut Timings::default()).await?;
        self.record(host, port, self.connector.space_of(&target, None))?;
        let authorization = proxy_authorization(proxy);
        Ok((stream, request.for_proxy(authorization.expose()), ResponseSide::Proxy(proxy.clone())))
    }
}

fn changed_address_error(host: &str) -> Error {
    let message =
        format!("the address of `{}` changed from a private to a public one", redact::escape_terminal(host));
    Error::new(ErrorKind::Connect, message)
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
            let forwarding = async {
                if shared.is_direct() {
                    forward_socks(client, &shared).await
                } else {
                    forward(client, &shared).await
                }
            };
            if let Err(cause) = forwarding.await {
                tracing::debug!(%cause, "a connection through the proxy forwarder failed");
            }
        });
    }
}

async fn forward(mut client: TcpStream, shared: &ForwarderInner) -> io::Result<()> {
    let _ = client.set_nodelay(true);
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let (head, rest) =
        timeout(HEAD_LIMIT, read_head(&mut client, Vec::new(), MAX_HEAD)).await.map_err(late)??;
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

/// Serves a connection of a context without a proxy.
async fn forward_socks(mut client: TcpStream, shared: &ForwarderInner) -> io::Result<()> {
    let _ = client.set_nodelay(true);
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let reading = socks_server::read_request(&mut client);
    let (host, port) = timeout(HEAD_LIMIT, reading).await.map_err(late)??;
    // Stop connecting when the client closes the connection.
    let opened = tokio::select! {
        opened = shared.open(&host, port, None) => opened,
        () = wait_closed(&client) => return Ok(()),
    };
    let server = match opened {
        Ok(server) => server,
        Err(error) => {
            let refusal = match error.kind() {
                ErrorKind::Redirect => Refusal::Forbidden,
                ErrorKind::Connect => Refusal::ConnectionRefused,
                _ => Refusal::HostUnreachable,
            };
            shared.record_error(format!("{host}:{port}"), error);
            return socks_server::reply(&mut client, Some(refusal)).await;
        }
    };
    socks_server::reply(&mut client, None).await?;
    relay(client, server, &ResponseSide::Tunnel).await.map(drop)
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

/// The address of forwarders that reach public addresses only. The browser takes pages behind it for public.
pub(super) const PUBLIC_FORWARDER: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The address of the others. Not every system has a second loopback address.
pub(super) const PRIVATE_FORWARDER: Ipv4Addr =
    if cfg!(target_os = "linux") { Ipv4Addr::new(127, 0, 0, 2) } else { Ipv4Addr::LOCALHOST };
const MAX_OPEN: usize = 512;
const MAX_ERRORS: usize = 16;
/// From the start of a connection to the end of its request head. Browsers open some connections in advance.
const HEAD_LIMIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::fingerprint::Profile;

    async fn start_forwarder(proxy: &str, group: u32) -> Forwarder {
        start_restricted(proxy, true, group).await
    }

    async fn start_restricted(proxy: &str, requires_public: bool, group: u32) -> Forwarder {
        let profile = Profile::named("chrome-156-linux").unwrap();
        let identity = Identity::new("test", profile, Some(proxy.parse().unwrap()));
        Forwarder::start(&identity, &Arc::default(), &Limits::default(), requires_public, group)
            .await
            .unwrap()
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
                let _ = read_head(&mut stream, Vec::new(), MAX_HEAD).await;
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
    async fn private_addresses_are_refused_where_only_public_ones_are_permitted() {
        // No server listens at the proxy address: the error kind shows whether it was tried.
        let request = "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n";
        let url: Url = "http://127.0.0.1:1/".parse().unwrap();
        for (requires_public, kind) in [(true, ErrorKind::Redirect), (false, ErrorKind::Proxy)] {
            let forwarder = start_restricted("http://127.0.0.1:9", requires_public, own_group()).await;
            let visit = forwarder.begin_visit(&Request::get(url.clone())).unwrap();
            let general = || Error::new(ErrorKind::Proxy, "the browser says");
            assert!(exchange(&forwarder, request).await.starts_with("HTTP/1.1 407"), "{kind:?}");
            let error = visit.explain(general(), &url);
            assert_eq!(error.kind(), kind, "{}", error.chain());
            let again = visit.explain(general(), &url).to_string();
            assert_eq!(again, "the browser says", "each error is used once");
        }
    }

    #[tokio::test]
    async fn a_public_visit_does_not_begin_where_private_addresses_are_permitted() {
        let forwarder = start_restricted("http://127.0.0.1:9", false, own_group()).await;
        let request = || Request::get("http://a.test/".parse().unwrap());
        let private = request();
        let visit = forwarder.begin_visit(&private).unwrap();
        assert!(forwarder.shared.record("a.test", 80, AddressSpace::Private).is_ok());
        assert!(!private.address_rule.requires_public());
        drop(visit);
        let changed = request();
        let _visit = forwarder.begin_visit(&changed).unwrap();
        let error = forwarder.shared.record("a.test", 80, AddressSpace::Public).unwrap_err();
        assert!(error.kind() == ErrorKind::Connect && changed.address_rule.requires_public(), "{error}");
        // Now the browser keeps a connection to a public address.
        assert!(forwarder.begin_visit(&request()).is_err());
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
