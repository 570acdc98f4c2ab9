//! Compares the names of a certificate with a host as Chromium does. BoringSSL refuses host names with an underscore
//! below a wildcard, and Chromium does not.

use std::net::IpAddr;

use boring::x509::X509Ref;

/// Whether a certificate is for `host`: a name without a trailing dot, or an address.
pub(super) fn matches(certificate: &X509Ref, host: &str) -> bool {
    let Some(names) = certificate.subject_alt_names() else { return false };
    if let Ok(address) = host.parse::<IpAddr>() {
        let octets = match &address {
            IpAddr::V4(address) => &address.octets()[..],
            IpAddr::V6(address) => &address.octets()[..],
        };
        return names.iter().any(|name| name.ipaddress() == Some(octets));
    }
    names.iter().filter_map(|name| name.dnsname()).any(|pattern| matches_name(pattern, host))
}

/// Whether a name of a certificate, perhaps with a wildcard as its first label, is for `host`.
fn matches_name(pattern: &str, host: &str) -> bool {
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    if host.is_empty() || pattern.is_empty() {
        return false;
    }
    let Some(suffix) = pattern.strip_prefix("*.") else { return pattern.eq_ignore_ascii_case(host) };
    let Some((label, parent)) = host.split_once('.') else { return false };
    // As in Chromium, a wildcard needs two labels behind it.
    !label.is_empty() && suffix.contains('.') && !suffix.contains('*') && suffix.eq_ignore_ascii_case(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_for_one_label_of_any_characters() {
        for (pattern, host, expected) in [
            ("shop.example", "shop.example", true),
            ("SHOP.example", "shop.EXAMPLE", true),
            ("shop.example.", "shop.example", true),
            ("*.shop.example", "a.shop.example", true),
            ("*.shop.example", "my_a.shop.example", true),
            ("*.shop.example", "-lead.shop.example", true),
            ("*.shop.example", "a.b.shop.example", false),
            ("*.shop.example", "shop.example", false),
            ("*.shop.example", ".shop.example", false),
            ("*.example", "shop.example", false),
            ("*", "shop", false),
            ("*.", "shop.", false),
            ("a*.shop.example", "ab.shop.example", false),
            ("*.*.example", "a.b.example", false),
            ("b.*.example", "b.a.example", false),
            ("shop.example\0.evil.example", "shop.example", false),
            ("shop.example", "shop.example\0.evil.example", false),
            ("", "shop.example", false),
            ("", "", false),
            ("127.0.0.1", "shop.example", false),
        ] {
            assert_eq!(matches_name(pattern, host), expected, "{pattern:?} {host:?}");
        }
    }
}
