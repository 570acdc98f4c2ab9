//! Whether two recordings are of one browser, layer by layer. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::drive::{Recording, key};
use super::record::{Connection, HeardRequest};
use super::scenario::SCENARIOS;
use crate::fingerprint::hello::{ClientHello, extension, is_grease};
use crate::fingerprint::profile::Over;
use crate::fingerprint::{H2Opening, Shape, hex};

/// What is compared apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The ClientHello of a connection that resumes nothing.
    Hello,
    /// The ClientHello of one that resumes a session.
    Resumption,
    /// SETTINGS, WINDOW_UPDATE and PRIORITY before the first request.
    Opening,
    /// Which requests were made, in order, and on which connections.
    Requests,
    /// Pseudo headers in order.
    Pseudo,
    /// Header names in order and case, repeated ones too.
    Names,
    /// Header values.
    Values,
    /// The priority in HEADERS, and whether it ends the stream.
    Priority,
    /// How each field is written: index, literal, Huffman.
    Hpack,
    /// How a body is cut into DATA frames.
    Data,
}

impl Layer {
    /// All layers, in the table's order.
    pub const ALL: [Self; 10] = [
        Self::Hello,
        Self::Resumption,
        Self::Opening,
        Self::Requests,
        Self::Pseudo,
        Self::Names,
        Self::Values,
        Self::Priority,
        Self::Hpack,
        Self::Data,
    ];

    /// The name, as tables and JSON have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Resumption => "resumption",
            Self::Opening => "opening",
            Self::Requests => "requests",
            Self::Pseudo => "pseudo",
            Self::Names => "names",
            Self::Values => "values",
            Self::Priority => "priority",
            Self::Hpack => "hpack",
            Self::Data => "data",
        }
    }
}

/// One place where two recordings differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The scenario and way, for example `form/h2`.
    pub scenario: String,
    /// The layer.
    pub layer: Layer,
    /// What of it: a field's name, or the request.
    pub what: String,
    /// What the browser said.
    pub browser: String,
    /// What the impersonate tier said.
    pub rungs: String,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The browser.
    pub browser: String,
    /// What was held against it.
    pub rungs: String,
    /// What was compared: the layers of each scenario.
    pub compared: Vec<(String, Vec<Layer>)>,
    /// Where they differ.
    pub differences: Vec<Difference>,
}

impl Report {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    /// Drops the differences that another run did not show. A browser races spare connections, and
    /// does not always do the same; what it never does is what counts.
    pub fn keep_lasting(&mut self, other: &Self) {
        let place = |difference: &Difference| {
            (difference.scenario.clone(), difference.layer, difference.what.clone())
        };
        let shown: BTreeSet<_> = other.differences.iter().map(place).collect();
        self.differences.retain(|difference| shown.contains(&place(difference)));
    }
}

/// Compares what a browser said with what the impersonate tier said.
#[must_use]
pub fn verify(browser: &Recording, rungs: &Recording) -> Report {
    let mut report = Report {
        browser: browser.client.clone(),
        rungs: rungs.client.clone(),
        compared: Vec::new(),
        differences: Vec::new(),
    };
    let mut row = Row { scenario: "hellos".to_owned(), layers: BTreeSet::new(), report: &mut report };
    row.hellos(&browser.hellos, &rungs.hellos, false);
    row.random(&browser.hellos, &rungs.hellos);
    row.end();
    for scenario in SCENARIOS {
        for over in scenario.overs {
            let name = key(scenario, *over);
            let none = Vec::new();
            let theirs = browser.scenarios.get(&name).unwrap_or(&none);
            let ours = rungs.scenarios.get(&name).unwrap_or(&none);
            let mut row = Row { scenario: name.clone(), layers: BTreeSet::new(), report: &mut report };
            if *over != Over::Cleartext {
                row.hellos(theirs, ours, false);
            }
            if scenario.name == "resumption" {
                row.hellos(theirs, ours, true);
            }
            row.requests(*over, theirs, ours);
            row.end();
        }
    }
    report
}

