//! A loopback server that records every client byte for byte.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boring::ssl::SslAcceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::authority::Authority;
use super::recording::{Client, Exchange, RecordedConnection};
use super::reply::Reply;
use super::serve::{self, Handler};
use super::tap::Tap;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::fingerprint::hello::{ClientHello, HelloError, MAX_HELLO};
use crate::fingerprint::profile::WireProtocol;
use crate::os::sync::lock_unpoisoned;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// The maximum number of recorded connections. The oldest are dropped.
const MAX_CLIENTS: usize = 1024;
/// The maximum number of concurrent connections.
const MAX_OPEN: usize = 4096;

/// A running recorder. Dropping it stops the server and closes its connections.
pub struct Recorder {
    addr: SocketAddr,
    log: Arc<ClientLog>,
    /// Dropping the set aborts the tasks.
    _tasks: JoinSet<()>,
}

/// Listening options of a recorder.
pub struct RecorderBuilder {
    port: u16,
    extra_addresses: Vec<Ipv4Addr>,
    protocols: Vec<&'static str>,
    authority: Option<Arc<Authority>>,
}

impl Recorder {
    /// Returns a builder with the defaults.
    #[must_use]
    pub const fn builder() -> RecorderBuilder {
        RecorderBuilder { port: 0, extra_addresses: Vec::new(), protocols: Vec::new(), authority: None }
    }

    /// The main listening address. It is on 127.0.0.1, also if extra addresses are set.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The recorded clients, in order of arrival.
    #[must_use]
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.log.clients().iter().cloned().collect()
    }

    /// The recorded connections, in order of arrival.
    #[must_use]
    pub fn connections(&self) -> Vec<RecordedConnection> {
        self.log.clients().iter().map(|client| client.to_connection()).collect()
    }

    /// Clears the recording. A connection that is still open is recorded again with its next request.
    pub fn clear(&self) {
        for client in self.log.clients().drain(..) {
            client.clear();
        }
    }

    /// Waits until `done` is true for the recorded connections, at most `limit`. Returns whether it is.
    pub async fn wait_until(&self, limit: Duration, done: impl Fn(&[RecordedConnection]) -> bool) -> bool {
        let mut changes = self.log.changes.subscribe();
        let condition = async {
            while !done(&self.connections()) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(limit, condition).await.is_ok()
    }
}

impl RecorderBuilder {
    /// The port. Default: 0, any free one.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Also listens on these loopback addresses, on the same port. Clients that share connections between
    /// hosts of one address then treat them as separate hosts. Default: none.
    #[must_use]
    pub fn extra_addresses(mut self, addresses: &[Ipv4Addr]) -> Self {
        self.extra_addresses = addresses.to_vec();
        self
    }

    /// Enables TLS with this authority's leaf, and offers these ALPN protocols. Default: cleartext.
    #[must_use]
    pub fn tls(mut self, authority: Arc<Authority>, protocols: &[&'static str]) -> Self {
        self.authority = Some(authority);
        self.protocols = protocols.to_vec();
        self
    }

    /// Starts the recorder. `handler` responds to every request.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the port cannot be bound, [`ErrorKind::Tls`] when TLS cannot be set up.
    pub async fn start(
        self,
        handler: impl Fn(&Exchange) -> Reply + Send + Sync + 'static,
    ) -> Result<Recorder> {
        let acceptor = match &self.authority {
            Some(authority) => Some(authority.acceptor(&self.protocols)?),
            None => None,
        };
        let bind_error = |address, port| {
            move |cause| {
                Error::new(ErrorKind::Io, format!("the lab could not listen on {address}:{port}"))
                    .with_source(cause)
            }
        };
        let localhost = Ipv4Addr::LOCALHOST;
        let listener =
            TcpListener::bind((localhost, self.port)).await.map_err(bind_error(localhost, self.port))?;
        let addr = listener.local_addr().map_err(bind_error(localhost, self.port))?;
        let mut listeners = vec![listener];
        for address in &self.extra_addresses {
            let bound = TcpListener::bind((*address, addr.port())).await;
            listeners.push(bound.map_err(bind_error(*address, addr.port()))?);
        }
        let log = Arc::new(ClientLog::default());
        let server =
            Server { acceptor, handler: Arc::new(handler), log: Arc::clone(&log), next: AtomicUsize::new(0) };
        let server = Arc::new(server);
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(accept(listener, Arc::clone(&server)));
        }
        Ok(Recorder { addr, log, _tasks: tasks })
    }
}

