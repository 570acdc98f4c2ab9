//! What a target can say: every key, all of them optional.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pattern::Match;
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::proxy::{Dialect, GeoTarget};
use crate::proxy_session::{ProxyAccount, ProxyPool, RotationMode};
use crate::rate_limit;
use crate::redact::Secret;
use crate::render::{BodySource, ResourceKind};
use crate::request::Context;
use crate::retry::RetryPolicy;
use crate::tier::Tier;
use crate::units::{ByteSize, HumanDuration, Rate};

pub use crate::rate_limit::RobotsPolicy;

/// The version of the target format this build reads.
pub const SCHEMA: u32 = 1;

/// One layer of settings: a target's file, the config file, the environment, the flags. A key that is
/// not there leaves the layer below as it is.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "A rungs target")]
#[non_exhaustive]
pub struct Settings {
    /// The format's version: 1. Every file has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<u32>,
    /// Where the values come from: who looked, at what, when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Which URLs the target is for. Every target has it, the config file has not.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<Match>,
    /// The browser profile to wear: a name of `rungs profile list`, or a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_profile: Option<String>,
    /// Whether robots.txt is asked and obeyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robots: Option<RobotsPolicy>,
    /// Which tiers.
    pub tiers: TierSettings,
    /// What every request carries.
    pub request: RequestSettings,
    /// How fast.
    pub pace: PaceSettings,
    /// How often again.
    pub retry: RetrySettings,
    /// What one fetch may cost.
    pub budget: BudgetSettings,
    /// How long.
    pub timeouts: TimeoutSettings,
    /// How large.
    pub limits: LimitSettings,
    /// Through which proxy.
    pub proxy: ProxySettings,
    /// What a genuine page has. A 200 without it is a stub.
    pub expect: ExpectSettings,
    /// How the browser tier treats the page.
    pub browser: BrowserSettings,
    /// What to read out of its pages: `name = "CSS"` the text of the first match, `"name[]"` of all, `"CSS@attr"` the
    /// attribute, `"CSS@html"` the element.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extract: BTreeMap<String, String>,
    /// The site's own block rules, written as in `profiles/blocks/*.toml`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub rule: Vec<toml::Table>,
}

/// Which tiers may be used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TierSettings {
    /// The tier to begin with while nothing is known of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Tier>,
    /// The cheapest tier ever used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Tier>,
    /// The dearest tier ever used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Tier>,
}

/// What every request carries.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RequestSettings {
    /// Headers, by name in lower case. They take the place of the tier's own.
    pub headers: BTreeMap<String, String>,
    /// Cookies, by name, for the URL's host.
    pub cookies: BTreeMap<String, String>,
    /// What in a browser makes the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
}

/// How fast a host is asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PaceSettings {
    /// The most requests to the host in a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The most requests to the host at once, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// How uneven the pace is: 0.5 makes a wait of 2 s one of 2 to 3 s. From 0 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub jitter: Option<f64>,
}

impl From<&PaceSettings> for rate_limit::RateLimit {
    /// What the target does not say is as by default.
    fn from(pace: &PaceSettings) -> Self {
        let mut polite = Self::new();
        if let Some(rate) = pace.rate {
            polite = polite.interval(rate.interval());
        }
        if let Some(concurrency) = pace.concurrency {
            polite = polite.concurrency(concurrency);
        }
        polite.jitter(pace.jitter.unwrap_or_default())
    }
}

/// How often an attempt is made again on its tier, and after how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetrySettings {
    /// The most repeats on a tier after failures, and as many again after rate limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The longest first wait after a network error or a failing origin. It doubles each time; the wait is
    /// anything between zero and it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<HumanDuration>,
    /// The first wait after a rate limit that does not say for how long. It doubles each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit_backoff: Option<HumanDuration>,
    /// The longest wait. A site that asks for a longer one ends the fetch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<HumanDuration>,
    /// Whether a request whose method is not safe (POST, PUT, PATCH, DELETE) is sent again although the server may
    /// have acted on it.
    #[serde(rename = "unsafe", skip_serializing_if = "Option::is_none")]
    pub repeat_unsafe: Option<bool>,
}

/// What one fetch may cost at most, on all its tiers together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BudgetSettings {
    /// The most attempts, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub attempts: Option<u32>,
    /// The most attempts in the browser; 0 keeps the fetch out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visits: Option<u32>,
    /// The most bytes of bodies, those of block pages too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<ByteSize>,
    /// After so long no further attempt begins, and no wait that would end later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed: Option<HumanDuration>,
}

impl Settings {
    /// When the same tier is asked again: what is said here, else the default.
    #[must_use]
    pub fn retry_policy(&self) -> RetryPolicy {
        let mut schedule = RetryPolicy::default();
        let RetrySettings { times, backoff, rate_limit_backoff, max_wait, repeat_unsafe } = &self.retry;
        set_if_some(&mut schedule.max_retries, *times);
        set_if_some(&mut schedule.backoff, backoff.map(|span| span.0));
        set_if_some(&mut schedule.rate_limit_backoff, rate_limit_backoff.map(|span| span.0));
        set_if_some(&mut schedule.max_wait, max_wait.map(|span| span.0));
        set_if_some(&mut schedule.repeat_unsafe, *repeat_unsafe);
        schedule
    }

