//! Merges layers of settings, and records which layer set each value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use toml::{Table, Value};

use super::schema::RENAMED_KEYS;

/// The layer that set a value. Later layers win: defaults, config file, shipped targets, the user's targets, a file
/// named on the command line, environment, flags.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The defaults.
    Default,
    /// The config file.
    Config(PathBuf),
    /// The shipped target of this name.
    Shipped(String),
    /// The file of a target.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(&'static str),
    /// The flag of this name.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Config(path) => write!(f, "config file {}", path.display()),
            Self::Shipped(name) => write!(f, "shipped target {name}"),
            Self::File(path) => write!(f, "target {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value and the layer that set it.
#[derive(Clone, PartialEq)]
pub(super) struct SettingValue {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// All effective values, by key.
#[derive(Clone, Default)]
pub(super) struct MergedSettings(BTreeMap<Vec<String>, SettingValue>);

impl MergedSettings {
    /// Merges `table` over the values: scalars and lists replace, tables merge by key.
    pub(super) fn merge(&mut self, table: &Table, origin: &Origin) {
        for (key, value) in table.iter().filter(|(key, _)| !METADATA_KEYS.contains(&key.as_str())) {
            self.set_value(&mut vec![key.clone()], value, origin);
        }
    }

    fn set_value(&mut self, path: &mut Vec<String>, value: &Value, origin: &Origin) {
        if let Value::Table(inner) = value {
            for (key, value) in inner {
                path.push(key.clone());
                self.set_value(path, value, origin);
                path.pop();
            }
        } else {
            self.0.insert(current_key(path), SettingValue { value: value.clone(), origin: origin.clone() });
        }
    }

    /// Returns the layer that set `key`.
    pub(super) fn origin(&self, key: &[&str]) -> Option<&Origin> {
        let key: Vec<String> = key.iter().map(ToString::to_string).collect();
        self.0.get(&key).map(|setting| &setting.origin)
    }

    /// Returns all values as one table.
    pub(super) fn to_table(&self) -> Table {
        let mut whole = Table::new();
        for (path, setting) in &self.0 {
            insert_nested(&mut whole, path, &setting.value);
        }
        whole
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[String], &SettingValue)> {
        self.0.iter().map(|(path, setting)| (path.as_slice(), setting))
    }
}

/// Replaces the old name of a key by its current one, so that layers with either name override each other.
fn current_key(path: &[String]) -> Vec<String> {
    let mut key = path.to_vec();
    if let [table, name] = key.as_mut_slice()
        && let Some((_, _, new)) =
            RENAMED_KEYS.iter().find(|(parent, old, _)| (*parent, *old) == (table.as_str(), name.as_str()))
    {
        (*new).clone_into(name);
    }
    key
}

fn insert_nested(table: &mut Table, path: &[String], value: &Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        table.insert(first.clone(), value.clone());
    } else if let Value::Table(inner) =
        table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()))
    {
        insert_nested(inner, rest, value);
    }
}

/// Keys that describe the file itself.
const METADATA_KEYS: [&str; 3] = ["schema", "source", "match"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_and_lists_replace_and_tables_merge_by_key() {
        let mut merged = MergedSettings::default();
        let below: Table = toml::from_str(
            "schema = 1\nlist = [1, 2]\n[tiers]\nmin = \"plain\"\nmax = \"browser\"\n[h.inner]\na = \"1\"\nb = \"2\"\n",
        )
        .unwrap();
        let above: Table =
            toml::from_str("list = [3]\n[tiers]\nmin = \"browser\"\n[h.inner]\nb = \"3\"\n").unwrap();
        let flag = Origin::Flag("--x".to_owned());
        merged.merge(&below, &Origin::Default);
        merged.merge(&above, &flag);
        let expected: Table = toml::from_str(
            "list = [3]\n[tiers]\nmin = \"browser\"\nmax = \"browser\"\n[h.inner]\na = \"1\"\nb = \"3\"\n",
        )
        .unwrap();
        assert_eq!(merged.to_table(), expected);
        assert_eq!(merged.origin(&["tiers", "min"]), Some(&flag));
        assert_eq!(merged.origin(&["tiers", "max"]), Some(&Origin::Default));
        assert_eq!(merged.origin(&["schema"]), None);
    }
}
