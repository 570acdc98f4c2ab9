//! The quoted strings of HTTP header fields (RFC 9110, section 5.6.4). Pure.

/// Parses the quoted string at the start of `text`. Returns its value and the text after it. A string without an end is as
/// long as the text. `None` if there is no quoted string.
pub(crate) fn parse(text: &str) -> Option<(String, &str)> {
    let quoted = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    Some((value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_string_ends_at_an_unescaped_quote() {
        for (text, expected) in [
            (r#""a b";c"#, Some(("a b", ";c"))),
            (r#""a\"b\\" d"#, Some((r#"a"b\"#, " d"))),
            (r#""open"#, Some(("open", ""))),
            (r#""open\"#, Some(("open", ""))),
            (r#""""#, Some(("", ""))),
            ("token", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected.map(|(value, rest)| (value.to_owned(), rest)), "{text}");
        }
    }
}
