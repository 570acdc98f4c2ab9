//! What a pool of exits is made of, as the user says it.

use std::fmt;
use std::io::Read;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::ProxyAccount;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::proxy::{NoProxy, Proxy};
use crate::redact::Secret;

/// Several ways out, and how identities use them. Give it to `FetcherBuilder::proxies`.
///
/// Each exit's health is kept: pages, blocks, faults, latency. Healthy ones are taken more often; one that
/// does not work is left alone for a while and then tried by a single fetch; one that a site refuses leaves
/// that site alone. When none works, fetches fail with [`ErrorKind::Proxy`].
///
/// ```
/// use rungs::{Fetcher, Mode, ProxyPool};
///
/// let pool = ProxyPool::new()
///     .proxy("http://user:pass@one.example:7000".parse()?)
///     .proxy("socks5h://two.example:1080".parse()?)
///     .mode(Mode::Rotating)
///     .concurrency(16);
/// let fetcher = Fetcher::builder().proxies(pool).build()?;
/// for exit in fetcher.exits() {
///     println!("{}: {} of {} uses brought a page", exit.proxy, exit.pages, exit.uses);
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

/// How long an identity keeps its exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RotationMode {
    /// An identity keeps one exit for all it fetches, and its connections with it.
    #[default]
    Sticky,
    /// Every fetch is an identity of its own, on fresh connections, out of the exit that is best then.
    Rotating,
    /// One exit, and one identity, for each site (registrable domain).
    PerHost,
}

impl RotationMode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Sticky, Self::Rotating, Self::PerHost];

    /// As settings write it: `sticky`, `rotating`, `per-host`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sticky => "sticky",
            Self::Rotating => "rotating",
            Self::PerHost => "per-host",
        }
    }
}

/// Where sessions come from.
#[derive(Clone, PartialEq)]
pub(super) enum ProxySource {
    /// A proxy that is one address.
    Proxy(Proxy),
    Account(Box<ProxyAccount>),
}

impl ProxySource {
    /// Its address, without credentials.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Proxy(proxy) => proxy.to_string(),
            Self::Account(account) => account.name(),
        }
    }

    /// Whether it has many addresses.
    pub(super) fn has_sessions(&self) -> bool {
        match self {
            Self::Proxy(_) => false,
            Self::Account(account) => account.dialect().has_sessions() || account.is_rotating(),
        }
    }
}

impl ProxyPool {
    /// A pool without exits, which fetches nothing: add some.
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

    /// Adds the proxies of a list: one URL a line, `#` begins a comment. `origin` names it in errors.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming `origin` and the line that is no proxy's URL; a list of more than 4 MiB or
    /// 10,000 proxies, or of none.
    pub fn list(mut self, text: &str, origin: &str) -> Result<Self> {
        self.sources.extend(Proxy::parse_list(text, origin)?.into_iter().map(ProxySource::Proxy));
        Ok(self)
    }

    /// Adds the proxies listed in a file, as [`list`](Self::list) reads them.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file cannot be read, or what [`list`](Self::list) says.
    pub fn file(self, path: &Path) -> Result<Self> {
        let unreadable = |cause: std::io::Error| {
            let message = format!("could not read the list of proxies {}", path.display());
            Error::new(ErrorKind::Config, message).with_source(cause)
        };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        // One byte more than a list may have, so that a longer one is told.
        file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
        self.list(&text, &path.display().to_string())
    }

    /// Gives these credentials to every proxy added so far that has none.
    pub fn default_credentials(mut self, user: &str, password: &Secret) -> Self {
        for source in &mut self.sources {
            if let ProxySource::Proxy(proxy) = source {
                *proxy = proxy.clone().or_credentials(user, password.clone());
            }
        }
        self
    }

    /// How long an identity keeps its exit. Default: [`Mode::Sticky`].
    pub const fn mode(mut self, mode: RotationMode) -> Self {
        self.mode = mode;
        self
    }

    /// How many attempts may use one exit at once, at least 1. Default: no such limit.
    pub const fn concurrency(mut self, most: u32) -> Self {
        self.concurrency = Some(if most == 0 { 1 } else { most });
        self
    }

    /// Goes without a proxy while none works, which the trace tells. Default: false, the fetch fails.
    pub const fn fallback_direct(mut self, allow: bool) -> Self {
        self.fallback_direct = allow;
        self
    }

    /// The hosts of `list` go direct: see [`Bypass::new`]. Default: none.
    pub fn no_proxy(mut self, list: &str) -> Self {
        self.no_proxy = NoProxy::new(list);
        self
    }

    /// Draws exits and sessions from this seed, so that a run can be repeated. Default: nobody can guess them.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn has_accounts(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, ProxySource::Account(_)))
    }

    /// How many exits it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether it has no exits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }
}

impl fmt::Debug for ProxyPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exits: Vec<String> = self.sources.iter().map(ProxySource::name).collect();
        f.debug_struct("ProxyPool")
            .field("exits", &exits)
            .field("mode", &self.mode)
            .field("concurrency", &self.concurrency)
            .field("fallback_direct", &self.fallback_direct)
            .finish_non_exhaustive()
    }
}

/// The longest list that may be read, in bytes: what `Proxy::list` takes.
const MAX_FILE: u64 = 4 << 20;
