//! Hosts that go around the proxy: `--noproxy` and `no_proxy`, as curl reads them.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// A list of hosts, read as curl reads `no_proxy`: between commas or spaces, names that stand for
/// themselves and every name below them, addresses, and networks such as `10.0.0.0/8`. A lone `*`
/// stands for every host. Default: empty.
///
/// ```
/// let around = rungs::Bypass::new("example.com, 10.0.0.0/8");
/// assert!(around.covers("www.example.com") && around.covers("10.1.2.3"));
/// assert!(!around.covers("notexample.com"));
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct NoProxy {
    everything: bool,
    names: Vec<String>,
    networks: Vec<IpNet>,
}

impl NoProxy {
    /// Reads a list. What is neither a name nor an address covers nothing.
    #[must_use]
    pub fn new(list: &str) -> Self {
        let mut bypass = Self { everything: list.trim() == "*", ..Self::default() };
        for token in list.split([',', ' ', '\t']).filter(|token| !token.is_empty()) {
            match parse_network(token.trim_matches(['[', ']'])) {
                Some(network) => bypass.networks.push(network),
                // A leading dot says no more than is said without it.
                None => bypass.names.push(normalize_name(token.strip_prefix('.').unwrap_or(token))),
            }
        }
        bypass.names.retain(|name| !name.is_empty());
        bypass
    }

    /// Whether `host`, a name or an address, goes around the proxy.
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

    /// Whether it covers nothing.
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
    fn a_list_covers_what_it_covers_for_curl() {
        for (list, host, covered) in [
            ("*", "any.example", true),
            ("*", "10.0.0.1", true),
            // curl takes the star only when it stands alone.
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
