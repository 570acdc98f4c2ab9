//! Cipher suites: BoringSSL's names by code point.

/// A BoringSSL cipher list of the TLS 1.2 suites among `ids`, in order. BoringSSL always offers the
/// TLS 1.3 suites first, and does not let the caller choose them.
pub(crate) fn cipher_list(ids: &[u16]) -> String {
    ids.iter().filter_map(|id| cipher_name(*id)).collect::<Vec<_>>().join(":")
}

/// Whether the engine can offer a suite: a TLS 1.3 suite, or one that BoringSSL names.
pub(crate) fn is_known(id: u16) -> bool {
    TLS13.contains(&id) || cipher_name(id).is_some()
}

/// The TLS 1.3 suites that BoringSSL always offers, in its order.
pub(crate) const TLS13: [u16; 3] = [0x1301, 0x1302, 0x1303];

fn cipher_name(id: u16) -> Option<&'static str> {
    Some(match id {
        0x002f => "AES128-SHA",
        0x0035 => "AES256-SHA",
        0x009c => "AES128-GCM-SHA256",
        0x009d => "AES256-GCM-SHA384",
        0xc009 => "ECDHE-ECDSA-AES128-SHA",
        0xc00a => "ECDHE-ECDSA-AES256-SHA",
        0xc013 => "ECDHE-RSA-AES128-SHA",
        0xc014 => "ECDHE-RSA-AES256-SHA",
        0xc023 => "ECDHE-ECDSA-AES128-SHA256",
        0xc027 => "ECDHE-RSA-AES128-SHA256",
        0xc02b => "ECDHE-ECDSA-AES128-GCM-SHA256",
        0xc02c => "ECDHE-ECDSA-AES256-GCM-SHA384",
        0xc02f => "ECDHE-RSA-AES128-GCM-SHA256",
        0xc030 => "ECDHE-RSA-AES256-GCM-SHA384",
        0xcca8 => "ECDHE-RSA-CHACHA20-POLY1305",
        0xcca9 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        _ => return None,
    })
}
