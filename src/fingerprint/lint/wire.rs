//! TLS and HTTP/2: whether the engine can send the values, and whether Chromium of that version does.
//!
//! Sources of Chromium's traits by version: ML-DSA (150) and trust anchors (152) from curl-impersonate #282,
//! tls-client #265 and #275, wreq-util #112 and utls #397. The state at 156 is from recordings of the lab.
//! Earlier versions are from general knowledge of Chromium's releases, without a citation.

use super::Diagnostics;
use crate::fingerprint::ciphers;
use crate::fingerprint::extension_bodies::{
    EXTENDED_MASTER_SECRET, RENEGOTIATION_INFO, SESSION_TICKET, SIGNED_CERTIFICATE_TIMESTAMP, STATUS_REQUEST,
};
use crate::fingerprint::hello::extension;
use crate::fingerprint::profile::{Hpack, Profile, Tls};

/// Reports values that the engine cannot send, for any client.
pub(super) fn check(profile: &Profile, diagnostics: &mut Diagnostics) {
    let tls = &profile.tls;
    if tls.versions.is_empty() || tls.versions.iter().any(|name| name != "1.2" && name != "1.3") {
        diagnostics.error("unsendable", "tls.versions", "contains a version other than `1.2` and `1.3`");
    }
    check_known("tls.ciphers", &tls.ciphers, ciphers::is_known, diagnostics);
    check_known("tls.groups", &tls.groups, |id| GROUPS.contains(&id), diagnostics);
    if offers_version(tls, "1.3") && !tls.ciphers.starts_with(&ciphers::TLS13) {
        let message = "does not begin with 4865, 4866, 4867, which BoringSSL always offers first";
        diagnostics.error("unsendable", "tls.ciphers", message);
    }
    if let Some(name) = tls.certificate_compression.iter().find(|name| *name != "brotli") {
        let message = format!("contains {}; the engine supports brotli only", super::quote(name));
        diagnostics.error("unsendable", "tls.certificate_compression", message);
    }
    let mut groups = tls.groups.iter();
    if !tls.key_shares.iter().all(|share| groups.any(|group| group == share)) {
        diagnostics.error("key-shares", "tls.key_shares", "is not a subset of tls.groups in the same order");
    }
    if let Some(alps) = &tls.alps {
        if let Some(name) = alps.protocols.iter().find(|name| !tls.alpn.contains(name)) {
            let message = format!("contains {}, which tls.alpn does not list", super::quote(name));
            diagnostics.error("alps", "tls.alps.protocols", message);
        }
        if !matches!(alps.codepoint, extension::ALPS | extension::ALPS_OLD) {
            let message = format!("is {}, neither 17513 nor 17613", alps.codepoint);
            diagnostics.error("alps", "tls.alps.codepoint", message);
        }
    }
    if tls.trust_anchors.is_some() && tls.trust_anchor_ids().is_none() {
        diagnostics.error("trust-anchors", "tls.trust_anchors", "is not hex");
    }
    check_extensions(tls, diagnostics);
    super::hello::check(tls, diagnostics);
    check_hpack(&profile.http2.hpack, diagnostics);
    let mut pseudo: Vec<&str> = profile.http2.pseudo_order.iter().map(String::as_str).collect();
    pseudo.sort_unstable();
    if pseudo != PSEUDO_HEADERS {
        diagnostics.error(
            "pseudo-order",
            "http2.pseudo_order",
            "does not list method, authority, scheme and path exactly once",
        );
    }
}

fn check_known(key: &str, ids: &[u16], is_known: impl Fn(u16) -> bool, diagnostics: &mut Diagnostics) {
    for id in ids.iter().filter(|id| !is_known(**id)) {
        diagnostics.error(
            "unsendable",
            key,
            format!("contains {id} (0x{id:04x}), which the engine cannot send"),
        );
    }
}

