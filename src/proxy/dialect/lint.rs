//! What is wrong with a dialect's file: unknown keys, wrong values, and what contradicts itself.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::letters::Letters;
use super::prefix::Prefix;
use super::spell::{Ids, Speller};
use super::written::{Part, SCHEMA, Session, Ttl, Wish, Written};
use super::{Dialect, bits};
use crate::proxy::Proxy;
use crate::toml_error;
use crate::toml_keys::{self, Keys};

/// Everything that is wrong with `text`, each in one line.
pub(super) fn faults(text: &str, origin: &str) -> Vec<String> {
    let unknown: Vec<String> = KEYS
        .unknown(text)
        .into_iter()
        .map(|unknown| {
            let (line, column) = toml_error::place(text, unknown.at);
            let nearest = unknown.nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
            format!("{origin}:{line}:{column}: unknown key `{}`{nearest}", unknown.key.escape_debug())
        })
        .collect();
    if !unknown.is_empty() {
        return unknown;
    }
    let written = match toml::from_str::<Written>(text) {
        Ok(written) => written,
        Err(cause) => return vec![toml_error::describe(text, origin, &cause)],
    };
    let mut linter = Linter::default();
    linter.head(&written);
    linter.credentials(&written);
    for wish in Wish::ALL {
        if let Some(part) = written.part(wish) {
            linter.part(&written, wish, part);
        }
    }
    if let Some(session) = &written.session {
        linter.session(&written, session);
    }
    if let Some(ttl) = &written.ttl {
        linter.ttl(&written, ttl);
    }
    linter.provenance(&written);
    linter.words(&written);
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
        let said = format!("`{key}`: {}", self.message);
        match toml_keys::place_of(text, &self.key) {
            Some(at) => {
                let (line, column) = toml_error::place(text, at);
                format!("{origin}:{line}:{column}: {said}")
            }
            None => format!("{origin}: {said}"),
        }
    }
}

#[derive(Default)]
struct Linter {
    faults: Vec<Fault>,
}

impl Linter {
    fn fault(&mut self, key: &[&str], message: impl Into<String>) {
        let key = key.iter().map(ToString::to_string).collect();
        self.faults.push(Fault { key, message: message.into() });
    }

    fn head(&mut self, written: &Written) {
        if written.schema != SCHEMA {
            self.fault(
                &["schema"],
                format!("{} is not one this build reads; it reads {SCHEMA}", written.schema),
            );
        }
        for (key, name) in std::iter::once(("name", &written.name))
            .chain(written.aliases.iter().map(|alias| ("aliases", alias)))
        {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || !name.bytes().all(fits) {
                let shown = name.escape_debug();
                self.fault(&[key], format!("`{shown}` is not a name of a-z, 0-9 and `-`"));
            }
        }
        let Some(gateway) = &written.gateway else { return };
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
        if gateway.sticky_port.is_some() && written.session.is_none() {
            self.fault(&["gateway", "sticky_port"], "there is no `[session]` that would use it");
        }
    }

