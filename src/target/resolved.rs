//! The effective settings of one URL, with the layer that set each value.

use std::fmt;
use std::sync::Arc;

use toml::Value;
use url::Url;

use super::Target;
use super::layer::{MergedSettings, Origin};
use super::pattern::Match;
use super::settings::Settings;
use crate::exchange::credentials;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
#[cfg(feature = "extract")]
use crate::extract::{Extractor, Field};
use crate::text::redact;

/// The effective settings of one URL.
#[derive(Clone)]
pub struct ResolvedTarget {
    settings: Settings,
    merged: MergedSettings,
    target: Option<String>,
    /// The targets among the layers, with the URLs that each applies to.
    matches: Vec<(Origin, Match)>,
    #[cfg(feature = "extract")]
    extract: Option<Arc<Extractor>>,
}

/// One effective value for display. Secrets are redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSetting {
    /// The key with its tables: `tiers.min`.
    pub key: String,
    /// The value as TOML; `"***"` if it may be a secret.
    pub value: String,
    /// The layer that set it.
    pub origin: Origin,
}

impl ResolvedTarget {
    pub(super) fn new(merged: MergedSettings, targets: &[&Target]) -> Result<Self> {
        let settings: Settings = merged.to_table().try_into().map_err(|cause: toml::de::Error| {
            Error::new(ErrorKind::Config, "could not merge the settings").with_source(cause)
        })?;
        check_tiers(&settings, &merged)?;
        #[cfg(feature = "extract")]
        let extract = build_extractor(&settings)?.map(Arc::new);
        let target = targets.last().map(|target| target.name.clone());
        let matches = targets.iter().map(|target| (target.origin.clone(), target.matches.clone())).collect();
        Ok(Self {
            settings,
            merged,
            target,
            matches,
            #[cfg(feature = "extract")]
            extract,
        })
    }

    /// The merged settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The name of the topmost target that applies to the URL.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// The fields to extract, if there are any.
    #[cfg(feature = "extract")]
    pub(crate) const fn extract(&self) -> Option<&Arc<Extractor>> {
        self.extract.as_ref()
    }

    /// Whether a layer above the defaults sets this top-level key.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        let mut values = self.merged.iter();
        values.any(|(path, setting)| path.len() == 1 && path[0] == key && setting.origin != Origin::Default)
    }

    /// Whether a target that matches `url` sets `key`. False if a layer for all URLs sets it, or a target that was
    /// selected by name and does not match.
    pub(crate) fn is_given_for(&self, key: &[&str], url: &Url) -> bool {
        let origin = self.merged.origin(key);
        self.matches.iter().any(|(target, matches)| Some(target) == origin && matches.matches(url))
    }

    /// Returns the target's own block rules as the text of a rule file.
    #[must_use]
    pub fn rules_toml(&self) -> Option<String> {
        if self.settings.rule.is_empty() {
            return None;
        }
        let mut file = toml::Table::new();
        file.insert("schema".to_owned(), Value::Integer(1));
        file.insert("name".to_owned(), Value::String("target".to_owned()));
        let rules = self.settings.rule.iter().cloned().map(Value::Table).collect();
        file.insert("rule".to_owned(), Value::Array(rules));
        Some(file.to_string())
    }

    /// Returns every effective value with the layer that set it, sorted by key.
    #[must_use]
    pub fn list_settings(&self) -> Vec<ResolvedSetting> {
        self.merged
            .iter()
            .map(|(path, setting)| ResolvedSetting {
                key: format_key(path),
                value: format_value(path, &setting.value),
                origin: setting.origin.clone(),
            })
            .collect()
    }
}

impl fmt::Debug for ResolvedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolvedTarget").field("target", &self.target).finish_non_exhaustive()
    }
}

fn check_tiers(settings: &Settings, merged: &MergedSettings) -> Result<()> {
    let tiers = [("min", settings.tiers.min), ("start", settings.tiers.start), ("max", settings.tiers.max)];
    let set: Vec<_> = tiers.into_iter().filter_map(|(key, tier)| Some((key, tier?))).collect();
    for pair in set.windows(2) {
        let [(low, below), (high, above)] = pair else { continue };
        if below > above {
            let from = |key| merged.origin(&["tiers", key]).map(ToString::to_string).unwrap_or_default();
            let message = format!(
                "`tiers.{low}` is {below} ({}), which is above `tiers.{high}`, {above} ({})",
                from(low),
                from(high)
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
    }
    Ok(())
}

/// Compiles the extracted fields. Each layer was checked already, but not their combination.
#[cfg(feature = "extract")]
fn build_extractor(settings: &Settings) -> Result<Option<Extractor>> {
    let mut extract = Extractor::new();
    for (name, css) in &settings.extract {
        let field = Field::new(name, css).map_err(|cause| {
            Error::new(ErrorKind::Config, format!("`extract.{}`: {cause}", name.escape_debug()))
        })?;
        extract.set_field(field);
    }
    Ok((!extract.is_empty()).then_some(extract))
}

/// Formats a key with its tables. Quotes a name as TOML would.
fn format_key(path: &[String]) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let parts = path.iter().map(|part| {
        if !part.is_empty() && part.chars().all(bare) { part.clone() } else { format!("{part:?}") }
    });
    parts.collect::<Vec<_>>().join(".")
}

/// Whether the value of a header may be a secret. True for an invalid name.
fn header_may_be_secret(name: &str) -> bool {
    name.parse().map_or(true, |name| credentials::may_be_secret(&name))
}

fn format_value(path: &[String], value: &Value) -> String {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (path.as_slice(), value) {
        (["request", "cookies", _] | ["proxy", "user" | "password"], _) => "\"***\"".to_owned(),
        (["request", "headers", name], _) if header_may_be_secret(name) => "\"***\"".to_owned(),
        (["proxy", "url"], Value::String(text)) => Value::String(redact::url_text(text)).to_string(),
        (["proxy", "urls"], Value::Array(urls)) => {
            let shown =
                urls.iter().map(|url| Value::String(redact::url_text(url.as_str().unwrap_or_default())));
            Value::Array(shown.collect()).to_string()
        }
        _ => value.to_string(),
    }
}
