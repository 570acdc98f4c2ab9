//! The keys of a target. All of them are optional.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pattern::Match;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::request::Context;
use crate::exchange::tier::Tier;
use crate::proxy::session::{ProxyAccount, ProxyPool, RotationMode};
use crate::proxy::{Dialect, GeoTarget};
use crate::settings::budget::Budget;
use crate::settings::rate_limit;
use crate::settings::render::{BodySource, ResourceKind};
use crate::settings::retry::RetryPolicy;
use crate::settings::units::{ByteSize, HumanDuration, Rate};
use crate::text::redact::Secret;

pub use crate::exchange::robots_policy::RobotsPolicy;

/// The version of the target format that this build reads.
pub const SCHEMA: u32 = 1;

/// One layer of settings: a target's file, the config file, the environment, the flags. A key that is not set keeps
/// the value of the layer below.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "A rungs target")]
#[non_exhaustive]
pub struct Settings {
    /// The version of the format: 1. Required in every file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<u32>,
    /// The source of the values: which pages were checked, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The URLs that the target applies to. Required in a target, not allowed in the config file.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<Match>,
    /// The browser profile to use: a name of `rungs profile list`, or a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_profile: Option<String>,
    /// Whether robots.txt is requested and obeyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robots: Option<RobotsPolicy>,
    /// The tiers that may be used.
    pub tiers: TierSettings,
    /// Headers, cookies and context of every request.
    pub request: RequestSettings,
    /// The rate limit of a host.
    pub pace: PaceSettings,
    /// Retries on the same tier.
    pub retry: RetrySettings,
    /// The budget of one fetch.
    pub budget: BudgetSettings,
    /// Timeouts.
    pub timeouts: TimeoutSettings,
    /// Size limits.
    pub limits: LimitSettings,
    /// The proxy, or several of them.
    pub proxy: ProxySettings,
    /// The properties of a genuine page. A 200 response without them is a stub.
    pub expect: ExpectSettings,
    /// How the browser tier renders a page.
    pub browser: BrowserSettings,
    /// The fields to extract: `name = "CSS"` is the text of the first match, `"name[]"` of all matches, `"CSS@attr"` an
    /// attribute, `"CSS@html"` the element.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extract: BTreeMap<String, String>,
    /// The site's own block rules, in the format of `profiles/blocks/*.toml`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub rule: Vec<toml::Table>,
}

/// The tiers that may be used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TierSettings {
    /// The first tier while host memory knows nothing about the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Tier>,
    /// The cheapest tier that is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Tier>,
    /// The most expensive tier that is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Tier>,
}

/// Headers, cookies and context of every request.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RequestSettings {
    /// Headers, by lower-case name. They replace those of the tier.
    pub headers: BTreeMap<String, String>,
    /// Cookies for the host of the URL, by name.
    pub cookies: BTreeMap<String, String>,
    /// The browser context of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// Whether the HTTP tiers follow a refresh that an HTML page declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_refresh: Option<bool>,
}

/// The rate limit of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PaceSettings {
    /// The maximum request rate per host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The maximum number of concurrent requests per host, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// Random extra delay as a fraction of the interval: with 0.5, an interval of 2 s becomes 2 to 3 s. From 0 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub jitter: Option<f64>,
}

impl From<&PaceSettings> for rate_limit::RateLimit {
    /// Uses the default for each key that is not set.
    fn from(pace: &PaceSettings) -> Self {
        let mut limit = Self::new();
        if let Some(rate) = pace.rate {
            limit = limit.interval(rate.interval());
        }
        if let Some(concurrency) = pace.concurrency {
            limit = limit.concurrency(concurrency);
        }
        limit.jitter(pace.jitter.unwrap_or_default())
    }
}

/// Retries on the same tier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetrySettings {
    /// The maximum number of retries on a tier after failures, and separately after rate limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The upper bound of the first delay after a network error or an origin error. It doubles each time. The delay is
    /// random between zero and the bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<HumanDuration>,
    /// The first delay after a rate limit without `Retry-After`. It doubles each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit_backoff: Option<HumanDuration>,
    /// The maximum delay. A fetch ends if the site requests a longer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<HumanDuration>,
    /// Whether a request with an unsafe method (POST, PUT, PATCH, DELETE) is sent again although the server may have
    /// acted on it.
    #[serde(rename = "unsafe", skip_serializing_if = "Option::is_none")]
    pub repeat_unsafe: Option<bool>,
}

