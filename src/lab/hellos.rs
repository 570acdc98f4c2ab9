//! Builds a profile's `[tls]` from recorded ClientHellos. Pure.

use std::collections::BTreeMap;

use super::driver::Recording;
use super::verify::{RandomFields, hello_of};
use crate::fingerprint::hello::{ClientHello, extension, is_grease};
use crate::fingerprint::profile::{Alps, GreaseLayout, GreasePosition, Resumption, Tls};
use crate::text::hex;

/// The constant values of the recorded client's ClientHellos, and which fields are random.
///
/// # Errors
/// The part that the recording lacks, or in which its ClientHellos differ.
pub(super) fn tls(recording: &Recording) -> Result<Tls, String> {
    let fresh: Vec<ClientHello> =
        recording.hellos.iter().filter_map(hello_of).filter(|hello| !hello.is_resumption()).collect();
    let resumed: Vec<ClientHello> = recording
        .scenarios
        .values()
        .flatten()
        .filter_map(hello_of)
        .filter(ClientHello::is_resumption)
        .collect();
    // A single ClientHello cannot show which fields are random.
    let [hello, _, ..] = &fresh[..] else { return Err("two ClientHellos without resumption".to_owned()) };
    let all: Vec<&ClientHello> = fresh.iter().chain(&resumed).collect();
    let random = RandomFields::from_connections(&recording.hellos);
    let mut versions = without_grease(hello.versions());
    versions.sort_unstable();
    Ok(Tls {
        versions: versions
            .iter()
            .map(|version| format!("1.{}", (version & 0xff).saturating_sub(1)))
            .collect(),
        ciphers: without_grease(hello.ciphers.clone()),
        groups: without_grease(hello.groups()),
        key_shares: without_grease(hello.key_shares().iter().map(|share| share.group).collect()),
        signature_algorithms: without_grease(hello.signature_algorithms()),
        alpn: texts(&hello.alpn()),
        alps: hello.alps().map(|(codepoint, names)| Alps { protocols: texts(&names), codepoint }),
        certificate_compression: hello
            .certificate_compression()
            .iter()
            .map(|id| match id {
                1 => Ok("zlib".to_owned()),
                2 => Ok("brotli".to_owned()),
                3 => Ok("zstd".to_owned()),
                other => Err(format!("a known certificate compression instead of {other}")),
            })
            .collect::<Result<_, _>>()?,
        grease: hello.ciphers.iter().any(|id| is_grease(*id)) && random.grease,
        grease_places: Some(common_value(&all, "set of GREASE positions", grease_layout)?),
        permute_extensions: random.order,
        ech_grease: hello.extension(ENCRYPTED_CLIENT_HELLO).is_some(),
        ocsp_stapling: hello.extension(STATUS_REQUEST).is_some(),
        signed_certificate_timestamps: hello.extension(SIGNED_CERTIFICATE_TIMESTAMP).is_some(),
        trust_anchors: hello
            .extension(extension::TRUST_ANCHORS)
            .and_then(|body| body.get(2..))
            .map(hex::encode),
        extensions: ids(hello),
        record_version: common_value(&all, "record version", |hello| Some(hello.record_version))?,
        session_id_length: common_value(&all, "session id length", |hello| {
            hello.session_id_len.try_into().ok()
        })?,
        point_formats: common_value(&all, "list of point formats", |hello| Some(hello.point_formats()))?,
        psk_modes: common_value(&all, "list of PSK modes", |hello| Some(hello.psk_modes()))?,
        resumption: resumption(&ids(hello), &resumed)?,
        extension_bodies: fixed_bodies(&fresh),
    })
}

/// Returns the value that all ClientHellos share.
fn common_value<T: PartialEq>(
    hellos: &[&ClientHello],
    what: &str,
    value: impl Fn(&ClientHello) -> Option<T>,
) -> Result<T, String> {
    let mut found = hellos.iter().map(|hello| value(hello));
    let first = found.next().flatten();
    first
        .filter(|first| found.all(|other| other.as_ref() == Some(first)))
        .ok_or_else(|| format!("a consistent {what} in all ClientHellos"))
}

/// The bodies of the extensions whose body is equal in every ClientHello.
fn fixed_bodies(hellos: &[ClientHello]) -> BTreeMap<String, String> {
    let Some((first, others)) = hellos.split_first() else { return BTreeMap::new() };
    first
        .extensions
        .iter()
        .filter(|one| !is_grease(one.id) && one.id != extension::SERVER_NAME)
        .filter(|one| others.iter().all(|other| other.extension(one.id) == Some(&one.body)))
        .map(|one| (one.id.to_string(), hex::encode(&one.body)))
        .collect()
}

