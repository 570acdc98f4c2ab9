//! Hosts that are fetched without the proxy: `--noproxy` and `no_proxy`, parsed as by curl.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// A list of hosts that no_proxy the proxy, parsed as curl parses `no_proxy`. Its items are separated by commas or
/// spaces: names, which include all their subdomains, addresses, and networks such as `10.0.0.0/8`. A single `*`
/// matches every host. Default: empty.
///
/// ```
/// let no_proxy = rungs::NoProxy::new("example.com, 10.0.0.0/8");
/// assert!(no_proxy.covers("www.example.com") && no_proxy.covers("10.1.2.3"));
/// assert!(!no_proxy.covers("notexample.com"));
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct NoProxy {
    everything: bool,
    names: Vec<String>,
    networks: Vec<IpNet>,
}

impl NoProxy {
    /// Parses a list. Items that are neither a name nor an address match nothing.
    #[must_use]
    pub fn new(list: &str) -> Self {
        let mut no_proxy = Self { everything: list.trim() == "*", ..Self::default() };
        for token in list.split([',', ' ', '\t']).filter(|token| !token.is_empty()) {
            match parse_network(token.trim_matches(['[', ']'])) {
                Some(network) => no_proxy.networks.push(network),
                // As in curl, a leading dot has no meaning.
                None => no_proxy.names.push(normalize_name(token.strip_prefix('.').unwrap_or(token))),
            }
        }
        no_proxy.names.retain(|name| !name.is_empty());
        no_proxy
    }

    /// Whether `host`, a name or an address, bypasses the proxy.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        if self.everything {
            return true;
        }
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return self.networks.iter().any(|network| network.contains(&address));
        }
        let host = normalize_name(host);
        self.names.iter().any(|name| {
            host.strip_suffix(name.as_str()).is_some_and(|front| front.is_empty() || front.ends_with('.'))
        })
    }

    /// Whether the list matches no host.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.everything && self.names.is_empty() && self.networks.is_empty()
    }
}

impl fmt::Debug for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.everything {
            return f.write_str("[*]");
        }
        f.debug_list().entries(&self.names).entries(&self.networks).finish()
    }
}

fn parse_network(token: &str) -> Option<IpNet> {
    token.parse().ok().or_else(|| token.parse::<IpAddr>().ok().map(IpNet::from))
}

fn normalize_name(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_covers_the_same_hosts_as_in_curl() {
        for (list, host, covered) in [
            ("*", "any.example", true),
            ("*", "10.0.0.1", true),
            // curl accepts the star only alone.
            ("*,a.example", "b.example", false),
            ("a.example", "A.example.", true),
            ("a.example", "www.a.example", true),
            (".a.example", "a.example", true),
            ("a.example.", "www.a.example", true),
            ("a.example", "nota.example", false),
            ("b.example a.example", "a.example", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.1", "127.0.0.1", false),
            ("127.0.0.0/8", "127.9.9.9", true),
            ("192.168.0.0/33", "192.168.0.1", false),
            ("::1", "[::1]", true),
            ("[fc00::/7]", "fd12::1", true),
            ("localhost", "127.0.0.1", false),
            ("", "a.example", false),
            (" , .", "a.example", false),
        ] {
            assert_eq!(NoProxy::new(list).covers(host), covered, "{list:?} {host}");
        }
    }
}
