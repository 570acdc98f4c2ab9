//! The state of a fetch: what changes from attempt to attempt.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::alarm::AlarmedPage;
use super::clearance::{BrowserPass, HostClearance, VisitFailure};
use super::ephemeral::EphemeralIdentityGuard;
use super::identities::{FirstIdentities, IdentityPair};
use super::page_size::SuspectPage;
use super::plan::FetchPlan;
use super::policy::AttemptCounters;
use super::trace_builder::TraceBuilder;
use crate::exchange::tier::Tier;
use crate::exchange::verdict::VerdictKind;
use crate::identity::Identity;
use crate::identity::cookies::Cookie;
use crate::memory::AttemptSample;

/// The state of a fetch that changes from attempt to attempt.
pub(super) struct FetchState<'a> {
    pub(super) plan: &'a FetchPlan<'a>,
    pub(super) began: Instant,
    pub(super) counters: AttemptCounters,
    pub(super) trace: TraceBuilder,
    /// The state that begins anew with other identities.
    pub(super) current: IdentityState<'a>,
}

/// The state of a fetch with one identity pair.
pub(super) struct IdentityState<'a> {
    pub(super) identities: Arc<IdentityPair>,
    /// The identities to return to if these probe the default profile and it is still blocked.
    pub(super) probe_fallback: Option<Arc<IdentityPair>>,
    /// The browser visits of these identities to the host.
    pub(super) clearance: Arc<HostClearance>,
    /// The number of clearances earned before the current attempt.
    pub(super) clearances_before: u64,
    /// The crawl delay of robots.txt. `None` until robots.txt was checked.
    pub(super) crawl_delay: Option<Duration>,
    pub(super) tier: Tier,
    /// The tier to continue on if the first attempt was a probe of a lower tier and is refused. `None` until the start
    /// tier is chosen.
    pub(super) known_tier: Option<Tier>,
    /// Whether the next attempt repeats the last.
    pub(super) is_retry: bool,
    /// The verdict that sends the next attempt to the browser tier.
    pub(super) browser_reason: Option<VerdictKind>,
    /// How many times the fetch used another fetch's clearance instead of earning one.
    pub(super) shared_clearances: u32,
    /// The browser visit. It outlives an attempt: a retry in the browser keeps the turn.
    pub(super) visit: Option<BrowserVisit>,
    /// How the host memory records the current attempt.
    pub(super) sample: Option<AttemptSample>,
    /// Pages that were refused for their size alone.
    pub(super) suspects: Vec<SuspectPage>,
    /// Pages that the structural detector refused below the browser tier.
    pub(super) alarms: Vec<AlarmedPage>,
    /// Whether the browser received the page that was refused: the visit earned nothing.
    pub(super) has_false_alarm: bool,
    _guard: EphemeralIdentityGuard<'a>,
}

/// A visit of the fetch to the browser tier.
pub(super) struct BrowserVisit {
    pub(super) pass: BrowserPass,
    pub(super) why: VerdictKind,
    /// The cookies in the jar before the visit.
    pub(super) cookies_before: Vec<Cookie>,
}

impl<'a> FetchState<'a> {
    pub(super) fn new(
        plan: &'a FetchPlan<'a>,
        first: FirstIdentities,
        clearance: Arc<HostClearance>,
        guard: EphemeralIdentityGuard<'a>,
    ) -> Self {
        let FirstIdentities { identities, probe_fallback } = first;
        let mut current = IdentityState::new(identities, clearance, guard, plan.policy.min, None);
        current.probe_fallback = probe_fallback;
        Self {
            plan,
            began: Instant::now(),
            counters: AttemptCounters::new(plan.request.method.clone()),
            trace: TraceBuilder::new(plan),
            current,
        }
    }

    /// Continues with other identities, on the tier where the previous ones were refused.
    pub(super) fn switch_identities(
        &mut self,
        identities: Arc<IdentityPair>,
        clearance: Arc<HostClearance>,
        guard: EphemeralIdentityGuard<'a>,
    ) {
        let known = (self.counters.attempts > 0).then_some(self.counters.tier);
        let tier = known.unwrap_or(self.plan.policy.min);
        self.current = IdentityState::new(identities, clearance, guard, tier, known);
    }

    pub(super) fn tier(&self) -> Tier {
        self.current.tier
    }

    pub(super) fn identities(&self) -> &IdentityPair {
        &self.current.identities
    }

    /// Returns the identity of the current attempt.
    pub(super) fn identity(&self) -> &Identity {
        self.identities().for_tier(self.tier())
    }

    /// Returns the key of the identity that earns and uses clearances.
    pub(super) fn identity_key(&self) -> u64 {
        self.identities().browser.key()
    }

    /// Begins a browser visit because of `why`.
    pub(super) fn begin_visit(&mut self, pass: BrowserPass, why: VerdictKind) {
        tracing::info!(host = self.plan.host(), because = %why, "browser visit");
        let cookies_before = self.identities().browser.jar().list();
        self.current.tier = Tier::Browser;
        self.current.visit = Some(BrowserVisit { pass, why, cookies_before });
    }

    /// Reports the failed visit to the fetches that wait for it. A proxy fault is not counted against the host.
    pub(super) fn report_visit_failure(&self, failure: &VisitFailure) {
        if !failure.is_proxy_fault()
            && let Some(BrowserVisit { pass: BrowserPass::Exclusive(turn), why, .. }) = &self.current.visit
        {
            turn.mark_failure(*why, failure.clone());
        }
    }
}

impl<'a> IdentityState<'a> {
    fn new(
        identities: Arc<IdentityPair>,
        clearance: Arc<HostClearance>,
        guard: EphemeralIdentityGuard<'a>,
        tier: Tier,
        known_tier: Option<Tier>,
    ) -> Self {
        Self {
            identities,
            probe_fallback: None,
            clearances_before: 0,
            clearance,
            crawl_delay: None,
            tier,
            known_tier,
            is_retry: false,
            browser_reason: None,
            shared_clearances: 0,
            visit: None,
            sample: None,
            suspects: Vec::new(),
            alarms: Vec::new(),
            has_false_alarm: false,
            _guard: guard,
        }
    }
}
