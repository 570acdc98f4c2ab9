//! What is wrong with a dialect's file: unknown keys, wrong values, and what contradicts itself.

mod parameters;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::Dialect;
use super::alphabet::Alphabet;
use super::encode::{SessionIdFormat, ValueEncoder};
use super::schema::{DialectFile, Parameter, SCHEMA};
use crate::provenance::is_date;
use crate::proxy::Proxy;
use crate::toml_file;
use crate::toml_file::SchemaKeys;

/// Everything that is wrong with `text`, each in one line.
pub(super) fn lint(text: &str, origin: &str) -> Vec<String> {
    let unknown = KEYS.unknown_key_messages(text, origin);
    if !unknown.is_empty() {
        return unknown;
    }
    let written = match toml::from_str::<DialectFile>(text) {
        Ok(written) => written,
        Err(cause) => return vec![toml_file::format_parse_error(text, origin, &cause)],
    };
    let mut linter = Linter { file: &written, findings: Vec::new() };
    linter.check_header();
    linter.check_credentials();
    for wish in Parameter::ALL {
        if let Some(part) = written.parameter_format(wish) {
            linter.check_parameter(wish, part);
        }
    }
    if let Some(session) = &written.session {
        linter.check_session(session);
    }
    if let Some(ttl) = &written.ttl {
        linter.check_ttl(ttl);
    }
    linter.check_provenance();
    linter.check_labels();
    linter.findings.iter().map(|fault| fault.format(text, origin)).collect()
}

/// What is wrong, and under which key.
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
                format!("{} is not one this build reads; it reads {SCHEMA}", self.file.schema),
            );
        }
        for (key, name) in std::iter::once(("name", &self.file.name))
            .chain(self.file.aliases.iter().map(|alias| ("aliases", alias)))
        {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || !name.bytes().all(fits) {
                let shown = name.escape_debug();
                self.report(&[key], format!("`{shown}` is not a name of a-z, 0-9 and `-`"));
            }
        }
        let Some(gateway) = &self.file.gateway else { return };
        let url = format!("http://{}:{}", gateway.host, gateway.port);
        let plain =
            gateway.host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte));
        if !plain || url.parse::<Proxy>().is_err() {
            let shown = gateway.host.escape_debug();
            self.report(&["gateway", "host"], format!("`{shown}` is not the name or address of a host"));
        }
        for (key, port) in [("port", Some(gateway.port)), ("sticky_port", gateway.sticky_port)] {
            if port == Some(0) {
                self.report(&["gateway", key], "no gateway listens at port 0");
            }
        }
        if gateway.sticky_port.is_some() && self.file.session.is_none() {
            self.report(&["gateway", "sticky_port"], "there is no `[session]` that would use it");
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
        for wish in &credentials.order {
            if !seen.insert(*wish) {
                self.report(&["credentials", "order"], format!("`{wish}` is there twice"));
            }
            if !self.file.supports(*wish) {
                self.report(&["credentials", "order"], format!("`{wish}` has no table `[{wish}]`"));
            }
        }
        for wish in Parameter::ALL {
            if self.file.supports(wish) && !seen.contains(&wish) {
                self.report(
                    &[wish.name()],
                    "it is missing in `credentials.order`, so it would never be written",
                );
            }
        }
        let has_parts = Parameter::ALL.into_iter().any(|wish| self.file.supports(wish));
        if has_parts && (credentials.separator.is_empty() || self.file.first_separator().is_empty()) {
            self.report(&["credentials"], "without a separator no part can be told from the next");
        }
    }

    /// What goes on the wire as it is.
    fn check_text(&mut self, key: &[&str], text: &str) {
        if let Some(odd) = text.chars().find(|letter| !letter.is_ascii_graphic() || *letter == ':') {
            let odd = odd.escape_debug();
            self.report(key, format!("`{odd}` cannot stand in a user name: use printable ASCII without `:`"));
        }
    }

    fn check_provenance(&mut self) {
        let provenance = &self.file.provenance;
        if provenance.source.trim().is_empty() {
            self.report(&["provenance", "source"], "it says where the dialect is known from");
        }
        if !is_date(&provenance.seen) {
            self.report(&["provenance", "seen"], "it is `YYYY-MM` or `YYYY-MM-DD`");
        }
        for key in &provenance.third_party {
            if key != "*" && !KEYS.all().contains(key) {
                let shown = key.escape_debug();
                self.report(&["provenance", "third_party"], format!("there is no key `{shown}`"));
            }
        }
    }

    /// What each part begins with tells it from the others.
    fn check_labels(&mut self) {
        let order = &self.file.credentials.order;
        for (at, first) in order.iter().enumerate() {
            for second in &order[at + 1..] {
                let alike = first != second && self.file.label(*first) == self.file.label(*second);
                if alike && !self.are_exclusive(*first, *second) && !self.are_distinguishable(*first, *second)
                {
                    let message = format!("it begins as `{first}` does, so that none can tell them apart");
                    self.report(&[second.name()], message);
                }
            }
        }
    }

    /// Whether one of the two takes the other's place.
    fn are_exclusive(&self, first: Parameter, second: Parameter) -> bool {
        [(first, second), (second, first)].into_iter().any(|(one, other)| {
            self.file.parameter_format(one).is_some_and(|part| part.replaces.contains(&other))
        })
    }

    /// Whether the letters of two parts tell them apart.
    fn are_distinguishable(&self, first: Parameter, second: Parameter) -> bool {
        let letters = |wish: Parameter| match wish {
            Parameter::Session => self
                .file
                .session
                .as_ref()
                .and_then(|session| SessionIdFormat::new(session).ok())
                .map(|ids| ids.alphabet),
            Parameter::Country => "A-Za-z".parse().ok(),
            _ => {
                let part = self.file.parameter_format(wish)?;
                ValueEncoder::new(part).ok().map(|speller| speller.alphabet().clone())
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

    /// No value may look like the beginning of the next part.
    fn check_separators(&mut self, key: &[&str], text: &str) {
        let separators = &self.file.credentials.separator;
        if let Some(odd) = text.chars().find(|letter| separators.contains(*letter)) {
            self.report(key, format!("`{odd}` separates the parts: it cannot stand in one"));
        }
    }
}

/// The keys of a dialect.
pub(super) static KEYS: LazyLock<SchemaKeys> = LazyLock::new(|| SchemaKeys::from_schema(Dialect::schema()));
