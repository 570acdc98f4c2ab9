//! Requests: each of the browser's against the same one of ours.

use super::super::record::{Connection, HeardRequest};
use super::Layer;
use super::row::Row;
use crate::fingerprint::H2Opening;
use crate::fingerprint::hpack::HpackField;
use crate::fingerprint::profile::{Over, Priority};

/// Holds all requests of a scenario against each other, and how their connections open.
pub(super) fn hold(row: &mut Row<'_>, over: Over, theirs: &[Connection], ours: &[Connection]) {
    row.hold_text(Layer::Requests, "requests", lines(over, theirs), lines(over, ours));
    if over == Over::H2 {
        for (n, (theirs, ours)) in used(theirs).zip(used(ours)).enumerate() {
            let opening = |c: &Connection| c.opening.as_ref().map(opening).unwrap_or_default();
            row.hold_text(Layer::Opening, &format!("connection {n}"), opening(theirs), opening(ours));
        }
    }
    let mut left: Vec<&HeardRequest> = ours.iter().flat_map(|c| &c.requests).collect();
    for theirs in theirs.iter().flat_map(|c| &c.requests) {
        // One that only one side makes is told by the list of requests.
        if let Some(at) = left.iter().position(|ours| name(ours) == name(theirs)) {
            hold_request(row, over, theirs, left.remove(at));
        }
    }
}

/// The connections that carried requests.
pub(super) fn used(all: &[Connection]) -> impl Iterator<Item = &Connection> {
    all.iter().filter(|connection| !connection.requests.is_empty())
}

fn name(request: &HeardRequest) -> String {
    format!("{} {}{}", request.method, request.authority, request.path)
}

fn lines(over: Over, all: &[Connection]) -> String {
    let mut lines = Vec::new();
    for (n, connection) in used(all).enumerate() {
        for request in &connection.requests {
            // How many connections HTTP/1.1 takes is the pool's affair; over HTTP/2 it is seen.
            let on = if over == Over::H2 {
                format!("{n}:{} ", request.stream.unwrap_or(0))
            } else {
                String::new()
            };
            lines.push(on + &name(request));
        }
    }
    lines.join(", ")
}

fn opening(opening: &H2Opening) -> String {
    let frames = format!("SETTINGS {:?}, WINDOW_UPDATE {}", opening.settings, opening.window_update);
    let priorities = opening.priorities.iter();
    let priorities = priorities.map(|(stream, priority)| format!("PRIORITY {stream}: {}", ranked(*priority)));
    std::iter::once(frames).chain(priorities).collect::<Vec<_>>().join(", ")
}

fn hold_request(row: &mut Row<'_>, over: Over, theirs: &HeardRequest, ours: &HeardRequest) {
    let what = format!("{} {}", theirs.method, theirs.path);
    let names = |r: &HeardRequest| r.headers.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    row.hold(Layer::Names, &what, names(theirs), names(ours), |names| names.join(", "));
    for (name, nth, theirs, ours) in paired(&theirs.headers, &ours.headers, |(name, _)| name) {
        let which = format!("{what}: {name}{nth}");
        row.hold_text(Layer::Values, &which, theirs.1.clone(), ours.1.clone());
    }
    if over != Over::H2 {
        return;
    }
    row.hold(Layer::Pseudo, &what, theirs.pseudo.clone(), ours.pseudo.clone(), |names| names.join(", "));
    let priority = |r: &HeardRequest| (r.priority, r.end_stream);
    row.hold(Layer::Priority, &what, priority(theirs), priority(ours), |(priority, end)| {
        let end = if *end == Some(true) { ", ends the stream" } else { "" };
        priority.map_or_else(|| format!("none{end}"), |p| format!("{}{end}", ranked(p)))
    });
    // Values are a layer of their own: here only how they are written counts.
    for (name, nth, theirs, ours) in paired(&theirs.hpack, &ours.hpack, |field| &field.name) {
        row.hold_text(Layer::Hpack, &format!("{what}: {name}{nth}"), written(theirs), written(ours));
    }
    if !theirs.data.is_empty() || !ours.data.is_empty() {
        row.hold(Layer::Data, &what, theirs.data.clone(), ours.data.clone(), |data| {
            let one = |(len, end): &(usize, bool)| format!("{len}{}", if *end { " END_STREAM" } else { "" });
            data.iter().map(one).collect::<Vec<_>>().join(", ")
        });
    }
}

/// The fields of two lists that belong together: the first of a name with the first, the second
/// with the second. Which names there are, and where, is told elsewhere.
fn paired<'a, T>(
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

fn ranked(priority: Priority) -> String {
    let exclusive = if priority.exclusive { " exclusive" } else { "" };
    format!("weight {} on {}{exclusive}", priority.weight, priority.depends_on)
}

fn written(field: &HpackField) -> String {
    let huffman = |coded: Option<bool>| match coded {
        Some(true) => "Huffman",
        Some(false) => "raw",
        None => "from the table",
    };
    format!("{:?}, name {}, value {}", field.form, huffman(field.name_huffman), huffman(field.value_huffman))
}
