//! A cleared identity as it is stored: one process saves it, a later one restores it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::state::ClearanceState;
use crate::identity::Identity;
use crate::identity::cookies::Cookie;

/// The state of an identity at one host: clearance, cookies and client hints.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedIdentity {
    /// The clearance.
    #[serde(rename = "note")]
    pub(crate) state: ClearanceState,
    /// Cookies of the host and its parent domains, those of the clearance first.
    pub(crate) cookies: Vec<Cookie>,
    /// The client hints that each origin of the host requested.
    pub(crate) hints: Vec<(String, BTreeSet<String>)>,
}

impl SavedIdentity {
    /// Takes the state of `identity` at `host`, without the cookies that the caller set in a jar or that are
    /// named in `caller_cookies`. Returns `None` if the cookies exceed the limits.
    pub(crate) fn from_identity(
        identity: &Identity,
        host: &str,
        state: ClearanceState,
        caller_cookies: &[String],
    ) -> Option<Self> {
        let mut cookies = identity.jar().site_cookies_for(host);
        cookies.retain(|cookie| !caller_cookies.contains(&cookie.name));
        let size = |cookie: &Cookie| {
            cookie.name.len() + cookie.value.len() + cookie.domain.len() + cookie.path.len()
        };
        let fits = cookies.len() <= MAX_COOKIES && cookies.iter().map(size).sum::<usize>() <= MAX_BYTES;
        fits.then(|| Self { state, cookies, hints: identity.client_hints().for_host(host) })
    }

    /// Adds the saved cookies and client hints to `identity`. Cookies that it already has are kept, because
    /// `identity` may have changed in the meantime.
    pub(crate) fn restore(&self, identity: &Identity) {
        let existing = identity.jar().list();
        let exists = |cookie: &Cookie| {
            existing.iter().any(|own| {
                (&own.name, &own.domain, &own.path, own.host_only)
                    == (&cookie.name, &cookie.domain, &cookie.path, cookie.host_only)
            })
        };
        for cookie in self.cookies.iter().filter(|cookie| !exists(cookie)) {
            identity.jar().insert_from_site(cookie);
        }
        for (origin, hints) in &self.hints {
            identity.client_hints().restore(origin, hints.clone());
        }
    }

    /// Whether it can have been saved for `host`. Data from a file is not trusted.
    pub(crate) fn is_valid(&self, host: &str) -> bool {
        self.cookies.len() <= MAX_COOKIES
            && self.cookies.iter().all(|cookie| cookie.matches_host(host) && cookie.is_consistent())
    }
}

impl fmt::Debug for SavedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedIdentity")
            .field("state", &self.state)
            .field("cookies", &self.cookies)
            .finish_non_exhaustive()
    }
}

/// A host with more cookies, or more bytes of cookies, is not saved: half a jar is not a usable identity.
const MAX_COOKIES: usize = 180;
const MAX_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Clearance;

    #[test]
    fn cookies_of_another_site_or_against_their_prefix_are_not_valid() {
        let domain = |name: &str, domain: &str| {
            let mut cookie = Cookie::session(name, "1", domain);
            (cookie.host_only, cookie.secure) = (false, true);
            cookie
        };
        for (host, cookie, valid) in [
            ("www.site.example", domain("a", "site.example"), true),
            ("www.site.example", domain("a", "other.example"), false),
            ("a.co.uk", domain("a", "co.uk"), false),
            ("a.b.kawasaki.jp", domain("a", "kawasaki.jp"), false),
            ("a.b.kawasaki.jp", domain("a", "b.kawasaki.jp"), false),
            ("city.kawasaki.jp", domain("a", "kawasaki.jp"), false),
            ("x.city.kawasaki.jp", domain("a", "city.kawasaki.jp"), true),
            ("www.site.example", domain("__HOST-a", "site.example"), false),
            ("www.site.example", Cookie::session("__Secure-a", "1", "www.site.example"), false),
            ("127.0.0.1", domain("a", "0.0.1"), false),
        ] {
            let saved = SavedIdentity {
                state: ClearanceState::new(Clearance::default(), 0),
                cookies: vec![cookie],
                hints: Vec::new(),
            };
            assert_eq!(saved.is_valid(host), valid, "{host} {saved:?}");
        }
    }
}
