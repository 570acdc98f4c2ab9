//! The layers, how each is compared, and the resulting table.

use std::fmt::Write as _;

use rungs::fingerprint::hpack::HpackField;
use rungs::fingerprint::profile::Priority;
use rungs::fingerprint::shape::GREASE;
use rungs::lab::RecordedRequest;

use crate::voice::{ClientRecording, form};

/// One layer: its name, and a description of how a client differs from the browser (`None`: equal).
type Layer = (&'static str, fn(&ClientRecording, &ClientRecording) -> Option<String>);

const LAYERS: [Layer; 13] = [
    ("JA4", |browser, other| unequal(&browser.ja4, &other.ja4)),
    ("extensions", extensions),
    ("signature algorithms", |browser, other| {
        let hex = |recording: &ClientRecording| {
            let list = recording.shape.signature_algorithms.iter();
            list.map(|id| if *id == GREASE { "GREASE".to_owned() } else { format!("{id:04x}") })
                .collect::<Vec<_>>()
                .join(" ")
        };
        unequal(&hex(browser), &hex(other))
    }),
    ("trust anchors", |browser, other| {
        let len = |recording: &ClientRecording| match &recording.shape.trust_anchors {
            Some(hex) => format!("{} bytes", hex.len() / 2),
            None => "not sent".to_owned(),
        };
        (browser.shape.trust_anchors != other.shape.trust_anchors).then(|| match len(other) {
            same if same == len(browser) => format!("{same}, others"),
            other => other,
        })
    }),
    ("rest of the hello", rest_of_hello),
    ("HTTP/2 opening", |browser, other| {
        unequal(browser.akamai.as_deref()?, other.akamai.as_deref().unwrap_or("HTTP/1.1"))
    }),
    ("priority", |browser, other| {
        unequal(
            &priority(browser.first.priority),
            &if other.is_h2() { priority(other.first.priority) } else { "HTTP/1.1".to_owned() },
        )
    }),
    ("header order", header_order),
    ("browser and version", |browser, other| header_values(browser, other, names_the_browser)),
    ("other header values", |browser, other| header_values(browser, other, |name| !names_the_browser(name))),
    ("HPACK, first request", |browser, other| hpack(&browser.first, Some(&other.first))),
    ("HPACK, second request", |browser, other| hpack(browser.again.as_ref()?, other.again.as_ref())),
    ("resumption hello", |browser, other| match (&browser.resumed, &other.resumed) {
        (Some(_), None) => Some("does not resume".to_owned()),
        (Some(browser), Some(other)) if browser != other => {
            Some(format!("`{}`{}", other.0, if other.1 { "" } else { ", pre_shared_key not last" }))
        }
        _ => None,
    }),
];

/// Markdown: one table of equal and different layers, then the differences of each client.
pub fn table(browser: &ClientRecording, others: &[ClientRecording]) -> String {
    let mut text = String::new();
    let names: Vec<&str> = others.iter().map(|recording| recording.name.as_str()).collect();
    let _ = writeln!(text, "| as {} | {} |", browser.name, names.join(" | "));
    let _ = writeln!(text, "|---|{}", ":---:|".repeat(others.len()));
    for (layer, compare) in LAYERS {
        let marks: Vec<&str> = others
            .iter()
            .map(|recording| if compare(browser, recording).is_none() { "=" } else { "differs" })
            .collect();
        let _ = writeln!(text, "| {layer} | {} |", marks.join(" | "));
    }
    let equal = |recording: &ClientRecording| {
        LAYERS.iter().filter(|(_, compare)| compare(browser, recording).is_none()).count()
    };
    let counts: Vec<String> =
        others.iter().map(|v| format!("**{} of {}**", equal(v), LAYERS.len())).collect();
    let _ = writeln!(text, "| equal | {} |", counts.join(" | "));
    let _ = writeln!(text, "\n## {}\n", browser.name);
    for (name, value) in [
        ("JA4", Some(browser.ja4.clone())),
        ("JA4 when it resumes", browser.resumed.as_ref().map(|(ja4, _)| ja4.clone())),
        ("HTTP/2 opening", browser.akamai.clone()),
        ("priority", Some(priority(browser.first.priority))),
        ("header order", Some(browser.names().join(", "))),
    ] {
        let _ = writeln!(text, "- {name}: `{}`", value.unwrap_or_else(|| "none".to_owned()));
    }
    for (name, value) in &browser.first.headers {
        let _ = writeln!(text, "- {name}: `{value}`");
    }
    for recording in others {
        let _ = writeln!(text, "\n## {}\n", recording.name.replace("**", ""));
        let differing =
            LAYERS.iter().filter_map(|(layer, compare)| Some((layer, compare(browser, recording)?)));
        let lines: Vec<String> = differing.map(|(layer, how)| format!("- {layer}: {how}")).collect();
        let _ = writeln!(
            text,
            "{}",
            if lines.is_empty() { "No difference.".to_owned() } else { lines.join("\n") }
        );
    }
    text
}

fn unequal(browser: &str, other: &str) -> Option<String> {
    (browser != other).then(|| format!("`{other}`"))
}

fn extensions(browser: &ClientRecording, other: &ClientRecording) -> Option<String> {
    let (browser, other) = (&browser.shape.extensions, &other.shape.extensions);
    let without = |all: &[u16], known: &[u16]| {
        let ids = all.iter().filter(|id| !known.contains(id));
        ids.map(|id| if *id == GREASE { "GREASE".to_owned() } else { id.to_string() })
            .collect::<Vec<_>>()
            .join(" ")
    };
    (browser != other)
        .then(|| sides(&[("lacks", without(browser, other)), ("adds", without(other, browser))], "GREASE"))
}

/// `lacks 1 2; adds 3`, without empty parts; `else_` if all parts are empty.
fn sides(sides: &[(&str, String)], else_: &str) -> String {
    let parts: Vec<String> = sides
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(verb, list)| format!("{verb} {list}"))
        .collect();
    if parts.is_empty() { else_.to_owned() } else { parts.join("; ") }
}

