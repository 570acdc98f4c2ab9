//! Compares each request of the browser with the same request of rungs.

use super::super::recording::{RecordedConnection, RecordedRequest};
use super::FingerprintLayer;
use super::row::ScenarioComparison;
use crate::fingerprint::Http2Fingerprint;
use crate::fingerprint::hpack::HpackField;
use crate::fingerprint::profile::{Priority, WireProtocol};

/// Compares all requests of a scenario, and the start of their connections.
pub(super) fn compare(
    row: &mut ScenarioComparison<'_>,
    over: WireProtocol,
    theirs: &[RecordedConnection],
    ours: &[RecordedConnection],
) {
    row.compare_text(
        FingerprintLayer::Requests,
        "requests",
        format_requests(over, theirs),
        format_requests(over, ours),
    );
    if over == WireProtocol::Http2 {
        for (n, (theirs, ours)) in with_requests(theirs).zip(with_requests(ours)).enumerate() {
            let opening = |c: &RecordedConnection| c.opening.as_ref().map(format_opening).unwrap_or_default();
            row.compare_text(
                FingerprintLayer::Opening,
                &format!("connection {n}"),
                opening(theirs),
                opening(ours),
            );
        }
    }
    let mut remaining: Vec<&RecordedRequest> = ours.iter().flat_map(|c| &c.requests).collect();
    for theirs in theirs.iter().flat_map(|c| &c.requests) {
        // A request that only one side sends is reported by the comparison of the request lists.
        if let Some(at) = remaining.iter().position(|ours| format_request(ours) == format_request(theirs)) {
            compare_request(row, over, theirs, remaining.remove(at));
        }
    }
}

/// The connections with requests.
pub(super) fn with_requests(all: &[RecordedConnection]) -> impl Iterator<Item = &RecordedConnection> {
    all.iter().filter(|connection| !connection.requests.is_empty())
}

fn format_request(request: &RecordedRequest) -> String {
    format!("{} {}{}", request.method, request.authority, request.path)
}

fn format_requests(over: WireProtocol, all: &[RecordedConnection]) -> String {
    let mut lines = Vec::new();
    for (n, connection) in with_requests(all).enumerate() {
        for request in &connection.requests {
            // Over HTTP/1.1 the pool decides on the number of connections. Over HTTP/2 it is compared.
            let on = if over == WireProtocol::Http2 {
                format!("{n}:{} ", request.stream.unwrap_or(0))
            } else {
                String::new()
            };
            lines.push(on + &format_request(request));
        }
    }
    lines.join(", ")
}

fn format_opening(opening: &Http2Fingerprint) -> String {
    let frames = format!("SETTINGS {:?}, WINDOW_UPDATE {}", opening.settings, opening.window_update);
    let priorities = opening.priorities.iter();
    let priorities =
        priorities.map(|(stream, priority)| format!("PRIORITY {stream}: {}", format_priority(*priority)));
    std::iter::once(frames).chain(priorities).collect::<Vec<_>>().join(", ")
}

fn compare_request(
    row: &mut ScenarioComparison<'_>,
    over: WireProtocol,
    theirs: &RecordedRequest,
    ours: &RecordedRequest,
) {
    let what = format!("{} {}", theirs.method, theirs.path);
    let names = |r: &RecordedRequest| r.headers.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    row.compare(FingerprintLayer::Names, &what, names(theirs), names(ours), |names| names.join(", "));
    for (name, nth, theirs, ours) in pair_fields(&theirs.headers, &ours.headers, |(name, _)| name) {
        let which = format!("{what}: {name}{nth}");
        row.compare_text(FingerprintLayer::Values, &which, theirs.1.clone(), ours.1.clone());
    }
    if over != WireProtocol::Http2 {
        return;
    }
    row.compare(FingerprintLayer::Pseudo, &what, theirs.pseudo.clone(), ours.pseudo.clone(), |names| {
        names.join(", ")
    });
    let priority = |r: &RecordedRequest| (r.priority, r.end_stream);
    row.compare(FingerprintLayer::Priority, &what, priority(theirs), priority(ours), |(priority, end)| {
        let end = if *end == Some(true) { ", ends the stream" } else { "" };
        priority.map_or_else(|| format!("none{end}"), |p| format!("{}{end}", format_priority(p)))
    });
    // Values are a layer of their own. Here only the representation is compared.
    for (name, nth, theirs, ours) in pair_fields(&theirs.hpack, &ours.hpack, |field| &field.name) {
        row.compare_text(
            FingerprintLayer::Hpack,
            &format!("{what}: {name}{nth}"),
            format_field(theirs),
            format_field(ours),
        );
    }
    if !theirs.data.is_empty() || !ours.data.is_empty() {
        row.compare(FingerprintLayer::Data, &what, theirs.data.clone(), ours.data.clone(), |data| {
            let one = |(len, end): &(usize, bool)| format!("{len}{}", if *end { " END_STREAM" } else { "" });
            data.iter().map(one).collect::<Vec<_>>().join(", ")
        });
    }
}

/// Pairs the fields of two lists: the first of a name with the first, the second with the second. Missing
/// names and the order are compared elsewhere.
fn pair_fields<'a, T>(
    theirs: &'a [T],
    ours: &'a [T],
    name: impl Fn(&'a T) -> &'a String,
) -> Vec<(&'a String, String, &'a T, &'a T)> {
    let mut pairs = Vec::new();
    for (at, field) in theirs.iter().enumerate() {
        let nth = theirs[..at].iter().filter(|other| name(other) == name(field)).count();
        if let Some(own) = ours.iter().filter(|other| name(other) == name(field)).nth(nth) {
            let shown = if nth == 0 { String::new() } else { format!(" {}", nth + 1) };
            pairs.push((name(field), shown, field, own));
        }
    }
    pairs
}

fn format_priority(priority: Priority) -> String {
    let exclusive = if priority.exclusive { " exclusive" } else { "" };
    format!("weight {} on {}{exclusive}", priority.weight, priority.depends_on)
}

fn format_field(field: &HpackField) -> String {
    let huffman = |coded: Option<bool>| match coded {
        Some(true) => "Huffman",
        Some(false) => "raw",
        None => "from the table",
    };
    format!("{:?}, name {}, value {}", field.form, huffman(field.name_huffman), huffman(field.value_huffman))
}