/// Checks the extension list against the keys that enable extensions.
fn check_extensions(tls: &Tls, diagnostics: &mut Diagnostics) {
    let (offers_12, offers_13) = (offers_version(tls, "1.2"), offers_version(tls, "1.3"));
    let alps = tls.alps.as_ref();
    let sent = [
        (extension::SERVER_NAME, true),
        (STATUS_REQUEST, tls.ocsp_stapling),
        (extension::GROUPS, !tls.groups.is_empty()),
        (extension::POINT_FORMATS, offers_12),
        (extension::SIGNATURE_ALGORITHMS, !tls.signature_algorithms.is_empty()),
        (extension::ALPN, !tls.alpn.is_empty()),
        (SIGNED_CERTIFICATE_TIMESTAMP, tls.signed_certificate_timestamps),
        (EXTENDED_MASTER_SECRET, offers_12),
        (extension::CERTIFICATE_COMPRESSION, !tls.certificate_compression.is_empty()),
        (SESSION_TICKET, offers_12),
        (extension::VERSIONS, offers_13),
        (extension::PSK_MODES, offers_13),
        (extension::KEY_SHARE, offers_13),
        (extension::ALPS_OLD, alps.is_some_and(|alps| alps.codepoint == extension::ALPS_OLD)),
        (extension::ALPS, alps.is_some_and(|alps| alps.codepoint == extension::ALPS)),
        (extension::TRUST_ANCHORS, tls.trust_anchors.is_some()),
        (ENCRYPTED_CLIENT_HELLO, tls.ech_grease),
        (RENEGOTIATION_INFO, offers_12),
    ];
    for (id, on) in sent {
        match (on, tls.extensions.contains(&id)) {
            (true, false) => {
                diagnostics.error(
                    "extensions",
                    "tls.extensions",
                    format!("lacks {id}, which other keys enable"),
                );
            }
            (false, true) => {
                diagnostics.error(
                    "extensions",
                    "tls.extensions",
                    format!("contains {id}, which no other key enables"),
                );
            }
            _ => {}
        }
    }
    for id in tls.extensions.iter().filter(|id| !sent.iter().any(|(known, _)| known == *id)) {
        diagnostics.error(
            "unsendable",
            "tls.extensions",
            format!("contains {id}, which the engine cannot send"),
        );
    }
    if !tls.extensions.is_sorted_by(|a, b| a < b) {
        diagnostics.error("extensions", "tls.extensions", "is not sorted, or contains a duplicate");
    }
}

/// Reports HPACK settings that no encoder can have.
fn check_hpack(hpack: &Hpack, diagnostics: &mut Diagnostics) {
    for name in hpack.indexed_pseudo.iter().filter(|name| !PSEUDO_HEADERS.contains(&name.as_str())) {
        let message =
            format!("contains {}; pseudo-headers are {}", super::quote(name), PSEUDO_HEADERS.join(", "));
        diagnostics.error("hpack", "http2.hpack.indexed_pseudo", message);
    }
    let lists = [("unindexed", &hpack.unindexed), ("never_indexed", &hpack.never_indexed)];
    for (key, name) in lists.iter().flat_map(|(key, list)| list.iter().map(move |name| (key, name))) {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err()
            || name.bytes().any(|b| b.is_ascii_uppercase())
        {
            let message =
                format!("contains {}, which is not a header name in lower case", super::quote(name));
            diagnostics.error("hpack", format!("http2.hpack.{key}"), message);
        }
    }
    if let Some(name) = hpack.unindexed.iter().find(|name| hpack.never_indexed.contains(name)) {
        let message = format!("contains {}, which is also in http2.hpack.unindexed", super::quote(name));
        diagnostics.error("hpack", "http2.hpack.never_indexed", message);
    }
}

