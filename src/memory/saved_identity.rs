//! A cleared identity as it is kept: what one process earned and the next one wears.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::clearance_state::ClearanceState;
use crate::cookies::Cookie;
use crate::identity::Identity;

/// Whose clearance: the same name by another way, or in another browser's clothes, is somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedIdentityKey {
    /// `own` for a fetcher's own identity, `session:NAME` for one that was named.
    pub session: String,
    /// A mark of the way it goes; `direct` without a proxy. It tells no credentials.
    pub route: String,
    /// The browser profile it wears.
    pub profile: String,
    /// Where it says it is and what it speaks, as far as it was told: `de-DE Europe/Berlin 52.52,13.4`. Empty
    /// for the machine's own time zone, no position and the profile's own language.
    #[serde(default)]
    pub place: String,
}

impl SavedIdentityKey {
    /// The identity of the session called `session`; `None` for a fetcher's own.
    pub(crate) fn new(session: Option<&str>, identity: &Identity) -> Self {
        Self {
            session: session.map_or_else(|| "own".to_owned(), |name| format!("session:{name}")),
            route: identity.proxy_rules().id(),
            profile: identity.profile().name.clone(),
            place: format_location(identity),
        }
    }
}

/// What a site can see of where `identity` is.
fn format_location(identity: &Identity) -> String {
    let place = identity.location();
    let position = place.position.map(|at| format!("{},{}", at.latitude, at.longitude));
    let said = [identity.profile().language.clone(), place.timezone.clone(), position];
    said.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What an identity holds for a host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedIdentity {
    pub(crate) note: ClearanceState,
    /// Those of the host and its parents, the clearance's first.
    pub(crate) cookies: Vec<Cookie>,
    /// The client hints its origins asked for.
    pub(crate) hints: Vec<(String, BTreeSet<String>)>,
}

impl SavedIdentity {
    /// What `identity` holds for `host`, without the cookies the caller gave, in a jar or by name in `typed`.
    /// `None` where that is too much to keep.
    pub(crate) fn from_identity(
        identity: &Identity,
        host: &str,
        note: ClearanceState,
        typed: &[String],
    ) -> Option<Self> {
        let mut cookies = identity.jar().site_cookies_for(host);
        cookies.retain(|cookie| !typed.contains(&cookie.name));
        let size = |cookie: &Cookie| {
            cookie.name.len() + cookie.value.len() + cookie.domain.len() + cookie.path.len()
        };
        let fits = cookies.len() <= MAX_COOKIES && cookies.iter().map(size).sum::<usize>() <= MAX_BYTES;
        fits.then(|| Self { note, cookies, hints: identity.client_hints().for_host(host) })
    }

    /// Gives it back to `identity`, which may have gone on since: what it holds already stays.
    pub(crate) fn restore(&self, identity: &Identity) {
        let held = identity.jar().list();
        let is_held = |cookie: &Cookie| {
            held.iter().any(|own| {
                (&own.name, &own.domain, &own.path) == (&cookie.name, &cookie.domain, &cookie.path)
            })
        };
        for cookie in self.cookies.iter().filter(|cookie| !is_held(cookie)) {
            identity.jar().insert_from_site(cookie);
        }
        for (origin, wanted) in &self.hints {
            identity.client_hints().restore(origin, wanted.clone());
        }
    }

    /// Whether it can have been written for `host`: what comes from a file is looked at.
    pub(crate) fn is_valid(&self, host: &str) -> bool {
        self.cookies.len() <= MAX_COOKIES && self.cookies.iter().all(|cookie| cookie.matches_host(host))
    }
}

impl fmt::Debug for SavedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved")
            .field("note", &self.note)
            .field("cookies", &self.cookies)
            .finish_non_exhaustive()
    }
}

/// A host with more cookies, or more bytes in them, is not kept: half a jar is no identity.
const MAX_COOKIES: usize = 180;
const MAX_BYTES: usize = 64 * 1024;
