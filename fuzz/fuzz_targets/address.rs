//! Judges any address, and the forms in which IPv6 embeds its last 32 bits.
#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use rungs::is_private_literal;
use url::Url;

fuzz_target!(|bytes: [u8; 16]| {
    let six = Ipv6Addr::from(bytes);
    let four = Ipv4Addr::from_bits(six.to_bits() as u32);
    let is_private = |address: Ipv6Addr| {
        let url = Url::parse(&format!("http://[{address}]/")).expect("a valid URL");
        let host = url.host_str().expect("a host");
        let judged = is_private_literal(host);
        assert_eq!(judged, is_private_literal(&format!("[{address}].").to_uppercase()), "{address}");
        judged
    };
    let is_unicast = six.segments()[0] & 0xe000 == 0x2000;
    let is_translation = six.to_ipv4_mapped().is_some() || six.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    assert!(is_private(six) || is_unicast || is_translation, "{six}");
    if is_private_literal(&four.to_string()) {
        let [a, b, c, d] = four.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let [s0, s1, s2, s3, ..] = six.segments();
        for form in [
            four.to_ipv6_mapped(),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, s1, s2, s3, high, low),
            Ipv6Addr::new(0x2002, high, low, s0, s1, s2, s3, s0),
            Ipv6Addr::new(0x2001, 0, high, low, s0, s1, s2, s3),
            Ipv6Addr::new(0x2001, 0, s0, s1, s2, s3, !high, !low),
            Ipv6Addr::new(s0, s1, s2, s3, 0, 0x5efe, high, low),
            Ipv6Addr::new(s0, s1, s2, s3, 0x0200, 0x5efe, high, low),
        ] {
            assert!(is_private(form), "{form} embeds {four}");
        }
    }
});
