//! Classifies addresses that are not on the public internet. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address belongs to this machine, to the local network, or to no single host. A public site has
/// no reason to redirect there.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => is_private_v4(four),
        IpAddr::V6(six) => is_private_v6(six),
    }
}

/// Whether a URL's host is private without a DNS lookup: a private address, or `localhost`.
pub(crate) fn is_private_literal(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    match bare.parse() {
        Ok(address) => is_private(address),
        Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
    }
}

/// Whether a URL's host is an address or `localhost`, so that no lookup is needed.
pub(crate) fn is_literal(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || is_private_literal(host)
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || first == 0
        // Shared address space (RFC 6598), and the reserved range with broadcast.
        || (first == 100 && second & 0xc0 == 64)
        || first >= 240
        // Benchmarking (RFC 2544).
        || (first == 198 && second & 0xfe == 18)
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    if let Some(four) = embedded_ipv4(address) {
        return is_private_v4(four);
    }
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        // Site-local: deprecated, but still routed by some networks (RFC 3879).
        || address.segments()[0] & 0xffc0 == 0xfec0
}

/// Returns the IPv4 address embedded in an IPv6 address: mapped, NAT64 (RFC 6052), 6to4.
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let four = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(four(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_recognized_in_every_notation() {
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[2002:7f00:1::]",
            "[fd00::1]",
            "[fe80::1]",
            "[ff02::1]",
            "[fec0::1]",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
        ] {
            assert!(is_private_literal(host), "{host}");
        }
        for host in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "192.167.0.1",
            "198.20.0.1",
            "[2606:4700::1]",
            "[::ffff:8.8.8.8]",
            "[64:ff9b::8.8.8.8]",
            "site.example",
            "localhost.example",
            "10.0.0.1.example",
        ] {
            assert!(!is_private_literal(host), "{host}");
        }
    }
}
