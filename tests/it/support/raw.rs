//! A server made from a closure, for responses that a correct server does not send.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use boring::ssl::{
    AlpnError, SslAcceptor, SslAcceptorBuilder, SslFiletype, SslMethod, SslVerifyMode, select_next_proto,
};

use super::certs::Leaf;

/// A listening server. Each connection runs the closure in its own thread, and closes when the closure returns.
/// Dropping the server ends all connections; the test fails if the closure panicked.
pub(crate) struct RawServer {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// One connection, given to the closure. An `Err` of the closure is not a failure: clients may close at any time.
pub(crate) struct RawConnection {
    wire: Box<dyn Wire>,
    shared: Arc<Shared>,
    /// The number of the connection, from 0.
    pub(crate) index: usize,
    /// The client's address.
    pub(crate) peer: Option<IpAddr>,
}

/// Plain or TLS.
pub(crate) trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    connections: AtomicUsize,
    heads: Mutex<Vec<String>>,
    /// Handles to close each connection, whatever its thread is doing.
    open: Mutex<Vec<TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

type Handler = dyn Fn(&mut RawConnection) -> io::Result<()> + Send + Sync;
type Wrap = dyn Fn(TcpStream) -> io::Result<Box<dyn Wire>> + Send + Sync;

/// The timeout of reads and writes, so that a hanging client fails its test instead of blocking the run.
const PATIENCE: Duration = Duration::from_secs(60);

impl RawServer {
    /// A cleartext server.
    pub(crate) fn start(
        handler: impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), handler)
    }

    /// A cleartext server at an address of a network namespace.
    pub(crate) fn start_at(
        address: SocketAddr,
        handler: impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::with(address, "http", Box::new(|stream| Ok(Box::new(stream))), Arc::new(handler))
    }

    /// A TLS server that offers the protocols in `alpn`, in wire format (`b"\x08http/1.1"`). No ALPN if empty.
    pub(crate) fn start_tls(
        leaf: &Leaf,
        alpn: &'static [u8],
        handler: impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start_tls_with(leaf, alpn, |_| {}, handler)
    }

    /// A TLS server that requires a client certificate, of any authority.
    pub(crate) fn start_mutual_tls(
        leaf: &Leaf,
        handler: impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let require = |builder: &mut SslAcceptorBuilder| {
            let mode = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
            builder.set_verify_callback(mode, |_, _| true);
        };
        Self::start_tls_with(leaf, b"\x08http/1.1", require, handler)
    }

    fn start_tls_with(
        leaf: &Leaf,
        alpn: &'static [u8],
        configure: impl FnOnce(&mut SslAcceptorBuilder),
        handler: impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let mut builder =
            SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("BoringSSL has the usual settings");
        configure(&mut builder);
        builder.set_certificate_chain_file(&leaf.chain).expect("the certificate is good");
        builder.set_private_key_file(&leaf.key, SslFiletype::PEM).expect("the key is good");
        if !alpn.is_empty() {
            builder.set_alpn_select_callback(move |_, theirs| {
                select_next_proto(alpn, theirs).ok_or(AlpnError::ALERT_FATAL)
            });
        }
        let acceptor = builder.build();
        let wrap = move |stream| -> io::Result<Box<dyn Wire>> {
            let stream = acceptor.accept(stream).map_err(|error| io::Error::other(error.to_string()))?;
            Ok(Box::new(stream))
        };
        Self::with((Ipv4Addr::LOCALHOST, 0).into(), "https", Box::new(wrap), Arc::new(handler))
    }

    fn with(at: SocketAddr, scheme: &'static str, wrap: Box<Wrap>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind(at).expect("the address is on this machine and the port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared::default());
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            let wrap: Arc<Wrap> = wrap.into();
            move || {
                for stream in listener.incoming() {
                    if shared.stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    shared.serve(stream, &wrap, &handler);
                }
            }
        });
        Self { address, scheme, shared, accepting: Some(accepting) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The number of connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The request heads that [`RawConnection::read_head`] has read so far, as they came.
    pub(crate) fn heads(&self) -> Vec<String> {
        lock(&self.shared.heads).clone()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
        let mut panicked = self.accepting.take().is_some_and(|thread| thread.join().is_err());
        for stream in lock(&self.shared.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let threads: Vec<_> = lock(&self.shared.threads).drain(..).collect();
        for conn in threads {
            panicked |= conn.join().is_err();
        }
        assert!(!panicked || thread::panicking(), "the handler of a RawServer panicked; see above");
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, stream: TcpStream, wrap: &Arc<Wrap>, handler: &Arc<Handler>) {
        let index = self.connections.fetch_add(1, Ordering::SeqCst);
        let limited =
            stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        let (Ok(()), Ok(handle)) = (limited, stream.try_clone()) else { return };
        lock(&self.open).push(handle);
        let (shared, wrap, handler) = (Arc::clone(self), Arc::clone(wrap), Arc::clone(handler));
        lock(&self.threads).push(thread::spawn(move || {
            let _close = stream.try_clone().map(CloseOnDrop);
            let peer = stream.peer_addr().ok().map(|address| address.ip());
            if let Ok(wire) = wrap(stream) {
                let mut conn = RawConnection { wire, shared, index, peer };
                // A client may close at any time; the test decides whether that is an error.
                let _ = handler(&mut conn);
                let _ = conn.wire.flush();
            }
        }));
    }
}

/// Closes a connection when its closure ends or panics: the handle in `open` would keep it open.
struct CloseOnDrop(TcpStream);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl RawConnection {
    /// Reads a request's head, including its empty line. The body is not read.
    ///
    /// # Errors
    /// `UnexpectedEof` if the client closes first, as it does after its last request.
    pub(crate) fn read_head(&mut self) -> io::Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.wire.read_exact(&mut byte)?;
            head.push(byte[0]);
            if head.len() > 1 << 20 {
                return Err(io::Error::new(ErrorKind::InvalidData, "a head of a mebibyte"));
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        lock(&self.shared.heads).push(head.clone());
        Ok(head)
    }

    /// Reads `length` bytes, for instance of a body.
    pub(crate) fn read_bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.wire.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Sends bytes unchanged.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write_all(bytes.as_ref())?;
        self.wire.flush()
    }

    /// Keeps the connection open without sending, until the client closes it or the server is dropped.
    pub(crate) fn hold_open(&mut self) -> io::Result<()> {
        let mut ignored = [0; 4096];
        while !self.is_stopping() && self.wire.read(&mut ignored)? > 0 {}
        Ok(())
    }

    /// Whether the server is being dropped: an endless answer ends then.
    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::SeqCst)
    }
}

/// Ignores poisoning: a panic of a thread is reported when it is joined, and the data is still valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
