//! Who else may make a fetch when its persona is refused.

use std::sync::Arc;

use super::Persona;
use super::policy::Means;

/// Other personas for a fetch: fresh sessions, and sessions out of other exits. A pool of proxies is one.
pub(crate) trait Others: Send + Sync {
    /// Which there are in place of `persona`, for fetching from `host`.
    fn means(&self, persona: &Persona, host: &str) -> Means;

    /// A fresh session by the same exit.
    fn session(&self, persona: &Persona) -> Option<Arc<Persona>>;

    /// A fresh session by another exit. `faulty`: the exit of `persona` does not work, else it was blocked.
    fn exit(&self, persona: &Persona, faulty: bool) -> Option<Arc<Persona>>;
}
