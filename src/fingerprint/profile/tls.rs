//! `[tls]`: the ClientHello.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fingerprint::hello::extension;
use crate::text::hex;

/// The ClientHello without GREASE values, which are drawn per connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Protocol versions offered, lowest first: `1.2`, `1.3`.
    pub versions: Vec<String>,
    /// Cipher suites by code point, in order.
    pub ciphers: Vec<u16>,
    /// Supported groups by code point, in order.
    pub groups: Vec<u16>,
    /// The groups for which a key share is sent.
    pub key_shares: Vec<u16>,
    /// Signature algorithms by code point, in order.
    pub signature_algorithms: Vec<u16>,
    /// ALPN protocols, in order.
    pub alpn: Vec<String>,
    /// Application-layer protocol settings.
    pub alps: Option<Alps>,
    /// Certificate compression algorithms by name: `brotli`, `zlib`.
    #[serde(default)]
    pub certificate_compression: Vec<String>,
    /// Whether GREASE values are inserted (RFC 8701). Default: false.
    #[serde(default)]
    pub grease: bool,
    /// The positions of the GREASE values. Default: absent, the positions that the engine uses.
    pub grease_places: Option<GreaseLayout>,
    /// Whether extensions are sent in random order.
    #[serde(default)]
    pub permute_extensions: bool,
    /// Whether a GREASE encrypted_client_hello is sent.
    #[serde(default)]
    pub ech_grease: bool,
    /// Whether status_request is sent.
    #[serde(default)]
    pub ocsp_stapling: bool,
    /// Whether signed_certificate_timestamp is sent.
    #[serde(default)]
    pub signed_certificate_timestamps: bool,
    /// The id list of the trust_anchors extension, in hex; absent if it is not sent.
    pub trust_anchors: Option<String>,
    /// The code points of all extensions, sorted, without GREASE. `profile show` and the lints compare them.
    pub extensions: Vec<u16>,
    /// The version field of the TLS record that carries the ClientHello. Default: 769 (0x0301).
    #[serde(default = "record_version")]
    pub record_version: u16,
    /// The length of the session id, in bytes. Default: 32.
    #[serde(default = "session_id_length")]
    pub session_id_length: u8,
    /// EC point formats by number, in order. Default: 0 (uncompressed) only.
    #[serde(default = "point_formats")]
    pub point_formats: Vec<u8>,
    /// PSK key exchange modes by number, in order. Default: 1 (psk_dhe_ke) only.
    #[serde(default = "psk_modes")]
    pub psk_modes: Vec<u8>,
    /// How a ClientHello that offers resumption differs. Default: pre_shared_key (41), last.
    #[serde(default)]
    pub resumption: Resumption,
    /// The body, in hex, of each extension that is equal in every ClientHello, by code point. It must agree
    /// with the other keys. Default: none.
    #[serde(default)]
    pub extension_bodies: BTreeMap<String, String>,
}

/// Application-layer protocol settings (ALPS).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alps {
    /// The ALPN protocols for which settings are sent.
    pub protocols: Vec<String>,
    /// The extension's code point: 17513 (old) or 17613 (new).
    pub codepoint: u16,
}

impl Tls {
    /// The trust anchor ids in wire form, if the extension is sent.
    #[must_use]
    pub fn trust_anchor_ids(&self) -> Option<Vec<u8>> {
        hex::decode(self.trust_anchors.as_deref()?)
    }
}

/// The positions of GREASE values in each list of a ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GreaseLayout {
    /// Among the cipher suites.
    pub ciphers: Vec<GreasePosition>,
    /// Among the extensions, pre_shared_key excluded.
    pub extensions: Vec<GreasePosition>,
    /// Among the supported groups.
    pub groups: Vec<GreasePosition>,
    /// Among the key shares.
    pub key_shares: Vec<GreasePosition>,
    /// Among the signature algorithms.
    pub signature_algorithms: Vec<GreasePosition>,
    /// Among the supported versions.
    pub versions: Vec<GreasePosition>,
}

/// A position in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GreasePosition {
    /// Before all others.
    First,
    /// After all others.
    Last,
}

/// How a ClientHello that offers resumption differs from one that does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resumption {
    /// The additional extensions, sorted.
    pub extensions: Vec<u16>,
    /// The last extension.
    pub last: u16,
}

impl Default for Resumption {
    fn default() -> Self {
        Self { extensions: vec![extension::PRE_SHARED_KEY], last: extension::PRE_SHARED_KEY }
    }
}

const fn record_version() -> u16 {
    0x0301
}

const fn session_id_length() -> u8 {
    32
}

fn point_formats() -> Vec<u8> {
    vec![0]
}

fn psk_modes() -> Vec<u8> {
    vec![1]
}
