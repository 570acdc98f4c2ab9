//! Options to a running fetcher.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
#[cfg(feature = "browser")]
use std::time::Duration;

use url::Host;

use crate::budget::Budget;
use crate::detect::Rules;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fingerprint::Profile;
use crate::geo::Coordinates;
use crate::limits::Limits;
use crate::memory::HostMemory;
use crate::net::{Connector, HttpClient, Overrides, TrustConfig};
use crate::proxy::{Proxy, ProxyRules};
use crate::proxy_session::ProxyPool;
use crate::rate_limit::{RateLimit, RobotsPolicy};
use crate::retry::RetryPolicy;
use crate::robots;
use crate::router::Router;
use crate::target::Targets;
use crate::tier::Tier;
use crate::transport::Transport;
use crate::transport::http::HttpTransport;

use super::identity_pool::{IdentityPool, ProxyPools};
use super::plan::FetcherConfig;
use super::{Fetcher, Inner, default_profile};

/// Settings for a [`Fetcher`]. Setters cannot fail; [`build`](Self::build) tells what was wrong.
#[derive(Clone, Default)]
#[must_use = "nothing happens before `build`"]
pub struct FetcherBuilder {
    config: FetcherConfig,
    targets: Option<Targets>,
    target_folders: Vec<PathBuf>,
    rules: Option<Rules>,
    overrides: Overrides,
    trust: TrustConfig,
    proxy_trust: TrustConfig,
    allow_private: bool,
    max_connections: Option<usize>,
    memory: Option<PathBuf>,
    #[cfg(feature = "browser")]
    browser: crate::transport::browser::BrowserOptions,
}

impl std::fmt::Debug for FetcherBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetcherBuilder")
            .field("min_tier", &self.config.min)
            .field("max_tier", &self.config.max)
            .field("route", &self.config.proxy_rules)
            .field("pool", &self.config.proxy_pool)
            .field("profile", &self.config.profile.as_ref().map(|profile| &profile.name))
            .finish_non_exhaustive()
    }
}

impl FetcherBuilder {
    /// The tier to start at. Default: plain.
    pub const fn min_tier(mut self, tier: Tier) -> Self {
        self.config.min = Some(tier);
        self
    }

    /// The highest tier to climb to. Default: browser.
    pub const fn max_tier(mut self, tier: Tier) -> Self {
        self.config.max = Some(tier);
        self
    }

    /// How often a network error, a failing origin and a rate limit are each retried on their tier. Default: 2.
    pub const fn retries(mut self, retries: u32) -> Self {
        self.config.retries = Some(retries);
        self
    }

    /// How often and after how long an attempt is made again on its tier. Default: [`Schedule::default`].
    pub const fn retry_policy(mut self, schedule: RetryPolicy) -> Self {
        self.config.retry_policy = Some(schedule);
        self
    }

    /// What one fetch may cost at most. Default: [`Budget::default`].
    pub const fn budget(mut self, budget: Budget) -> Self {
        self.config.budget = Some(budget);
        self
    }

    /// Limits and deadlines. Default: [`Bounds::default`].
    pub const fn limits(mut self, bounds: Limits) -> Self {
        self.config.limits = Some(bounds);
        self
    }

    /// The proxy for every URL, on every tier. Default: none. The environment is read only where
    /// [`route`](Self::route) is given [`Route::from_env`].
    pub fn proxy(self, proxy: Proxy) -> Self {
        self.proxy_rules(ProxyRules::through(proxy))
    }

    /// Which URL goes through which proxy, on every tier. Default: all go direct. It takes the place of
    /// [`proxies`](Self::proxies) said before.
    pub fn proxy_rules(mut self, route: ProxyRules) -> Self {
        (self.config.proxy_rules, self.config.proxy_pool) = (Some(route), None);
        self
    }

