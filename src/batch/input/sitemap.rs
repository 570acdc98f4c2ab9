//! Sitemaps: lists of pages, and indexes of such lists.

use std::collections::{HashSet, VecDeque};
use std::io::Read;

use flate2::read::MultiGzDecoder;
use quick_xml::Reader;
use quick_xml::events::Event;
use tokio::runtime::Handle;
use url::Url;

use super::{BadLine, InputItem};
use crate::batch::task::Task;
use crate::charset;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fetcher::Fetcher;
use crate::redact;
use crate::registrable_domain;
use crate::request::parse_url;

/// Iterates over the tasks of a sitemap and its nested sitemaps. Fetches them lazily, on a thread that may block.
pub(super) struct Sitemap {
    fetcher: Fetcher,
    runtime: Handle,
    site: Url,
    pending: VecDeque<PendingSitemap>,
    /// All sitemaps found so far.
    known: HashSet<String>,
    items: VecDeque<InputItem>,
}

/// A sitemap to fetch.
struct PendingSitemap {
    url: String,
    /// The number of indexes between the sitemap that the caller named and this one.
    depth: u32,
    /// Whether a public site named it, so that it must be public.
    requires_public: bool,
}

impl Sitemap {
    pub(super) fn new(fetcher: &Fetcher, url: &str) -> Result<Self> {
        let site = parse_url(url)?;
        Ok(Self {
            fetcher: fetcher.clone(),
            runtime: Handle::current(),
            pending: [PendingSitemap { url: site.to_string(), depth: 0, requires_public: false }].into(),
            known: [site.to_string()].into(),
            items: VecDeque::new(),
            site,
        })
    }

    fn load(&mut self, sitemap: &PendingSitemap) -> Result<()> {
        let PendingSitemap { url, depth, requires_public } = sitemap;
        // The headers of the settings are for the origin of the sitemap that the user named.
        let origin = self.site.origin();
        let (request, _) = self.fetcher.get(url).restricted(|to| *to == origin);
        let request = if *requires_public { request.public_only() } else { request };
        let page = self.runtime.block_on(request.send())?;
        if !page.status().is_success() {
            let message = format!("the sitemap {} returned status {}", redact::url_text(url), page.status());
            return Err(Error::new(ErrorKind::Config, message));
        }
        let entries = parse_sitemap(page.bytes()).map_err(|reason| {
            Error::new(ErrorKind::Config, format!("the sitemap {}: {reason}", redact::url_text(url)))
        })?;
        if let Some(reason) = &entries.truncated {
            self.add_skipped(url, reason);
        }
        let requires_public = page.restricts_links();
        for loc in entries.pages {
            self.add_page(&loc, requires_public);
        }
        for url in entries.sitemaps {
            self.add_sitemap(PendingSitemap { url, depth: depth + 1, requires_public });
        }
        Ok(())
    }

    fn add_page(&mut self, loc: &str, requires_public: bool) {
        match parse_url(loc) {
            Ok(url) if is_same_site(&url, &self.site) => {
                let seed_origin = Some(self.site.origin().ascii_serialization());
                let task = Task { seed_origin, allow_private: !requires_public, ..Task::from(loc) };
                self.items.push_back(InputItem::Task(task));
            }
            Ok(_) => self.add_skipped(loc, "the page belongs to another site"),
            Err(error) => self.add_skipped(loc, &error.chain()),
        }
    }

    fn add_sitemap(&mut self, sitemap: PendingSitemap) {
        let PendingSitemap { url: loc, depth, .. } = &sitemap;
        if self.known.contains(loc) {
            return;
        }
        let reason = match parse_url(loc) {
            Err(error) => error.chain(),
            Ok(url) if !is_same_site(&url, &self.site) => "the sitemap belongs to another site".to_owned(),
            Ok(_) if *depth > MAX_DEPTH => format!("the sitemap is nested more than {MAX_DEPTH} levels"),
            Ok(_) if self.known.len() >= MAX_SITEMAPS => {
                format!("the limit of {MAX_SITEMAPS} sitemaps is reached")
            }
            Ok(_) => {
                self.known.insert(loc.clone());
                self.pending.push_back(sitemap);
                return;
            }
        };
        self.add_skipped(loc, &reason);
    }