/// The budget of one fetch, for all its tiers together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BudgetSettings {
    /// The maximum number of attempts, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub attempts: Option<u32>,
    /// The maximum number of attempts in the browser; 0 disables it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visits: Option<u32>,
    /// The maximum number of body bytes, block pages included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<ByteSize>,
    /// The time after which no attempt begins. A wait that would end later is not started either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed: Option<HumanDuration>,
}

impl Settings {
    /// Returns the retry policy, with the defaults for keys that are not set.
    #[must_use]
    pub fn retry_policy(&self) -> RetryPolicy {
        let mut policy = RetryPolicy::default();
        let RetrySettings { times, backoff, rate_limit_backoff, max_wait, repeat_unsafe } = &self.retry;
        set_if_some(&mut policy.max_retries, *times);
        set_if_some(&mut policy.backoff, backoff.map(|duration| duration.0));
        set_if_some(&mut policy.rate_limit_backoff, rate_limit_backoff.map(|duration| duration.0));
        set_if_some(&mut policy.max_wait, max_wait.map(|duration| duration.0));
        set_if_some(&mut policy.repeat_unsafe, *repeat_unsafe);
        policy
    }

    /// Returns the budget of one fetch, with the defaults for keys that are not set.
    #[must_use]
    pub fn budget(&self) -> Budget {
        let mut budget = Budget::default();
        let BudgetSettings { attempts, visits, bytes, elapsed } = &self.budget;
        set_if_some(&mut budget.attempts, *attempts);
        set_if_some(&mut budget.visits, *visits);
        budget.bytes = bytes.map_or(budget.bytes, |size| Some(size.0));
        budget.elapsed = elapsed.map_or(budget.elapsed, |duration| Some(duration.0));
        budget
    }
}

fn set_if_some<T>(value: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *value = new;
    }
}

/// Timeouts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TimeoutSettings {
    /// The whole fetch, with all attempts and waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<HumanDuration>,
    /// One attempt on an HTTP tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HumanDuration>,
    /// One attempt on the browser tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser: Option<HumanDuration>,
    /// The DNS lookup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<HumanDuration>,
    /// The TCP connection and the proxy's response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<HumanDuration>,
    /// The TLS handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<HumanDuration>,
    /// The time from the request to the response headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<HumanDuration>,
    /// The time between two reads of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_idle: Option<HumanDuration>,
    /// In the browser, the time for a parsed page to settle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle: Option<HumanDuration>,
    /// In the browser, the time for a challenge to be passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<HumanDuration>,
}

/// Size limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitSettings {
    /// The maximum size of a body in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<ByteSize>,
    /// The maximum size of a body that is streamed to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_file: Option<ByteSize>,
    /// The maximum number of redirects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_redirects: Option<u32>,
}

/// The proxy, or several of them. The first of `urls`, `pool`, `dialect` and `url` that is set is used. An empty value
/// counts as not set.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ProxySettings {
    /// The URL of the proxy, with credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The URLs of several proxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
    /// A file with one proxy URL per line; `#` begins a comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The dialect of the account's provider: a name of `rungs proxy dialects`, or a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// The account's gateway, for example `http://gate.example:7000`. Default: the dialect's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The country of the exit address, ISO 3166-1 alpha-2. It needs an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The state or region of the exit address. Requires an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The city of the exit address. Requires an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// The postal code of the exit address. Requires an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zip: Option<String>,
    /// The AS number of the exit address. Requires an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<String>,
    /// The internet provider of the exit address. Requires an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isp: Option<String>,
    /// The lifetime of a proxy session. Requires an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_ttl: Option<HumanDuration>,
    /// The user name of the account, or of proxies whose URL has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password that belongs to `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Hosts that bypass the proxy, in the format of `--noproxy`.
    // `around` is the old name, see `RENAMED_KEYS`.
    #[serde(rename = "no_proxy", alias = "around", skip_serializing_if = "Option::is_none")]
    pub no_proxy: Option<String>,
    /// How long an identity keeps its proxy endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<RotationMode>,
    /// The maximum number of concurrent attempts per proxy, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// The action while no proxy works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<ProxyFallback>,
}

