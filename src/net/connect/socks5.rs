//! The client side of SOCKS5 (RFC 1928, RFC 1929), as tolerant as curl: an empty password is sent, and the version
//! and the reserved bytes of a reply to the credentials are not checked.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::socks_target::SocksTarget;

/// Why a handshake failed.
#[derive(Debug)]
pub(super) enum Socks5Error {
    /// The user or the password has more than 255 bytes.
    LongCredentials,
    /// The name of the target has more than 255 bytes.
    LongName,
    RefusedCredentials,
    /// The proxy wants credentials, and there are none.
    NeedsCredentials,
    /// The proxy accepts none of the offered methods.
    NoMethod,
    /// The proxy chose a method that was not offered.
    UnknownMethod,
    /// The reply is not one of SOCKS5.
    Malformed,
    // The replies 1 to 8.
    GeneralFailure,
    NotAllowed,
    NetworkUnreachable,
    HostUnreachable,
    ConnectionRefused,
    TtlExpired,
    CommandNotSupported,
    AddressTypeNotSupported,
    Io(io::Error),
}

impl From<io::Error> for Socks5Error {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

/// Requests a tunnel to `target` on `stream`, and reads the reply to its end.
pub(super) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    credentials: Option<(&str, &str)>,
    target: &SocksTarget,
) -> Result<(), Socks5Error> {
    let login = credentials.map(|(user, password)| login_message(user, password)).transpose()?;
    let request = request_message(target)?;
    let methods: &[u8] =
        if login.is_some() { &[VERSION, 2, ANONYMOUS, PASSWORD] } else { &[VERSION, 1, ANONYMOUS] };
    stream.write_all(methods).await?;
    match (read_reply(stream).await?, login) {
        ([VERSION, ANONYMOUS], _) => {}
        ([VERSION, PASSWORD], Some(login)) => {
            stream.write_all(&login).await?;
            // Some servers answer with version 5 instead of 1.
            match read_reply(stream).await? {
                [_, 0] => {}
                [..] => return Err(Socks5Error::RefusedCredentials),
            }
        }
        ([VERSION, PASSWORD], None) => return Err(Socks5Error::NeedsCredentials),
        ([VERSION, NONE_ACCEPTED], _) => return Err(Socks5Error::NoMethod),
        ([VERSION, _], _) => return Err(Socks5Error::UnknownMethod),
        _ => return Err(Socks5Error::Malformed),
    }
    stream.write_all(&request).await?;
    match read_reply(stream).await? {
        [VERSION, 0] => skip_bound_address(stream).await,
        [VERSION, code] => Err(refusal(code)),
        _ => Err(Socks5Error::Malformed),
    }
}

async fn read_reply(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; 2], Socks5Error> {
    let mut reply = [0; 2];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

/// Reads the rest of a successful reply: a reserved byte, an address of any type, and a port.
async fn skip_bound_address(stream: &mut (impl AsyncRead + Unpin)) -> Result<(), Socks5Error> {
    let [_, kind] = read_reply(stream).await?;
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(stream.read_u8().await?),
        _ => return Err(Socks5Error::Malformed),
    };
    let mut rest = [0; MAX_LENGTH + 2];
    stream.read_exact(&mut rest[..length + 2]).await?;
    Ok(())
}

fn login_message(user: &str, password: &str) -> Result<Vec<u8>, Socks5Error> {
    let mut message = vec![1];
    for part in [user, password] {
        let length = u8::try_from(part.len()).map_err(|_| Socks5Error::LongCredentials)?;
        message.push(length);
        message.extend_from_slice(part.as_bytes());
    }
    Ok(message)
}

fn request_message(target: &SocksTarget) -> Result<Vec<u8>, Socks5Error> {
    let mut message = vec![VERSION, CONNECT, 0];
    let port = match target {
        SocksTarget::Address(IpAddr::V4(address), port) => {
            message.push(IPV4);
            message.extend_from_slice(&address.octets());
            port
        }
        SocksTarget::Address(IpAddr::V6(address), port) => {
            message.push(IPV6);
            message.extend_from_slice(&address.octets());
            port
        }
        SocksTarget::Name(name, port) => {
            let length = u8::try_from(name.len()).map_err(|_| Socks5Error::LongName)?;
            message.extend_from_slice(&[NAME, length]);
            message.extend_from_slice(name.as_bytes());
            port
        }
    };
    message.extend_from_slice(&port.to_be_bytes());
    Ok(message)
}

fn refusal(code: u8) -> Socks5Error {
    match code {
        1 => Socks5Error::GeneralFailure,
        2 => Socks5Error::NotAllowed,
        3 => Socks5Error::NetworkUnreachable,
        4 => Socks5Error::HostUnreachable,
        5 => Socks5Error::ConnectionRefused,
        6 => Socks5Error::TtlExpired,
        7 => Socks5Error::CommandNotSupported,
        8 => Socks5Error::AddressTypeNotSupported,
        _ => Socks5Error::Malformed,
    }
}

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
/// Authentication methods.
const ANONYMOUS: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_ACCEPTED: u8 = 0xff;
/// Address types.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const MAX_LENGTH: usize = u8::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `connect` against a server that sends `replies` at once. Returns the bytes that the client sent.
    async fn run(credentials: Option<(&str, &str)>, replies: &[u8]) -> (Result<(), Socks5Error>, Vec<u8>) {
        let (mut client, mut server) = tokio::io::duplex(4096);
        server.write_all(replies).await.unwrap();
        let target = SocksTarget::Name("a.example".to_owned(), 443);
        let outcome = connect(&mut client, credentials, &target).await;
        drop(client);
        let mut sent = Vec::new();
        server.read_to_end(&mut sent).await.unwrap();
        (outcome, sent)
    }

    #[tokio::test]
    async fn a_user_alone_is_sent_with_an_empty_password() {
        let (outcome, sent) = run(Some(("jane", "")), b"\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0").await;
        outcome.unwrap();
        assert_eq!(sent, b"\x05\x02\x00\x02\x01\x04jane\x00\x05\x01\x00\x03\x09a.example\x01\xbb");
    }

    #[tokio::test]
    async fn replies_of_any_form_are_read_to_their_end() {
        for (credentials, replies, accepted) in [
            (None, &b"\x05\x00\x05\x00\x00\x01\x7f\0\0\x01\0\x50"[..], true),
            (None, b"\x05\x00\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", true),
            (None, b"\x05\x00\x05\x00\x07\x03\x04exit\0\0", true),
            (Some(("u", "p")), b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0", true),
            (Some(("u", "p")), b"\x05\x02\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0", true),
            (Some(("u", "p")), b"\x05\x02\x05\x01", false),
            (None, b"\x05\x02", false),
            (None, b"\x05\xff", false),
            (None, b"\x04\x00", false),
            (None, b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0", false),
            (None, b"\x05\x00\x05\x00\x00\x09", false),
        ] {
            // Bytes behind the reply belong to the tunnel.
            let (outcome, _) = run(credentials, replies).await;
            assert_eq!(outcome.is_ok(), accepted, "{replies:?}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn too_long_credentials_are_not_sent() {
        let (outcome, sent) = run(Some((&"u".repeat(256), "p")), b"").await;
        assert!(matches!(outcome, Err(Socks5Error::LongCredentials)), "{outcome:?}");
        assert!(sent.is_empty());
    }
}
