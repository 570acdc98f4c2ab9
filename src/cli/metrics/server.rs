//! The metrics server: serves GET /metrics only, one request per connection, with limits on size, time and connections.

use std::net::SocketAddr;
use std::time::Duration;

use rungs::head_reader::read_head;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connections::{ConnectionState, Connections};
use super::host::{self, HostName};
use super::{Metrics, MetricsAddress};
use crate::cli::exit::Failure;

/// A metrics server. Dropping it stops it.
pub(crate) struct MetricsServer {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl MetricsServer {
    /// Starts to serve.
    pub(crate) async fn start(address: MetricsAddress, metrics: Metrics) -> Result<Self, Failure> {
        let failed = |cause| Failure::Io(format!("--metrics {}: could not listen", address.0), cause);
        let listener = TcpListener::bind(address.0).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let tasks = [tokio::spawn(measure_lag(metrics.clone())), tokio::spawn(accept(listener, metrics))];
        Ok(Self { address, tasks })
    }

    /// Returns the URL of the metrics.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// Whether other machines can connect.
    pub(crate) fn is_public(&self) -> bool {
        !self.address.ip().is_loopback()
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Measures how late the runtime wakes this task.
async fn measure_lag(metrics: Metrics) {
    loop {
        let due = Instant::now() + LAG_INTERVAL;
        sleep_until(due).await;
        metrics.record_lag((Instant::now() - due).as_secs_f64());
    }
}

async fn accept(listener: TcpListener, metrics: Metrics) {
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let metrics = metrics.clone();
                connections.add(|state| async move {
                    // A client that disconnects gets no response.
                    let _ = handle_connection(stream, &metrics, &state).await;
                });
            }
            // File descriptors may be exhausted, so it pauses before the next connection.
            Err(_) => sleep(LAG_INTERVAL).await,
        }
    }
}

/// Answers one request. A client that is slow to send its request, or slow to read the response, is disconnected.
async fn handle_connection(
    mut stream: TcpStream,
    metrics: &Metrics,
    state: &ConnectionState,
) -> std::io::Result<()> {
    let public = !stream.local_addr()?.ip().is_loopback();
    let head = timeout(HEAD_TIMEOUT, read_head(&mut stream, Vec::new(), MAX_HEAD_BYTES)).await?;
    state.set_requested();
    let status = head_status(head, public);
    let (status, body) = match status {
        "200 OK" => ("200 OK", metrics.render()),
        status => (status, format!("{status}\n")),
    };
    let kind = if status == "200 OK" { OPEN_METRICS } else { "text/plain; charset=utf-8" };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let write = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.shutdown().await
    };
    timeout(WRITE_TIMEOUT, write).await?
}

/// Returns the status of the response to a head, or to a client that sent none.
fn head_status(head: std::io::Result<(Vec<u8>, Vec<u8>)>, public: bool) -> &'static str {
    match head.map_err(|error| error.kind()) {
        Ok((head, _)) => response_status(&head, public),
        Err(std::io::ErrorKind::InvalidData) => TOO_LARGE,
        Err(_) => "400 Bad Request",
    }
}

/// Returns the status of the response to a request head.
fn response_status(head: &[u8], public: bool) -> &'static str {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return TOO_LARGE,
        Ok(httparse::Status::Partial) | Err(_) => return "400 Bad Request",
    }
    let hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let Some(host) = host::parse(hosts.map(|field| field.value)) else { return "400 Bad Request" };
    // DNS rebinding: a web page could resolve its own name to this address and read the metrics.
    if !public && host != HostName::Local {
        return "403 Forbidden";
    }
    match (request.method, request.path.map(|path| path.split('?').next().unwrap_or(path))) {
        (Some("GET"), Some("/metrics")) => "200 OK",
        (_, Some("/metrics")) => "405 Method Not Allowed",
        _ => "404 Not Found",
    }
}

const TOO_LARGE: &str = "431 Request Header Fields Too Large";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The maximum size of a request head.
const MAX_HEAD_BYTES: usize = 8192;
/// The maximum time from a connection to its complete request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// The maximum time until a client has read the response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval of lag measurements.
const LAG_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metrics_are_served_and_only_to_this_machine() {
        for (head, public, status) in [
            ("GET /metrics HTTP/1.1\r\nhost: 127.0.0.1:9100\r\n\r\n", false, "200"),
            ("GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", false, "200"),
            ("GET /metrics HTTP/1.1\r\nHost: [::1]:9100\r\n\r\n", false, "200"),
            ("GET /metrics HTTP/1.1\r\nHost: evil.example:9100\r\n\r\n", false, "403"),
            ("GET /metrics HTTP/1.1\r\nHost: box.example:9100\r\n\r\n", true, "200"),
            ("GET /metrics HTTP/1.1\r\n\r\n", false, "400"),
            ("GET /metrics HTTP/1.1\r\n\r\n", true, "400"),
            ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", false, "400"),
            ("GET /metrics HTTP/1.1\r\nHost: user@localhost\r\n\r\n", false, "400"),
            ("GET /metrics HTTP/1.1\r\nHost: box.example.\r\n\r\n", true, "400"),
            ("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", false, "405"),
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", false, "404"),
            ("GET /metrics HTTP/1.1\r\nHost: local", false, "400"),
            ("\x16\x03\x01\x02", false, "400"),
        ] {
            assert!(response_status(head.as_bytes(), public).starts_with(status), "{head}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(99));
        assert!(response_status(many.as_bytes(), false).starts_with("431"));
    }

    #[tokio::test]
    async fn a_head_above_the_limit_is_too_large_and_an_incomplete_one_is_bad() {
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD_BYTES));
        for (head, status) in [(long.as_str(), "431"), ("GET /metrics HTTP/1.1\r\nHost: local", "400")] {
            let read = read_head(&mut head.as_bytes(), Vec::new(), MAX_HEAD_BYTES).await;
            assert!(head_status(read, false).starts_with(status), "{}", head.len());
        }
    }
}
