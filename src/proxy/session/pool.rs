//! The configuration of a proxy pool.

use std::fmt;
use std::io::Read;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::ProxyAccount;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::proxy::{NoProxy, Proxy};
use crate::text::redact::Secret;

/// Several proxy endpoints, and how identities use them. Pass it to `FetcherBuilder::proxies`.
///
/// rungs tracks each endpoint's pages, blocks, faults and latency, and prefers healthy ones. An endpoint that
/// does not work is set aside for a while, then probed by a single fetch. An endpoint that a site refuses is
/// not used for that site for a while. When no endpoint works, fetches fail with [`ErrorKind::Proxy`].
///
/// ```
/// use rungs::{Fetcher, ProxyPool, RotationMode};
///
/// let pool = ProxyPool::new()
///     .proxy("http://user:pass@one.example:7000".parse()?)
///     .proxy("socks5h://two.example:1080".parse()?)
///     .mode(RotationMode::Rotating)
///     .concurrency(16);
/// let fetcher = Fetcher::builder().proxies(pool).build()?;
/// for proxy in fetcher.proxy_stats() {
///     println!("{}: {} of {} uses returned a page", proxy.proxy, proxy.pages, proxy.uses);
/// }
/// # Ok::<(), rungs::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
#[must_use]
pub struct ProxyPool {
    pub(super) sources: Vec<ProxySource>,
    pub(super) mode: RotationMode,
    pub(super) concurrency: Option<u32>,
    pub(super) fallback_direct: bool,
    pub(super) no_proxy: NoProxy,
    pub(super) seed: Option<u64>,
}

/// How long an identity keeps its proxy endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RotationMode {
    /// An identity keeps one endpoint, and its connections, for all its fetches.
    #[default]
    Sticky,
    /// Each fetch gets a new identity with new connections, on the endpoint that is best at that time.
    Rotating,
    /// One endpoint and one identity for each site (registrable domain).
    PerHost,
}

impl RotationMode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Sticky, Self::Rotating, Self::PerHost];

    /// The name in settings: `sticky`, `rotating`, `per-host`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sticky => "sticky",
            Self::Rotating => "rotating",
            Self::PerHost => "per-host",
        }
    }
}

/// The source of proxy sessions.
#[derive(Clone, PartialEq)]
pub(super) enum ProxySource {
    /// A proxy that is one address.
    Proxy(Proxy),
    Account(Box<ProxyAccount>),
}

impl ProxySource {
    /// The address, without credentials.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Proxy(proxy) => proxy.to_string(),
            Self::Account(account) => account.name(),
        }
    }

    /// Whether it has several addresses.
    pub(super) fn has_sessions(&self) -> bool {
        match self {
            Self::Proxy(_) => false,
            Self::Account(account) => account.dialect().has_sessions() || account.is_rotating(),
        }
    }
}

impl ProxyPool {
    /// Creates an empty pool. Add at least one proxy or account before use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a proxy that is one address.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.sources.push(ProxySource::Proxy(proxy));
        self
    }

    /// Adds an account at a provider's gateway, which has many addresses.
    pub fn account(mut self, account: ProxyAccount) -> Self {
        self.sources.push(ProxySource::Account(Box::new(account)));
        self
    }

    /// Adds the proxies of a list: one URL a line, `#` begins a comment. Errors name `origin`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming `origin` and the line that is not a proxy URL. Also when the list is
    /// empty, longer than 4 MiB, or has more than 10,000 proxies.
    pub fn list(mut self, text: &str, origin: &str) -> Result<Self> {
        self.sources.extend(Proxy::parse_list(text, origin)?.into_iter().map(ProxySource::Proxy));
        Ok(self)
    }

    /// Adds the proxies listed in a file, in the format of [`list`](Self::list).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file cannot be read, and the errors of [`list`](Self::list).
    pub fn file(self, path: &Path) -> Result<Self> {
        let unreadable = |cause: std::io::Error| {
            let message = format!("could not read the proxy list {}", path.display());
            Error::new(ErrorKind::Config, message).with_source(cause)
        };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        // One byte more than a list may have, so that a longer one is rejected.
        file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
        self.list(&text, &path.display().to_string())
    }

    /// Sets these credentials on every proxy added so far that has none.
    pub fn default_credentials(mut self, user: &str, password: &Secret) -> Self {
        for source in &mut self.sources {
            if let ProxySource::Proxy(proxy) = source {
                *proxy = proxy.clone().or_credentials(user, password.clone());
            }
        }
        self
    }

    /// How long an identity keeps its endpoint. Default: [`RotationMode::Sticky`].
    pub const fn mode(mut self, mode: RotationMode) -> Self {
        self.mode = mode;
        self
    }

    /// The maximum number of concurrent attempts through one endpoint, at least 1. Default: unlimited.
    pub const fn concurrency(mut self, limit: u32) -> Self {
        self.concurrency = Some(if limit == 0 { 1 } else { limit });
        self
    }

    /// Connects directly while no proxy works; the trace shows it. Default: false, the fetch fails.
    pub const fn fallback_direct(mut self, allow: bool) -> Self {
        self.fallback_direct = allow;
        self
    }

    /// Connects directly to the hosts of `list`, see [`NoProxy::new`]. Default: none.
    pub fn no_proxy(mut self, list: &str) -> Self {
        self.no_proxy = NoProxy::new(list);
        self
    }

    /// Seeds the selection of endpoints and session ids, to make a run repeatable. Default: random.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn has_accounts(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, ProxySource::Account(_)))
    }

    /// The number of endpoints.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether the pool has no endpoints.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }
}

impl fmt::Debug for ProxyPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<String> = self.sources.iter().map(ProxySource::name).collect();
        f.debug_struct("ProxyPool")
            .field("endpoints", &endpoints)
            .field("mode", &self.mode)
            .field("concurrency", &self.concurrency)
            .field("fallback_direct", &self.fallback_direct)
            .finish_non_exhaustive()
    }
}

/// The longest list that is read, in bytes: the limit of `Proxy::parse_list`.
const MAX_FILE: u64 = 4 << 20;
