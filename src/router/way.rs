//! How far a fetch has come as one persona, and its being at the browser.

use std::sync::Arc;

use super::flight::{End, Leave};
use super::sizes::Doubt;
use super::{Errand, Found, Persona};
use crate::cookies::Cookie;
use crate::tier::Tier;
use crate::verdict::VerdictKind;

/// How far a fetch has come.
pub(super) struct Way {
    pub(super) tier: Tier,
    /// Where it goes on when the first attempt, a tier below, was a probe and is refused. `None` until it is
    /// known where to start.
    pub(super) known: Option<Tier>,
    /// The next attempt repeats the last.
    pub(super) is_repeated: bool,
    /// How often another fetch's clearance was used instead of earning one.
    pub(super) shares: u32,
    pub(super) visit: Option<Visit>,
    /// The pages that were refused for their size alone.
    pub(super) doubts: Vec<Doubt>,
}

/// Being at the browser.
pub(super) struct Visit {
    pub(super) leave: Leave,
    pub(super) why: VerdictKind,
    /// The cookies there were.
    pub(super) before: Vec<Cookie>,
}

impl Visit {
    pub(super) fn begin(errand: &Errand<'_>, leave: Leave, why: VerdictKind) -> Self {
        tracing::info!(host = errand.host(), because = %why, "browser visit");
        Self { leave, why, before: errand.persona.dressed.jar().list() }
    }
}

/// How a persona's climb ends.
pub(super) enum Left {
    With(Box<Found>),
    /// Another persona goes on from here.
    For(Arc<Persona>),
}

impl Way {
    /// Tells those who wait that the visit came to nothing. A proxy's fault is not held against the host.
    pub(super) fn lost(&self, end: &End) {
        if !end.is_the_proxys()
            && let Some(Visit { leave: Leave::Turn(turn), why, .. }) = &self.visit
        {
            turn.lost(*why, end.clone());
        }
    }
}