/// Checks the values against those of Chromium with this major version.
pub(super) fn check_chromium(profile: &Profile, major: u32, diagnostics: &mut Diagnostics) {
    let tls = &profile.tls;
    for (id, key, since, has, behavior) in [
        ("tls-grease", "tls.grease", 56, tls.grease, "inserts GREASE values"),
        ("tls-permute", "tls.permute_extensions", 110, tls.permute_extensions, "permutes its extensions"),
        ("tls-ech", "tls.ech_grease", 119, tls.ech_grease, "sends a GREASE encrypted_client_hello"),
        ("tls-alps", "tls.alps", 91, tls.alps.is_some(), "sends application settings"),
        (
            "tls-compression",
            "tls.certificate_compression",
            70,
            !tls.certificate_compression.is_empty(),
            "accepts compressed certificates",
        ),
    ] {
        if major >= since && !has {
            diagnostics.error(id, key, format!("is off, but Chrome {major} {behavior} (since {since})"));
        }
    }
    let post_quantum = tls.signature_algorithms.starts_with(&ML_DSA);
    if major >= 150 && !post_quantum {
        let message =
            format!("does not begin with ML-DSA (2308, 2309, 2310), as Chrome {major} does (since 150)");
        diagnostics.error("tls-signature-algorithms", "tls.signature_algorithms", message);
    } else if major < 150 && tls.signature_algorithms.iter().any(|id| ML_DSA.contains(id)) {
        let message = format!("contains ML-DSA, which Chrome {major} does not send (since 150)");
        diagnostics.error("tls-signature-algorithms", "tls.signature_algorithms", message);
    }
    for (key, list) in [("tls.groups", &tls.groups), ("tls.key_shares", &tls.key_shares)] {
        let first = list.first() == Some(&X25519_MLKEM768);
        if first != (major >= 131) {
            let does = if first { "begins" } else { "does not begin" };
            let message = format!(
                "{does} with X25519MLKEM768 (4588), but Chrome {major} {} (since 131)",
                if first { "does not" } else { "does" }
            );
            diagnostics.error("tls-groups", key, message);
        }
    }
    if let Some(alps) = &tls.alps
        && (alps.codepoint == extension::ALPS) != (major >= 133)
    {
        let message = format!("is {}, which Chrome {major} does not send (17613 since 133)", alps.codepoint);
        diagnostics.error("tls-alps", "tls.alps.codepoint", message);
    }
    // The extension may be absent at any version: since 152, Chrome enables it by channel.
    if major < 152 && tls.trust_anchors.is_some() {
        let message = format!("is set, but Chrome {major} does not send it (since 152)");
        diagnostics.error("trust-anchors", "tls.trust_anchors", message);
    }
    let http2 = &profile.http2;
    if http2.pseudo_order != ["method", "authority", "scheme", "path"] {
        diagnostics.error(
            "http2",
            "http2.pseudo_order",
            "is not method, authority, scheme, path, the order of Chrome",
        );
    }
    // The default of `Hpack` is Chrome's encoding.
    if http2.hpack != Hpack::default() {
        let message = "differs from Chrome: it indexes :authority, but no other pseudo-header, and all other \
                       headers; Huffman-codes strings when shorter; later requests refer to the table";
        diagnostics.error("http2", "http2.hpack", message);
    }
    if http2.window_update != CHROME_WINDOW {
        let message = format!("is {}, but Chrome sends {CHROME_WINDOW}", http2.window_update);
        diagnostics.error("http2", "http2.window_update", message);
    }
    if major >= 120 && http2.settings != CHROME_SETTINGS {
        let message = "is not 1:65536, 2:0, 4:6291456, 6:262144, the settings of Chrome (since 120)";
        diagnostics.error("http2", "http2.settings", message);
    }
}

pub(super) fn offers_version(tls: &Tls, version: &str) -> bool {
    tls.versions.iter().any(|name| name == version)
}

const ENCRYPTED_CLIENT_HELLO: u16 = 65037;
const PSEUDO_HEADERS: [&str; 4] = ["authority", "method", "path", "scheme"];
const X25519_MLKEM768: u16 = 4588;
const ML_DSA: [u16; 3] = [0x0904, 0x0905, 0x0906];
/// The groups of BoringSSL: P-256, P-384, P-521, X25519, X25519MLKEM768, MLKEM1024.
const GROUPS: [u16; 6] = [23, 24, 25, 29, X25519_MLKEM768, 0x0202];
const CHROME_WINDOW: u32 = 15_663_105;
const CHROME_SETTINGS: [(u16, u32); 4] = [(1, 65536), (2, 0), (4, 6_291_456), (6, 262_144)];
