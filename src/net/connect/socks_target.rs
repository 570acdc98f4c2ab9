//! The target of a tunnel through a SOCKS proxy.

use std::net::IpAddr;

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

    pub(super) fn to_authority(&self) -> String {
        match self {
            Self::Address(IpAddr::V6(address), port) => format!("[{address}]:{port}"),
            Self::Address(address, port) => format!("{address}:{port}"),
            Self::Name(name, port) => format!("{name}:{port}"),
        }
    }
}
