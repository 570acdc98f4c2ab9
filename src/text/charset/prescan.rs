//! The encoding that a page declares in itself: a `meta` element, an XML declaration, `@charset`.
//!
//! Chromium searches while only elements of the head were seen, at least 1024 bytes, and skips elements of text. The HTML
//! standard searches 1024 bytes, in elements of text too. That applies if Chromium would find nothing, and only guess.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};
use memchr::{memchr, memmem};

use crate::text::html::markup::{Attribute, is_space, markup_end, skip, tag_name};

/// Returns the encoding that an HTML page declares.
pub(super) fn html_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let start = |length: usize| &bytes[..bytes.len().min(length)];
    meta_encoding(start(MAX_SCANNED), true)
        .or_else(|| xml_encoding(bytes))
        .or_else(|| meta_encoding(start(ALWAYS_SCANNED), false))
}

/// Returns the encoding of an XML declaration at the start of the bytes.
pub(super) fn xml_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    if bytes.starts_with(b"<\0?\0x\0") {
        return Some(UTF_16LE);
    }
    if bytes.starts_with(b"\0<\0?\0x") {
        return Some(UTF_16BE);
    }
    let declaration = bytes.strip_prefix(b"<?xml")?;
    let declaration = &declaration[..declaration.len().min(MAX_SCANNED)];
    let declaration = &declaration[..memchr(b'>', declaration)?];
    let after = &declaration[memmem::find(declaration, b"encoding")? + b"encoding".len()..];
    let value = after.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let quote = *value.first().filter(|byte| matches!(byte, b'"' | b'\''))?;
    let value = &value[1..];
    for_page_label(&value[..memchr(quote, value)?])
}

/// Returns the encoding of a style sheet's `@charset`.
pub(super) fn css_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let value = bytes.strip_prefix(b"@charset \"")?;
    let value = &value[..value.len().min(MAX_LABEL)];
    for_page_label(&value[..memmem::find(value, b"\";")?])
}

/// A page that names UTF-16 in ASCII letters is not UTF-16.
fn for_page_label(label: &[u8]) -> Option<&'static Encoding> {
    let encoding = Encoding::for_label(label)?;
    Some(if encoding == UTF_16BE || encoding == UTF_16LE {
        UTF_8
    } else if encoding == X_USER_DEFINED {
        WINDOWS_1252
    } else {
        encoding
    })
}

/// `skips_text`: a `meta` inside a script, a style or a title does not count.
fn meta_encoding(bytes: &[u8], skips_text: bool) -> Option<&'static Encoding> {
    let mut at = 0;
    let mut is_in_head = true;
    while let Some(found) = memchr(b'<', &bytes[at..]) {
        at += found;
        if !is_in_head && at >= ALWAYS_SCANNED {
            return None;
        }
        let Some((tag, end)) = Tag::parse(bytes, at) else {
            // A tag without an end goes to the end.
            at = if tag_name(bytes, at).is_some() { bytes.len() } else { markup_end(bytes, at) };
            continue;
        };
        at = end;
        if !tag.is_end
            && tag.is("meta")
            && let Some(encoding) = tag.meta.encoding()
        {
            return Some(encoding);
        }
        is_in_head &= HEAD_ELEMENTS.iter().any(|name| tag.is(name))
            || !tag.is_end && (tag.is("html") || tag.is("head"));
        if skips_text && !tag.is_end && RAW_ELEMENTS.iter().any(|name| tag.is(name)) {
            at = raw_end(bytes, at, tag.name)?;
        }
    }
    None
}

/// A start or end tag.
struct Tag<'a> {
    name: &'a [u8],
    is_end: bool,
    meta: MetaAttributes<'a>,
}

