//! One file of settings: a target, or the config file.

use std::path::Path;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use toml::Table;

use super::pattern::Match;
use super::schema;
use super::settings::{SCHEMA, Settings};
use crate::detect;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::extract::Field;
use crate::fingerprint;
use crate::geo::{Coordinates, LocationOverride};
use crate::proxy::{Dialect, Proxy};
use crate::toml_file;
use crate::units::{ByteSize, HumanDuration};

/// What a file says, read and checked.
#[derive(Clone)]
pub(super) struct TargetFile {
    pub(super) table: Table,
    /// Which URLs it is for. The config file is for all.
    pub(super) matches: Option<Match>,
}

/// What the file is meant to be.
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
        let message = format!("{}: {size} bytes are too many for a file of settings", path.display());
        return Err(Error::new(ErrorKind::Config, message));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text, &path.display().to_string(), role)
}

/// Reads `text`; errors name `origin`, the line and the key.
pub(super) fn parse(text: &str, origin: &str, role: FileRole) -> Result<TargetFile> {
    let faults = lint(text, origin, role);
    if faults.is_empty() {
        let table: Table =
            toml::from_str(text).map_err(|cause| config_error(&[format_toml_error(text, origin, &cause)]))?;
        let matches = parse_settings(text, origin)?.matches;
        return Ok(TargetFile { table: lowercase_header_names(table), matches });
    }
    Err(config_error(&faults))
}

/// Everything that is wrong with `text`, each in one line.
pub(super) fn lint(text: &str, origin: &str, role: FileRole) -> Vec<String> {
    let unknown = schema::KEYS.unknown_key_messages(text, origin);
    if !unknown.is_empty() {
        return unknown;
    }
    let settings = match toml::from_str::<Settings>(text) {
        Ok(settings) => settings,
        Err(cause) => return vec![format_toml_error(text, origin, &cause)],
    };
    let faults = [check_schema(&settings), check_match(&settings, role)].into_iter().flatten();
    let placed = |fault: SettingError| toml_file::format_error(text, origin, &fault.key, &fault.message);
    faults.chain(check_values(&settings)).map(placed).collect()
}

/// What is wrong, and under which key.
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
            let message = format!("schema {other} is not one this build reads; it reads {SCHEMA}");
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
            let message = "the table `[match]` is missing: it says which hosts the target is for";
            Some(SettingError::new(&[], message))
        }
        (Some(_), FileRole::Config) => {
            let message = "`[match]` belongs in a target: the config file is for all URLs";
            Some(SettingError::new(&["match"], message))
        }
        (None, FileRole::Config) => None,
    }
}

/// What is out of its range, in a layer by itself.
pub(super) fn check_values(settings: &Settings) -> Vec<SettingError> {
    let mut faults = Vec::new();
    for (name, value) in &settings.request.headers {
        let key = ["request", "headers", name];
        let shown = name.escape_debug();
        if name.parse::<HeaderName>().is_err() {
            faults
                .push(SettingError::new(&key, format!("`request.headers`: `{shown}` is not a header name")));
        }
        if HeaderValue::from_str(value).is_err() {
            let message = format!("`request.headers.{shown}`: the value holds a control character");
            faults.push(SettingError::new(&key, message));
        }
    }
    for (name, value) in &settings.request.cookies {
        let harmful = |c: char| c.is_control() || c == ';';
        if name.is_empty() || name.contains(|c: char| harmful(c) || c == '=') || value.contains(harmful) {
            let message = format!("`request.cookies.{}` is not a cookie", name.escape_debug());
            faults.push(SettingError::new(&["request", "cookies", name], message));
        }
    }
    faults.extend(check_browser(settings));
    for (name, css) in &settings.extract {
        if let Err(wrong) = Field::new(name, css) {
            let message = format!("`extract.{}`: {wrong}", name.escape_debug());
            faults.push(SettingError::new(&["extract", name], message));
        }
    }
    faults.extend(check_proxy(settings));
    if let Some(Err(error)) = settings.expect.css.as_ref().map(|css| detect::Expectation::default().css(css))
    {
        faults.push(SettingError::new(&["expect", "css"], format!("`expect.css`: {}", error.chain())));
    }
    if settings.pace.concurrency == Some(0) {
        let message = "`pace.concurrency` is 0: nothing would ever be fetched";
        faults.push(SettingError::new(&["pace", "concurrency"], message));
    }
    if settings.pace.jitter.is_some_and(|jitter| !(0.0..=10.0).contains(&jitter)) {
        faults.push(SettingError::new(&["pace", "jitter"], "`pace.jitter` is not from 0 to 10"));
    }
    if settings.budget.attempts == Some(0) {
        let message = "`budget.attempts` is 0: nothing would ever be fetched";
        faults.push(SettingError::new(&["budget", "attempts"], message));
    }
    if settings.budget.bytes == Some(ByteSize(0)) {
        let message = "`budget.bytes` is 0: no page is that small";
        faults.push(SettingError::new(&["budget", "bytes"], message));
    }
    let retry = &settings.retry;
    for (key, value) in [
        ("backoff", retry.backoff),
        ("rate_limit_backoff", retry.rate_limit_backoff),
        ("max_wait", retry.max_wait),
    ] {
        if value.is_some_and(|span| span.0 > MAX_WAIT) {
            let message = format!("`retry.{key}` is more than {}", HumanDuration(MAX_WAIT));
            faults.push(SettingError::new(&["retry", key], message));
        }
    }
    faults
}

