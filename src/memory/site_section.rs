//! The site and the section of it that a URL belongs to. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::exchange::registrable_domain;

/// A section of a site. A tier that works for one page of it is assumed to work for the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SiteSection {
    /// The registrable domain (`shop.example` for `www.shop.example`), the host name if it has none, or the IP
    /// address; with the port unless that is the scheme's default.
    pub site: String,
    /// The first folder of the path, `/p/` for `/p/1.html`; `/` for pages at the root.
    #[serde(rename = "group")]
    pub path_prefix: String,
}

impl SiteSection {
    /// Returns the section that `url` belongs to.
    #[must_use]
    pub fn from_url(url: &Url) -> Self {
        let name = registrable_domain::site_key(url);
        let site = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let first = url.path().strip_prefix('/').and_then(|path| path.split_once('/'));
        let path_prefix = match first {
            Some((folder, _)) if !folder.is_empty() && folder.len() <= MAX_PREFIX_LEN => {
                format!("/{folder}/")
            }
            _ => "/".to_owned(),
        };
        Self { site, path_prefix }
    }
}

impl fmt::Display for SiteSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.site, self.path_prefix)
    }
}

/// A longer first folder is not used as a section, in bytes.
const MAX_PREFIX_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_belongs_to_its_registrable_domain_and_first_folder() {
        let long = format!("https://a.example/{}/x", "y".repeat(MAX_PREFIX_LEN + 1));
        for (url, site, path_prefix) in [
            ("https://www.shop.example/p/1.html?q=/a/", "shop.example", "/p/"),
            ("https://shop.example/p/q/r", "shop.example", "/p/"),
            ("https://shop.example/p/", "shop.example", "/p/"),
            ("https://shop.example/p", "shop.example", "/"),
            ("https://shop.example", "shop.example", "/"),
            ("https://shop.example//p/1", "shop.example", "/"),
            ("https://a.b.shop.co.uk/", "shop.co.uk", "/"),
            ("https://jane.github.io/x/y", "jane.github.io", "/x/"),
            ("https://shop.example.:8443/", "shop.example:8443", "/"),
            ("http://shop.example:80/", "shop.example", "/"),
            ("http://127.0.0.1:8080/a/b", "127.0.0.1:8080", "/a/"),
            ("http://[::1]/a/b", "[::1]", "/a/"),
            ("http://localhost/", "localhost", "/"),
            (&long, "a.example", "/"),
        ] {
            let section = SiteSection::from_url(&url.parse().unwrap());
            assert_eq!((section.site.as_str(), section.path_prefix.as_str()), (site, path_prefix), "{url}");
        }
    }
}
