//! The handshake of SOCKS4, and of SOCKS4a, where the proxy resolves names.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::socks_target::SocksTarget;
use crate::net::tls::BoxIo;

/// Why a handshake failed.
#[derive(Debug)]
pub(super) enum Socks4Error {
    /// The request cannot be written: SOCKS4 has IPv4 addresses, and text without NUL.
    Unsupported,
    /// The proxy did not open the tunnel (91).
    Refused,
    /// The proxy does not accept the user (92, 93).
    User,
    /// The reply is not one of SOCKS4.
    Malformed,
    Io(io::Error),
}

/// Requests a tunnel to `target` on `stream`, and reads the reply.
pub(super) async fn handshake(
    stream: &mut BoxIo,
    target: &SocksTarget,
    user: &str,
) -> Result<(), Socks4Error> {
    let request = build_request(target, user).ok_or(Socks4Error::Unsupported)?;
    stream.write_all(&request).await.map_err(Socks4Error::Io)?;
    stream.flush().await.map_err(Socks4Error::Io)?;
    let mut reply = [0; 8];
    stream.read_exact(&mut reply).await.map_err(Socks4Error::Io)?;
    match reply {
        [0, 90, ..] => Ok(()),
        [0, 91, ..] => Err(Socks4Error::Refused),
        [0, 92 | 93, ..] => Err(Socks4Error::User),
        _ => Err(Socks4Error::Malformed),
    }
}

/// Returns the request. `None` if the target or the user cannot be written.
fn build_request(target: &SocksTarget, user: &str) -> Option<Vec<u8>> {
    let (address, port, name) = match target {
        SocksTarget::Address(IpAddr::V4(address), port) => (address.octets(), *port, None),
        SocksTarget::Address(IpAddr::V6(_), _) => return None,
        // This address tells the proxy that a name follows.
        SocksTarget::Name(name, port) => ([0, 0, 0, 1], *port, Some(name)),
    };
    let mut request = vec![4, 1];
    request.extend(port.to_be_bytes());
    request.extend(address);
    for text in [Some(user), name.map(String::as_str)].into_iter().flatten() {
        if text.len() > MAX_TEXT || text.contains('\0') {
            return None;
        }
        request.extend_from_slice(text.as_bytes());
        request.push(0);
    }
    Some(request)
}

/// The maximum length of the user and of a name.
const MAX_TEXT: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_form_of_socks4_and_socks4a() {
        let address = |text: &str| SocksTarget::Address(text.parse().unwrap(), 80);
        let name = |text: &str| SocksTarget::Name(text.to_owned(), 443);
        for (target, user, expected) in [
            (address("192.0.2.1"), "", Some(&b"\x04\x01\x00\x50\xc0\x00\x02\x01\x00"[..])),
            (address("192.0.2.1"), "jo", Some(b"\x04\x01\x00\x50\xc0\x00\x02\x01jo\x00")),
            (name("a.example"), "jo", Some(b"\x04\x01\x01\xbb\x00\x00\x00\x01jo\x00a.example\x00")),
            (address("::1"), "", None),
            (name("a\0b"), "", None),
            (name("a"), "j\0o", None),
        ] {
            assert_eq!(build_request(&target, user).as_deref(), expected);
        }
        assert_eq!(build_request(&name(&"a".repeat(256)), ""), None);
    }
}
