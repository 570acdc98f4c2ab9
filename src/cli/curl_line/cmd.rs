//! Splits a command line as Windows does: first the carets of cmd.exe, then the quotes of the C runtime.

/// Whether a line is written for cmd.exe: it has carets before quotes or at the ends of lines.
pub(super) fn is_cmd(line: &str) -> bool {
    ["^\"", "^\n", "^\r\n"].iter().any(|mark| line.contains(mark))
}

/// Returns the words of a line.
pub(super) fn split(line: &str) -> Vec<String> {
    split_words(&remove_carets(line))
}

/// Removes the carets that escape a character outside quotes. A caret at the end of a line joins it with the next one,
/// whose first character is then literal.
fn remove_carets(line: &str) -> String {
    let line = line.replace("\r\n", "\n");
    let mut out = String::with_capacity(line.len());
    let mut is_quoted = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                out.push(c);
            }
            '^' if !is_quoted => match chars.next() {
                Some('\n') => out.extend(chars.next()),
                escaped => out.extend(escaped),
            },
            _ => out.push(c),
        }
    }
    out
}

/// Splits at blanks outside quotes. DevTools doubles every backslash, so two are one, also where no quote follows.
fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' if !is_quoted => words.extend(word.take()),
            '\\' => {
                let mut count = 1;
                while chars.next_if_eq(&'\\').is_some() {
                    count += 1;
                }
                let word = word.get_or_insert_default();
                word.extend(std::iter::repeat_n('\\', count / 2));
                if count % 2 == 1 {
                    word.push(chars.next_if_eq(&'"').unwrap_or('\\'));
                }
            }
            '"' if is_quoted && chars.next_if_eq(&'"').is_some() => word.get_or_insert_default().push('"'),
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_windows() {
        for (line, words) in [
            ("a ^\"b c^\" ^\n d", vec!["a", "b c", "d"]),
            ("^\"a^\\^\"b^\"", vec!["a\"b"]),
            ("^\"a\\\\^\" b", vec!["a\\", "b"]),
            ("\"a\"\"b\" c^&d \"e^&f\"", vec!["a\"b", "c&d", "e^&f"]),
            ("^\"a^\n\nb^\"", vec!["a\nb"]),
            ("^\"c:\\d\\\\e^\"", vec!["c:\\d\\e"]),
            ("a^", vec!["a"]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }
}
