//! Resolves the settings for one URL: those of the caller in code, then those of its target.

use std::sync::Arc;

use url::Origin;

use crate::detect::{Expectation, Rules};
use crate::exchange::credentials;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Request;
use crate::exchange::robots_policy::RobotsPolicy;
use crate::exchange::tier::Tier;
use crate::fingerprint::Profile;
use crate::identity::cookies::{Cookie, needs_http_only};
use crate::identity::geo::LocationOverride;
use crate::proxy::session::ProxyPool;
use crate::proxy::{Proxy, ProxyRules};
use crate::router::{EscalationPolicy, IdentityPair};
use crate::settings::budget::Budget;
use crate::settings::limits::Limits;
use crate::settings::rate_limit::RateLimit;
use crate::settings::render::RenderOptions;
use crate::settings::retry::RetryPolicy;
use crate::target::{ProxySettings, ResolvedTarget, Settings};

use super::client_spec::ClientSpec;
use super::identity_pool::ProxyPools;

/// The settings made in code, for every URL. They override targets.
#[derive(Clone, Default)]
pub(super) struct FetcherConfig {
    pub(super) min: Option<Tier>,
    pub(super) max: Option<Tier>,
    pub(super) retries: Option<u32>,
    pub(super) retry_policy: Option<RetryPolicy>,
    pub(super) budget: Option<Budget>,
    pub(super) limits: Option<Limits>,
    pub(super) max_redirects: Option<u32>,
    pub(super) profile: Option<Arc<Profile>>,
    /// The default profile is used regardless of the host memory.
    pub(super) pins_profile: bool,
    pub(super) language: Option<String>,
    pub(super) location: LocationOverride,
    pub(super) proxy_rules: Option<ProxyRules>,
    /// A pool replaces the proxy rules.
    pub(super) proxy_pool: Option<ProxyPool>,
    pub(super) robots: Option<RobotsPolicy>,
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) meta_refresh: Option<bool>,
}

/// The resolved settings for the URLs of one target.
pub(super) struct TargetPlan {
    /// The target that the settings come from.
    pub(super) target: Arc<ResolvedTarget>,
    pub(super) policy: EscalationPolicy,
    pub(super) limits: Limits,
    pub(super) expectation: Option<Expectation>,
    /// The block rules, if the target has its own.
    pub(super) rules: Option<Rules>,
    pub(super) spec: ClientSpec,
    /// Whether the host memory may choose the profile, because neither code nor the target sets one.
    pub(super) may_adapt_profile: bool,
    /// The browser language, if set.
    language: Option<String>,
    /// `None` if neither code nor a target sets it.
    pub(super) robots: Option<RobotsPolicy>,
    pub(super) rate_limit: RateLimit,
    pub(super) meta_refresh: bool,
}

impl TargetPlan {
    pub(super) fn new(
        resolved: Arc<ResolvedTarget>,
        config: &FetcherConfig,
        installed: &Arc<Profile>,
        rules: &Rules,
        pools: &ProxyPools,
    ) -> Result<Self> {
        let settings = resolved.settings();
        let with_target = |error: Error| match resolved.target() {
            Some(name) => {
                let message = format!("target `{name}`: {}", error.chain());
                Error::new(ErrorKind::Config, message)
            }
            None => error,
        };
        Ok(Self {
            policy: escalation_policy(settings, config),
            robots: config.robots.or(settings.robots.filter(|_| resolved.is_set("robots"))),
            rate_limit: config.rate_limit.unwrap_or_else(|| RateLimit::from(&settings.pace)),
            meta_refresh: config.meta_refresh.or(settings.request.meta_refresh).unwrap_or(true),
            limits: limits(settings, config),
            expectation: expectation(settings).map_err(with_target)?,
            rules: target_rules(&resolved, rules).map_err(with_target)?,
            spec: client_spec(settings, config, installed, pools).map_err(with_target)?,
            may_adapt_profile: config.profile.is_none()
                && settings.browser_profile.is_none()
                && !config.pins_profile,
            language: language(settings, config).cloned(),
            target: resolved,
        })
    }

    /// Returns the same spec with the shipped browser profile called `name`. `None` if it does not exist.
    pub(super) fn with_profile(&self, name: &str) -> Option<ClientSpec> {
        let profile = Profile::named(name).ok().filter(|profile| profile.browser.is_some())?;
        let profile = match &self.language {
            Some(tag) => Arc::new(Profile::clone(&profile).with_language(tag).ok()?),
            None => profile,
        };
        Some(ClientSpec { profile, ..self.spec.clone() })
    }

