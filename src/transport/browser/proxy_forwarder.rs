//! A proxy on loopback between one identity's context and the identity's own proxies: Chromium
//! knows no proxy password short of pausing every request, and speaks no SOCKS5 with one. TLS
//! passes through untouched.

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

/// A listener for one identity's context; ends, with its connections, when dropped.
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
    /// The browser's process group, which alone is served.
    group: u32,
    local_address: SocketAddr,
    /// Visits under way to addresses that are private themselves.
    private_visits: AtomicUsize,
    /// What went wrong lately, by target: the browser tells its driver less.
    recent_errors: Mutex<VecDeque<(String, Error)>>,
}

impl Forwarder {
    /// Listens on a free loopback port, for the browser whose process group is `group`.
    pub(super) async fn start(
        identity: &Identity,
        ways: &Arc<Connector>,
        bounds: &Limits,
        group: u32,
    ) -> Result<Self> {
        let unopened = |cause: io::Error| {
            Error::new(ErrorKind::Proxy, "could not open a local proxy port").with_source(cause)
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(unopened)?;
        let here = listener.local_addr().map_err(unopened)?;
        let shared = Arc::new(ForwarderInner {
            proxy_rules: identity.proxy_rules().clone(),
            byte_counter: Arc::clone(identity.byte_counter()),
            user_agent: identity.profile().browser.as_ref().map(|browser| browser.user_agent.clone()),
            connector: Arc::clone(ways),
            limits: *bounds,
            group,
            local_address: here,
            private_visits: AtomicUsize::new(0),
            recent_errors: Mutex::default(),
        });
        Ok(Self { address: here, task: tokio::spawn(serve(listener, Arc::clone(&shared))), shared })
    }

    /// Where Chromium finds it, as its proxy settings have it.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether it still serves: it ends with the runtime it was started on.
    pub(super) fn is_alive(&self) -> bool {
        !self.task.is_finished()
    }

    /// A page is about to visit `url`. As long as the visit is held, private addresses are let
    /// through if `url` is one: who asks for one means it.
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
        tracing::debug!(sent = traffic.sent, received = traffic.received, "a context's proxy port is closed");
    }
}

/// A visit under way.
pub(super) struct ForwardedVisit {
    shared: Arc<ForwarderInner>,
    guarded: bool,
}

impl ForwardedVisit {
    /// What the browser could only call a proxy's failure, in the forwarder's own words.
    pub(super) fn explain(&self, error: Error, url: &Url) -> Error {
        if error.kind() != ErrorKind::Proxy {
            return error;
        }
        let port = url.port_or_known_default().unwrap_or(0);
        let target = format!("{}:{port}", url.host_str().unwrap_or_default());
        let mut faults = self.shared.recent_errors();
        // After a redirect it is another host's: the latest.
        let at = faults.iter().rposition(|(at, _)| *at == target).or(faults.len().checked_sub(1));
        at.and_then(|at| faults.remove(at)).map_or(error, |(_, fault)| fault)
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
        tracing::debug!(target_host = target, cause = error.chain(), "the proxy forwarder got nowhere");
        let mut faults = self.recent_errors();
        if faults.len() >= MAX_ERRORS {
            faults.pop_front();
        }
        faults.push_back((target, error));
    }

    /// Whether the browser, and not another program, is at the other end.
    async fn is_own_browser(self: &Arc<Self>, peer: SocketAddr) -> bool {
        let shared = Arc::clone(self);
        let look = move || peer_check::is_peer_in_group(peer, shared.local_address, shared.group);
        tokio::task::spawn_blocking(look).await.unwrap_or(false)
    }

