//! Decides which addresses are on the public internet, after IANA's registries of special-purpose addresses. Pure.
//!
//! An address is public if it is globally reachable, and so is each IPv4 address that it embeds.

mod embedded;
mod registry;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::exchange::registrable_domain::is_localhost;

/// Whether an address is not on the public internet: it belongs to this machine, to the local network, to a purpose
/// of its own, or to no single host. A public site has no reason to lead there.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => !is_global_v4(four),
        IpAddr::V6(six) => !is_global_v6(six),
    }
}

/// Whether a URL's host is private without a DNS lookup: a private address, or `localhost`.
#[must_use]
pub fn is_private_literal(host: &str) -> bool {
    let bare = without_brackets(host).to_ascii_lowercase();
    match bare.parse() {
        Ok(address) => is_private(address),
        Err(_) => is_localhost(&bare),
    }
}

/// Returns the host without the brackets of an IPv6 address and the dot of a fully qualified name, in any order.
fn without_brackets(host: &str) -> &str {
    host.trim_matches(['[', ']', '.'])
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let bits = u128::from(address.to_bits()) << 96;
    registry::find(&registry::IPV4, bits).is_none_or(|network| network.is_global)
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let is_outer_global = match registry::find(&registry::IPV6, address.to_bits()) {
        Some(network) => network.is_global,
        // Only this network is assigned for addresses of hosts (RFC 4291, section 2.4; registry "IPv6 Address Space").
        None => address.segments()[0] & 0xe000 == 0x2000,
    };
    is_outer_global && embedded::ipv4_addresses(address).all(is_global_v4)
}

#[cfg(test)]
mod tests;