    /// Whether the target sets a cookie with this name.
    pub(super) fn sets_cookie(&self, name: &str) -> bool {
        self.target.settings().request.cookies.contains_key(name)
    }

    /// Adds the target's request settings that the request does not set itself. If `is_foreign`, headers that may be
    /// secrets are added only from targets that match the URL.
    pub(super) fn apply_defaults(
        &self,
        request: &mut Request,
        has_context: bool,
        render: &mut RenderOptions,
        is_foreign: bool,
    ) -> Result<()> {
        let settings = self.target.settings();
        let to = request.url.origin();
        for (key, value) in &settings.request.headers {
            let spelled = key;
            let (name, value) = super::request::parse_header(key, value)?;
            let key = ["request", "headers", key.as_str()];
            let given_for = |_: &Origin| !is_foreign || self.target.is_given_for(&key, &request.url);
            if !credentials::may_send(&name, &to, given_for) {
                continue;
            }
            let is_set = request.headers.iter().any(|(other, _)| *other == name);
            if !is_set && !request.removed.contains(&name) {
                request.push_header(spelled, name, value);
            }
        }
        if let Some(context) = settings.request.context.filter(|_| !has_context && request.body.is_none()) {
            request.context = context;
        }
        let browser = &settings.browser;
        if render.wait_for.is_none() {
            render.wait_for.clone_from(&browser.wait_for);
        }
        if render.block.is_empty() {
            render.block = browser.block.clone().unwrap_or_default();
        }
        if let Some(source) = browser.body {
            render.body.get_or_insert(source);
        }
        render.scroll |= browser.scroll.unwrap_or_default();
        render.frames |= browser.frames.unwrap_or_default();
        render.wait = render.wait.or(browser.wait.map(|span| span.0));
        render.screenshot |= browser.screenshot.unwrap_or_default();
        Ok(())
    }

    /// Adds the target's cookies that the identities do not have. If `is_foreign`, adds only those of targets that
    /// match the URL. Cookies set for an https URL are not sent over http.
    pub(super) fn apply_cookies(&self, identities: &IdentityPair, request: &Request, is_foreign: bool) {
        let cookies = &self.target.settings().request.cookies;
        let Some(host) = request.url.host_str().filter(|_| !cookies.is_empty()) else { return };
        let is_given =
            |name: &str| !is_foreign || self.target.is_given_for(&["request", "cookies", name], &request.url);
        let mut existing = identities.plain.jar().pairs(&request.url);
        existing.extend(identities.browser.jar().pairs(&request.url));
        let is_missing = |name: &str| existing.iter().all(|(other, _)| other != name);
        for (name, value) in cookies.iter().filter(|(name, _)| is_missing(name) && is_given(name)) {
            let mut cookie = Cookie::session(name, value, host);
            cookie.secure = request.url.scheme() == "https";
            cookie.http_only = needs_http_only(name);
            // Both identities share the caller's cookies.
            identities.plain.jar().insert(&cookie);
        }
    }
}

fn escalation_policy(settings: &Settings, config: &FetcherConfig) -> EscalationPolicy {
    let tiers = &settings.tiers;
    let top = if cfg!(feature = "browser") { Tier::Browser } else { Tier::Impersonate };
    let (mut min, mut max) = (tiers.min.unwrap_or(Tier::Plain), tiers.max.unwrap_or(top));
    if let Some(tier) = config.min {
        (min, max) = (tier, max.max(tier));
    }
    if let Some(tier) = config.max {
        (min, max) = (min.min(tier), tier);
    }
    let start = tiers.start.unwrap_or(min).clamp(min, max);
    let mut retry_policy = config.retry_policy.unwrap_or_else(|| settings.retry_policy());
    retry_policy.max_retries = config.retries.unwrap_or(retry_policy.max_retries);
    let mut budget = config.budget.unwrap_or_else(|| settings.budget());
    if config.budget.is_none() && settings.timeouts.total.is_some() {
        // The total timeout already ends the fetch.
        budget.elapsed = None;
    }
    EscalationPolicy { min, start, max, retry_policy, budget }
}

fn limits(settings: &Settings, config: &FetcherConfig) -> Limits {
    let limits = config.limits.unwrap_or_else(|| settings_limits(settings));
    Limits { max_redirects: config.max_redirects.unwrap_or(limits.max_redirects), ..limits }
}

