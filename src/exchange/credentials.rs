//! Decides which of the caller's headers may be sent to which origin. Pure.
//!
//! The rule: a header that a caller sets for a URL is sent only to the origin of that URL (scheme, host and port).
//! Exempt is a short list of headers that negotiate or describe content. A cookie `name=value` counts as the header
//! `Cookie`. Another port, another scheme (also `https` after `http`) and a subdomain are other origins.
//!
//! The rule is the Fetch standard's for `Authorization` ("HTTP-redirect fetch", steps 13 and 14), and curl's since
//! CVE-2022-27774. It is extended to every header that may hold a secret, because a name such as `X-Api-Key` does not
//! show that the header is one.

use http::{HeaderName, header};
use url::{Origin, Url};

/// Whether the header `name` may be sent to the origin `to`. `given_for` is true for the origins that the caller set
/// it for.
pub(crate) fn may_send(name: &HeaderName, to: &Origin, given_for: impl FnOnce(&Origin) -> bool) -> bool {
    !may_be_secret(name) || (to.is_tuple() && given_for(to))
}

/// Whether the value of a caller's header may be a secret: true unless the header negotiates or describes content.
pub(crate) fn may_be_secret(name: &HeaderName) -> bool {
    !NEGOTIATION.contains(name)
        && !OTHER_NEGOTIATION.contains(&name.as_str())
        && !["sec-ch-", "sec-fetch-"].iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// Removes what a URL that another site may see, or that names a page, never contains: fragment and credentials.
pub(crate) fn strip_fragment_and_credentials(url: &mut Url) {
    url.set_fragment(None);
    // Neither call fails for a URL with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

/// Copies the credentials of `from` to a URL of the same origin that has none (RFC 7617, section 2.2).
pub(crate) fn copy_credentials(from: &Url, to: &mut Url) {
    let has_none = |url: &Url| url.username().is_empty() && url.password().is_none();
    if has_none(from) || !has_none(to) || from.origin() != to.origin() || !from.origin().is_tuple() {
        return;
    }
    // Neither call fails for a URL with a host. Both are encoded already.
    let _ = to.set_username(from.username());
    let _ = to.set_password(from.password());
}

/// Headers that any site may receive. `Referer` has its own policy, see `net::fetch_metadata`.
const NEGOTIATION: [HeaderName; 17] = [
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::DNT,
    header::EXPECT,
    header::PRAGMA,
    header::RANGE,
    header::REFERER,
    header::TE,
    header::UPGRADE_INSECURE_REQUESTS,
    header::USER_AGENT,
];
/// More of these headers, without a constant in the `http` crate.
const OTHER_NEGOTIATION: [&str; 4] = ["priority", "save-data", "sec-gpc", "sec-purpose"];

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn sent(name: &str, given_for: &str, to: &str) -> bool {
        let origin = |text: &str| Url::parse(text).unwrap().origin();
        may_send(&name.parse().unwrap(), &origin(to), |to| *to == origin(given_for))
    }

    #[test]
    fn a_secret_is_sent_only_to_the_origin_it_was_set_for() {
        for name in [
            "authorization",
            "cookie",
            "proxy-authorization",
            "x-api-key",
            "x-auth-token",
            "host",
            "origin",
            "x-anything",
            "sec-api-key",
        ] {
            for (to, expected) in [
                ("https://shop.example/other/page?q=1", true),
                ("https://SHOP.example:443/", true),
                ("https://jane:hunter2@shop.example/", true),
                ("http://shop.example/", false),
                ("https://shop.example:8443/", false),
                ("https://www.shop.example/", false),
                ("https://example/", false),
                ("https://shop.example./", false),
                ("https://shop.example.evil.test/", false),
                ("https://evil.test/?https://shop.example/", false),
                ("data:text/html,x", false),
            ] {
                assert_eq!(sent(name, "https://shop.example/page", to), expected, "{name} to {to}");
            }
            assert!(!sent(name, "http://shop.example/", "https://shop.example/"), "{name}: an upgrade");
            assert!(!sent(name, "data:,x", "data:,x"), "{name}: an opaque origin");
        }
    }

    #[test]
    fn headers_that_negotiate_content_are_sent_everywhere() {
        for name in [
            "accept",
            "Accept-Language",
            "user-agent",
            "content-type",
            "sec-ch-ua-model",
            "sec-fetch-site",
            "priority",
        ] {
            assert!(sent(name, "https://shop.example/", "http://other.example/"), "{name}");
        }
    }
}
