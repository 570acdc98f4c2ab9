//! A tunnel through a SOCKS5 proxy (RFC 1928, RFC 1929).

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;
use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{Error as SocksError, TargetAddr};

use crate::error::Error;
use crate::error_kind::ErrorKind;
use crate::net::tls::BoxIo;
use crate::proxy::{self, Proxy};

/// Where the tunnel is to lead.
pub(crate) enum SocksTarget {
    Address(IpAddr, u16),
    /// A name, for the proxy to resolve.
    Name(String, u16),
}

impl SocksTarget {
    /// A host as a URL has it.
    pub(crate) fn from_host(host: &str, port: u16) -> Self {
        match host.trim_matches(['[', ']']).parse() {
            Ok(address) => Self::Address(address, port),
            Err(_) => Self::Name(host.to_owned(), port),
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

/// Why there is no tunnel, and whether another address of the name may do better.
pub(crate) struct SocksConnectError {
    pub(crate) error: Error,
    pub(crate) is_address_specific: bool,
}

/// Asks `proxy` on `stream` for a tunnel to `target`, and waits for its yes.
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
    let asking = async {
        match proxy.credentials() {
            Some((user, password)) => {
                Socks5Stream::connect_with_password_and_socket(stream, address, user, password.expose()).await
            }
            None => Socks5Stream::connect_with_socket(stream, address).await,
        }
    };
    match timeout(within, asking).await {
        Ok(Ok(stream)) => Ok(stream.into_inner()),
        Ok(Err(cause)) => Err(map_error(proxy, target, cause)),
        Err(_) => {
            // It may be waiting for the site itself.
            let message = format!("the proxy {proxy} did not answer within {within:?}");
            Err(SocksConnectError {
                error: proxy::target_error(ErrorKind::Proxy, message),
                is_address_specific: false,
            })
        }
    }
}

/// The proxy's refusal, by its reply. What it says of the site is not the proxy's fault.
fn map_error(proxy: &Proxy, target: &SocksTarget, cause: SocksError) -> SocksConnectError {
    let to = target.to_authority();
    let of_proxy = |what: &str| Error::new(ErrorKind::Proxy, format!("the proxy {proxy} {what}"));
    let of_site =
        |what: &str| proxy::target_error(ErrorKind::Connect, format!("{to} {what}, says the proxy {proxy}"));
    let of_either = |what: &str| proxy::target_error(ErrorKind::Proxy, format!("the proxy {proxy} {what}"));
    let credentials = "write them into its URL, socks5://user:password@host:port, or give --proxy-user";
    let of_address = matches!(
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
            of_proxy("refused the credentials").with_hint(hint).mark_proxy_auth_error()
        }
        SocksError::NoAcceptableAuthMethods | SocksError::AuthorizationRequired
            if proxy.credentials().is_none() =>
        {
            of_proxy("wants credentials").with_hint(credentials).mark_proxy_auth_error()
        }
        SocksError::NoAcceptableAuthMethods | SocksError::UnknownAuthMethod => {
            of_proxy("takes neither a password nor a visitor without one")
        }
        SocksError::InvalidAuthValues(_) => {
            of_proxy("cannot be sent the credentials: SOCKS5 takes names and passwords of 1 to 255 bytes")
        }
        SocksError::InvalidTargetAddress(_) => of_either(&format!("cannot be asked for {to}")),
        SocksError::ConnectionNotAllowedByRuleset => of_either(&format!("does not allow a tunnel to {to}")),
        SocksError::NetworkUnreachable => of_site("is in a network that cannot be reached"),
        SocksError::HostUnreachable => {
            of_site("cannot be reached").with_hint("is the host name right? the proxy may not know it")
        }
        SocksError::ConnectionRefused => of_site("refused the connection"),
        SocksError::TtlExpired => of_site("is too far away"),
        SocksError::GeneralSocksServerFailure => of_either(&format!("could not open a tunnel to {to}"))
            .with_hint("the proxy could not reach the site: is the host name right?"),
        SocksError::AddressTypeNotSupported => of_either(&format!("does not take an address such as {to}"))
            .with_hint("`socks5h://` sends it the name, `socks5://` the address"),
        SocksError::CommandNotSupported => of_proxy("opens no tunnels"),
        SocksError::Io(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            of_proxy("closed the connection when it was asked for a tunnel")
        }
        SocksError::Io(cause) => of_proxy("broke the connection").with_source(cause),
        _ => of_proxy("did not answer as a SOCKS5 proxy does")
            .with_hint("is it one? `http://` is another kind"),
    };
    SocksConnectError { error, is_address_specific: of_address }
}
