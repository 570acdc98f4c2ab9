//! The provenance of data, as rules and dialects state it.

/// Whether a text is a date such as `2026-11` or `2026-11-21`.
pub(crate) fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    matches!(parts.as_slice(), [year, rest @ ..]
        if digits(year, 4) && (1..=2).contains(&rest.len()) && rest.iter().all(|part| digits(part, 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_a_year_and_a_month_and_optionally_a_day() {
        for (text, expected) in [
            ("2026-11", true),
            ("2026-11-21", true),
            ("2026", false),
            ("2026-11-21-01", false),
            ("26-11", false),
            ("2026-1", false),
            ("2026-xi", false),
            ("", false),
        ] {
            assert_eq!(is_date(text), expected, "{text}");
        }
    }
}
