//! Reports the mistakes in a dialect's file: unknown keys, invalid values and contradictions.

mod parameters;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::Dialect;
use super::alphabet::Alphabet;
use super::encode::{SessionIdFormat, ValueEncoder};
use super::schema::{DialectFile, Parameter, SCHEMA};
use crate::proxy::Proxy;
use crate::settings::provenance::is_date;
use crate::settings::toml_file;
use crate::settings::toml_file::SchemaKeys;

/// Returns all mistakes in `text`, one line each.
pub(super) fn lint(text: &str, origin: &str) -> Vec<String> {
    let unknown = KEYS.unknown_key_messages(text, origin);
    if !unknown.is_empty() {
        return unknown;
    }
    let file = match toml::from_str::<DialectFile>(text) {
        Ok(file) => file,
        Err(cause) => return vec![toml_file::format_parse_error(text, origin, &cause)],
    };
    let mut linter = Linter { file: &file, findings: Vec::new() };
    linter.check_header();
    linter.check_credentials();
    for parameter in Parameter::ALL {
        if let Some(part) = file.parameter_format(parameter) {
            linter.check_parameter(parameter, part);
        }
    }
    if let Some(session) = &file.session {
        linter.check_session(session);
    }
    if let Some(ttl) = &file.ttl {
        linter.check_ttl(ttl);
    }
    linter.check_provenance();
    linter.check_labels();
    linter.findings.iter().map(|finding| finding.format(text, origin)).collect()
}

/// A mistake and the key it was found at.
struct LintFinding {
    key: Vec<String>,
    message: String,
}

impl LintFinding {
    fn format(&self, text: &str, origin: &str) -> String {
        let key = self.key.join(".");
        toml_file::format_error(text, origin, &self.key, &format!("`{key}`: {}", self.message))
    }
}

struct Linter<'a> {
    file: &'a DialectFile,
    findings: Vec<LintFinding>,
}

