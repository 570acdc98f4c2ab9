//! A wish's value as the dialect spells it, or why it cannot be spelled.

use std::collections::BTreeMap;

use super::alphabet::Alphabet;
use super::schema::{LetterCase, Parameter, ParameterFormat, SessionParameter};

/// How a place's values are spelled, with its texts read.
#[derive(Clone, Debug)]
pub(super) struct ValueEncoder {
    case: LetterCase,
    spaces: Option<String>,
    alphabet: Alphabet,
    names: BTreeMap<String, String>,
    max: usize,
}

impl ValueEncoder {
    /// Reads a part.
    ///
    /// # Errors
    /// What is wrong with its letters.
    pub(super) fn new(part: &ParameterFormat) -> Result<Self, String> {
        let letters: Alphabet = part.letters.as_deref().unwrap_or(DEFAULT_ALPHABET).parse()?;
        Ok(Self {
            case: part.case,
            spaces: part.spaces.clone(),
            // What spaces become is a letter of the value too.
            alphabet: letters.with(part.spaces.as_deref().unwrap_or_default()),
            names: part.names.clone(),
            max: part.max.unwrap_or(MAX_VALUE_LEN),
        })
    }

    /// The letters that a spelled value is made of.
    pub(super) const fn alphabet(&self) -> &Alphabet {
        &self.alphabet
    }

    /// The value as it is written.
    ///
    /// # Errors
    /// Why the dialect cannot say it.
    pub(super) fn encode(&self, wish: Parameter, value: &str) -> Result<String, String> {
        let shown = escape_for_message(value);
        let mut words = value.split_whitespace().collect::<Vec<_>>().join(" ");
        if words.is_empty() {
            return Err("it is empty".to_owned());
        }
        match wish {
            Parameter::Country => {
                let two = "write its two letters of ISO 3166, as in `us`";
                words = normalize_country(&words).ok_or_else(|| format!("`{shown}` is no country: {two}"))?;
            }
            Parameter::Asn => {
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
            None => self.apply_case(
                &self
                    .replace_spaces(&words)
                    .ok_or_else(|| format!("`{shown}` has a space, which the dialect cannot write"))?,
            ),
        };
        if let Some(odd) = self.alphabet.first_invalid(&spelled) {
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
    pub(super) fn apply_case(&self, text: &str) -> String {
        match self.case {
            LetterCase::Keep => text.to_owned(),
            LetterCase::Lower => text.to_ascii_lowercase(),
            LetterCase::Upper => text.to_ascii_uppercase(),
        }
    }

    fn replace_spaces(&self, words: &str) -> Option<String> {
        if !words.contains(' ') {
            return Some(words.to_owned());
        }
        Some(words.replace(' ', self.spaces.as_deref()?))
    }
}

/// The letters a session id is made of, and how many.
#[derive(Clone, Debug)]
pub(super) struct SessionIdFormat {
    pub(super) alphabet: Alphabet,
    pub(super) first_alphabet: Alphabet,
    pub(super) min: usize,
    pub(super) max: usize,
}

impl SessionIdFormat {
    /// Reads a session's table.
    ///
    /// # Errors
    /// What is wrong with its letters.
    pub(super) fn new(session: &SessionParameter) -> Result<Self, String> {
        let letters: Alphabet = session.letters.parse()?;
        let first = session.first.as_deref().map_or_else(|| Ok(letters.clone()), str::parse)?;
        Ok(Self { alphabet: letters, first_alphabet: first, min: session.min, max: session.max })
    }

    /// Why this is no id, if it is none.
    pub(super) fn find_error(&self, id: &str) -> Option<String> {
        let shown = escape_for_message(id);
        let length = id.chars().count();
        if length < self.min || length > self.max {
            let bounds = format_range(self.min, self.max);
            return Some(format!(
                "the session id `{shown}` has {length} letters; the dialect takes {bounds}"
            ));
        }
        if let Some(odd) = self.alphabet.first_invalid(id) {
            return Some(format!(
                "the session id `{shown}` has a `{}`; the dialect takes {}",
                odd.escape_debug(),
                format_alphabet(&self.alphabet)
            ));
        }
        let begins = id.chars().next().filter(|letter| !self.first_alphabet.contains(*letter))?;
        Some(format!(
            "the session id `{shown}` begins with a `{begins}`; the dialect lets it begin with {}",
            format_alphabet(&self.first_alphabet)
        ))
    }
}

/// `uk` is what many say; the two letters are `gb`.
fn normalize_country(words: &str) -> Option<String> {
    let code = words.to_ascii_lowercase();
    let two = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_lowercase());
    two.then(|| if code == "uk" { "gb".to_owned() } else { code })
}

fn format_range(min: usize, max: usize) -> String {
    if min == max { format!("exactly {min}") } else { format!("{min} to {max}") }
}

/// A set of letters in a message, ranges as ranges.
fn format_alphabet(letters: &Alphabet) -> String {
    let all: Vec<char> = letters.letters().collect();
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
fn escape_for_message(value: &str) -> String {
    let mut text: String = value.chars().take(MAX_VALUE_LEN).flat_map(char::escape_debug).collect();
    if value.chars().count() > MAX_VALUE_LEN {
        text.push('…');
    }
    text
}

const DEFAULT_ALPHABET: &str = "A-Za-z0-9";
/// The most letters of a value where the dialect says nothing.
const MAX_VALUE_LEN: usize = 64;