fn check_proxy(settings: &Settings) -> Vec<SettingError> {
    let proxy = &settings.proxy;
    let mut faults = Vec::new();
    if let Some(Err(error)) = proxy.url.as_ref().map(|url| url.parse::<Proxy>()) {
        faults.push(SettingError::new(&["proxy", "url"], format!("`proxy.url`: {}", error.chain())));
    }
    for (at, url) in proxy.urls.iter().flatten().enumerate() {
        if let Err(error) = url.parse::<Proxy>() {
            let message = format!("`proxy.urls`, number {}: {}", at + 1, error.chain());
            faults.push(SettingError::new(&["proxy", "urls"], message));
        }
    }
    if let Some(Err(error)) = non_empty(proxy.gateway.as_ref()).map(str::parse::<Proxy>) {
        faults.push(SettingError::new(&["proxy", "gateway"], format!("`proxy.gateway`: {}", error.chain())));
    }
    if let Some(name) = non_empty(proxy.dialect.as_ref()).filter(|name| !Dialect::is_file(name))
        && let Err(error) = Dialect::find(name, super::dialect_folder().as_deref())
    {
        faults.push(SettingError::new(&["proxy", "dialect"], format!("`proxy.dialect`: {}", error.chain())));
    }
    if proxy.concurrency == Some(0) {
        let message = "`proxy.concurrency` is 0: nothing would ever be fetched";
        faults.push(SettingError::new(&["proxy", "concurrency"], message));
    }
    faults
}

/// A text that is set: an empty one is not.
fn non_empty(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

fn check_browser(settings: &Settings) -> Vec<SettingError> {
    let browser = &settings.browser;
    let mut faults = Vec::new();
    if let Some(zone) = &browser.timezone
        && let Err(error) = LocationOverride::parse(Some(zone), None)
    {
        faults.push(SettingError::new(
            &["browser", "timezone"],
            format!("`browser.timezone`: {}", error.chain()),
        ));
    }
    if let Some(text) = &browser.geolocation
        && let Err(error) = text.parse::<Coordinates>()
    {
        let message = format!("`browser.geolocation`: {}", error.chain());
        faults.push(SettingError::new(&["browser", "geolocation"], message));
    }
    if let Some(tag) = &browser.language
        && !fingerprint::is_language(tag)
    {
        let message = format!("`browser.language`: `{}` is no language rungs can set", tag.escape_debug());
        faults.push(SettingError::new(&["browser", "language"], message));
    }
    faults
}
/// No fetch should sleep longer than that.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

fn parse_settings(text: &str, origin: &str) -> Result<Settings> {
    toml::from_str(text).map_err(|cause| config_error(&[format_toml_error(text, origin, &cause)]))
}

/// Header names in lower case, so that two layers mean the same one.
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

fn config_error(faults: &[String]) -> Error {
    Error::new(ErrorKind::Config, faults.join("\n"))
}

/// The largest file read, in bytes.
const MAX_FILE: u64 = 1 << 20;
