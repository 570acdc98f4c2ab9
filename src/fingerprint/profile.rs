//! Browser profiles: one browser on the wire, as data. `profiles/browsers/README.md` tells every key.

mod http2;
mod tls;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::derive;
use super::header_template::{CompiledField, TemplateCache};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::request::Context;
use crate::toml_file;

pub use http2::{Hpack, Http2, Huffman, Priority};
pub use tls::{Alps, GreaseLayout, GreasePosition, Resumption, Tls};

/// The version of the profile format this build reads.
pub const SCHEMA: u32 = 1;

/// One browser on the wire: TLS, HTTP/2 and headers per context, with where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The format's version; [`SCHEMA`].
    pub schema: u32,
    /// The name it is asked for by, equal to its file's stem.
    pub name: String,
    /// Where the values come from.
    pub provenance: Provenance,
    /// What the page's JavaScript must see too. Absent for a client that is no browser.
    pub browser: Option<Browser>,
    /// The ClientHello.
    pub tls: Tls,
    /// The HTTP/2 preface and priorities.
    pub http2: Http2,
    /// What each client hint says, for those a site asks for with Accept-CH.
    #[serde(default)]
    pub hints: BTreeMap<String, String>,
    /// The header templates, by context.
    #[serde(default)]
    pub headers: Vec<HeaderTemplate>,
    /// The language it was set to, where that is not its own.
    #[serde(skip)]
    pub language: Option<String>,
}

/// Where a profile's values come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The product, for example `Chromium`.
    pub browser: String,
    /// Its full version.
    pub version: String,
    /// Its release channel or packager.
    pub channel: String,
    /// The operating system it ran on.
    pub os: String,
    /// The day it was captured, `YYYY-MM-DD`.
    pub captured: String,
    /// How it was captured, or from what it was derived.
    pub method: String,
    /// Whether it was derived from a captured one instead of captured itself.
    #[serde(default)]
    pub derived: bool,
}

/// The identity a page's JavaScript sees: it must be the same as on the wire.
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
    /// The device's model: empty but on Android.
    #[serde(default)]
    pub model: String,
    /// Whether it says it is a phone.
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

/// How requests travel: headers differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireProtocol {
    /// HTTP/2 over TLS.
    Http2,
    /// HTTP/1.1 over TLS.
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
    /// How the request travels.
    pub over: WireProtocol,
    /// Whether this is the order after a redirect was followed. Default: false.
    #[serde(default)]
    pub redirected: bool,
    /// Whether this is the order once the origin has asked for client hints: a script's request
    /// leaves Chrome in the order of a hash table, which grows with them. Default: false.
    #[serde(default)]
    pub hinted: bool,
    /// The fields, in order.
    pub fields: Vec<TemplateField>,
    #[serde(skip)]
    pub(crate) cache: TemplateCache,
}

impl HeaderTemplate {
    /// The fields as requests wear them, or the name of one that is none.
    pub(crate) fn compiled_fields(&self) -> Result<&[CompiledField], &str> {
        self.cache.get_or_compile(&self.fields)
    }

    /// What tells this template from the profile's others, for example `navigation/h2/redirected`.
    #[must_use]
    pub fn label(&self) -> String {
        let redirected = if self.redirected { "/redirected" } else { "" };
        let hinted = if self.hinted { "/hinted" } else { "" };
        format!("{}/{}{redirected}{hinted}", self.context, self.over.name())
    }
}

/// One header: `["name", "value"]`, or `["name"]` for a place that the request fills or leaves out
/// (`host`, `cookie`, `referer`, `origin`, `content-length`, `content-type`, client hints that
/// wait for Accept-CH). The value `{site}` stands for what sec-fetch-site follows from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct TemplateField {
    /// The name, in the case it has on an HTTP/1.1 wire.
    pub name: String,
    /// The value, or `None` for a place to fill.
    pub value: Option<String>,
}

impl TryFrom<Vec<String>> for TemplateField {
    type Error = String;

    fn try_from(parts: Vec<String>) -> Result<Self, String> {
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), value, None) if http::HeaderName::from_bytes(name.as_bytes()).is_ok() => {
                Ok(Self { name, value })
            }
            (Some(name), _, None) => Err(format!("`{}` is not a header name", name.escape_debug())),
            _ => Err("a field is [\"name\", \"value\"] or [\"name\"]".to_owned()),
        }
    }
}

impl From<TemplateField> for Vec<String> {
    fn from(field: TemplateField) -> Self {
        std::iter::once(field.name).chain(field.value).collect()
    }
}

