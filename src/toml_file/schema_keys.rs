//! Which keys a kind of TOML file has: its schema, and the keys of a file held against it.

use schemars::Schema;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Every key that a kind of file has, read from its schema.
pub(crate) struct SchemaKeys {
    schema: Value,
    all: Vec<String>,
}

/// A key that nobody reads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownKey {
    /// With its tables: `tiers.mix`.
    pub(crate) key: String,
    /// Where it stands in the text, in bytes.
    pub(crate) offset: usize,
    /// The known key that is most like it, when one is.
    pub(crate) nearest: Option<String>,
}

impl SchemaKeys {
    /// The keys of the files that `schema` describes.
    pub(crate) fn from_schema(schema: Schema) -> Self {
        let mut keys = Self { schema: schema.to_value(), all: Vec::new() };
        let mut every = Vec::new();
        keys.collect_keys(&keys.schema, "", &mut every);
        keys.all = every;
        keys
    }

    /// Every key with its tables, `tiers.min` and so on.
    pub(crate) fn all(&self) -> &[String] {
        &self.all
    }

    /// Every key of `text` that no such file has, in the order of the text. Nothing when it is not
    /// TOML: whoever reads it will say so.
    pub(crate) fn unknown_keys(&self, text: &str) -> Vec<UnknownKey> {
        let Ok(table) = DeTable::parse(text) else { return Vec::new() };
        let mut found = Vec::new();
        self.collect_unknown(table.get_ref(), &self.schema, "", &mut found);
        found.sort_by_key(|unknown| unknown.offset);
        found
    }

    /// The same as lines that name `origin`, line and column, and the key that was meant perhaps.
    pub(crate) fn unknown_key_messages(&self, text: &str, origin: &str) -> Vec<String> {
        let told = |unknown: UnknownKey| {
            let nearest = unknown.nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
            let message = format!("unknown key `{}`{nearest}", unknown.key.escape_debug());
            format_error_at(text, origin, Some(unknown.offset), &message)
        };
        self.unknown_keys(text).into_iter().map(told).collect()
    }

    fn collect_keys(&self, schema: &Value, path: &str, every: &mut Vec<String>) {
        let Some(properties) = self.resolve_schema(schema).get("properties").and_then(Value::as_object)
        else {
            return;
        };
        for (key, below) in properties {
            every.push(format!("{path}{key}"));
            self.collect_keys(below, &format!("{path}{key}."), every);
        }
    }

    fn collect_unknown(&self, table: &DeTable<'_>, schema: &Value, path: &str, found: &mut Vec<UnknownKey>) {
        let Some(properties) = self.resolve_schema(schema).get("properties").and_then(Value::as_object)
        else {
            // A table with keys of the user's own, as headers are.
            return;
        };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match properties.get(name) {
                Some(below) => {
                    if let DeValue::Table(inner) = value.get_ref() {
                        self.collect_unknown(inner, below, &format!("{path}{name}."), found);
                    }
                }
                None => found.push(UnknownKey {
                    key: format!("{path}{name}"),
                    offset: Spanned::span(key).start,
                    nearest: self.nearest(name, path, properties.keys()),
                }),
            }
        }
    }

    /// What a schema comes to behind references and options.
    fn resolve_schema<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let named = self.schema.pointer(name.trim_start_matches('#'));
            return named.map_or(&Value::Null, |named| self.resolve_schema(named));
        }
        match schema.get("anyOf").and_then(Value::as_array) {
            Some(options) => options.first().map_or(&Value::Null, |option| self.resolve_schema(option)),
            None => schema,
        }
    }

    fn nearest<'a>(
        &self,
        name: &str,
        path: &str,
        siblings: impl Iterator<Item = &'a String>,
    ) -> Option<String> {
        let here = siblings.map(|key| format!("{path}{key}"));
        // The key may be right, and in the wrong table.
        let elsewhere = self.all.iter().filter(|key| key.rsplit('.').next() == Some(name)).cloned();
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
}

/// `origin:line:column: message` of what is wrong with the value of `key`, where that is in the text.
pub(crate) fn format_error(text: &str, origin: &str, key: &[String], message: &str) -> String {
    format_error_at(text, origin, key_offset(text, key), message)
}

fn format_error_at(text: &str, origin: &str, at: Option<usize>, message: &str) -> String {
    match at {
        Some(at) => {
            let (line, column) = super::error::line_column(text, at);
            format!("{origin}:{line}:{column}: {message}")
        }
        None => format!("{origin}: {message}"),
    }
}

/// Where `key`, or the innermost of its tables that is there, stands in the text.
fn key_offset(text: &str, key: &[String]) -> Option<usize> {
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
