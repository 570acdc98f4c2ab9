//! Layers of settings, and what they come to together: each value with the layer it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use toml::{Table, Value};

/// Where a value was set. Later ones win: defaults, config file, shipped, the user's own, a file
/// named on the command line, environment, flags.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// What is so when nobody says otherwise.
    Default,
    /// The config file.
    Config(PathBuf),
    /// The target of this name that is inside this build.
    Shipped(String),
    /// A target's file.
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

/// A value that was set, under its key with its tables.
#[derive(Clone, PartialEq)]
pub(super) struct SettingValue {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// All values in force, by key.
#[derive(Clone, Default)]
pub(super) struct MergedSettings(BTreeMap<Vec<String>, SettingValue>);

impl MergedSettings {
    /// Lays `table` over what is there: scalars and lists replace, tables merge by key.
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
            self.0.insert(path.clone(), SettingValue { value: value.clone(), origin: origin.clone() });
        }
    }

    /// Where the value under `key` came from.
    pub(super) fn origin(&self, key: &[&str]) -> Option<&Origin> {
        let key: Vec<String> = key.iter().map(ToString::to_string).collect();
        self.0.get(&key).map(|leaf| &leaf.origin)
    }

    /// The values as one table.
    pub(super) fn to_table(&self) -> Table {
        let mut whole = Table::new();
        for (path, leaf) in &self.0 {
            insert_nested(&mut whole, path, &leaf.value);
        }
        whole
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[String], &SettingValue)> {
        self.0.iter().map(|(path, leaf)| (path.as_slice(), leaf))
    }
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

/// Keys that tell of the file itself.
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
