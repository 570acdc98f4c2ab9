//! Builds a fetcher from its settings.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
#[cfg(feature = "browser")]
use std::time::Duration;

use url::Host;

use crate::detect::Rules;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::robots_policy::RobotsPolicy;
use crate::exchange::tier::Tier;
use crate::fingerprint::Profile;
use crate::identity::geo::Coordinates;
use crate::identity::hsts::HstsStore;
use crate::memory::HostMemory;
use crate::net::{Connector, HttpClient, Overrides, TrustConfig};
use crate::proxy::session::ProxyPool;
use crate::proxy::{Proxy, ProxyRules};
use crate::router::Router;
use crate::router::robots;
use crate::settings::budget::Budget;
use crate::settings::limits::Limits;
use crate::settings::rate_limit::RateLimit;
use crate::settings::retry::RetryPolicy;
use crate::target::Targets;
use crate::transport::Transport;
use crate::transport::http::HttpTransport;

use super::identity_pool::{IdentityPool, ProxyPools};
use super::plan::FetcherConfig;
use super::{Fetcher, Inner, default_profile};

/// Settings for a [`Fetcher`]. Setters cannot fail; [`build`](Self::build) reports invalid settings.
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
    #[cfg(feature = "memory")]
    memory: Option<PathBuf>,
    hsts: Option<HstsStore>,
    #[cfg(feature = "browser")]
    browser: crate::transport::browser::BrowserOptions,
}

impl std::fmt::Debug for FetcherBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetcherBuilder")
            .field("min_tier", &self.config.min)
            .field("max_tier", &self.config.max)
            .field("proxy_rules", &self.config.proxy_rules)
            .field("proxy_pool", &self.config.proxy_pool)
            .field("profile", &self.config.profile.as_ref().map(|profile| &profile.name))
            .finish_non_exhaustive()
    }
}

impl FetcherBuilder {
    /// The lowest tier to use, where a fetch starts. Default: plain.
    pub const fn min_tier(mut self, tier: Tier) -> Self {
        self.config.min = Some(tier);
        self
    }

    /// The highest tier to escalate to. Default: browser.
    pub const fn max_tier(mut self, tier: Tier) -> Self {
        self.config.max = Some(tier);
        self
    }

    /// The maximum number of retries per tier, for network errors and failing origins together and for rate limits
    /// separately. Default: 2.
    pub const fn retries(mut self, retries: u32) -> Self {
        self.config.retries = Some(retries);
        self
    }

    /// The number and the delays of retries on one tier. Default: [`RetryPolicy::default`].
    pub const fn retry_policy(mut self, retry_policy: RetryPolicy) -> Self {
        self.config.retry_policy = Some(retry_policy);
        self
    }

    /// The maximum cost of one fetch. Default: [`Budget::default`].
    pub const fn budget(mut self, budget: Budget) -> Self {
        self.config.budget = Some(budget);
        self
    }

    /// The maximum number of redirects of one attempt, also of a URL to itself. The browser ends at 20 in any case.
    /// Default: 20.
    pub const fn max_redirects(mut self, redirects: u32) -> Self {
        self.config.max_redirects = Some(redirects);
        self
    }

