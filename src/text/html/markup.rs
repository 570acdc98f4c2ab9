//! The parts of markup, found in bytes by the rules of the HTML standard's tokenizer.

use std::ops::Range;

use memchr::{memchr, memmem};

/// An attribute of a tag.
pub(crate) struct Attribute<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    /// The position behind it.
    pub(crate) end: usize,
}

impl<'a> Attribute<'a> {
    /// Parses the attribute at `at`, where no space, `/` or `>` is.
    pub(crate) fn parse(bytes: &'a [u8], at: usize) -> Self {
        // The first character may be `=`.
        let name_end = skip(bytes, at + 1, |byte| is_name(byte) && byte != b'=');
        let name = &bytes[at..name_end];
        let equals = skip(bytes, name_end, is_space);
        if bytes.get(equals) != Some(&b'=') {
            return Self { name, value: b"", end: name_end };
        }
        let start = skip(bytes, equals + 1, is_space);
        if let Some(quote @ (b'"' | b'\'')) = bytes.get(start) {
            let quoted = &bytes[start + 1..];
            let length = memchr(*quote, quoted).unwrap_or(quoted.len());
            let end = (start + 1 + length + 1).min(bytes.len());
            return Self { name, value: &quoted[..length], end };
        }
        let end = skip(bytes, start, |byte| !is_space(byte) && byte != b'>');
        Self { name, value: &bytes[start..end], end }
    }
}

/// Returns where the name of the tag at `<` is. `None` if no tag begins there.
pub(crate) fn tag_name(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at + 1 + usize::from(bytes.get(at + 1) == Some(&b'/'));
    bytes.get(start)?.is_ascii_alphabetic().then(|| start..skip(bytes, start, is_name))
}

/// Returns the position behind a comment, a declaration or a `<` that is text.
pub(crate) fn markup_end(bytes: &[u8], at: usize) -> usize {
    let until = |from: usize| memchr(b'>', &bytes[from..]).map_or(bytes.len(), |found| from + found + 1);
    match &bytes[at + 1..] {
        [b'!', b'-', b'-', rest @ ..] => at + 4 + comment_len(rest),
        [b'!' | b'?' | b'/', ..] => until(at + 2),
        _ => at + 1,
    }
}

/// Returns the length of a comment after `<!--`, with its end.
fn comment_len(text: &[u8]) -> usize {
    if text.starts_with(b">") {
        return 1;
    }
    if text.starts_with(b"->") {
        return 2;
    }
    let mut at = 0;
    while let Some(found) = memmem::find(&text[at..], b"--") {
        at += found;
        if text[at + 2..].starts_with(b">") {
            return at + 3;
        }
        if text[at + 2..].starts_with(b"!>") {
            return at + 4;
        }
        at += 1;
    }
    text.len()
}

/// Returns the first position from `from` whose byte fails `test`.
pub(crate) fn skip(bytes: &[u8], from: usize, test: impl Fn(u8) -> bool) -> usize {
    let from = from.min(bytes.len());
    bytes[from..].iter().position(|byte| !test(*byte)).map_or(bytes.len(), |found| from + found)
}

/// Whether the byte is white space of HTML.
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
}

/// Whether the byte belongs to the name of a tag.
const fn is_name(byte: u8) -> bool {
    !is_space(byte) && !matches!(byte, b'/' | b'>')
}
