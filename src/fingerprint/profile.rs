//! Browser profiles: one browser on the wire, as data. `profiles/browsers/README.md` documents every key.

mod http2;
mod tls;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::header_template::{CompiledField, TemplateCache};
use crate::exchange::request::Context;

pub use super::header_template::TemplateField;
pub use http2::{Hpack, Http2, Huffman, Priority};
pub use tls::{Alps, GreaseLayout, GreasePosition, Resumption, Tls};

/// The version of the profile format that this build reads.
pub const SCHEMA: u32 = 1;

/// One browser on the wire: TLS, HTTP/2, headers per context, and the provenance of these values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The version of the format: [`SCHEMA`].
    pub schema: u32,
    /// The name of the profile, equal to the stem of its file name.
    pub name: String,
    /// The provenance of the values.
    pub provenance: Provenance,
    /// The identity that the page's JavaScript must see too. Absent for a client that is not a browser.
    pub browser: Option<Browser>,
    /// The ClientHello.
    pub tls: Tls,
    /// The HTTP/2 preface and priorities.
    pub http2: Http2,
    /// The value of each client hint that a site may request with Accept-CH.
    #[serde(default)]
    pub hints: BTreeMap<String, String>,
    /// The header templates, by context.
    #[serde(default)]
    pub headers: Vec<HeaderTemplate>,
    /// The language set with [`with_language`](Self::with_language), if it differs from the captured one.
    #[serde(skip)]
    pub language: Option<String>,
}

/// The provenance of a profile's values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The product, for example `Chromium`.
    pub browser: String,
    /// Its full version.
    pub version: String,
    /// The release channel or packager.
    pub channel: String,
    /// The operating system.
    pub os: String,
    /// The day of the capture, `YYYY-MM-DD`.
    pub captured: String,
    /// How the profile was captured, or the profile from which it was derived.
    pub method: String,
    /// Whether the profile was derived from a captured one. Default: false.
    #[serde(default)]
    pub derived: bool,
}

/// The identity that a page's JavaScript sees. It must equal the identity on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Browser {
    /// `navigator.userAgent`, and the user-agent header.
    pub user_agent: String,
    /// `navigator.userAgentData.platform`, for example `Linux`.
    pub platform: String,
    /// `navigator.userAgentData.platformVersion`.
    #[serde(default)]
    pub platform_version: String,
    /// The CPU, for example `x86`.
    #[serde(default)]
    pub architecture: String,
    /// `64` or `32`.
    #[serde(default)]
    pub bitness: String,
    /// The device model: empty except on Android.
    #[serde(default)]
    pub model: String,
    /// Whether the device is a phone: `navigator.userAgentData.mobile`. Default: false.
    #[serde(default)]
    pub mobile: bool,
    /// `navigator.userAgentData.brands`, in order.
    pub brands: Vec<Brand>,
    /// The same brands with their full versions, in order.
    pub full_version_list: Vec<Brand>,
    /// `navigator.languages`.
    pub languages: Vec<String>,
}

/// One brand of a browser's brand list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brand {
    /// For example `Chromium`.
    pub brand: String,
    /// For example `156`.
    pub version: String,
}

/// The protocol of a request. Header names, case and order depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireProtocol {
    /// HTTP/2 over TLS.
    #[serde(rename = "h2")]
    Http2,
    /// HTTP/1.1 over TLS.
    #[serde(rename = "h1")]
    Http1,
    /// HTTP/1.1 without TLS.
    Cleartext,
}

impl WireProtocol {
    /// `h2`, `h1` or `cleartext`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http2 => "h2",
            Self::Http1 => "h1",
            Self::Cleartext => "cleartext",
        }
    }
}

/// The headers of one context in wire order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderTemplate {
    /// The context's name: `navigation`, `reload`, `form`, `fetch`, `xhr`.
    pub context: String,
    /// The protocol of the request.
    pub over: WireProtocol,
    /// Whether this is the header order after a redirect. Default: false.
    #[serde(default)]
    pub redirected: bool,
    /// Whether this is the order after the origin has requested client hints. Chrome sends the headers of
    /// a script's request in hash table order, and the table grows with the hints. Default: false.
    #[serde(default)]
    pub hinted: bool,
    /// The fields, in order.
    pub fields: Vec<TemplateField>,
    #[serde(skip)]
    pub(crate) cache: TemplateCache,
}

impl HeaderTemplate {
    /// The compiled fields, or the name of a field that is not a valid header name.
    pub(crate) fn compiled_fields(&self) -> Result<&[CompiledField], &str> {
        self.cache.get_or_compile(&self.fields)
    }

    /// A label that is unique within the profile, for example `navigation/h2/redirected`.
    #[must_use]
    pub fn label(&self) -> String {
        let redirected = if self.redirected { "/redirected" } else { "" };
        let hinted = if self.hinted { "/hinted" } else { "" };
        format!("{}/{}{redirected}{hinted}", self.context, self.over.name())
    }
}

