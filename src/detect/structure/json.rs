//! Features of small JSON responses, of JSON in a call of a function (JSONP), and of small XML documents.

use serde_json::Value;

use super::feature_set::FeatureSet;
use super::status::{is_bad_gateway, is_refusal};
use super::weights::StructureData;
use crate::detect::ResponseView;
use crate::text::charset;

/// Adds the features of a response with data. `None` if it is large, or neither JSON nor XML.
pub(super) fn add_features(
    features: &mut FeatureSet,
    data: &StructureData,
    view: &ResponseView<'_>,
) -> Option<()> {
    if view.body.len() > MAX_BODY {
        return None;
    }
    let text = charset::decode(view.headers, view.url, view.body)?;
    let value = parse(&text).or_else(|| parse_xml(&text))?;
    let mut members = Members::default();
    members.add(&value);
    features.add("json");
    features.add_if("json_refused", is_refusal(view.status));
    features.add_if("json_bad_gateway", is_bad_gateway(view.status));
    features.add_if("json_many", members.entries.len() > MAX_MEMBERS);
    features.add_if("json_list", members.has_list);
    features.add_if("json_failed", members.has_failed);
    features.add_if("json_error_key", members.has(|key, _| ERROR_KEYS.contains(&key)));
    for (feature, status) in [("json_code_401", 401), ("json_code_403", 403), ("json_code_429", 429)] {
        features
            .add_if(feature, members.has(|key, value| CODE_KEYS.contains(&key) && is_number(value, status)));
    }
    features.add_if("json_partial", is_partial(&value));
    features.add_if("json_ok", members.has(|key, value| OK_KEYS.contains(&key) && is_ok(value)));
    let is_of = |set, key: &str, value: &Value| data.phrases.find(key).has(set) && !is_off(value);
    let has_captcha = members.has(|key, value| is_of("json_captcha_key", key, value) && !value.is_array());
    features.add_if("json_captcha_key", has_captcha);
    features.add_if("json_challenge_key", members.has(|key, value| is_of("json_challenge_key", key, value)));
    let found = data.phrases.find(&members.addresses);
    for set in ["json_captcha_url", "json_challenge_url"] {
        features.add_if(set, found.has(set));
    }
    let found = data.phrases.find(&members.words);
    for set in SAYINGS {
        features.add_if(set, found.has(set));
    }
    for set in PAGE_SAYINGS {
        features.add_if(&format!("json_says_{set}"), found.has(set));
    }
    // A list of what may go wrong.
    let said = ["json_captcha", "json_geo", "json_login", "json_rate", "json_refusal"];
    features.add_if("json_varied", said.into_iter().filter(|set| found.has(set)).count() >= 3);
    Some(())
}

fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    let argument =
        || text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map(|(inside, _)| inside);
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(argument()?).ok())
}

/// Returns the texts of an XML document by the names of their elements. `None` for formats of content.
fn parse_xml(text: &str) -> Option<Value> {
    let mut members = Vec::new();
    for piece in text.trim().strip_prefix('<')?.split('<') {
        if piece.starts_with(['/', '?']) || piece.starts_with("!--") {
            continue;
        }
        if let Some(words) = piece.strip_prefix("![CDATA[") {
            members.push(Value::from(words));
            continue;
        }
        let Some((tag, words)) = piece.split_once('>') else { continue };
        let name = tag.split([' ', '/', '\n', '\t', '\r']).next().unwrap_or(tag);
        let name = name.rsplit(':').next().unwrap_or(name).to_lowercase();
        if CONTENT_FORMATS.contains(&name.as_str()) {
            return None;
        }
        members.push(Value::Object([(name, Value::from(words.trim()))].into_iter().collect()));
    }
    // An element is not an item of a list.
    Some(Value::Object([("errors".to_owned(), Value::Array(members))].into_iter().collect()))
}

