//! A proxy on loopback that adds the credentials Chromium cannot be given: it knows no proxy
//! password short of pausing every request. TLS passes through untouched.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::proxy::Proxy;
use crate::redact::Secret;

/// A listener for one identity's context; ends, with its connections, when dropped.
pub(super) struct Forwarder {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// Listens on a free loopback port and forwards to `proxy`.
    pub(super) async fn start(proxy: &Proxy) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let upstream = Arc::new(Upstream::new(proxy));
        Ok(Self { address, task: tokio::spawn(serve(listener, upstream)) })
    }

    /// Where Chromium finds it.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it still serves: it ends with the runtime it was started on.
    pub(super) fn is_alive(&self) -> bool {
        !self.task.is_finished()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Upstream {
    host: String,
    port: u16,
    /// The whole Proxy-Authorization line, or nothing.
    authorization: Secret,
}

impl Upstream {
    fn new(proxy: &Proxy) -> Self {
        let authorization = proxy.credentials().map_or_else(String::new, |(user, password)| {
            let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
            format!("Proxy-Authorization: Basic {pair}\r\n")
        });
        Self { host: proxy.host().to_owned(), port: proxy.port(), authorization: Secret::new(authorization) }
    }
}

async fn serve(listener: TcpListener, upstream: Arc<Upstream>) {
    let mut open = JoinSet::new();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, from)) if from.ip().is_loopback() && open.len() < MAX_OPEN => client,
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
        let upstream = Arc::clone(&upstream);
        open.spawn(async move {
            if let Err(cause) = forward(client, &upstream).await {
                tracing::debug!(%cause, "a connection through the proxy forwarder broke");
            }
        });
    }
}

async fn forward(mut client: TcpStream, upstream: &Upstream) -> io::Result<()> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let (head, rest) = timeout(HEAD_LIMIT, read_head(&mut client)).await.map_err(late)??;
    let dial = TcpStream::connect((upstream.host.as_str(), upstream.port));
    let mut server = match timeout(DIAL_LIMIT, dial).await.map_err(late).flatten() {
        Ok(server) => server,
        Err(cause) => {
            // 407 is what the page's side reads as "the proxy failed", for http URLs too.
            client
                .write_all(
                    b"HTTP/1.1 407 Proxy Unreachable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                )
                .await?;
            return Err(cause);
        }
    };
    server.write_all(&authorized(&head, upstream.authorization.expose())).await?;
    server.write_all(&rest).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The request's head, blank line included, and what came behind it.
async fn read_head(client: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = head.split_off(end + 4);
            return Ok((head, rest));
        }
        if head.len() > MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if client.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The head with the credentials behind its first line. A plain request also asks for the
/// connection to be closed behind it: the next one on it would travel without credentials.
fn authorized(head: &[u8], authorization: &str) -> Vec<u8> {
    let tunnel = head.starts_with(b"CONNECT ");
    let mut lines = head.split_inclusive(|&byte| byte == b'\n');
    let mut out = Vec::with_capacity(head.len() + authorization.len() + 32);
    out.extend_from_slice(lines.next().unwrap_or_default());
    out.extend_from_slice(authorization.as_bytes());
    if !tunnel {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    for line in lines {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default().to_ascii_lowercase();
        let hop = matches!(name.as_slice(), b"connection" | b"proxy-connection");
        if name != b"proxy-authorization" && (tunnel || !hop) {
            out.extend_from_slice(line);
        }
    }
    out
}

const MAX_HEAD: usize = 256 * 1024;
const MAX_OPEN: usize = 512;
const HEAD_LIMIT: Duration = Duration::from_secs(60);
const DIAL_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_behind_the_first_line() {
        let tunnel = authorized(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "P: x\r\n");
        assert_eq!(tunnel, b"CONNECT a:443 HTTP/1.1\r\nP: x\r\nHost: a:443\r\n\r\n");
        let plain = authorized(
            b"GET http://a/ HTTP/1.1\r\nHost: a\r\nProxy-Connection: keep-alive\r\n\r\n",
            "P: x\r\n",
        );
        assert_eq!(plain, b"GET http://a/ HTTP/1.1\r\nP: x\r\nConnection: close\r\nHost: a\r\n\r\n");
    }

    #[tokio::test]
    async fn the_upstream_sees_the_credentials() {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = upstream.local_addr().unwrap().port();
        let proxy: Proxy = format!("http://jane:s%3Acret@127.0.0.1:{port}").parse().unwrap();
        let forwarder = Forwarder::start(&proxy).await.unwrap();
        let mut client = TcpStream::connect(forwarder.address()).await.unwrap();
        client.write_all(b"CONNECT a:443 HTTP/1.1\r\n\r\nhello").await.unwrap();
        let (mut server, _) = upstream.accept().await.unwrap();
        let want = format!(
            "CONNECT a:443 HTTP/1.1\r\nProxy-Authorization: Basic {}\r\n\r\nhello",
            STANDARD.encode("jane:s:cret")
        );
        let mut got = vec![0; want.len()];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), want);
    }
}
