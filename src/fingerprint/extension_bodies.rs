//! The bodies of ClientHello extensions, as the engine builds them from the other keys of a profile.

use super::hello::extension;
use super::profile::Tls;

/// The body of extension `id` without GREASE values; `None` if it differs per connection.
pub(super) fn body(tls: &Tls, id: u16) -> Option<Vec<u8>> {
    Some(match id {
        // OCSP, without responder ids and request extensions.
        STATUS_REQUEST => vec![1, 0, 0, 0, 0],
        extension::GROUPS => list16(&tls.groups),
        extension::POINT_FORMATS => list8(tls.point_formats.iter().copied()),
        extension::SIGNATURE_ALGORITHMS => list16(&tls.signature_algorithms),
        extension::ALPN => protocol_names(&tls.alpn),
        extension::CERTIFICATE_COMPRESSION => list8(compression(tls).flat_map(u16::to_be_bytes)),
        extension::VERSIONS => list8(versions(tls).flat_map(u16::to_be_bytes)),
        extension::PSK_MODES => list8(tls.psk_modes.iter().copied()),
        extension::ALPS | extension::ALPS_OLD => protocol_names(&tls.alps.as_ref()?.protocols),
        extension::TRUST_ANCHORS => length_prefixed(tls.trust_anchor_ids()?),
        SIGNED_CERTIFICATE_TIMESTAMP | EXTENDED_MASTER_SECRET | SESSION_TICKET => Vec::new(),
        RENEGOTIATION_INFO => vec![0],
        _ => return None,
    })
}

/// Like [`body`], but `None` also if the body contains a GREASE value.
pub(super) fn fixed_body(tls: &Tls, id: u16) -> Option<Vec<u8>> {
    let drawn =
        tls.grease && matches!(id, extension::GROUPS | extension::SIGNATURE_ALGORITHMS | extension::VERSIONS);
    if drawn { None } else { body(tls, id) }
}

/// The key that determines the body of extension `id`; `None` if the engine sends only one.
pub(super) const fn profile_key(id: u16) -> Option<&'static str> {
    Some(match id {
        extension::GROUPS => "tls.groups",
        extension::POINT_FORMATS => "tls.point_formats",
        extension::SIGNATURE_ALGORITHMS => "tls.signature_algorithms",
        extension::ALPN => "tls.alpn",
        extension::CERTIFICATE_COMPRESSION => "tls.certificate_compression",
        extension::VERSIONS => "tls.versions",
        extension::PSK_MODES => "tls.psk_modes",
        extension::ALPS | extension::ALPS_OLD => "tls.alps.protocols",
        extension::TRUST_ANCHORS => "tls.trust_anchors",
        _ => return None,
    })
}

fn versions(tls: &Tls) -> impl Iterator<Item = u16> {
    tls.versions.iter().rev().map(|name| if name == "1.3" { 0x0304 } else { 0x0303 })
}

fn compression(tls: &Tls) -> impl Iterator<Item = u16> {
    tls.certificate_compression.iter().filter_map(|name| match name.as_str() {
        "zlib" => Some(1),
        "brotli" => Some(2),
        "zstd" => Some(3),
        _ => None,
    })
}

/// Protocol names, each with a length prefix.
fn protocol_names(list: &[String]) -> Vec<u8> {
    let mut names = Vec::new();
    for name in list {
        // ALPN names have at most 255 bytes; a longer one ends the list.
        let Ok(len) = u8::try_from(name.len()) else { break };
        names.push(len);
        names.extend_from_slice(name.as_bytes());
    }
    length_prefixed(names)
}

fn list8(bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    // An odd number of bytes would split a two-byte value.
    let list: Vec<u8> = bytes.take(usize::from(u8::MAX) - 1).collect();
    std::iter::once(u8::try_from(list.len()).unwrap_or(u8::MAX)).chain(list).collect()
}

fn list16(values: &[u16]) -> Vec<u8> {
    length_prefixed(values.iter().flat_map(|value| value.to_be_bytes()).collect())
}

fn length_prefixed(body: Vec<u8>) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap_or(u16::MAX);
    len.to_be_bytes().into_iter().chain(body).collect()
}

pub(super) const STATUS_REQUEST: u16 = 5;
pub(super) const SIGNED_CERTIFICATE_TIMESTAMP: u16 = 18;
pub(super) const EXTENDED_MASTER_SECRET: u16 = 23;
pub(super) const SESSION_TICKET: u16 = 35;
pub(super) const RENEGOTIATION_INFO: u16 = 65281;

#[cfg(test)]
mod tests {
    use super::super::profile::Profile;
    use super::super::sample;
    use super::*;

    #[test]
    fn the_bodies_equal_those_of_a_recorded_hello() {
        let tls = &Profile::named("chrome-156-linux").unwrap().tls;
        let hello = sample::chrome();
        let fixed: Vec<u16> =
            tls.extensions.iter().copied().filter(|id| fixed_body(tls, *id).is_some()).collect();
        assert_eq!(fixed, [5, 11, 16, 18, 23, 27, 35, 45, 17613, 51764, 65281]);
        for id in fixed {
            assert_eq!(fixed_body(tls, id).as_deref(), hello.extension(id), "{id}");
        }
    }
}
