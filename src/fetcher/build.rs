//! Options to a running fetcher.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use url::Host;

use crate::bounds::Bounds;
use crate::detect::Rules;
use crate::error::{Error, Result};
use crate::fingerprint::Profile;
use crate::kind::ErrorKind;
use crate::memory::Memory;
use crate::net::{Engine, Overrides, Trust, Ways};
use crate::proxy::{Proxy, Route};
use crate::router::{Ladder, Router};
use crate::tier::Tier;
use crate::transport::Transport;
use crate::transport::http::Http;

use super::{Fetcher, Shared, worn};

/// Settings for a [`Fetcher`]. Setters cannot fail; [`build`](Self::build) tells what was wrong.
#[derive(Clone)]
#[must_use = "nothing happens before `build`"]
pub struct FetcherBuilder {
    min_tier: Tier,
    max_tier: Tier,
    retries: u32,
    bounds: Bounds,
    route: Route,
    profile: Option<Arc<Profile>>,
    rules: Option<Rules>,
    overrides: Overrides,
    trust: Trust,
    proxy_trust: Trust,
    allow_private: bool,
    memory: Option<PathBuf>,
    #[cfg(feature = "browser")]
    browser: crate::transport::browser::BrowserOptions,
}

impl std::fmt::Debug for FetcherBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetcherBuilder")
            .field("min_tier", &self.min_tier)
            .field("max_tier", &self.max_tier)
            .field("route", &self.route)
            .field("profile", &self.profile.as_ref().map(|profile| &profile.name))
            .finish_non_exhaustive()
    }
}

impl Default for FetcherBuilder {
    fn default() -> Self {
        Self {
            min_tier: Tier::Plain,
            max_tier: if cfg!(feature = "browser") { Tier::Browser } else { Tier::Impersonate },
            retries: 2,
            bounds: Bounds::default(),
            route: Route::default(),
            profile: None,
            rules: None,
            overrides: Overrides::new(),
            trust: Trust::default(),
            proxy_trust: Trust::default(),
            allow_private: false,
            memory: None,
            #[cfg(feature = "browser")]
            browser: crate::transport::browser::BrowserOptions::default(),
        }
    }
}

impl FetcherBuilder {
    /// The tier to start at. Default: plain.
    pub const fn min_tier(mut self, tier: Tier) -> Self {
        self.min_tier = tier;
        self
    }

    /// The highest tier to climb to. Default: browser.
    pub const fn max_tier(mut self, tier: Tier) -> Self {
        self.max_tier = tier;
        self
    }

    /// How often a network error is retried on its tier. Default: 2.
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Limits and deadlines. Default: [`Bounds::default`].
    pub const fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// The proxy for every URL, on every tier. Default: none. The environment is read only where
    /// [`route`](Self::route) is given [`Route::from_env`].
    pub fn proxy(self, proxy: Proxy) -> Self {
        self.route(Route::through(proxy))
    }

