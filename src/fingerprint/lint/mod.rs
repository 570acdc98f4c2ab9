//! What does not fit together in a browser profile: a fingerprint that no browser has is worse than an
//! honest one. Pure: the day and the installed browser are passed in.

mod age;
mod headers;
mod hello;
mod identity;
mod wire;

use std::fmt;

use serde::Serialize;

pub use age::{AgePolicy, Date};

use super::profile::{Browser, Profile};

/// How much a complaint matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works, and may give it away one day.
    Warning,
    /// No real browser looks like this, or the engine cannot send it.
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

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Which rule complains; never renamed.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The key it concerns, for example `tls.groups` or `headers.navigation/h2.user-agent`.
    pub key: String,
    /// What does not fit, and with what.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}: {}", self.severity.name(), self.id, self.key, self.message)
    }
}

/// Everything that does not fit in `profile`, errors first; nothing when it is clean.
///
/// What a client that is no browser says of itself is its own business: only what cannot be sent is
/// held against a profile without `[browser]`.
#[must_use]
pub fn lint(profile: &Profile, freshness: &AgePolicy) -> Vec<Diagnostic> {
    let mut complaints = Diagnostics::default();
    age::check(profile, freshness, &mut complaints);
    wire::check(profile, &mut complaints);
    headers::check(profile, &mut complaints);
    if let Some(browser) = &profile.browser {
        let major = identity::chrome_major(&browser.user_agent);
        identity::check(profile, browser, major, &mut complaints);
        headers::check_identity(profile, browser, &mut complaints);
        if let Some(major) = major {
            wire::check_chromium(profile, major, &mut complaints);
        }
    }
    let mut list = complaints.0;
    list.sort_by_key(|complaint| std::cmp::Reverse(complaint.severity));
    list
}

/// Collects complaints.
#[derive(Default)]
struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    fn error(&mut self, id: &'static str, key: impl Into<String>, message: impl Into<String>) {
        self.add(id, Severity::Error, key, message);
    }

    fn warning(&mut self, id: &'static str, key: impl Into<String>, message: impl Into<String>) {
        self.add(id, Severity::Warning, key, message);
    }

    /// An error when what is found is not what is expected.
    fn expect_equal(
        &mut self,
        id: &'static str,
        key: impl Into<String>,
        found: &str,
        expected: &str,
        why: &str,
    ) {
        if found != expected {
            self.error(id, key, format!("is {}, but {why} says {}", quote(found), quote(expected)));
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

/// A value in backticks, its control characters escaped: a profile may come from anywhere.
fn quote(text: &str) -> String {
    // Quotes are common in hints; escaping them would only make them harder to read.
    let text: String = text
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_debug().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    format!("`{text}`")
}

/// The product a browser's brand list names besides Chromium.
fn product<'a>(profile: &'a Profile, browser: &Browser) -> Option<&'a str> {
    let name = profile.provenance.browser.as_str();
    // A Chromium that claims to be Chrome is caught by its brands.
    (name != "Chromium" && !browser.brands.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests;
