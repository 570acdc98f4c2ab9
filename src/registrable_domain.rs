//! Which site a URL belongs to.

use url::Url;

/// Its registrable domain (`shop.example` of `www.shop.example`), or the whole host where there is none: an address,
/// a name that nobody can register one below. A dot at its end stays, as it does for a browser.
pub(crate) fn registrable_domain(url: &Url) -> Option<&str> {
    // `psl::domain_str` would take the dot away.
    let domain = url.domain().and_then(|name| psl::domain(name.as_bytes()));
    domain.and_then(|domain| std::str::from_utf8(domain.as_bytes()).ok()).or_else(|| url.host_str())
}

/// The same for what is kept of a site, where a dot at its end makes no other one. Empty without a host.
pub(crate) fn site_key(url: &Url) -> &str {
    registrable_domain(url).unwrap_or_default().trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_its_registrable_domain_or_its_host() {
        for (url, site, kept) in [
            ("https://www.shop.co.uk/", "shop.co.uk", "shop.co.uk"),
            ("https://www.shop.co.uk./", "shop.co.uk.", "shop.co.uk"),
            ("https://shop.example:8443/", "shop.example", "shop.example"),
            ("https://co.uk/", "co.uk", "co.uk"),
            ("https://co.uk./", "co.uk.", "co.uk"),
            ("http://localhost./", "localhost.", "localhost"),
            ("http://127.0.0.1/", "127.0.0.1", "127.0.0.1"),
            ("http://[::1]/", "[::1]", "[::1]"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!((registrable_domain(&url), site_key(&url)), (Some(site), kept), "{url}");
        }
        assert_eq!(registrable_domain(&Url::parse("data:,x").unwrap()), None);
    }
}
