//! The door: `Fetcher`, its builder, a request's builder and the page that comes back.

mod build;
mod charset;
mod crew;
mod in_flight;
mod page;
mod send;
mod sessions;
mod span;
mod terms;
mod worn;

pub use build::FetcherBuilder;
pub use in_flight::InFlight;
pub use page::Page;
pub use send::RequestBuilder;
pub use worn::default_profile;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::{HeaderName, Method, header};
use url::Url;

use crate::detect::Rules;
use crate::error::Result;
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::limit::Leave;
use crate::lock::lock;
use crate::memory::{Area, Dress, Who};
use crate::politeness::Pace;
use crate::proxy::Route;
use crate::request::{Request, parse_url};
use crate::router::{Ladder, Persona, Router};
use crate::session::{ExitReport, Mode};
use crate::site;
use crate::target::{Resolved, Targets};

use crew::{Berth, Crew, Pools};
use in_flight::Underway;
use sessions::Sessions;
use terms::{Look, Said, Terms};

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
    shared: Arc<Shared>,
    /// The session's name. The fetcher's own has none: `session("default")` is another.
    name: Option<Arc<str>>,
    /// When it was asked for, instead of what targets say.
    route: Option<Route>,
    persona: Arc<Persona>,
}

/// A URL and the pace it is asked for at.
#[derive(Debug)]
pub(crate) struct Manner {
    url: Url,
    pace: Pace,
}

/// What all sessions of a fetcher share.
struct Shared {
    router: Router,
    targets: Targets,
    said: Said,
    rules: Rules,
    plain: Arc<Profile>,
    /// The profile of the browser beside us.
    installed: Arc<Profile>,
    /// What holds for the URLs of a target, by the address of its settings, which they keep.
    terms: Mutex<HashMap<usize, Arc<Terms>>>,
    sessions: Mutex<Sessions>,
    pools: Pools,
    crew: Crew,
    underway: Underway,
    #[cfg(feature = "browser")]
    browser: Arc<crate::transport::browser::BrowserTransport>,
}

impl Fetcher {
    /// The names of the fields that targets read out of pages.
    pub(crate) fn field_names(&self) -> Vec<String> {
        self.shared.targets.field_names()
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
        self.named(Some(name.into()), self.route.clone())
    }

    /// The same session by another route, which makes it another identity: a site must not see one
    /// visitor come out of two exits. The same name and route give the same identity again.
    #[must_use]
    pub fn by_route(&self, route: &Route) -> Self {
        self.named(self.name.clone(), Some(route.clone()))
    }

    /// The same session as it asks for `url`, whose target may have it wear another browser profile or
    /// go another way: then it has another identity, and another jar.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl), and
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when what targets say of it does not fit together.
    pub fn toward(&self, url: &str) -> Result<Self> {
        let url = parse_url(url)?;
        let terms = self.shared.terms(&url)?;
        let look = self.look_on(&terms);
        let base = self.persona_as(&look);
        let persona = match self.berth(&look, &url, &base) {
            Some(berth) if berth.exits.mode() != Mode::Rotating => berth.persona()?,
            _ => base,
        };
        Ok(Self { persona, ..self.clone() })
    }

    /// How each exit of the pools fared so far: see [`ProxyPool`](crate::ProxyPool). Empty without a pool.
    #[must_use]
    pub fn exits(&self) -> Vec<ExitReport> {
        self.shared.pools.report()
    }

    fn named(&self, name: Option<Arc<str>>, route: Option<Route>) -> Self {
        let mut look = self.shared.look();
        if let Some(route) = &route {
            look.go_by(route);
        }
        let persona = self.shared.persona(name.as_ref(), &look);
        Self { shared: Arc::clone(&self.shared), name, route, persona }
    }

