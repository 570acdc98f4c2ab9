//! Splits a page into pieces for the tokenizer, and cuts the attributes of tags.
//!
//! The split follows the states of the tokenizer. Where it cannot know them (CDATA sections, scripts in comments) it
//! takes text for a tag, but never a tag for text.

use memchr::{memchr, memmem};

use super::floor_char_boundary;
use super::markup::{Attribute, is_space, markup_end, skip, tag_name};

/// A part of the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    /// A tag with too many attributes: its text up to the last that is kept, and its end. The rest is left out.
    CutTag {
        kept: &'a str,
        end: &'a str,
    },
}

/// Iterates over the pieces of a page.
pub(super) struct Pieces<'a> {
    text: &'a str,
    /// The first byte that was not returned.
    start: usize,
    /// A tag with too many attributes that begins at `start`.
    cut: Option<Tag>,
    /// The name of the last start tag that may begin an element of text.
    raw_name: &'a str,
    /// The rest of the page is inside an element of text.
    is_raw_to_end: bool,
}

/// The positions of a tag.
#[derive(Clone, Copy, Debug)]
struct Tag {
    /// The end of the name.
    name_end: usize,
    /// The position of the first attribute that is left out.
    kept_end: Option<usize>,
    /// The position of `>` or `/>`. The length of the text if the tag has no end.
    close: usize,
    /// The position after the tag.
    end: usize,
}

impl<'a> Pieces<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, start: 0, cut: None, raw_name: "", is_raw_to_end: false }
    }

    /// Returns the next piece. `is_raw`: the last piece ended inside an element of text.
    pub(super) fn next(&mut self, is_raw: bool) -> Option<Piece<'a>> {
        if let Some(tag) = self.cut.take() {
            return Some(self.cut_tag(tag));
        }
        if self.start >= self.text.len() {
            return None;
        }
        let begin = self.start;
        let mut at = begin;
        if is_raw {
            match self.find_raw_end(at) {
                Some(tag_at) => at = tag_at,
                None => {
                    self.is_raw_to_end = true;
                    return Some(self.text_until(floor_char_boundary(self.text, begin + MAX_PIECE)));
                }
            }
        }
        loop {
            if at - begin >= CHUNK_SIZE {
                return Some(self.text_until(at));
            }
            let Some(found) = memchr(b'<', &self.bytes()[at..]) else {
                return Some(self.text_until(self.text.len()));
            };
            at += found;
            let Some(tag) = self.tag_at(at) else {
                at = markup_end(self.bytes(), at);
                continue;
            };
            if tag.kept_end.is_some() {
                self.cut = Some(tag);
                return Some(self.text_until(at));
            }
            let name = self.name(at, tag);
            at = tag.end;
            if RAW_ELEMENTS.iter().any(|raw| raw.eq_ignore_ascii_case(name)) {
                // The tokenizer decides whether text follows.
                self.raw_name = name;
                return Some(self.text_until(at));
            }
        }
    }

    const fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Returns the name of the tag at `at`.
    fn name(&self, at: usize, tag: Tag) -> &'a str {
        self.text[at + 1..tag.name_end].trim_start_matches('/')
    }

    fn text_until(&mut self, end: usize) -> Piece<'a> {
        let piece = &self.text[self.start..end];
        self.start = end;
        Piece::Text(piece)
    }

    fn cut_tag(&mut self, tag: Tag) -> Piece<'a> {
        let kept_end = tag.kept_end.unwrap_or(tag.close);
        let piece =
            Piece::CutTag { kept: &self.text[self.start..kept_end], end: &self.text[tag.close..tag.end] };
        self.raw_name = self.name(self.start, tag);
        self.start = tag.end;
        piece
    }

    /// Returns the position of the end tag of the current element of text.
    fn find_raw_end(&self, from: usize) -> Option<usize> {
        if self.is_raw_to_end {
            return None;
        }
        let mut at = from;
        loop {
            at += memmem::find(&self.bytes()[at..], b"</")?;
            let name_at = at + 2;
            let name = self.bytes().get(name_at..name_at + self.raw_name.len());
            let after = self.bytes().get(name_at + self.raw_name.len());
            let is_end = after.is_none_or(|byte| is_space(*byte) || matches!(byte, b'/' | b'>'));
            if is_end && name.is_some_and(|name| name.eq_ignore_ascii_case(self.raw_name.as_bytes())) {
                return Some(at);
            }
            at = name_at;
        }
    }

    /// Returns the tag at `<`. `None` if it is another kind of markup, or text.
    fn tag_at(&self, at: usize) -> Option<Tag> {
        let bytes = self.bytes();
        let name_end = tag_name(bytes, at)?.end;
        let (mut at, mut kept_end, mut attributes) = (name_end, None, 0_usize);
        loop {
            at = skip(bytes, at, |byte| is_space(byte) || byte == b'/');
            match bytes.get(at) {
                None => return Some(Tag { name_end, kept_end, close: at, end: at }),
                Some(b'>') => {
                    let close = at - usize::from(at > name_end && bytes[at - 1] == b'/');
                    return Some(Tag { name_end, kept_end, close, end: at + 1 });
                }
                Some(_) => {}
            }
            attributes += 1;
            if attributes == MAX_ATTRIBUTES + 1 {
                kept_end = Some(at);
            }
            at = Attribute::parse(bytes, at).end;
        }
    }
}

/// Maximum attributes of a tag. A tag of a real page has a few dozen at most.
pub(super) const MAX_ATTRIBUTES: usize = 128;
/// Bytes of a piece, unless a longer tag or comment is in it.
const CHUNK_SIZE: usize = 1024;
/// Bytes of a piece of raw text.
const MAX_PIECE: usize = 64 * 1024;
/// The elements whose content may be text.
const RAW_ELEMENTS: [&str; 10] =
    ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"];
