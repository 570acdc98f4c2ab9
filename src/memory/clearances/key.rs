//! The key of a stored clearance.

use serde::{Deserialize, Serialize};

use crate::identity::Identity;

/// Key of a stored clearance. The same session with another proxy or browser profile is another identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedIdentityKey {
    /// `own` for a fetcher's default identity, `session:NAME` for a named session.
    pub session: String,
    /// Identifier of the proxy rules; `direct` without a proxy. It contains no credentials.
    pub route: String,
    /// Name of the browser profile.
    pub profile: String,
    /// The configured language, time zone and coordinates: `de-DE Europe/Berlin 52.52,13.4`. Default: empty, for
    /// the profile's own language, the machine's time zone and no coordinates.
    #[serde(rename = "place", default)]
    pub location: String,
}

impl SavedIdentityKey {
    /// Returns the key of the session called `session`; `None` is the fetcher's default identity.
    pub(crate) fn new(session: Option<&str>, identity: &Identity) -> Self {
        Self {
            session: session.map_or_else(|| "own".to_owned(), |name| format!("session:{name}")),
            route: identity.proxy_rules().id(),
            profile: identity.profile().name.clone(),
            location: format_location(identity),
        }
    }
}

/// Formats the language, time zone and coordinates that a site can see of `identity`.
fn format_location(identity: &Identity) -> String {
    let location = identity.location();
    let position = location.position.map(|at| format!("{},{}", at.latitude, at.longitude));
    let parts = [identity.profile().language.clone(), location.timezone.clone(), position];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
