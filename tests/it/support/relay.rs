//! A TCP relay that injects faults between a client and a real server: delay, small segments, resets, silence.

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

/// A relay to a loopback port. Dropping it closes all its connections.
pub(crate) struct Relay {
    port: u16,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    runtime: Option<Runtime>,
}

/// How bytes are forwarded in one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    latency: Duration,
    jitter: Duration,
    /// Bytes per second.
    rate: Option<u32>,
    /// Segment size, and the pause between segments.
    pieces: Option<(usize, Duration)>,
    /// How the flow ends, and after how many bytes.
    end: Option<(usize, End)>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// No more bytes are forwarded, and the connection stays open.
    Silence,
    /// The receiver gets a FIN. Its own bytes are still read.
    HalfClose,
    /// Both sides get a RST.
    Reset,
}

impl Flow {
    /// Forwards bytes unchanged and without delay.
    pub(crate) const fn new() -> Self {
        Self { latency: Duration::ZERO, jitter: Duration::ZERO, rate: None, pieces: None, end: None }
    }

    /// Delays every byte by `latency`, and up to `jitter` more. Keeps the order.
    pub(crate) fn latency(mut self, latency: Duration, jitter: Duration) -> Self {
        (self.latency, self.jitter) = (latency, jitter);
        self
    }

    /// Limits the bytes per second.
    pub(crate) fn rate(mut self, rate: u32) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Forwards segments of `bytes` bytes, with a `pause` between them.
    pub(crate) fn segments(mut self, bytes: usize, pause: Duration) -> Self {
        self.pieces = Some((bytes, pause));
        self
    }

    /// Ends the flow after `bytes` bytes.
    pub(crate) fn end_after(mut self, bytes: usize, end: End) -> Self {
        self.end = Some((bytes, end));
        self
    }
}

impl Relay {
    /// Starts a relay to 127.0.0.1:`to`: `down` is the flow to the client, `up` the flow to the server.
    pub(crate) fn start(to: u16, down: Flow, up: Flow) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        // Not with `block_on`: the test may run in its own runtime.
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

    /// The number of connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The number of connections that are still open.
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

/// Counts an open connection until it is dropped.
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

/// Forwards both directions until the client leaves, both have ended, or one of them resets the connection.
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

/// Forwards one direction to its end. Returns whether the connection is to be reset.
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
                // Bytes after the end are read and dropped.
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
                    // The receiver has closed. The sender will notice, or end by itself.
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
        // After a reset the other side need not end first.
        torn = &mut writing => { if !torn { reading.await; } torn }
        () = &mut reading => writing.await,
    }
}

/// A port that answers no SYN: its accept backlog is full.
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
            // The first connect without an answer means that the backlog is full.
            while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await
            {
                waiting.push(stream);
                assert!(waiting.len() < 1000, "this system has no limit for its backlog");
            }
            (listener, address.port(), waiting)
        });
        Self { port, _runtime: runtime, _listener: listener, _waiting: waiting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}
