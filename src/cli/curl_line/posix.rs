//! Splits a command line as bash does, without expansions.

/// Returns the words of a line.
///
/// # Errors
/// Describes a quote that does not end.
pub(super) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some('\r') if chars.peek() == Some(&'\n') => {
                    chars.next();
                }
                Some(escaped) => word.get_or_insert_default().push(escaped),
            },
            '\'' => read_single(&mut chars, word.get_or_insert_default())?,
            '"' => read_double(&mut chars, word.get_or_insert_default())?,
            '$' if chars.peek() == Some(&'\'') => {
                chars.next();
                read_ansi(&mut chars, word.get_or_insert_default())?;
            }
            // The end of the command.
            ';' | '|' | '&' | '#' if word.is_none() => break,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn read_single(chars: &mut Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    for c in chars {
        if c == '\'' {
            return Ok(());
        }
        word.push(c);
    }
    Err(OPEN_QUOTE)
}

fn read_double(chars: &mut Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or(OPEN_QUOTE)? {
                '\n' => {}
                escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                other => word.extend(['\\', other]),
            },
            _ => word.push(c),
        }
    }
    Err(OPEN_QUOTE)
}

/// Reads `$'...'`. Bytes above 127 in `\x` and octal escapes are text in UTF-8.
fn read_ansi(chars: &mut Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    let mut bytes: Vec<u8> = Vec::new();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                word.push_str(&String::from_utf8_lossy(&bytes));
                return Ok(());
            }
            '\\' => read_escape(chars, &mut bytes)?,
            _ => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err(OPEN_QUOTE)
}

fn read_escape(chars: &mut Chars<'_>, bytes: &mut Vec<u8>) -> Result<(), &'static str> {
    let escape = chars.next().ok_or(OPEN_QUOTE)?;
    let simple = match escape {
        'n' => b'\n',
        't' => b'\t',
        'r' => b'\r',
        'a' => 7,
        'b' => 8,
        'e' | 'E' => 27,
        'f' => 12,
        'v' => 11,
        '\\' | '\'' | '"' | '?' => u8::try_from(u32::from(escape)).unwrap_or_default(),
        'x' => {
            let value = read_number(chars, 16, 2, 0);
            bytes.push(u8::try_from(value & 0xff).unwrap_or_default());
            return Ok(());
        }
        '0'..='7' => {
            let value = read_number(chars, 8, 2, escape.to_digit(8).unwrap_or_default());
            bytes.push(u8::try_from(value & 0xff).unwrap_or_default());
            return Ok(());
        }
        'u' | 'U' => {
            let character = read_character(chars, if escape == 'u' { 4 } else { 8 });
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(());
        }
        other => {
            bytes.push(b'\\');
            bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(());
        }
    };
    bytes.push(simple);
    Ok(())
}

/// Reads the digits of `\u`. DevTools writes characters above U+FFFF as two escapes.
fn read_character(chars: &mut Chars<'_>, digits: usize) -> char {
    let first = read_number(chars, 16, digits, 0);
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER);
    }
    let mut ahead = chars.clone();
    if ahead.next() == Some('\\') && ahead.next() == Some('u') {
        let second = read_number(&mut ahead, 16, 4, 0);
        if (0xdc00..0xe000).contains(&second) {
            *chars = ahead;
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
    }
    char::REPLACEMENT_CHARACTER
}

/// Reads up to `most` digits that continue `value`.
fn read_number(chars: &mut Chars<'_>, radix: u32, most: usize, mut value: u32) -> u32 {
    for _ in 0..most {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
        chars.next();
        value = value.wrapping_mul(radix).wrapping_add(digit);
    }
    value
}

const OPEN_QUOTE: &str = "a quote does not end";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_bash() {
        for (line, words) in [
            ("a  b\tc", vec!["a", "b", "c"]),
            ("'a b'\"c d\"e\\ f ''", vec!["a bc de f", ""]),
            (r#""a\"b\$c\d\\""#, vec!["a\"b$c\\d\\"]),
            ("a \\\n b", vec!["a", "b"]),
            (r"$'\'\n\t\\\x41\101\u20ac\ud83d\ude00\q'", vec!["'\n\t\\AA€😀\\q"]),
            (r"$'\xc3\xbc'x$y", vec!["üx$y"]),
            (r"$'\ud83d'", vec!["\u{fffd}"]),
            ("a ; b", vec!["a"]),
            ("http://a/?x=1&y#z", vec!["http://a/?x=1&y#z"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        for line in ["'a", "\"a", "$'a", "$'a\\", "\"a\\"] {
            assert!(split(line).is_err(), "{line}");
        }
    }
}
