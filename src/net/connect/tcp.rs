//! Opens a TCP connection: happy eyeballs over the addresses of one name (RFC 8305).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;

/// Connects to the first address that answers, starting the next one every [`STAGGER`].
pub(crate) async fn connect(
    host: &str,
    addresses: &[IpAddr],
    port: u16,
    within: Duration,
) -> Result<TcpStream> {
    let stream = timeout(within, happy_eyeballs(addresses, port)).await.map_err(|_| {
        Error::new(ErrorKind::Timeout, format!("timed out after {within:?} connecting to {host}:{port}"))
    })?;
    let stream = stream.map_err(|cause| connect_error(host, port, cause))?;
    // Small writes (HTTP/2 frames) must not wait for each other.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn happy_eyeballs(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter();
    let mut running = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address to connect to");
    loop {
        let more = waiting.len() > 0;
        if running.is_empty() && !more {
            return Err(last);
        }
        if let Some(address) = waiting.next() {
            running.push(TcpStream::connect(SocketAddr::new(*address, port)));
        }
        let stagger = sleep(STAGGER);
        tokio::pin!(stagger);
        tokio::select! {
            Some(outcome) = running.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(cause) => last = cause,
            },
            () = &mut stagger, if waiting.len() > 0 => {}
        }
    }
}

fn connect_error(host: &str, port: u16, cause: io::Error) -> Error {
    let what = match cause.kind() {
        io::ErrorKind::ConnectionRefused => format!("{host}:{port} refused the connection"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("{host}:{port} cannot be reached")
        }
        _ => format!("could not connect to {host}:{port}"),
    };
    Error::from_io(ErrorKind::Connect, what, cause)
}

/// The delay before the next address is tried in parallel (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusing_address_is_skipped() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let addresses = ["127.0.0.77".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        let stream = connect("site", &addresses, port, Duration::from_secs(5)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_refused_port_is_a_connect_error_that_names_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error =
            connect("site", &["127.0.0.1".parse().unwrap()], port, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert_eq!(error.to_string(), format!("site:{port} refused the connection"));
    }
}