    /// A connection for `ask`, and what is to be written to it first.
    async fn connect(&self, ask: &ProxyRequest) -> Result<(BoxIo, Vec<u8>, ResponseSide)> {
        let proxy = self.proxy_rules.proxy_to(ask.tunnel, &ask.host);
        let guarded = self.private_visits.load(Ordering::Relaxed) == 0;
        let way = ConnectTarget {
            host: &ask.host,
            port: ask.port,
            proxy,
            requires_public: guarded,
            limits: &self.limits,
            byte_counter: &self.byte_counter,
            user_agent: self.user_agent.as_deref(),
        };
        if self.connector.is_forbidden(&way) {
            return Err(private_address_error(&ask.host));
        }
        let mut timings = Timings::default();
        if ask.tunnel {
            return Ok((self.connector.open(&way, &mut timings).await?, Vec::new(), ResponseSide::Tunnel));
        }
        match proxy.filter(|proxy| !proxy.scheme().is_socks()) {
            Some(proxy) => {
                let stream = self.connector.connect_to_proxy(&way, proxy, &mut timings).await?;
                let authorization = proxy_authorization(proxy);
                Ok((stream, ask.for_proxy(authorization.expose()), ResponseSide::Proxy(proxy.clone())))
            }
            None => Ok((self.connector.open(&way, &mut timings).await?, ask.for_site(), ResponseSide::Site)),
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
                    // Out of descriptors, most likely: give others time to close some.
                    tracing::debug!(%cause, "the proxy forwarder could not accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            Some(_) = open.join_next() => continue,
        };
        let shared = Arc::clone(&shared);
        open.spawn(async move {
            if !shared.is_own_browser(peer).await {
                tracing::warn!(%peer, "another program asked for the browser's proxy, and was refused");
                return;
            }
            if let Err(cause) = forward(client, &shared).await {
                tracing::debug!(%cause, "a connection through the proxy forwarder broke");
            }
        });
    }
}

async fn forward(mut client: TcpStream, shared: &ForwarderInner) -> io::Result<()> {
    let _ = client.set_nodelay(true);
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let (head, rest) = timeout(HEAD_LIMIT, read_head(&mut client)).await.map_err(late)??;
    let Some(ask) = ProxyRequest::parse(head) else {
        return client.write_all(status_response("400 Bad Request").as_bytes()).await;
    };
    // Whoever hangs up meanwhile is not dialled for any longer.
    let opened = tokio::select! {
        opened = shared.connect(&ask) => opened,
        () = wait_closed(&client) => return Ok(()),
    };
    let (mut server, first, answers) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            shared.record_error(ask.target(), error);
            // What Chromium reads as "the proxy failed": for http URLs that is 407 alone.
            let status = if ask.tunnel { "502 Bad Gateway" } else { "407 No Way" };
            return client.write_all(status_response(status).as_bytes()).await;
        }
    };
    if ask.tunnel {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    }
    server.write_all(&first).await?;
    server.write_all(&rest).await?;
    server.flush().await?;
    let refusal = relay(client, server, &answers).await?;
    if let Some(error) = refusal {
        shared.record_error(ask.target(), error);
    }
    Ok(())
}

/// Returns when the other side has closed.
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
/// From a connection's start to the end of its request's head: browsers open some in advance.
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

    /// What comes back for `request`, to the end of the connection.
    async fn exchange(forwarder: &Forwarder, request: &str) -> String {
        let mut client = TcpStream::connect(forwarder.address).await.unwrap();
        // Refused, it may be closed before all is written.
        let _ = client.write_all(request.as_bytes()).await;
        let mut answer = String::new();
        let _ = client.read_to_string(&mut answer).await;
        answer
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread")]
    async fn another_program_cannot_use_the_proxy() {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://jane:s3cret@{}", upstream.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = upstream.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
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
        assert_eq!((foreign.as_str(), asked.load(Ordering::Relaxed)), ("", 0));
        let ours = exchange(&start_forwarder(&proxy, own_group()).await, request).await;
        assert!(ours.starts_with("HTTP/1.1 200") && ours.ends_with("hello"), "{ours}");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn private_addresses_are_let_through_while_one_is_visited() {
        // Nobody listens at the proxy: whether it was tried shows in the fault.
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
            assert_eq!(visit.explain(proxy_failed(), &url).to_string(), "the browser says", "told once");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_no_proxy_request_is_refused() {
        let forwarder = start_forwarder("http://127.0.0.1:9", own_group()).await;
        for request in ["GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n"] {
            assert!(exchange(&forwarder, request).await.starts_with("HTTP/1.1 400"), "{request:?}");
        }
        assert_eq!(exchange(&forwarder, &"x".repeat(300 * 1024)).await, "", "an endless head");
    }
}
