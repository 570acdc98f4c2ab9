//! What of a ClientHello the engine decides by itself: a profile that says otherwise cannot be sent.
//! And extension bodies against the keys that say the same.

use super::Diagnostics;
use super::wire::offers_version;
use crate::fingerprint::extension_bodies;
use crate::fingerprint::profile::{GreaseLayout, GreasePosition, Resumption, Tls};
use crate::hex;

pub(super) fn check(tls: &Tls, complaints: &mut Diagnostics) {
    let (old, new) = (offers_version(tls, "1.2"), offers_version(tls, "1.3"));
    if tls.record_version != RECORD_VERSION {
        let found = tls.record_version;
        let message = format!(
            "is {found} (0x{found:04x}); the engine writes {RECORD_VERSION} (0x{RECORD_VERSION:04x})"
        );
        complaints.error("unsendable", "tls.record_version", message);
    }
    let session_id_length = if new { 32 } else { 0 };
    if tls.session_id_length != session_id_length {
        let message =
            format!("is {}; the engine's session ids have {session_id_length} bytes", tls.session_id_length);
        complaints.error("unsendable", "tls.session_id_length", message);
    }
    if old && tls.point_formats != [0] {
        let message = format!("is {:?}; the engine sends 0 (uncompressed) only", tls.point_formats);
        complaints.error("unsendable", "tls.point_formats", message);
    }
    if new && tls.psk_modes != [1] {
        let message = format!("is {:?}; the engine sends 1 (psk_dhe_ke) only", tls.psk_modes);
        complaints.error("unsendable", "tls.psk_modes", message);
    }
    if new && tls.resumption != Resumption::default() {
        let Resumption { extensions, last } = &tls.resumption;
        let message =
            format!("adds {extensions:?} and ends with {last}; the engine adds 41 (pre_shared_key), last");
        complaints.error("unsendable", "tls.resumption", message);
    }
    check_grease(tls, new, complaints);
    for (id, body) in &tls.extension_bodies {
        check_body(tls, id, body, complaints);
    }
}

fn check_grease(tls: &Tls, new: bool, complaints: &mut Diagnostics) {
    let Some(places) = &tls.grease_places else { return };
    if !tls.grease {
        if *places != GreaseLayout::default() {
            complaints.error("grease", "tls.grease_places", "holds places, but tls.grease is off");
        }
        return;
    }
    let only_new = if new { vec![GreasePosition::First] } else { Vec::new() };
    let sent = GreaseLayout {
        ciphers: vec![GreasePosition::First],
        extensions: vec![GreasePosition::First, GreasePosition::Last],
        groups: vec![GreasePosition::First],
        key_shares: only_new.clone(),
        signature_algorithms: vec![GreasePosition::First],
        versions: only_new,
    };
    for (list, found, sent) in [
        ("ciphers", &places.ciphers, sent.ciphers),
        ("extensions", &places.extensions, sent.extensions),
        ("groups", &places.groups, sent.groups),
        ("key_shares", &places.key_shares, sent.key_shares),
        ("signature_algorithms", &places.signature_algorithms, sent.signature_algorithms),
        ("versions", &places.versions, sent.versions),
    ] {
        if *found != sent {
            let message = format!(
                "is {}; the engine's places are {}",
                format_positions(found),
                format_positions(&sent)
            );
            complaints.error("unsendable", format!("tls.grease_places.{list}"), message);
        }
    }
}

fn format_positions(places: &[GreasePosition]) -> String {
    let words: Vec<&str> = places
        .iter()
        .map(|place| match place {
            GreasePosition::First => "first",
            GreasePosition::Last => "last",
        })
        .collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn check_body(tls: &Tls, id: &str, body: &str, complaints: &mut Diagnostics) {
    let key = format!("tls.extension_bodies.{}", id.escape_debug());
    let mut wrong = |id, message: String| complaints.error(id, key.as_str(), message);
    // `+5` and `05` are numbers too, but other keys than `5`.
    let Some(code) = id.parse::<u16>().ok().filter(|code| code.to_string() == id) else {
        return wrong("extension-body", "is no extension's code point".to_owned());
    };
    let Some(found) = hex::decode(body) else {
        return wrong("extension-body", "is not hex".to_owned());
    };
    if !tls.extensions.contains(&code) {
        return wrong("extension-body", "is of an extension that tls.extensions lacks".to_owned());
    }
    let Some(sent) = extension_bodies::fixed_body(tls, code) else {
        // A wrong key is complained of where it stands.
        if extension_bodies::profile_key(code).is_none() || extension_bodies::body(tls, code).is_some() {
            wrong("unsendable", "is fixed, but the engine sends another with every connection".to_owned());
        }
        return;
    };
    if found != sent {
        let (found, sent) = (super::quote(&hex::encode(&found)), super::quote(&hex::encode(&sent)));
        match extension_bodies::profile_key(code) {
            Some(key) => wrong("extension-body", format!("is {found}, but {key} says {sent}")),
            None => wrong("unsendable", format!("is {found}; the engine sends {sent}")),
        }
    }
}

/// TLS 1.0: what every hello's record has said since some servers refused more.
const RECORD_VERSION: u16 = 0x0301;
