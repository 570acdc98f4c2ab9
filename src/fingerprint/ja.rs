//! JA3 and JA4: short names for ClientHellos.
//!
//! JA3 after Salesforce's description, JA4 after FoxIO's technical details of November 2026.
//! GREASE is left out everywhere, signature algorithms included: Chrome greases those since 152, and
//! a name that changed with every connection would be none.

use std::fmt::Display;

use md5::Md5;
use sha2::{Digest, Sha256};

use super::hello::{ClientHello, extension, is_grease};
use super::hex;

/// A JA3: its text and the MD5 of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ja3 {
    /// `version,ciphers,extensions,groups,point formats`, in wire order.
    pub text: String,
    /// The MD5 of the text in hex.
    pub hash: String,
}

/// The JA3 of a hello. Changes with every connection of a client that permutes its extensions.
#[must_use]
pub fn ja3(hello: &ClientHello) -> Ja3 {
    let text = [
        hello.legacy_version.to_string(),
        dashed(solid(hello.ciphers.iter().copied())),
        dashed(solid(hello.extension_ids())),
        dashed(solid(hello.groups())),
        dashed(hello.point_formats()),
    ]
    .join(",");
    let hash = hex::encode(&Md5::digest(&text));
    Ja3 { text, hash }
}

/// The JA4 of a hello, for example `t13d1516h2_8daaf6152771_02713d6af862`.
#[must_use]
pub fn ja4(hello: &ClientHello) -> String {
    let parts = Parts::of(hello);
    format!("{}_{}_{}", parts.a, short_hash(&parts.ciphers), short_hash(&parts.extensions))
}

/// The JA4_r of a hello: JA4 with its lists written out instead of hashed.
#[must_use]
pub fn ja4_r(hello: &ClientHello) -> String {
    let parts = Parts::of(hello);
    format!("{}_{}_{}", parts.a, parts.ciphers, parts.extensions)
}

struct Parts {
    a: String,
    ciphers: String,
    extensions: String,
}

impl Parts {
    fn of(hello: &ClientHello) -> Self {
        let mut ciphers: Vec<u16> = solid(hello.ciphers.iter().copied()).collect();
        let mut extensions: Vec<u16> = solid(hello.extension_ids()).collect();
        let a = format!(
            "t{}{}{:02}{:02}{}",
            version(hello),
            if hello.extension(extension::SERVER_NAME).is_some() { 'd' } else { 'i' },
            ciphers.len().min(99),
            extensions.len().min(99),
            alpn_mark(hello),
        );
        ciphers.sort_unstable();
        extensions.retain(|id| !matches!(*id, extension::SERVER_NAME | extension::ALPN));
        extensions.sort_unstable();
        let mut list = comma_hex(&extensions);
        let algorithms: Vec<u16> = solid(hello.signature_algorithms()).collect();
        if !algorithms.is_empty() {
            list.push('_');
            list.push_str(&comma_hex(&algorithms));
        }
        Self { a, ciphers: comma_hex(&ciphers), extensions: list }
    }
}

fn version(hello: &ClientHello) -> &'static str {
    match solid(hello.versions()).max().unwrap_or(hello.legacy_version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of the first ALPN protocol; of its hex when they are no letters or digits.
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

fn solid(values: impl IntoIterator<Item = u16>) -> impl Iterator<Item = u16> {
    values.into_iter().filter(|value| !is_grease(*value))
}

fn dashed(values: impl IntoIterator<Item = impl Display>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join("-")
}

fn comma_hex(values: &[u16]) -> String {
    values.iter().map(|value| format!("{value:04x}")).collect::<Vec<_>>().join(",")
}