#[derive(Default)]
struct ClientLog {
    clients: Mutex<VecDeque<Arc<Client>>>,
    changes: watch::Sender<usize>,
}

impl ClientLog {
    fn clients(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Client>>> {
        lock_unpoisoned(&self.clients)
    }

    /// Adds a client that is new or was removed by [`Recorder::clear`], and notifies waiting tasks.
    fn add(&self, client: &Arc<Client>) {
        let mut clients = self.clients();
        if !clients.iter().rev().any(|known| Arc::ptr_eq(known, client)) {
            clients.push_back(Arc::clone(client));
        }
        if clients.len() > MAX_CLIENTS {
            clients.pop_front();
        }
        drop(clients);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

struct Server {
    acceptor: Option<SslAcceptor>,
    handler: Handler,
    log: Arc<ClientLog>,
    /// The number of the next client.
    next: AtomicUsize,
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if open.len() < MAX_OPEN => {
                    let id = server.next.fetch_add(1, Ordering::Relaxed);
                    open.spawn(Arc::clone(&server).serve(stream, id));
                }
                // Above the limit: dropping the stream closes it.
                Ok(_) => {}
                // Usually too many open files. Some close soon.
                Err(_) => sleep(ACCEPT_RETRY_DELAY).await,
            },
            Some(_) = open.join_next(), if !open.is_empty() => {}
        }
    }
}

