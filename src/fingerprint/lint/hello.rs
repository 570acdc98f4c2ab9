//! Parts of a ClientHello that the engine determines: a profile with other values cannot be sent.
//! Also compares extension bodies with the keys for the same extension.

use super::Diagnostics;
use super::wire::offers_version;
use crate::fingerprint::extension_bodies;
use crate::fingerprint::profile::{GreaseLayout, GreasePosition, Resumption, Tls};
use crate::text::hex;

pub(super) fn check(tls: &Tls, diagnostics: &mut Diagnostics) {
    let (offers_12, offers_13) = (offers_version(tls, "1.2"), offers_version(tls, "1.3"));
    if tls.record_version != RECORD_VERSION {
        let found = tls.record_version;
        let message = format!(
            "is {found} (0x{found:04x}); the engine writes {RECORD_VERSION} (0x{RECORD_VERSION:04x})"
        );
        diagnostics.error("unsendable", "tls.record_version", message);
    }
    let session_id_length = if offers_13 { 32 } else { 0 };
    if tls.session_id_length != session_id_length {
        let message =
            format!("is {}; the engine's session ids have {session_id_length} bytes", tls.session_id_length);
        diagnostics.error("unsendable", "tls.session_id_length", message);
    }
    if offers_12 && tls.point_formats != [0] {
        let message = format!("is {:?}; the engine sends 0 (uncompressed) only", tls.point_formats);
        diagnostics.error("unsendable", "tls.point_formats", message);
    }
    if offers_13 && tls.psk_modes != [1] {
        let message = format!("is {:?}; the engine sends 1 (psk_dhe_ke) only", tls.psk_modes);
        diagnostics.error("unsendable", "tls.psk_modes", message);
    }
    if offers_13 && tls.resumption != Resumption::default() {
        let Resumption { extensions, last } = &tls.resumption;
        let message =
            format!("adds {extensions:?} and ends with {last}; the engine adds 41 (pre_shared_key), last");
        diagnostics.error("unsendable", "tls.resumption", message);
    }
    check_grease(tls, offers_13, diagnostics);
    for (id, body) in &tls.extension_bodies {
        check_body(tls, id, body, diagnostics);
    }
}

fn check_grease(tls: &Tls, offers_13: bool, diagnostics: &mut Diagnostics) {
    let Some(layout) = &tls.grease_places else { return };
    if !tls.grease {
        if *layout != GreaseLayout::default() {
            diagnostics.error("grease", "tls.grease_places", "lists positions, but tls.grease is false");
        }
        return;
    }
    let versions_13 = if offers_13 { vec![GreasePosition::First] } else { Vec::new() };
    let sent = GreaseLayout {
        ciphers: vec![GreasePosition::First],
        extensions: vec![GreasePosition::First, GreasePosition::Last],
        groups: vec![GreasePosition::First],
        key_shares: versions_13.clone(),
        signature_algorithms: vec![GreasePosition::First],
        versions: versions_13,
    };
    for (list, found, sent) in [
        ("ciphers", &layout.ciphers, sent.ciphers),
        ("extensions", &layout.extensions, sent.extensions),
        ("groups", &layout.groups, sent.groups),
        ("key_shares", &layout.key_shares, sent.key_shares),
        ("signature_algorithms", &layout.signature_algorithms, sent.signature_algorithms),
        ("versions", &layout.versions, sent.versions),
    ] {
        if *found != sent {
            let message =
                format!("is {}; the engine uses {}", format_positions(found), format_positions(&sent));
            diagnostics.error("unsendable", format!("tls.grease_places.{list}"), message);
        }
    }
}

fn format_positions(positions: &[GreasePosition]) -> String {
    let words: Vec<&str> = positions
        .iter()
        .map(|position| match position {
            GreasePosition::First => "first",
            GreasePosition::Last => "last",
        })
        .collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn check_body(tls: &Tls, id: &str, body: &str, diagnostics: &mut Diagnostics) {
    let key = format!("tls.extension_bodies.{}", id.escape_debug());
    let mut wrong = |id, message: String| diagnostics.error(id, key.as_str(), message);
    // `+5` and `05` parse as numbers too, but are keys other than `5`.
    let Some(code) = id.parse::<u16>().ok().filter(|code| code.to_string() == id) else {
        return wrong("extension-body", "is not the code point of an extension".to_owned());
    };
    let Some(found) = hex::decode(body) else {
        return wrong("extension-body", "is not hex".to_owned());
    };
    if !tls.extensions.contains(&code) {
        return wrong(
            "extension-body",
            "is the body of an extension that tls.extensions does not list".to_owned(),
        );
    }
    let Some(sent) = extension_bodies::fixed_body(tls, code) else {
        // An invalid value of that other key has a diagnostic of its own.
        if extension_bodies::profile_key(code).is_none() || extension_bodies::body(tls, code).is_some() {
            wrong(
                "unsendable",
                "is fixed, but the engine sends a different body on every connection".to_owned(),
            );
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

/// TLS 1.0: the record version of every ClientHello, since some servers reject a higher one.
const RECORD_VERSION: u16 = 0x0301;