    fn add_skipped(&mut self, loc: &str, reason: &str) {
        let text = redact::url_text(loc);
        let message = format!("sitemap: {text}: {reason}");
        self.items.push_back(InputItem::BadLine(BadLine { text, message }));
    }
}

impl Iterator for Sitemap {
    type Item = Result<InputItem>;

    fn next(&mut self) -> Option<Result<InputItem>> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(Ok(item));
            }
            let sitemap = self.pending.pop_front()?;
            match self.load(&sitemap) {
                Ok(()) => {}
                // Without the first sitemap there are no tasks.
                Err(error) if sitemap.depth == 0 => {
                    self.pending.clear();
                    return Some(Err(error));
                }
                Err(error) => self.add_skipped(&sitemap.url, &error.chain()),
            }
        }
    }
}

/// Whether a page belongs to the sitemap's site: the same registrable domain, or the same IP address.
fn is_same_site(url: &Url, site: &Url) -> bool {
    registrable_domain::registrable_domain(url)
        .is_some_and(|name| registrable_domain::registrable_domain(site) == Some(name))
}

/// The entries of one file.
#[derive(Debug, Default, PartialEq)]
struct SitemapEntries {
    pages: Vec<String>,
    sitemaps: Vec<String>,
    /// Why the entries are incomplete.
    truncated: Option<String>,
}

fn parse_sitemap(bytes: &[u8]) -> std::result::Result<SitemapEntries, String> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return parse_xml(&bytes[..bytes.len().min(MAX_BYTES)], bytes.len() > MAX_BYTES);
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|cause| format!("invalid gzip: {cause}"))?;
    parse_xml(&text[..text.len().min(MAX_BYTES)], text.len() > MAX_BYTES)
}