    /// Timeouts and size limits. Default: [`Limits::default`].
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = Some(limits);
        self
    }

    /// The proxy for every URL, on every tier. Default: none. To read the environment, pass [`ProxyRules::from_env`]
    /// to [`proxy_rules`](Self::proxy_rules).
    pub fn proxy(self, proxy: Proxy) -> Self {
        self.proxy_rules(ProxyRules::through(proxy))
    }

    /// The rules that choose a proxy for each URL, on every tier. Default: direct connections. Replaces an earlier
    /// [`proxies`](Self::proxies).
    pub fn proxy_rules(mut self, proxy_rules: ProxyRules) -> Self {
        (self.config.proxy_rules, self.config.proxy_pool) = (Some(proxy_rules), None);
        self
    }

    /// A pool of proxies and provider accounts, on every tier. Replaces an earlier [`proxy`](Self::proxy) or
    /// [`proxy_rules`](Self::proxy_rules).
    pub fn proxies(mut self, pool: ProxyPool) -> Self {
        (self.config.proxy_rules, self.config.proxy_pool) = (None, Some(pool));
        self
    }

    /// A file of CA certificates (PEM) to trust for https proxies. Default: the system's certificates.
    pub fn proxy_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.proxy_trust.ca_file = Some(path.into());
        self
    }

    /// Whether to accept any certificate of an https proxy. Default: false.
    pub const fn proxy_insecure(mut self, insecure: bool) -> Self {
        self.proxy_trust.insecure = insecure;
        self
    }

    /// Whether redirects, links, sitemaps and browser pages of a public site may lead to private addresses: loopback,
    /// the local network and all that are not globally reachable. Default: false. A private address that the caller
    /// requests is always fetched.
    pub const fn allow_private(mut self, allow: bool) -> Self {
        self.allow_private = allow;
        self
    }

    /// Whether the HTTP tiers follow a refresh of 0 to 5 s that an HTML page declares, in a `meta` element or the
    /// `Refresh` header, like a redirect. Default: true.
    pub const fn meta_refresh(mut self, follow: bool) -> Self {
        self.config.meta_refresh = Some(follow);
        self
    }

    /// Whether to obey robots.txt. Default: ignore it.
    pub const fn robots(mut self, robots: RobotsPolicy) -> Self {
        self.config.robots = Some(robots);
        self
    }

    /// The rate limit of each host. Default: [`RateLimit::new`]. A `Retry-After` of a host is respected in any case.
    pub const fn rate_limit(mut self, rate_limit: RateLimit) -> Self {
        self.config.rate_limit = Some(rate_limit);
        self
    }

    /// The file of the host memory: working tiers and clearances of each host. It is created if it does not exist.
    /// Later fetchers, also in other processes, start at the tier that worked. The file contains cookies. A file
    /// that cannot be used only causes a warning. Default: the memory lasts as long as this fetcher.
    #[cfg(feature = "memory")]
    pub fn memory(mut self, path: impl Into<PathBuf>) -> Self {
        self.memory = Some(path.into());
        self
    }

    /// Whether a fetch without an explicit profile may use another shipped one. It does so if the host memory knows
    /// that the other passes on the impersonate tier and that the default is refused. Default: true.
    ///
    /// The other profile is another identity with its own cookie jar. Three kinds of sessions always keep their
    /// profile: named ones, those with caller's cookies for the host, and those with a clearance there.
    pub const fn adapt_profile(mut self, wanted: bool) -> Self {
        self.config.pins_profile = !wanted;
        self
    }

    /// Returns the file of the host memory, if one is set.
    #[cfg(feature = "memory")]
    pub(crate) fn memory_file(&self) -> Option<&Path> {
        self.memory.as_deref()
    }

    /// Returns the same builder without a file for the host memory.
    #[cfg(feature = "memory")]
    pub(crate) fn without_memory(mut self) -> Self {
        self.memory = None;
        self
    }

    /// The browser profile of the impersonate and browser tiers. Default: [`default_profile`](crate::default_profile).
    pub fn browser_profile(mut self, profile: Arc<Profile>) -> Self {
        self.config.profile = Some(profile);
        self
    }

    /// The browser language, such as `de-DE`, in headers and scripts of the impersonate and browser tiers. Pages see
    /// the list that Chromium derives from it. Default: the profile's.
    pub fn language(mut self, tag: impl Into<String>) -> Self {
        self.config.language = Some(tag.into());
        self
    }

    /// The time zone that browser pages see: a name of the IANA database. Default: the machine's.
    pub fn timezone(mut self, timezone: impl Into<String>) -> Self {
        self.config.location.timezone = Some(timezone.into());
        self
    }

    /// The position that browser pages get without a permission prompt. Default: none; a page that requests it waits.
    pub const fn geolocation(mut self, position: Coordinates) -> Self {
        self.config.location.position = Some(position);
        self
    }

    /// Adds a folder of targets (every `*.toml` in it). They override the shipped targets and those added before.
    /// Settings in code override targets.
    pub fn targets(mut self, folder: impl Into<PathBuf>) -> Self {
        self.target_folders.push(folder.into());
        self
    }

    /// Replaces the shipped targets by these targets and layers.
    pub fn target_layers(mut self, targets: Targets) -> Self {
        self.targets = Some(targets);
        self
    }

    /// The block rules. Default: the shipped ones.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// The maximum number of open connections of the HTTP tiers, including idle ones. A fetch that needs another one
    /// waits until one can be closed. Default: 1024.
    pub const fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// Resolves `host` with `port` to `address`. The host `*` matches every host.
    pub fn resolve(mut self, host: impl AsRef<str>, port: u16, address: IpAddr) -> Self {
        let typed = host.as_ref().trim_end_matches('.');
        // The form in URLs: lower case, with Punycode (`xn--`) for non-ASCII letters.
        let host = Host::parse(typed).map_or_else(|_| typed.to_ascii_lowercase(), |host| host.to_string());
        self.overrides.insert((host.trim_matches(['[', ']']).to_owned(), port), address);
        self
    }

    /// A file of CA certificates (PEM) to trust for sites. Default: the system's certificates.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.ca_file = Some(path.into());
        self
    }

    /// Whether to accept any certificate. Default: false.
    pub const fn insecure(mut self, insecure: bool) -> Self {
        self.trust.insecure = insecure;
        self
    }

    /// Hosts that are requested over https only. A URL `http://` of such a host, also that of a redirect, is requested over
    /// https. The hosts whose https responses have `Strict-Transport-Security` are added, unless any certificate is
    /// accepted. Default: none are known or added.
    pub fn hsts(mut self, store: HstsStore) -> Self {
        self.hsts = Some(store);
        self
    }

    /// The browser's executable. Default: the first Chromium or Chrome found.
    #[cfg(feature = "browser")]
    pub fn browser(mut self, path: impl Into<PathBuf>) -> Self {
        self.browser.executable = Some(path.into());
        self
    }

    /// Whether to run the browser with a window, on `DISPLAY` or else on a private Xvfb, which must be installed.
    /// Default: false.
    #[cfg(feature = "browser")]
    pub const fn headful(mut self, headful: bool) -> Self {
        self.browser.headful = headful;
        self
    }

    /// The parent folder of the temporary user data directories, one per browser process. Default: the system's
    /// folder for temporary files.
    #[cfg(feature = "browser")]
    pub fn browser_folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.browser.scratch_parent = path.into();
        self
    }

    /// The maximum number of concurrent pages in all browser processes. Default: one per core, at least 2, fewer if
    /// memory is short.
    #[cfg(feature = "browser")]
    pub const fn browser_pages(mut self, pages: usize) -> Self {
        self.browser.pool.pages = Some(pages);
        self
    }

    /// The maximum number of browser processes that accept pages. Default: one per 16 pages.
    #[cfg(feature = "browser")]
    pub const fn browser_processes(mut self, processes: usize) -> Self {
        self.browser.pool.processes = Some(processes);
        self
    }

    /// The maximum number of fetches that wait for a page. Another one fails at once. Default: 256.
    #[cfg(feature = "browser")]
    pub const fn browser_queue(mut self, fetches: usize) -> Self {
        self.browser.pool.queue = fetches;
        self
    }

    /// The longest time that a fetch waits for a page. Default: 2 min.
    #[cfg(feature = "browser")]
    pub const fn browser_queue_timeout(mut self, timeout: Duration) -> Self {
        self.browser.pool.queue_timeout = timeout;
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

    /// Replaces a browser process when its memory (PSS: shared pages are counted once) exceeds this many bytes.
    /// Default: 2 GiB, or half of the available memory if that is less, but at least 768 MiB.
    #[cfg(feature = "browser")]
    pub const fn browser_recycle_memory(mut self, bytes: u64) -> Self {
        self.browser.pool.recycle_pss = Some(bytes);
        self
    }

    /// Builds the fetcher. Does not send a request and does not start a browser.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if settings contradict each other or a CA file cannot be used.
    pub fn build(self) -> Result<Fetcher> {
        if let (Some(min), Some(max)) = (self.config.min, self.config.max)
            && min > max
        {
            let message = format!("the minimum tier `{min}` is above the maximum tier `{max}`");
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
        let connector =
            Connector::new(self.overrides.clone(), self.proxy_trust)?.allow_private(self.allow_private);
        let connector = Arc::new(connector);
        let is_insecure = self.trust.insecure;
        let hsts = self.hsts.map(|hsts| if is_insecure { hsts.without_learning() } else { hsts });
        let mut client = HttpClient::new(Arc::clone(&connector), self.trust.clone())?.with_hsts(hsts.clone());
        if let Some(connections) = self.max_connections {
            client = client.with_max_connections(connections);
        }
        let client = Arc::new(client);
        #[cfg(feature = "browser")]
        let browser = {
            let mut options = self.browser;
            options.connector = connector;
            options.insecure = self.trust.insecure;
            options.ca_file = self.trust.ca_file;
            options.still_challenged = Some(still_challenged(rules.clone()));
            Arc::new(crate::transport::browser::BrowserTransport::new(options))
        };
        let robots_cache = robots::RobotsCache::new(Arc::clone(&client), Arc::clone(&plain));
        let http: [Arc<dyn Transport>; 2] = [
            Arc::new(HttpTransport::plain(Arc::clone(&client))),
            Arc::new(HttpTransport::impersonate(client)),
        ];
        #[cfg(feature = "browser")]
        let transports = http.into_iter().chain([Arc::clone(&browser) as Arc<dyn Transport>]).collect();
        #[cfg(not(feature = "browser"))]
        let transports = Vec::from(http);
        let memory = HostMemory::new();
        #[cfg(feature = "memory")]
        let memory = match self.memory {
            Some(path) => memory.with_file(path),
            None => memory,
        };
        let inner = Arc::new(Inner {
            router: Router::new(transports, rules.clone(), robots_cache, memory),
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
            hsts,
            #[cfg(feature = "browser")]
            browser,
        });
        let spec = inner.plan_from(inner.targets.resolve_default()?)?.spec.clone();
        let identities = inner.identity_pair(None, &spec);
        Ok(Fetcher { inner, session_name: None, proxy_rules: None, identities })
    }
}

/// Returns the check that tells the browser whether its current document is still a challenge.
#[cfg(feature = "browser")]
fn still_challenged(rules: Rules) -> crate::transport::browser::ChallengeCheck {
    use crate::detect::ResponseView;
    use crate::exchange::verdict::VerdictKind;
    use crate::transport::browser::PageVerdict;
    Arc::new(move |status, headers, url, body| {
        let verdict = rules.classify(&ResponseView::of_shown_page(status, headers, url, body));
        match verdict.kind {
            VerdictKind::Challenge if verdict.vendor.is_some() => PageVerdict::VendorChallenge,
            VerdictKind::Challenge => PageVerdict::Challenge,
            _ => PageVerdict::Page,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolved_name_has_the_form_of_a_url_host() {
        let address: IpAddr = [127, 0, 0, 1].into();
        for (typed, expected) in [
            ("B\u{fc}cher.test", "xn--bcher-kva.test"),
            ("site.test.", "site.test"),
            ("*", "*"),
            ("[::1]", "::1"),
        ] {
            let builder = FetcherBuilder::default().resolve(typed, 80, address);
            assert_eq!(builder.overrides.keys().next(), Some(&(expected.to_owned(), 80)), "{typed}");
        }
    }
}
