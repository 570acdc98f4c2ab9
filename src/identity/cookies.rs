//! The cookies of an identity, with the rules of Chromium (RFC 6265bis).

pub(crate) mod date;
mod jar;
mod scope;
mod set_cookie;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use jar::CookieJar;
pub(crate) use scope::needs_http_only;
use scope::{is_subdomain, share_site, strip_brackets};

/// A cookie with all its attributes, for the HTTP tiers, the browser and files.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cookie {
    /// The name. It may be empty; then only the value is sent.
    pub name: String,
    /// The value. `Debug` never prints it.
    pub value: String,
    /// The domain without a leading dot, an IPv6 address without brackets.
    pub domain: String,
    /// Whether it is sent to this host only, not to subdomains.
    pub host_only: bool,
    /// The path.
    pub path: String,
    /// The expiry in seconds since 1970; `None` for a session cookie.
    pub expires: Option<i64>,
    /// Whether it is sent over https only. As in Chromium, http to this machine (`localhost`) counts as https.
    pub secure: bool,
    /// Whether it is hidden from scripts.
    pub http_only: bool,
    /// `Strict`, `Lax` or `None`, if the site set the attribute.
    pub same_site: Option<String>,
    /// Whether the site set `Partitioned`. The jar holds only cookies of the partition in which their site is the
    /// top-level site.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partitioned: bool,
}

impl Cookie {
    /// Creates a host-only session cookie for all paths of `host`. An IPv6 address may have brackets.
    #[must_use]
    pub fn session(name: impl Into<String>, value: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            domain: strip_brackets(&host.into()).to_owned(),
            host_only: true,
            path: "/".to_owned(),
            expires: None,
            secure: false,
            http_only: false,
            same_site: None,
            partitioned: false,
        }
    }

    /// Whether it is sent to `host`: its own host, or a subdomain of the same site unless it is host-only.
    pub(crate) fn matches_host(&self, host: &str) -> bool {
        let host = strip_brackets(host);
        self.matches_domain(host) && share_site(host, &self.domain)
    }

    /// Whether `host` is its domain, or below it unless it is host-only. It does not compare the sites.
    fn matches_domain(&self, host: &str) -> bool {
        self.domain == host || (!self.host_only && is_subdomain(host, &self.domain))
    }

    /// Whether it satisfies the rules that its own attributes decide: name prefixes and `SameSite=None`.
    pub(crate) fn is_consistent(&self) -> bool {
        let prefix = scope::Prefix::of(&self.name, &self.value);
        prefix.allows(self.secure, self.http_only, self.host_only && self.path == "/")
            && (self.secure || self.same_site.as_deref() != Some("None"))
    }

    /// Whether it has expired at `now`, in seconds since 1970.
    fn is_expired(&self, now: i64) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({}=*** for {}{})", self.name, self.domain, self.path)
    }
}
