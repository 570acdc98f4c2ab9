//! Parses Set-Cookie lines as Chromium does (RFC 6265bis, 5.6 and 5.7).

use url::Url;

use super::scope::{self, Prefix};
use super::{Cookie, date};
use crate::exchange::registrable_domain::registrable_domain_of_host;

/// Parses a Set-Cookie value that a response from `url` contained at `now`. Returns `None` where a browser ignores it. An
/// expiry that is not after `now` deletes the cookie.
pub(super) fn parse(line: &str, url: &Url, now: i64) -> Option<Cookie> {
    let mut parts = line.split(';');
    let first = parts.next()?;
    let (name, value) = first.split_once('=').unwrap_or(("", first));
    let (name, value) = (trim(name), trim(value));
    // With `=` in its value, a cookie without a name would be sent like one with a name.
    if name.is_empty() && (value.is_empty() || value.contains('=')) {
        return None;
    }
    let has_control = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        [name, value].iter().any(|text| trim(text).contains(|c: char| c.is_ascii_control()))
    };
    if name.len() + value.len() > MAX_PAIR_BYTES || line.split(';').any(has_control) {
        return None;
    }
    let attributes = Attributes::parse(parts);
    let (domain, host_only) = cookie_domain(url, attributes.domain)?;
    if !attributes.secure && (attributes.partitioned || attributes.same_site == Some("None")) {
        return None;
    }
    if attributes.secure && !scope::is_secure_origin(url) {
        return None;
    }
    // An address may be named in Domain. The path must be given.
    let has_domain = attributes.domain.is_some_and(|name| !name.is_empty()) && url.domain().is_some();
    let whole_host = !has_domain && attributes.path == "/";
    if !Prefix::of(name, value).allows(attributes.secure, attributes.http_only, whole_host) {
        return None;
    }
    Some(Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        domain,
        host_only,
        path: cookie_path(url, attributes.path).to_owned(),
        expires: attributes.expiry(now),
        secure: attributes.secure,
        http_only: attributes.http_only,
        same_site: attributes.same_site.map(str::to_owned),
        partitioned: attributes.partitioned,
    })
}

/// The attributes of a line. The last of each name applies.
#[derive(Default)]
struct Attributes<'a> {
    domain: Option<&'a str>,
    path: &'a str,
    expires: &'a str,
    max_age: &'a str,
    secure: bool,
    http_only: bool,
    partitioned: bool,
    same_site: Option<&'static str>,
}

impl<'a> Attributes<'a> {
    fn parse(parts: impl Iterator<Item = &'a str>) -> Self {
        let mut found = Self::default();
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (trim(name), trim(value));
            if value.len() > MAX_ATTRIBUTE_BYTES {
                continue;
            }
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if is("domain") {
                found.domain = Some(value);
            } else if is("path") {
                found.path = value;
            } else if is("expires") {
                found.expires = value;
            } else if is("max-age") {
                found.max_age = value;
            } else if is("secure") {
                found.secure = true;
            } else if is("httponly") {
                found.http_only = true;
            } else if is("partitioned") {
                found.partitioned = true;
            } else if is("samesite") {
                let known = ["Strict", "Lax", "None"].into_iter();
                found.same_site = known.into_iter().find(|known| known.eq_ignore_ascii_case(value));
            }
        }
        found
    }

    /// Returns the expiry in seconds since 1970. `Max-Age` has precedence over `Expires`.
    fn expiry(&self, now: i64) -> Option<i64> {
        let digits = self.max_age.strip_prefix(['-', '+']).unwrap_or(self.max_age);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let is_negative = self.max_age.starts_with('-');
            // Only an overflow fails.
            let age = if is_negative { 0 } else { digits.parse().unwrap_or(MAX_AGE).min(MAX_AGE) };
            return Some(if age == 0 { 0 } else { now.saturating_add(age) });
        }
        date::parse(self.expires).map(|at| at.min(now.saturating_add(MAX_AGE)))
    }
}

/// Returns the cookie's domain and whether it is host-only. `None` if the host may not set cookies for `attribute`.
fn cookie_domain(url: &Url, attribute: Option<&str>) -> Option<(String, bool)> {
    let host = url.host_str()?;
    if host.ends_with("..") {
        return None;
    }
    let Some(attribute) = attribute.filter(|text| !text.is_empty()) else {
        return Some((scope::strip_brackets(host).to_owned(), true));
    };
    let domain = attribute.strip_prefix('.').unwrap_or(attribute).to_ascii_lowercase();
    // A public suffix and an address may only name themselves.
    let Some(site) = url.domain().and_then(registrable_domain_of_host) else {
        return (domain == host).then(|| (scope::strip_brackets(host).to_owned(), true));
    };
    let is_allowed = (domain == host || scope::is_subdomain(host, &domain))
        // A domain above a wildcard or an exception of the public suffix list is another site.
        && registrable_domain_of_host(&domain) == Some(site);
    is_allowed.then(|| {
        let host_only = !scope::has_subdomains(&domain);
        (domain, host_only)
    })
}

/// Returns the path of the attribute, or the folder of the URL.
fn cookie_path<'a>(url: &'a Url, attribute: &'a str) -> &'a str {
    if attribute.starts_with('/') {
        return attribute;
    }
    match url.path().rfind('/') {
        None | Some(0) => "/",
        Some(end) => &url.path()[..end],
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Chrome's limit for name plus value.
const MAX_PAIR_BYTES: usize = 4096;
/// Chrome ignores an attribute with a longer value.
const MAX_ATTRIBUTE_BYTES: usize = 1024;
/// Chrome's longest lifetime of a cookie: 400 days, in seconds.
const MAX_AGE: i64 = 400 * 86_400;