fn settings_limits(settings: &Settings) -> Limits {
    let (timeouts, sizes) = (&settings.timeouts, &settings.limits);
    let mut limits = Limits { fetch_total: timeouts.total.map(|span| span.0), ..Limits::default() };
    for (limit, value) in [
        (&mut limits.http_total, timeouts.http),
        (&mut limits.browser_total, timeouts.browser),
        (&mut limits.dns, timeouts.dns),
        (&mut limits.connect, timeouts.connect),
        (&mut limits.tls, timeouts.tls),
        (&mut limits.first_byte, timeouts.first_byte),
        (&mut limits.read_idle, timeouts.read_idle),
        (&mut limits.browser_settle, timeouts.settle),
        (&mut limits.browser_challenge, timeouts.challenge),
    ] {
        *limit = value.map_or(*limit, |span| span.0);
    }
    limits.max_body = sizes.max_body.map_or(limits.max_body, |size| size.0);
    limits.max_file = sizes.max_file.map_or(limits.max_file, |size| size.0);
    limits.page_memory = settings.browser.page_memory.map(|size| size.0);
    limits.max_redirects = sizes.max_redirects.unwrap_or(limits.max_redirects);
    limits
}

fn expectation(settings: &Settings) -> Result<Option<Expectation>> {
    let mut expect = Expectation::default();
    if let Some(css) = &settings.expect.css {
        expect = expect.css(css)?;
    }
    if let Some(text) = &settings.expect.text {
        expect = expect.text(text);
    }
    if let Some(min_bytes) = settings.expect.min_bytes {
        expect = expect.min_bytes(usize::try_from(min_bytes.0).unwrap_or(usize::MAX));
    }
    if let Some(check_usual) = settings.expect.usual {
        expect = expect.check_usual_size(check_usual);
    }
    Ok(Some(expect).filter(|expect| !expect.is_empty()))
}

fn target_rules(resolved: &ResolvedTarget, rules: &Rules) -> Result<Option<Rules>> {
    match resolved.rules_toml() {
        Some(text) => rules.and_toml(&text, "its own rules").map(Some),
        None => Ok(None),
    }
}

fn language<'a>(settings: &'a Settings, config: &'a FetcherConfig) -> Option<&'a String> {
    config.language.as_ref().or(settings.browser.language.as_ref())
}

fn client_spec(
    settings: &Settings,
    config: &FetcherConfig,
    installed: &Arc<Profile>,
    pools: &ProxyPools,
) -> Result<ClientSpec> {
    let profile = match (&config.profile, &settings.browser_profile) {
        (Some(profile), _) => Arc::clone(profile),
        (None, Some(name)) => Profile::find(name)?,
        (None, None) => Arc::clone(installed),
    };
    if profile.browser.is_none() {
        let message = format!("`{}` is not a browser profile", profile.name);
        return Err(
            Error::new(ErrorKind::Config, message).with_hint("list the profiles with `rungs profile list`")
        );
    }
    let browser = &settings.browser;
    let profile = match language(settings, config) {
        Some(tag) => Arc::new(Profile::clone(&profile).with_language(tag)?),
        None => profile,
    };
    let mut location = LocationOverride::parse(browser.timezone.as_deref(), browser.geolocation.as_deref())?;
    location.timezone = config.location.timezone.clone().or(location.timezone);
    location.position = config.location.position.or(location.position);
    location.validate()?;
    let (proxy_rules, pool) = match (&config.proxy_pool, &config.proxy_rules) {
        (Some(pool), _) => (ProxyRules::default(), Some(pools.get_or_create(pool)?)),
        (None, Some(proxy_rules)) => (proxy_rules.clone(), None),
        (None, None) => match settings.proxy.pool()? {
            Some(pool) => (ProxyRules::default(), Some(pools.get_or_create(&pool)?)),
            None => (proxy_rules(&settings.proxy)?, None),
        },
    };
    Ok(ClientSpec { profile, proxy_rules, rotator: pool, location })
}

/// Returns the rules for the target's single proxy. Without a proxy, connections are direct.
fn proxy_rules(settings: &ProxySettings) -> Result<ProxyRules> {
    let Some(url) = &settings.url else { return Ok(ProxyRules::default()) };
    let proxy_rules = ProxyRules::through(url.parse::<Proxy>()?);
    Ok(settings.no_proxy.iter().fold(proxy_rules, |proxy_rules, list| proxy_rules.no_proxy(list)))
}
