//! Reads the entries of a sitemap: XML, RSS, Atom, text or robots.txt. Pure.
//!
//! What can be read is returned, and the rest is described. An entry that is damaged or cut is never returned.

use std::borrow::Cow;
use std::io::Read;

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};
use flate2::read::MultiGzDecoder;

use super::sitemap_entries::SitemapEntries;
use super::sitemap_xml::read_xml;
use crate::text::charset;

/// The kind of file that the address of a sitemap promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SitemapKind {
    Sitemap,
    Robots,
}

/// Reads a file with the charset of its Content-Type. Fails if it is not a sitemap.
pub(super) fn parse_sitemap(
    bytes: &[u8],
    charset: Option<&'static Encoding>,
    kind: SitemapKind,
) -> Result<SitemapEntries, String> {
    let mut entries = SitemapEntries::default();
    let unpacked =
        if bytes.starts_with(&[0x1f, 0x8b]) { unpack(bytes, &mut entries)? } else { Cow::Borrowed(bytes) };
    let mut bytes = &*unpacked;
    if bytes.len() > MAX_BYTES {
        bytes = &bytes[..MAX_BYTES];
        entries.add_problem(|| "the sitemap exceeds 50 MiB; the rest was ignored".to_owned());
    }
    let text = decode(bytes, charset);
    let text = text.trim_start_matches('\u{feff}');
    if kind == SitemapKind::Robots {
        read_robots(text, &mut entries);
    } else if text.trim_start().starts_with('<') {
        read_xml(text, &mut entries)?;
    } else {
        read_lines(text, &mut entries)?;
    }
    Ok(entries)
}

/// Unpacks gzip. The part before an error is used.
fn unpack<'a>(bytes: &[u8], entries: &mut SitemapEntries) -> Result<Cow<'a, [u8]>, String> {
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(MAX_BYTES as u64 + 1).read_to_end(&mut unpacked);
    if let Err(cause) = read {
        if unpacked.is_empty() {
            return Err(format!("invalid gzip: {cause}"));
        }
        entries.add_problem(|| format!("invalid gzip after {} bytes: {cause}", unpacked.len()));
    }
    Ok(unpacked.into())
}

/// Decodes a file: by its byte order mark, its Content-Type, or its declaration.
fn decode<'a>(bytes: &'a [u8], charset: Option<&'static Encoding>) -> Cow<'a, str> {
    let without_mark = match bytes {
        [b'<', 0, ..] => Some(UTF_16LE),
        [0, b'<', ..] => Some(UTF_16BE),
        _ => None,
    };
    if let Some(encoding) = without_mark.or(charset) {
        let (text, _, is_malformed) = encoding.decode(bytes);
        if !is_malformed {
            return text;
        }
    }
    charset::decode_xml(bytes)
}

/// Reads one URL of each line.
fn read_lines(text: &str, entries: &mut SitemapEntries) -> Result<(), String> {
    let lines = text.lines().map(str::trim).enumerate();
    for (at, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        if entries.is_full() {
            break;
        }
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| line.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        if !is_url {
            entries.add_problem(|| format!("line {}: not a URL", at + 1));
        } else if line.contains('\u{fffd}') {
            entries.add_problem(|| {
                format!("line {}: the URL is not valid in the encoding of the sitemap", at + 1)
            });
        } else {
            entries.pages.push(line.to_owned());
        }
    }
    if entries.pages.is_empty() { Err("neither XML nor a list of URLs".to_owned()) } else { Ok(()) }
}

/// Reads the `Sitemap` lines of a robots.txt.
fn read_robots(text: &str, entries: &mut SitemapEntries) {
    for line in text.split(['\n', '\r']) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let url = value.split_whitespace().next().unwrap_or_default();
        if name.trim().eq_ignore_ascii_case("sitemap") && !url.is_empty() && !entries.is_full() {
            entries.sitemaps.push(url.to_owned());
        }
    }
    if entries.sitemaps.is_empty() {
        entries.add_problem(|| "robots.txt names no sitemap".to_owned());
    }
}