    /// How this session looks on these terms.
    fn look_on<'a>(&self, terms: &'a Terms) -> Cow<'a, Look> {
        let mut look = Cow::Borrowed(&terms.look);
        if let Some(route) = &self.route {
            look.to_mut().go_by(route);
        }
        look
    }

    /// Who this session is, looking so and going by no pool.
    fn persona_as(&self, look: &Look) -> Arc<Persona> {
        if look.is_of(&self.persona) {
            return Arc::clone(&self.persona);
        }
        self.shared.persona(self.name.as_ref(), look)
    }

    /// Where this session sits for `url`, when it goes by a pool.
    fn berth<'a>(&'a self, look: &'a Look, url: &Url, base: &'a Arc<Persona>) -> Option<Berth<'a>> {
        let exits = look.pool.as_deref()?;
        let (shared, name, site) = (&*self.shared, self.name.as_ref(), site::name(url).to_owned());
        let around = exits.goes_around(url.host_str().unwrap_or_default());
        Some(Berth { shared, name, look, exits, site, together: true, around, base })
    }

    /// Who asks for `request` in the place of `persona`, which goes by no pool; and who goes on when that is refused, where it is asked only to learn whether
    /// the default profile is let in again.
    async fn dressed(
        &self,
        terms: &Terms,
        persona: Arc<Persona>,
        request: &Request,
        area: &Area,
        ladder: &Ladder,
    ) -> (Arc<Persona>, Option<Arc<Persona>>) {
        let has_own = |name: &HeaderName| request.headers.iter().any(|(other, _)| other == name);
        if !terms.is_free || self.name.is_some() || has_own(&header::USER_AGENT) || has_own(&header::COOKIE) {
            return (persona, None);
        }
        let (lent, wearable) = (|name: &str| terms.lends(name), |name: &str| terms.look_as(name).is_some());
        let dress = self.shared.router.dress(&persona, request, area, ladder, lent, wearable).await;
        let named = match &dress {
            Dress::Default => return (persona, None),
            Dress::Other(name) | Dress::Probe { instead: name } => name,
        };
        let Some(mut look) = terms.look_as(named) else { return (persona, None) };
        if let Some(route) = &self.route {
            look.go_by(route);
        }
        let (host, default) = (request.url.host_str(), &persona.dressed.profile().name);
        let other = self.shared.persona(None, &look);
        if matches!(dress, Dress::Probe { .. }) {
            tracing::info!(host, profile = default, "probe: is the default profile let in again?");
            return (persona, Some(other));
        }
        tracing::info!(host, profile = named, "worn instead of {default}, which is refused here");
        (other, None)
    }

    /// The identity that the impersonate and browser tiers wear: its profile and its cookies.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.persona.dressed
    }

    /// The identity of the plain tier.
    #[must_use]
    pub fn plain_identity(&self) -> &Identity {
        &self.persona.plain
    }

    /// What the pace of `url`'s host goes by. `None` for a URL that cannot be fetched.
    pub(crate) fn manner(&self, url: &str) -> Option<Manner> {
        let url = parse_url(url).ok()?;
        let pace = self.shared.terms(&url).ok()?.pace;
        Some(Manner { url, pace })
    }

    /// Whether a request of this method may be sent to `url` again although the server may have acted on it.
    pub(crate) fn may_repeat(&self, url: &str, method: &Method) -> bool {
        let repeat_unsafe = || {
            let terms = self.shared.terms(&parse_url(url).ok()?).ok()?;
            Some(terms.ladder.schedule.repeat_unsafe)
        };
        method.is_safe() || repeat_unsafe().unwrap_or(false)
    }

    /// How soon the host may be asked again.
    pub(crate) fn leave(&self, manner: &Manner) -> Leave {
        self.shared.router.leave(&manner.url, manner.pace)
    }

    /// The fetches under way, of all sessions, oldest first: where each stands, and since when.
    #[must_use]
    pub fn in_flight(&self) -> Vec<InFlight> {
        self.shared.underway.all()
    }

    /// Closes the browser, if one was started, and waits until it is gone and what was learned is in the
    /// host memory's file. Dropping the last clone does the same without waiting.
    pub async fn close(&self) {
        #[cfg(feature = "browser")]
        self.shared.browser.close().await;
        self.shared.router.flush().await;
    }
}

impl Shared {
    /// What holds for `url`.
    fn terms(&self, url: &Url) -> Result<Arc<Terms>> {
        self.terms_of(self.targets.resolve(url)?)
    }

    /// What holds by the target called `name`.
    fn terms_named(&self, name: &str) -> Result<Arc<Terms>> {
        self.terms_of(self.targets.named(name)?)
    }

    fn terms_of(&self, resolved: Arc<Resolved>) -> Result<Arc<Terms>> {
        let key = Arc::as_ptr(&resolved).addr();
        let mut known = lock(&self.terms);
        if let Some(terms) = known.get(&key) {
            return Ok(Arc::clone(terms));
        }
        let terms = Arc::new(Terms::new(resolved, &self.said, &self.installed, &self.rules, &self.pools)?);
        known.insert(key, Arc::clone(&terms));
        Ok(terms)
    }

    /// How a site sees us that no target is for.
    fn look(&self) -> Look {
        let base = self.targets.base().and_then(|resolved| self.terms_of(resolved));
        base.expect("`build` has seen that they fit together").look.clone()
    }

    /// The identities of this name that look so, made on first need.
    fn persona(&self, name: Option<&Arc<str>>, look: &Look) -> Arc<Persona> {
        let mut sessions = lock(&self.sessions);
        let (named, gone) = sessions.of(name);
        for persona in gone {
            self.router.forget(&persona);
        }
        if let Some(persona) = named.iter().find(|persona| look.is_of(persona)) {
            return Arc::clone(persona);
        }
        let (plain, dressed) = self.identities(name, look, &look.route, None);
        let who = Some(Who::new(name.map(AsRef::as_ref), &dressed));
        named.push(Arc::new(Persona { plain, dressed, who, session: None, is_stopgap: false }));
        Arc::clone(&named[named.len() - 1])
    }

    /// Fresh identities of this name that look so and go by `route`: the plain tier's, and that of the others. They
    /// share the cookies that the caller gave, with `before` too.
    fn identities(
        &self,
        name: Option<&Arc<str>>,
        look: &Look,
        route: &Route,
        before: Option<&Identity>,
    ) -> (Identity, Identity) {
        let name = name.map_or("default", AsRef::as_ref);
        let identity = |profile| Identity::new(name, Arc::clone(profile), None).routed(route.clone());
        let plain = identity(&self.plain);
        let plain = match before {
            Some(before) => plain.with_given_cookies_of(before),
            None => plain,
        };
        let dressed = identity(&look.profile).at(look.place.clone()).with_given_cookies_of(&plain);
        (plain, dressed)
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher")
            .field("name", &self.name)
            .field("identity", &self.persona.dressed)
            .finish_non_exhaustive()
    }
}