impl Server {
    /// Serves one connection. A client may end it in any way, so errors are not reported.
    async fn serve(self: Arc<Self>, stream: TcpStream, id: usize) {
        let _ = stream.set_nodelay(true);
        let handler: Handler = {
            let (handler, log) = (Arc::clone(&self.handler), Arc::clone(&self.log));
            Arc::new(move |exchange: &Exchange| {
                log.add(&exchange.client);
                handler(exchange)
            })
        };
        let Some(acceptor) = &self.acceptor else {
            let client = Arc::new(Client::new(id, WireProtocol::Cleartext, true, Vec::new()));
            self.log.add(&client);
            let _ = serve::h1(stream, client, handler).await;
            return;
        };
        let hello = Arc::new(Mutex::new(HelloSniffer::default()));
        let on_read = {
            let hello = Arc::clone(&hello);
            move |bytes: &[u8]| lock_unpoisoned(&hello).push(bytes)
        };
        let handshake =
            timeout(HANDSHAKE_TIMEOUT, tokio_boring::accept(acceptor, Tap::new(stream, on_read))).await;
        let h2 = matches!(&handshake, Ok(Ok(tls)) if tls.ssl().selected_alpn_protocol() == Some(b"h2"));
        let records = std::mem::take(&mut lock_unpoisoned(&hello).bytes);
        let over = if h2 { WireProtocol::Http2 } else { WireProtocol::Http1 };
        let client = Arc::new(Client::new(id, over, matches!(handshake, Ok(Ok(_))), records));
        self.log.add(&client);
        match handshake {
            Ok(Ok(tls)) if h2 => drop(serve::h2(tls, client, handler).await),
            Ok(Ok(tls)) => drop(serve::h1(tls, client, handler).await),
            // The ClientHello is recorded even if the client rejects the certificate.
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Buffers the first bytes of a connection until they form a ClientHello or cannot be one.
#[derive(Default)]
struct HelloSniffer {
    bytes: Vec<u8>,
    done: bool,
}

impl HelloSniffer {
    fn push(&mut self, bytes: &[u8]) {
        if self.done {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        self.done = self.bytes.len() > MAX_HELLO
            || ClientHello::from_records(&self.bytes) != Err(HelloError::Incomplete);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::test_client::TestClient;
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    async fn send_raw(recorder: &Recorder, text: &str) -> String {
        let mut stream = TcpStream::connect(recorder.addr()).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        // A server that does not read all bytes ends with a reset. The bytes before it count.
        let _ = stream.read_to_end(&mut response).await;
        String::from_utf8_lossy(&response).into_owned()
    }

    fn tls() -> (Arc<Authority>, RecorderBuilder) {
        let authority = Arc::new(Authority::new(&["one.test"]).unwrap());
        let builder = Recorder::builder().tls(Arc::clone(&authority), &["h2", "http/1.1"]);
        (authority, builder)
    }

    #[tokio::test]
    async fn cleartext_requests_are_kept_in_wire_order_and_case() {
        let recorder = Recorder::builder()
            .start(|exchange| {
                Reply::html(200, format!("{} {:?}", exchange.request.path, exchange.body)).close_after()
            })
            .await
            .unwrap();
        let text = "POST /a?b HTTP/1.1\r\nHost: one.test:1\r\nsec-CH-ua: x\r\nAccept: */*\r\nContent-Length: 2\r\n\r\nhi";
        let response = send_raw(&recorder, text).await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.contains("connection: close\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\n/a?b b\"hi\""), "{response}");
        let connections = recorder.connections();
        let request = &connections[0].requests[0];
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Host", "sec-CH-ua", "Accept", "Content-Length"]);
        assert_eq!((request.method.as_str(), request.host()), ("POST", "one.test"));
        assert_eq!((connections[0].over, connections[0].ja4.as_deref()), (WireProtocol::Cleartext, None));
    }

    #[tokio::test]
    async fn one_connection_carries_several_requests() {
        let recorder = Recorder::builder().start(|_| Reply::status(204)).await.unwrap();
        let response = send_raw(
            &recorder,
            "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert_eq!(response.matches("HTTP/1.1 204 No Content\r\n").count(), 2, "{response}");
        assert!(!response.contains("content-length"), "{response}");
        assert_eq!(recorder.connections().len(), 1);
        assert_eq!(recorder.connections()[0].requests.len(), 2);
    }

    #[tokio::test]
    async fn invalid_requests_are_rejected_and_the_recorder_continues() {
        let recorder = Recorder::builder().start(|_| Reply::status(200)).await.unwrap();
        for (text, status) in [
            ("nonsense\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "413"),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "413"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "411"),
        ] {
            let response = send_raw(&recorder, text).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{text}: {response}");
        }
        let (_, builder) = tls();
        let recorder = builder.start(|_| Reply::status(200)).await.unwrap();
        send_raw(&recorder, "GET / HTTP/1.1\r\n\r\n").await;
        assert!(recorder.wait_until(TIMEOUT, |all| all.len() == 1).await);
        let connection = &recorder.connections()[0];
        assert_eq!((connection.finished, connection.ja4.as_deref()), (false, None));
    }

    #[tokio::test]
    async fn a_large_response_passes_http2_flow_control() {
        let (authority, builder) = tls();
        let recorder = builder.start(|_| Reply::html(200, "x".repeat(1_000_000))).await.unwrap();
        let caller = TestClient { addr: recorder.addr(), authority: &authority, ciphers: None };
        assert_eq!(caller.get("one.test", "/", &[]).await.text.len(), 1_000_000);
        assert_eq!(caller.send("HEAD", "one.test", "/", &[], "").await.text, "");
        let request = &recorder.connections()[0].requests[0];
        assert_eq!(request.pseudo, [":method", ":scheme", ":authority", ":path"]);
    }

    #[tokio::test]
    async fn a_cleared_connection_is_recorded_again_with_its_next_request() {
        let recorder = Recorder::builder().start(|_| Reply::status(200)).await.unwrap();
        let mut stream = TcpStream::connect(recorder.addr()).await.unwrap();
        for path in ["/1", "/2"] {
            recorder.clear();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
            assert!(recorder.wait_until(TIMEOUT, |all| all.iter().any(|c| !c.requests.is_empty())).await);
            let paths: Vec<String> =
                recorder.connections().iter().flat_map(|c| c.requests.clone()).map(|r| r.path).collect();
            assert_eq!(paths, [path]);
        }
    }

    #[tokio::test]
    async fn dropping_the_recorder_closes_its_connections() {
        let recorder = Recorder::builder().start(|_| Reply::status(200)).await.unwrap();
        let mut stream = TcpStream::connect(recorder.addr()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 256]).await.unwrap() > 0);
        drop(recorder);
        // Ends by a close or a reset, instead of waiting for the next request.
        let rest = timeout(TIMEOUT, stream.read_to_end(&mut Vec::new())).await;
        assert!(rest.is_ok());
    }
}
