//! The door: `Fetcher`, its builder, a request's builder and the page that comes back.

mod builder;
mod charset;
mod default_profile;
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
use crate::error::Result;
use crate::fingerprint::Profile;
use crate::host_limiter::HostReadiness;
use crate::identity::Identity;
use crate::memory::{ProfileDecision, SavedIdentityKey, SiteSection};
use crate::proxy::ProxyRules;
use crate::proxy_session::{ProxyStats, RotationMode};
use crate::rate_limit::RateLimit;
use crate::registrable_domain;
use crate::request::{Request, parse_url};
use crate::router::{EscalationPolicy, IdentityPair, Router};
use crate::sync::lock_unpoisoned;
use crate::target::{ResolvedTarget, Targets};

use identity_pool::{IdentityPool, ProxyIdentitySource, ProxyPools};
use in_flight::InFlightRegistry;
use named_sessions::SessionRegistry;
use plan::{ClientSpec, FetcherConfig, TargetPlan};

/// Gets pages by the cheapest means the site allows. Cheap to clone; clones share everything.
///
/// ```no_run
/// # async fn example() -> rungs::Result<()> {
/// let fetcher = rungs::Fetcher::builder().max_tier(rungs::Tier::Impersonate).build()?;
/// let page = fetcher.get("https://shop.example/p/1").send().await?;
/// println!("{} by {}: {}", page.status(), page.tier(), page.text()?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
    /// The session's name. The fetcher's own has none: `session("default")` is another.
    session_name: Option<Arc<str>>,
    /// When it was asked for, instead of what targets say.
    proxy_rules: Option<ProxyRules>,
    identities: Arc<IdentityPair>,
}

/// A URL and the pace it is asked for at.
#[derive(Debug)]
pub(crate) struct HostPacing {
    url: Url,
    rate_limit: RateLimit,
}

/// What all sessions of a fetcher share.
struct Inner {
    router: Router,
    targets: Targets,
    config: FetcherConfig,
    rules: Rules,
    plain_profile: Arc<Profile>,
    /// The profile of the browser beside us.
    installed_profile: Arc<Profile>,
    /// What holds for the URLs of a target, by the address of its settings, which they keep.
    plans: Mutex<HashMap<usize, Arc<TargetPlan>>>,
    sessions: Mutex<SessionRegistry>,
    proxy_pools: ProxyPools,
    identity_pool: IdentityPool,
    in_flight: InFlightRegistry,
    #[cfg(feature = "browser")]
    browser: Arc<crate::transport::browser::BrowserTransport>,
}

impl Fetcher {
    /// The names of the fields that targets read out of pages.
    pub(crate) fn field_names(&self) -> Vec<String> {
        self.inner.targets.field_names()
    }

    /// A builder with the defaults.
    pub fn builder() -> FetcherBuilder {
        FetcherBuilder::default()
    }

