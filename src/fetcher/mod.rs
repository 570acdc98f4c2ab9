//! The public entry point: `Fetcher`, its builder, `RequestBuilder` and `Response`.

mod builder;
mod client_spec;
mod default_profile;
pub mod diagnose;
pub mod doctor;
#[cfg(feature = "extract")]
mod extraction;
mod identity_pool;
mod in_flight;
mod named_sessions;
mod plan;
mod request;
mod response;
mod span;

pub use builder::FetcherBuilder;
pub use default_profile::default_profile;
pub use in_flight::InFlight;
pub use request::RequestBuilder;
pub use response::Response;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::{HeaderName, Method, header};
use url::Url;

use crate::detect::Rules;
use crate::exchange::error::Result;
use crate::exchange::registrable_domain;
use crate::exchange::request::{Request, parse_url};
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::identity::hsts::HstsStore;
use crate::memory::{ProfileDecision, SavedIdentityKey, SiteSection};
use crate::os::sync::lock_unpoisoned;
use crate::proxy::ProxyRules;
use crate::proxy::session::{ProxyStats, RotationMode};
use crate::router::host_limiter::HostReadiness;
use crate::router::{EscalationPolicy, IdentityPair, Router};
use crate::settings::rate_limit::RateLimit;
use crate::target::{ResolvedTarget, Targets};

use client_spec::ClientSpec;
use identity_pool::{IdentityPool, ProxyIdentitySource, ProxyPools};
use in_flight::InFlightRegistry;
use named_sessions::SessionRegistry;
use plan::{FetcherConfig, TargetPlan};

/// Fetches URLs on the cheapest tier that each site accepts. Cheap to clone; clones share everything.
///
/// ```no_run
/// # async fn example() -> rungs::Result<()> {
/// let fetcher = rungs::Fetcher::builder().max_tier(rungs::Tier::Impersonate).build()?;
/// let response = fetcher.get("https://shop.example/p/1").send().await?;
/// println!("{} by {}: {}", response.status(), response.tier(), response.text()?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
    /// The name of the session. `None` for the fetcher's own session, which is not `session("default")`.
    session_name: Option<Arc<str>>,
    /// Proxy rules of this session, if set. They replace those of the targets.
    proxy_rules: Option<ProxyRules>,
    identities: Arc<IdentityPair>,
}

/// A URL and the rate limit of its host.
#[derive(Debug)]
pub(crate) struct HostPacing {
    url: Url,
    rate_limit: RateLimit,
}

/// The state that all sessions of a fetcher share.
struct Inner {
    router: Router,
    targets: Targets,
    config: FetcherConfig,
    rules: Rules,
    plain_profile: Arc<Profile>,
    /// The default profile: that of the installed browser, or the one set in code.
    installed_profile: Arc<Profile>,
    /// The plan of each target, keyed by the address of its settings. A plan keeps its settings alive.
    plans: Mutex<HashMap<usize, Arc<TargetPlan>>>,
    sessions: Mutex<SessionRegistry>,
    proxy_pools: ProxyPools,
    identity_pool: IdentityPool,
    in_flight: InFlightRegistry,
    hsts: Option<HstsStore>,
    #[cfg(feature = "browser")]
    browser: Arc<crate::transport::browser::BrowserTransport>,
}

impl Fetcher {
    /// Returns the names of the fields that targets extract from pages.
    pub(crate) fn field_names(&self) -> Vec<String> {
        self.inner.targets.field_names()
    }

    /// Returns a builder with default settings.
    pub fn builder() -> FetcherBuilder {
        FetcherBuilder::default()
    }

