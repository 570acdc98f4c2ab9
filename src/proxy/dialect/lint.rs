//! What is wrong with a dialect's file: unknown keys, wrong values, and what contradicts itself.

mod parts;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::Dialect;
use super::letters::Letters;
use super::spell::{Ids, Speller};
use super::written::{SCHEMA, Wish, Written};
use crate::provenance::is_date;
use crate::proxy::Proxy;
use crate::toml_error;
use crate::toml_keys::{self, Keys};

/// Everything that is wrong with `text`, each in one line.
pub(super) fn faults(text: &str, origin: &str) -> Vec<String> {
    let unknown = KEYS.unknown_told(text, origin);
    if !unknown.is_empty() {
        return unknown;
    }
    let written = match toml::from_str::<Written>(text) {
        Ok(written) => written,
        Err(cause) => return vec![toml_error::describe(text, origin, &cause)],
    };
    let mut linter = Linter { written: &written, faults: Vec::new() };
    linter.head();
    linter.credentials();
    for wish in Wish::ALL {
        if let Some(part) = written.part(wish) {
            linter.part(wish, part);
        }
    }
    if let Some(session) = &written.session {
        linter.session(session);
    }
    if let Some(ttl) = &written.ttl {
        linter.ttl(ttl);
    }
    linter.provenance();
    linter.words();
    linter.faults.iter().map(|fault| fault.placed(text, origin)).collect()
}

/// What is wrong, and under which key.
struct Fault {
    key: Vec<String>,
    message: String,
}

impl Fault {
    fn placed(&self, text: &str, origin: &str) -> String {
        let key = self.key.join(".");
        toml_keys::told(text, origin, &self.key, &format!("`{key}`: {}", self.message))
    }
}

struct Linter<'a> {
    written: &'a Written,
    faults: Vec<Fault>,
}

impl Linter<'_> {
    fn fault(&mut self, key: &[&str], message: impl Into<String>) {
        let key = key.iter().map(ToString::to_string).collect();
        self.faults.push(Fault { key, message: message.into() });
    }

    fn head(&mut self) {
        if self.written.schema != SCHEMA {
            self.fault(
                &["schema"],
                format!("{} is not one this build reads; it reads {SCHEMA}", self.written.schema),
            );
        }
        for (key, name) in std::iter::once(("name", &self.written.name))
            .chain(self.written.aliases.iter().map(|alias| ("aliases", alias)))
        {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || !name.bytes().all(fits) {
                let shown = name.escape_debug();
                self.fault(&[key], format!("`{shown}` is not a name of a-z, 0-9 and `-`"));
            }
        }
        let Some(gateway) = &self.written.gateway else { return };
        let url = format!("http://{}:{}", gateway.host, gateway.port);
        let plain =
            gateway.host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte));
        if !plain || url.parse::<Proxy>().is_err() {
            let shown = gateway.host.escape_debug();
            self.fault(&["gateway", "host"], format!("`{shown}` is not the name or address of a host"));
        }
        for (key, port) in [("port", Some(gateway.port)), ("sticky_port", gateway.sticky_port)] {
            if port == Some(0) {
                self.fault(&["gateway", key], "no gateway listens at port 0");
            }
        }
        if gateway.sticky_port.is_some() && self.written.session.is_none() {
            self.fault(&["gateway", "sticky_port"], "there is no `[session]` that would use it");
        }
    }

    fn credentials(&mut self) {
        let credentials = &self.written.credentials;
        for (key, text) in [
            ("prefix", &credentials.prefix),
            ("contains", &credentials.contains),
            ("first_separator", credentials.first_separator.as_ref().unwrap_or(&credentials.separator)),
            ("separator", &credentials.separator),
            ("link", &credentials.link),
        ] {
            self.text(&["credentials", key], text);
        }
        let mut seen = BTreeSet::new();
        for wish in &credentials.order {
            if !seen.insert(*wish) {
                self.fault(&["credentials", "order"], format!("`{wish}` is there twice"));
            }
            if !self.written.knows(*wish) {
                self.fault(&["credentials", "order"], format!("`{wish}` has no table `[{wish}]`"));
            }
        }
        for wish in Wish::ALL {
            if self.written.knows(wish) && !seen.contains(&wish) {
                self.fault(
                    &[wish.name()],
                    "it is missing in `credentials.order`, so it would never be written",
                );
            }
        }
        let has_parts = Wish::ALL.into_iter().any(|wish| self.written.knows(wish));
        if has_parts && (credentials.separator.is_empty() || self.written.first_separator().is_empty()) {
            self.fault(&["credentials"], "without a separator no part can be told from the next");
        }
    }

    /// What goes on the wire as it is.
    fn text(&mut self, key: &[&str], text: &str) {
        if let Some(odd) = text.chars().find(|letter| !letter.is_ascii_graphic() || *letter == ':') {
            let odd = odd.escape_debug();
            self.fault(key, format!("`{odd}` cannot stand in a user name: use printable ASCII without `:`"));
        }
    }

    fn provenance(&mut self) {
        let provenance = &self.written.provenance;
        if provenance.source.trim().is_empty() {
            self.fault(&["provenance", "source"], "it says where the dialect is known from");
        }
        if !is_date(&provenance.seen) {
            self.fault(&["provenance", "seen"], "it is `YYYY-MM` or `YYYY-MM-DD`");
        }
        for key in &provenance.third_party {
            if key != "*" && !KEYS.every().contains(key) {
                let shown = key.escape_debug();
                self.fault(&["provenance", "third_party"], format!("there is no key `{shown}`"));
            }
        }
    }

    /// What each part begins with tells it from the others.
    fn words(&mut self) {
        let order = &self.written.credentials.order;
        for (at, first) in order.iter().enumerate() {
            for second in &order[at + 1..] {
                let alike = first != second && self.written.lead(*first) == self.written.lead(*second);
                if alike && !self.is_either(*first, *second) && !self.are_apart(*first, *second) {
                    let message = format!("it begins as `{first}` does, so that none can tell them apart");
                    self.fault(&[second.name()], message);
                }
            }
        }
    }

    /// Whether one of the two takes the other's place.
    fn is_either(&self, first: Wish, second: Wish) -> bool {
        [(first, second), (second, first)]
            .into_iter()
            .any(|(one, other)| self.written.part(one).is_some_and(|part| part.replaces.contains(&other)))
    }

    /// Whether the letters of two parts tell them apart.
    fn are_apart(&self, first: Wish, second: Wish) -> bool {
        let letters = |wish: Wish| match wish {
            Wish::Session => {
                self.written.session.as_ref().and_then(|session| Ids::of(session).ok()).map(|ids| ids.letters)
            }
            Wish::Country => "A-Za-z".parse().ok(),
            _ => {
                let part = self.written.part(wish)?;
                Speller::of(part).ok().map(|speller| speller.letters().clone())
            }
        };
        match (letters(first), letters(second)) {
            (Some(first), Some(second)) => first.all().all(|letter| !second.has(letter)),
            _ => false,
        }
    }

    fn letters_free(&mut self, key: &[&str], letters: &Letters) {
        self.free_of_separators(key, &letters.all().collect::<String>());
    }

    /// No value may look like the beginning of the next part.
    fn free_of_separators(&mut self, key: &[&str], text: &str) {
        let separators = &self.written.credentials.separator;
        if let Some(odd) = text.chars().find(|letter| separators.contains(*letter)) {
            self.fault(key, format!("`{odd}` separates the parts: it cannot stand in one"));
        }
    }
}

/// The keys of a dialect.
pub(super) static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::of(Dialect::schema()));