fn rest_of_hello(browser: &ClientRecording, other: &ClientRecording) -> Option<String> {
    let own = ["extensions", "signature_algorithms", "trust_anchors"];
    let mut parts = browser.shape.differences(&other.shape);
    parts.retain(|part| !own.contains(part));
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn priority(priority: Option<Priority>) -> String {
    priority.map_or_else(
        || "none".to_owned(),
        |p| {
            format!(
                "weight {}, on {}{}",
                p.weight,
                p.depends_on,
                if p.exclusive { ", exclusive" } else { "" }
            )
        },
    )
}

fn header_order(browser: &ClientRecording, other: &ClientRecording) -> Option<String> {
    let (browser, other) = (browser.names(), other.names());
    if browser == other {
        return None;
    }
    let without = |all: &[&str], known: &[&str]| {
        all.iter().filter(|name| !known.contains(name)).copied().collect::<Vec<_>>().join(", ")
    };
    let both = |all: &[&str], known: &[&str]| -> Vec<String> {
        all.iter().filter(|name| known.contains(name)).map(|name| (*name).to_owned()).collect()
    };
    let moved = both(&browser, &other) != both(&other, &browser);
    let order = if moved { format!("`{}`", other.join(", ")) } else { String::new() };
    Some(sides(
        &[("lacks", without(&browser, &other)), ("adds", without(&other, &browser)), ("order", order)],
        "repeats some",
    ))
}

/// The headers that change with every release.
fn names_the_browser(name: &str) -> bool {
    name == "user-agent" || name.starts_with("sec-ch-ua")
}

/// The headers that both send with different values.
fn header_values(
    browser: &ClientRecording,
    other: &ClientRecording,
    wanted: impl Fn(&str) -> bool,
) -> Option<String> {
    let shared: Vec<(&str, &str, &str)> = browser
        .first
        .headers
        .iter()
        .filter(|(name, _)| wanted(name))
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str(), other.first.header(name)?)))
        .collect();
    if shared.is_empty() {
        return Some("sends none of them".to_owned());
    }
    let differing = shared.iter().filter(|(_, value, theirs)| value != theirs);
    let parts: Vec<String> = differing.map(|(name, _, theirs)| format!("{name} `{theirs}`")).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The fields that both send in a different HPACK representation.
fn hpack(browser: &RecordedRequest, other: Option<&RecordedRequest>) -> Option<String> {
    let Some(other) = other else { return Some("new connection".to_owned()) };
    if other.hpack.is_empty() {
        return Some("HTTP/1.1".to_owned());
    }
    let find = |field: &HpackField| other.hpack.iter().find(|o| o.name == field.name);
    let written = |field: &HpackField| Some((form(field), form(find(field)?), field.name.clone()));
    let mut groups: Vec<((String, String), Vec<String>)> = Vec::new();
    for (theirs, ours, name) in browser.hpack.iter().filter_map(written).filter(|(a, b, _)| a != b) {
        let difference = (theirs, ours);
        match groups.iter_mut().find(|(known, _)| *known == difference) {
            Some((_, names)) => names.push(name),
            None => groups.push((difference, vec![name])),
        }
    }
    let lines: Vec<String> = groups
        .iter()
        .map(|((browser, other), names)| format!("{} {other} (Chromium: {browser})", names.join(", ")))
        .collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}
