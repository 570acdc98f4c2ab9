//! Escapes text for a terminal. All text that the program prints goes through [`EscapedWriter`], all JSON through
//! [`escape_json`].

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether a terminal would interpret this character, or show nothing for it, instead of showing it.
///
/// These are all control characters (C0, DEL, C1), line and paragraph separators, and all invisible characters: those
/// that change the direction of text, have no width, or are reserved for it.
#[must_use]
pub const fn is_harmful(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}')
        || matches!(
            c,
            // Soft hyphen, grapheme joiner, Arabic letter mark, Hangul fillers, Khmer vowels, Mongolian selectors.
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            // Zero-width characters, marks of direction, separators, embeddings, invisible operators, isolates.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            // Variation selectors, but not the two that choose between text and emoji.
            | '\u{fe00}'..='\u{fe0d}'
            // Format controls of hieroglyphs, shorthand and music.
            | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            // Tags, and further variation selectors.
            | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Escapes harmful characters in untrusted text, for a terminal. A line break is escaped as well: it would begin a
/// line that looks like one of the program.
#[must_use]
pub fn escape_terminal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_escaped(&mut out, c, !is_harmful(c));
    }
    out
}

/// Escapes harmful characters in JSON text, where serializers leave them as they are. The result has the same value.
/// Line breaks between tokens are kept.
#[must_use]
pub fn escape_json(json: &str) -> Cow<'_, str> {
    let harmful = |c: char| c != '\n' && is_harmful(c);
    if is_plain(json.as_bytes()) || !json.contains(harmful) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if harmful(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A writer that escapes harmful characters of the text written to it. Line breaks and tabs are kept, so untrusted text
/// within a line needs [`escape_terminal`] before. Bytes that are not UTF-8 are escaped as well.
#[derive(Debug)]
pub struct EscapedWriter<W>(W);

impl<W: Write> EscapedWriter<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write> Write for EscapedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if is_plain(bytes) {
            return self.0.write(bytes);
        }
        let mut out = String::with_capacity(bytes.len() + 16);
        for chunk in bytes.utf8_chunks() {
            let mut text = chunk.valid().chars().peekable();
            while let Some(c) = text.next() {
                let is_line_end = c == '\r' && text.peek() == Some(&'\n');
                push_escaped(&mut out, c, is_line_end || matches!(c, '\n' | '\t') || !is_harmful(c));
            }
            for byte in chunk.invalid() {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
        self.0.write_all(out.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Appends a character, escaped unless it `is_kept`.
fn push_escaped(out: &mut String, c: char, is_kept: bool) {
    if is_kept {
        out.push(c);
    } else {
        out.extend(c.escape_default());
    }
}

/// Escapes text for a cell of CSV. Characters that are harmful on a terminal are escaped, except line breaks, tabs and
/// joiners, which belong to text. Text that a spreadsheet would take for a formula gets an apostrophe in front.
#[must_use]
pub(crate) fn escape_csv_cell(text: &str) -> String {
    let is_ignored = |c: char| c.is_whitespace() || is_harmful(c);
    let is_formula = |c: char| FORMULA_STARTS.contains(&c);
    // Spreadsheets may ignore white space and invisible characters in front of a formula.
    let starts =
        text.trim_start_matches(is_ignored).starts_with(is_formula) || text.starts_with(['\t', '\r', '\n']);
    let mut out = String::with_capacity(text.len() + 1);
    if starts {
        out.push('\'');
    }
    for c in text.chars() {
        let is_text = matches!(c, '\n' | '\r' | '\t' | '\u{ad}' | '\u{200c}' | '\u{200d}');
        push_escaped(&mut out, c, is_text || !is_harmful(c));
    }
    out
}

/// The characters that begin a formula: `=`, `+`, `-` and `@`, and their full-width, small, raised and lowered forms.
const FORMULA_STARTS: [char; 19] = [
    '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\u{fe66}', '\u{fe62}', '\u{fe63}',
    '\u{fe6b}', '\u{2212}', '\u{207a}', '\u{207b}', '\u{207c}', '\u{208a}', '\u{208b}', '\u{208c}',
];

/// Whether it is printable ASCII and line breaks, as most text is.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters that must not reach a terminal.
    const HARMFUL: [char; 36] = [
        '\0',
        '\x07',
        '\x08',
        '\t',
        '\n',
        '\r',
        '\x1b',
        '\x7f',
        '\u{80}',
        '\u{85}',
        '\u{90}',
        '\u{9b}',
        '\u{9d}',
        '\u{9f}',
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{180e}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{200f}',
        '\u{2028}',
        '\u{2029}',
        '\u{202a}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{2069}',
        '\u{206f}',
        '\u{3164}',
        '\u{feff}',
        '\u{fff9}',
        '\u{e0001}',
        '\u{e0041}',
        '\u{e01ef}',
    ];

    #[test]
    fn control_and_invisible_characters_are_harmful_and_letters_are_not() {
        for c in HARMFUL {
            assert!(is_harmful(c), "{c:?}");
        }
        for c in "aZ~ \u{a0}é–—…€Ω日本語한글עבריתعربي👍\u{fe0f}\u{301}\u{ffe0}\u{10ffff}".chars()
        {
            assert!(!is_harmful(c), "{c:?}");
        }
        // Every character of the categories Cc, Zl and Zp, in their whole range.
        for c in '\0'..=char::MAX {
            assert!(!c.is_control() || is_harmful(c), "{c:?}");
        }
    }

    #[test]
    fn escapes_show_the_character_and_are_stable() {
        assert_eq!(escape_terminal("a\x1b[31mb\u{202e}\n"), "a\\u{1b}[31mb\\u{202e}\\n");
        let all: String = HARMFUL.iter().collect();
        let escaped = escape_terminal(&all);
        assert!(!escaped.contains(is_harmful) && escape_terminal(&escaped) == escaped, "{escaped}");
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let all: String = HARMFUL.iter().collect();
        let value = serde_json::json!({"k\u{202e}": [all, "👍é", 1]});
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let escaped = escape_json(&text);
            assert!(!escaped.contains(|c| c != '\n' && is_harmful(c)), "{escaped}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        }
        assert!(matches!(escape_json("{\"a\": \"é\"}"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_cell_is_never_a_formula_and_has_no_controls() {
        for (text, cell) in [
            ("plain", "plain"),
            ("", ""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("\u{ff0b}1", "'\u{ff0b}1"),
            ("\u{ff0d}1", "'\u{ff0d}1"),
            ("\u{ff20}a", "'\u{ff20}a"),
            ("\u{2212}1", "'\u{2212}1"),
            ("\t=1", "'\t=1"),
            ("\ta", "'\ta"),
            ("\r=1", "'\r=1"),
            ("\na", "'\na"),
            (" =1", "' =1"),
            ("\u{feff}=1", "'\\u{feff}=1"),
            ("\u{200b}\u{a0}=1", "'\\u{200b}\u{a0}=1"),
            ("a=1", "a=1"),
            ("a\x1b[31m\u{9b}\u{202e}b", "a\\u{1b}[31m\\u{9b}\\u{202e}b"),
            ("a\nb\tc\u{200d}", "a\nb\tc\u{200d}"),
        ] {
            assert_eq!(escape_csv_cell(text), cell, "{text:?}");
        }
    }

    #[test]
    fn a_writer_escapes_text_and_bytes_in_any_pieces() {
        let mut out = Vec::new();
        EscapedWriter::new(&mut out).write_all(b"a\r\nb\rc\r\n").unwrap();
        assert_eq!(out, b"a\r\nb\\rc\r\n");
        let text = "a\tb\x1b]0;x\x07\u{9b}31m\u{202e}é\n".as_bytes();
        let bytes = [text, b"\x9b\xff\xe2\x80"].concat();
        for size in [1, 2, 3, 5, 100] {
            let mut out = Vec::new();
            let mut writer = EscapedWriter::new(&mut out);
            for piece in bytes.chunks(size) {
                writer.write_all(piece).unwrap();
            }
            let shown = String::from_utf8(out).unwrap();
            assert!(!shown.contains(|c| !matches!(c, '\n' | '\t') && is_harmful(c)), "{size}: {shown:?}");
            assert!(shown.starts_with("a\tb\\u{1b}]0;x\\u{7}"), "{size}: {shown:?}");
        }
    }
}
