//! A wish's value as the dialect spells it, or why it cannot be spelled.

use std::collections::BTreeMap;

use super::letters::Letters;
use super::written::{Case, Part, Session, Wish};

/// How a place's values are spelled, with its texts read.
#[derive(Clone, Debug)]
pub(super) struct Speller {
    case: Case,
    spaces: Option<String>,
    letters: Letters,
    names: BTreeMap<String, String>,
    max: usize,
}

impl Speller {
    /// Reads a part.
    ///
    /// # Errors
    /// What is wrong with its letters.
    pub(super) fn of(part: &Part) -> Result<Self, String> {
        let letters: Letters = part.letters.as_deref().unwrap_or(LETTERS).parse()?;
        Ok(Self {
            case: part.case,
            spaces: part.spaces.clone(),
            // What spaces become is a letter of the value too.
            letters: letters.and(part.spaces.as_deref().unwrap_or_default()),
            names: part.names.clone(),
            max: part.max.unwrap_or(MAX),
        })
    }

    /// The letters that a spelled value is made of.
    pub(super) const fn letters(&self) -> &Letters {
        &self.letters
    }

    /// The value as it is written.
    ///
    /// # Errors
    /// Why the dialect cannot say it.
    pub(super) fn spell(&self, wish: Wish, value: &str) -> Result<String, String> {
        let shown = shown(value);
        let mut words = value.split_whitespace().collect::<Vec<_>>().join(" ");
        if words.is_empty() {
            return Err("it is empty".to_owned());
        }
        match wish {
            Wish::Country => {
                let two = "write its two letters of ISO 3166, as in `us`";
                words = country(&words).ok_or_else(|| format!("`{shown}` is no country: {two}"))?;
            }
            Wish::Asn => {
                let bare = words.get(..2).filter(|front| front.eq_ignore_ascii_case("as"));
                words = words[bare.map_or(0, str::len)..].to_owned();
                if words.is_empty() || !words.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(format!("`{shown}` is no number of a network, as in `7018`"));
                }
            }
            _ => {}
        }
        let spelled = match self.names.get(&words.to_lowercase()) {
            Some(name) => name.clone(),
            None => self.cased(
                &self
                    .spaced(&words)
                    .ok_or_else(|| format!("`{shown}` has a space, which the dialect cannot write"))?,
            ),
        };
        if let Some(odd) = self.letters.stranger(&spelled) {
            let odd = odd.escape_debug();
            return Err(format!(
                "`{shown}` has a `{odd}`, which the dialect cannot write: use the spelling of the provider's list"
            ));
        }
        if spelled.len() > self.max {
            return Err(format!("`{shown}` has more than {} letters", self.max));
        }
        Ok(spelled)
    }

    /// The value in the part's case.
    pub(super) fn cased(&self, text: &str) -> String {
        match self.case {
            Case::Keep => text.to_owned(),
            Case::Lower => text.to_ascii_lowercase(),
            Case::Upper => text.to_ascii_uppercase(),
        }
    }

    fn spaced(&self, words: &str) -> Option<String> {
        if !words.contains(' ') {
            return Some(words.to_owned());
        }
        Some(words.replace(' ', self.spaces.as_deref()?))
    }
}

/// The letters a session id is made of, and how many.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) letters: Letters,
    pub(super) first: Letters,
    pub(super) min: usize,
    pub(super) max: usize,
}

impl Ids {
    /// Reads a session's table.
    ///
    /// # Errors
    /// What is wrong with its letters.
    pub(super) fn of(session: &Session) -> Result<Self, String> {
        let letters: Letters = session.letters.parse()?;
        let first = session.first.as_deref().map_or_else(|| Ok(letters.clone()), str::parse)?;
        Ok(Self { letters, first, min: session.min, max: session.max })
    }

    /// Why this is no id, if it is none.
    pub(super) fn fault(&self, id: &str) -> Option<String> {
        let shown = shown(id);
        let length = id.chars().count();
        if length < self.min || length > self.max {
            let bounds = bounds(self.min, self.max);
            return Some(format!(
                "the session id `{shown}` has {length} letters; the dialect takes {bounds}"
            ));
        }
        if let Some(odd) = self.letters.stranger(id) {
            return Some(format!(
                "the session id `{shown}` has a `{}`; the dialect takes {}",
                odd.escape_debug(),
                told(&self.letters)
            ));
        }
        let begins = id.chars().next().filter(|letter| !self.first.has(*letter))?;
        Some(format!(
            "the session id `{shown}` begins with a `{begins}`; the dialect lets it begin with {}",
            told(&self.first)
        ))
    }
}

/// `uk` is what many say; the two letters are `gb`.
fn country(words: &str) -> Option<String> {
    let code = words.to_ascii_lowercase();
    let two = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_lowercase());
    two.then(|| if code == "uk" { "gb".to_owned() } else { code })
}

fn bounds(min: usize, max: usize) -> String {
    if min == max { format!("exactly {min}") } else { format!("{min} to {max}") }
}

/// A set of letters in a message, ranges as ranges.
fn told(letters: &Letters) -> String {
    let all: Vec<char> = letters.all().collect();
    let mut runs: Vec<(char, char)> = Vec::new();
    for letter in all {
        match runs.last_mut() {
            Some((_, last)) if u32::from(*last) + 1 == u32::from(letter) => *last = letter,
            _ => runs.push((letter, letter)),
        }
    }
    let run = |(first, last): (char, char)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(" ")
}

/// A value in a message: escaped, and not longer than a line.
fn shown(value: &str) -> String {
    let mut text: String = value.chars().take(MAX).flat_map(char::escape_debug).collect();
    if value.chars().count() > MAX {
        text.push('…');
    }
    text
}

const LETTERS: &str = "A-Za-z0-9";
/// The most letters of a value where the dialect says nothing.
const MAX: usize = 64;
