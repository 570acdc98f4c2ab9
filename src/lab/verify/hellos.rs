//! Compares ClientHellos: fixed fields by value, random fields by how they vary.

use std::collections::{BTreeMap, BTreeSet};

use super::super::recording::RecordedConnection;
use super::FingerprintLayer;
use super::row::ScenarioComparison;
use crate::fingerprint::HelloShape;
use crate::fingerprint::hello::{ClientHello, extension, is_grease};
use crate::text::hex;

/// Compares the fixed fields of all ClientHellos of one kind, fresh or resumed.
pub(super) fn compare(
    row: &mut ScenarioComparison<'_>,
    theirs: &[RecordedConnection],
    ours: &[RecordedConnection],
    resumed: bool,
) {
    let layer = if resumed { FingerprintLayer::Resumption } else { FingerprintLayer::Hello };
    let theirs = merge_fields(theirs, resumed);
    let ours = merge_fields(ours, resumed);
    // A browser's spare connection may have received the ticket for its first request.
    if !resumed && (theirs.is_empty() || ours.is_empty()) {
        return;
    }
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    if names.is_empty() {
        row.compare_text(layer, "connections", "none".to_owned(), "any".to_owned());
    }
    for name in names {
        let values = |all: &BTreeMap<String, BTreeSet<String>>| {
            all.get(name).map_or_else(
                || "absent".to_owned(),
                |set| set.iter().map(String::as_str).collect::<Vec<_>>().join(" or "),
            )
        };
        row.compare_text(layer, name, values(&theirs), values(&ours));
    }
}

/// Compares random fields: whether they vary, and among which values.
pub(super) fn compare_random_fields(
    row: &mut ScenarioComparison<'_>,
    theirs: &[RecordedConnection],
    ours: &[RecordedConnection],
) {
    let (theirs, ours) = (RandomFields::from_connections(theirs), RandomFields::from_connections(ours));
    for (what, theirs, ours) in [
        ("GREASE values vary", theirs.grease.to_string(), ours.grease.to_string()),
        ("extension order varies", theirs.order.to_string(), ours.order.to_string()),
        ("ECH payload lengths", format!("{:?}", theirs.ech), format!("{:?}", ours.ech)),
    ] {
        row.compare_text(FingerprintLayer::Hello, what, theirs, ours);
    }
}

/// Parses a connection's ClientHello from its records.
pub(in super::super) fn hello_of(connection: &RecordedConnection) -> Option<ClientHello> {
    ClientHello::from_records(&hex::decode(&connection.hello_records)?).ok()
}

/// All fields of the ClientHellos of one kind, with all values of each.
fn merge_fields(all: &[RecordedConnection], resumed: bool) -> BTreeMap<String, BTreeSet<String>> {
    let mut merged: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for hello in all.iter().filter_map(hello_of).filter(|hello| hello.is_resumption() == resumed) {
        for (name, value) in fields(&hello) {
            merged.entry(name).or_default().insert(value);
        }
    }
    merged
}

/// The fixed fields of a ClientHello.
fn fields(hello: &ClientHello) -> Vec<(String, String)> {
    let shape = serde_json::to_value(HelloShape::from_hello(hello)).unwrap_or_default();
    let mut fields: Vec<(String, String)> = shape
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect();
    fields.push(("legacy_version".to_owned(), format!("{:04x}", hello.legacy_version)));
    fields.push(("compression".to_owned(), hex::encode(&hello.compression)));
    for one in
        hello.extensions.iter().filter(|one| !is_grease(one.id) && !RANDOM_EXTENSIONS.contains(&one.id))
    {
        fields.push((format!("extension {}", one.id), hex::encode(&one.body)));
    }
    fields.push(("GREASE extensions".to_owned(), format_grease(hello)));
    if let Some(ech) = hello.extension(ECH) {
        // Type, KDF and AEAD, then the length of the key.
        let head = ech.get(..5).map(hex::encode).unwrap_or_default();
        let key = ech.get(6..8).map(hex::encode).unwrap_or_default();
        fields.push(("ECH suite".to_owned(), format!("{head}, key {key}")));
    }
    if let Some(last) = hello.extensions.last().filter(|_| hello.is_resumption()) {
        fields.push(("last extension".to_owned(), last.id.to_string()));
        fields.push(("pre_shared_key length".to_owned(), last.body.len().to_string()));
    }
    fields
}

/// Position and body of the GREASE extensions. pre_shared_key does not count: every client that resumes
/// sends it last.
fn format_grease(hello: &ClientHello) -> String {
    let end = hello.extensions.iter().filter(|one| one.id != extension::PRE_SHARED_KEY).count();
    let position = |at: usize| match at {
        0 => "first",
        _ if at + 1 == end => "last",
        _ => "in the middle",
    };
    let all = hello.extensions.iter().enumerate().filter(|(_, one)| is_grease(one.id));
    all.map(|(at, one)| format!("{}: {}", position(at), hex::encode(&one.body)))
        .collect::<Vec<_>>()
        .join(", ")
}

const ECH: u16 = 65037;
/// Extensions whose bodies contain names, keys, random data, or GREASE that [`HelloShape`] normalizes.
const RANDOM_EXTENSIONS: [u16; 7] = [
    extension::SERVER_NAME,
    extension::GROUPS,
    extension::SIGNATURE_ALGORITHMS,
    extension::PRE_SHARED_KEY,
    extension::VERSIONS,
    extension::KEY_SHARE,
    ECH,
];

/// The fields that vary between ClientHellos.
pub(in super::super) struct RandomFields {
    pub(in super::super) grease: bool,
    pub(in super::super) order: bool,
    ech: BTreeSet<usize>,
}

impl RandomFields {
    pub(in super::super) fn from_connections(all: &[RecordedConnection]) -> Self {
        let hellos: Vec<ClientHello> =
            all.iter().filter_map(hello_of).filter(|h| !h.is_resumption()).collect();
        let varies =
            |of: &dyn Fn(&ClientHello) -> Vec<u16>| hellos.iter().map(of).collect::<BTreeSet<_>>().len() > 1;
        Self {
            grease: varies(&|h| h.ciphers.iter().copied().filter(|id| is_grease(*id)).collect()),
            order: varies(&|h| h.extension_ids().filter(|id| !is_grease(*id)).collect()),
            ech: hellos.iter().filter_map(ech_payload).collect(),
        }
    }
}

fn ech_payload(hello: &ClientHello) -> Option<usize> {
    let body = hello.extension(ECH)?;
    let key = usize::from(u16::from_be_bytes([*body.get(6)?, *body.get(7)?]));
    let at = 8 + key;
    Some(usize::from(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?])))
}
