//! Encodes the value of a parameter as the dialect writes it, or reports why it cannot.

use std::collections::BTreeMap;

use super::alphabet::Alphabet;
use super::schema::{LetterCase, Parameter, ParameterFormat, SessionParameter};

/// Encodes the values of one location parameter.
#[derive(Clone, Debug)]
pub(super) struct ValueEncoder {
    case: LetterCase,
    spaces: Option<String>,
    alphabet: Alphabet,
    names: BTreeMap<String, String>,
    max: usize,
}

impl ValueEncoder {
    /// Parses the format of a parameter.
    ///
    /// # Errors
    /// A message if its `letters` are invalid.
    pub(super) fn new(part: &ParameterFormat) -> Result<Self, String> {
        let letters: Alphabet = part.letters.as_deref().unwrap_or(DEFAULT_ALPHABET).parse()?;
        Ok(Self {
            case: part.case,
            spaces: part.spaces.clone(),
            // The replacement for spaces is part of a value.
            alphabet: letters.with(part.spaces.as_deref().unwrap_or_default()),
            names: part.names.clone(),
            max: part.max.unwrap_or(MAX_VALUE_LEN),
        })
    }

    /// Returns the characters that an encoded value may have.
    pub(super) const fn alphabet(&self) -> &Alphabet {
        &self.alphabet
    }

    /// Encodes a value.
    ///
    /// # Errors
    /// The reason why the dialect cannot write it.
    pub(super) fn encode(&self, parameter: Parameter, value: &str) -> Result<String, String> {
        let shown = escape_for_message(value);
        let mut words = value.split_whitespace().collect::<Vec<_>>().join(" ");
        if words.is_empty() {
            return Err("it is empty".to_owned());
        }
        match parameter {
            Parameter::Country => {
                let rule = "write an ISO 3166-1 alpha-2 code such as `us`";
                words =
                    normalize_country(&words).ok_or_else(|| format!("`{shown}` is not a country: {rule}"))?;
            }
            Parameter::Asn => {
                let bare = words.get(..2).filter(|front| front.eq_ignore_ascii_case("as"));
                words = words[bare.map_or(0, str::len)..].to_owned();
                if words.is_empty() || !words.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(format!("`{shown}` is not an AS number such as `7018`"));
                }
            }
            _ => {}
        }
        let encoded = match self.names.get(&words.to_lowercase()) {
            Some(name) => name.clone(),
            None => self.apply_case(
                &self
                    .replace_spaces(&words)
                    .ok_or_else(|| format!("`{shown}` contains a space, which the dialect cannot write"))?,
            ),
        };
        if let Some(invalid) = self.alphabet.first_invalid(&encoded) {
            let invalid = invalid.escape_debug();
            let hint = "use the spelling of the provider's list";
            return Err(format!("`{shown}` contains `{invalid}`, which the dialect cannot write: {hint}"));
        }
        if encoded.len() > self.max {
            return Err(format!("`{shown}` has more than {} characters", self.max));
        }
        Ok(encoded)
    }

    /// Converts a value to the letter case of the parameter.
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

/// The characters and the length of a session id.
#[derive(Clone, Debug)]
pub(super) struct SessionIdFormat {
    pub(super) alphabet: Alphabet,
    pub(super) first_alphabet: Alphabet,
    pub(super) min: usize,
    pub(super) max: usize,
}

impl SessionIdFormat {
    /// Parses the table `[session]`.
    ///
    /// # Errors
    /// A message if its `letters` or `first` are invalid.
    pub(super) fn new(session: &SessionParameter) -> Result<Self, String> {
        let letters: Alphabet = session.letters.parse()?;
        let first = session.first.as_deref().map_or_else(|| Ok(letters.clone()), str::parse)?;
        Ok(Self { alphabet: letters, first_alphabet: first, min: session.min, max: session.max })
    }

    /// Returns the reason why `id` is not a valid session id, if it is not.
    pub(super) fn find_error(&self, id: &str) -> Option<String> {
        let shown = escape_for_message(id);
        let length = id.chars().count();
        if length < self.min || length > self.max {
            let range = format_range(self.min, self.max);
            return Some(format!(
                "the session id `{shown}` has {length} characters; the dialect allows {range}"
            ));
        }
        if let Some(invalid) = self.alphabet.first_invalid(id) {
            return Some(format!(
                "the session id `{shown}` contains `{}`; the dialect allows {}",
                invalid.escape_debug(),
                format_alphabet(&self.alphabet)
            ));
        }
        let first = id.chars().next().filter(|letter| !self.first_alphabet.contains(*letter))?;
        Some(format!(
            "the session id `{shown}` begins with `{first}`; the dialect allows {} there",
            format_alphabet(&self.first_alphabet)
        ))
    }
}

/// Returns the country code in lower case. `uk` is common, but the ISO code is `gb`.
fn normalize_country(words: &str) -> Option<String> {
    let code = words.to_ascii_lowercase();
    let two = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_lowercase());
    two.then(|| if code == "uk" { "gb".to_owned() } else { code })
}

fn format_range(min: usize, max: usize) -> String {
    if min == max { format!("exactly {min}") } else { format!("{min} to {max}") }
}

/// Formats a character set for a message, with ranges.
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

/// Escapes a value for a message and limits its length.
fn escape_for_message(value: &str) -> String {
    let mut text: String = value.chars().take(MAX_VALUE_LEN).flat_map(char::escape_debug).collect();
    if value.chars().count() > MAX_VALUE_LEN {
        text.push('…');
    }
    text
}

const DEFAULT_ALPHABET: &str = "A-Za-z0-9";
/// The maximum length of a value if the dialect sets none.
const MAX_VALUE_LEN: usize = 64;
