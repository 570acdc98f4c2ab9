//! Splits a robots.txt into fields (RFC 9309, section 2.2). Pure.
//!
//! It accepts what crawlers meet, as Google's parser does: a missing colon, misspelled names, a byte order mark or a
//! part of one, and product tokens with a version.

use std::time::Duration;

/// A line that is understood. The value may be empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    UserAgent(&'a [u8]),
    Allow(&'a [u8]),
    Disallow(&'a [u8]),
    CrawlDelay(&'a [u8]),
}

/// Returns the fields of the first 500 KiB in order. Skips all other lines.
pub(super) fn fields(text: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let text = match text.get(..BYTE_LIMIT) {
        // A line that is cut off could disallow more than the whole line.
        Some(start) if start.len() < text.len() => {
            &start[..start.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or_default()]
        }
        _ => text,
    };
    let bom = text.iter().zip(BOM).take_while(|(byte, expected)| **byte == *expected).count();
    text[bom..].split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(parse_line)
}

fn parse_line(line: &[u8]) -> Option<Field<'_>> {
    let line = &line[..line.len().min(MAX_LINE)];
    let line = line.split(|byte| *byte == b'#').next()?.trim_ascii();
    let (name, value) = match line.iter().position(|byte| *byte == b':') {
        Some(at) => (&line[..at], &line[at + 1..]),
        // A name and a value without a colon.
        None => {
            let at = line.iter().position(u8::is_ascii_whitespace)?;
            let value = line[at..].trim_ascii();
            if value.iter().any(u8::is_ascii_whitespace) {
                return None;
            }
            (&line[..at], value)
        }
    };
    let (name, value) = (name.trim_ascii().to_ascii_lowercase(), value.trim_ascii());
    let is_any = |names: &[&str]| names.iter().any(|other| name.starts_with(other.as_bytes()));
    if is_any(&["user-agent", "useragent", "user agent"]) {
        Some(Field::UserAgent(value))
    } else if is_any(&["allow"]) {
        Some(Field::Allow(value))
    } else if is_any(&["disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"]) {
        Some(Field::Disallow(value))
    } else if is_any(&["crawl-delay", "crawldelay", "crawl delay"]) {
        Some(Field::CrawlDelay(value))
    } else {
        None
    }
}

/// Returns the product token at the start of a user agent: `rungs` of `rungs/0.1 (+https://a.example)`.
pub(super) fn product_token(name: &[u8]) -> &[u8] {
    let is_part = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_');
    let end = name.iter().position(|byte| !is_part(byte)).unwrap_or(name.len());
    &name[..end]
}

/// Returns the pattern for the folder of a page `index.html`, as in Google's parser: `/a/$` of `/a/index.html`.
pub(super) fn index_folder(pattern: &[u8]) -> Option<Vec<u8>> {
    let slash = pattern.iter().rposition(|byte| *byte == b'/')?;
    pattern[slash..].starts_with(b"/index.htm").then(|| [&pattern[..=slash], b"$"].concat())
}

/// Whether a user agent is `*`, perhaps with text behind it.
pub(super) fn is_wildcard(name: &[u8]) -> bool {
    matches!(name, [b'*'] | [b'*', b'\t' | b' ', ..])
}

/// Parses a delay in seconds. Rejects one that is negative or too long for a clock.
pub(super) fn delay(seconds: &[u8]) -> Option<Duration> {
    let seconds: f64 = std::str::from_utf8(seconds).ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// How much of a file is parsed (RFC 9309, section 2.5, requires at least 500 KiB).
pub(super) const BYTE_LIMIT: usize = 500 * 1024;
/// How much of a line is parsed, as in Google's parser.
const MAX_LINE: usize = 2083 * 8;
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_form_are_fields() {
        for (line, field) in [
            ("User-Agent : x # y", Some(Field::UserAgent(b"x"))),
            ("useragent x", Some(Field::UserAgent(b"x"))),
            ("user agent: x", Some(Field::UserAgent(b"x"))),
            ("disallow /", Some(Field::Disallow(b"/"))),
            ("Dissallow:/x y", Some(Field::Disallow(b"/x y"))),
            ("ALLOW:", Some(Field::Allow(b""))),
            ("Crawl-delay: 5", Some(Field::CrawlDelay(b"5"))),
            ("foo bar baz", None),
            ("disallow / x", None),
            ("disallow", None),
            ("# disallow: /", None),
            ("Sitemap: https://a.example/", None),
        ] {
            assert_eq!(parse_line(line.as_bytes()), field, "{line}");
        }
    }

    #[test]
    fn line_ends_and_byte_order_marks_of_any_form_are_skipped() {
        for text in ["\u{feff}allow:/\rdisallow:/x\r\n\nallow:/y", "allow: /\n\ndisallow: /x\nallow: /y\n"] {
            let expected = [Field::Allow(b"/"), Field::Disallow(b"/x"), Field::Allow(b"/y")];
            assert_eq!(fields(text.as_bytes()).collect::<Vec<_>>(), expected, "{text:?}");
        }
        assert_eq!(fields(b"\xef\xbballow: /").collect::<Vec<_>>(), [Field::Allow(b"/")]);
        assert_eq!(fields(b"\xef\x11\xbfallow: /").count(), 0);
    }

    #[test]
    fn a_product_token_ends_before_its_version() {
        for (name, token) in [
            ("rungs/0.1", "rungs"),
            ("rungs", "rungs"),
            ("rungs bot", "rungs"),
            ("rungs-news", "rungs-news"),
            ("rungsbot/2", "rungsbot"),
            ("*", ""),
            ("1rungs", ""),
        ] {
            assert_eq!(product_token(name.as_bytes()), token.as_bytes(), "{name}");
        }
        for (name, expected) in [("*", true), ("* x", true), ("*x", false), ("", false)] {
            assert_eq!(is_wildcard(name.as_bytes()), expected, "{name}");
        }
    }
}