impl Profile {
    /// Reads a profile from TOML text; `origin` names it in errors. A text with `derive_from` is
    /// completed from the shipped profile it names.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`] naming `origin`, the line and the key.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        if derive::is_derived(text) {
            return derive::resolve(text, origin);
        }
        let profile: Self = toml::from_str(text).map_err(|cause| {
            Error::new(ErrorKind::Profile, toml_file::format_parse_error(text, origin, &cause))
        })?;
        if profile.schema != SCHEMA {
            return Err(Error::new(
                ErrorKind::Profile,
                format!("{origin}: schema is {}, this build reads {SCHEMA}", profile.schema),
            ));
        }
        Ok(profile)
    }

    /// Reads a profile from a file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when it cannot be read, [`ErrorKind::Profile`] when it is wrong.
    pub fn from_file(path: &Path) -> Result<Self> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| {
            Error::new(ErrorKind::Io, format!("could not read the browser profile {origin}"))
                .with_source(cause)
        })?;
        Self::from_toml(&text, &origin)
    }

    /// The profile as TOML that reads back as the same, complete in itself and without comments.
    ///
    /// # Panics
    /// Never: a profile is made of what TOML can hold.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a profile is made of what TOML can hold")
    }

    /// The profiles shipped inside this build, by name.
    ///
    /// # Panics
    /// Never: a test reads each of them.
    #[must_use]
    pub fn shipped() -> Vec<Arc<Self>> {
        (0..SHIPPED.len()).map(|at| load_shipped(at).expect("shipped profiles are read by a test")).collect()
    }

    /// The shipped profile called `name`, or the one in the file of that name when it
    /// [is a file's](Self::is_file).
    ///
    /// # Errors
    /// As [`named`](Self::named) and [`from_file`](Self::from_file).
    pub fn find(name: &str) -> Result<Arc<Self>> {
        if Self::is_file(name) { Self::from_file(Path::new(name)).map(Arc::new) } else { Self::named(name) }
    }

    /// Whether `name` is a file's: it ends in `.toml`, or holds a `/`.
    #[must_use]
    pub fn is_file(name: &str) -> bool {
        Path::new(name).extension().is_some_and(|extension| extension == "toml") || name.contains('/')
    }

    /// The shipped profile called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`] listing the names there are.
    pub fn named(name: &str) -> Result<Arc<Self>> {
        SHIPPED
            .iter()
            .position(|(other, _)| *other == name)
            .ok_or_else(|| unknown_profile_error(name))
            .and_then(load_shipped)
    }

    /// The text of the shipped profile called `name`, comments included.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`] listing the names there are.
    pub fn shipped_text(name: &str) -> Result<&'static str> {
        SHIPPED
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, text)| *text)
            .ok_or_else(|| unknown_profile_error(name))
    }

    /// The major version of the browser.
    #[must_use]
    pub fn major(&self) -> Option<u32> {
        major(&self.provenance.version)
    }

    /// The template for a context of an origin that asked for client hints, when it has one of its own.
    #[must_use]
    pub fn hinted_headers(&self, context: Context, over: WireProtocol) -> Option<&HeaderTemplate> {
        self.headers.iter().find(|h| h.context == context.name() && h.over == over && h.hinted)
    }

    /// The template for a context, falling back from `redirected` to the plain order.
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

/// The first number with a dot behind it: `Chromium 156.0.8078.79` is 156.
#[must_use]
pub fn major(version: &str) -> Option<u32> {
    version.split_whitespace().find_map(|word| word.split_once('.')?.0.parse().ok())
}

/// A shipped profile, read once a process: five are completed from one base.
fn load_shipped(at: usize) -> Result<Arc<Profile>> {
    if let Some(profile) = LOADED[at].get() {
        return Ok(Arc::clone(profile));
    }
    let (name, text) = SHIPPED[at];
    let profile = Arc::new(Profile::from_toml(text, name)?);
    // Another thread may have been faster; either is the same.
    Ok(Arc::clone(LOADED[at].get_or_init(|| profile)))
}

static LOADED: [OnceLock<Arc<Profile>>; SHIPPED.len()] = [const { OnceLock::new() }; SHIPPED.len()];

fn unknown_profile_error(name: &str) -> Error {
    let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    Error::new(ErrorKind::Profile, format!("there is no browser profile `{}`", name.escape_debug()))
        .with_hint(format!("the shipped ones are: {}; a file is named with its .toml", names.join(", ")))
}

const SHIPPED: &[(&str, &str)] = &[
    ("plain", include_str!("../../profiles/browsers/plain.toml")),
    ("chrome-156-linux", include_str!("../../profiles/browsers/chrome-156-linux.toml")),
    ("google-chrome-156-linux", include_str!("../../profiles/browsers/google-chrome-156-linux.toml")),
    ("google-chrome-156-windows", include_str!("../../profiles/browsers/google-chrome-156-windows.toml")),
    ("google-chrome-156-macos", include_str!("../../profiles/browsers/google-chrome-156-macos.toml")),
    ("google-chrome-156-android", include_str!("../../profiles/browsers/google-chrome-156-android.toml")),
    ("edge-156-windows", include_str!("../../profiles/browsers/edge-156-windows.toml")),
];

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

    #[test]
    fn shipped_profiles_bear_the_name_they_are_asked_for_by() {
        for (name, _) in SHIPPED {
            assert_eq!(Profile::named(name).unwrap().name, *name);
        }
    }

    /// The keys of the format, those of tables with free keys left out.
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
    fn the_formats_description_tells_every_key_and_no_other() {
        let chrome = Profile::named("chrome-156-linux").unwrap();
        let mut known = BTreeSet::from(["derive_from".to_owned()]);
        keys(&serde_json::to_value(&*chrome).unwrap(), &mut known);
        assert!(known.contains("table_reuse") && known.contains("exclusive"), "{known:?}");
        // Every second piece between backticks is code.
        let code = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let prose: Vec<&str> = FORMAT.split("```").step_by(2).collect();
        let told: BTreeSet<String> = prose
            .iter()
            .flat_map(|text| code(text))
            .flat_map(|code| code.split(|c| !is_word(c)).map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert_eq!(known.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new());
        let rows = prose.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix("| `"));
        for row in rows {
            for key in code(&format!("`{}", row.split(" | ").next().unwrap())) {
                assert!(known.contains(&key), "{key}");
            }
        }
    }

    #[test]
    fn the_descriptions_examples_are_the_captured_profiles_lines() {
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
    fn a_file_of_another_schema_is_an_error_and_one_without_the_newer_keys_is_read() {
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
