//! What holds for one URL: its target's settings, made ready, under what the caller said in code.

use std::sync::Arc;

use url::Origin;

use crate::bounds::Bounds;
use crate::budget::Budget;
use crate::cookies::Cookie;
use crate::credentials;
use crate::detect::{Expect, Rules};
use crate::error::{Error, Result};
use crate::fingerprint::Profile;
use crate::kind::ErrorKind;
use crate::place::Place;
use crate::politeness::{Pace, Robots};
use crate::proxy::{Proxy, Route};
use crate::request::Request;
use crate::router::{Ladder, Persona};
use crate::schedule::Schedule;
use crate::session::{Exits, ProxyPool};
use crate::target::{ProxySettings, Resolved, Settings};
use crate::tier::Tier;
use crate::view::View;

use super::crew::Pools;

/// What was said in code, for every URL. It comes before what targets say.
#[derive(Clone, Default)]
pub(super) struct Said {
    pub(super) min: Option<Tier>,
    pub(super) max: Option<Tier>,
    pub(super) retries: Option<u32>,
    pub(super) schedule: Option<Schedule>,
    pub(super) budget: Option<Budget>,
    pub(super) bounds: Option<Bounds>,
    pub(super) profile: Option<Arc<Profile>>,
    /// The default profile is worn whatever is remembered of others.
    pub(super) keeps_profile: bool,
    pub(super) language: Option<String>,
    pub(super) place: Place,
    pub(super) route: Option<Route>,
    /// In place of a route.
    pub(super) pool: Option<ProxyPool>,
    pub(super) robots: Option<Robots>,
    pub(super) pace: Option<Pace>,
}

/// As whom a site is asked.
#[derive(Clone)]
pub(super) struct Look {
    pub(super) profile: Arc<Profile>,
    pub(super) route: Route,
    /// In place of the route.
    pub(super) pool: Option<Arc<Exits>>,
    pub(super) place: Place,
}

impl PartialEq for Look {
    fn eq(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.profile, &other.profile) || self.profile == other.profile;
        let pool = |look: &Self| look.pool.as_ref().map(Arc::as_ptr);
        same && self.route == other.route && pool(self) == pool(other) && self.place == other.place
    }
}

impl Look {
    /// The same by another route, and by no pool.
    pub(super) fn go_by(&mut self, route: &Route) {
        (self.route, self.pool) = (route.clone(), None);
    }

    /// Whether `persona`, who goes by no pool, looks so.
    pub(super) fn is_of(&self, persona: &Persona) -> bool {
        let worn = persona.dressed.profile();
        let same = Arc::ptr_eq(worn, &self.profile) || *worn == self.profile;
        let own = persona.session.is_none() && !persona.is_stopgap;
        own && same && *persona.dressed.route() == self.route && *persona.dressed.place() == self.place
    }
}

/// What holds for the URLs of one target.
pub(super) struct Terms {
    /// Where it comes from.
    pub(super) resolved: Arc<Resolved>,
    pub(super) ladder: Ladder,
    pub(super) bounds: Bounds,
    pub(super) expect: Option<Expect>,
    /// When the target has rules of its own.
    pub(super) rules: Option<Rules>,
    pub(super) look: Look,
    /// Whether nobody named the profile: then what is remembered of the site may change it.
    pub(super) is_free: bool,
    /// The language that was asked for.
    language: Option<String>,
    /// `None` where nobody has said anything.
    pub(super) robots: Option<Robots>,
    pub(super) pace: Pace,
}

impl Terms {
    pub(super) fn new(
        resolved: Arc<Resolved>,
        said: &Said,
        installed: &Arc<Profile>,
        rules: &Rules,
        pools: &Pools,
    ) -> Result<Self> {
        let settings = resolved.settings();
        let within = |error: Error| match resolved.target() {
            Some(name) => {
                let message = format!("the target `{name}`: {}", error.chain());
                Error::new(ErrorKind::Config, message)
            }
            None => error,
        };
        Ok(Self {
            ladder: ladder(settings, said),
            robots: said.robots.or(settings.robots.filter(|_| resolved.is_set("robots"))),
            pace: said.pace.unwrap_or_else(|| Pace::from(&settings.pace)),
            bounds: said.bounds.unwrap_or_else(|| bounds(settings)),
            expect: expect(settings).map_err(within)?,
            rules: own_rules(&resolved, rules).map_err(within)?,
            look: look(settings, said, installed, pools).map_err(within)?,
            is_free: said.profile.is_none() && settings.browser_profile.is_none() && !said.keeps_profile,
            language: language(settings, said).cloned(),
            resolved,
        })
    }

