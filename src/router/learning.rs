//! Reads the host memory to choose the start tier and the profile, and records what a fetch learned.

use std::sync::Arc;

use http::HeaderMap;

use super::clearance::BrowserPass;
use super::policy::{self, Action, AttemptCounters};
use super::state::{BrowserVisit, FetchState};
use super::{ClassifiedResponse, EscalationPolicy, FetchPlan, IdentityPair, Router, attempt_outcome};
use crate::error::Result;
use crate::memory::{AttemptSample, Clearance, ProfileDecision, SiteSection, TierQuery};
use crate::request::Request;
use crate::tier::Tier;

impl Router {
    /// Loads the site and the identities from the memory file.
    pub(super) async fn load_memory(&self, identities: &IdentityPair, section: &SiteSection, host: &str) {
        if let Some(key) = &identities.memory_key {
            self.memory.load(key, &identities.browser, section, host).await;
        }
    }

    /// Sets the start tier from the host memory, once. Raises it if the identity got a clearance since then. Returns
    /// whether the host is browser-only.
    pub(super) fn choose_start_tier(&self, plan: &FetchPlan<'_>, state: &mut FetchState) -> bool {
        let (policy, top, host) = (plan.policy, plan.policy.highest_tier(), plan.host());
        let (identities, section) = (plan.identities, plan.site_section);
        let stored = self.memory.clearance(plan.identity_key(), host);
        let jar = || identities.browser.jar().list();
        let is_expired =
            stored.as_ref().is_some_and(|stored| stored.clearance.is_expired(host, self.memory.now(), jar));
        let (is_browser_only, cleared) =
            stored.map_or((false, false), |stored| (!stored.is_portable, stored.is_portable && !is_expired));
        if is_expired && state.known_tier.is_none() {
            tracing::info!(host, "clearance expired");
        }
        if is_browser_only {
            state.known_tier = Some(top);
            state.tier = Tier::Browser.clamp(policy.min, top);
        } else if state.known_tier.is_none() && plan.probe_fallback.is_some() {
            // The first request re-probes the default profile.
            state.tier = Tier::Impersonate.clamp(policy.min, top);
            state.known_tier = Some(state.tier);
        } else if state.known_tier.is_none() {
            let start =
                self.memory.start_tier(&section.site, &tier_query(section, identities, &policy, cleared));
            // An unsafe request is not used as a probe.
            state.tier = if plan.request.method.is_safe() { start.tier } else { start.known };
            state.known_tier = Some(start.known);
            if state.tier < start.known {
                tracing::info!(host, tier = %state.tier, "probing a lower tier");
            }
        } else if cleared {
            state.tier = state.tier.max(Tier::Impersonate).clamp(policy.min, top);
        }
        is_browser_only
    }

    /// Returns the sample under which the memory records the next attempt.
    pub(super) fn attempt_sample(&self, plan: &FetchPlan<'_>, tier: Tier) -> AttemptSample {
        let stored = self.memory.clearance(plan.identity_key(), plan.host());
        let cleared = stored.is_some_and(|stored| !stored.clearance.cookies.is_empty());
        let profile = plan.identities.for_tier(tier).profile().name.clone();
        AttemptSample { section: Arc::clone(plan.site_section), tier, cleared, profile }
    }

    /// Records an attempt that was genuine or refused. Other outcomes say nothing about the tier.
    pub(super) fn record_attempt(&self, sample: AttemptSample, outcome: &Result<ClassifiedResponse>) {
        let Ok(response) = outcome else { return };
        if response.verdict.is_genuine() {
            self.memory.record_attempt(sample, true);
        } else if response.verdict.kind.is_refusal() {
            self.memory.record_attempt(sample, false);
        }
    }

    /// Records a genuine response. Runs before the next fetch gets the turn.
    pub(super) fn record_success(
        &self,
        plan: &FetchPlan<'_>,
        state: &FetchState,
        response: &ClassifiedResponse,
    ) {
        let (identity, host, browser) = (plan.identity_key(), plan.host(), &plan.identities.browser);
        let mut has_changed = false;
        if state.tier == Tier::Impersonate {
            has_changed = self.memory.record_clearance_use(identity, host)
                || response.headers.contains_key(http::header::SET_COOKIE)
                    && self.memory.clearance(identity, host).is_some();
        }
        if let Some(BrowserVisit { pass: BrowserPass::Exclusive(turn), cookies_before: before, .. }) =
            &state.visit
        {
            let after = browser.jar().list();
            let earned = Clearance::from_visit(before, &after, host, &set_cookie_names(&response.headers));
            self.memory.record_clearance(identity, host, earned);
            has_changed = true;
            turn.mark_success();
        }
        if has_changed {
            self.persist_clearance(plan);
        }
    }