impl ProxySettings {
    /// Returns the proxy pool. `None` without a proxy, or for a single proxy without pool settings.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming the invalid URL, or the file and line; for an unknown
    /// dialect; for a location or lifetime without an account.
    pub fn pool(&self) -> Result<Option<ProxyPool>> {
        let mut pool = ProxyPool::new();
        if let Some(urls) = self.urls.as_ref().filter(|urls| !urls.is_empty()) {
            pool = pool.list(&urls.join("\n"), "`proxy.urls`")?;
        } else if let Some(path) = self.pool.as_ref().filter(|path| !path.is_empty()) {
            pool = pool.file(Path::new(path))?;
        } else if let Some(name) = self.dialect.as_ref().filter(|name| !name.is_empty()) {
            pool = pool.account(self.account(name)?);
        } else if let Some(url) = self.url.as_ref().filter(|_| self.has_pool_settings()) {
            pool = pool.proxy(url.parse()?);
        } else {
            return Ok(None);
        }
        if let Some(user) = self.user.as_ref().filter(|user| !user.is_empty()) {
            let password = Secret::new(self.password.clone().unwrap_or_default());
            pool = pool.default_credentials(user, &password);
        }
        if !pool.has_accounts() && (self.session_ttl.is_some() || !self.geo().is_empty()) {
            let message = "a location or session lifetime requires an account at a proxy provider";
            return Err(Error::new(ErrorKind::Config, message)
                .with_hint("set the provider's dialect with `--dialect`, or `proxy.dialect` in the target"));
        }
        pool =
            pool.mode(self.mode.unwrap_or_default()).no_proxy(self.no_proxy.as_deref().unwrap_or_default());
        if let Some(limit) = self.concurrency {
            pool = pool.concurrency(limit);
        }
        Ok(Some(pool.fallback_direct(self.fallback == Some(ProxyFallback::Direct))))
    }

    fn account(&self, name: &str) -> Result<ProxyAccount> {
        let dialect = Dialect::find(name, super::dialect_folder().as_deref())?;
        let password = Secret::new(self.password.clone().unwrap_or_default());
        let mut account = ProxyAccount::new(dialect, self.user.clone().unwrap_or_default(), password);
        if let Some(gateway) = self.gateway.as_ref().filter(|gateway| !gateway.is_empty()) {
            account = account.gateway(gateway.parse()?);
        }
        if let Some(lifetime) = self.session_ttl {
            account = account.lifetime(lifetime.0);
        }
        Ok(account.geo(self.geo()))
    }

    fn geo(&self) -> GeoTarget {
        type Set = fn(GeoTarget, String) -> GeoTarget;
        let fields: [(&Option<String>, Set); 6] = [
            (&self.country, GeoTarget::country),
            (&self.state, GeoTarget::state),
            (&self.city, GeoTarget::city),
            (&self.zip, GeoTarget::zip),
            (&self.asn, GeoTarget::asn),
            (&self.isp, GeoTarget::isp),
        ];
        fields.into_iter().fold(GeoTarget::default(), |geo, (value, set)| match value {
            Some(value) if !value.is_empty() => set(geo, value.clone()),
            _ => geo,
        })
    }

    /// Whether a setting requires a pool.
    fn has_pool_settings(&self) -> bool {
        let has_policy = self.mode.is_some() || self.concurrency.is_some() || self.fallback.is_some();
        has_policy || self.session_ttl.is_some() || !self.geo().is_empty()
    }
}

/// The action while no proxy works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProxyFallback {
    /// The fetch fails.
    None,
    /// The fetch connects directly, and the trace records it.
    Direct,
}

/// The properties of a genuine page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ExpectSettings {
    /// A CSS selector that matches an element of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub css: Option<String>,
    /// A text that the page contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The minimum size of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bytes: Option<ByteSize>,
    /// Whether a page that is far smaller than similar pages of the site is a stub. Applies once host memory knows
    /// their size. `min_bytes` replaces this check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual: Option<bool>,
}

/// How the browser tier renders a page, and which locale and position the page sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BrowserSettings {
    /// Wait until this CSS selector matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_for: Option<String>,
    /// Wait this long after the page has settled, then until it settles again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<HumanDuration>,
    /// Read the documents of the page's frames too. The fetch starts on the browser tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<bool>,
    /// The resource types that pages do not load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<Vec<ResourceKind>>,
    /// Scroll to the end of the page before it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scroll: Option<bool>,
    /// The form of the page that becomes the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<BodySource>,
    /// Take a screenshot of the page. The fetch starts on the browser tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screenshot: Option<bool>,
    /// The memory that a page may use, with its frames and workers, at least 128M.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_memory: Option<ByteSize>,
    /// The browser's language, for example `de-DE`. The impersonate tier sends it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The time zone that pages see, for example `Europe/Berlin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The position that the Geolocation API returns, for example `52.52,13.40`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geolocation: Option<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers, cookies and the proxy URL may contain secrets.
        f.debug_struct("Settings")
            .field("source", &self.source)
            .field("matches", &self.matches)
            .field("tiers", &self.tiers)
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}
