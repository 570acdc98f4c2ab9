//! What holds for one URL: its target's settings, made ready, under what the caller said in code.

use std::sync::Arc;

use url::Origin;

use crate::budget::Budget;
use crate::cookies::Cookie;
use crate::credentials;
use crate::detect::{Expectation, Rules};
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fingerprint::Profile;
use crate::geo::LocationOverride;
use crate::limits::Limits;
use crate::proxy::{Proxy, ProxyRules};
use crate::proxy_session::{ProxyPool, ProxyRotator};
use crate::rate_limit::{RateLimit, RobotsPolicy};
use crate::render::RenderOptions;
use crate::request::Request;
use crate::retry::RetryPolicy;
use crate::router::{EscalationPolicy, IdentityPair};
use crate::target::{ProxySettings, ResolvedTarget, Settings};
use crate::tier::Tier;

use super::identity_pool::ProxyPools;

/// What was said in code, for every URL. It comes before what targets say.
#[derive(Clone, Default)]
pub(super) struct FetcherConfig {
    pub(super) min: Option<Tier>,
    pub(super) max: Option<Tier>,
    pub(super) retries: Option<u32>,
    pub(super) retry_policy: Option<RetryPolicy>,
    pub(super) budget: Option<Budget>,
    pub(super) limits: Option<Limits>,
    pub(super) profile: Option<Arc<Profile>>,
    /// The default profile is worn whatever is remembered of others.
    pub(super) pins_profile: bool,
    pub(super) language: Option<String>,
    pub(super) location: LocationOverride,
    pub(super) proxy_rules: Option<ProxyRules>,
    /// In place of a route.
    pub(super) proxy_pool: Option<ProxyPool>,
    pub(super) robots: Option<RobotsPolicy>,
    pub(super) rate_limit: Option<RateLimit>,
}

/// As whom a site is asked.
#[derive(Clone)]
pub(super) struct ClientSpec {
    pub(super) profile: Arc<Profile>,
    pub(super) proxy_rules: ProxyRules,
    /// In place of the route.
    pub(super) rotator: Option<Arc<ProxyRotator>>,
    pub(super) location: LocationOverride,
}

impl PartialEq for ClientSpec {
    fn eq(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.profile, &other.profile) || self.profile == other.profile;
        let pool = |look: &Self| look.rotator.as_ref().map(Arc::as_ptr);
        same && self.proxy_rules == other.proxy_rules
            && pool(self) == pool(other)
            && self.location == other.location
    }
}

impl ClientSpec {
    /// The same by another route, and by no pool.
    pub(super) fn set_proxy_rules(&mut self, route: &ProxyRules) {
        (self.proxy_rules, self.rotator) = (route.clone(), None);
    }

    /// Whether `persona`, who goes by no pool, looks so.
    pub(super) fn matches(&self, persona: &IdentityPair) -> bool {
        let worn = persona.browser.profile();
        let same = Arc::ptr_eq(worn, &self.profile) || *worn == self.profile;
        let own = persona.proxy_session.is_none() && !persona.is_direct_fallback;
        own && same
            && *persona.browser.proxy_rules() == self.proxy_rules
            && *persona.browser.location() == self.location
    }
}

/// What holds for the URLs of one target.
pub(super) struct TargetPlan {
    /// Where it comes from.
    pub(super) target: Arc<ResolvedTarget>,
    pub(super) policy: EscalationPolicy,
    pub(super) limits: Limits,
    pub(super) expectation: Option<Expectation>,
    /// When the target has rules of its own.
    pub(super) rules: Option<Rules>,
    pub(super) spec: ClientSpec,
    /// Whether nobody named the profile: then what is remembered of the site may change it.
    pub(super) may_adapt_profile: bool,
    /// The language that was asked for.
    language: Option<String>,
    /// `None` where nobody has said anything.
    pub(super) robots: Option<RobotsPolicy>,
    pub(super) rate_limit: RateLimit,
}

