//! Tunnels through a SOCKS5 proxy (RFC 1928, RFC 1929).

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;
use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{Error as SocksError, TargetAddr};

use crate::error::Error;
use crate::error_kind::ErrorKind;
use crate::net::tls::BoxIo;
use crate::proxy::{self, Proxy};

/// The target of a tunnel.
pub(crate) enum SocksTarget {
    Address(IpAddr, u16),
    /// A name that the proxy resolves.
    Name(String, u16),
}

impl SocksTarget {
    /// Creates a target from the host of a URL.
    pub(crate) fn from_host(host: &str, port: u16) -> Self {
        match host.trim_matches(['[', ']']).parse() {
            Ok(address) => Self::Address(address, port),
            Err(_) => Self::Name(host.to_owned(), port),
        }
    }

    /// Returns the address, unless the proxy resolves a name.
    pub(crate) const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address, _) => Some(*address),
            Self::Name(..) => None,
        }
    }

    fn to_authority(&self) -> String {
        match self {
            Self::Address(IpAddr::V6(address), port) => format!("[{address}]:{port}"),
            Self::Address(address, port) => format!("{address}:{port}"),
            Self::Name(name, port) => format!("{name}:{port}"),
        }
    }
}

/// Why a tunnel failed, and whether another address of the name may succeed.
pub(crate) struct SocksConnectError {
    pub(crate) error: Error,
    pub(crate) is_address_specific: bool,
}

/// Requests a tunnel to `target` from `proxy` on `stream`, and waits for its confirmation.
pub(crate) async fn connect(
    stream: BoxIo,
    proxy: &Proxy,
    target: &SocksTarget,
    within: Duration,
) -> Result<BoxIo, SocksConnectError> {
    let address = match target {
        SocksTarget::Address(address, port) => TargetAddr::Ip((*address, *port).into()),
        SocksTarget::Name(name, port) => TargetAddr::Domain(name.as_str().into(), *port),
    };
    let handshake = async {
        match proxy.credentials() {
            Some((user, password)) => {
                Socks5Stream::connect_with_password_and_socket(stream, address, user, password.expose()).await
            }
            None => Socks5Stream::connect_with_socket(stream, address).await,
        }
    };
    match timeout(within, handshake).await {
        Ok(Ok(stream)) => Ok(stream.into_inner()),
        Ok(Err(cause)) => Err(map_error(proxy, target, cause)),
        Err(_) => {
            // The proxy may be waiting for the site.
            let message = format!("timed out after {within:?} waiting for the proxy {proxy} to answer");
            Err(SocksConnectError {
                error: proxy::target_error(ErrorKind::Proxy, message),
                is_address_specific: false,
            })
        }
    }
}

/// Converts the proxy's reply. Failures that the proxy reports about the site are not proxy faults.
fn map_error(proxy: &Proxy, target: &SocksTarget, cause: SocksError) -> SocksConnectError {
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
        SocksError::NetworkUnreachable
            | SocksError::HostUnreachable
            | SocksError::ConnectionRefused
            | SocksError::TtlExpired
            | SocksError::AddressTypeNotSupported
    );
    let error = match cause {
        SocksError::PasswordAuthFailure(_) => {
            let hint = "check user name and password of the proxy";
            proxy_error("refused the credentials").with_hint(hint).mark_proxy_auth_error()
        }
        SocksError::NoAcceptableAuthMethods | SocksError::AuthorizationRequired
            if proxy.credentials().is_none() =>
        {
            proxy_error("requires credentials").with_hint(credentials).mark_proxy_auth_error()
        }
        SocksError::NoAcceptableAuthMethods | SocksError::UnknownAuthMethod => {
            proxy_error("accepts neither a password nor anonymous access")
        }
        SocksError::InvalidAuthValues(_) => proxy_error(
            "cannot receive the credentials: SOCKS5 requires a user name and a password of 1 to 255 bytes",
        ),
        SocksError::InvalidTargetAddress(_) => {
            target_error(&format!("cannot open a tunnel to {to}: SOCKS5 does not support this address"))
        }
        SocksError::ConnectionNotAllowedByRuleset => {
            target_error(&format!("does not allow a tunnel to {to}"))
        }
        SocksError::NetworkUnreachable => site_error("is in a network that cannot be reached"),
        SocksError::HostUnreachable => {
            site_error("cannot be reached").with_hint("check the host name; the proxy may not know it")
        }
        SocksError::ConnectionRefused => site_error("refused the connection"),
        SocksError::TtlExpired => site_error("is too far away (TTL expired)"),
        SocksError::GeneralSocksServerFailure => target_error(&format!("could not open a tunnel to {to}"))
            .with_hint("the proxy could not reach the site: check the host name"),
        SocksError::AddressTypeNotSupported => {
            target_error(&format!("does not support the address type of {to}"))
                .with_hint("use `socks5h://` to send the name, `socks5://` to send the address")
        }
        SocksError::CommandNotSupported => proxy_error("does not support tunnels"),
        SocksError::Io(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            proxy_error("closed the connection during the SOCKS5 handshake")
        }
        SocksError::Io(cause) => proxy_error("dropped the connection").with_source(cause),
        _ => proxy_error("did not answer with SOCKS5")
            .with_hint("check the proxy's protocol: use `http://` for an HTTP proxy"),
    };
    SocksConnectError { error, is_address_specific }
}