    /// What one fetch may cost: what is said here, else the default.
    #[must_use]
    pub fn budget(&self) -> Budget {
        let mut budget = Budget::default();
        let BudgetSettings { attempts, visits, bytes, elapsed } = &self.budget;
        set_if_some(&mut budget.attempts, *attempts);
        set_if_some(&mut budget.visits, *visits);
        budget.bytes = bytes.map_or(budget.bytes, |size| Some(size.0));
        budget.elapsed = elapsed.map_or(budget.elapsed, |span| Some(span.0));
        budget
    }
}

fn set_if_some<T>(value: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *value = said;
    }
}

/// How long things may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TimeoutSettings {
    /// The whole fetch, all attempts and waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<HumanDuration>,
    /// One attempt of an HTTP tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HumanDuration>,
    /// One attempt of the browser tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser: Option<HumanDuration>,
    /// Name lookup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<HumanDuration>,
    /// TCP, and the proxy's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<HumanDuration>,
    /// The TLS handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<HumanDuration>,
    /// From the request to the answer's head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<HumanDuration>,
    /// Between two reads of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_idle: Option<HumanDuration>,
    /// In the browser, how long a parsed page may take to come to rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle: Option<HumanDuration>,
    /// In the browser, how long a challenge may take to let go of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<HumanDuration>,
}

/// How large things may be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitSettings {
    /// The largest body kept in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<ByteSize>,
    /// The largest body streamed to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_file: Option<ByteSize>,
    /// The most redirects followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_redirects: Option<u32>,
}

/// Through which proxy, or which of several. Of `urls`, `pool`, `dialect` and `url` the first that is set
/// counts; one that is empty is not set.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ProxySettings {
    /// The proxy's URL, credentials and all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The URLs of several proxies, each one address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
    /// A file that lists proxies, one URL a line; `#` begins a comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The dialect of an account's provider: a name of `rungs proxy dialects`, or a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// The account's gateway, as `http://gate.example:7000`, in place of the dialect's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The country of the account's exits, two letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Their state or region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Their city.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Their postal code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zip: Option<String>,
    /// The number of their network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<String>,
    /// Their internet provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isp: Option<String>,
    /// How long a session of the account lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_ttl: Option<HumanDuration>,
    /// The user of the account, or of proxies whose URL has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password that goes with `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Hosts to reach without a proxy, as `--noproxy` reads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_proxy: Option<String>,
    /// How long an identity keeps its exit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<RotationMode>,
    /// The most attempts by one proxy at once, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// What to do while no proxy works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<ProxyFallback>,
}

impl ProxySettings {
    /// The pool of exits that is meant; `None` for a single proxy that is one address, or for none at all.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming the URL's place, or the file and the line, that is
    /// wrong; a dialect that there is not; a place wished of proxies that cannot be asked for one.
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
            let message =
                "only an account at a provider can be asked for a country, another place or a lifetime";
            return Err(Error::new(ErrorKind::Config, message)
                .with_hint("name the provider's dialect: `--dialect`, or `proxy.dialect` in the target"));
        }
        pool =
            pool.mode(self.mode.unwrap_or_default()).no_proxy(self.no_proxy.as_deref().unwrap_or_default());
        if let Some(most) = self.concurrency {
            pool = pool.concurrency(most);
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
        let wishes: [(&Option<String>, Set); 6] = [
            (&self.country, GeoTarget::country),
            (&self.state, GeoTarget::state),
            (&self.city, GeoTarget::city),
            (&self.zip, GeoTarget::zip),
            (&self.asn, GeoTarget::asn),
            (&self.isp, GeoTarget::isp),
        ];
        wishes.into_iter().fold(GeoTarget::default(), |geo, (wish, set)| match wish {
            Some(wish) if !wish.is_empty() => set(geo, wish.clone()),
            _ => geo,
        })
    }

    /// Whether something is said that only a pool knows.
    fn has_pool_settings(&self) -> bool {
        let how = self.mode.is_some() || self.concurrency.is_some() || self.fallback.is_some();
        how || self.session_ttl.is_some() || !self.geo().is_empty()
    }
}

/// What to do while no proxy works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProxyFallback {
    /// The fetch fails.
    None,
    /// It goes without a proxy, and the trace says so.
    Direct,
}

/// What a genuine page has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ExpectSettings {
    /// A CSS selector that matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub css: Option<String>,
    /// A text that is in the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The smallest body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bytes: Option<ByteSize>,
    /// Whether a page far smaller than its neighbours usually are is a stub, once their size is learned.
    /// Where `min_bytes` is said, that counts instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual: Option<bool>,
}

/// How the browser tier treats the page, and what it looks like to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BrowserSettings {
    /// Wait until this CSS selector matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_for: Option<String>,
    /// What pages do not load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<Vec<ResourceKind>>,
    /// Go down to the page's end before it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scroll: Option<bool>,
    /// Which form of a page is its body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<BodySource>,
    /// Take a picture of the page. Starts at the browser tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screenshot: Option<bool>,
    /// The language the browser is set to, `de-DE`. The impersonate tier says it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The time zone that pages see, `Europe/Berlin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The position that pages are told, `52.52,13.40`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geolocation: Option<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers, cookies and the proxy's URL carry secrets.
        f.debug_struct("Settings")
            .field("source", &self.source)
            .field("matches", &self.matches)
            .field("tiers", &self.tiers)
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}
