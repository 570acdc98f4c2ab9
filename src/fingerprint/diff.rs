//! Compares two browser profiles key by key.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::profile::{HeaderTemplate, Profile};

/// A key whose value differs between two profiles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The key, for example `tls.groups` or `headers.navigation/h2.user-agent`.
    pub path: String,
    /// The value in the left profile, as JSON; `None` if the key is absent.
    pub left: Option<Value>,
    /// The value in the right profile, as JSON; `None` if the key is absent.
    pub right: Option<Value>,
}

/// Returns the keys in which two profiles differ, sorted; empty if they are equal. Name and provenance are
/// compared too.
///
/// A list of plain values is one key. Header templates are matched by context and compared header by
/// header. Their order is a separate key, `(order)`.
#[must_use]
pub fn diff(left: &Profile, right: &Profile) -> Vec<Difference> {
    let (mut left, mut right) = (flatten_profile(left), flatten_profile(right));
    let paths: Vec<String> = left.keys().chain(right.keys()).cloned().collect();
    let mut differences: Vec<Difference> = paths
        .into_iter()
        .filter_map(|path| {
            let (left, right) = (left.remove(&path), right.remove(&path));
            (left != right).then_some(Difference { path, left, right })
        })
        .collect();
    differences.sort_by(|a, b| a.path.cmp(&b.path));
    differences
}

fn flatten_profile(profile: &Profile) -> BTreeMap<String, Value> {
    let mut value = serde_json::to_value(profile).expect("JSON can represent every field of a profile");
    let mut keys = BTreeMap::new();
    if let Some(whole) = value.as_object_mut() {
        whole.insert("headers".to_owned(), Value::Object(templates(&profile.headers)));
    }
    flatten("", value, &mut keys);
    keys
}

/// The templates by label, each with its headers by name and their order.
fn templates(all: &[HeaderTemplate]) -> serde_json::Map<String, Value> {
    let one = |headers: &HeaderTemplate| {
        let mut fields: serde_json::Map<String, Value> =
            headers.fields.iter().map(|field| (field.name.clone(), field.value.clone().into())).collect();
        // A field that the request fills is present; null would mean absent.
        for value in fields.values_mut().filter(|value| value.is_null()) {
            *value = Value::from(FILLED_BY_REQUEST);
        }
        let order: Vec<&str> = headers.fields.iter().map(|field| field.name.as_str()).collect();
        fields.insert(ORDER.to_owned(), order.into());
        (headers.label(), Value::Object(fields))
    };
    all.iter().map(one).collect()
}

fn flatten(path: &str, value: Value, keys: &mut BTreeMap<String, Value>) {
    match value {
        // TOML has no null: null means absent.
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                flatten(&path, value, keys);
            }
        }
        value => {
            keys.insert(path.to_owned(), value);
        }
    }
}

const ORDER: &str = "(order)";
const FILLED_BY_REQUEST: &str = "(filled by the request)";

#[cfg(test)]
mod tests {
    use super::*;

    fn chrome() -> Profile {
        Profile::clone(&Profile::named("chrome-156-linux").unwrap())
    }

    fn paths(left: &Profile, right: &Profile) -> Vec<String> {
        diff(left, right).into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn equal_profiles_do_not_differ() {
        for profile in Profile::shipped() {
            assert_eq!(diff(&profile, &profile), [], "{}", profile.name);
        }
    }

    #[test]
    fn each_difference_has_its_key_and_both_values() {
        let (left, mut right) = (chrome(), chrome());
        right.tls.groups.pop();
        right.tls.trust_anchors = None;
        right.http2.window_update = 0;
        let found = diff(&left, &right);
        assert_eq!(
            found.iter().map(|d| d.path.as_str()).collect::<Vec<_>>(),
            ["http2.window_update", "tls.groups", "tls.trust_anchors"]
        );
        assert_eq!(found[0].right, Some(Value::from(0)));
        assert_eq!(found[1].left, Some(Value::from(vec![4588, 29, 23, 24])));
        assert_eq!(found[1].right, Some(Value::from(vec![4588, 29, 23])));
        assert!(found[2].left.is_some() && found[2].right.is_none());
    }

    #[test]
    fn headers_are_compared_by_name_and_their_order_separately() {
        let (left, mut right) = (chrome(), chrome());
        let label = right.headers[0].label();
        right.headers[0].fields.swap(0, 1);
        assert_eq!(paths(&left, &right), [format!("headers.{label}.(order)")]);
        let mut right = chrome();
        right.headers[0].fields.retain(|field| field.name != "referer");
        assert_eq!(
            paths(&left, &right),
            [format!("headers.{label}.(order)"), format!("headers.{label}.referer")]
        );
        let mut right = chrome();
        right.headers.remove(0);
        assert!(paths(&left, &right).iter().all(|path| path.starts_with(&format!("headers.{label}."))));
    }

    #[test]
    fn a_derived_profile_differs_from_its_base_only_in_identity_keys() {
        let windows = Profile::named("google-chrome-156-windows").unwrap();
        for path in paths(&chrome(), &windows) {
            let leaf = path.rsplit('.').next().unwrap().to_ascii_lowercase();
            let is_identity =
                ["name", "browser.", "provenance.", "hints."].iter().any(|p| path.starts_with(p))
                    || ["user-agent", "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"]
                        .contains(&leaf.as_str())
                    || leaf.starts_with("sec-ch-ua-");
            assert!(is_identity, "{path}");
        }
    }
}
