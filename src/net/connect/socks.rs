//! Tunnels through a SOCKS proxy: SOCKS5 (RFC 1928, RFC 1929) and SOCKS4.

use std::time::Duration;

use tokio::time::timeout;

use super::socks_target::SocksTarget;
use super::socks4::{self, Socks4Error};
use super::socks5::{self, Socks5Error};
use crate::exchange::error::Error;
use crate::exchange::error_kind::ErrorKind;
use crate::net::tls::BoxIo;
use crate::proxy::{self, Proxy};

/// Why a tunnel failed, and whether another address of the name may succeed.
pub(crate) struct SocksConnectError {
    pub(crate) error: Error,
    pub(crate) is_address_specific: bool,
}

/// Requests a tunnel to `target` from `proxy` on `stream`, and waits for its confirmation.
pub(crate) async fn connect(
    mut stream: BoxIo,
    proxy: &Proxy,
    target: &SocksTarget,
    within: Duration,
) -> Result<BoxIo, SocksConnectError> {
    if proxy.scheme().is_socks4() {
        let user = proxy.credentials().map_or("", |(user, _)| user);
        return match timeout(within, socks4::handshake(&mut stream, target, user)).await {
            Ok(Ok(())) => Ok(stream),
            Ok(Err(cause)) => Err(map_socks4_error(proxy, target, cause)),
            Err(_) => Err(timeout_error(proxy, within)),
        };
    }
    let credentials = proxy.credentials().map(|(user, password)| (user, password.expose()));
    match timeout(within, socks5::connect(&mut stream, credentials, target)).await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(cause)) => Err(map_error(proxy, target, cause)),
        Err(_) => Err(timeout_error(proxy, within)),
    }
}

/// The proxy may be waiting for the site.
fn timeout_error(proxy: &Proxy, within: Duration) -> SocksConnectError {
    let message = format!("timed out after {within:?} waiting for the proxy {proxy} to answer");
    SocksConnectError { error: proxy::target_error(ErrorKind::Proxy, message), is_address_specific: false }
}

/// Converts the reply of a SOCKS4 proxy.
fn map_socks4_error(proxy: &Proxy, target: &SocksTarget, cause: Socks4Error) -> SocksConnectError {
    let to = target.to_authority();
    let proxy_error = |what: &str| Error::new(ErrorKind::Proxy, format!("the proxy {proxy} {what}"));
    let is_address_specific = matches!(cause, Socks4Error::Unsupported | Socks4Error::Refused);
    let error = match cause {
        Socks4Error::Unsupported => proxy::target_error(
            ErrorKind::Proxy,
            format!("the proxy {proxy} cannot open a tunnel to {to}: SOCKS4 does not support this address"),
        )
        .with_hint("use `socks4a://` to send the name, or `socks5://` for IPv6"),
        // SOCKS4 does not say whether the proxy or the site refused.
        Socks4Error::Refused => proxy::target_error(
            ErrorKind::Proxy,
            format!("the proxy {proxy} could not open a tunnel to {to}"),
        ),
        Socks4Error::User => {
            let hint = "set the user that the proxy expects: socks4://user@host:port";
            proxy_error("refused the user").with_hint(hint).mark_proxy_auth_error()
        }
        Socks4Error::Malformed => proxy_error("did not answer with SOCKS4")
            .with_hint("check the proxy's protocol: `socks5://` or `http://`"),
        Socks4Error::Io(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            proxy_error("closed the connection during the SOCKS4 handshake")
        }
        Socks4Error::Io(cause) => proxy_error("dropped the connection").with_source(cause),
    };
    SocksConnectError { error, is_address_specific }
}

/// Converts the proxy's reply. Failures that the proxy reports about the site are not proxy faults.
fn map_error(proxy: &Proxy, target: &SocksTarget, cause: Socks5Error) -> SocksConnectError {
    let to = target.to_authority();
    let proxy_error = |what: &str| Error::new(ErrorKind::Proxy, format!("the proxy {proxy} {what}"));
    let site_error = |what: &str| {
        proxy::target_error(ErrorKind::Connect, format!("{to} {what}, according to the proxy {proxy}"))
    };
    let target_error =
        |what: &str| proxy::target_error(ErrorKind::Proxy, format!("the proxy {proxy} {what}"));
    let credentials = "add them to its URL, socks5://user:password@host:port, or set --proxy-user";
    let is_address_specific = matches!(
        cause,
        Socks5Error::NetworkUnreachable
            | Socks5Error::HostUnreachable
            | Socks5Error::ConnectionRefused
            | Socks5Error::TtlExpired
            | Socks5Error::AddressTypeNotSupported
    );
    let error = match cause {
        Socks5Error::RefusedCredentials => {
            let hint = "check user name and password of the proxy";
            proxy_error("refused the credentials").with_hint(hint).mark_proxy_auth_error()
        }
        Socks5Error::NoMethod | Socks5Error::NeedsCredentials if proxy.credentials().is_none() => {
            proxy_error("requires credentials").with_hint(credentials).mark_proxy_auth_error()
        }
        Socks5Error::NoMethod | Socks5Error::NeedsCredentials | Socks5Error::UnknownMethod => {
            proxy_error("accepts neither a password nor anonymous access")
        }
        Socks5Error::LongCredentials => proxy_error(
            "cannot receive the credentials: SOCKS5 allows a user name and a password of up to 255 bytes",
        ),
        Socks5Error::LongName => {
            target_error(&format!("cannot open a tunnel to {to}: SOCKS5 does not support this address"))
        }
        Socks5Error::NotAllowed => target_error(&format!("does not allow a tunnel to {to}")),
        Socks5Error::NetworkUnreachable => site_error("is in a network that cannot be reached"),
        Socks5Error::HostUnreachable => {
            site_error("cannot be reached").with_hint("check the host name; the proxy may not know it")
        }
        Socks5Error::ConnectionRefused => site_error("refused the connection"),
        Socks5Error::TtlExpired => site_error("is too far away (TTL expired)"),
        Socks5Error::GeneralFailure => target_error(&format!("could not open a tunnel to {to}"))
            .with_hint("the proxy could not reach the site: check the host name"),
        Socks5Error::AddressTypeNotSupported => {
            target_error(&format!("does not support the address type of {to}"))
                .with_hint("use `socks5h://` to send the name, `socks5://` to send the address")
        }
        Socks5Error::CommandNotSupported => proxy_error("does not support tunnels"),
        Socks5Error::Io(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            proxy_error("closed the connection during the SOCKS5 handshake")
        }
        Socks5Error::Io(cause) => proxy_error("dropped the connection").with_source(cause),
        Socks5Error::Malformed => proxy_error("did not answer with SOCKS5")
            .with_hint("check the proxy's protocol: use `http://` for an HTTP proxy"),
    };
    SocksConnectError { error, is_address_specific }
}
