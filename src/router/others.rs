//! Who else may make a fetch when its persona is refused.

use std::sync::Arc;

use super::Persona;
use super::policy::Means;
use crate::error::Result;

/// Other personas for a fetch: fresh sessions, and sessions out of other exits. A pool of proxies is one.
pub(crate) trait Others: Send + Sync {
    /// Which there are in place of `persona`.
    fn means(&self, persona: &Persona) -> Means;

    /// Somebody new by the same exit.
    ///
    /// # Errors
    /// There is nobody else.
    fn session(&self, persona: &Persona) -> Result<Arc<Persona>>;

    /// Somebody new by another exit. `faulty`: the exit of `persona` does not work, else it was blocked.
    ///
    /// # Errors
    /// [`ErrorKind::Proxy`](crate::ErrorKind::Proxy) when no exit works.
    fn exit(&self, persona: &Persona, faulty: bool) -> Result<Arc<Persona>>;
}
