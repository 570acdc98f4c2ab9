//! Bytes both ways, until one side ends or both fall silent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::TcpStream;

use super::request_head;
use crate::error::Error;
use crate::net::{BoxIo, Metered, refused_by_proxy};
use crate::proxy::Proxy;
use crate::traffic::ByteCounter;

/// Whose answers come back.
pub(super) enum ResponseSide {
    /// A tunnel's: not for our eyes.
    Tunnel,
    /// A site's, in the clear.
    Site,
    /// The same through an http proxy, which may answer itself.
    Proxy(Proxy),
}

/// Carries bytes until it is over. Returns the proxy's refusal, if the answer was one.
pub(super) async fn relay(
    client: TcpStream,
    server: BoxIo,
    answers: &ResponseSide,
) -> io::Result<Option<Error>> {
    let meter = Arc::new(ByteCounter::default());
    let client = Metered::new(client, Arc::clone(&meter));
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let up = async {
        copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let down = async {
        let refusal = relay_head(&mut from_server, &mut to_client, answers).await?;
        copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await?;
        Ok(refusal)
    };
    tokio::select! {
        both = async { tokio::try_join!(up, down) } => both.map(|((), refusal)| refusal),
        () = wait_idle(&meter) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Passes an answer's head on, interim ones before it, as the last of its connection.
async fn relay_head(
    server: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    answers: &ResponseSide,
) -> io::Result<Option<Error>> {
    if matches!(answers, ResponseSide::Tunnel) {
        return Ok(None);
    }
    let mut rest = Vec::new();
    for _ in 0..MAX_INTERIM {
        let (answer, behind) = read_head_after(server, rest).await?;
        let status = request_head::status(&answer);
        if (100..200).contains(&status) && status != 101 {
            client.write_all(&answer).await?;
            rest = behind;
            continue;
        }
        client.write_all(&request_head::with_connection_close(&answer)).await?;
        client.write_all(&behind).await?;
        return Ok(match answers {
            ResponseSide::Proxy(proxy) if status == 407 => Some(refused_by_proxy(proxy, 407)),
            _ => None,
        });
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// The first head of a stream, blank line included, and what came behind it.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, Vec<u8>)> {
    read_head_after(stream, Vec::with_capacity(1024)).await
}

async fn read_head_after(
    stream: &mut (impl AsyncRead + Unpin),
    mut head: Vec<u8>,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut looked = 0_usize;
    loop {
        let from = looked.saturating_sub(3);
        if let Some(end) = head[from..].windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = head.split_off(from + end + 4);
            return Ok((head, rest));
        }
        looked = head.len();
        if head.len() > MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Returns when nothing passed for [`IDLE_LIMIT`], or up to twice that.
async fn wait_idle(meter: &ByteCounter) {
    let mut before = meter.snapshot();
    loop {
        tokio::time::sleep(IDLE_LIMIT).await;
        let now = meter.snapshot();
        if now == before {
            return;
        }
        before = now;
    }
}

const MAX_HEAD: usize = 256 * 1024;
const MAX_INTERIM: usize = 16;
/// As long as a browser keeps a connection it may use again.
const IDLE_LIMIT: Duration = Duration::from_secs(300);
