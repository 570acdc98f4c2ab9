//! Sitemaps: the pages a site lists, and the lists of such lists.

use std::collections::{HashSet, VecDeque};
use std::io::Read;

use flate2::read::MultiGzDecoder;
use quick_xml::Reader;
use quick_xml::events::Event;
use tokio::runtime::Handle;
use url::Url;

use super::{BadLine, InputItem};
use crate::batch::task::Task;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fetcher::Fetcher;
use crate::redact;
use crate::registrable_domain;
use crate::request::parse_url;

/// The tasks of a sitemap and of those it names. Fetches them as it is read, on a thread that may block.
pub(super) struct Sitemap {
    fetcher: Fetcher,
    runtime: Handle,
    site: Url,
    /// Sitemaps to fetch, with how deep they are.
    pending: VecDeque<(String, u32)>,
    /// Those that were named so far.
    known: HashSet<String>,
    items: VecDeque<InputItem>,
}

impl Sitemap {
    pub(super) fn new(fetcher: &Fetcher, url: &str) -> Result<Self> {
        let site = parse_url(url)?;
        Ok(Self {
            fetcher: fetcher.clone(),
            runtime: Handle::current(),
            pending: [(site.to_string(), 0)].into(),
            known: [site.to_string()].into(),
            items: VecDeque::new(),
            site,
        })
    }

    fn load(&mut self, url: &str, depth: u32) -> Result<()> {
        // What settings give every request is for the origin of the sitemap that was named.
        let home = self.site.origin();
        let (request, _) = self.fetcher.get(url).restricted(|to| *to == home);
        let page = self.runtime.block_on(request.send())?;
        if !page.status().is_success() {
            let message = format!("the sitemap {} answered {}", redact::url_text(url), page.status());
            return Err(Error::new(ErrorKind::Config, message));
        }
        let listed = parse_sitemap(page.bytes()).map_err(|what| {
            Error::new(ErrorKind::Config, format!("the sitemap {}: {what}", redact::url_text(url)))
        })?;
        if let Some(what) = &listed.truncated {
            self.add_skipped(url, what);
        }
        for place in listed.pages {
            self.add_page(&place);
        }
        for place in listed.sitemaps {
            self.add_sitemap(place, depth + 1);
        }
        Ok(())
    }

    fn add_page(&mut self, place: &str) {
        match parse_url(place) {
            Ok(url) if is_same_site(&url, &self.site) => {
                let seed_origin = Some(self.site.origin().ascii_serialization());
                self.items.push_back(InputItem::Task(Task { seed_origin, ..Task::from(place) }));
            }
            Ok(_) => self.add_skipped(place, "another site's page"),
            Err(error) => self.add_skipped(place, &error.chain()),
        }
    }

    fn add_sitemap(&mut self, place: String, depth: u32) {
        if self.known.contains(&place) {
            return;
        }
        let what = match parse_url(&place) {
            Err(error) => error.chain(),
            Ok(url) if !is_same_site(&url, &self.site) => "another site's sitemap".to_owned(),
            Ok(_) if depth > MAX_DEPTH => format!("a sitemap more than {MAX_DEPTH} levels down"),
            Ok(_) if self.known.len() >= MAX_SITEMAPS => format!("more than {MAX_SITEMAPS} sitemaps"),
            Ok(_) => {
                self.known.insert(place.clone());
                self.pending.push_back((place, depth));
                return;
            }
        };
        self.add_skipped(&place, &what);
    }

    fn add_skipped(&mut self, place: &str, what: &str) {
        let text = redact::url_text(place);
        let message = format!("sitemap: {text}: {what}");
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
            let (url, depth) = self.pending.pop_front()?;
            match self.load(&url, depth) {
                Ok(()) => {}
                // Without the first there is nothing to do at all.
                Err(error) if depth == 0 => {
                    self.pending.clear();
                    return Some(Err(error));
                }
                Err(error) => self.add_skipped(&url, &error.chain()),
            }
        }
    }
}

/// Whether a page is of the sitemap's site: the same registrable domain, or the same address.
fn is_same_site(url: &Url, home: &Url) -> bool {
    registrable_domain::registrable_domain(url)
        .is_some_and(|name| registrable_domain::registrable_domain(home) == Some(name))
}