impl Linter<'_> {
    fn report(&mut self, key: &[&str], message: impl Into<String>) {
        let key = key.iter().map(ToString::to_string).collect();
        self.findings.push(LintFinding { key, message: message.into() });
    }

    fn check_header(&mut self) {
        if self.file.schema != SCHEMA {
            self.report(
                &["schema"],
                format!("version {} is not supported; this build reads version {SCHEMA}", self.file.schema),
            );
        }
        for (key, name) in std::iter::once(("name", &self.file.name))
            .chain(self.file.aliases.iter().map(|alias| ("aliases", alias)))
        {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || !name.bytes().all(fits) {
                let shown = name.escape_debug();
                self.report(&[key], format!("`{shown}` is not a name made of a-z, 0-9 and `-`"));
            }
        }
        let Some(gateway) = &self.file.gateway else { return };
        let url = format!("http://{}:{}", gateway.host, gateway.port);
        let plain =
            gateway.host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte));
        if !plain || url.parse::<Proxy>().is_err() {
            let shown = gateway.host.escape_debug();
            self.report(&["gateway", "host"], format!("`{shown}` is not a host name or address"));
        }
        for (key, port) in [("port", Some(gateway.port)), ("sticky_port", gateway.sticky_port)] {
            if port == Some(0) {
                self.report(&["gateway", key], "port 0 is not valid");
            }
        }
        if gateway.sticky_port.is_some() && self.file.session.is_none() {
            self.report(&["gateway", "sticky_port"], "it needs a table `[session]`");
        }
    }

    fn check_credentials(&mut self) {
        let credentials = &self.file.credentials;
        for (key, text) in [
            ("prefix", &credentials.prefix),
            ("contains", &credentials.contains),
            ("first_separator", credentials.first_separator.as_ref().unwrap_or(&credentials.separator)),
            ("separator", &credentials.separator),
            ("link", &credentials.link),
        ] {
            self.check_text(&["credentials", key], text);
        }
        let mut seen = BTreeSet::new();
        for parameter in &credentials.order {
            if !seen.insert(*parameter) {
                self.report(&["credentials", "order"], format!("`{parameter}` is listed twice"));
            }
            if !self.file.supports(*parameter) {
                self.report(&["credentials", "order"], format!("`{parameter}` has no table `[{parameter}]`"));
            }
        }
        for parameter in Parameter::ALL {
            if self.file.supports(parameter) && !seen.contains(&parameter) {
                self.report(
                    &[parameter.name()],
                    "it is missing in `credentials.order`, so it is never written",
                );
            }
        }
        let has_parts = Parameter::ALL.into_iter().any(|parameter| self.file.supports(parameter));
        if has_parts && (credentials.separator.is_empty() || self.file.first_separator().is_empty()) {
            self.report(&["credentials"], "parts need a `separator`");
        }
    }

    /// Checks a text that is sent unchanged.
    fn check_text(&mut self, key: &[&str], text: &str) {
        if let Some(invalid) = text.chars().find(|letter| !letter.is_ascii_graphic() || *letter == ':') {
            let invalid = invalid.escape_debug();
            let message =
                format!("`{invalid}` is not allowed in credentials: use printable ASCII without `:`");
            self.report(key, message);
        }
    }

    fn check_provenance(&mut self) {
        let provenance = &self.file.provenance;
        if provenance.source.trim().is_empty() {
            self.report(
                &["provenance", "source"],
                "it is empty: name the pages or experiments that the dialect comes from",
            );
        }
        if !is_date(&provenance.seen) {
            self.report(&["provenance", "seen"], "it is not a date of the form `YYYY-MM` or `YYYY-MM-DD`");
        }
        for key in &provenance.third_party {
            if key != "*" && !KEYS.all().contains(key) {
                let shown = key.escape_debug();
                self.report(&["provenance", "third_party"], format!("there is no key `{shown}`"));
            }
        }
    }

    /// Checks that each part begins differently, so that the provider can tell them apart.
    fn check_labels(&mut self) {
        let order = &self.file.credentials.order;
        for (at, first) in order.iter().enumerate() {
            for second in &order[at + 1..] {
                let alike = first != second && self.file.label(*first) == self.file.label(*second);
                if alike && !self.are_exclusive(*first, *second) && !self.are_distinguishable(*first, *second)
                {
                    let message = format!("it begins like `{first}`, so the two cannot be distinguished");
                    self.report(&[second.name()], message);
                }
            }
        }
    }

    /// Whether one of the two replaces the other.
    fn are_exclusive(&self, first: Parameter, second: Parameter) -> bool {
        [(first, second), (second, first)].into_iter().any(|(one, other)| {
            self.file.parameter_format(one).is_some_and(|part| part.replaces.contains(&other))
        })
    }

    /// Whether the values of two parts have no character in common.
    fn are_distinguishable(&self, first: Parameter, second: Parameter) -> bool {
        let letters = |parameter: Parameter| match parameter {
            Parameter::Session => self
                .file
                .session
                .as_ref()
                .and_then(|session| SessionIdFormat::new(session).ok())
                .map(|ids| ids.alphabet),
            Parameter::Country => "A-Za-z".parse().ok(),
            _ => {
                let part = self.file.parameter_format(parameter)?;
                ValueEncoder::new(part).ok().map(|encoder| encoder.alphabet().clone())
            }
        };
        match (letters(first), letters(second)) {
            (Some(first), Some(second)) => first.letters().all(|letter| !second.contains(letter)),
            _ => false,
        }
    }

    fn check_alphabet(&mut self, key: &[&str], letters: &Alphabet) {
        self.check_separators(key, &letters.letters().collect::<String>());
    }

    /// Checks that a value cannot contain the separator, which begins the next part.
    fn check_separators(&mut self, key: &[&str], text: &str) {
        let separators = &self.file.credentials.separator;
        if let Some(invalid) = text.chars().find(|letter| separators.contains(*letter)) {
            self.report(key, format!("`{invalid}` is the separator, so a part must not contain it"));
        }
    }
}

/// The keys of a dialect's file.
pub(super) static KEYS: LazyLock<SchemaKeys> = LazyLock::new(|| SchemaKeys::from_schema(Dialect::schema()));
