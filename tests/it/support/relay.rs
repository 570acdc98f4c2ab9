//! A fault layer between a client and a real server: every byte passes through it, late, in pieces, or not at all.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// A relay to a port of this machine. Dropping it cuts all that passes through it.
pub(crate) struct Relay {
    port: u16,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    runtime: Option<Runtime>,
}

/// How bytes pass in one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    latency: Duration,
    jitter: Duration,
    /// Bytes a second.
    rate: Option<u32>,
    /// Segments of so many bytes, so far apart.
    pieces: Option<(usize, Duration)>,
    /// What happens after so many bytes.
    end: Option<(usize, End)>,
}

/// What becomes of a connection in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing more passes, and nobody is told.
    Silence,
    /// The receiver is told that nothing more comes (FIN). What it says is still taken.
    HalfClose,
    /// Both are torn away (RST).
    Reset,
}

impl Flow {
    /// As they come.
    pub(crate) const fn new() -> Self {
        Self { latency: Duration::ZERO, jitter: Duration::ZERO, rate: None, pieces: None, end: None }
    }

    /// Every byte arrives so much later, and up to `jitter` more, in order.
    pub(crate) fn late(mut self, latency: Duration, jitter: Duration) -> Self {
        (self.latency, self.jitter) = (latency, jitter);
        self
    }

    /// At most so many bytes a second.
    pub(crate) fn rate(mut self, rate: u32) -> Self {
        self.rate = Some(rate);
        self
    }

    /// In segments of so many bytes, so far apart.
    pub(crate) fn segments(mut self, bytes: usize, pause: Duration) -> Self {
        self.pieces = Some((bytes, pause));
        self
    }

    /// Ends like this after so many bytes.
    pub(crate) fn end_after(mut self, bytes: usize, end: End) -> Self {
        self.end = Some((bytes, end));
        self
    }
}

impl Relay {
    /// A relay to 127.0.0.1:`to`: `down` is the way to the client, `up` the way to the server.
    pub(crate) fn start(to: u16, down: Flow, up: Flow) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        // The runtime may not be waited for: tests have one of their own.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener need not block");
        let port = listener.local_addr().as_ref().map_or(0, SocketAddr::port);
        let (connections, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, counted_open) = (Arc::clone(&connections), Arc::clone(&open));
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a runtime takes a listener");
            while let Ok((client, _)) = listener.accept().await {
                let seed = counted.fetch_add(1, Ordering::SeqCst) as u64;
                let held = Open::one(&counted_open);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await {
                        pass(client, server, down, up, seed).await;
                    }
                    drop(held);
                });
            }
        });
        Self { port, connections, open, runtime: Some(runtime) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections came so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many of them neither side has closed.
    pub(crate) fn open_connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Counts a connection while it lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn one(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Both directions, until the client is gone, both have ended, or one of them tears all away.
async fn pass(client: TcpStream, server: TcpStream, down: Flow, up: Flow, seed: u64) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let torn = {
        let down = pump(from_server, &mut to_client, down, seed);
        let up = pump(from_client, &mut to_server, up, !seed);
        tokio::pin!(down, up);
        tokio::select! {
            torn = &mut down => torn || up.await,
            torn = &mut up => torn,
        }
    };
    if torn {
        let _ = (to_client.as_ref().set_zero_linger(), to_server.as_ref().set_zero_linger());
    }
}

/// One direction, to its end; whether the connection is to be torn away.
async fn pump(mut from: OwnedReadHalf, to: &mut OwnedWriteHalf, flow: Flow, mut seed: u64) -> bool {
    let (queue, mut parts) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let reading = async move {
        let mut due = Instant::now();
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let jitter = flow.jitter * u32::try_from(seed >> 48).unwrap_or(0) / (1 << 16);
            due = due.max(Instant::now() + flow.latency + jitter);
            if queue.send((due, buffer[..length].to_vec())).await.is_err() {
                // What comes after the end is taken, and goes nowhere.
                while let Ok(1..) = from.read(&mut buffer).await {}
                return;
            }
        }
    };
    let writing = async move {
        let mut left = flow.end.map_or(usize::MAX, |(after, _)| after);
        while let Some((due, part)) = parts.recv().await {
            sleep_until(due).await;
            let (size, pause) = flow.pieces.unwrap_or((part.len(), Duration::ZERO));
            for piece in part[..part.len().min(left)].chunks(size) {
                if to.write_all(piece).await.is_err() {
                    // The receiver is gone. The sender will notice, or end by itself.
                    return false;
                }
                left -= piece.len();
                let length = u32::try_from(piece.len()).expect("a piece is short");
                let slow = flow.rate.map(|rate| Duration::from_secs(1) * length / rate);
                match slow.unwrap_or(pause) {
                    Duration::ZERO => tokio::task::yield_now().await,
                    wait => sleep(wait).await,
                }
            }
            if left == 0 {
                break;
            }
        }
        match flow.end.filter(|_| left == 0).map(|(_, end)| end) {
            Some(End::Silence) => std::future::pending().await,
            Some(End::Reset) => return true,
            Some(End::HalfClose) | None => drop(to.shutdown().await),
        }
        false
    };
    tokio::pin!(reading, writing);
    tokio::select! {
        // Torn away: the other side need not end first.
        torn = &mut writing => { if !torn { reading.await; } torn }
        () = &mut reading => writing.await,
    }
}

/// A port that answers no SYN: its line of those to be accepted is full, and nobody accepts.
pub(crate) struct FullBacklog {
    port: u16,
    _runtime: Runtime,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl FullBacklog {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime starts");
        let (listener, port, waiting) = runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
            let listener = socket.listen(0).expect("it listens");
            let address = listener.local_addr().expect("a listener has an address");
            let mut waiting = Vec::new();
            // The first that is not answered in time says that the line is full.
            while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await
            {
                waiting.push(stream);
                assert!(waiting.len() < 1000, "this system has no end to its line");
            }
            (listener, address.port(), waiting)
        });
        Self { port, _runtime: runtime, _listener: listener, _waiting: waiting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}
