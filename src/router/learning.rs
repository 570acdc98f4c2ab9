//! Where a fetch starts by what is remembered, and what is remembered of it.

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
    /// Brings what the file knows of the site and of who asks it.
    pub(super) async fn load_memory(&self, persona: &IdentityPair, area: &SiteSection, host: &str) {
        if let Some(who) = &persona.memory_key {
            self.memory.load(who, &persona.browser, area, host).await;
        }
    }

    /// Puts the fetch where the memory says, once, and higher up where a
    /// clearance came meanwhile. Whether the browser keeps the host.
    pub(super) fn choose_start_tier(&self, errand: &FetchPlan<'_>, way: &mut FetchState) -> bool {
        let (ladder, top, host) = (errand.policy, errand.policy.highest_tier(), errand.host());
        let (persona, area) = (errand.identities, errand.site_section);
        let note = self.memory.clearance(errand.identity_key(), host);
        let jar = || persona.browser.jar().list();
        let over = note.as_ref().is_some_and(|note| note.clearance.is_expired(host, self.memory.now(), jar));
        let (is_kept, cleared) =
            note.map_or((false, false), |note| (!note.is_portable, note.is_portable && !over));
        if over && way.known_tier.is_none() {
            tracing::info!(host, "the clearance ran out");
        }
        if is_kept {
            way.known_tier = Some(top);
            way.tier = Tier::Browser.clamp(ladder.min, top);
        } else if way.known_tier.is_none() && errand.probe_fallback.is_some() {
            // Whether this profile is let in again is what the first request is for.
            way.tier = Tier::Impersonate.clamp(ladder.min, top);
            way.known_tier = Some(way.tier);
        } else if way.known_tier.is_none() {
            let plan = self.memory.start_tier(&area.site, &tier_query(area, persona, &ladder, cleared));
            // What changes something at the site is not sent to find out.
            way.tier = if errand.request.method.is_safe() { plan.tier } else { plan.known };
            way.known_tier = Some(plan.known);
            if way.tier < plan.known {
                tracing::info!(host, tier = %way.tier, "probe: has the site relaxed?");
            }
        } else if cleared {
            way.tier = way.tier.max(Tier::Impersonate).clamp(ladder.min, top);
        }
        is_kept
    }

    /// The attempt that is about to be made, as evidence.
    pub(super) fn attempt_sample(&self, errand: &FetchPlan<'_>, tier: Tier) -> AttemptSample {
        let note = self.memory.clearance(errand.identity_key(), errand.host());
        let cleared = note.is_some_and(|note| !note.clearance.cookies.is_empty());
        let profile = errand.identities.for_tier(tier).profile().name.clone();
        AttemptSample { section: Arc::clone(errand.site_section), tier, cleared, profile }
    }

    /// Takes note of how it ended, where that tells something of the tier.
    pub(super) fn record_attempt(&self, attempted: AttemptSample, outcome: &Result<ClassifiedResponse>) {
        let Ok(judged) = outcome else { return };
        if judged.verdict.is_genuine() {
            self.memory.record_attempt(attempted, true);
        } else if judged.verdict.kind.is_refusal() {
            self.memory.record_attempt(attempted, false);
        }
    }

    /// Learns from a good answer, before anybody else's turn.
    pub(super) fn record_success(
        &self,
        errand: &FetchPlan<'_>,
        way: &FetchState,
        judged: &ClassifiedResponse,
    ) {
        let (identity, host, dressed) = (errand.identity_key(), errand.host(), &errand.identities.browser);
        let mut news = false;
        if way.tier == Tier::Impersonate {
            news = self.memory.record_clearance_use(identity, host)
                || judged.headers.contains_key(http::header::SET_COOKIE)
                    && self.memory.clearance(identity, host).is_some();
        }
        if let Some(BrowserVisit { pass: BrowserPass::Exclusive(turn), cookies_before: before, .. }) =
            &way.visit
        {
            let after = dressed.jar().list();
            let earned = Clearance::from_visit(before, &after, host, &set_cookie_names(&judged.headers));
            self.memory.record_clearance(identity, host, earned);
            news = true;
            turn.mark_success();
        }
        if news {
            self.persist_clearance(errand);
        }
    }

    /// The impersonate tier was refused with the newest clearance there is.
    pub(super) fn record_clearance_refusal(&self, errand: &FetchPlan<'_>) {
        if self.memory.record_clearance_refusal(errand.identity_key(), errand.host()) {
            self.persist_clearance(errand);
        }
    }

    fn persist_clearance(&self, errand: &FetchPlan<'_>) {
        let persona = errand.identities;
        if let Some(who) = &persona.memory_key {
            self.memory.save_identity(who, &persona.browser, errand.host(), &errand.request.cookie_names());
        }
    }
}