fn parse_xml(text: &[u8], is_cut: bool) -> std::result::Result<SitemapEntries, String> {
    let text = charset::decode_xml(text);
    let mut reader = Reader::from_str(&text);
    let mut entries = SitemapEntries::default();
    let (mut path, mut loc, mut is_sitemap) = (Vec::<String>::new(), None::<String>, false);
    if is_cut {
        entries.truncated = Some("the sitemap exceeds 50 MiB; the rest was ignored".to_owned());
    }
    loop {
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(_) if is_cut => break,
            Err(cause) => return Err(format!("invalid XML at byte {}: {cause}", reader.error_position())),
        };
        match event {
            Event::Start(start) => {
                if path.len() >= MAX_NESTING {
                    return Err(format!("elements are nested more than {MAX_NESTING} levels"));
                }
                let name = start.local_name().as_ref().to_owned();
                is_sitemap |= path.is_empty() && matches!(&*name, "urlset" | "sitemapindex");
                if name == "loc" && path.len() == 2 {
                    loc = Some(String::new());
                }
                path.push(name);
            }
            Event::Text(text) => {
                if let Some(loc) = &mut loc {
                    loc.push_str(&text);
                }
            }
            Event::CData(text) => {
                if let Some(loc) = &mut loc {
                    loc.push_str(&text);
                }
            }
            Event::GeneralRef(name) => {
                let Some(loc) = &mut loc else { continue };
                match name.resolve_char_ref() {
                    Ok(Some(c)) => loc.push(c),
                    _ => loc.push_str(quick_xml::escape::resolve_xml_entity(&name).unwrap_or_default()),
                }
            }
            Event::End(_) => {
                path.pop();
                let Some(found) = loc.take_if(|_| path.len() == 2) else { continue };
                if entries.pages.len() + entries.sitemaps.len() >= MAX_ENTRIES {
                    entries.truncated =
                        Some(format!("the sitemap exceeds {MAX_ENTRIES} entries; the rest was ignored"));
                    break;
                }
                let found = found.trim().to_owned();
                match &*path[1] {
                    "url" => entries.pages.push(found),
                    "sitemap" => entries.sitemaps.push(found),
                    _ => {}
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if is_sitemap {
        Ok(entries)
    } else {
        Err("the root element is neither urlset nor sitemapindex".to_owned())
    }
}

/// The limit of the sitemap protocol for one uncompressed file.
const MAX_BYTES: usize = 50 << 20;
const MAX_ENTRIES: usize = 50_000;
const MAX_DEPTH: u32 = 3;
const MAX_SITEMAPS: usize = 10_000;
const MAX_NESTING: usize = 64;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const SET: &str = r#"<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:image="i">
        <url><loc> https://a.test/?x=1&amp;y=&#50; </loc><image:image><image:loc>https://a.test/i.png</image:loc></image:image></url>
        <url><loc><![CDATA[https://a.test/2]]></loc></url></urlset>"#;

    #[test]
    fn pages_are_read_plain_and_gzipped_and_images_are_ignored() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(SET.as_bytes()).unwrap();
        for bytes in [SET.as_bytes().to_vec(), packed.finish().unwrap()] {
            let entries = parse_sitemap(&bytes).unwrap();
            assert_eq!(entries.pages, ["https://a.test/?x=1&y=2", "https://a.test/2"]);
            assert!(entries.sitemaps.is_empty() && entries.truncated.is_none());
        }
    }

    #[test]
    fn sitemaps_are_decoded_as_they_declare() {
        let body = |name: &str| {
            let entry = "<urlset><url><loc>http://a.test/\u{e9}</loc></url></urlset>";
            format!("<?xml version='1.0' encoding = \"{name}\"?>{entry}")
        };
        let latin = |text: &str| text.chars().map(|c| u8::try_from(c).unwrap()).collect::<Vec<u8>>();
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        for (bytes, expected) in [
            (body("UTF-8").into_bytes(), "http://a.test/\u{e9}"),
            (latin(&body("ISO-8859-1")), "http://a.test/\u{e9}"),
            (latin(&body("nonsense")), "http://a.test/\u{fffd}"),
            (body("UTF-16").into_bytes(), "http://a.test/\u{e9}"),
            (format!("\u{feff}{}", body("latin1")).into_bytes(), "http://a.test/\u{e9}"),
            (utf16(&format!("\u{feff}{}", body("UTF-16"))), "http://a.test/\u{e9}"),
        ] {
            assert_eq!(parse_sitemap(&bytes).unwrap().pages, [expected]);
        }
    }

    #[test]
    fn an_index_lists_sitemaps() {
        let text = b"<sitemapindex><sitemap><loc>https://a.test/s1.xml.gz</loc></sitemap></sitemapindex>";
        assert_eq!(parse_sitemap(text).unwrap().sitemaps, ["https://a.test/s1.xml.gz"]);
    }

    #[test]
    fn input_that_is_not_a_sitemap_is_reported() {
        for (text, expected) in [
            ("<html><body></body></html>", "neither"),
            ("<urlset><url></loc></urlset>", "invalid XML"),
            ("", "neither"),
            ("\u{1f}\u{8b}", "neither"),
        ] {
            let error = parse_sitemap(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(parse_sitemap(b"\x1f\x8bxx").unwrap_err().contains("gzip"));
        assert!(parse_sitemap("<urlset>".repeat(100).as_bytes()).unwrap_err().contains("nested"));
    }

    #[test]
    fn a_gzip_bomb_and_an_endless_list_are_truncated_and_reported() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"<urlset>").unwrap();
        for _ in 0..60 {
            packed.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let entries = parse_sitemap(&packed.finish().unwrap()).unwrap();
        assert!(entries.truncated.is_some());
        let many =
            format!("<urlset>{}</urlset>", "<url><loc>http://a.test/</loc></url>".repeat(MAX_ENTRIES + 1));
        let entries = parse_sitemap(many.as_bytes()).unwrap();
        assert_eq!((entries.pages.len(), entries.truncated.is_some()), (MAX_ENTRIES, true));
    }

    #[test]
    fn other_sites_and_private_addresses_do_not_belong_to_the_site() {
        let site = Url::parse("https://www.shop.example/sitemap.xml").unwrap();
        for (url, expected) in [
            ("https://shop.example/a", true),
            ("http://m.shop.example/a", true),
            ("https://other.example/", false),
            ("http://127.0.0.1/", false),
            ("http://localhost/", false),
        ] {
            assert_eq!(is_same_site(&Url::parse(url).unwrap(), &site), expected, "{url}");
        }
    }
}
