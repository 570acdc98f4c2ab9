//! The address of the metrics server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// An address with port. A port alone means 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetricsAddress(pub(crate) SocketAddr);

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let local = |port| Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
        port.parse().map(local).or_else(|_| text.parse().map(Self)).map_err(|_| {
            "expected an address with port, as in 127.0.0.1:9100 or [::1]:9100, or a port".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_defaults_to_loopback() {
        for (text, address) in [
            ("9100", "127.0.0.1:9100"),
            (":9100", "127.0.0.1:9100"),
            ("localhost:9100", "127.0.0.1:9100"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:9100", "[::1]:9100"),
            ("0.0.0.0:9100", "0.0.0.0:9100"),
        ] {
            assert_eq!(
                text.parse::<MetricsAddress>().map(|MetricsAddress(address)| address.to_string()),
                Ok(address.into())
            );
        }
        for text in ["", ":", "host:9100", "127.0.0.1", "99999", "127.0.0.1:99999"] {
            assert!(text.parse::<MetricsAddress>().is_err(), "{text}");
        }
    }
}
