//! Which keys there are: the schema made from the types, and the keys of a file held against it.

use std::sync::LazyLock;

use schemars::Schema;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::Settings;

/// The JSON Schema of a target's file, for editors (taplo, Even Better TOML).
#[must_use]
pub fn schema() -> Schema {
    let mut schema = schemars::schema_for!(Settings);
    schema.insert("required".to_owned(), serde_json::json!(["schema", "match"]));
    schema
}

/// A key that nobody reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    /// With its tables: `tiers.mix`.
    pub(super) key: String,
    /// Where it stands in the text, in bytes.
    pub(super) at: usize,
    /// The known key that is most like it, when one is.
    pub(super) nearest: Option<String>,
}

/// Every key of `text` that no target has, in the order of the text. Nothing when it is not TOML:
/// whoever reads it will say so.
pub(super) fn unknown(text: &str) -> Vec<Unknown> {
    let Ok(table) = DeTable::parse(text) else { return Vec::new() };
    let mut found = Vec::new();
    walk(table.get_ref(), &KNOWN, "", &mut found);
    found.sort_by_key(|unknown| unknown.at);
    found
}

/// Where `key`, or the innermost of its tables that is there, stands in the text.
pub(super) fn place_of(text: &str, key: &[String]) -> Option<usize> {
    let whole = DeTable::parse(text).ok()?;
    let mut table = whole.get_ref();
    let mut place = None;
    for name in key {
        let Some((spelled, value)) = table.iter().find(|(other, _)| other.get_ref() == name) else { break };
        place = Some(Spanned::span(spelled).start);
        let DeValue::Table(inner) = value.get_ref() else { break };
        table = inner;
    }
    place
}

fn walk(table: &DeTable<'_>, schema: &Value, path: &str, found: &mut Vec<Unknown>) {
    let Some(properties) = target_of(schema).get("properties").and_then(Value::as_object) else {
        // A table with keys of the user's own, as headers are.
        return;
    };
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match properties.get(name) {
            Some(below) => {
                if let DeValue::Table(inner) = value.get_ref() {
                    walk(inner, below, &format!("{path}{name}."), found);
                }
            }
            None => found.push(Unknown {
                key: format!("{path}{name}"),
                at: Spanned::span(key).start,
                nearest: nearest(name, path, properties.keys()),
            }),
        }
    }
}

/// What a schema comes to behind references and options.
fn target_of(schema: &Value) -> &Value {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        return KNOWN.pointer(name.trim_start_matches('#')).map_or(&Value::Null, target_of);
    }
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(options) => options.first().map_or(&Value::Null, target_of),
        None => schema,
    }
}

fn nearest<'a>(name: &str, path: &str, siblings: impl Iterator<Item = &'a String>) -> Option<String> {
    let here = siblings.map(|key| format!("{path}{key}"));
    // The key may be right, and in the wrong table.
    let elsewhere = EVERY.iter().filter(|key| key.rsplit('.').next() == Some(name)).cloned();
    let score = |key: &String| {
        let last = key.rsplit('.').next().unwrap_or(key);
        strsim::damerau_levenshtein(&last.replace('-', "_"), &name.replace('-', "_"))
    };
    here.chain(elsewhere)
        .map(|key| (score(&key), key))
        .filter(|(score, _)| *score <= 1 + name.len() / 4)
        .min()
        .map(|(_, key)| key)
}

/// Every key with its tables, `tiers.min` and so on.
pub(super) static EVERY: LazyLock<Vec<String>> = LazyLock::new(|| {
    fn gather(schema: &Value, path: &str, all: &mut Vec<String>) {
        let Some(properties) = target_of(schema).get("properties").and_then(Value::as_object) else {
            return;
        };
        for (key, below) in properties {
            all.push(format!("{path}{key}"));
            gather(below, &format!("{path}{key}."), all);
        }
    }
    let mut all = Vec::new();
    gather(&KNOWN, "", &mut all);
    all
});

static KNOWN: LazyLock<Value> = LazyLock::new(|| schema().to_value());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unknown_key_is_found_with_the_nearest_known_one() {
        let text = "schema = 1\nmach = 1\n[tiers]\nmaximum = \"plain\"\n[request]\nwait_for = \"x\"\n\
            [request.headers]\nanything = \"goes\"\n[pace]\nrates = \"1/s\"\nxyzzy = 1\n";
        let found: Vec<_> = unknown(text)
            .into_iter()
            .map(|unknown| (unknown.key, text[..unknown.at].matches('\n').count() + 1, unknown.nearest))
            .collect();
        let nearest = |key: &str| Some(key.to_owned());
        assert_eq!(
            found,
            [
                ("mach".to_owned(), 2, nearest("match")),
                ("tiers.maximum".to_owned(), 4, None),
                ("request.wait_for".to_owned(), 6, nearest("browser.wait_for")),
                ("pace.rates".to_owned(), 10, nearest("pace.rate")),
                ("pace.xyzzy".to_owned(), 11, None),
            ]
        );
    }
}
