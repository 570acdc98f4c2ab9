//! Where a TOML file is wrong, in one line: file, line, column, key, and what the parser says.

/// `origin:line:column: key `k`: message` for a file that did not read as what it should be.
pub(crate) fn format_parse_error(text: &str, origin: &str, cause: &toml::de::Error) -> String {
    let message = suggest_nearest(cause.message().lines().collect::<Vec<_>>().join(" "));
    let Some(span) = cause.span() else {
        return format!("{origin}: {message}");
    };
    let (line, column) = line_column(text, span.start);
    match key_on_line(text, line) {
        // The parser names unknown and missing keys itself.
        Some(key) if !message.contains(&format!("`{key}`")) => {
            format!("{origin}:{line}:{column}: key `{key}`: {message}")
        }
        _ => format!("{origin}:{line}:{column}: {message}"),
    }
}

/// The line and the column, both from 1, of the byte `at`.
pub(crate) fn line_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    (before.matches('\n').count() + 1, column)
}

/// An unknown name with the known one that is nearest, in place of the whole list of them.
fn suggest_nearest(message: String) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let [unknown, known @ ..] = quoted.as_slice() else { return message };
    if !message.starts_with("unknown ") {
        return message;
    }
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(unknown, name), *name))
        .min()
        .filter(|(distance, _)| *distance <= 1 + unknown.len() / 4);
    match (near, message.split_once(", expected")) {
        (Some((_, name)), Some((what, _))) => format!("{what}; did you mean `{name}`?"),
        _ => message,
    }
}

/// The bare key that a line assigns, if it assigns one.
fn key_on_line(text: &str, line: usize) -> Option<&str> {
    let (key, _) = text.lines().nth(line.checked_sub(1)?)?.split_once('=')?;
    let key = key.trim();
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"');
    (!key.is_empty() && key.chars().all(bare)).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only its type matters here")]
        count: u32,
    }

    #[test]
    fn a_wrong_value_is_named_by_file_line_column_and_key() {
        let text = "# a note\ncount = \"three\"\n";
        let cause = toml::from_str::<Sample>(text).unwrap_err();
        let said = format_parse_error(text, "sample.toml", &cause);
        assert!(said.starts_with("sample.toml:2:9: key `count`: invalid type"), "{said}");
    }

    #[test]
    fn an_unknown_key_is_named_once() {
        let text = "count = 3\ncuont = 4\n";
        let cause = toml::from_str::<Sample>(text).unwrap_err();
        let said = format_parse_error(text, "sample.toml", &cause);
        assert_eq!(said, "sample.toml:2:1: unknown field `cuont`; did you mean `count`?");
    }

    #[test]
    fn an_unknown_key_without_a_near_match_lists_the_known_keys() {
        let text = "count = 3\nweather = 4\n";
        let cause = toml::from_str::<Sample>(text).unwrap_err();
        let said = format_parse_error(text, "sample.toml", &cause);
        assert_eq!(said, "sample.toml:2:1: unknown field `weather`, expected `count`");
    }
}