/// The limit of the sitemap protocol for one uncompressed file.
const MAX_BYTES: usize = 50 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn parse(bytes: &[u8]) -> Result<SitemapEntries, String> {
        parse_sitemap(bytes, None, SitemapKind::Sitemap)
    }

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    const SET: &str = "<urlset><url><loc>http://a.test/1</loc></url></urlset>";

    #[test]
    fn sitemaps_are_decoded_as_they_declare() {
        let body = |name: &str| {
            let entry = "<urlset><url><loc>http://a.test/\u{e9}</loc></url></urlset>";
            format!("<?xml version='1.0' encoding = \"{name}\"?>{entry}")
        };
        let latin = |text: &str| text.chars().map(|c| u8::try_from(c).unwrap()).collect::<Vec<u8>>();
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let utf16_be = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        for bytes in [
            body("UTF-8").into_bytes(),
            latin(&body("ISO-8859-1")),
            latin(&("\n ".to_owned() + &body("ISO-8859-1"))),
            body("UTF-16").into_bytes(),
            format!("\u{feff}{}", body("latin1")).into_bytes(),
            utf16(&format!("\u{feff}{}", body("UTF-16"))),
            utf16(&body("UTF-16")),
            utf16_be(&body("UTF-16")),
            pack(&latin(&body("ISO-8859-1"))),
        ] {
            assert_eq!(parse(&bytes).unwrap().pages, ["http://a.test/\u{e9}"]);
        }
        let undeclared = latin("<urlset><url><loc>http://a.test/\u{e9}</loc></url></urlset>");
        let of_header =
            parse_sitemap(&undeclared, Some(encoding_rs::WINDOWS_1252), SitemapKind::Sitemap).unwrap();
        assert_eq!(of_header.pages, ["http://a.test/\u{e9}"]);
        let unknown =
            parse(&latin(&(body("nonsense").replace("<urlset>", &SET.replace("</urlset>", ""))))).unwrap();
        assert_eq!(unknown.pages, ["http://a.test/1"]);
        assert!(unknown.problems[0].contains("not valid in the encoding"), "{:?}", unknown.problems);
    }

    #[test]
    fn a_text_sitemap_has_a_url_on_each_line() {
        let entries =
            parse(b"\xef\xbb\xbfhttp://a.test/1\r\n\n HTTPS://a.test/2?a=1&b=2 \nnone\nhttp://a.test/3")
                .unwrap();
        assert_eq!(entries.pages, ["http://a.test/1", "HTTPS://a.test/2?a=1&b=2", "http://a.test/3"]);
        assert_eq!(entries.problems, ["line 4: not a URL"]);
        assert!(parse(b"not a sitemap").is_err() && parse(b"").is_err());
    }

    #[test]
    fn robots_txt_names_sitemaps() {
        let text = b"User-agent: *\nDisallow: /x\nSITEMAP : http://a.test/s.xml # main\rsitemap:/t.xml\r\n#Sitemap: /no";
        let entries = parse_sitemap(text, None, SitemapKind::Robots).unwrap();
        assert_eq!(entries.sitemaps, ["http://a.test/s.xml", "/t.xml"]);
        let none = parse_sitemap(b"User-agent: *", None, SitemapKind::Robots).unwrap();
        assert_eq!(none.describe_problems().unwrap(), "robots.txt names no sitemap");
    }

    #[test]
    fn the_readable_part_of_gzip_is_used() {
        let mut packed = pack(SET.as_bytes());
        assert_eq!(parse(&packed).unwrap().pages, ["http://a.test/1"]);
        packed.truncate(packed.len() - 4);
        let entries = parse(&packed).unwrap();
        assert_eq!((entries.pages.len(), entries.problems.len()), (1, 1), "{entries:?}");
        assert!(parse(b"\x1f\x8bxx").unwrap_err().contains("gzip"));
    }

    #[test]
    fn a_gzip_bomb_is_truncated_and_reported() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"<urlset>").unwrap();
        for _ in 0..60 {
            packed.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let entries = parse(&packed.finish().unwrap()).unwrap();
        assert!(entries.problems[0].contains("50 MiB"), "{:?}", entries.problems);
    }
}
