//! Decides which links belong to a crawl. Pure.

use url::Url;

use super::CrawlOptions;
use crate::exchange::registrable_domain;

/// A URL pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UrlPattern {
    text: String,
    /// The pattern matches the whole URL, not only path and query.
    is_absolute: bool,
}

impl UrlPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(format!("column {MAX_PATTERN_BYTES}: the pattern exceeds {MAX_PATTERN_BYTES} bytes"));
        }
        let is_absolute = text.starts_with("http") || text.starts_with('*');
        if !is_absolute && !text.starts_with('/') {
            return Err("column 9: a pattern must begin with `/`, `http` or `*`".to_owned());
        }
        Ok(Self { text: text.to_owned(), is_absolute })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, url: &Url) -> bool {
        if self.is_absolute {
            return glob_matches(self.text.as_bytes(), url.as_str().as_bytes());
        }
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        glob_matches(self.text.as_bytes(), path.as_bytes())
    }
}

/// Whether `text` matches `pattern`, where `*` matches any text. The cost is at most the product of both lengths.
fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // The position of the last `*`, and the end of the text that it matches so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, reached)) = star {
            star = Some((at, reached + 1));
            p = at + 1;
            t = reached + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

impl CrawlOptions {
    /// Whether a link is in the scope of a crawl with these seed URLs.
    pub(super) fn is_in_scope(&self, link: &Url, seed_urls: &[&Url]) -> bool {
        let Some(host) = link.host_str() else { return false };
        if self.external
            || seed_urls.iter().any(|seed_url| {
                registrable_domain::registrable_domain(seed_url)
                    == registrable_domain::registrable_domain(link)
            })
        {
            return true;
        }
        self.is_allowed_host(host)
    }

    /// Whether the caller allowed this host, or a domain that it belongs to.
    pub(in crate::batch) fn is_allowed_host(&self, host: &str) -> bool {
        self.allowed_hosts.iter().any(|allowed| {
            host.strip_suffix(allowed.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

const MAX_PATTERN_BYTES: usize = 2000;
