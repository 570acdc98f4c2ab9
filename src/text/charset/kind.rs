//! Which rules a body follows, and whether it is text at all.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

use super::content_type::ContentType;

/// What a body is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextKind {
    Html,
    Xml,
    Css,
    /// JSON, which is UTF-8 unless declared otherwise.
    Data,
    /// Other text.
    Plain,
    /// A media type that does not tell.
    Unknown,
}

impl TextKind {
    pub(super) fn new(content_type: &ContentType, bytes: &[u8]) -> Self {
        let essence = content_type.essence.as_str();
        match essence {
            "" => Self::sniff(bytes),
            "text/html" => Self::Html,
            "text/css" => Self::Css,
            "text/xml" | "application/xml" => Self::Xml,
            "application/json" | "text/json" => Self::Data,
            _ if essence.ends_with("+xml") => Self::Xml,
            _ if essence.ends_with("+json") || essence.contains("json") => Self::Data,
            _ if essence.starts_with("text/") || essence.contains("javascript") => Self::Plain,
            _ if essence.contains("html") => Self::Html,
            _ => Self::Unknown,
        }
    }

    fn sniff(bytes: &[u8]) -> Self {
        let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        match start.first() {
            Some(b'<') if start.starts_with(b"<?xml") => Self::Xml,
            Some(b'<') => Self::Html,
            Some(_) if is_binary(start) => Self::Unknown,
            _ => Self::Plain,
        }
    }

    /// Whether a body with malformed sequences is text, so that they become U+FFFD.
    pub(super) fn is_text(self, encoding: &'static Encoding, bytes: &[u8]) -> bool {
        let is_wide = encoding == UTF_16LE || encoding == UTF_16BE;
        match self {
            Self::Unknown => false,
            _ => is_wide || !is_binary(bytes),
        }
    }
}

/// Whether the bytes are more than a text with a few odd bytes: a known binary format, or many control characters that
/// text does not have ("binary data bytes" of the MIME Sniffing standard).
fn is_binary(bytes: &[u8]) -> bool {
    if SIGNATURES.iter().any(|signature| bytes.starts_with(signature)) {
        return true;
    }
    let start = &bytes[..bytes.len().min(SNIFFED)];
    let is_control = |byte: &&u8| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    start.iter().filter(is_control).count() * MIN_SHARE > start.len()
}

/// Bytes that are searched for control characters, as in the MIME Sniffing standard.
const SNIFFED: usize = 1445;
/// One control character of so many bytes makes a body binary. Of random bytes, every tenth is one.
const MIN_SHARE: usize = 20;
/// The first bytes of binary formats: images, fonts, archives, documents, media.
const SIGNATURES: [&[u8]; 16] = [
    b"\x89PNG\r\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"RIFF",
    b"%PDF-",
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"\x28\xb5\x2f\xfd",
    b"BZh",
    b"\xfd7zXZ",
    b"7z\xbc\xaf",
    b"wOFF",
    b"wOF2",
    b"OggS",
    b"ID3",
];
