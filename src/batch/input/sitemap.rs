//! Sitemaps: lists of pages, and indexes of such lists.

use std::collections::{HashSet, VecDeque};

use encoding_rs::Encoding;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use tokio::runtime::Handle;
use url::{ParseError, Url};

use super::sitemap_text::{SitemapKind, parse_sitemap};
use super::{BadLine, InputItem};
use crate::batch::task::Task;
use crate::exchange::credentials::copy_credentials;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::registrable_domain;
use crate::exchange::request::parse_url;
use crate::fetcher::Fetcher;
use crate::text::redact;

/// Iterates over the tasks of a sitemap and its nested sitemaps. Fetches them lazily, on a thread that may block.
pub(super) struct Sitemap {
    fetcher: Fetcher,
    runtime: Handle,
    site: Url,
    pending: VecDeque<PendingSitemap>,
    /// All sitemaps found so far.
    known: HashSet<String>,
    items: VecDeque<InputItem>,
    /// Whether the first sitemap may be missing.
    is_optional: bool,
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
    pub(super) fn new(fetcher: &Fetcher, runtime: Handle, url: &str) -> Result<Self> {
        let site = parse_url(url)?;
        Ok(Self {
            fetcher: fetcher.clone(),
            runtime,
            pending: [PendingSitemap { url: site.to_string(), depth: 0, requires_public: false }].into(),
            known: [site.to_string()].into(),
            items: VecDeque::new(),
            is_optional: false,
            site,
        })
    }

    /// Reads the sitemaps that the robots.txt of a listed URL's site names. The site may have none.
    pub(super) fn of_robots(fetcher: &Fetcher, runtime: Handle, listed: &Url) -> Result<Self> {
        let mut robots = listed.clone();
        robots.set_path("/robots.txt");
        robots.set_query(None);
        robots.set_fragment(None);
        Ok(Self { is_optional: true, ..Self::new(fetcher, runtime, robots.as_str())? })
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
        let is_robots = *depth == 0 && self.site.path() == "/robots.txt";
        let kind = if is_robots { SitemapKind::Robots } else { SitemapKind::Sitemap };
        let entries = parse_sitemap(page.bytes(), charset(page.headers()), kind).map_err(|reason| {
            Error::new(ErrorKind::Config, format!("the sitemap {}: {reason}", redact::url_text(url)))
        })?;
        if let Some(problems) = entries.describe_problems() {
            self.add_skipped(url, &problems);
        }
        let requires_public = page.restricts_links();
        for loc in entries.pages {
            self.add_page(&loc, page.url(), requires_public);
        }
        for loc in entries.sitemaps {
            // A site's robots.txt may name sitemaps at any site.
            self.add_sitemap(&loc, page.url(), depth + 1, requires_public, is_robots);
        }
        Ok(())
    }

    fn add_page(&mut self, loc: &str, base: &Url, requires_public: bool) {
        match resolve(loc, base) {
            Ok(url) if is_same_site(&url, &self.site) => {
                let seed_origin = Some(self.site.origin().ascii_serialization());
                let url = self.with_credentials(url);
                let task = Task { seed_origin, allow_private: !requires_public, ..Task::from(url) };
                self.items.push_back(InputItem::Task(task));
            }
            Ok(_) => self.add_skipped(loc, "the page belongs to another site"),
            Err(reason) => self.add_skipped(loc, &reason),
        }
    }

    fn add_sitemap(&mut self, loc: &str, base: &Url, depth: u32, requires_public: bool, is_any_site: bool) {
        let reason = match resolve(loc, base) {
            Err(reason) => reason,
            Ok(url) if !is_any_site && !is_same_site(&url, &self.site) => {
                "the sitemap belongs to another site".to_owned()
            }
            Ok(url) if self.known.contains(url.as_str()) => return,
            Ok(_) if depth > MAX_DEPTH => format!("the sitemap is nested more than {MAX_DEPTH} levels"),
            Ok(_) if self.known.len() >= MAX_SITEMAPS => {
                format!("the limit of {MAX_SITEMAPS} sitemaps is reached")
            }
            Ok(url) => {
                self.known.insert(url.to_string());
                let url = self.with_credentials(url);
                self.pending.push_back(PendingSitemap { url, depth, requires_public });
                return;
            }
        };
        self.add_skipped(loc, &reason);
    }

    /// Returns a URL with the credentials of the sitemap that the caller named, if it has the same origin.
    fn with_credentials(&self, mut url: Url) -> String {
        copy_credentials(&self.site, &mut url);
        url.into()
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
                Err(error) if sitemap.depth == 0 && !self.is_optional => {
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

/// Resolves an entry, which may be relative to the sitemap.
fn resolve(loc: &str, base: &Url) -> std::result::Result<Url, String> {
    match Url::parse(loc) {
        Err(ParseError::RelativeUrlWithoutBase) => {
            let first = loc.split(['/', '?', '#']).next().unwrap_or_default();
            if !first.is_empty() && (Some(first) == base.host_str() || first.starts_with("www.")) {
                return Err("the URL has no scheme".to_owned());
            }
            base.join(loc).map_err(|cause| cause.to_string())
        }
        _ => parse_url(loc).map_err(|error| error.chain()),
    }
}

/// Returns the charset of the Content-Type.
fn charset(headers: &HeaderMap) -> Option<&'static Encoding> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
    let (_, charset) = content_type.split_once("charset=")?;
    Encoding::for_label(charset.split(';').next()?.trim().trim_matches(['"', '\'']).as_bytes())
}

const MAX_DEPTH: u32 = 3;
const MAX_SITEMAPS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_may_be_relative_but_not_without_scheme() {
        let base = Url::parse("https://shop.example/maps/s.xml").unwrap();
        for (loc, expected) in [
            ("/1", Ok("https://shop.example/1")),
            ("2?a=1&b=2", Ok("https://shop.example/maps/2?a=1&b=2")),
            ("//m.shop.example/3", Ok("https://m.shop.example/3")),
            ("http://other.example/4", Ok("http://other.example/4")),
            ("shop.example/5", Err("no scheme")),
            ("www.shop.example/6", Err("no scheme")),
            ("mailto:x@shop.example", Err("")),
            ("javascript:x", Err("")),
        ] {
            match (resolve(loc, &base), expected) {
                (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected),
                (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{loc}: {reason}"),
                (found, _) => panic!("{loc}: {found:?}"),
            }
        }
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