impl Router {
    /// Which profile to wear for `request`, whose caller named none: `persona` wears the default, and
    /// `wearable` tells which others may take its place. Where the default holds anything (a clearance, a
    /// cookie of the caller's that is none of `lent`) it stays: another profile is another visitor.
    pub(crate) async fn choose_profile(
        &self,
        persona: &IdentityPair,
        request: &Request,
        area: &SiteSection,
        ladder: &EscalationPolicy,
        lent: impl Fn(&str) -> bool,
        wearable: impl Fn(&str) -> bool,
    ) -> ProfileDecision {
        let host = request.url.host_str().unwrap_or_default();
        let identity = &persona.browser;
        self.load_memory(persona, area, host).await;
        let has_own = identity.jar().user_cookies_for(host).iter().any(|cookie| !lent(&cookie.name));
        if has_own || self.memory.clearance(identity.key(), host).is_some() {
            return ProfileDecision::Default;
        }
        let question = tier_query(area, persona, ladder, false);
        self.memory.choose_profile(&area.site, &question, wearable, request.method.is_safe())
    }
}

impl FetchState {
    /// The default profile was worn to learn whether it is let in again. Where it is not, the fetch goes on
    /// as the profile that is known to pass, on the same tier, as far as the budget allows.
    pub(super) fn fallback_after_profile_probe(
        &self,
        errand: &FetchPlan<'_>,
        history: &AttemptCounters,
        step: Action,
        outcome: &Result<ClassifiedResponse>,
    ) -> Action {
        match (errand.probe_fallback, outcome) {
            (Some(other), Ok(judged))
                if self.tier == Tier::Impersonate && judged.verdict.kind.is_refusal() =>
            {
                let name = &other.browser.profile().name;
                let why = format!("probe: still {}; on as {name}", judged.verdict);
                let step = Action::Escalate { to: self.tier, why };
                policy::within_budget(&errand.policy.budget, history, step, &attempt_outcome(errand, outcome))
            }
            _ => step,
        }
    }

    /// A probe that was refused costs one request: the fetch goes on where it is known to work, as far as
    /// the budget allows.
    pub(super) fn fallback_after_tier_probe(
        &self,
        errand: &FetchPlan<'_>,
        history: &AttemptCounters,
        step: Action,
        outcome: &Result<ClassifiedResponse>,
    ) -> Action {
        match (self.known_tier, outcome) {
            (Some(known), Ok(judged)) if self.tier < known && judged.verdict.kind.is_refusal() => {
                let step = Action::Escalate { to: known, why: format!("probe: still {}", judged.verdict) };
                policy::within_budget(&errand.policy.budget, history, step, &attempt_outcome(errand, outcome))
            }
            _ => step,
        }
    }
}

/// What the memory is asked of a part of a site: how far up `persona` has to go there.
fn tier_query<'a>(
    area: &'a SiteSection,
    persona: &'a IdentityPair,
    ladder: &EscalationPolicy,
    cleared: bool,
) -> TierQuery<'a> {
    let top = ladder.highest_tier();
    TierQuery {
        path_prefix: &area.path_prefix,
        plain_profile: &persona.plain.profile().name,
        browser_profile: &persona.browser.profile().name,
        cleared,
        min: ladder.min,
        start: ladder.start.clamp(ladder.min, top),
        max: top,
    }
}

/// The names of the cookies that an answer set itself.
fn set_cookie_names(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(http::header::SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned()).collect()
}
