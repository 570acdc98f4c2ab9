//! The site of a URL: its registrable domain.

use std::net::Ipv4Addr;

use url::Url;

/// Returns the registrable domain of a URL: `shop.example` for `www.shop.example`. For an address or a public suffix,
/// returns the whole host. A trailing dot is kept, as in a browser.
pub(crate) fn registrable_domain(url: &Url) -> Option<&str> {
    url.domain().and_then(registrable_domain_of_host).or_else(|| url.host_str())
}

/// Returns the registrable domain of a host name. `None` for an address, a public suffix and a single label.
pub(crate) fn registrable_domain_of_host(host: &str) -> Option<&str> {
    if host.contains(':') || host.parse::<Ipv4Addr>().is_ok() {
        return None;
    }
    // `psl::domain_str` would remove the trailing dot.
    psl::domain(host.as_bytes()).and_then(|domain| std::str::from_utf8(domain.as_bytes()).ok())
}

/// Whether a name is that of this machine (RFC 6761, section 6.3). It is in lower case, without a dot at its end.
pub(crate) fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// Returns the key for stored data of a site: the registrable domain without a trailing dot. Empty without a host.
pub(crate) fn site_key(url: &Url) -> &str {
    registrable_domain(url).unwrap_or_default().trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_its_registrable_domain_or_its_host() {
        for (url, site, key) in [
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
            assert_eq!((registrable_domain(&url), site_key(&url)), (Some(site), key), "{url}");
        }
        assert_eq!(registrable_domain(&Url::parse("data:,x").unwrap()), None);
    }
}