    /// Which URL goes through which proxy, on every tier. Default: all go direct.
    pub fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// Trusts the CA certificates (PEM) in this file for https proxies, instead of the system's.
    pub fn proxy_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.proxy_trust.ca_file = Some(path.into());
        self
    }

    /// Takes any certificate of an https proxy. Default: false.
    pub const fn proxy_insecure(mut self, insecure: bool) -> Self {
        self.proxy_trust.insecure = insecure;
        self
    }

    /// Lets redirects, and pages in the browser, lead from a public site to a private address:
    /// loopback, the local network, the machine's own. Default: false. A private address that is
    /// itself asked for is always fetched.
    pub const fn allow_private(mut self, allow: bool) -> Self {
        self.allow_private = allow;
        self
    }

    /// Keeps what is learned of hosts, and the clearances earned, in this file, made when it is not there:
    /// later fetchers, in other processes too, start where this one worked. It holds cookies. A file that
    /// cannot be used is warned of, and nothing else. Default: in this fetcher only.
    pub fn memory(mut self, path: impl Into<PathBuf>) -> Self {
        self.memory = Some(path.into());
        self
    }

    /// The browser to look like. Default: [`default_profile`](crate::default_profile).
    pub fn browser_profile(mut self, profile: Arc<Profile>) -> Self {
        self.profile = Some(profile);
        self
    }

    /// The block rules. Default: the shipped ones.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// Answers the name lookup of `host` for `port` with `address`; the host `*` stands for all.
    pub fn resolve(mut self, host: impl AsRef<str>, port: u16, address: IpAddr) -> Self {
        let typed = host.as_ref().trim_end_matches('.');
        // As a URL has it: lower case, and `xn--` for other letters than ASCII's.
        let host = Host::parse(typed).map_or_else(|_| typed.to_ascii_lowercase(), |host| host.to_string());
        self.overrides.insert((host.trim_matches(['[', ']']).to_owned(), port), address);
        self
    }

    /// Trusts the CA certificates (PEM) in this file instead of the system's.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.ca_file = Some(path.into());
        self
    }

    /// Takes any certificate. Default: false.
    pub const fn insecure(mut self, insecure: bool) -> Self {
        self.trust.insecure = insecure;
        self
    }

    /// The browser's executable. Default: the first Chromium or Chrome found.
    #[cfg(feature = "browser")]
    pub fn browser(mut self, path: impl Into<PathBuf>) -> Self {
        self.browser.executable = Some(path.into());
        self
    }

    /// The most pages open at once in the browser. Default: 2.
    #[cfg(feature = "browser")]
    pub const fn browser_pages(mut self, pages: usize) -> Self {
        self.browser.pages = pages;
        self
    }

    /// Makes the fetcher. Sends nothing and starts no browser.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when settings contradict each other or a CA file cannot be used.
    pub fn build(self) -> Result<Fetcher> {
        if self.min_tier > self.max_tier {
            let message =
                format!("the lowest tier `{}` is above the highest `{}`", self.min_tier, self.max_tier);
            return Err(Error::new(ErrorKind::Config, message));
        }
        let plain = Profile::named("plain")?;
        #[cfg(feature = "browser")]
        let executable = self.browser.executable.as_deref();
        #[cfg(not(feature = "browser"))]
        let executable = None;
        let dressed = match self.profile {
            Some(profile) => profile,
            None => worn::beside(executable)?.profile,
        };
        if dressed.browser.is_none() {
            let message = format!("the profile `{}` is no browser's", dressed.name);
            return Err(Error::new(ErrorKind::Config, message)
                .with_hint("`rungs profile list` names those there are"));
        }
        let rules = self.rules.unwrap_or_else(Rules::shipped);
        let ways = Ways::new(self.overrides.clone(), self.proxy_trust)?.allow_private(self.allow_private);
        let ways = Arc::new(ways);
        let engine = Arc::new(Engine::new(Arc::clone(&ways), self.trust.clone())?);
        #[cfg(feature = "browser")]
        let browser = {
            let mut options = self.browser;
            options.resolve =
                self.overrides.iter().map(|((host, port), ip)| (host.clone(), *port, *ip)).collect();
            options.ways = ways;
            options.insecure = self.trust.insecure;
            options.ca_file = self.trust.ca_file;
            options.still_challenged = Some(still_challenged(rules.clone()));
            Arc::new(crate::transport::browser::BrowserTransport::new(options))
        };
        let http: [Arc<dyn Transport>; 2] =
            [Arc::new(Http::plain(Arc::clone(&engine))), Arc::new(Http::impersonate(engine))];
        #[cfg(feature = "browser")]
        let transports = http.into_iter().chain([Arc::clone(&browser) as Arc<dyn Transport>]).collect();
        #[cfg(not(feature = "browser"))]
        let transports = Vec::from(http);
        let shared = Arc::new(Shared {
            router: Router::new(transports, rules, Memory::new(self.memory)),
            bounds: self.bounds,
            ladder: Ladder { min: self.min_tier, max: self.max_tier, retries: self.retries },
            route: self.route,
            plain,
            dressed,
            sessions: Mutex::new(HashMap::new()),
            #[cfg(feature = "browser")]
            browser,
        });
        let persona = shared.persona(None, &shared.route);
        Ok(Fetcher { shared, persona })
    }
}

/// Tells the browser whether the document it holds is still a challenge.
#[cfg(feature = "browser")]
fn still_challenged(rules: Rules) -> crate::transport::browser::StillChallenged {
    use crate::detect::Seen;
    use crate::verdict::VerdictKind;
    Arc::new(move |status, headers, url, body| {
        let seen = Seen {
            tier: Some(Tier::Browser),
            status,
            headers,
            url,
            requested: url,
            body,
            complete: true,
            via_proxy: false,
        };
        rules.judge(&seen).kind == VerdictKind::Challenge
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolved_name_is_kept_as_a_url_has_it() {
        let address: IpAddr = [127, 0, 0, 1].into();
        for (typed, kept) in [
            ("B\u{fc}cher.test", "xn--bcher-kva.test"),
            ("site.test.", "site.test"),
            ("*", "*"),
            ("[::1]", "::1"),
        ] {
            let builder = FetcherBuilder::default().resolve(typed, 80, address);
            assert_eq!(builder.overrides.keys().next(), Some(&(kept.to_owned(), 80)), "{typed}");
        }
    }
}