    /// Starts building a GET request for `url`.
    pub fn get(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Starts building a request with any method. [`RequestBuilder::send`] reports a malformed URL.
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, url.as_ref())
    }

    /// Returns the session called `name`: one identity for several requests. The same name returns the same identity
    /// while a handle to the session exists. Afterwards it does while the name is among the last few thousand names
    /// used.
    #[must_use]
    pub fn session(&self, name: &str) -> Self {
        self.with_session(Some(name.into()), self.proxy_rules.clone())
    }

    /// Returns the same session with other proxy rules, which is another identity: a site must not see one visitor
    /// at two addresses. The same name and rules return the same identity again.
    #[must_use]
    pub fn with_proxy_rules(&self, proxy_rules: &ProxyRules) -> Self {
        self.with_session(self.session_name.clone(), Some(proxy_rules.clone()))
    }

    /// Returns the same session as used for `url`. The target of the URL may set another browser profile or proxy:
    /// then the session has another identity and another cookie jar there.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl), and
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the settings of its target contradict each other.
    pub fn for_url(&self, url: &str) -> Result<Self> {
        let url = parse_url(url)?;
        let plan = self.inner.plan_for(&url)?;
        let spec = self.client_spec(&plan);
        let base = self.identities_for(&spec);
        let identities = match self.proxy_identity_source(&spec, &url, &base) {
            Some(source) if source.rotator.mode() != RotationMode::Rotating => source.select()?,
            _ => base,
        };
        Ok(Self { identities, ..self.clone() })
    }

    /// Returns the statistics of each proxy endpoint in the pools, see [`ProxyPool`](crate::ProxyPool). Empty
    /// without a pool.
    #[must_use]
    pub fn proxy_stats(&self) -> Vec<ProxyStats> {
        self.inner.proxy_pools.stats()
    }

    fn with_session(&self, name: Option<Arc<str>>, proxy_rules: Option<ProxyRules>) -> Self {
        let mut spec = self.inner.default_spec();
        if let Some(proxy_rules) = &proxy_rules {
            spec.set_proxy_rules(proxy_rules);
        }
        let identities = self.inner.identity_pair(name.as_ref(), &spec);
        Self { inner: Arc::clone(&self.inner), session_name: name, proxy_rules, identities }
    }

    /// Returns the client spec of this session under `plan`.
    fn client_spec<'a>(&self, plan: &'a TargetPlan) -> Cow<'a, ClientSpec> {
        let mut spec = Cow::Borrowed(&plan.spec);
        if let Some(proxy_rules) = &self.proxy_rules {
            spec.to_mut().set_proxy_rules(proxy_rules);
        }
        spec
    }

    /// Returns the identities of this session with `spec` and without a pool.
    fn identities_for(&self, spec: &ClientSpec) -> Arc<IdentityPair> {
        if spec.matches(&self.identities) {
            return Arc::clone(&self.identities);
        }
        self.inner.identity_pair(self.session_name.as_ref(), spec)
    }

    /// Returns the source of identities for `url`, if this session uses a proxy pool.
    fn proxy_identity_source<'a>(
        &'a self,
        spec: &'a ClientSpec,
        url: &Url,
        base: &'a Arc<IdentityPair>,
    ) -> Option<ProxyIdentitySource<'a>> {
        let rotator = spec.rotator.as_deref()?;
        let (inner, name, site) =
            (&*self.inner, self.session_name.as_ref(), registrable_domain::site_key(url).to_owned());
        let bypasses_proxy = rotator.bypasses(url.host_str().unwrap_or_default());
        Some(ProxyIdentitySource {
            inner,
            session_name: name,
            spec,
            rotator,
            site,
            single_address: true,
            bypasses_proxy,
            base,
        })
    }

    /// Selects the identities for `request`, starting from `identities`, which do not use a pool. The second value
    /// is the fallback if the first only re-probes the default profile and is still blocked.
    async fn select_identity(
        &self,
        plan: &TargetPlan,
        identities: Arc<IdentityPair>,
        request: &Request,
        section: &SiteSection,
        policy: &EscalationPolicy,
    ) -> (Arc<IdentityPair>, Option<Arc<IdentityPair>>) {
        let has_own = |name: &HeaderName| request.headers.iter().any(|(other, _)| other == name);
        if !plan.may_adapt_profile
            || self.session_name.is_some()
            || has_own(&header::USER_AGENT)
            || has_own(&header::COOKIE)
        {
            return (identities, None);
        }
        let (from_target, is_usable) =
            (|name: &str| plan.sets_cookie(name), |name: &str| plan.with_profile(name).is_some());
        let decision = self
            .inner
            .router
            .choose_profile(&identities, request, section, policy, from_target, is_usable)
            .await;
        let profile_name = match &decision {
            ProfileDecision::Default => return (identities, None),
            ProfileDecision::Other(name) | ProfileDecision::Probe { fallback: name } => name,
        };
        let Some(mut spec) = plan.with_profile(profile_name) else { return (identities, None) };
        if let Some(proxy_rules) = &self.proxy_rules {
            spec.set_proxy_rules(proxy_rules);
        }
        let (host, default) = (request.url.host_str(), &identities.browser.profile().name);
        let other = self.inner.identity_pair(None, &spec);
        if matches!(decision, ProfileDecision::Probe { .. }) {
            tracing::info!(host, profile = default, "probing the default profile again");
            return (identities, Some(other));
        }
        tracing::info!(host, profile = profile_name, "using this profile because the site refuses {default}");
        (other, None)
    }

    /// Returns the identity of the impersonate and browser tiers: its profile and its cookies.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identities.browser
    }

    /// Returns the identity of the plain tier.
    #[must_use]
    pub fn plain_identity(&self) -> &Identity {
        &self.identities.plain
    }

    /// Returns the pacing of `url`'s host. `None` for a URL that cannot be fetched.
    pub(crate) fn host_pacing(&self, url: &str) -> Option<HostPacing> {
        let url = parse_url(url).ok()?;
        let rate_limit = self.inner.plan_for(&url).ok()?.rate_limit;
        Some(HostPacing { url, rate_limit })
    }

    /// Whether a request of this method may be sent to `url` again although the server may have acted on it.
    pub(crate) fn may_repeat(&self, url: &str, method: &Method) -> bool {
        let repeat_unsafe = || {
            let plan = self.inner.plan_for(&parse_url(url).ok()?).ok()?;
            Some(plan.policy.retry_policy.repeat_unsafe)
        };
        method.is_safe() || repeat_unsafe().unwrap_or(false)
    }

    /// Returns how soon the host may be requested again.
    pub(crate) fn host_readiness(&self, pacing: &HostPacing) -> HostReadiness {
        self.inner.router.readiness(&pacing.url, pacing.rate_limit)
    }

    /// Returns the fetches in flight of all sessions, oldest first, with their phase and its duration.
    #[must_use]
    pub fn in_flight(&self) -> Vec<InFlight> {
        self.inner.in_flight.snapshot()
    }

    /// Closes the browser, if one was started. Waits until its processes have exited and the host memory is written
    /// to its file. Dropping the last clone does the same without waiting.
    pub async fn close(&self) {
        #[cfg(feature = "browser")]
        self.inner.browser.close().await;
        self.inner.router.flush().await;
    }
}

