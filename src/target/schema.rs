//! The known keys: the schema, generated from the types.

use std::sync::LazyLock;

use schemars::Schema;

use super::settings::Settings;
use crate::settings::toml_file::SchemaKeys;

/// Returns the JSON Schema of a target's file, for editors (taplo, Even Better TOML).
#[must_use]
pub fn schema() -> Schema {
    let mut schema = schemars::schema_for!(Settings);
    schema.insert("required".to_owned(), serde_json::json!(["schema", "match"]));
    schema
}

/// The keys of a target.
pub(super) static KEYS: LazyLock<SchemaKeys> = LazyLock::new(|| {
    let aliases = RENAMED_KEYS.iter().map(|(table, old, _)| format!("{table}.{old}"));
    SchemaKeys::from_schema(schema()).with_aliases(aliases)
});

/// Renamed keys: table, old name, new name. The old name stays as an alias.
pub(super) const RENAMED_KEYS: [(&str, &str, &str); 1] = [("proxy", "around", "no_proxy")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unknown_key_is_found_with_the_nearest_known_one() {
        let text = "schema = 1\nmach = 1\n[tiers]\nmaximum = \"plain\"\n[request]\nwait_for = \"x\"\n\
            [request.headers]\nanything = \"goes\"\n[pace]\nrates = \"1/s\"\nxyzzy = 1\n";
        let found: Vec<_> = KEYS
            .unknown_keys(text)
            .into_iter()
            .map(|unknown| (unknown.key, text[..unknown.offset].matches('\n').count() + 1, unknown.nearest))
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