    /// The same look as the shipped browser profile called `name`. `None` where there is none.
    pub(super) fn look_as(&self, name: &str) -> Option<Look> {
        let profile = Profile::named(name).ok().filter(|profile| profile.browser.is_some())?;
        let profile = match &self.language {
            Some(tag) => Arc::new(Profile::clone(&profile).speaking(tag).ok()?),
            None => profile,
        };
        Some(Look { profile, ..self.look.clone() })
    }

    /// Whether the target gives every request a cookie of this name.
    pub(super) fn lends(&self, name: &str) -> bool {
        self.resolved.settings().request.cookies.contains_key(name)
    }

    /// Adds what the target gives every request, where the request does not say it itself. What may be a secret is
    /// left out of a request that `is_foreign`, unless a target that matches the URL gives it.
    pub(super) fn fill(
        &self,
        request: &mut Request,
        has_context: bool,
        view: &mut View,
        is_foreign: bool,
    ) -> Result<()> {
        let settings = self.resolved.settings();
        let to = request.url.origin();
        for (key, value) in &settings.request.headers {
            let (name, value) = super::send::field(key, value)?;
            let key = ["request", "headers", key.as_str()];
            let given_for = |_: &Origin| !is_foreign || self.resolved.is_given_for(&key, &request.url);
            if !credentials::may_send(&name, &to, given_for) {
                continue;
            }
            let said = request.headers.iter().any(|(other, _)| *other == name);
            if !said && !request.removed.contains(&name) {
                request.headers.push((name, value));
            }
        }
        if let Some(context) = settings.request.context.filter(|_| !has_context && request.body.is_none()) {
            request.context = context;
        }
        let browser = &settings.browser;
        if view.wait_for.is_none() {
            view.wait_for.clone_from(&browser.wait_for);
        }
        if view.block.is_empty() {
            view.block = browser.block.clone().unwrap_or_default();
        }
        if let Some(form) = browser.body {
            view.body.get_or_insert(form);
        }
        view.scroll |= browser.scroll.unwrap_or_default();
        view.screenshot |= browser.screenshot.unwrap_or_default();
        Ok(())
    }

    /// Gives both identities the target's cookies that they have not; of a request that `is_foreign`, those of targets
    /// that match the URL. A cookie for https is not for http.
    pub(super) fn lend(&self, persona: &Persona, request: &Request, is_foreign: bool) {
        let cookies = &self.resolved.settings().request.cookies;
        let Some(host) = request.url.host_str().filter(|_| !cookies.is_empty()) else { return };
        let is_given = |name: &str| {
            !is_foreign || self.resolved.is_given_for(&["request", "cookies", name], &request.url)
        };
        let mut held = persona.plain.jar().pairs(&request.url);
        held.extend(persona.dressed.jar().pairs(&request.url));
        let is_missing = |name: &str| held.iter().all(|(other, _)| other != name);
        for (name, value) in cookies.iter().filter(|(name, _)| is_missing(name) && is_given(name)) {
            let secure = request.url.scheme() == "https";
            // Both identities share it.
            persona.plain.jar().put(&Cookie { secure, ..Cookie::session(name, value, host) });
        }
    }
}

fn ladder(settings: &Settings, said: &Said) -> Ladder {
    let tiers = &settings.tiers;
    let top = if cfg!(feature = "browser") { Tier::Browser } else { Tier::Impersonate };
    let (mut min, mut max) = (tiers.min.unwrap_or(Tier::Plain), tiers.max.unwrap_or(top));
    if let Some(tier) = said.min {
        (min, max) = (tier, max.max(tier));
    }
    if let Some(tier) = said.max {
        (min, max) = (min.min(tier), tier);
    }
    let start = tiers.start.unwrap_or(min).clamp(min, max);
    let mut schedule = said.schedule.unwrap_or_else(|| settings.schedule());
    schedule.times = said.retries.unwrap_or(schedule.times);
    let mut budget = said.budget.unwrap_or_else(|| settings.budget());
    if said.budget.is_none() && settings.timeouts.total.is_some() {
        // The fetch has an end already.
        budget.elapsed = None;
    }
    Ladder { min, start, max, schedule, budget }
}