impl Inner {
    /// Returns the plan for `url`.
    fn plan_for(&self, url: &Url) -> Result<Arc<TargetPlan>> {
        self.plan_from(self.targets.resolve(url)?)
    }

    /// Returns the plan of the target called `name`.
    fn plan_named(&self, name: &str) -> Result<Arc<TargetPlan>> {
        self.plan_from(self.targets.resolve_named(name)?)
    }

    fn plan_from(&self, resolved: Arc<ResolvedTarget>) -> Result<Arc<TargetPlan>> {
        let key = Arc::as_ptr(&resolved).addr();
        let mut plans = lock_unpoisoned(&self.plans);
        if let Some(plan) = plans.get(&key) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(TargetPlan::new(
            resolved,
            &self.config,
            &self.installed_profile,
            &self.rules,
            &self.proxy_pools,
        )?);
        plans.insert(key, Arc::clone(&plan));
        Ok(plan)
    }

    /// Returns the client spec for a site without a target.
    fn default_spec(&self) -> ClientSpec {
        let base = self.targets.resolve_default().and_then(|resolved| self.plan_from(resolved));
        base.expect("`build` has checked that the default settings are consistent").spec.clone()
    }

    /// Returns the identities of this name with `spec`. Creates them on first use.
    fn identity_pair(&self, name: Option<&Arc<str>>, spec: &ClientSpec) -> Arc<IdentityPair> {
        let mut sessions = lock_unpoisoned(&self.sessions);
        let (entry, evicted) = sessions.get_or_create(name);
        for identities in evicted {
            self.router.drop_identities(&identities);
        }
        if let Some(identities) = entry.iter().find(|identities| spec.matches(identities)) {
            return Arc::clone(identities);
        }
        let (plain, browser) = self.new_identities(name, spec, &spec.proxy_rules, None);
        let memory_key = Some(SavedIdentityKey::new(name.map(AsRef::as_ref), &browser));
        entry.push(Arc::new(IdentityPair {
            plain,
            browser,
            memory_key,
            proxy_session: None,
            is_direct_fallback: false,
        }));
        Arc::clone(&entry[entry.len() - 1])
    }

    /// Creates identities of this name with `spec` and `proxy_rules`: one for the plain tier, one for the other
    /// tiers. They share the cookies that the caller set, also with `previous`.
    fn new_identities(
        &self,
        name: Option<&Arc<str>>,
        spec: &ClientSpec,
        proxy_rules: &ProxyRules,
        previous: Option<&Identity>,
    ) -> (Identity, Identity) {
        let name = name.map_or("default", AsRef::as_ref);
        let identity =
            |profile| Identity::new(name, Arc::clone(profile), None).with_proxy_rules(proxy_rules.clone());
        let plain = identity(&self.plain_profile);
        let plain = match previous {
            Some(previous) => plain.with_given_cookies_of(previous),
            None => plain,
        };
        let browser =
            identity(&spec.profile).with_location(spec.location.clone()).with_given_cookies_of(&plain);
        (plain, browser)
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher")
            .field("name", &self.session_name)
            .field("identity", &self.identities.browser)
            .finish_non_exhaustive()
    }
}