fn resumption(fresh: &[u16], resumed: &[ClientHello]) -> Result<Resumption, String> {
    let all: Vec<&ClientHello> = resumed.iter().collect();
    if all.is_empty() {
        return Err("a ClientHello that resumes a session".to_owned());
    }
    common_value(&all, "form of resumption", |hello| {
        let mut extensions = ids(hello);
        let before = extensions.len();
        extensions.retain(|id| !fresh.contains(id));
        // It must contain every extension of a first ClientHello.
        (before - extensions.len() == fresh.len())
            .then_some(Resumption { extensions, last: hello.extension_ids().last()? })
    })
}

/// The positions of GREASE values; `None` if one is not at an end of its list.
fn grease_layout(hello: &ClientHello) -> Option<GreaseLayout> {
    let extensions = hello.extension_ids().filter(|id| *id != extension::PRE_SHARED_KEY);
    Some(GreaseLayout {
        ciphers: grease_positions(&hello.ciphers)?,
        extensions: grease_positions(&extensions.collect::<Vec<_>>())?,
        groups: grease_positions(&hello.groups())?,
        key_shares: grease_positions(
            &hello.key_shares().iter().map(|share| share.group).collect::<Vec<_>>(),
        )?,
        signature_algorithms: grease_positions(&hello.signature_algorithms())?,
        versions: grease_positions(&hello.versions())?,
    })
}

fn grease_positions(list: &[u16]) -> Option<Vec<GreasePosition>> {
    let end = list.len().saturating_sub(1);
    list.iter()
        .enumerate()
        .filter(|(_, id)| is_grease(**id))
        .map(|(at, _)| match at {
            0 => Some(GreasePosition::First),
            at if at == end => Some(GreasePosition::Last),
            _ => None,
        })
        .collect()
}

/// The extensions, sorted, without GREASE.
fn ids(hello: &ClientHello) -> Vec<u16> {
    let mut ids = without_grease(hello.extension_ids().collect());
    ids.sort_unstable();
    ids
}

fn without_grease(ids: Vec<u16>) -> Vec<u16> {
    ids.into_iter().filter(|id| !is_grease(*id)).collect()
}

fn texts(names: &[Vec<u8>]) -> Vec<String> {
    names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

const STATUS_REQUEST: u16 = 5;
const SIGNED_CERTIFICATE_TIMESTAMP: u16 = 18;
const ENCRYPTED_CLIENT_HELLO: u16 = 65037;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::sample;

    #[test]
    fn grease_is_placed_at_the_ends_of_lists() {
        let (fresh, resumed) =
            (grease_layout(&sample::chrome()).unwrap(), grease_layout(&sample::chrome_resumed()).unwrap());
        assert_eq!(fresh, resumed, "pre_shared_key does not count");
        assert_eq!(fresh.extensions, [GreasePosition::First, GreasePosition::Last]);
        assert_eq!(
            (fresh.ciphers, fresh.signature_algorithms),
            (vec![GreasePosition::First], vec![GreasePosition::First])
        );
        assert_eq!(grease_positions(&[1, 0x0a0a, 2]), None);
    }

    #[test]
    fn bodies_that_are_equal_in_all_hellos_are_fixed() {
        let (one, mut other) = (sample::chrome(), sample::chrome());
        let hellos = [one.clone(), other.clone()];
        let all = fixed_bodies(&hellos);
        assert_eq!(all["65281"], "00");
        assert!(!all.contains_key("0"), "the server name depends on the request");
        let ocsp = other.extensions.iter_mut().find(|one| one.id == STATUS_REQUEST).unwrap();
        ocsp.body[0] = 2;
        other.extensions.retain(|one| one.id != SIGNED_CERTIFICATE_TIMESTAMP);
        let fewer = fixed_bodies(&[one, other]);
        let gone: Vec<_> = all.keys().filter(|id| !fewer.contains_key(*id)).collect();
        assert_eq!(gone, ["18", "5"]);
    }

    #[test]
    fn a_resumption_without_an_extension_of_the_first_hello_is_an_error() {
        let fresh = ids(&sample::chrome());
        let resumed = sample::chrome_resumed();
        assert_eq!(resumption(&fresh, std::slice::from_ref(&resumed)).unwrap(), Resumption::default());
        let mut less = resumed.clone();
        less.extensions.retain(|one| one.id != STATUS_REQUEST);
        for hellos in [vec![], vec![less.clone()], vec![resumed, less]] {
            assert!(resumption(&fresh, &hellos).is_err());
        }
    }
}