    /// Begins a GET of `url`.
    pub fn get(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Begins a request of any method. A malformed URL is told by [`RequestBuilder::send`].
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, url.as_ref())
    }

    /// The session called `name`: one identity for several requests. The same name gives the same
    /// identity again while somebody holds the session, and afterwards for as long as it is among the last
    /// few thousand names used.
    #[must_use]
    pub fn session(&self, name: &str) -> Self {
        self.with_session(Some(name.into()), self.proxy_rules.clone())
    }

    /// The same session by another route, which makes it another identity: a site must not see one
    /// visitor come out of two exits. The same name and route give the same identity again.
    #[must_use]
    pub fn with_proxy_rules(&self, route: &ProxyRules) -> Self {
        self.with_session(self.session_name.clone(), Some(route.clone()))
    }

    /// The same session as it asks for `url`, whose target may have it wear another browser profile or
    /// go another way: then it has another identity, and another jar.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl), and
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when what targets say of it does not fit together.
    pub fn for_url(&self, url: &str) -> Result<Self> {
        let url = parse_url(url)?;
        let terms = self.inner.plan_for(&url)?;
        let look = self.client_spec(&terms);
        let base = self.identities_for(&look);
        let persona = match self.proxy_identity_source(&look, &url, &base) {
            Some(berth) if berth.rotator.mode() != RotationMode::Rotating => berth.select()?,
            _ => base,
        };
        Ok(Self { identities: persona, ..self.clone() })
    }

    /// How each exit of the pools fared so far: see [`ProxyPool`](crate::ProxyPool). Empty without a pool.
    #[must_use]
    pub fn proxy_stats(&self) -> Vec<ProxyStats> {
        self.inner.proxy_pools.stats()
    }

    fn with_session(&self, name: Option<Arc<str>>, route: Option<ProxyRules>) -> Self {
        let mut look = self.inner.default_spec();
        if let Some(route) = &route {
            look.set_proxy_rules(route);
        }
        let persona = self.inner.identity_pair(name.as_ref(), &look);
        Self { inner: Arc::clone(&self.inner), session_name: name, proxy_rules: route, identities: persona }
    }

    /// How this session looks on these terms.
    fn client_spec<'a>(&self, terms: &'a TargetPlan) -> Cow<'a, ClientSpec> {
        let mut look = Cow::Borrowed(&terms.spec);
        if let Some(route) = &self.proxy_rules {
            look.to_mut().set_proxy_rules(route);
        }
        look
    }

    /// Who this session is, looking so and going by no pool.
    fn identities_for(&self, look: &ClientSpec) -> Arc<IdentityPair> {
        if look.matches(&self.identities) {
            return Arc::clone(&self.identities);
        }
        self.inner.identity_pair(self.session_name.as_ref(), look)
    }

    /// Where this session sits for `url`, when it goes by a pool.
    fn proxy_identity_source<'a>(
        &'a self,
        look: &'a ClientSpec,
        url: &Url,
        base: &'a Arc<IdentityPair>,
    ) -> Option<ProxyIdentitySource<'a>> {
        let exits = look.rotator.as_deref()?;
        let (shared, name, site) =
            (&*self.inner, self.session_name.as_ref(), registrable_domain::site_key(url).to_owned());
        let around = exits.bypasses(url.host_str().unwrap_or_default());
        Some(ProxyIdentitySource {
            inner: shared,
            session_name: name,
            spec: look,
            rotator: exits,
            site,
            single_address: true,
            bypasses_proxy: around,
            base,
        })
    }

    /// Who asks for `request` in the place of `persona`, which goes by no pool; and who goes on when that is refused, where it is asked only to learn whether
    /// the default profile is let in again.
    async fn select_identity(
        &self,
        terms: &TargetPlan,
        persona: Arc<IdentityPair>,
        request: &Request,
        area: &SiteSection,
        ladder: &EscalationPolicy,
    ) -> (Arc<IdentityPair>, Option<Arc<IdentityPair>>) {
        let has_own = |name: &HeaderName| request.headers.iter().any(|(other, _)| other == name);
        if !terms.may_adapt_profile
            || self.session_name.is_some()
            || has_own(&header::USER_AGENT)
            || has_own(&header::COOKIE)
        {
            return (persona, None);
        }
        let (lent, wearable) =
            (|name: &str| terms.sets_cookie(name), |name: &str| terms.with_profile(name).is_some());
        let dress = self.inner.router.choose_profile(&persona, request, area, ladder, lent, wearable).await;
        let named = match &dress {
            ProfileDecision::Default => return (persona, None),
            ProfileDecision::Other(name) | ProfileDecision::Probe { fallback: name } => name,
        };
        let Some(mut look) = terms.with_profile(named) else { return (persona, None) };
        if let Some(route) = &self.proxy_rules {
            look.set_proxy_rules(route);
        }
        let (host, default) = (request.url.host_str(), &persona.browser.profile().name);
        let other = self.inner.identity_pair(None, &look);
        if matches!(dress, ProfileDecision::Probe { .. }) {
            tracing::info!(host, profile = default, "probe: is the default profile let in again?");
            return (persona, Some(other));
        }
        tracing::info!(host, profile = named, "worn instead of {default}, which is refused here");
        (other, None)
    }

    /// The identity that the impersonate and browser tiers wear: its profile and its cookies.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identities.browser
    }

    /// The identity of the plain tier.
    #[must_use]
    pub fn plain_identity(&self) -> &Identity {
        &self.identities.plain
    }

    /// What the pace of `url`'s host goes by. `None` for a URL that cannot be fetched.
    pub(crate) fn host_pacing(&self, url: &str) -> Option<HostPacing> {
        let url = parse_url(url).ok()?;
        let pace = self.inner.plan_for(&url).ok()?.rate_limit;
        Some(HostPacing { url, rate_limit: pace })
    }

    /// Whether a request of this method may be sent to `url` again although the server may have acted on it.
    pub(crate) fn may_repeat(&self, url: &str, method: &Method) -> bool {
        let repeat_unsafe = || {
            let terms = self.inner.plan_for(&parse_url(url).ok()?).ok()?;
            Some(terms.policy.retry_policy.repeat_unsafe)
        };
        method.is_safe() || repeat_unsafe().unwrap_or(false)
    }

    /// How soon the host may be asked again.
    pub(crate) fn host_readiness(&self, manner: &HostPacing) -> HostReadiness {
        self.inner.router.readiness(&manner.url, manner.rate_limit)
    }

    /// The fetches under way, of all sessions, oldest first: where each stands, and since when.
    #[must_use]
    pub fn in_flight(&self) -> Vec<InFlight> {
        self.inner.in_flight.snapshot()
    }

    /// Closes the browser, if one was started, and waits until it is gone and what was learned is in the
    /// host memory's file. Dropping the last clone does the same without waiting.
    pub async fn close(&self) {
        #[cfg(feature = "browser")]
        self.inner.browser.close().await;
        self.inner.router.flush().await;
    }
}

