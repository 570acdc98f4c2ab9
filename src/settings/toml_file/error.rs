//! Formats a TOML error as one line: file, line, column, key and the parser's message.

/// Formats a parse error as `origin:line:column: key `k`: message`.
pub(crate) fn format_parse_error(text: &str, origin: &str, cause: &toml::de::Error) -> String {
    let message = suggest_nearest(cause.message().lines().collect::<Vec<_>>().join(" "));
    let Some(span) = cause.span() else {
        return format!("{origin}: {message}");
    };
    let (line, column) = line_column(text, span.start);
    match key_on_line(text, line) {
        // The parser's message already names unknown and missing keys.
        Some(key) if !message.contains(&format!("`{key}`")) => {
            format!("{origin}:{line}:{column}: key `{key}`: {message}")
        }
        _ => format!("{origin}:{line}:{column}: {message}"),
    }
}

/// Returns line and column, both from 1, of the byte `at`.
pub(crate) fn line_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    (before.matches('\n').count() + 1, column)
}

/// Replaces the list of known names in a message by the nearest one.
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
        (Some((_, name)), Some((problem, _))) => format!("{problem}; did you mean `{name}`?"),
        _ => message,
    }
}

/// Returns the bare key that a line assigns, if any.
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
    fn an_invalid_value_is_reported_with_file_line_column_and_key() {
        let text = "# a note\ncount = \"three\"\n";
        let cause = toml::from_str::<Sample>(text).unwrap_err();
        let message = format_parse_error(text, "sample.toml", &cause);
        assert!(message.starts_with("sample.toml:2:9: key `count`: invalid type"), "{message}");
    }

    #[test]
    fn an_unknown_key_is_reported_once() {
        let text = "count = 3\ncuont = 4\n";
        let cause = toml::from_str::<Sample>(text).unwrap_err();
        let message = format_parse_error(text, "sample.toml", &cause);
        assert_eq!(message, "sample.toml:2:1: unknown field `cuont`; did you mean `count`?");
    }

    #[test]
    fn an_unknown_key_without_a_near_match_lists_the_known_keys() {
        let text = "count = 3\nweather = 4\n";
        let cause = toml::from_str::<Sample>(text).unwrap_err();
        let message = format_parse_error(text, "sample.toml", &cause);
        assert_eq!(message, "sample.toml:2:1: unknown field `weather`, expected `count`");
    }
}
