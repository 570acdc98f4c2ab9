//! Reports the mistakes in the tables of one parameter.

use super::Linter;
use crate::proxy::dialect::alphabet::Alphabet;
use crate::proxy::dialect::encode::{SessionIdFormat, ValueEncoder};
use crate::proxy::dialect::entropy_bits;
use crate::proxy::dialect::prefix::Prefix;
use crate::proxy::dialect::schema::{Parameter, ParameterFormat, SessionParameter, TtlParameter};

impl Linter<'_> {
    pub(super) fn check_parameter(&mut self, parameter: Parameter, part: &ParameterFormat) {
        let table = parameter.name();
        let spaces = part.spaces.as_deref().unwrap_or_default();
        self.check_word(table, &part.word);
        self.check_text(&[table, "spaces"], spaces);
        self.check_text(&[table, "link"], part.link.as_deref().unwrap_or_default());
        self.check_text(&[table, "unasked"], part.unasked.as_deref().unwrap_or_default());
        self.check_prefix(parameter, part);
        self.check_separators(&[table, "spaces"], spaces);
        self.check_separators(&[table, "unasked"], part.unasked.as_deref().unwrap_or_default());
        match part.letters.as_deref().map(str::parse::<Alphabet>) {
            Some(Err(message)) => self.report(&[table, "letters"], message),
            Some(Ok(letters)) => self.check_alphabet(&[table, "letters"], &letters),
            None => {}
        }
        if part.max == Some(0) {
            self.report(&[table, "max"], "it must be at least 1");
        }
        self.check_names(part, table);
        self.check_combinations(parameter, part);
    }

    /// Checks that the names consist of characters that the dialect can write.
    fn check_names(&mut self, part: &ParameterFormat, table: &str) {
        let Ok(encoder) = ValueEncoder::new(part) else { return };
        for (ours, theirs) in &part.names {
            if ours.is_empty() || *ours != ours.trim().to_lowercase() {
                let shown = ours.escape_debug();
                self.report(
                    &[table, "names", ours],
                    format!("`{shown}` is not in lower case, so it never matches"),
                );
            }
            let invalid = encoder.alphabet().first_invalid(theirs);
            if theirs.is_empty() || invalid.is_some() || part.max.is_some_and(|max| theirs.len() > max) {
                let shown = theirs.escape_debug();
                self.report(
                    &[table, "names", ours],
                    format!("`{shown}` does not fit `letters` or `max` of this part"),
                );
            }
        }
    }

    fn check_prefix(&mut self, parameter: Parameter, part: &ParameterFormat) {
        let key = [parameter.name(), "prefix"];
        let prefix: Prefix = match part.prefix.parse() {
            Ok(prefix) => prefix,
            Err(message) => return self.report(&key, message),
        };
        self.check_text(&key, &prefix.literal_text());
        self.check_separators(&key, &prefix.literal_text());
        for (named, _) in prefix.parameters() {
            if named == parameter || !self.file.supports(named) {
                self.report(&key, format!("`{{{named}}}` has no value: there is no other part `[{named}]`"));
            }
        }
    }

    fn check_combinations(&mut self, parameter: Parameter, part: &ParameterFormat) {
        let table = parameter.name();
        for (key, others) in
            [("needs", &part.needs), ("not_with", &part.not_with), ("replaces", &part.replaces)]
        {
            for other in others {
                if *other == parameter {
                    self.report(&[table, key], "it lists the part itself");
                } else if !self.file.supports(*other) {
                    self.report(&[table, key], format!("there is no table `[{other}]`"));
                }
            }
        }
        for both in part.needs.iter().filter(|needed| part.not_with.contains(needed)) {
            self.report(
                &[table, "not_with"],
                format!("`{both}` is in `needs` too, so this part could never be requested"),
            );
        }
        if part.replaces.iter().any(|other| matches!(other, Parameter::Session | Parameter::Ttl)) {
            self.report(&[table, "replaces"], "a location cannot replace `session` or `ttl`");
        }
        for code in &part.countries {
            if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_lowercase()) {
                let shown = code.escape_debug();
                self.report(
                    &[table, "countries"],
                    format!("`{shown}` is not a country code of two lower-case letters"),
                );
            }
        }
        if !part.countries.is_empty() && (parameter == Parameter::Country || self.file.country.is_none()) {
            self.report(&[table, "countries"], "it needs another part `[country]`");
        }
    }

    pub(super) fn check_session(&mut self, session: &SessionParameter) {
        self.check_word("session", &session.word);
        self.check_text(&["session", "link"], session.link.as_deref().unwrap_or_default());
        let unasked = session.unasked.as_deref().unwrap_or_default();
        self.check_text(&["session", "unasked"], unasked);
        self.check_separators(&["session", "unasked"], unasked);
        let before = self.findings.len();
        for (key, letters) in [("letters", Some(&session.letters)), ("first", session.first.as_ref())] {
            match letters.map(|letters| letters.parse::<Alphabet>()) {
                Some(Err(message)) => self.report(&["session", key], message),
                Some(Ok(letters)) => self.check_alphabet(&["session", key], &letters),
                None => {}
            }
        }
        for needed in &session.needs {
            if matches!(needed, Parameter::Session | Parameter::Ttl) || !self.file.supports(*needed) {
                self.report(&["session", "needs"], format!("`{needed}` is not a location with a table"));
            }
        }
        if session.min == 0 || session.max > MAX_ID_LEN {
            self.report(&["session", if session.min == 0 { "min" } else { "max" }], ID_BOUNDS);
        }
        if session.min > session.max {
            self.report(&["session", "min"], format!("it is greater than `max` ({})", session.max));
        }
        if self.findings.len() > before {
            return;
        }
        let Ok(ids) = SessionIdFormat::new(session) else { return };
        if let Some(invalid) = ids.alphabet.first_invalid(&ids.first_alphabet.letters().collect::<String>()) {
            self.report(&["session", "first"], format!("`{}` is not in `letters`", invalid.escape_debug()));
        }
        if entropy_bits(&ids, ids.max) < MIN_ID_BITS {
            self.report(&["session", "max"], "too few ids are possible: two sessions would get the same one");
        }
    }

    pub(super) fn check_ttl(&mut self, ttl: &TtlParameter) {
        self.check_word("ttl", &ttl.word);
        self.check_text(&["ttl", "link"], ttl.link.as_deref().unwrap_or_default());
        if self.file.session.is_none() {
            self.report(&["ttl"], "it needs a table `[session]`");
        }
        if ttl.min > ttl.max {
            self.report(&["ttl", "min"], format!("it is greater than `max` ({})", ttl.max));
        }
        for (key, span) in [("min", Some(ttl.min)), ("max", Some(ttl.max)), ("default", ttl.default)] {
            let Some(span) = span else { continue };
            if span.0.subsec_nanos() != 0 || !span.0.as_secs().is_multiple_of(ttl.unit.granularity()) {
                self.report(&["ttl", key], format!("{span} is not a whole number of {}", ttl.unit.name()));
            }
            if span.0.is_zero() {
                self.report(&["ttl", key], "it must be longer than 0s");
            }
        }
        if ttl.min <= ttl.max && ttl.default.is_some_and(|span| span < ttl.min || span > ttl.max) {
            self.report(
                &["ttl", "default"],
                format!("it is not between `min` ({}) and `max` ({})", ttl.min, ttl.max),
            );
        }
    }

    fn check_word(&mut self, table: &str, word: &str) {
        self.check_text(&[table, "word"], word);
        self.check_separators(&[table, "word"], word);
    }
}

/// The minimum number of random bits in a session id.
const MIN_ID_BITS: f64 = 16.0;
const MAX_ID_LEN: usize = 64;
const ID_BOUNDS: &str = "an id has 1 to 64 characters";