impl Inner {
    /// What holds for `url`.
    fn plan_for(&self, url: &Url) -> Result<Arc<TargetPlan>> {
        self.plan_from(self.targets.resolve(url)?)
    }

    /// What holds by the target called `name`.
    fn plan_named(&self, name: &str) -> Result<Arc<TargetPlan>> {
        self.plan_from(self.targets.resolve_named(name)?)
    }

    fn plan_from(&self, resolved: Arc<ResolvedTarget>) -> Result<Arc<TargetPlan>> {
        let key = Arc::as_ptr(&resolved).addr();
        let mut known = lock_unpoisoned(&self.plans);
        if let Some(terms) = known.get(&key) {
            return Ok(Arc::clone(terms));
        }
        let terms = Arc::new(TargetPlan::new(
            resolved,
            &self.config,
            &self.installed_profile,
            &self.rules,
            &self.proxy_pools,
        )?);
        known.insert(key, Arc::clone(&terms));
        Ok(terms)
    }

    /// How a site sees us that no target is for.
    fn default_spec(&self) -> ClientSpec {
        let base = self.targets.resolve_default().and_then(|resolved| self.plan_from(resolved));
        base.expect("`build` has seen that they fit together").spec.clone()
    }

    /// The identities of this name that look so, made on first need.
    fn identity_pair(&self, name: Option<&Arc<str>>, look: &ClientSpec) -> Arc<IdentityPair> {
        let mut sessions = lock_unpoisoned(&self.sessions);
        let (named, gone) = sessions.get_or_create(name);
        for persona in gone {
            self.router.drop_identities(&persona);
        }
        if let Some(persona) = named.iter().find(|persona| look.matches(persona)) {
            return Arc::clone(persona);
        }
        let (plain, dressed) = self.new_identities(name, look, &look.proxy_rules, None);
        let who = Some(SavedIdentityKey::new(name.map(AsRef::as_ref), &dressed));
        named.push(Arc::new(IdentityPair {
            plain,
            browser: dressed,
            memory_key: who,
            proxy_session: None,
            is_direct_fallback: false,
        }));
        Arc::clone(&named[named.len() - 1])
    }

    /// Fresh identities of this name that look so and go by `route`: the plain tier's, and that of the others. They
    /// share the cookies that the caller gave, with `before` too.
    fn new_identities(
        &self,
        name: Option<&Arc<str>>,
        look: &ClientSpec,
        route: &ProxyRules,
        before: Option<&Identity>,
    ) -> (Identity, Identity) {
        let name = name.map_or("default", AsRef::as_ref);
        let identity =
            |profile| Identity::new(name, Arc::clone(profile), None).with_proxy_rules(route.clone());
        let plain = identity(&self.plain_profile);
        let plain = match before {
            Some(before) => plain.with_given_cookies_of(before),
            None => plain,
        };
        let dressed =
            identity(&look.profile).with_location(look.location.clone()).with_given_cookies_of(&plain);
        (plain, dressed)
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
