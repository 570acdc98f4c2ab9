//! The parts of a ClientHello that are equal on every connection of a client. Excluded are keys, GREASE
//! values, the order of permuted extensions, and session resumption.

use serde::{Deserialize, Serialize};

use super::hello::{ClientHello, extension, is_grease};
use crate::text::hex;

/// Replaces any GREASE value.
pub const GREASE: u16 = 0x0a0a;

/// A ClientHello without the parts that change between connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloShape {
    /// The version of the TLS record.
    pub record_version: u16,
    /// The length of the session id, in bytes.
    pub session_id_len: usize,
    /// Cipher suites in order. GREASE values are [`GREASE`], as in all lists here.
    pub ciphers: Vec<u16>,
    /// Extensions, sorted, without pre_shared_key.
    pub extensions: Vec<u16>,
    /// Groups in order.
    pub groups: Vec<u16>,
    /// Key shares in order, as (group, length).
    pub key_shares: Vec<(u16, usize)>,
    /// Signature algorithms in order.
    pub signature_algorithms: Vec<u16>,
    /// Versions in order.
    pub versions: Vec<u16>,
    /// ALPN protocols in order.
    pub alpn: Vec<String>,
    /// The code point and protocols of ALPS.
    pub alps: Option<(u16, Vec<String>)>,
    /// Certificate compression algorithms in order.
    pub certificate_compression: Vec<u16>,
    /// PSK modes.
    pub psk_modes: Vec<u8>,
    /// The body of trust_anchors, in hex.
    pub trust_anchors: Option<String>,
}

impl HelloShape {
    /// The shape of a hello.
    #[must_use]
    pub fn from_hello(hello: &ClientHello) -> Self {
        let mut extensions = normalize_all(hello.extension_ids());
        extensions.retain(|id| *id != extension::PRE_SHARED_KEY);
        extensions.sort_unstable();
        Self {
            record_version: hello.record_version,
            session_id_len: hello.session_id_len,
            ciphers: normalize_all(hello.ciphers.iter().copied()),
            extensions,
            groups: normalize_all(hello.groups()),
            key_shares: hello
                .key_shares()
                .iter()
                .map(|share| (normalize_grease(share.group), share.len))
                .collect(),
            signature_algorithms: normalize_all(hello.signature_algorithms()),
            versions: normalize_all(hello.versions()),
            alpn: to_strings(&hello.alpn()),
            alps: hello.alps().map(|(id, names)| (id, to_strings(&names))),
            certificate_compression: hello.certificate_compression(),
            psk_modes: hello.psk_modes(),
            trust_anchors: hello.trust_anchors().map(hex::encode),
        }
    }

    /// Returns the names of the fields that differ; empty if the shapes are equal.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let parts = [
            ("record_version", self.record_version == other.record_version),
            ("session_id_len", self.session_id_len == other.session_id_len),
            ("ciphers", self.ciphers == other.ciphers),
            ("extensions", self.extensions == other.extensions),
            ("groups", self.groups == other.groups),
            ("key_shares", self.key_shares == other.key_shares),
            ("signature_algorithms", self.signature_algorithms == other.signature_algorithms),
            ("versions", self.versions == other.versions),
            ("alpn", self.alpn == other.alpn),
            ("alps", self.alps == other.alps),
            ("certificate_compression", self.certificate_compression == other.certificate_compression),
            ("psk_modes", self.psk_modes == other.psk_modes),
            ("trust_anchors", self.trust_anchors == other.trust_anchors),
        ];
        parts.into_iter().filter(|(_, equal)| !equal).map(|(name, _)| name).collect()
    }
}

const fn normalize_grease(value: u16) -> u16 {
    if is_grease(value) { GREASE } else { value }
}

fn normalize_all(values: impl IntoIterator<Item = u16>) -> Vec<u16> {
    values.into_iter().map(normalize_grease).collect()
}

fn to_strings(names: &[Vec<u8>]) -> Vec<String> {
    names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_resumed_connection_has_the_shape_of_the_first() {
        let (first, later) =
            (HelloShape::from_hello(&sample::chrome()), HelloShape::from_hello(&sample::chrome_resumed()));
        assert_eq!(first.differences(&later), Vec::<&str>::new());
        assert_eq!(first, later);
    }

    #[test]
    fn differences_names_the_fields() {
        let chrome = HelloShape::from_hello(&sample::chrome());
        let mut other = chrome.clone();
        other.groups.pop();
        other.trust_anchors = None;
        assert_eq!(chrome.differences(&other), ["groups", "trust_anchors"]);
    }
}
