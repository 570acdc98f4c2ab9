//! Finds contradictions in a browser profile: a fingerprint that matches no browser is easier to detect than
//! an honest one. Pure: the caller passes the date and the installed browser.

mod age;
mod headers;
mod hello;
mod identity;
mod wire;

use std::fmt;

use serde::Serialize;

pub use age::{AgePolicy, Date};

use super::profile::{Browser, Profile};

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The profile works, but a site may detect it in the future.
    Warning,
    /// No real browser sends this, or the engine cannot send it.
    Error,
}

impl Severity {
    /// `warning` or `error`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One contradiction in a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The id of the rule. Ids are stable.
    pub id: &'static str,
    /// The severity.
    pub severity: Severity,
    /// The key, for example `tls.groups` or `headers.navigation/h2.user-agent`.
    pub key: String,
    /// The contradiction: the value found and the value expected.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}: {}", self.severity.name(), self.id, self.key, self.message)
    }
}

/// Returns all diagnostics for `profile`, errors first; empty if there are none.
///
/// A client that is not a browser may describe itself in any way. A profile without `[browser]` is
/// checked only for values that the engine cannot send.
#[must_use]
pub fn lint(profile: &Profile, policy: &AgePolicy) -> Vec<Diagnostic> {
    let mut diagnostics = Diagnostics::default();
    age::check(profile, policy, &mut diagnostics);
    wire::check(profile, &mut diagnostics);
    headers::check(profile, &mut diagnostics);
    if let Some(browser) = &profile.browser {
        let major = identity::chrome_major(&browser.user_agent);
        identity::check(profile, browser, major, &mut diagnostics);
        headers::check_identity(profile, browser, &mut diagnostics);
        if let Some(major) = major {
            wire::check_chromium(profile, major, &mut diagnostics);
        }
    }
    let mut list = diagnostics.0;
    list.sort_by_key(|diagnostic| std::cmp::Reverse(diagnostic.severity));
    list
}

/// Collects diagnostics.
#[derive(Default)]
struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    fn error(&mut self, id: &'static str, key: impl Into<String>, message: impl Into<String>) {
        self.add(id, Severity::Error, key, message);
    }

    fn warning(&mut self, id: &'static str, key: impl Into<String>, message: impl Into<String>) {
        self.add(id, Severity::Warning, key, message);
    }

    /// Adds an error if the value found is not the expected one.
    fn expect_equal(
        &mut self,
        id: &'static str,
        key: impl Into<String>,
        found: &str,
        expected: &str,
        source: &str,
    ) {
        if found != expected {
            self.error(id, key, format!("is {}, but {source} says {}", quote(found), quote(expected)));
        }
    }

    fn add(
        &mut self,
        id: &'static str,
        severity: Severity,
        key: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.0.push(Diagnostic { id, severity, key: key.into(), message: message.into() });
    }
}

/// Puts a value in backticks and escapes its control characters, since a profile may come from any source.
fn quote(text: &str) -> String {
    // Quotes are common in hints; escaping them would make the message harder to read.
    let text: String = text
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_debug().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    format!("`{text}`")
}

/// The product that a browser's brand list names besides Chromium.
fn product<'a>(profile: &'a Profile, browser: &Browser) -> Option<&'a str> {
    let name = profile.provenance.browser.as_str();
    // The brands rule catches a Chromium that claims to be Chrome.
    (name != "Chromium" && !browser.brands.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests;