/// What one file lists.
#[derive(Debug, Default, PartialEq)]
struct SitemapEntries {
    pages: Vec<String>,
    sitemaps: Vec<String>,
    /// Why not all of it was taken.
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
        .map_err(|cause| format!("broken gzip: {cause}"))?;
    parse_xml(&text[..text.len().min(MAX_BYTES)], text.len() > MAX_BYTES)
}

fn parse_xml(text: &[u8], is_cut: bool) -> std::result::Result<SitemapEntries, String> {
    let mut reader = Reader::from_reader(text);
    let mut listed = SitemapEntries::default();
    let (mut path, mut place, mut is_sitemap) = (Vec::<Vec<u8>>::new(), None::<String>, false);
    if is_cut {
        listed.truncated = Some("more than 50 MiB; the rest is not read".to_owned());
    }
    loop {
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(_) if is_cut => break,
            Err(cause) => return Err(format!("broken XML at byte {}: {cause}", reader.error_position())),
        };
        match event {
            Event::Start(start) => {
                if path.len() >= MAX_NESTING {
                    return Err(format!("elements more than {MAX_NESTING} deep"));
                }
                let name = start.local_name().as_ref().to_vec();
                is_sitemap |= path.is_empty() && matches!(&name[..], b"urlset" | b"sitemapindex");
                if name == b"loc" && path.len() == 2 {
                    place = Some(String::new());
                }
                path.push(name);
            }
            Event::Text(text) => {
                if let Some(place) = &mut place {
                    place.push_str(&text.decode().map_err(|cause| cause.to_string())?);
                }
            }
            Event::CData(text) => {
                if let Some(place) = &mut place {
                    place.push_str(&text.decode().map_err(|cause| cause.to_string())?);
                }
            }
            Event::GeneralRef(name) => {
                let Some(place) = &mut place else { continue };
                match (name.resolve_char_ref(), name.decode().ok().as_deref()) {
                    (Ok(Some(c)), _) => place.push(c),
                    (_, Some(name)) => {
                        place.push_str(quick_xml::escape::resolve_xml_entity(name).unwrap_or_default());
                    }
                    _ => {}
                }
            }
            Event::End(_) => {
                path.pop();
                let Some(found) = place.take_if(|_| path.len() == 2) else { continue };
                if listed.pages.len() + listed.sitemaps.len() >= MAX_ENTRIES {
                    listed.truncated = Some(format!("more than {MAX_ENTRIES} entries; the rest is not read"));
                    break;
                }
                let found = found.trim().to_owned();
                match &path[1][..] {
                    b"url" => listed.pages.push(found),
                    b"sitemap" => listed.sitemaps.push(found),
                    _ => {}
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if is_sitemap { Ok(listed) } else { Err("neither a urlset nor a sitemapindex".to_owned()) }
}

/// As the protocol has it for one file, after unpacking.
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
    fn pages_are_found_plain_and_gzipped_and_pictures_are_not() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(SET.as_bytes()).unwrap();
        for bytes in [SET.as_bytes().to_vec(), packed.finish().unwrap()] {
            let listed = parse_sitemap(&bytes).unwrap();
            assert_eq!(listed.pages, ["https://a.test/?x=1&y=2", "https://a.test/2"]);
            assert!(listed.sitemaps.is_empty() && listed.truncated.is_none());
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
            ("<urlset><url></loc></urlset>", "broken XML"),
            ("", "neither"),
            ("\u{1f}\u{8b}", "neither"),
        ] {
            let told = parse_sitemap(text.as_bytes()).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
        }
        assert!(parse_sitemap(b"\x1f\x8bxx").unwrap_err().contains("gzip"));
        assert!(parse_sitemap("<urlset>".repeat(100).as_bytes()).unwrap_err().contains("deep"));
    }

    #[test]
    fn a_bomb_and_a_list_without_end_are_cut_and_said() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"<urlset>").unwrap();
        for _ in 0..60 {
            packed.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let listed = parse_sitemap(&packed.finish().unwrap()).unwrap();
        assert!(listed.truncated.is_some());
        let many =
            format!("<urlset>{}</urlset>", "<url><loc>http://a.test/</loc></url>".repeat(MAX_ENTRIES + 1));
        let listed = parse_sitemap(many.as_bytes()).unwrap();
        assert_eq!((listed.pages.len(), listed.truncated.is_some()), (MAX_ENTRIES, true));
    }

    #[test]
    fn pages_of_other_sites_and_private_addresses_are_not_of_the_site() {
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