/// Whether a value is this number or a text of it. Some sites append two digits of their own: 42901.
fn is_number(value: &Value, number: u64) -> bool {
    let value = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    value.map(i64::unsigned_abs).is_some_and(|value| value == number || value / 100 == number)
}

/// Whether a value says that all is well.
fn is_ok(value: &Value) -> bool {
    value.as_bool() == Some(true)
        || value
            .as_str()
            .is_some_and(|text| ["ok", "success"].iter().any(|word| text.eq_ignore_ascii_case(word)))
}

/// Whether a response has data beside its errors, as GraphQL allows.
fn is_partial(value: &Value) -> bool {
    let data = value.get("data").and_then(Value::as_object);
    value.get("errors").is_some() && data.is_some_and(|data| data.values().any(|value| !value.is_null()))
}

/// Whether a value switches something off.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::String(text) => text.is_empty() || text == "off",
        _ => false,
    }
}

/// The members of all objects.
#[derive(Default)]
struct Members<'a> {
    /// Keys in lower case, and values.
    entries: Vec<(String, &'a Value)>,
    /// Texts that are addresses, and the others, in lower case, one per line.
    addresses: String,
    words: String,
    has_list: bool,
    has_failed: bool,
}

impl<'a> Members<'a> {
    fn has(&self, test: impl Fn(&str, &Value) -> bool) -> bool {
        self.entries.iter().any(|(key, value)| test(key, value))
    }

    // serde_json limits the depth to 128.
    fn add(&mut self, value: &'a Value) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    let key = key.to_lowercase();
                    self.has_failed |= FAILED_KEYS.contains(&key.as_str()) && *value == Value::Bool(false);
                    let had_list = self.has_list;
                    self.add(value);
                    // A list of errors is not a list of items.
                    self.has_list &= had_list || !key.starts_with("error");
                    self.entries.push((key, value));
                }
            }
            Value::Array(list) => {
                self.has_list |= list.iter().any(Value::is_object);
                for value in list {
                    self.add(value);
                }
            }
            Value::String(text) => {
                let is_address =
                    text.starts_with('/') || text.starts_with("http:/") || text.starts_with("https:/");
                let texts = if is_address { &mut self.addresses } else { &mut self.words };
                texts.push_str(&text.to_lowercase());
                texts.push_str(" \n ");
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Sets of phrases that are features.
const SAYINGS: [&str; 8] = [
    "json_block",
    "json_captcha",
    "json_challenge",
    "json_geo",
    "json_login",
    "json_proxy",
    "json_rate",
    "json_refusal",
];
/// Sets of phrases of pages that JSON may contain as well.
const PAGE_SAYINGS: [&str; 6] = ["block", "bot", "captcha", "geo", "login_wall", "rate"];
/// Keys of statuses.
const CODE_KEYS: [&str; 9] =
    ["code", "status", "statuscode", "status_code", "errcode", "error_code", "errorcode", "err", "ret"];
/// Keys that say whether a request succeeded.
const OK_KEYS: [&str; 4] = ["status", "success", "ok", "result"];
/// Root elements of XML that is content, or the names of elements in it.
const CONTENT_FORMATS: [&str; 10] =
    ["rss", "feed", "rdf", "urlset", "sitemapindex", "svg", "html", "opml", "kml", "gpx"];
/// Keys that say whether there is what was asked for.
const FAILED_KEYS: [&str; 7] =
    ["success", "ok", "playable", "available", "allowed", "authorized", "accessible"];
/// Keys of responses that report something.
const ERROR_KEYS: [&str; 21] = [
    "action",
    "alert",
    "code",
    "detail",
    "err",
    "errcode",
    "error",
    "error_code",
    "errorcode",
    "errmsg",
    "errors",
    "faultcode",
    "faultstring",
    "message",
    "msg",
    "reason",
    "result",
    "restriction",
    "ret",
    "status",
    "success",
];
/// The maximum size in bytes.
const MAX_BODY: usize = 8 * 1024;
/// A response with more members is data.
const MAX_MEMBERS: usize = 25;
