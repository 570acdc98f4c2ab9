use proptest::prelude::*;

use super::*;

fn is_refused(address: &str) -> bool {
    is_private(address.parse().unwrap())
}

#[test]
fn private_addresses_are_recognized_in_every_notation() {
    for host in [
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[2002:7f00:1::]",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "10.0.0.1.",
        "[::1].",
        "[::1.]",
        "[localhost]",
    ] {
        assert!(is_private_literal(host), "{host}");
    }
    for host in ["8.8.8.8", "[2606:4700::1]", "site.example", "localhost.example", "10.0.0.1.example"] {
        assert!(!is_private_literal(host), "{host}");
    }
}

/// The first and the last address of each network that is not globally reachable, and an address on both sides.
#[test]
fn special_purpose_networks_are_refused_to_their_borders() {
    for (below, first, last, above) in [
        ("", "0.0.0.0", "0.255.255.255", "1.0.0.0"),
        ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
        ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
        ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
        ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
        ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
        ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
        ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
        ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
        ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
        ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
        ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
        ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
        ("223.255.255.255", "224.0.0.0", "255.255.255.255", ""),
        ("", "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"),
        ("2000:ffff::", "2001:1::", "2001:2:ffff:ffff:ffff:ffff:ffff:ffff", "2001:3::"),
        ("2001:4:112:ffff::", "2001:5::", "2001:1f:ffff::", "2001:20::"),
        ("2001:3f:ffff::", "2001:40::", "2001:1ff:ffff::", "2001:200::"),
        ("2001:db7:ffff::", "2001:db8::", "2001:db8:ffff:ffff::", "2001:db9::"),
        ("3ffd:ffff::", "3ffe::", "3fff:fff:ffff::", "3fff:1000::"),
        ("3fff:ffff:ffff::", "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""),
    ] {
        for refused in [first, last] {
            assert!(is_refused(refused), "{refused} is refused");
        }
        for public in [below, above].into_iter().filter(|address| !address.is_empty()) {
            assert!(!is_refused(public), "{public} is public");
        }
    }
}

#[test]
fn each_form_of_an_embedded_address_is_unwrapped() {
    for (form, expected) in [
        ("::ffff:5db8:d822", false), // mapped 93.184.216.34
        ("::ffff:a9fe:a9fe", true),  // mapped 169.254.169.254
        ("::5db8:d822", true),       // compatible: not routed at all
        ("::a00:1", true),
        ("::ffff:0:5db8:d822", true), // translated (SIIT): not routed at all
        ("::ffff:0:a00:1", true),
        ("64:ff9b::5db8:d822", false), // translation, global
        ("64:ff9b::a00:1", true),
        ("64:ff9b:1::5db8:d822", true), // translation, local
        ("64:ff9b:1::a00:1", true),
        ("64:ff9b::1:5db8:d822", true), // beside the prefix
        ("2002:5db8:d822::1", false),   // 6to4
        ("2002:a00:1::1", true),
        ("2001:0:5db8:d822:0:1:a247:27dd", false), // Teredo: server and client 93.184.216.34
        ("2001:0:5db8:d822:0:1:f5ff:fffe", true),  // client 10.0.0.1
        ("2001:0:a00:1:0:1:a247:27dd", true),      // server 10.0.0.1
        ("2606:2800::5efe:5db8:d822", false),      // ISATAP
        ("2606:2800::5efe:a00:1", true),
        ("2606:2800::200:5efe:a00:1", true),
        ("2606:2800::300:5efe:7f00:1", true),
        ("2606:2800::400:5efe:a00:1", false), // another interface identifier
        ("2002:5db8:d822::5efe:a00:1", true), // ISATAP in 6to4
        ("fe80::5efe:5db8:d822", true),
    ] {
        assert_eq!(is_refused(form), expected, "{form}");
    }
}

#[test]
fn ordinary_public_addresses_and_global_special_networks_pass() {
    for address in [
        "1.1.1.1",
        "93.184.216.34",
        "192.31.196.1",
        "192.52.193.1",
        "192.175.48.1",
        "223.255.255.254",
        "2606:2800:220:1:248:1893:25c8:1946",
        "2001:4860:4860::8888",
        "2001:4:112::1",
        "2620:4f:8000::1",
        "2a00:1450::1",
    ] {
        assert!(!is_refused(address), "{address}");
    }
}

/// The networks of IPv4 that are not globally reachable, written by hand from the registry: (octets, prefix).
fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn ipv4_agrees_with_the_registry_written_a_second_time(bits in any::<u32>()) {
        let four = Ipv4Addr::from_bits(bits);
        prop_assert_eq!(is_private(four.into()), is_special_v4(four));
    }

    #[test]
    fn an_embedded_address_that_is_refused_is_refused_in_every_form(bits in any::<u32>(), other in any::<u32>()) {
        let (four, wide) = (Ipv4Addr::from_bits(bits), u128::from(bits));
        let global = u128::from(u32::from(Ipv4Addr::new(93, 184, 216, 34)));
        let prefix = 0x2606_2800_u128 << 96 | u128::from(other) << 64;
        let six = |bits: u128| IpAddr::V6(Ipv6Addr::from_bits(bits));
        for form in [
            wide,
            0xffff << 32 | wide,
            0xffff << 48 | wide,
            0x64_ff9b << 96 | wide,
            0x64_ff9b_0001 << 80 | u128::from(other) << 32 | wide,
            0x2002 << 112 | wide << 80 | u128::from(other),
            0x2001_0000 << 96 | wide << 64 | u128::from(other) << 32 | (global ^ 0xffff_ffff),
            0x2001_0000 << 96 | global << 64 | u128::from(other) << 32 | (wide ^ 0xffff_ffff),
            prefix | 0x5efe << 32 | wide,
            prefix | 0x0200_5efe << 32 | wide,
        ] {
            prop_assert!(is_private(six(form)) || !is_special_v4(four), "{:?}", six(form));
        }
    }

    #[test]
    fn nothing_outside_of_the_unicast_network_passes_but_translations(bits in any::<u128>()) {
        let six = Ipv6Addr::from_bits(bits);
        let is_unicast = six.segments()[0] & 0xe000 == 0x2000;
        let is_translation = six.to_ipv4_mapped().is_some() || bits >> 32 == 0x64_ff9b << 64;
        prop_assert!(is_private(six.into()) || is_unicast || is_translation, "{six}");
    }

    #[test]
    fn a_literal_in_a_url_is_judged_as_its_address(bits in any::<u128>(), four in any::<u32>()) {
        for address in [IpAddr::V6(Ipv6Addr::from_bits(bits)), Ipv4Addr::from_bits(four).into()] {
            let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
            let url = url::Url::parse(&format!("http://{host}/")).unwrap();
            prop_assert_eq!(is_private_literal(url.host_str().unwrap()), is_private(address));
        }
    }
}
