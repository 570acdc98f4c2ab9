//! Matches paths with the patterns of robots.txt (RFC 9309, sections 2.2.2 and 2.2.3). Pure.

use memchr::memmem;

/// The pattern of one rule.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// As the file writes it.
    source: String,
    /// The normalized text, in which only `*` is special.
    text: Vec<u8>,
    /// Whether the path must end where the pattern ends (`$`).
    is_anchored: bool,
}

impl Pattern {
    pub(super) fn parse(source: &[u8]) -> Self {
        let mut text = normalize(source);
        let is_anchored = text.last() == Some(&b'$');
        if is_anchored {
            text.pop();
        }
        // Anywhere else it is an ordinary character.
        let text = escape_bytes(&text, b"$");
        Self { source: String::from_utf8_lossy(source).into_owned(), text, is_anchored }
    }

    /// Returns the path and query of a URL in the form to compare. A `*` or `$` is escaped, since only patterns have
    /// special characters.
    pub(super) fn normalize_path(path: &str) -> Vec<u8> {
        escape_bytes(&normalize(path.as_bytes()), b"*$")
    }

    /// As the file writes it.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The length that decides between two rules, in bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len() + usize::from(self.is_anchored)
    }

    /// Whether a normalized path begins with the pattern. Takes time in proportion to the length of the path.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let mut parts = self.text.split(|byte| *byte == b'*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = path.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return !self.is_anchored || rest.is_empty() };
        for part in parts {
            match memmem::find(rest, part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        if self.is_anchored { rest.ends_with(last) } else { memmem::find(rest, last).is_some() }
    }
}

/// Decodes the escapes of unreserved characters, writes all others with capital letters, and escapes all bytes that are
/// not ASCII or that URLs have escaped only.
fn normalize(text: &[u8]) -> Vec<u8> {
    let mut normalized = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, decode_escape(after)) {
            (b'%', Some(decoded)) => {
                rest = &after[2..];
                if decoded.is_ascii_alphanumeric() || matches!(decoded, b'-' | b'.' | b'_' | b'~') {
                    normalized.push(decoded);
                } else {
                    escape(&mut normalized, decoded);
                }
            }
            (0x80.. | b' ' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'^', _) => {
                escape(&mut normalized, *byte);
            }
            _ => normalized.push(*byte),
        }
    }
    normalized
}

/// Decodes the two digits of an escape.
fn decode_escape(text: &[u8]) -> Option<u8> {
    let [high, low, ..] = text else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

fn escape_bytes(text: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        if bytes.contains(byte) { escape(&mut escaped, *byte) } else { escaped.push(*byte) }
    }
    escaped
}

fn escape(text: &mut Vec<u8>, byte: u8) {
    let digits = b"0123456789ABCDEF";
    text.extend_from_slice(&[b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_ends_and_escapes_match_as_the_rfc_requires() {
        for (pattern, path, expected) in [
            ("/", "/x", true),
            ("/fish", "/fishheads?id", true),
            ("/fish", "/Fish", false),
            ("/x$/abc", "/x$/abcdef", true),
            ("/x$/abc", "/x%24/abcdef", true),
            ("/x*x$/abc", "/xabcx$/abcdef", true),
            ("/a<d.html", "/a%3Cd.html", true),
            ("/a<*", "/a%3cd", true),
            ("/a{b}^ c", "/a%7Bb%7D%5E%20c", true),
            ("*/x", "/x", true),
            ("*/x", "/a/x/b", true),
            ("*", "/", true),
            ("/fish*", "/fish", true),
            ("/*.php$", "/a.php", true),
            ("/*.php$", "/a.php?b", false),
            ("/*.php", "/a.php5", true),
            ("/a*b*c$", "/abcbc", true),
            ("/a*b*c$", "/abcb", false),
            ("/a**b", "/ab", true),
            ("/a*$", "/abc", true),
            ("$", "/", false),
            ("/$", "/", true),
            ("/$", "/x", false),
            // An anchored part must not overlap an earlier one.
            ("/*ab*ab$", "/ab", false),
            ("/a$b", "/a", false),
            ("x", "/x", false),
            // Escapes of special characters are literal.
            ("/a%24", "/a$", true),
            ("/a%24", "/a%24", true),
            ("/a%24", "/a", false),
            ("/a$", "/a$", false),
            ("/%2a", "/*", true),
            ("/%2A", "/x", false),
            ("/%2A", "/%2a", true),
            ("/a*c", "/a*c", true),
            ("/a%2fb", "/a%2Fb", true),
            ("/a%2fb", "/a/b", false),
            ("/%62%61%7A", "/baz", true),
            ("/baz", "/%62az", true),
            ("/%", "/%", true),
            ("/%zz", "/%zz", true),
            ("/\u{30c4}", "/%E3%83%84", true),
        ] {
            let matches = Pattern::parse(pattern.as_bytes()).matches(&Pattern::normalize_path(path));
            assert_eq!(matches, expected, "{pattern} {path}");
        }
    }
}