    fn credentials(&mut self, written: &Written) {
        let credentials = &written.credentials;
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
            if !written.knows(*wish) {
                self.fault(&["credentials", "order"], format!("`{wish}` has no table `[{wish}]`"));
            }
        }
        for wish in Wish::ALL {
            if written.knows(wish) && !seen.contains(&wish) {
                let message = format!("it is missing in `credentials.order`, so it would never be written");
                self.fault(&[wish.name()], message);
            }
        }
        let has_parts = Wish::ALL.into_iter().any(|wish| written.knows(wish));
        if has_parts && (credentials.separator.is_empty() || written.first_separator().is_empty()) {
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

    fn part(&mut self, written: &Written, wish: Wish, part: &Part) {
        let table = wish.name();
        let spaces = part.spaces.as_deref().unwrap_or_default();
        self.text(&[table, "word"], &part.word);
        self.text(&[table, "spaces"], spaces);
        self.text(&[table, "link"], part.link.as_deref().unwrap_or_default());
        self.text(&[table, "unasked"], part.unasked.as_deref().unwrap_or_default());
        self.prefix(written, wish, part);
        self.free_of_separators(written, &[table, "spaces"], spaces);
        self.free_of_separators(written, &[table, "unasked"], part.unasked.as_deref().unwrap_or_default());
        match part.letters.as_deref().map(str::parse::<Letters>) {
            Some(Err(why)) => self.fault(&[table, "letters"], why),
            Some(Ok(letters)) => self.letters_free(written, &[table, "letters"], &letters),
            None => {}
        }
        if part.max == Some(0) {
            self.fault(&[table, "max"], "no value is that short");
        }
        self.names(part, table);
        self.company(written, wish, part);
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

    fn prefix(&mut self, written: &Written, wish: Wish, part: &Part) {
        let key = [wish.name(), "prefix"];
        let prefix: Prefix = match part.prefix.parse() {
            Ok(prefix) => prefix,
            Err(why) => return self.fault(&key, format!("{why}")),
        };
        self.text(&key, &prefix.text());
        self.free_of_separators(written, &key, &prefix.text());
        for (named, _) in prefix.wishes() {
            if named == wish || !written.knows(named) {
                self.fault(
                    &key,
                    format!("`{{{named}}}` stands for nothing: there is no other part `[{named}]`"),
                );
            }
        }
    }

    fn company(&mut self, written: &Written, wish: Wish, part: &Part) {
        let table = wish.name();
        for (key, others) in
            [("needs", &part.needs), ("not_with", &part.not_with), ("replaces", &part.replaces)]
        {
            for other in others {
                if *other == wish {
                    self.fault(&[table, key], "it names itself");
                } else if !written.knows(*other) {
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
        if !part.countries.is_empty() && (wish == Wish::Country || written.country.is_none()) {
            self.fault(&[table, "countries"], "there is no other part `[country]` to ask");
        }
    }

    fn session(&mut self, written: &Written, session: &Session) {
        self.text(&["session", "word"], &session.word);
        self.text(&["session", "link"], session.link.as_deref().unwrap_or_default());
        let unasked = session.unasked.as_deref().unwrap_or_default();
        self.text(&["session", "unasked"], unasked);
        self.free_of_separators(written, &["session", "unasked"], unasked);
        let before = self.faults.len();
        for (key, letters) in [("letters", Some(&session.letters)), ("first", session.first.as_ref())] {
            match letters.map(|letters| letters.parse::<Letters>()) {
                Some(Err(why)) => self.fault(&["session", key], why),
                Some(Ok(letters)) => self.letters_free(written, &["session", key], &letters),
                None => {}
            }
        }
        for needed in &session.needs {
            if matches!(needed, Wish::Session | Wish::Ttl) || !written.knows(*needed) {
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

    fn ttl(&mut self, written: &Written, ttl: &Ttl) {
        self.text(&["ttl", "word"], &ttl.word);
        self.text(&["ttl", "link"], ttl.link.as_deref().unwrap_or_default());
        if written.session.is_none() {
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

    fn provenance(&mut self, written: &Written) {
        let provenance = &written.provenance;
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
    fn words(&mut self, written: &Written) {
        let order = &written.credentials.order;
        for wish in order {
            self.free_of_separators(
                written,
                &[wish.name(), "word"],
                &written
                    .lead(*wish)
                    .trim_end_matches(|letter| written.credentials.link.contains(letter))
                    .to_owned(),
            );
        }
        for (at, first) in order.iter().enumerate() {
            for second in &order[at + 1..] {
                if written.lead(*first) != written.lead(*second) || first == second {
                    continue;
                }
                let either = [(first, second), (second, first)];
                let is_either = either.iter().any(|(one, other)| {
                    written.part(**one).is_some_and(|part| part.replaces.contains(other))
                });
                if !is_either && !self.are_apart(written, *first, *second) {
                    let message = format!("it begins as `{first}` does, so that none can tell them apart");
                    self.fault(&[second.name()], message);
                }
            }
        }
    }

    /// Whether the letters of two parts tell them apart.
    fn are_apart(&self, written: &Written, first: Wish, second: Wish) -> bool {
        let letters = |wish: Wish| match wish {
            Wish::Session => {
                written.session.as_ref().and_then(|session| Ids::of(session).ok()).map(|ids| ids.letters)
            }
            Wish::Country => "A-Za-z".parse().ok(),
            _ => written
                .part(wish)
                .and_then(|part| Speller::of(part).ok())
                .map(|speller| speller.letters().clone()),
        };
        match (letters(first), letters(second)) {
            (Some(first), Some(second)) => first.all().all(|letter| !second.has(letter)),
            _ => false,
        }
    }

    fn letters_free(&mut self, written: &Written, key: &[&str], letters: &Letters) {
        self.free_of_separators(written, key, &letters.all().collect::<String>());
    }

    /// No value may look like the beginning of the next part.
    fn free_of_separators(&mut self, written: &Written, key: &[&str], text: &str) {
        let separators = &written.credentials.separator;
        if let Some(odd) = text.chars().find(|letter| separators.contains(*letter)) {
            self.fault(key, format!("`{odd}` separates the parts: it cannot stand in one"));
        }
    }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    matches!(parts.as_slice(), [year, rest @ ..]
        if digits(year, 4) && (1..=2).contains(&rest.len()) && rest.iter().all(|part| digits(part, 2)))
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::of(Dialect::schema()));

/// Fewer ids than these bits make are soon used up.
const FEWEST_BITS: f64 = 16.0;
const LONGEST_ID: usize = 64;
const ID_BOUNDS: &str = "an id has from 1 to 64 letters";
