//! The door: `Fetcher`, its builder, a request's builder and the page that comes back.

mod build;
mod charset;
mod page;
mod send;
mod worn;

pub use build::FetcherBuilder;
pub use page::Page;
pub use send::RequestBuilder;
pub use worn::default_profile;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;

use crate::bounds::Bounds;
use crate::fingerprint::Profile;
use crate::identity::Identity;
use crate::memory::Who;
use crate::proxy::Route;
use crate::router::{Ladder, Persona, Router};

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
    persona: Arc<Persona>,
}

/// What all sessions of a fetcher share.
struct Shared {
    router: Router,
    bounds: Bounds,
    ladder: Ladder,
    route: Route,
    plain: Arc<Profile>,
    dressed: Arc<Profile>,
    /// By name, and by the way they go where a request asked for another than the fetcher's.
    sessions: Mutex<HashMap<SessionKey, Arc<Persona>>>,
    #[cfg(feature = "browser")]
    browser: Arc<crate::transport::browser::BrowserTransport>,
}

/// A session's name, `None` for the fetcher's own, and its way.
type SessionKey = (Option<String>, Route);

impl Fetcher {
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
    /// identity again.
    #[must_use]
    pub fn session(&self, name: &str) -> Self {
        let persona = self.shared.persona(Some(name), &self.shared.route);
        Self { shared: Arc::clone(&self.shared), persona }
    }

    /// The same session by another route, which makes it another identity: a site must not see one
    /// visitor come out of two exits. The same name and route give the same identity again.
    #[must_use]
    pub fn by_route(&self, route: &Route) -> Self {
        let persona = self.shared.persona(self.persona.session.as_deref(), route);
        Self { shared: Arc::clone(&self.shared), persona }
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

    /// Closes the browser, if one was started, and waits until it is gone and what was learned is in the
    /// host memory's file. Dropping the last clone does the same without waiting.
    pub async fn close(&self) {
        #[cfg(feature = "browser")]
        self.shared.browser.close().await;
        self.shared.router.flush().await;
    }
}

impl Shared {
    /// The identities of this session, or of the fetcher's own, that go by this route, made on first need.
    fn persona(&self, session: Option<&str>, route: &Route) -> Arc<Persona> {
        let identity =
            |profile| Identity::new(session.unwrap_or("default"), profile, None).routed(route.clone());
        let new = || {
            let (plain, dressed) = (identity(Arc::clone(&self.plain)), identity(Arc::clone(&self.dressed)));
            let who = Who::new(session, &dressed);
            Arc::new(Persona { session: session.map(ToOwned::to_owned), plain, dressed, who })
        };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sessions.entry((session.map(ToOwned::to_owned), route.clone())).or_insert_with(new))
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher")
            .field("profile", &self.shared.dressed.name)
            .field("ladder", &self.shared.ladder)
            .field("route", &self.shared.route)
            .finish_non_exhaustive()
    }
}
