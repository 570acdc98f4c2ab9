//! How far a fetch has come as one persona, and its being at the browser.

use std::sync::Arc;

use super::clearance::{BrowserPass, VisitFailure};
use super::page_size::SuspectPage;
use super::{FetchPlan, FetchedResponse, IdentityPair};
use crate::cookies::Cookie;
use crate::tier::Tier;
use crate::verdict::VerdictKind;

/// How far a fetch has come.
pub(super) struct FetchState {
    pub(super) tier: Tier,
    /// Where it goes on when the first attempt, a tier below, was a probe and is refused. `None` until it is
    /// known where to start.
    pub(super) known_tier: Option<Tier>,
    /// The next attempt repeats the last.
    pub(super) is_retry: bool,
    /// How often another fetch's clearance was used instead of earning one.
    pub(super) shared_clearances: u32,
    pub(super) visit: Option<BrowserVisit>,
    /// The pages that were refused for their size alone.
    pub(super) suspects: Vec<SuspectPage>,
}

/// Being at the browser.
pub(super) struct BrowserVisit {
    pub(super) pass: BrowserPass,
    pub(super) why: VerdictKind,
    /// The cookies there were.
    pub(super) cookies_before: Vec<Cookie>,
}

impl BrowserVisit {
    pub(super) fn begin(errand: &FetchPlan<'_>, pass: BrowserPass, why: VerdictKind) -> Self {
        tracing::info!(host = errand.host(), because = %why, "browser visit");
        Self { pass, why, cookies_before: errand.identities.browser.jar().list() }
    }
}

/// How a persona's climb ends.
pub(super) enum DriveOutcome {
    Finished(Box<FetchedResponse>),
    /// Another persona goes on from here.
    SwitchIdentity(Arc<IdentityPair>),
}

impl FetchState {
    /// Tells those who wait that the visit came to nothing. A proxy's fault is not held against the host.
    pub(super) fn report_visit_failure(&self, end: &VisitFailure) {
        if !end.is_proxy_fault()
            && let Some(BrowserVisit { pass: BrowserPass::Exclusive(turn), why, .. }) = &self.visit
        {
            turn.mark_failure(*why, end.clone());
        }
    }
}