impl Profile {
    /// The major version of the browser.
    #[must_use]
    pub fn major(&self) -> Option<u32> {
        major(&self.provenance.version)
    }

    /// The template of a context for an origin that requested client hints, if the profile has one.
    #[must_use]
    pub fn hinted_headers(&self, context: Context, over: WireProtocol) -> Option<&HeaderTemplate> {
        self.headers.iter().find(|h| h.context == context.name() && h.over == over && h.hinted)
    }

    /// The template of a context. Falls back to the order without a redirect, then to navigation.
    #[must_use]
    pub fn headers(&self, context: Context, over: WireProtocol, redirected: bool) -> Option<&HeaderTemplate> {
        let find = |context: Context, redirected: bool| {
            self.headers.iter().find(|h| {
                h.context == context.name() && h.over == over && h.redirected == redirected && !h.hinted
            })
        };
        find(context, redirected)
            .or_else(|| find(context, false))
            .or_else(|| find(Context::Navigation, redirected))
    }
}

/// Parses the major version, the first number followed by a dot: 156 for `Chromium 156.0.8078.79`.
#[must_use]
pub fn major(version: &str) -> Option<u32> {
    version.split_whitespace().find_map(|word| word.split_once('.')?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_profile_written_as_toml_reads_back_as_the_same() {
        for profile in Profile::shipped() {
            let text = profile.to_toml();
            assert_eq!(Profile::from_toml(&text, &profile.name).unwrap(), *profile);
        }
    }

    /// Collects the keys of the format, except the keys of tables with free keys.
    fn keys(value: &serde_json::Value, keys: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    keys.insert(key.clone());
                    match (key.as_str(), value.as_object()) {
                        ("hints" | "extension_bodies", _) => {}
                        ("priority", Some(contexts)) => {
                            for one in contexts.values() {
                                self::keys(one, keys);
                            }
                        }
                        _ => self::keys(value, keys),
                    }
                }
            }
            serde_json::Value::Array(list) => list.iter().for_each(|one| self::keys(one, keys)),
            _ => {}
        }
    }

    #[test]
    fn the_format_documentation_lists_exactly_the_known_keys() {
        let chrome = Profile::named("chrome-156-linux").unwrap();
        let mut known = BTreeSet::from(["derive_from".to_owned()]);
        keys(&serde_json::to_value(&*chrome).unwrap(), &mut known);
        assert!(known.contains("table_reuse") && known.contains("exclusive"), "{known:?}");
        // Every second piece between backticks is code.
        let code = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let prose: Vec<&str> = FORMAT.split("```").step_by(2).collect();
        let documented: BTreeSet<String> = prose
            .iter()
            .flat_map(|text| code(text))
            .flat_map(|code| code.split(|c| !is_word(c)).map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert_eq!(known.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new());
        let rows = prose.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix("| `"));
        for row in rows {
            for key in code(&format!("`{}", row.split(" | ").next().unwrap())) {
                assert!(known.contains(&key), "{key}");
            }
        }
    }

    #[test]
    fn the_documented_examples_are_lines_of_the_captured_profile() {
        let captured: Vec<&str> = Profile::shipped_text("chrome-156-linux").unwrap().lines().collect();
        let examples: Vec<&str> = FORMAT
            .split("```toml\n")
            .skip(1)
            .flat_map(|block| block.split("```").next().unwrap().lines())
            .filter(|line| !line.is_empty())
            .collect();
        assert!(examples.len() > 10);
        for line in examples {
            assert!(captured.contains(&line), "{line}");
        }
    }

    #[test]
    fn another_schema_is_an_error_and_newer_keys_are_optional() {
        let text = Profile::shipped_text("chrome-156-linux").unwrap();
        let newer =
            Profile::from_toml(&text.replacen("schema = 1", "schema = 2", 1), "new.toml").unwrap_err();
        assert_eq!(newer.to_string(), "new.toml: schema is 2, this build reads 1");
        let chrome = Profile::named("chrome-156-linux").unwrap();
        let newer =
            ["record_version", "session_id_length", "point_formats", "psk_modes", "resumption", "hpack"];
        let older: Vec<&str> = text
            .lines()
            .filter(|line| !newer.iter().any(|key| line.starts_with(&format!("{key} = "))))
            .collect();
        assert_eq!(older.len() + newer.len(), text.lines().count());
        assert_eq!(Profile::from_toml(&older.join("\n"), "old.toml").unwrap(), *chrome);
    }

    const FORMAT: &str = include_str!("../../profiles/browsers/README.md");

    #[test]
    fn a_major_version_is_found_in_what_browsers_print() {
        for (text, expected) in [
            ("156.0.8078.79", Some(156)),
            ("Chromium 156.0.8078.79 built on Debian GNU/Linux 12 (bookworm)", Some(156)),
            ("Google Chrome 157.0.1.2 beta", Some(157)),
            ("0.1", Some(0)),
            ("nightly", None),
            ("", None),
        ] {
            assert_eq!(major(text), expected, "{text}");
        }
    }
}
