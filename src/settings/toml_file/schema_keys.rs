//! The keys that a TOML file may have, from its schema, and the check of a file for other keys.

use schemars::Schema;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The known keys of a file format, from its schema.
pub(crate) struct SchemaKeys {
    schema: Value,
    all: Vec<String>,
    /// Old names of keys: accepted, but not listed.
    aliases: Vec<String>,
}

/// A key that the schema does not have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownKey {
    /// The key with its tables: `tiers.mix`.
    pub(crate) key: String,
    /// The byte offset in the text.
    pub(crate) offset: usize,
    /// The most similar known key, if one is similar enough.
    pub(crate) nearest: Option<String>,
}

impl SchemaKeys {
    /// Collects the keys of a schema.
    pub(crate) fn from_schema(schema: Schema) -> Self {
        let mut keys = Self { schema: schema.to_value(), all: Vec::new(), aliases: Vec::new() };
        let mut all = Vec::new();
        keys.collect_keys(&keys.schema, "", &mut all);
        keys.all = all;
        keys
    }

    /// Accepts old names of keys, each with its tables.
    pub(crate) fn with_aliases(mut self, aliases: impl IntoIterator<Item = String>) -> Self {
        self.aliases.extend(aliases);
        self
    }

    /// Returns every key with its tables, such as `tiers.min`.
    pub(crate) fn all(&self) -> &[String] {
        &self.all
    }

    /// Returns every unknown key of `text`, in the order of the text. Empty if the text is not TOML: the parser
    /// reports that.
    pub(crate) fn unknown_keys(&self, text: &str) -> Vec<UnknownKey> {
        let Ok(table) = DeTable::parse(text) else { return Vec::new() };
        let mut found = Vec::new();
        self.collect_unknown(table.get_ref(), &self.schema, "", &mut found);
        found.sort_by_key(|unknown| unknown.offset);
        found
    }

    /// Returns a message for every unknown key, with `origin`, line, column and the nearest known key.
    pub(crate) fn unknown_key_messages(&self, text: &str, origin: &str) -> Vec<String> {
        let format = |unknown: UnknownKey| {
            let nearest = unknown.nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
            let message = format!("unknown key `{}`{nearest}", unknown.key.escape_debug());
            format_error_at(text, origin, Some(unknown.offset), &message)
        };
        self.unknown_keys(text).into_iter().map(format).collect()
    }

    fn collect_keys(&self, schema: &Value, path: &str, all: &mut Vec<String>) {
        let Some(properties) = self.resolve_schema(schema).get("properties").and_then(Value::as_object)
        else {
            return;
        };
        for (key, below) in properties {
            all.push(format!("{path}{key}"));
            self.collect_keys(below, &format!("{path}{key}."), all);
        }
    }

    fn collect_unknown(&self, table: &DeTable<'_>, schema: &Value, path: &str, found: &mut Vec<UnknownKey>) {
        let Some(properties) = self.resolve_schema(schema).get("properties").and_then(Value::as_object)
        else {
            // A table with free keys, such as headers.
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
                None if self.aliases.contains(&format!("{path}{name}")) => {}
                None => found.push(UnknownKey {
                    key: format!("{path}{name}"),
                    offset: Spanned::span(key).start,
                    nearest: self.nearest(name, path, properties.keys()),
                }),
            }
        }
    }

    /// Resolves references and options.
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
        // The key may be correct but in the wrong table.
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

/// Formats an error about the value of `key` as `origin:line:column: message`.
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

/// Returns the byte offset of `key`, or of its innermost table that exists.
fn key_offset(text: &str, key: &[String]) -> Option<usize> {
    let whole = DeTable::parse(text).ok()?;
    let mut table = whole.get_ref();
    let mut offset = None;
    for name in key {
        let Some((spelled, value)) = table.iter().find(|(other, _)| other.get_ref() == name) else { break };
        offset = Some(Spanned::span(spelled).start);
        let DeValue::Table(inner) = value.get_ref() else { break };
        table = inner;
    }
    offset
}
