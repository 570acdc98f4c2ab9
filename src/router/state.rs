//! The state of a fetch with one identity pair, and its browser visit.

use std::sync::Arc;

use super::clearance::{BrowserPass, VisitFailure};
use super::page_size::SuspectPage;
use super::{FetchPlan, FetchedResponse, IdentityPair};
use crate::cookies::Cookie;
use crate::tier::Tier;
use crate::verdict::VerdictKind;

/// The state of a fetch that changes from attempt to attempt.
pub(super) struct FetchState {
    pub(super) tier: Tier,
    /// The tier to continue on if the first attempt was a probe of a lower tier and is refused. `None` until the start
    /// tier is chosen.
    pub(super) known_tier: Option<Tier>,
    /// Whether the next attempt repeats the last.
    pub(super) is_retry: bool,
    /// How many times the fetch used another fetch's clearance instead of earning one.
    pub(super) shared_clearances: u32,
    pub(super) visit: Option<BrowserVisit>,
    /// Pages that were refused for their size alone.
    pub(super) suspects: Vec<SuspectPage>,
}

/// A visit of the fetch to the browser tier.
pub(super) struct BrowserVisit {
    pub(super) pass: BrowserPass,
    pub(super) why: VerdictKind,
    /// The cookies in the jar before the visit.
    pub(super) cookies_before: Vec<Cookie>,
}

impl BrowserVisit {
    pub(super) fn begin(plan: &FetchPlan<'_>, pass: BrowserPass, why: VerdictKind) -> Self {
        tracing::info!(host = plan.host(), because = %why, "browser visit");
        Self { pass, why, cookies_before: plan.identities.browser.jar().list() }
    }
}

/// How driving a fetch with one identity pair ends.
pub(super) enum DriveOutcome {
    Finished(Box<FetchedResponse>),
    /// Another identity pair continues the fetch.
    SwitchIdentity(Arc<IdentityPair>),
}

impl FetchState {
    /// Reports the failed visit to the fetches that wait for it. A proxy fault is not counted against the host.
    pub(super) fn report_visit_failure(&self, failure: &VisitFailure) {
        if !failure.is_proxy_fault()
            && let Some(BrowserVisit { pass: BrowserPass::Exclusive(turn), why, .. }) = &self.visit
        {
            turn.mark_failure(*why, failure.clone());
        }
    }
}
