//! A batch that follows links: scope, limits, canonical URLs and trap detection.

mod crawl_state;
mod dedup_key;
mod discover;
mod frontier;
mod scope;
mod session_ids;
mod trap;

use std::fmt::Write as _;

use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::extract::CssSelector;

pub(super) use discover::{Discovered, PageReader};
pub(super) use frontier::{Frontier, NewTasks, dedup_error};
pub use trap::Trap;

use scope::UrlPattern;

/// The links that a batch follows, and its limits. Only setters that parse text can fail.
///
/// A link is requested as the page has it, after the URL standard resolved it. URLs are compared without fragment,
/// needless `%` escapes, tracking parameters (`utm_source`, `gclid`, …) and session IDs (`PHPSESSID`, `;jsessionid=`,
/// …), so that each page is fetched once. If a page redirects to another URL, links to that URL are not followed. The
/// pages of a host are ordered by depth, then by discovery.
///
/// ```
/// use rungs::batch::CrawlOptions;
/// let options = CrawlOptions::new().links("a.next")?.links("pattern:/p/*")?.depth(3).max_pages(10_000);
/// # Ok::<(), rungs::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it follows nothing by itself"]
pub struct CrawlOptions {
    selectors: Vec<CssSelector>,
    patterns: Vec<UrlPattern>,
    depth: Option<u32>,
    max_pages: Option<u64>,
    external: bool,
    allowed_hosts: Vec<String>,
    trap_limit: u32,
    sort_query: bool,
    trust_canonical: bool,
}

impl CrawlOptions {
    /// Creates options that follow no links.
    pub const fn new() -> Self {
        Self {
            selectors: Vec::new(),
            patterns: Vec::new(),
            depth: None,
            max_pages: None,
            external: false,
            allowed_hosts: Vec::new(),
            trap_limit: DEFAULT_TRAP_LIMIT,
            sort_query: false,
            trust_canonical: false,
        }
    }

    /// Adds links to follow. A CSS selector selects links, or elements that contain links. `pattern:/p/*` selects
    /// links by path and query, `pattern:https://*.shop.example/*` by URL; `*` matches any text.
    ///
    /// Also `link`, `iframe` and `frame` elements that a selector matches are links.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] with the text and the column of the error, or with the element that cannot be
    /// followed.
    pub fn links(mut self, text: &str) -> Result<Self> {
        let invalid = |reason: String| {
            Error::new(ErrorKind::InvalidRequest, format!("`{}`: {reason}", text.escape_debug()))
        };
        match text.strip_prefix("pattern:") {
            Some(pattern) => self.patterns.push(UrlPattern::parse(pattern).map_err(invalid)?),
            None => {
                let selector = CssSelector::parse(text).map_err(|error| invalid(error.to_string()))?;
                if let Some(name) = selector.type_without_links() {
                    return Err(invalid(format!(
                        "a `{name}` element is not a link and contains none; {LINKS}"
                    )));
                }
                self.selectors.push(selector);
            }
        }
        Ok(self)
    }

    /// The maximum number of links between a listed page and a fetched page: 0 follows none. Default: unlimited.
    pub const fn depth(mut self, links: u32) -> Self {
        self.depth = Some(links);
        self
    }

    /// The maximum number of pages, including listed pages and those of earlier runs. Default: unlimited.
    pub const fn max_pages(mut self, pages: u64) -> Self {
        self.max_pages = Some(pages);
        self
    }

    /// Whether links to other sites are followed. A site is a registrable domain: `shop.example` includes
    /// `www.shop.example`. Default: false.
    pub const fn external(mut self, follow: bool) -> Self {
        self.external = follow;
        self
    }

    /// Follows links to this host and its subdomains from all pages, also to private addresses. Default: none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] when it is not a host.
    pub fn allow(mut self, host: &str) -> Result<Self> {
        let read = url::Host::parse(host.trim_start_matches("*."));
        let host = read.map_err(|_| {
            Error::new(ErrorKind::InvalidRequest, format!("`{}` is not a host", host.escape_debug()))
        })?;
        self.allowed_hosts.push(host.to_string());
        Ok(self)
    }

    /// The maximum number of pages of one URL pattern, at least 1. A pattern is one folder, where numbers and tokens
    /// in its path are equivalent. The limit is a tenth for pages that differ only in the query, and for pages below
    /// a folder that looks like a session ID. It is at most 400 for dates. Links beyond the limit are not followed;
    /// the summary lists their patterns and numbers. Default: 50,000.
    pub const fn trap_limit(mut self, pages: u32) -> Self {
        self.trap_limit = if pages == 0 { 1 } else { pages };
        self
    }

    /// Whether URLs that differ only in the order of parameters are one page. Default: false.
    pub const fn sort_query(mut self, sort: bool) -> Self {
        self.sort_query = sort;
        self
    }

    /// Whether links to the URL that a fetched page declares as `rel=canonical` are not followed. A wrong declaration
    /// keeps pages away. Default: false.
    pub const fn trust_canonical(mut self, trust: bool) -> Self {
        self.trust_canonical = trust;
        self
    }

    /// The label in a checkpoint. A resumed run must have the same options.
    pub(super) fn label(&self) -> String {
        let mut label = String::from(" following");
        for text in
            self.selectors.iter().map(CssSelector::as_str).chain(self.patterns.iter().map(UrlPattern::as_str))
        {
            let _ = write!(label, " `{text}`");
        }
        if let Some(depth) = self.depth {
            let _ = write!(label, " to depth {depth}");
        }
        if let Some(pages) = self.max_pages {
            let _ = write!(label, " up to {pages} pages");
        }
        if self.external {
            label.push_str(" anywhere");
        }
        for host in &self.allowed_hosts {
            let _ = write!(label, " and to {host}");
        }
        if self.trap_limit != DEFAULT_TRAP_LIMIT {
            let _ = write!(label, " with {} of a pattern", self.trap_limit);
        }
        if self.sort_query {
            label.push_str(" in any order of parameters");
        }
        if self.trust_canonical {
            label.push_str(" trusting canonical URLs");
        }
        label
    }
}

impl Default for CrawlOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The elements that a crawl follows.
pub(super) const LINKS: &str =
    "follow `a`, `area`, `link`, `iframe` or `frame`, or an element that contains `a` or `area`";
/// The default number of pages of one pattern.
const DEFAULT_TRAP_LIMIT: u32 = 50_000;

#[cfg(test)]
mod tests;