fn bounds(settings: &Settings) -> Bounds {
    let (timeouts, limits) = (&settings.timeouts, &settings.limits);
    let mut bounds = Bounds { fetch_total: timeouts.total.map(|span| span.0), ..Bounds::default() };
    for (place, said) in [
        (&mut bounds.http_total, timeouts.http),
        (&mut bounds.browser_total, timeouts.browser),
        (&mut bounds.dns, timeouts.dns),
        (&mut bounds.connect, timeouts.connect),
        (&mut bounds.tls, timeouts.tls),
        (&mut bounds.first_byte, timeouts.first_byte),
        (&mut bounds.read_idle, timeouts.read_idle),
        (&mut bounds.browser_settle, timeouts.settle),
        (&mut bounds.browser_challenge, timeouts.challenge),
    ] {
        *place = said.map_or(*place, |span| span.0);
    }
    bounds.max_body = limits.max_body.map_or(bounds.max_body, |size| size.0);
    bounds.max_file = limits.max_file.map_or(bounds.max_file, |size| size.0);
    bounds.max_redirects = limits.max_redirects.unwrap_or(bounds.max_redirects);
    bounds
}

fn expect(settings: &Settings) -> Result<Option<Expect>> {
    let mut expect = Expect::default();
    if let Some(css) = &settings.expect.css {
        expect = expect.css(css)?;
    }
    if let Some(text) = &settings.expect.text {
        expect = expect.text(text);
    }
    if let Some(least) = settings.expect.min_bytes {
        expect = expect.min_bytes(usize::try_from(least.0).unwrap_or(usize::MAX));
    }
    if let Some(wanted) = settings.expect.usual {
        expect = expect.usual(wanted);
    }
    Ok(Some(expect).filter(|expect| !expect.is_empty()))
}

fn own_rules(resolved: &Resolved, rules: &Rules) -> Result<Option<Rules>> {
    match resolved.rules() {
        Some(text) => rules.and_toml(&text, "its own rules").map(Some),
        None => Ok(None),
    }
}

fn language<'a>(settings: &'a Settings, said: &'a Said) -> Option<&'a String> {
    said.language.as_ref().or(settings.browser.language.as_ref())
}

fn look(settings: &Settings, said: &Said, installed: &Arc<Profile>, pools: &Pools) -> Result<Look> {
    let profile = match (&said.profile, &settings.browser_profile) {
        (Some(profile), _) => Arc::clone(profile),
        (None, Some(name)) => Profile::find(name)?,
        (None, None) => Arc::clone(installed),
    };
    if profile.browser.is_none() {
        let message = format!("the profile `{}` is no browser's", profile.name);
        return Err(
            Error::new(ErrorKind::Config, message).with_hint("`rungs profile list` names those there are")
        );
    }
    let browser = &settings.browser;
    let profile = match language(settings, said) {
        Some(tag) => Arc::new(Profile::clone(&profile).speaking(tag)?),
        None => profile,
    };
    let mut place = Place::named(browser.timezone.as_deref(), browser.geolocation.as_deref())?;
    place.timezone = said.place.timezone.clone().or(place.timezone);
    place.position = said.place.position.or(place.position);
    place.check()?;
    let (route, pool) = match (&said.pool, &said.route) {
        (Some(pool), _) => (Route::default(), Some(pools.of(pool)?)),
        (None, Some(route)) => (route.clone(), None),
        (None, None) => match settings.proxy.pool()? {
            Some(pool) => (Route::default(), Some(pools.of(&pool)?)),
            None => (route(&settings.proxy)?, None),
        },
    };
    Ok(Look { profile, route, pool, place })
}

/// The way by a single proxy that is one address, or by none.
fn route(settings: &ProxySettings) -> Result<Route> {
    let Some(url) = &settings.url else { return Ok(Route::default()) };
    let route = Route::through(url.parse::<Proxy>()?);
    Ok(settings.around.iter().fold(route, |route, list| route.around(list)))
}
