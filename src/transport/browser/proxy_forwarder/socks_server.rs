//! The server side of SOCKS5 (RFC 1928), without authentication. Chromium uses it for a context without a proxy: its
//! requests then look on the wire as over a direct connection.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The first byte of every message.
pub(super) const VERSION: u8 = 5;

/// Why a connection is refused (RFC 1928, section 6).
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    Forbidden = 2,
    HostUnreachable = 4,
    ConnectionRefused = 5,
}

/// Reads the client's greeting and its request to connect. Returns the host, as in a URL, and the port.
pub(super) async fn read_request(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<(String, u16)> {
    let [version, methods] = read(stream).await?;
    expect(version == VERSION)?;
    let mut offered = vec![0; usize::from(methods)];
    stream.read_exact(&mut offered).await?;
    expect(offered.contains(&NO_AUTHENTICATION))?;
    stream.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    let [version, command, _reserved, kind] = read(stream).await?;
    expect(version == VERSION && command == CONNECT)?;
    let host = match kind {
        IPV4 => Ipv4Addr::from(read::<4>(stream).await?).to_string(),
        IPV6 => format!("[{}]", Ipv6Addr::from(read::<16>(stream).await?)),
        NAME => {
            let [length] = read(stream).await?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await?;
            let name = String::from_utf8(name).map_err(|_| invalid())?;
            expect(!name.is_empty())?;
            if name.parse::<Ipv6Addr>().is_ok() { format!("[{name}]") } else { name }
        }
        _ => return Err(invalid()),
    };
    Ok((host, u16::from_be_bytes(read(stream).await?)))
}

/// Tells the client that the connection is open, or why not.
pub(super) async fn reply(
    stream: &mut (impl AsyncWrite + Unpin),
    refusal: Option<Refusal>,
) -> io::Result<()> {
    let code = refusal.map_or(0, |refusal| refusal as u8);
    // The bound address means nothing to the client.
    stream.write_all(&[VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]).await
}

async fn read<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn expect(holds: bool) -> io::Result<()> {
    if holds { Ok(()) } else { Err(invalid()) }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// The target in `message`, and what the server wrote.
    async fn exchange(message: &[u8]) -> (io::Result<(String, u16)>, Vec<u8>) {
        let (mut client, mut server) = tokio::io::duplex(1024);
        client.write_all(message).await.unwrap();
        client.shutdown().await.unwrap();
        let read = read_request(&mut server).await;
        drop(server);
        let mut written = Vec::new();
        client.read_to_end(&mut written).await.unwrap();
        (read, written)
    }

    #[tokio::test]
    async fn names_and_addresses_of_both_families_are_read() {
        for (target, host) in [
            (&[1, 127, 0, 0, 1][..], "127.0.0.1"),
            (b"\x03\x09site.test", "site.test"),
            (b"\x03\x03::1", "[::1]"),
            (&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "[::1]"),
        ] {
            let message = [&[5, 1, 0, 5, 1, 0], target, &[0x01, 0xbb]].concat();
            let (read, written) = exchange(&message).await;
            assert_eq!(read.unwrap(), (host.to_owned(), 443));
            assert_eq!(written, [5, 0]);
        }
    }

    #[tokio::test]
    async fn other_versions_methods_commands_and_cut_messages_are_refused() {
        for message in [
            &b""[..],
            b"GET / HTTP/1.1\r\n\r\n",
            &[4, 1, 0],
            &[5, 1, 2],
            &[5, 0],
            &[5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1, 0, 80],
            &[5, 1, 0, 5, 1, 0, 9],
            &[5, 1, 0, 5, 1, 0, 3, 0, 0, 80],
            &[5, 1, 0, 5, 1, 0, 3, 2, 0xff, 0xff, 0, 80],
            &[5, 1, 0, 5, 1, 0, 3, 9, b's'],
        ] {
            assert!(exchange(message).await.0.is_err(), "{message:?}");
        }
    }
}