    /// Several ways out, on every tier: proxies, and accounts at their providers. It takes the place of
    /// [`proxy`](Self::proxy) and [`route`](Self::route) said before.
    pub fn proxies(mut self, pool: ProxyPool) -> Self {
        (self.config.proxy_rules, self.config.proxy_pool) = (None, Some(pool));
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

    /// What to do about robots.txt. Default: ignore it, as for single pages asked for by hand.
    pub const fn robots(mut self, robots: RobotsPolicy) -> Self {
        self.config.robots = Some(robots);
        self
    }

    /// How fast each host is asked at most. Default: [`Pace::new`]. A host that asks for more time gets
    /// it in any case.
    pub const fn rate_limit(mut self, pace: RateLimit) -> Self {
        self.config.rate_limit = Some(pace);
        self
    }

    /// Keeps what is learned of hosts, and the clearances earned, in this file, made when it is not there:
    /// later fetchers, in other processes too, start where this one worked. It holds cookies. A file that
    /// cannot be used is warned of, and nothing else. Default: in this fetcher only.
    pub fn memory(mut self, path: impl Into<PathBuf>) -> Self {
        self.memory = Some(path.into());
        self
    }

    /// Whether a fetch whose profile nobody named may wear another shipped one, where the host memory knows
    /// that it gets pages by the impersonate tier and the default is refused. Default: true.
    ///
    /// That is another identity, with a jar of its own. A session with a name, one with cookies of the
    /// caller's for the host, and one that a browser cleared there keep their profile anyway.
    pub const fn adapt_profile(mut self, wanted: bool) -> Self {
        self.config.pins_profile = !wanted;
        self
    }

    /// The file of the host memory, where one was named.
    pub(crate) fn memory_file(&self) -> Option<&Path> {
        self.memory.as_deref()
    }

    /// The same builder without a file for the host memory.
    pub(crate) fn without_memory(mut self) -> Self {
        self.memory = None;
        self
    }

    /// The browser to look like. Default: [`default_profile`](crate::default_profile).
    pub fn browser_profile(mut self, profile: Arc<Profile>) -> Self {
        self.config.profile = Some(profile);
        self
    }

    /// The language the browser is set to, as `de-DE`: in its headers and to its scripts, on both upper
    /// tiers. A page sees the list that Chromium makes of it. Default: the profile's.
    pub fn language(mut self, tag: impl Into<String>) -> Self {
        self.config.language = Some(tag.into());
        self
    }

    /// The time zone that the browser's pages see, as the IANA database names it. Default: the
    /// machine's.
    pub fn timezone(mut self, zone: impl Into<String>) -> Self {
        self.config.location.timezone = Some(zone.into());
        self
    }

    /// The position that the browser tells pages that ask, without asking anybody. Default: none; a
    /// page that asks waits.
    pub const fn geolocation(mut self, position: Coordinates) -> Self {
        self.config.location.position = Some(position);
        self
    }

    /// Adds a folder of targets (every `*.toml` in it), over the shipped ones and those added before.
    /// What is set in code comes before what targets say.
    pub fn targets(mut self, folder: impl Into<PathBuf>) -> Self {
        self.target_folders.push(folder.into());
        self
    }

    /// All targets and the layers around them, in place of the shipped ones.
    pub fn target_layers(mut self, targets: Targets) -> Self {
        self.targets = Some(targets);
        self
    }

    /// The block rules. Default: the shipped ones.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// How many connections the HTTP tiers have open at once at most, idle ones included. A fetch that needs one
    /// more waits until one can be closed. Default: 1024.
    pub const fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
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

    /// Runs the browser with a window, on the display there is (`DISPLAY`) or else on an Xvfb of our own,
    /// which must be installed. Default: false.
    #[cfg(feature = "browser")]
    pub const fn headful(mut self, headful: bool) -> Self {
        self.browser.headful = headful;
        self
    }

    /// Where each browser process gets a folder of its own, removed with it. Default: the system's
    /// folder for temporary files.
    #[cfg(feature = "browser")]
    pub fn browser_folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.browser.scratch_parent = path.into();
        self
    }

    /// The most pages open at once, in all browser processes together. Default: one a core, at least
    /// 2, as far as memory has room for them.
    #[cfg(feature = "browser")]
    pub const fn browser_pages(mut self, pages: usize) -> Self {
        self.browser.pool.pages = Some(pages);
        self
    }

    /// The most browser processes that take pages. Default: one for every 16 pages.
    #[cfg(feature = "browser")]
    pub const fn browser_processes(mut self, processes: usize) -> Self {
        self.browser.pool.processes = Some(processes);
        self
    }

    /// The most fetches that wait for a page; one more fails at once. Default: 256.
    #[cfg(feature = "browser")]
    pub const fn browser_queue(mut self, fetches: usize) -> Self {
        self.browser.pool.queue = fetches;
        self
    }

    /// The longest a fetch waits for a page. Default: 2 min.
    #[cfg(feature = "browser")]
    pub const fn browser_queue_timeout(mut self, patience: Duration) -> Self {
        self.browser.pool.queue_timeout = patience;
        self
    }

