//! A batch that follows links: which, how far, and where it stops by itself.

mod canonicalize;
mod discover;
mod frontier;
mod scope;
mod trap;

use std::fmt::Write as _;

use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::extract::CssSelector;

pub(super) use discover::{Discovered, PageReader};
pub(super) use frontier::{Frontier, NewTasks, dedup_error};
pub use trap::Trap;

use scope::UrlPattern;

/// Which links of its pages a batch follows, and how far. Setters cannot fail, but those that read what was typed.
///
/// A page is one URL, however it is written: scheme and host in lower case, no default port, no `.` and `..`, no
/// fragment, no needless `%`, no credentials, no parameters that only track (`utm_source`, `gclid`, …) or name a
/// session (`PHPSESSID`, `;jsessionid=`, …). Where a page answers for another URL, by a redirect or by
/// `rel=canonical`, that one is not fetched for a link any more. Of one host, pages nearer to what was listed come
/// first, and of these those found first.
///
/// ```
/// use rungs::batch::Follow;
/// let follow = Follow::new().links("a.next")?.links("pattern:/p/*")?.depth(3).max_pages(10_000);
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
}

impl CrawlOptions {
    /// Follows nothing so far.
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
        }
    }

    /// Follows these links too: a CSS selector takes what it matches, or the links in it; `pattern:/p/*` every link of
    /// the page whose path and query are so, `pattern:https://*.shop.example/*` whose URL is, `*` being
    /// anything.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] naming what was written and the column that is wrong.
    pub fn links(mut self, text: &str) -> Result<Self> {
        let wrong = |wrong: String| {
            Error::new(ErrorKind::InvalidRequest, format!("`{}`: {wrong}", text.escape_debug()))
        };
        match text.strip_prefix("pattern:") {
            Some(pattern) => self.patterns.push(UrlPattern::parse(pattern).map_err(wrong)?),
            None => self.selectors.push(CssSelector::parse(text).map_err(|fault| wrong(fault.to_string()))?),
        }
        Ok(self)
    }

    /// The most links between a page that was listed and one that is fetched: 0 follows none. Default: no limit.
    pub const fn depth(mut self, links: u32) -> Self {
        self.depth = Some(links);
        self
    }

    /// The most pages, those that were listed and those of earlier runs among them. Default: no limit.
    pub const fn max_pages(mut self, pages: u64) -> Self {
        self.max_pages = Some(pages);
        self
    }

    /// Whether links to other sites are followed. A site is a registrable domain: `shop.example` with `www.shop.example`.
    /// Default: false.
    pub const fn external(mut self, follow: bool) -> Self {
        self.external = follow;
        self
    }

    /// Follows links to this host, and to those under it, from everywhere. Default: none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] when it is no host.
    pub fn allow(mut self, host: &str) -> Result<Self> {
        let read = url::Host::parse(host.trim_start_matches("*."));
        let host = read.map_err(|_| {
            Error::new(ErrorKind::InvalidRequest, format!("`{}` is not a host", host.escape_debug()))
        })?;
        self.allowed_hosts.push(host.to_string());
        Ok(self)
    }

    /// The most pages of one pattern, from 1: those of one folder, numbers and long names of folders aside. Of pages that differ
    /// by query alone a tenth of it, of those below a folder that looks like a session's a tenth, of those that are a
    /// date at most 400. Links beyond are not followed, and the summary says how many and of which
    /// pattern. Default: 50,000.
    pub const fn trap_limit(mut self, pages: u32) -> Self {
        self.trap_limit = if pages == 0 { 1 } else { pages };
        self
    }

    /// Whether URLs whose parameters differ in order alone are one page. Default: false.
    pub const fn sort_query(mut self, sort: bool) -> Self {
        self.sort_query = sort;
        self
    }

    /// How a checkpoint calls it: a run must go on as it began.
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
        label
    }
}

impl Default for CrawlOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Pages of one pattern.
const DEFAULT_TRAP_LIMIT: u32 = 50_000;

#[cfg(test)]
mod tests;
