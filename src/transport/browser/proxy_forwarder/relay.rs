//! Relays bytes in both directions until one side closes or both are idle.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::request_head;
use crate::exchange::error::Error;
use crate::identity::traffic::ByteCounter;
use crate::net::head_reader::read_head;
use crate::net::{BoxIo, Metered, refused_by_proxy};
use crate::proxy::Proxy;

/// The sender of the responses.
pub(super) enum ResponseSide {
    /// A site behind a tunnel: opaque bytes.
    Tunnel,
    /// A site over plain HTTP.
    Site,
    /// A site over plain HTTP through an http proxy, which may respond itself.
    Proxy(Proxy),
}

/// Relays until the connection ends. Returns the proxy's refusal, if the response was one. When the server resets its
/// connection, the client's is reset too, so that the browser reports what happened.
pub(super) async fn relay(
    client: TcpStream,
    server: BoxIo,
    response_side: &ResponseSide,
) -> io::Result<Option<Error>> {
    let own = client.as_fd().try_clone_to_owned()?;
    let relayed = relay_both(client, server, response_side).await;
    if relayed.as_ref().is_err_and(|cause| cause.kind() == io::ErrorKind::ConnectionReset) {
        let _ = rustix::net::sockopt::set_socket_linger(&own, Some(Duration::ZERO));
    }
    relayed
}

async fn relay_both(
    client: TcpStream,
    server: BoxIo,
    response_side: &ResponseSide,
) -> io::Result<Option<Error>> {
    let counter = Arc::new(ByteCounter::default());
    let client = Metered::new(client, Arc::clone(&counter));
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let client_closed = Notify::new();
    let up = async {
        copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await?;
        client_closed.notify_one();
        Ok(())
    };
    let relay_down = async {
        let refusal = relay_head(&mut from_server, &mut to_client, response_side).await?;
        copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await?;
        Ok(refusal)
    };
    // A browser closes both directions at once.
    let down = async {
        tokio::select! {
            ended = relay_down => ended,
            () = async { client_closed.notified().await; sleep(CLOSE_GRACE).await } => Ok(None),
        }
    };
    tokio::select! {
        both = async { tokio::try_join!(up, down) } => both.map(|((), refusal)| refusal),
        () = wait_idle(&counter) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Relays a response head and the interim responses before it, and marks it as the last of its connection.
async fn relay_head(
    server: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    response_side: &ResponseSide,
) -> io::Result<Option<Error>> {
    if matches!(response_side, ResponseSide::Tunnel) {
        return Ok(None);
    }
    let mut rest = Vec::new();
    for _ in 0..MAX_INTERIM {
        let (head, body_start) = read_head(server, rest, MAX_HEAD).await?;
        let status = request_head::status(&head);
        if (100..200).contains(&status) && status != 101 {
            client.write_all(&head).await?;
            rest = body_start;
            continue;
        }
        client.write_all(&request_head::with_connection_close(&head)).await?;
        client.write_all(&body_start).await?;
        return Ok(match response_side {
            ResponseSide::Proxy(proxy) if status == 407 => Some(refused_by_proxy(proxy, 407)),
            _ => None,
        });
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Returns when no byte was relayed for [`IDLE_LIMIT`], or up to twice that.
async fn wait_idle(counter: &ByteCounter) {
    let mut before = counter.snapshot();
    loop {
        sleep(IDLE_LIMIT).await;
        let now = counter.snapshot();
        if now == before {
            return;
        }
        before = now;
    }
}

/// The time for the rest of a response after the client closed its direction.
const CLOSE_GRACE: Duration = Duration::from_secs(5);
pub(super) const MAX_HEAD: usize = 256 * 1024;
const MAX_INTERIM: usize = 16;
/// As long as a browser keeps an idle connection for reuse.
const IDLE_LIMIT: Duration = Duration::from_secs(300);
