//! Where a fetch starts by what is remembered, and what is remembered of it.

use std::sync::Arc;

use http::HeaderMap;

use super::flight::Leave;
use super::policy::{self, History, Step};
use super::way::{Visit, Way};
use super::{Errand, Judged, Ladder, Persona, Router, seen};
use crate::error::Result;
use crate::memory::{Area, Attempted, Clearance, Dress, Question};
use crate::request::Request;
use crate::tier::Tier;

impl Router {
    /// Brings what the file knows of the site and of who asks it.
    pub(super) async fn recall(&self, persona: &Persona, area: &Area, host: &str) {
        if let Some(who) = &persona.who {
            self.memory.recall(who, &persona.dressed, area, host).await;
        }
    }

    /// Puts the fetch where the memory says, once, and higher up where a
    /// clearance came meanwhile. Whether the browser keeps the host.
    pub(super) fn place(&self, errand: &Errand<'_>, way: &mut Way) -> bool {
        let (ladder, top, host) = (errand.ladder, errand.ladder.top(), errand.host());
        let (persona, area) = (errand.persona, errand.area);
        let note = self.memory.note(errand.key(), host);
        let jar = || persona.dressed.jar().list();
        let over = note.as_ref().is_some_and(|note| note.clearance.is_over(host, self.memory.now(), jar));
        let (is_kept, cleared) = note.map_or((false, false), |note| (!note.moves, note.moves && !over));
        if over && way.known.is_none() {
            tracing::info!(host, "the clearance ran out");
        }
        if is_kept {
            way.known = Some(top);
            way.tier = Tier::Browser.clamp(ladder.min, top);
        } else if way.known.is_none() && errand.instead.is_some() {
            // Whether this profile is let in again is what the first request is for.
            way.tier = Tier::Impersonate.clamp(ladder.min, top);
            way.known = Some(way.tier);
        } else if way.known.is_none() {
            let plan = self.memory.plan(&area.site, &question(area, persona, &ladder, cleared));
            // What changes something at the site is not sent to find out.
            way.tier = if errand.request.method.is_safe() { plan.start } else { plan.known };
            way.known = Some(plan.known);
            if way.tier < plan.known {
                tracing::info!(host, tier = %way.tier, "probe: has the site relaxed?");
            }
        } else if cleared {
            way.tier = way.tier.max(Tier::Impersonate).clamp(ladder.min, top);
        }
        is_kept
    }

    /// The attempt that is about to be made, as evidence.
    pub(super) fn attempted(&self, errand: &Errand<'_>, tier: Tier) -> Attempted {
        let note = self.memory.note(errand.key(), errand.host());
        let cleared = note.is_some_and(|note| !note.clearance.cookies.is_empty());
        let profile = errand.persona.on(tier).profile().name.clone();
        Attempted { area: Arc::clone(errand.area), tier, cleared, profile }
    }

    /// Takes note of how it ended, where that tells something of the tier.
    pub(super) fn tried(&self, attempted: Attempted, outcome: &Result<Judged>) {
        let Ok(judged) = outcome else { return };
        if judged.verdict.is_genuine() {
            self.memory.tried(attempted, true);
        } else if judged.verdict.kind.is_refusal() {
            self.memory.tried(attempted, false);
        }
    }

    /// Learns from a good answer, before anybody else's turn.
    pub(super) fn learn(&self, errand: &Errand<'_>, way: &Way, judged: &Judged) {
        let (identity, host, dressed) = (errand.key(), errand.host(), &errand.persona.dressed);
        let mut news = false;
        if way.tier == Tier::Impersonate {
            news = self.memory.impersonated(identity, host)
                || judged.headers.contains_key(http::header::SET_COOKIE)
                    && self.memory.note(identity, host).is_some();
        }
        if let Some(Visit { leave: Leave::Turn(turn), before, .. }) = &way.visit {
            let after = dressed.jar().list();
            let earned = Clearance::earned(before, &after, host, &set_by(&judged.headers));
            self.memory.cleared(identity, host, earned);
            news = true;
            turn.earned();
        }
        if news {
            self.hold(errand);
        }
    }

    /// The impersonate tier was refused with the newest clearance there is.
    pub(super) fn refused(&self, errand: &Errand<'_>) {
        if self.memory.refused(errand.key(), errand.host()) {
            self.hold(errand);
        }
    }

    fn hold(&self, errand: &Errand<'_>) {
        let persona = errand.persona;
        if let Some(who) = &persona.who {
            self.memory.hold(who, &persona.dressed, errand.host(), &errand.request.cookie_names());
        }
    }
}

impl Router {
    /// Which profile to wear for `request`, whose caller named none: `persona` wears the default, and
    /// `wearable` tells which others may take its place. Where the default holds anything (a clearance, a
    /// cookie of the caller's that is none of `lent`) it stays: another profile is another visitor.
    pub(crate) async fn dress(
        &self,
        persona: &Persona,
        request: &Request,
        area: &Area,
        ladder: &Ladder,
        lent: impl Fn(&str) -> bool,
        wearable: impl Fn(&str) -> bool,
    ) -> Dress {
        let host = request.url.host_str().unwrap_or_default();
        let identity = &persona.dressed;
        self.recall(persona, area, host).await;
        let has_own = identity.jar().given_for(host).iter().any(|cookie| !lent(&cookie.name));
        if has_own || self.memory.note(identity.key(), host).is_some() {
            return Dress::Default;
        }
        let question = question(area, persona, ladder, false);
        self.memory.dress(&area.site, &question, wearable, request.method.is_safe())
    }
}

impl Way {
    /// The default profile was worn to learn whether it is let in again. Where it is not, the fetch goes on
    /// as the profile that is known to pass, on the same tier, as far as the budget allows.
    pub(super) fn outdressed(
        &self,
        errand: &Errand<'_>,
        history: &History,
        step: Step,
        outcome: &Result<Judged>,
    ) -> Step {
        match (errand.instead, outcome) {
            (Some(other), Ok(judged))
                if self.tier == Tier::Impersonate && judged.verdict.kind.is_refusal() =>
            {
                let name = &other.dressed.profile().name;
                let why = format!("probe: still {}; on as {name}", judged.verdict);
                let step = Step::Climb { to: self.tier, why };
                policy::afforded(&errand.ladder.budget, history, step, &seen(errand, outcome))
            }
            _ => step,
        }
    }

    /// A probe that was refused costs one request: the fetch goes on where it is known to work, as far as
    /// the budget allows.
    pub(super) fn probed(
        &self,
        errand: &Errand<'_>,
        history: &History,
        step: Step,
        outcome: &Result<Judged>,
    ) -> Step {
        match (self.known, outcome) {
            (Some(known), Ok(judged)) if self.tier < known && judged.verdict.kind.is_refusal() => {
                let step = Step::Climb { to: known, why: format!("probe: still {}", judged.verdict) };
                policy::afforded(&errand.ladder.budget, history, step, &seen(errand, outcome))
            }
            _ => step,
        }
    }
}

/// What the memory is asked of a part of a site: how far up `persona` has to go there.
fn question<'a>(area: &'a Area, persona: &'a Persona, ladder: &Ladder, cleared: bool) -> Question<'a> {
    let top = ladder.top();
    Question {
        group: &area.group,
        plain: &persona.plain.profile().name,
        dressed: &persona.dressed.profile().name,
        cleared,
        min: ladder.min,
        start: ladder.start.clamp(ladder.min, top),
        max: top,
    }
}

/// The names of the cookies that an answer set itself.
fn set_by(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(http::header::SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned()).collect()
}
