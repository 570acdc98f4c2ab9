//! One settings file: a target or the config file.

use std::path::Path;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use toml::Table;

use super::pattern::Match;
use super::schema;
use super::settings::{SCHEMA, Settings};
use crate::detect;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
#[cfg(feature = "extract")]
use crate::extract::Field;
use crate::fingerprint;
use crate::identity::geo::{Coordinates, LocationOverride};
use crate::proxy::{Dialect, Proxy};
use crate::settings::limits::MIN_PAGE_MEMORY;
use crate::settings::toml_file;
use crate::settings::units::{ByteSize, HumanDuration};

/// A parsed and checked file.
#[derive(Clone)]
pub(super) struct TargetFile {
    pub(super) table: Table,
    /// The URLs that the file applies to. `None` for the config file, which applies to all.
    pub(super) matches: Option<Match>,
}

/// The kind of a settings file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FileRole {
    Target,
    Config,
}

/// Reads the file at `path`.
pub(super) fn load(path: &Path, role: FileRole) -> Result<TargetFile> {
    let unreadable = |cause: std::io::Error| {
        Error::new(ErrorKind::Config, format!("could not read {}", path.display())).with_source(cause)
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_FILE {
        let message = format!("{}: the file has {size} bytes; the limit is {MAX_FILE}", path.display());
        return Err(Error::new(ErrorKind::Config, message));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text, &path.display().to_string(), role)
}

/// Parses `text`; errors name `origin`, the line and the key.
pub(super) fn parse(text: &str, origin: &str, role: FileRole) -> Result<TargetFile> {
    let errors = lint(text, origin, role);
    if errors.is_empty() {
        let table: Table =
            toml::from_str(text).map_err(|cause| config_error(&[format_toml_error(text, origin, &cause)]))?;
        let matches = parse_settings(text, origin)?.matches;
        return Ok(TargetFile { table: lowercase_header_names(table), matches });
    }
    Err(config_error(&errors))
}

/// Returns all mistakes in `text`, one line each.
pub(super) fn lint(text: &str, origin: &str, role: FileRole) -> Vec<String> {
    let unknown = schema::KEYS.unknown_key_messages(text, origin);
    if !unknown.is_empty() {
        return unknown;
    }
    let settings = match toml::from_str::<Settings>(text) {
        Ok(settings) => settings,
        Err(cause) => return vec![format_toml_error(text, origin, &cause)],
    };
    let errors = [check_schema(&settings), check_match(&settings, role)].into_iter().flatten();
    let format = |error: SettingError| toml_file::format_error(text, origin, &error.key, &error.message);
    errors.chain(check_values(&settings)).map(format).collect()
}

/// A mistake and the key it was found at.
pub(super) struct SettingError {
    key: Vec<String>,
    pub(super) message: String,
}

impl SettingError {
    fn new(key: &[&str], message: impl Into<String>) -> Self {
        Self { key: key.iter().map(ToString::to_string).collect(), message: message.into() }
    }
}

fn check_schema(settings: &Settings) -> Option<SettingError> {
    match settings.schema {
        Some(SCHEMA) => None,
        Some(other) => {
            let message =
                format!("schema version {other} is not supported; this build reads version {SCHEMA}");
            Some(SettingError::new(&["schema"], message))
        }
        None => {
            let message = format!("the key `schema` is missing: write `schema = {SCHEMA}` first");
            Some(SettingError::new(&[], message))
        }
    }
}

fn check_match(settings: &Settings, role: FileRole) -> Option<SettingError> {
    match (&settings.matches, role) {
        (Some(matches), FileRole::Target) => {
            matches.find_error().map(|(key, message)| SettingError::new(&["match", key], message))
        }
        (None, FileRole::Target) => {
            let message = "the table `[match]` is missing: it names the hosts of the target";
            Some(SettingError::new(&[], message))
        }
        (Some(_), FileRole::Config) => {
            let message = "`[match]` is not allowed in the config file, which applies to all URLs";
            Some(SettingError::new(&["match"], message))
        }
        (None, FileRole::Config) => None,
    }
}

/// Returns the invalid values of one layer.
pub(super) fn check_values(settings: &Settings) -> Vec<SettingError> {
    let mut errors = Vec::new();
    for (name, value) in &settings.request.headers {
        let key = ["request", "headers", name];
        let shown = name.escape_debug();
        if name.parse::<HeaderName>().is_err() {
            errors
                .push(SettingError::new(&key, format!("`request.headers`: `{shown}` is not a header name")));
        }
        if HeaderValue::from_str(value).is_err() {
            let message = format!("`request.headers.{shown}`: the value contains a control character");
            errors.push(SettingError::new(&key, message));
        }
    }
    for (name, value) in &settings.request.cookies {
        let is_invalid = |c: char| c.is_control() || c == ';';
        if name.is_empty() || name.contains(|c: char| is_invalid(c) || c == '=') || value.contains(is_invalid)
        {
            let message = format!("`request.cookies.{}` is not a valid cookie", name.escape_debug());
            errors.push(SettingError::new(&["request", "cookies", name], message));
        }
    }
    errors.extend(check_browser(settings));
    errors.extend(check_extract(settings));
    errors.extend(check_proxy(settings));
    if let Some(Err(error)) = settings.expect.css.as_ref().map(|css| detect::Expectation::default().css(css))
    {
        errors.push(SettingError::new(&["expect", "css"], format!("`expect.css`: {}", error.chain())));
    }
    if settings.pace.concurrency == Some(0) {
        let message = "`pace.concurrency` is 0: it must be at least 1";
        errors.push(SettingError::new(&["pace", "concurrency"], message));
    }
    if settings.pace.jitter.is_some_and(|jitter| !(0.0..=10.0).contains(&jitter)) {
        errors.push(SettingError::new(&["pace", "jitter"], "`pace.jitter` is not between 0 and 10"));
    }
    if settings.budget.attempts == Some(0) {
        let message = "`budget.attempts` is 0: it must be at least 1";
        errors.push(SettingError::new(&["budget", "attempts"], message));
    }
    if settings.budget.bytes == Some(ByteSize(0)) {
        let message = "`budget.bytes` is 0: it must be at least 1";
        errors.push(SettingError::new(&["budget", "bytes"], message));
    }
    let retry = &settings.retry;
    for (key, value) in [
        ("backoff", retry.backoff),
        ("rate_limit_backoff", retry.rate_limit_backoff),
        ("max_wait", retry.max_wait),
    ] {
        if value.is_some_and(|duration| duration.0 > MAX_WAIT) {
            let message = format!("`retry.{key}` exceeds the maximum of {}", HumanDuration(MAX_WAIT));
            errors.push(SettingError::new(&["retry", key], message));
        }
    }
    errors
}

fn check_proxy(settings: &Settings) -> Vec<SettingError> {
    let proxy = &settings.proxy;
    let mut errors = Vec::new();
    if let Some(Err(error)) = proxy.url.as_ref().map(|url| url.parse::<Proxy>()) {
        errors.push(SettingError::new(&["proxy", "url"], format!("`proxy.url`: {}", error.chain())));
    }
    for (at, url) in proxy.urls.iter().flatten().enumerate() {
        if let Err(error) = url.parse::<Proxy>() {
            let message = format!("`proxy.urls`, item {}: {}", at + 1, error.chain());
            errors.push(SettingError::new(&["proxy", "urls"], message));
        }
    }
    if let Some(Err(error)) = non_empty(proxy.gateway.as_ref()).map(str::parse::<Proxy>) {
        errors.push(SettingError::new(&["proxy", "gateway"], format!("`proxy.gateway`: {}", error.chain())));
    }
    if let Some(name) = non_empty(proxy.dialect.as_ref()).filter(|name| !Dialect::is_file(name))
        && let Err(error) = Dialect::find(name, super::dialect_folder().as_deref())
    {
        errors.push(SettingError::new(&["proxy", "dialect"], format!("`proxy.dialect`: {}", error.chain())));
    }
    if proxy.concurrency == Some(0) {
        let message = "`proxy.concurrency` is 0: it must be at least 1";
        errors.push(SettingError::new(&["proxy", "concurrency"], message));
    }
    errors
}

/// Returns a text that is set. An empty text counts as not set.
fn non_empty(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// Checks the fields to extract.
#[cfg(feature = "extract")]
fn check_extract(settings: &Settings) -> Vec<SettingError> {
    let fields = settings.extract.iter();
    let invalid = fields.filter_map(|(name, css)| Some((name, Field::new(name, css).err()?)));
    let error = |(name, cause): (&String, _)| {
        SettingError::new(&["extract", name], format!("`extract.{}`: {cause}", name.escape_debug()))
    };
    invalid.map(error).collect()
}

/// Refuses fields: this build cannot extract them.
#[cfg(not(feature = "extract"))]
fn check_extract(settings: &Settings) -> Vec<SettingError> {
    let message = "`extract`: this build of rungs lacks the feature `extract`";
    let has_fields = !settings.extract.is_empty();
    has_fields.then(|| SettingError::new(&["extract"], message.to_owned())).into_iter().collect()
}

fn check_browser(settings: &Settings) -> Vec<SettingError> {
    let browser = &settings.browser;
    let mut errors = Vec::new();
    if let Some(zone) = &browser.timezone
        && let Err(error) = LocationOverride::parse(Some(zone), None)
    {
        errors.push(SettingError::new(
            &["browser", "timezone"],
            format!("`browser.timezone`: {}", error.chain()),
        ));
    }
    if let Some(text) = &browser.geolocation
        && let Err(error) = text.parse::<Coordinates>()
    {
        let message = format!("`browser.geolocation`: {}", error.chain());
        errors.push(SettingError::new(&["browser", "geolocation"], message));
    }
    if let Some(tag) = &browser.language
        && !fingerprint::is_language(tag)
    {
        let message = format!("`browser.language`: `{}` is not a supported language", tag.escape_debug());
        errors.push(SettingError::new(&["browser", "language"], message));
    }
    if browser.page_memory.is_some_and(|size| size.0 < MIN_PAGE_MEMORY) {
        let message = format!("`browser.page_memory` is below the minimum of {}", ByteSize(MIN_PAGE_MEMORY));
        errors.push(SettingError::new(&["browser", "page_memory"], message));
    }
    errors
}

/// The maximum of each wait in `[retry]`.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

fn parse_settings(text: &str, origin: &str) -> Result<Settings> {
    toml::from_str(text).map_err(|cause| config_error(&[format_toml_error(text, origin, &cause)]))
}

/// Converts header names to lower case, so that layers override each other.
fn lowercase_header_names(mut table: Table) -> Table {
    let request = table.get_mut("request").and_then(toml::Value::as_table_mut);
    if let Some(toml::Value::Table(headers)) = request.and_then(|request| request.get_mut("headers")) {
        *headers = std::mem::take(headers)
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
    }
    table
}

fn format_toml_error(text: &str, origin: &str, cause: &toml::de::Error) -> String {
    toml_file::format_parse_error(text, origin, cause)
}

fn config_error(errors: &[String]) -> Error {
    Error::new(ErrorKind::Config, errors.join("\n"))
}

/// The maximum file size, in bytes.
const MAX_FILE: u64 = 1 << 20;
