//! JA3 and JA4: fingerprints of ClientHellos.
//!
//! JA3 follows Salesforce's description, JA4 FoxIO's technical details of November 2026.
//! GREASE is excluded everywhere, also from signature algorithms, which Chrome greases since 152.
//! Otherwise the fingerprint would change with every connection.

use std::fmt::Display;

use md5::Md5;
use sha2::{Digest, Sha256};

use super::hello::{ClientHello, extension, is_grease};
use crate::text::hex;

/// A JA3 fingerprint: the text and its MD5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ja3 {
    /// `version,ciphers,extensions,groups,point formats`, in wire order.
    pub text: String,
    /// The MD5 of the text in hex.
    pub hash: String,
}

/// The JA3 of a ClientHello. It differs per connection if the client permutes its extensions.
#[must_use]
pub fn ja3(hello: &ClientHello) -> Ja3 {
    let text = [
        hello.legacy_version.to_string(),
        join_dashes(without_grease(hello.ciphers.iter().copied())),
        join_dashes(without_grease(hello.extension_ids())),
        join_dashes(without_grease(hello.groups())),
        join_dashes(hello.point_formats()),
    ]
    .join(",");
    let hash = hex::encode(&Md5::digest(&text));
    Ja3 { text, hash }
}

/// The JA4 of a ClientHello, for example `t13d1516h2_8daaf6152771_02713d6af862`.
#[must_use]
pub fn ja4(hello: &ClientHello) -> String {
    let parts = Ja4Parts::from_hello(hello);
    format!("{}_{}_{}", parts.a, short_hash(&parts.ciphers), short_hash(&parts.extensions))
}

/// The JA4_r of a ClientHello: JA4 with its lists in plain text instead of hashed.
#[must_use]
pub fn ja4_r(hello: &ClientHello) -> String {
    let parts = Ja4Parts::from_hello(hello);
    format!("{}_{}_{}", parts.a, parts.ciphers, parts.extensions)
}

struct Ja4Parts {
    a: String,
    ciphers: String,
    extensions: String,
}

impl Ja4Parts {
    fn from_hello(hello: &ClientHello) -> Self {
        let mut ciphers: Vec<u16> = without_grease(hello.ciphers.iter().copied()).collect();
        let mut extensions: Vec<u16> = without_grease(hello.extension_ids()).collect();
        let a = format!(
            "t{}{}{:02}{:02}{}",
            ja4_version(hello),
            if hello.extension(extension::SERVER_NAME).is_some() { 'd' } else { 'i' },
            ciphers.len().min(99),
            extensions.len().min(99),
            alpn_mark(hello),
        );
        ciphers.sort_unstable();
        extensions.retain(|id| !matches!(*id, extension::SERVER_NAME | extension::ALPN));
        extensions.sort_unstable();
        let mut list = comma_hex(&extensions);
        let algorithms: Vec<u16> = without_grease(hello.signature_algorithms()).collect();
        if !algorithms.is_empty() {
            list.push('_');
            list.push_str(&comma_hex(&algorithms));
        }
        Self { a, ciphers: comma_hex(&ciphers), extensions: list }
    }
}

fn ja4_version(hello: &ClientHello) -> &'static str {
    match without_grease(hello.versions()).max().unwrap_or(hello.legacy_version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of the first ALPN protocol, or of its hex if they are not alphanumeric.
fn alpn_mark(hello: &ClientHello) -> String {
    let protocols = hello.alpn();
    let Some((&first, &last)) = protocols.first().and_then(|protocol| protocol.first().zip(protocol.last()))
    else {
        return "00".to_owned();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)].iter().collect();
    }
    let (first, last) = (hex::encode(&[first]), hex::encode(&[last]));
    format!("{}{}", &first[..1], &last[1..])
}

fn short_hash(text: &str) -> String {
    if text.is_empty() {
        return "000000000000".to_owned();
    }
    hex::encode(&Sha256::digest(text)[..6])
}

fn without_grease(values: impl IntoIterator<Item = u16>) -> impl Iterator<Item = u16> {
    values.into_iter().filter(|value| !is_grease(*value))
}

fn join_dashes(values: impl IntoIterator<Item = impl Display>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join("-")
}