impl TargetPlan {
    pub(super) fn new(
        resolved: Arc<ResolvedTarget>,
        said: &FetcherConfig,
        installed: &Arc<Profile>,
        rules: &Rules,
        pools: &ProxyPools,
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
            policy: escalation_policy(settings, said),
            robots: said.robots.or(settings.robots.filter(|_| resolved.is_set("robots"))),
            rate_limit: said.rate_limit.unwrap_or_else(|| RateLimit::from(&settings.pace)),
            limits: said.limits.unwrap_or_else(|| limits(settings)),
            expectation: expectation(settings).map_err(within)?,
            rules: target_rules(&resolved, rules).map_err(within)?,
            spec: client_spec(settings, said, installed, pools).map_err(within)?,
            may_adapt_profile: said.profile.is_none()
                && settings.browser_profile.is_none()
                && !said.pins_profile,
            language: language(settings, said).cloned(),
            target: resolved,
        })
    }

    /// The same look as the shipped browser profile called `name`. `None` where there is none.
    pub(super) fn with_profile(&self, name: &str) -> Option<ClientSpec> {
        let profile = Profile::named(name).ok().filter(|profile| profile.browser.is_some())?;
        let profile = match &self.language {
            Some(tag) => Arc::new(Profile::clone(&profile).with_language(tag).ok()?),
            None => profile,
        };
        Some(ClientSpec { profile, ..self.spec.clone() })
    }

    /// Whether the target gives every request a cookie of this name.
    pub(super) fn sets_cookie(&self, name: &str) -> bool {
        self.target.settings().request.cookies.contains_key(name)
    }

    /// Adds what the target gives every request, where the request does not say it itself. What may be a secret is
    /// left out of a request that `is_foreign`, unless a target that matches the URL gives it.
    pub(super) fn apply_defaults(
        &self,
        request: &mut Request,
        has_context: bool,
        view: &mut RenderOptions,
        is_foreign: bool,
    ) -> Result<()> {
        let settings = self.target.settings();
        let to = request.url.origin();
        for (key, value) in &settings.request.headers {
            let (name, value) = super::request::parse_header(key, value)?;
            let key = ["request", "headers", key.as_str()];
            let given_for = |_: &Origin| !is_foreign || self.target.is_given_for(&key, &request.url);
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
    pub(super) fn apply_cookies(&self, persona: &IdentityPair, request: &Request, is_foreign: bool) {
        let cookies = &self.target.settings().request.cookies;
        let Some(host) = request.url.host_str().filter(|_| !cookies.is_empty()) else { return };
        let is_given =
            |name: &str| !is_foreign || self.target.is_given_for(&["request", "cookies", name], &request.url);
        let mut held = persona.plain.jar().pairs(&request.url);
        held.extend(persona.browser.jar().pairs(&request.url));
        let is_missing = |name: &str| held.iter().all(|(other, _)| other != name);
        for (name, value) in cookies.iter().filter(|(name, _)| is_missing(name) && is_given(name)) {
            let secure = request.url.scheme() == "https";
            // Both identities share it.
            persona.plain.jar().insert(&Cookie { secure, ..Cookie::session(name, value, host) });
        }
    }
}

fn escalation_policy(settings: &Settings, said: &FetcherConfig) -> EscalationPolicy {
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
    let mut schedule = said.retry_policy.unwrap_or_else(|| settings.retry_policy());
    schedule.max_retries = said.retries.unwrap_or(schedule.max_retries);
    let mut budget = said.budget.unwrap_or_else(|| settings.budget());
    if said.budget.is_none() && settings.timeouts.total.is_some() {
        // The fetch has an end already.
        budget.elapsed = None;
    }
    EscalationPolicy { min, start, max, retry_policy: schedule, budget }
}

fn limits(settings: &Settings) -> Limits {
    let (timeouts, limits) = (&settings.timeouts, &settings.limits);
    let mut bounds = Limits { fetch_total: timeouts.total.map(|span| span.0), ..Limits::default() };
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

fn expectation(settings: &Settings) -> Result<Option<Expectation>> {
    let mut expect = Expectation::default();
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
        expect = expect.check_usual_size(wanted);
    }
    Ok(Some(expect).filter(|expect| !expect.is_empty()))
}

fn target_rules(resolved: &ResolvedTarget, rules: &Rules) -> Result<Option<Rules>> {
    match resolved.rules_toml() {
        Some(text) => rules.and_toml(&text, "its own rules").map(Some),
        None => Ok(None),
    }
}

fn language<'a>(settings: &'a Settings, said: &'a FetcherConfig) -> Option<&'a String> {
    said.language.as_ref().or(settings.browser.language.as_ref())
}

fn client_spec(
    settings: &Settings,
    said: &FetcherConfig,
    installed: &Arc<Profile>,
    pools: &ProxyPools,
) -> Result<ClientSpec> {
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
        Some(tag) => Arc::new(Profile::clone(&profile).with_language(tag)?),
        None => profile,
    };
    let mut place = LocationOverride::parse(browser.timezone.as_deref(), browser.geolocation.as_deref())?;
    place.timezone = said.location.timezone.clone().or(place.timezone);
    place.position = said.location.position.or(place.position);
    place.validate()?;
    let (route, pool) = match (&said.proxy_pool, &said.proxy_rules) {
        (Some(pool), _) => (ProxyRules::default(), Some(pools.get_or_create(pool)?)),
        (None, Some(route)) => (route.clone(), None),
        (None, None) => match settings.proxy.pool()? {
            Some(pool) => (ProxyRules::default(), Some(pools.get_or_create(&pool)?)),
            None => (proxy_rules(&settings.proxy)?, None),
        },
    };
    Ok(ClientSpec { profile, proxy_rules: route, rotator: pool, location: place })
}

/// The way by a single proxy that is one address, or by none.
fn proxy_rules(settings: &ProxySettings) -> Result<ProxyRules> {
    let Some(url) = &settings.url else { return Ok(ProxyRules::default()) };
    let route = ProxyRules::through(url.parse::<Proxy>()?);
    Ok(settings.no_proxy.iter().fold(route, |route, list| route.no_proxy(list)))
}