    /// Replaces a browser process after this many pages. Default: 200.
    #[cfg(feature = "browser")]
    pub const fn browser_recycle_pages(mut self, pages: usize) -> Self {
        self.browser.pool.recycle_pages = pages;
        self
    }

    /// Replaces a browser process when it is this old. Default: 1 h.
    #[cfg(feature = "browser")]
    pub const fn browser_recycle_age(mut self, age: Duration) -> Self {
        self.browser.pool.recycle_age = age;
        self
    }

    /// Replaces a browser process when it takes this many bytes, each shared page of memory counted
    /// once (PSS). Default: 2 GiB, or half of what is available where that is less, but at least
    /// 768 MiB.
    #[cfg(feature = "browser")]
    pub const fn browser_recycle_memory(mut self, bytes: u64) -> Self {
        self.browser.pool.recycle_pss = Some(bytes);
        self
    }

    /// Makes the fetcher. Sends nothing and starts no browser.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when settings contradict each other or a CA file cannot be used.
    pub fn build(self) -> Result<Fetcher> {
        if let (Some(min), Some(max)) = (self.config.min, self.config.max)
            && min > max
        {
            let message = format!("the lowest tier `{min}` is above the highest `{max}`");
            return Err(Error::new(ErrorKind::Config, message));
        }
        let mut targets = self.targets.unwrap_or_else(Targets::shipped);
        for folder in &self.target_folders {
            targets = targets.with_folder(folder)?;
        }
        let plain = Profile::named("plain")?;
        #[cfg(feature = "browser")]
        let executable = self.browser.executable.as_deref();
        #[cfg(not(feature = "browser"))]
        let executable = None;
        let installed = match &self.config.profile {
            Some(profile) => Arc::clone(profile),
            None => default_profile::for_executable(executable)?.profile,
        };
        let rules = self.rules.unwrap_or_else(Rules::shipped);
        let ways =
            Connector::new(self.overrides.clone(), self.proxy_trust)?.allow_private(self.allow_private);
        let ways = Arc::new(ways);
        let mut engine = HttpClient::new(Arc::clone(&ways), self.trust.clone())?;
        if let Some(connections) = self.max_connections {
            engine = engine.with_max_connections(connections);
        }
        let engine = Arc::new(engine);
        #[cfg(feature = "browser")]
        let browser = {
            let mut options = self.browser;
            options.resolve =
                self.overrides.iter().map(|((host, port), ip)| (host.clone(), *port, *ip)).collect();
            options.connector = ways;
            options.insecure = self.trust.insecure;
            options.ca_file = self.trust.ca_file;
            options.still_challenged = Some(still_challenged(rules.clone()));
            Arc::new(crate::transport::browser::BrowserTransport::new(options))
        };
        let files = robots::RobotsCache::new(Arc::clone(&engine), Arc::clone(&plain));
        let http: [Arc<dyn Transport>; 2] = [
            Arc::new(HttpTransport::plain(Arc::clone(&engine))),
            Arc::new(HttpTransport::impersonate(engine)),
        ];
        #[cfg(feature = "browser")]
        let transports = http.into_iter().chain([Arc::clone(&browser) as Arc<dyn Transport>]).collect();
        #[cfg(not(feature = "browser"))]
        let transports = Vec::from(http);
        let shared = Arc::new(Inner {
            router: Router::new(transports, rules.clone(), files, HostMemory::new(self.memory)),
            targets,
            config: self.config,
            rules,
            plain_profile: plain,
            installed_profile: installed,
            plans: Mutex::default(),
            sessions: Mutex::default(),
            proxy_pools: ProxyPools::default(),
            identity_pool: IdentityPool::default(),
            in_flight: super::in_flight::InFlightRegistry::default(),
            #[cfg(feature = "browser")]
            browser,
        });
        let look = shared.plan_from(shared.targets.resolve_default()?)?.spec.clone();
        let persona = shared.identity_pair(None, &look);
        Ok(Fetcher { inner: shared, session_name: None, proxy_rules: None, identities: persona })
    }
}

/// Tells the browser whether the document it holds is still a challenge.
#[cfg(feature = "browser")]
fn still_challenged(rules: Rules) -> crate::transport::browser::ChallengeCheck {
    use crate::detect::ResponseView;
    use crate::verdict::VerdictKind;
    Arc::new(move |status, headers, url, body| {
        let seen = ResponseView {
            tier: Some(Tier::Browser),
            status,
            headers,
            url,
            requested: url,
            body,
            complete: true,
            via_proxy: false,
        };
        rules.classify(&seen).kind == VerdictKind::Challenge
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
