//! Where a cookie may be set and sent: sites, paths, secure origins and name prefixes. Pure.

use url::{Host, Url};

use crate::exchange::registrable_domain::{is_localhost, registrable_domain_of_host};

/// Whether two hosts belong to one site. A host without a registrable domain, such as a public suffix or an address,
/// is a site of its own.
pub(super) fn share_site(one: &str, other: &str) -> bool {
    site_of(one) == site_of(other)
}

/// Returns the site of a host: its registrable domain, or the whole host.
pub(super) fn site_of(host: &str) -> &str {
    registrable_domain_of_host(host).unwrap_or(host)
}

/// Whether subdomains of `domain` belong to its site. They do not for an address, a public suffix, and a domain above a
/// wildcard rule: with `*.kawasaki.jp`, each subdomain of `kawasaki.jp` is a public suffix.
pub(super) fn has_subdomains(domain: &str) -> bool {
    registrable_domain_of_host(domain).is_some_and(|site| {
        let below = format!("{UNLISTED_LABEL}.{domain}");
        registrable_domain_of_host(&below) == Some(site)
    })
}

/// Whether `host` is strictly below `domain`.
pub(super) fn is_subdomain(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
}

/// Whether a request path matches a cookie's path (RFC 6265bis, 5.1.4).
pub(super) fn path_matches(request: &str, cookie: &str) -> bool {
    request
        .strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

/// Whether `url` may set and receive Secure cookies: https, or this machine.
pub(super) fn is_secure_origin(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "wss")
        || match url.host() {
            Some(Host::Domain(name)) => is_localhost(name.strip_suffix('.').unwrap_or(name)),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
}

/// Removes the brackets of an IPv6 address, as in a cookie's domain.
pub(super) fn strip_brackets(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

/// The requirements that the prefix of a cookie's name makes (RFC 6265bis, 4.1.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    None,
    /// `__Secure-`
    Secure,
    /// `__Host-`
    Host,
    /// `__Http-`
    Http,
    /// `__Host-Http-`
    HostHttp,
    /// A cookie without a name whose value begins with a prefix: a server cannot tell it from a cookie with a name.
    Hidden,
}

impl Prefix {
    /// Returns the prefix of a name, in any letter case.
    pub(super) fn of(name: &str, value: &str) -> Self {
        if name.is_empty() {
            let hidden = PREFIXES.iter().any(|(prefix, _)| starts_with(value.trim_start(), prefix));
            return if hidden { Self::Hidden } else { Self::None };
        }
        PREFIXES.iter().find(|(prefix, _)| starts_with(name, prefix)).map_or(Self::None, |(_, kind)| *kind)
    }

    /// Whether a cookie with these attributes may have the prefix. `whole_host`: it is for one host and all its paths.
    pub(super) const fn allows(self, secure: bool, http_only: bool, whole_host: bool) -> bool {
        match self {
            Self::None => true,
            Self::Secure => secure,
            Self::Host => secure && whole_host,
            Self::Http => secure && http_only,
            Self::HostHttp => secure && http_only && whole_host,
            Self::Hidden => false,
        }
    }
}

/// Whether a cookie with this name must be `HttpOnly`.
pub(crate) fn needs_http_only(name: &str) -> bool {
    matches!(Prefix::of(name, ""), Prefix::Http | Prefix::HostHttp)
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The longest first, because one begins with another.
const PREFIXES: [(&str, Prefix); 4] = [
    ("__Host-Http-", Prefix::HostHttp),
    ("__Host-", Prefix::Host),
    ("__Secure-", Prefix::Secure),
    ("__Http-", Prefix::Http),
];
/// A label that is not in the public suffix list.
const UNLISTED_LABEL: &str = "rungs-unlisted";
