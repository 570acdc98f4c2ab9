//! The special-purpose networks of IPv4 and IPv6.
//!
//! Sources: IANA "IPv4 Special-Purpose Address Registry" and "IPv6 Special-Purpose Address Registry", column
//! "Globally Reachable"; multicast from RFC 5771 and RFC 4291. Of two networks that contain an address, the smaller
//! one decides.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A special-purpose network.
#[derive(Debug)]
pub(super) struct Network {
    /// The first address. An IPv4 address is in the upper 32 bits.
    first: u128,
    prefix: u32,
    /// Whether its addresses are globally reachable. An address that embeds another is judged by that one too.
    pub(super) is_global: bool,
}

/// Returns the smallest network of `table` that contains the address `bits`.
pub(super) fn find(table: &'static [Network], bits: u128) -> Option<&'static Network> {
    table.iter().filter(|network| network.contains(bits)).max_by_key(|network| network.prefix)
}

impl Network {
    const fn contains(&self, bits: u128) -> bool {
        let mask = u128::MAX << (128 - self.prefix);
        (bits ^ self.first) & mask == 0
    }
}

/// A network that is not globally reachable.
const fn local4(octets: [u8; 4], prefix: u32) -> Network {
    let [a, b, c, d] = octets;
    Network { first: (Ipv4Addr::new(a, b, c, d).to_bits() as u128) << 96, prefix, is_global: false }
}

const fn global4(octets: [u8; 4], prefix: u32) -> Network {
    Network { is_global: true, ..local4(octets, prefix) }
}

/// A network that is not globally reachable. `segments` are its first four; the others are zero.
const fn local6(segments: [u16; 4], prefix: u32) -> Network {
    let [a, b, c, d] = segments;
    Network { first: Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_bits(), prefix, is_global: false }
}

const fn global6(segments: [u16; 4], prefix: u32) -> Network {
    Network { is_global: true, ..local6(segments, prefix) }
}

/// A network of the lower half of an address whose upper half is zero.
const fn low6(segments: [u16; 4], prefix: u32, is_global: bool) -> Network {
    let [e, f, g, h] = segments;
    Network { first: Ipv6Addr::new(0, 0, 0, 0, e, f, g, h).to_bits(), prefix, is_global }
}

pub(super) static IPV4: [Network; 20] = [
    local4([0, 0, 0, 0], 8),      // "this network", RFC 791, section 3.2
    local4([10, 0, 0, 0], 8),     // private use, RFC 1918
    local4([100, 64, 0, 0], 10),  // shared address space, RFC 6598
    local4([127, 0, 0, 0], 8),    // loopback, RFC 1122, section 3.2.1.3
    local4([169, 254, 0, 0], 16), // link-local, RFC 3927; metadata servers of clouds
    local4([172, 16, 0, 0], 12),  // private use, RFC 1918
    // IETF protocol assignments, RFC 6890. Its two global rows, 192.0.0.9 (RFC 7723) and 192.0.0.10 (RFC 8155), are
    // anycast addresses of the nearest NAT and relay: devices of the local network. So they are not excepted.
    local4([192, 0, 0, 0], 24),
    local4([192, 0, 2, 0], 24),       // documentation, RFC 5737
    global4([192, 31, 196, 0], 24),   // AS112, RFC 7535
    global4([192, 52, 193, 0], 24),   // AMT, RFC 7450
    local4([192, 88, 99, 0], 24),     // 6to4 relay anycast, deprecated by RFC 7526; 6a44, RFC 6751
    local4([192, 168, 0, 0], 16),     // private use, RFC 1918
    global4([192, 175, 48, 0], 24),   // AS112, RFC 7534
    local4([198, 18, 0, 0], 15),      // benchmarking, RFC 2544
    local4([198, 51, 100, 0], 24),    // documentation, RFC 5737
    local4([203, 0, 113, 0], 24),     // documentation, RFC 5737
    local4([224, 0, 0, 0], 4),        // multicast, RFC 5771
    local4([233, 252, 0, 0], 24),     // multicast documentation, RFC 6676
    local4([240, 0, 0, 0], 4),        // reserved, RFC 1112, section 4
    local4([255, 255, 255, 255], 32), // limited broadcast, RFC 8190 and RFC 919
];

pub(super) static IPV6: [Network; 30] = [
    low6([0, 0, 0, 0], 128, false), // unspecified, RFC 4291, section 2.5.2
    low6([0, 0, 0, 1], 128, false), // loopback, RFC 4291, section 2.5.3
    low6([0, 0, 0, 0], 96, false),  // IPv4-compatible, deprecated, RFC 4291, section 2.5.5.1
    // IPv4-mapped, RFC 4291, section 2.5.5.2. The system connects over IPv4: the embedded address decides.
    low6([0, 0xffff, 0, 0], 96, true),
    low6([0xffff, 0, 0, 0], 96, false), // IPv4-translated (SIIT), RFC 2765, section 2.1
    // IPv4/IPv6 translation, RFC 6052, section 2.1: globally reachable if the embedded address is.
    global6([0x64, 0xff9b, 0, 0], 96),
    local6([0x64, 0xff9b, 1, 0], 48), // IPv4/IPv6 translation for local use, RFC 8215
    local6([0x100, 0, 0, 0], 64),     // discard only, RFC 6666
    local6([0x100, 0, 0, 1], 64),     // dummy prefix, RFC 9780
    // IETF protocol assignments, RFC 2928. Its rows 2001:1::1 (RFC 7723), 2001:1::2 (RFC 8155) and 2001:1::3 (RFC 9665)
    // are anycast addresses of devices of the local network, as in IPv4. So they are not excepted.
    local6([0x2001, 0, 0, 0], 23),
    // Teredo, RFC 4380, section 4: globally reachable if the embedded addresses of server and client are.
    global6([0x2001, 0, 0, 0], 32),
    local6([0x2001, 2, 0, 0], 48),      // benchmarking, RFC 5180
    global6([0x2001, 3, 0, 0], 32),     // AMT, RFC 7450
    global6([0x2001, 4, 0x112, 0], 48), // AS112, RFC 7535
    local6([0x2001, 0x10, 0, 0], 28),   // ORCHID, deprecated, RFC 4843
    global6([0x2001, 0x20, 0, 0], 28),  // ORCHIDv2, RFC 7343
    global6([0x2001, 0x30, 0, 0], 28),  // DRIP entity tags, RFC 9374
    local6([0x2001, 0xdb8, 0, 0], 32),  // documentation, RFC 3849
    // 6to4, RFC 3056, section 2: globally reachable if the embedded address is.
    global6([0x2002, 0, 0, 0], 16),
    global6([0x2620, 0x4f, 0x8000, 0], 48), // AS112, RFC 7534
    local6([0x3ffe, 0, 0, 0], 16),          // 6bone, returned, RFC 3701
    local6([0x3fff, 0, 0, 0], 20),          // documentation, RFC 9637
    local6([0x5f00, 0, 0, 0], 16),          // segment routing (SRv6) identifiers, RFC 9602
    local6([0x400, 0, 0, 0], 7),            // formerly IPX, RFC 4548
    local6([0x200, 0, 0, 0], 7),            // formerly NSAP, RFC 4048
    local6([0xfc00, 0, 0, 0], 7),           // unique local, RFC 4193
    local6([0xfe00, 0, 0, 0], 9),           // reserved, RFC 4291
    local6([0xfe80, 0, 0, 0], 10),          // link-local, RFC 4291, section 2.5.6
    local6([0xfec0, 0, 0, 0], 10), // site-local, deprecated, but still routed by some networks, RFC 3879
    local6([0xff00, 0, 0, 0], 8),  // multicast, RFC 4291, section 2.7
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_begins_at_its_prefix_and_is_listed_once() {
        for table in [&IPV4[..], &IPV6[..]] {
            for (at, network) in table.iter().enumerate() {
                assert!(network.prefix >= 4 && network.prefix <= 128, "{network:?}");
                assert_eq!(network.first & !(u128::MAX << (128 - network.prefix)), 0, "{network:?}");
                let is_same =
                    |other: &Network| other.first == network.first && other.prefix == network.prefix;
                assert!(!table[at + 1..].iter().any(is_same), "{network:?}");
            }
        }
    }

    #[test]
    fn the_smallest_network_decides() {
        let is_global =
            |address: &str| find(&IPV6, address.parse::<Ipv6Addr>().unwrap().to_bits()).unwrap().is_global;
        assert!(
            !is_global("2001:1::7")
                && is_global("2001:3::1")
                && !is_global("2001:2::1")
                && is_global("2001:0:1::")
        );
    }
}
