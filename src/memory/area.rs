//! Which part of which site a URL belongs to. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::site;

/// A part of a site: what works on one page of it is taken to work on the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Area {
    /// The registrable domain (`shop.example` for `www.shop.example`), the name itself where nobody can
    /// register one, or the address; with the port where that is not the scheme's own.
    pub site: String,
    /// The first folder of the path, `/p/` for `/p/1.html`; `/` for pages at the root.
    pub group: String,
}

impl Area {
    /// Where `url` belongs.
    #[must_use]
    pub fn of(url: &Url) -> Self {
        let name = site::name(url);
        let site = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let first = url.path().strip_prefix('/').and_then(|path| path.split_once('/'));
        let group = match first {
            Some((folder, _)) if !folder.is_empty() && folder.len() <= MAX_FOLDER => format!("/{folder}/"),
            _ => "/".to_owned(),
        };
        Self { site, group }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.site, self.group)
    }
}

/// A longer first folder names no part of a site.
const MAX_FOLDER: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_belongs_to_its_registrable_domain_and_first_folder() {
        let long = format!("https://a.example/{}/x", "y".repeat(MAX_FOLDER + 1));
        for (url, site, group) in [
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
            let area = Area::of(&url.parse().unwrap());
            assert_eq!((area.site.as_str(), area.group.as_str()), (site, group), "{url}");
        }
    }
}
