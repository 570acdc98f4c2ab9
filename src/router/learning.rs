//! Reads the host memory to choose the start tier and the profile, and records what a fetch learned.

use std::sync::Arc;

use http::HeaderMap;

use super::clearance::BrowserPass;
use super::identities::IdentityPair;
use super::policy::EscalationPolicy;
use super::response::ClassifiedResponse;
use super::services::Router;
use super::state::{BrowserVisit, FetchState};
use crate::exchange::error::Result;
use crate::exchange::request::Request;
use crate::exchange::tier::Tier;
use crate::memory::{AttemptSample, Clearance, ProfileDecision, SiteSection, TierQuery};

impl Router {
    /// Loads the site and the identities from the memory file.
    pub(super) async fn load_memory(&self, identities: &IdentityPair, section: &SiteSection, host: &str) {
        if let Some(key) = &identities.memory_key {
            self.memory.load(key, &identities.browser, section, host).await;
        }
    }

    /// Sets the start tier from the host memory, once. Raises it if the identity got a clearance since then. Returns
    /// whether the host is browser-only.
    pub(super) fn choose_start_tier(&self, fetch: &mut FetchState<'_>) -> bool {
        let plan = fetch.plan;
        let (policy, top, host, section) =
            (plan.policy, plan.policy.highest_tier(), plan.host(), plan.site_section);
        let stored = self.memory.clearance(fetch.identity_key(), host);
        let jar = || fetch.identities().browser.jar().list();
        let is_expired =
            stored.as_ref().is_some_and(|stored| stored.clearance.is_expired(host, self.memory.now(), jar));
        let (is_browser_only, cleared) =
            stored.map_or((false, false), |stored| (!stored.is_portable, stored.is_portable && !is_expired));
        let state = &mut fetch.current;
        if is_expired && state.known_tier.is_none() {
            tracing::info!(host, "clearance expired");
        }
        if is_browser_only {
            state.known_tier = Some(top);
            state.tier = Tier::Browser.clamp(policy.min, top);
        } else if state.known_tier.is_none() && state.probe_fallback.is_some() {
            // The first request re-probes the default profile.
            state.tier = Tier::Impersonate.clamp(policy.min, top);
            state.known_tier = Some(state.tier);
        } else if state.known_tier.is_none() {
            let query = tier_query(section, &state.identities, &policy, cleared);
            let start = self.memory.start_tier(&section.site, &query);
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
    pub(super) fn attempt_sample(&self, fetch: &FetchState<'_>) -> AttemptSample {
        let stored = self.memory.clearance(fetch.identity_key(), fetch.plan.host());
        let cleared = stored.is_some_and(|stored| !stored.clearance.cookies.is_empty());
        let profile = fetch.identity().profile().name.clone();
        AttemptSample { section: Arc::clone(fetch.plan.site_section), tier: fetch.tier(), cleared, profile }
    }

    /// Records an attempt that was genuine or refused. Other outcomes say nothing about the tier.
    pub(super) fn record_attempt(&self, fetch: &mut FetchState<'_>, outcome: &Result<ClassifiedResponse>) {
        let (Ok(response), Some(sample)) = (outcome, fetch.current.sample.take()) else { return };
        if response.verdict.is_genuine() {
            self.memory.record_attempt(sample, true);
        } else if response.verdict.kind.is_refusal() {
            self.memory.record_attempt(sample, false);
        }
    }

    /// Records a genuine response. Runs before the next fetch gets the turn.
    pub(super) fn record_success(&self, fetch: &FetchState<'_>, response: &ClassifiedResponse) {
        let (identity, host) = (fetch.identity_key(), fetch.plan.host());
        let (browser, headers) = (&fetch.identities().browser, &response.raw.headers);
        let mut has_changed = false;
        if fetch.tier() == Tier::Impersonate {
            has_changed = self.memory.record_clearance_use(identity, host)
                || headers.contains_key(http::header::SET_COOKIE)
                    && self.memory.clearance(identity, host).is_some();
        }
        if let Some(BrowserVisit { pass: BrowserPass::Exclusive(turn), cookies_before: before, .. }) =
            &fetch.current.visit
        {
            if !fetch.current.has_false_alarm {
                let after = browser.jar().list();
                let earned = Clearance::from_visit(before, &after, host, &set_cookie_names(headers));
                self.memory.record_clearance(identity, host, earned);
                has_changed = true;
            }
            turn.mark_success();
        }
        if has_changed {
            self.persist_clearance(fetch);
        }
    }

    /// Records that the impersonate tier was refused with the newest clearance.
    pub(super) fn record_clearance_refusal(&self, fetch: &FetchState<'_>) {
        if self.memory.record_clearance_refusal(fetch.identity_key(), fetch.plan.host()) {
            self.persist_clearance(fetch);
        }
    }

    fn persist_clearance(&self, fetch: &FetchState<'_>) {
        let (plan, identities) = (fetch.plan, fetch.identities());
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