/// One scenario being compared.
struct Row<'a> {
    scenario: String,
    layers: BTreeSet<Layer>,
    report: &'a mut Report,
}

impl Row<'_> {
    fn end(self) {
        self.report.compared.push((self.scenario, self.layers.into_iter().collect()));
    }

    #[expect(clippy::needless_pass_by_value, reason = "both are made for the call")]
    fn hold<T: PartialEq>(
        &mut self,
        layer: Layer,
        what: &str,
        theirs: T,
        ours: T,
        show: impl Fn(&T) -> String,
    ) {
        self.layers.insert(layer);
        if theirs != ours {
            self.report.differences.push(Difference {
                scenario: self.scenario.clone(),
                layer,
                what: what.to_owned(),
                browser: show(&theirs),
                rungs: show(&ours),
            });
        }
    }

    fn hold_text(&mut self, layer: Layer, what: &str, theirs: String, ours: String) {
        self.hold(layer, what, theirs, ours, Clone::clone);
    }

    /// Every hello of one kind against every one of the other: all fields that are no draw.
    fn hellos(&mut self, theirs: &[Connection], ours: &[Connection], resumed: bool) {
        let layer = if resumed { Layer::Resumption } else { Layer::Hello };
        let theirs = merged(theirs, resumed);
        let ours = merged(ours, resumed);
        // A browser's spare connection may have brought the ticket for its first request.
        if !resumed && (theirs.is_empty() || ours.is_empty()) {
            return;
        }
        let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        if names.is_empty() {
            self.hold_text(layer, "connections", "none".to_owned(), "any".to_owned());
        }
        for name in names {
            let of = |all: &BTreeMap<String, BTreeSet<String>>| {
                all.get(name).map_or_else(
                    || "absent".to_owned(),
                    |set| set.iter().map(String::as_str).collect::<Vec<_>>().join(" or "),
                )
            };
            self.hold_text(layer, name, of(&theirs), of(&ours));
        }
    }

    /// What is drawn anew each time is compared as random: whether it varies.
    fn random(&mut self, theirs: &[Connection], ours: &[Connection]) {
        let (theirs, ours) = (Draws::of(theirs), Draws::of(ours));
        self.hold_text(
            Layer::Hello,
            "GREASE values vary",
            theirs.grease.to_string(),
            ours.grease.to_string(),
        );
        self.hold_text(
            Layer::Hello,
            "extension order varies",
            theirs.order.to_string(),
            ours.order.to_string(),
        );
        self.hold_text(Layer::Hello, "ECH payload length", theirs.ech.clone(), ours.ech.clone());
    }

    fn requests(&mut self, over: Over, theirs: &[Connection], ours: &[Connection]) {
        let line = |all: &[Connection]| {
            let connections: Vec<&Connection> = all.iter().filter(|c| !c.requests.is_empty()).collect();
            let mut lines = Vec::new();
            for (n, connection) in connections.iter().enumerate() {
                for request in &connection.requests {
                    // How many connections HTTP/1.1 takes is the pool's affair; over HTTP/2 it is seen.
                    let on = if over == Over::H2 {
                        format!("{n}:{} ", request.stream.unwrap_or(0))
                    } else {
                        String::new()
                    };
                    lines.push(format!("{on}{} {}{}", request.method, request.authority, request.path));
                }
            }
            lines.join(", ")
        };
        self.hold_text(Layer::Requests, "requests", line(theirs), line(ours));
        if over == Over::H2 {
            let opening = |all: &[Connection]| {
                all.iter().find(|c| !c.requests.is_empty()).and_then(|c| c.opening.as_ref()).map(opening)
            };
            self.hold_text(
                Layer::Opening,
                "opening",
                opening(theirs).unwrap_or_default(),
                opening(ours).unwrap_or_default(),
            );
        }
        let flat = |all: &[Connection]| all.iter().flat_map(|c| c.requests.clone()).collect::<Vec<_>>();
        let (theirs, ours) = (flat(theirs), flat(ours));
        for (theirs, ours) in theirs.iter().zip(&ours) {
            self.request(over, theirs, ours);
        }
    }

    fn request(&mut self, over: Over, theirs: &HeardRequest, ours: &HeardRequest) {
        let what = format!("{} {}", theirs.method, theirs.path);
        let names = |r: &HeardRequest| r.headers.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
        self.hold(Layer::Names, &what, names(theirs), names(ours), |names| names.join(", "));
        for (name, value) in &theirs.headers {
            let own: Vec<&str> = values(ours, name);
            if own.is_empty() || own.contains(&value.as_str()) {
                self.layers.insert(Layer::Values);
                continue;
            }
            self.hold_text(Layer::Values, &format!("{what}: {name}"), value.clone(), own.join(", "));
        }
        if over != Over::H2 {
            return;
        }
        self.hold(Layer::Pseudo, &what, theirs.pseudo.clone(), ours.pseudo.clone(), |names| names.join(", "));
        let priority = |r: &HeardRequest| (r.priority, r.end_stream);
        self.hold(Layer::Priority, &what, priority(theirs), priority(ours), |(priority, end)| {
            let end = if *end == Some(true) { ", ends the stream" } else { "" };
            priority.map_or_else(
                || format!("none{end}"),
                |p| {
                    format!(
                        "weight {} on {}{}{end}",
                        p.weight,
                        p.depends_on,
                        if p.exclusive { " exclusive" } else { "" }
                    )
                },
            )
        });
        self.layers.insert(Layer::Hpack);
        for field in &theirs.hpack {
            let own = ours.hpack.iter().filter(|f| f.name == field.name && f.value == field.value);
            let shown: Vec<String> = own.clone().map(written).collect();
            if !shown.is_empty() && !own.clone().any(|own| own == field) {
                self.hold_text(
                    Layer::Hpack,
                    &format!("{what}: {}", field.name),
                    written(field),
                    shown.join(" or "),
                );
            }
        }
        if !theirs.data.is_empty() || !ours.data.is_empty() {
            self.hold(Layer::Data, &what, theirs.data.clone(), ours.data.clone(), |data| {
                let one =
                    |(len, end): &(usize, bool)| format!("{len}{}", if *end { " END_STREAM" } else { "" });
                data.iter().map(one).collect::<Vec<_>>().join(", ")
            });
        }
    }
}