fn comma_hex(values: &[u16]) -> String {
    values.iter().map(|value| format!("{value:04x}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::sample::{self, list16};
    use super::*;

    const CIPHERS: [u16; 16] = [
        0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
        0x009c, 0x009d, 0x002f, 0x0035,
    ];
    const ALGORITHMS: [u16; 8] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

    fn hello(extensions: &[u16], algorithms: &[u16]) -> ClientHello {
        let body = |id: u16| match id {
            extension::SERVER_NAME => b"\x00\x0b\x00\x00\x08one.test".to_vec(),
            extension::ALPN => b"\x00\x0c\x02h2\x08http/1.1".to_vec(),
            extension::VERSIONS => vec![6, 0x3a, 0x3a, 3, 4, 3, 3],
            extension::SIGNATURE_ALGORITHMS => list16(algorithms),
            _ => Vec::new(),
        };
        let extensions: Vec<_> = extensions.iter().map(|id| (*id, body(*id))).collect();
        ClientHello::from_records(&sample::record(0x0303, &CIPHERS, &extensions)).unwrap()
    }

    // FoxIO, technical_details/JA4.md: the worked example.
    #[test]
    fn ja4_of_the_foxio_example_is_correct() {
        let order = [
            0x7a7a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012,
            0x002b, 0xff01, 0x000b, 0x000a, 0x9a9a, 0x0015,
        ];
        let hello = hello(&order, &ALGORITHMS);
        assert_eq!(ja4(&hello), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!(
            ja4_r(&hello),
            "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9_\
             0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01_\
             0403,0804,0401,0503,0805,0501,0806,0601"
        );
    }

    // Chrome 117 to 131 in FoxIO's database.
    #[test]
    fn ja4_of_chrome_117_to_131_is_correct() {
        let order = [
            0x0000, 0x0017, 0xff01, 0x000a, 0x000b, 0x0023, 0x0010, 0x0005, 0x000d, 0x0012, 0x0033, 0x002d,
            0x002b, 0x001b, 0x4469, 0xfe0d,
        ];
        assert_eq!(ja4(&hello(&order, &ALGORITHMS)), "t13d1516h2_8daaf6152771_02713d6af862");
    }

    #[test]
    fn grease_among_signature_algorithms_changes_nothing() {
        let greased: Vec<u16> = std::iter::once(0xdada).chain(ALGORITHMS).collect();
        let order = [0x0000, 0x000d, 0x002b];
        assert_eq!(ja4(&hello(&order, &greased)), ja4(&hello(&order, &ALGORITHMS)));
    }

    #[test]
    fn ja4_of_the_recorded_chrome_is_correct() {
        assert_eq!(ja4(&sample::chrome()), "t13d1517h2_8daaf6152771_cb7bf5808d99");
        assert_eq!(ja4(&sample::chrome_resumed()), "t13d1518h2_8daaf6152771_e2d80978ab2e");
    }

    // Salesforce's README.
    #[test]
    fn ja3_of_the_salesforce_examples_is_correct() {
        let groups = list16(&[23, 24, 25]);
        let extensions = [(0, Vec::new()), (10, groups), (11, vec![1, 0])];
        let ciphers = [47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4];
        let found = ja3(&ClientHello::from_records(&sample::record(769, &ciphers, &extensions)).unwrap());
        assert_eq!(found.text, "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0");
        assert_eq!(found.hash, "ada70206e40642a3e4461f35503241d5");

        let ciphers = [4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99];
        let found = ja3(&ClientHello::from_records(&sample::record(769, &ciphers, &[])).unwrap());
        assert_eq!(found.text, "769,4-5-10-9-100-98-3-6-19-18-99,,,");
        assert_eq!(found.hash, "de350869b8c85de67a350c8d186f11e6");
    }

    #[test]
    fn a_hello_without_lists_gets_zeros() {
        let hello = ClientHello::from_records(&sample::record(0x0301, &[], &[])).unwrap();
        assert_eq!(ja4(&hello), "t10i000000_000000000000_000000000000");
    }

    // FoxIO's table of ALPN values that are not text.
    #[test]
    fn alpn_that_is_not_text_is_marked_by_its_hex() {
        let cases: [(&[u8], &str); 7] = [
            (b"h2", "h2"),
            (b"x", "xx"),
            (&[0xab], "ab"),
            (&[0xab, 0xcd], "ad"),
            (&[0x30, 0xab], "3b"),
            (&[0x30, 0x31, 0xab, 0xcd], "3d"),
            (&[0x30, 0xab, 0xcd, 0x31], "01"),
        ];
        for (protocol, mark) in cases {
            let len = u8::try_from(protocol.len()).unwrap();
            let mut body = vec![0, len + 1, len];
            body.extend(protocol);
            let bytes = sample::record(0x0303, &CIPHERS, &[(extension::ALPN, body)]);
            assert_eq!(alpn_mark(&ClientHello::from_records(&bytes).unwrap()), mark);
        }
    }
}
