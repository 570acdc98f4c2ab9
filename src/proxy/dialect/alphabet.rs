//! Character sets, as dialects write them: `A-Za-z0-9_`.

use std::str::FromStr;

/// A set of printable ASCII characters, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alphabet(Vec<u8>);

impl Alphabet {
    /// Whether the set contains this character.
    pub(super) fn contains(&self, letter: char) -> bool {
        u8::try_from(letter).is_ok_and(|byte| self.0.contains(&byte))
    }

    /// Returns the number of characters: at least one.
    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the character at an index below [`count`](Self::count).
    pub(super) fn nth(&self, index: usize) -> char {
        char::from(self.0[index])
    }

    /// Returns all characters.
    pub(super) fn letters(&self) -> impl Iterator<Item = char> {
        self.0.iter().copied().map(char::from)
    }

    /// Adds the characters of `text`, which are ASCII.
    pub(super) fn with(mut self, text: &str) -> Self {
        for byte in text.bytes() {
            if !self.0.contains(&byte) {
                self.0.push(byte);
            }
        }
        self
    }

    /// Returns the first character of `text` that is not in the set.
    pub(super) fn first_invalid(&self, text: &str) -> Option<char> {
        text.chars().find(|letter| !self.contains(*letter))
    }
}

impl FromStr for Alphabet {
    type Err = String;

    /// Parses single characters and ranges such as `a-z`. A `-` at either end is a character.
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.as_bytes();
        if let Some(invalid) = text.chars().find(|letter| !letter.is_ascii_graphic()) {
            return Err(format!("`{}` is not a printable ASCII character", invalid.escape_debug()));
        }
        let mut all: Vec<u8> = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let (first, last, read) = match bytes[at..] {
                [first, b'-', last, ..] => (first, last, 3),
                [first, ..] => (first, first, 1),
                [] => break,
            };
            if first > last {
                return Err(format!(
                    "the range `{}-{}` is in reverse order",
                    char::from(first),
                    char::from(last)
                ));
            }
            at += read;
            for byte in first..=last {
                if !all.contains(&byte) {
                    all.push(byte);
                }
            }
        }
        if all.is_empty() { Err("it has no characters".to_owned()) } else { Ok(Self(all)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_parsed_alone_and_in_ranges() {
        for (text, all) in [
            ("a-c0-2_", "abc012_"),
            ("-a", "-a"),
            ("a-", "a-"),
            ("a-a", "a"),
            ("aa", "a"),
            ("c-ea-d", "cdeab"),
            ("+-/", "+,-./"),
        ] {
            let letters: Alphabet = text.parse().unwrap();
            assert_eq!(letters.letters().collect::<String>(), all, "{text}");
        }
        for text in ["", "z-a", "a b", "\u{e9}", "a\n"] {
            assert!(text.parse::<Alphabet>().is_err(), "{text:?}");
        }
    }
}