fn values<'a>(request: &'a HeardRequest, name: &str) -> Vec<&'a str> {
    request.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
}

fn written(field: &crate::fingerprint::hpack::HpackField) -> String {
    let huffman = |coded: Option<bool>| match coded {
        Some(true) => "Huffman",
        Some(false) => "raw",
        None => "from the table",
    };
    format!("{:?}, name {}, value {}", field.form, huffman(field.name_huffman), huffman(field.value_huffman))
}

fn opening(opening: &H2Opening) -> String {
    format!(
        "SETTINGS {:?}, WINDOW_UPDATE {}, PRIORITY {}",
        opening.settings,
        opening.window_update,
        opening.priorities.len()
    )
}

/// A recorded connection's hello; read again from its records.
pub(super) fn hello_of(connection: &Connection) -> Option<ClientHello> {
    ClientHello::from_records(&hex::decode(&connection.hello_records)?).ok()
}

/// Every field of the hellos of one kind, with all the values it took.
fn merged(all: &[Connection], resumed: bool) -> BTreeMap<String, BTreeSet<String>> {
    let mut merged: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for hello in all.iter().filter_map(hello_of).filter(|hello| hello.is_resumption() == resumed) {
        for (name, value) in fields(&hello) {
            merged.entry(name).or_default().insert(value);
        }
    }
    merged
}