    /// Records that the impersonate tier was refused with the newest clearance.
    pub(super) fn record_clearance_refusal(&self, plan: &FetchPlan<'_>) {
        if self.memory.record_clearance_refusal(plan.identity_key(), plan.host()) {
            self.persist_clearance(plan);
        }
    }

    fn persist_clearance(&self, plan: &FetchPlan<'_>) {
        let identities = plan.identities;
        if let Some(key) = &identities.memory_key {
            self.memory.save_identity(key, &identities.browser, plan.host(), &plan.request.cookie_names());
        }
    }
}

impl Router {
    /// Chooses the browser profile for `request`, whose caller did not choose one. `identities` use the default
    /// profile, and `is_usable` tells which others may replace it. The default stays if its identity has a
    /// clearance, or a caller's cookie that is not `from_target`: another profile is another visitor to the site.
    pub(crate) async fn choose_profile(
        &self,
        identities: &IdentityPair,
        request: &Request,
        section: &SiteSection,
        policy: &EscalationPolicy,
        from_target: impl Fn(&str) -> bool,
        is_usable: impl Fn(&str) -> bool,
    ) -> ProfileDecision {
        let host = request.url.host_str().unwrap_or_default();
        let identity = &identities.browser;
        self.load_memory(identities, section, host).await;
        let has_own = identity.jar().user_cookies_for(host).iter().any(|cookie| !from_target(&cookie.name));
        if has_own || self.memory.clearance(identity.key(), host).is_some() {
            return ProfileDecision::Default;
        }
        let query = tier_query(section, identities, policy, false);
        self.memory.choose_profile(&section.site, &query, is_usable, request.method.is_safe())
    }
}

impl FetchState {
    /// Continues on the same tier with the profile that is known to pass. This happens if the re-probed default
    /// profile is still blocked and the budget allows another attempt.
    pub(super) fn fallback_after_profile_probe(
        &self,
        plan: &FetchPlan<'_>,
        counters: &AttemptCounters,
        action: Action,
        outcome: &Result<ClassifiedResponse>,
    ) -> Action {
        match (plan.probe_fallback, outcome) {
            (Some(other), Ok(response))
                if self.tier == Tier::Impersonate && response.verdict.kind.is_refusal() =>
            {
                let name = &other.browser.profile().name;
                let why = format!("probe: still {}; continuing as {name}", response.verdict);
                let action = Action::Escalate { to: self.tier, why };
                policy::within_budget(&plan.policy.budget, counters, action, &attempt_outcome(plan, outcome))
            }
            _ => action,
        }
    }

    /// Continues on the tier that is known to work, if a probe of a lower tier was refused and the budget allows it.
    pub(super) fn fallback_after_tier_probe(
        &self,
        plan: &FetchPlan<'_>,
        counters: &AttemptCounters,
        action: Action,
        outcome: &Result<ClassifiedResponse>,
    ) -> Action {
        match (self.known_tier, outcome) {
            (Some(known), Ok(response)) if self.tier < known && response.verdict.kind.is_refusal() => {
                let action =
                    Action::Escalate { to: known, why: format!("probe: still {}", response.verdict) };
                policy::within_budget(&plan.policy.budget, counters, action, &attempt_outcome(plan, outcome))
            }
            _ => action,
        }
    }
}

/// Returns the query for the tier that `identities` need in a section of a site.
fn tier_query<'a>(
    section: &'a SiteSection,
    identities: &'a IdentityPair,
    policy: &EscalationPolicy,
    cleared: bool,
) -> TierQuery<'a> {
    let top = policy.highest_tier();
    TierQuery {
        path_prefix: &section.path_prefix,
        plain_profile: &identities.plain.profile().name,
        browser_profile: &identities.browser.profile().name,
        cleared,
        min: policy.min,
        start: policy.start.clamp(policy.min, top),
        max: top,
    }
}

/// Returns the names of the cookies that a response sets.
fn set_cookie_names(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(http::header::SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned()).collect()
}