impl<'a> Tag<'a> {
    /// Parses the tag at `<`, and returns the position behind it. `None` if it is other markup, or has no end.
    fn parse(bytes: &'a [u8], at: usize) -> Option<(Self, usize)> {
        let name = tag_name(bytes, at)?;
        let is_end = bytes[at + 1] == b'/';
        let mut at = name.end;
        let mut tag = Self { name: &bytes[name], is_end, meta: MetaAttributes::default() };
        loop {
            at = skip(bytes, at, |byte| is_space(byte) || byte == b'/');
            if *bytes.get(at)? == b'>' {
                return Some((tag, at + 1));
            }
            let attribute = Attribute::parse(bytes, at);
            tag.meta.add(attribute.name, attribute.value);
            at = attribute.end;
        }
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The attributes of a `meta` element that tell an encoding.
#[derive(Default)]
struct MetaAttributes<'a> {
    is_content_type: bool,
    charset: Option<&'a [u8]>,
    content: Option<&'a [u8]>,
}

impl<'a> MetaAttributes<'a> {
    /// Of two attributes with the same name Chromium takes the last here.
    fn add(&mut self, name: &[u8], value: &'a [u8]) {
        if name.eq_ignore_ascii_case(b"http-equiv") {
            self.is_content_type |= value.eq_ignore_ascii_case(b"content-type");
        } else if name.eq_ignore_ascii_case(b"charset") {
            self.charset = Some(value);
        } else if name.eq_ignore_ascii_case(b"content") {
            self.content = extract_charset(value).or(self.content);
        }
    }

    fn encoding(&self) -> Option<&'static Encoding> {
        for_page_label(self.charset.or_else(|| self.content.filter(|_| self.is_content_type))?)
    }
}

/// Extracts an encoding from the `content` of a `meta` element, as the HTML standard says.
fn extract_charset(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        let at = rest.windows(CHARSET.len()).position(|window| window.eq_ignore_ascii_case(CHARSET))?;
        rest = &rest[at + CHARSET.len()..];
        let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") else { continue };
        let value = value.trim_ascii_start();
        return match value.first()? {
            quote @ (b'"' | b'\'') => memchr(*quote, &value[1..]).map(|end| &value[1..=end]),
            _ => Some(&value[..skip(value, 0, |byte| !is_space(byte) && byte != b';')]),
        };
    }
}

/// Returns the position of the end tag of an element of text. `None` if there is none.
fn raw_end(bytes: &[u8], mut at: usize, name: &[u8]) -> Option<usize> {
    let is_script = name.eq_ignore_ascii_case(b"script");
    // Inside `<!-- <script>`, `</script>` ends the inner script only.
    let (mut is_escaped, mut is_nested) = (false, false);
    if name.eq_ignore_ascii_case(b"plaintext") {
        return None;
    }
    loop {
        at += memchr::memchr2(b'<', b'-', &bytes[at..])?;
        let rest = &bytes[at..];
        if rest.starts_with(b"-->") {
            (is_escaped, is_nested) = (false, false);
        } else if is_script && rest.starts_with(b"<!--") {
            is_escaped = true;
            // `<!-->` is over at once.
            at += 1;
        } else if is_script && is_escaped && !is_nested && has_name(rest, b"<", name) {
            is_nested = true;
        } else if has_name(rest, b"</", name) {
            if !is_nested {
                return Some(at);
            }
            is_nested = false;
        }
        at += 1;
    }
}

/// Whether the bytes begin with `open` and `name`.
fn has_name(bytes: &[u8], open: &[u8], name: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(open) else { return false };
    let is_end = |byte: &u8| is_space(*byte) || matches!(byte, b'/' | b'>');
    rest.len() >= name.len()
        && rest[..name.len()].eq_ignore_ascii_case(name)
        && rest.get(name.len()).is_some_and(is_end)
}

const CHARSET: &[u8] = b"charset";
/// Maximum bytes that are searched.
const MAX_SCANNED: usize = 1 << 20;
/// Bytes that are searched even behind the head.
const ALWAYS_SCANNED: usize = 1024;
/// Maximum bytes of an encoding's label in a style sheet.
const MAX_LABEL: usize = 1024;
/// The elements that do not end the head.
const HEAD_ELEMENTS: [&str; 8] = ["script", "noscript", "style", "link", "meta", "object", "title", "base"];
/// The elements whose content is text.
const RAW_ELEMENTS: [&str; 9] =
    ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "plaintext"];
