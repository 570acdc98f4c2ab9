//! The IPv4 addresses that an IPv6 address embeds. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Returns the IPv4 addresses that packets to `address` may be sent to by a tunnel or a translator.
pub(super) fn ipv4_addresses(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let segments = address.segments();
    let four = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    let by_prefix = match segments {
        // IPv4-compatible and IPv4-mapped (RFC 4291), and IPv4-translated (RFC 2765).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low]
        // IPv4/IPv6 translation (RFC 6052, RFC 8215).
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        // 6to4 (RFC 3056).
        | [0x2002, high, low, ..] => [Some(four(high, low)), None],
        // Teredo (RFC 4380): the server, and the client with inverted bits.
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            [Some(four(server_high, server_low)), Some(four(!high, !low))]
        }
        _ => [None, None],
    };
    // ISATAP (RFC 5214, section 6.1): any network, with the bits "universal" and "group" set or not.
    let isatap = match segments {
        [.., kind, 0x5efe, high, low] if kind & !0x0300 == 0 => Some(four(high, low)),
        _ => None,
    };
    by_prefix.into_iter().chain([isatap]).flatten()
}
