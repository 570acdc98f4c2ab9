//! What is wrong with one part of a dialect.

use super::Linter;
use crate::proxy::dialect::bits;
use crate::proxy::dialect::letters::Letters;
use crate::proxy::dialect::prefix::Prefix;
use crate::proxy::dialect::spell::{Ids, Speller};
use crate::proxy::dialect::written::{Part, Session, Ttl, Wish};

impl Linter<'_> {
    pub(super) fn part(&mut self, wish: Wish, part: &Part) {
        let table = wish.name();
        let spaces = part.spaces.as_deref().unwrap_or_default();
        self.word(table, &part.word);
        self.text(&[table, "spaces"], spaces);
        self.text(&[table, "link"], part.link.as_deref().unwrap_or_default());
        self.text(&[table, "unasked"], part.unasked.as_deref().unwrap_or_default());
        self.prefix(wish, part);
        self.free_of_separators(&[table, "spaces"], spaces);
        self.free_of_separators(&[table, "unasked"], part.unasked.as_deref().unwrap_or_default());
        match part.letters.as_deref().map(str::parse::<Letters>) {
            Some(Err(why)) => self.fault(&[table, "letters"], why),
            Some(Ok(letters)) => self.letters_free(&[table, "letters"], &letters),
            None => {}
        }
        if part.max == Some(0) {
            self.fault(&[table, "max"], "no value is that short");
        }
        self.names(part, table);
        self.company(wish, part);
    }

    /// What the provider calls otherwise is spelled as the dialect spells.
    fn names(&mut self, part: &Part, table: &str) {
        let Ok(speller) = Speller::of(part) else { return };
        for (ours, theirs) in &part.names {
            if ours.is_empty() || *ours != ours.trim().to_lowercase() {
                let shown = ours.escape_debug();
                self.fault(
                    &[table, "names", ours],
                    format!("`{shown}` is not in lower case, and so never found"),
                );
            }
            let odd = speller.letters().stranger(theirs);
            if theirs.is_empty() || odd.is_some() || part.max.is_some_and(|max| theirs.len() > max) {
                let shown = theirs.escape_debug();
                self.fault(
                    &[table, "names", ours],
                    format!("`{shown}` is not of the part's letters or length"),
                );
            }
        }
    }

    fn prefix(&mut self, wish: Wish, part: &Part) {
        let key = [wish.name(), "prefix"];
        let prefix: Prefix = match part.prefix.parse() {
            Ok(prefix) => prefix,
            Err(why) => return self.fault(&key, why),
        };
        self.text(&key, &prefix.text());
        self.free_of_separators(&key, &prefix.text());
        for (named, _) in prefix.wishes() {
            if named == wish || !self.written.knows(named) {
                self.fault(
                    &key,
                    format!("`{{{named}}}` stands for nothing: there is no other part `[{named}]`"),
                );
            }
        }
    }

    fn company(&mut self, wish: Wish, part: &Part) {
        let table = wish.name();
        for (key, others) in
            [("needs", &part.needs), ("not_with", &part.not_with), ("replaces", &part.replaces)]
        {
            for other in others {
                if *other == wish {
                    self.fault(&[table, key], "it names itself");
                } else if !self.written.knows(*other) {
                    self.fault(&[table, key], format!("there is no table `[{other}]`"));
                }
            }
        }
        for both in part.needs.iter().filter(|needed| part.not_with.contains(needed)) {
            self.fault(
                &[table, "not_with"],
                format!("`{both}` is in `needs` too: it could never be asked for"),
            );
        }
        if part.replaces.iter().any(|other| matches!(other, Wish::Session | Wish::Ttl)) {
            self.fault(&[table, "replaces"], "a place cannot say a session");
        }
        for code in &part.countries {
            if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_lowercase()) {
                let shown = code.escape_debug();
                self.fault(&[table, "countries"], format!("`{shown}` is not two letters in lower case"));
            }
        }
        if !part.countries.is_empty() && (wish == Wish::Country || self.written.country.is_none()) {
            self.fault(&[table, "countries"], "there is no other part `[country]` to ask");
        }
    }

    pub(super) fn session(&mut self, session: &Session) {
        self.word("session", &session.word);
        self.text(&["session", "link"], session.link.as_deref().unwrap_or_default());
        let unasked = session.unasked.as_deref().unwrap_or_default();
        self.text(&["session", "unasked"], unasked);
        self.free_of_separators(&["session", "unasked"], unasked);
        let before = self.faults.len();
        for (key, letters) in [("letters", Some(&session.letters)), ("first", session.first.as_ref())] {
            match letters.map(|letters| letters.parse::<Letters>()) {
                Some(Err(why)) => self.fault(&["session", key], why),
                Some(Ok(letters)) => self.letters_free(&["session", key], &letters),
                None => {}
            }
        }
        for needed in &session.needs {
            if matches!(needed, Wish::Session | Wish::Ttl) || !self.written.knows(*needed) {
                self.fault(&["session", "needs"], format!("`{needed}` is no place there is"));
            }
        }
        if session.min == 0 || session.max > LONGEST_ID {
            self.fault(&["session", if session.min == 0 { "min" } else { "max" }], ID_BOUNDS);
        }
        if session.min > session.max {
            self.fault(&["session", "min"], format!("it is more than `max`, {}", session.max));
        }
        if self.faults.len() > before {
            return;
        }
        let Ok(ids) = Ids::of(session) else { return };
        if let Some(odd) = ids.letters.stranger(&ids.first.all().collect::<String>()) {
            self.fault(&["session", "first"], format!("`{}` is not in `letters`", odd.escape_debug()));
        }
        if bits(&ids, ids.max) < FEWEST_BITS {
            self.fault(&["session", "max"], "so few ids are possible that sessions would meet");
        }
    }

    pub(super) fn ttl(&mut self, ttl: &Ttl) {
        self.word("ttl", &ttl.word);
        self.text(&["ttl", "link"], ttl.link.as_deref().unwrap_or_default());
        if self.written.session.is_none() {
            self.fault(&["ttl"], "there is no `[session]` whose length it would be");
        }
        if ttl.min > ttl.max {
            self.fault(&["ttl", "min"], format!("it is more than `max`, {}", ttl.max));
        }
        for (key, span) in [("min", Some(ttl.min)), ("max", Some(ttl.max)), ("default", ttl.default)] {
            let Some(span) = span else { continue };
            if span.0.subsec_nanos() != 0 || !span.0.as_secs().is_multiple_of(ttl.unit.grain()) {
                self.fault(&["ttl", key], format!("{span} is not a whole number of {}", ttl.unit.name()));
            }
            if span.0.is_zero() {
                self.fault(&["ttl", key], "no session lasts no time");
            }
        }
        if ttl.min <= ttl.max && ttl.default.is_some_and(|span| span < ttl.min || span > ttl.max) {
            self.fault(&["ttl", "default"], format!("it is not from {} to {}", ttl.min, ttl.max));
        }
    }

    fn word(&mut self, table: &str, word: &str) {
        self.text(&[table, "word"], word);
        self.free_of_separators(&[table, "word"], word);
    }
}

/// Fewer ids than these bits make are soon used up.
const FEWEST_BITS: f64 = 16.0;
const LONGEST_ID: usize = 64;
const ID_BOUNDS: &str = "an id has from 1 to 64 letters";