/// All of a hello that is no draw, field by field.
fn fields(hello: &ClientHello) -> Vec<(String, String)> {
    let shape = serde_json::to_value(Shape::of(hello)).unwrap_or_default();
    let mut fields: Vec<(String, String)> = shape
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect();
    fields.push(("legacy_version".to_owned(), format!("{:04x}", hello.legacy_version)));
    fields.push(("compression".to_owned(), hex::encode(&hello.compression)));
    let mut greased = Vec::new();
    for (at, one) in hello.extensions.iter().enumerate() {
        if is_grease(one.id) {
            let place = if at == 0 { "first" } else { "later" };
            greased.push(format!("{place}: {} bytes", one.body.len()));
        } else if !DRAWN.contains(&one.id) {
            fields.push((format!("extension {}", one.id), hex::encode(&one.body)));
        }
    }
    fields.push(("GREASE extensions".to_owned(), greased.join(", ")));
    if let Some(ech) = hello.extension(ECH) {
        // Type, KDF and AEAD, then how long the key is.
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

const ECH: u16 = 65037;
/// Extensions whose bodies hold names, keys, draws, or GREASE that [`Shape`] levels.
const DRAWN: [u16; 7] = [
    extension::SERVER_NAME,
    extension::GROUPS,
    extension::SIGNATURE_ALGORITHMS,
    extension::PRE_SHARED_KEY,
    extension::VERSIONS,
    extension::KEY_SHARE,
    ECH,
];

/// What varies over many hellos.
pub(super) struct Draws {
    pub(super) grease: bool,
    pub(super) order: bool,
    pub(super) ech: String,
}

impl Draws {
    pub(super) fn of(all: &[Connection]) -> Self {
        let hellos: Vec<ClientHello> =
            all.iter().filter_map(hello_of).filter(|h| !h.is_resumption()).collect();
        let varies =
            |of: &dyn Fn(&ClientHello) -> Vec<u16>| hellos.iter().map(of).collect::<BTreeSet<_>>().len() > 1;
        // BoringSSL pads to a multiple of 32 behind a tag of 16, up to 240.
        let lengths: BTreeSet<usize> = hellos.iter().filter_map(ech_payload).collect();
        let ech = if lengths.is_empty() {
            "none".to_owned()
        } else if lengths.iter().all(|len| [144, 176, 208, 240].contains(len)) {
            "144, 176, 208 or 240".to_owned()
        } else {
            format!("{lengths:?}")
        };
        Self {
            grease: varies(&|h| h.ciphers.iter().copied().filter(|id| is_grease(*id)).collect()),
            order: varies(&|h| h.extension_ids().filter(|id| !is_grease(*id)).collect()),
            ech,
        }
    }
}

fn ech_payload(hello: &ClientHello) -> Option<usize> {
    let body = hello.extension(ECH)?;
    let key = usize::from(u16::from_be_bytes([*body.get(6)?, *body.get(7)?]));
    let at = 8 + key;
    Some(usize::from(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?])))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "browser: {}\nagainst: {}\n", self.browser, self.rungs)?;
        let width = self.compared.iter().map(|(name, _)| name.len()).max().unwrap_or(8);
        write!(f, "{:width$}", "scenario")?;
        for layer in Layer::ALL {
            write!(f, "  {:>10}", layer.name())?;
        }
        writeln!(f)?;
        for (name, layers) in &self.compared {
            write!(f, "{name:width$}")?;
            for layer in Layer::ALL {
                let differs = self.differences.iter().any(|d| d.scenario == *name && d.layer == layer);
                let cell = match (layers.contains(&layer), differs) {
                    (_, true) => "DIFFERS",
                    (true, false) => "equal",
                    (false, false) => "-",
                };
                write!(f, "  {cell:>10}")?;
            }
            writeln!(f)?;
        }
        for difference in &self.differences {
            let Difference { scenario, layer, what, browser, rungs } = difference;
            writeln!(f, "\n{scenario} {}: {what}\n  browser: {browser}\n  rungs:   {rungs}", layer.name())?;
        }
        Ok(())
    }
}
