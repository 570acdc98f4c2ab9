//! Rotates the endpoints of a proxy pool.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::account::ProxyAccount;
use super::endpoint::ProxyEndpoint;
use super::health::HealthState;
use super::pool::{ProxyPool, ProxySource, RotationMode};
use super::select::{Selection, select};
use super::{ProxySession, SessionExpiry};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::sync::lock_unpoisoned;
use crate::proxy::{NoProxy, ProxyRules};
use crate::text::hex;

/// The endpoints of a pool with their health. Opens proxy sessions on them.
pub(crate) struct ProxyRotator {
    endpoints: Vec<Arc<ProxyEndpoint>>,
    mode: RotationMode,
    falls_back_direct: bool,
    no_proxy: NoProxy,
    rng: Mutex<StdRng>,
    seed: Option<u64>,
    /// Identifies the pool: a hash of its endpoints' names.
    pool_hash: [u8; 32],
    /// The wall clock and the monotonic clock when the rotator was created.
    started: (Duration, Instant),
}

/// Describes the proxy session that a fetch needs.
#[derive(Clone, Copy)]
pub(crate) struct SessionQuery<'a> {
    /// The user's named session.
    pub(crate) session_name: Option<&'a str>,
    /// The first site that is requested.
    pub(crate) site: &'a str,
    /// Whether the session serves only this site.
    pub(crate) per_site: bool,
    /// Whether to return another session than the same query returned before: that one is burned.
    pub(crate) is_renewal: bool,
    /// Whether all connections must use one address, even where each new connection could get another.
    pub(crate) single_address: bool,
    /// Whether the site itself is requested without a proxy, and only its redirects and resources use one.
    /// Any endpoint will do.
    pub(crate) bypasses_proxy: bool,
    /// The session that the new one replaces, because it was refused or does not work.
    pub(crate) replaces: Option<&'a ProxySession>,
}

/// The statistics of one endpoint of a proxy pool.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProxyStats {
    /// The endpoint's address, without credentials.
    pub proxy: String,
    /// The number of attempts through the endpoint.
    pub uses: u64,
    /// The number of attempts that returned a page.
    pub pages: u64,
    /// The number of attempts that the site blocked.
    pub blocks: u64,
    /// The number of attempts that failed: through the proxy's own fault, or one that it may have contributed
    /// to.
    pub faults: u64,
    /// The total duration of all attempts.
    pub busy: Duration,
    /// The time to the first byte, averaged over recent pages; `None` before the first page.
    pub latency: Option<Duration>,
    /// Whether the endpoint is in use. `false` while it is set aside after faults.
    pub is_healthy: bool,
}

impl ProxyRotator {
    /// Creates a rotator for `pool`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the pool has no endpoints, or when an account's dialect cannot express the
    /// session it needs.
    pub(crate) fn new(pool: &ProxyPool) -> Result<Self> {
        if pool.is_empty() {
            return Err(Error::new(ErrorKind::Config, "the proxy pool is empty"));
        }
        let endpoint = |source: &ProxySource| Arc::new(ProxyEndpoint::new(source.clone(), pool.concurrency));
        let rng = match pool.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_seed(rand::rng().random()),
        };
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let names = pool.sources.iter().fold(Sha256::new(), |hash, source| hash.chain_update(source.name()));
        let rotator = Self {
            pool_hash: names.finalize().into(),
            endpoints: pool.sources.iter().map(endpoint).collect(),
            mode: pool.mode,
            falls_back_direct: pool.fallback_direct,
            no_proxy: pool.no_proxy.clone(),
            rng: Mutex::new(rng),
            seed: pool.seed,
            started: (wall, Instant::now()),
        };
        // Reports parameters that a dialect cannot express before the first fetch.
        let any = SessionQuery {
            session_name: None,
            site: "",
            per_site: false,
            is_renewal: false,
            single_address: true,
            bypasses_proxy: false,
            replaces: None,
        };
        for endpoint in &rotator.endpoints {
            rotator.create_session(endpoint, &any, false, &mut rotator.rng())?;
        }
        Ok(rotator)
    }

    /// How long an identity keeps its endpoint.
    pub(crate) const fn mode(&self) -> RotationMode {
        self.mode
    }

    /// Whether a fetch may connect directly while no proxy works.
    pub(crate) const fn can_go_direct(&self) -> bool {
        self.falls_back_direct
    }

    /// Whether requests to `host` bypass the proxy.
    pub(crate) fn bypasses(&self, host: &str) -> bool {
        self.no_proxy.covers(host)
    }

    /// Opens a new session on the endpoint that is best at present.
    ///
    /// # Errors
    /// [`ErrorKind::Proxy`] when no endpoint works.
    pub(crate) fn open_session(&self, query: SessionQuery<'_>) -> Result<Arc<ProxySession>> {
        let now = Instant::now();
        // Locked until the probe is started, so that only one fetch starts it.
        let mut rng = self.rng();
        let typical_latency = self.typical_latency();
        let candidates: Vec<_> = self
            .endpoints
            .iter()
            .map(|endpoint| {
                endpoint.candidate(
                    query.site,
                    is_replaced(query.replaces, endpoint, now),
                    typical_latency,
                    now,
                )
            })
            .collect();
        let is_stable = self.mode != RotationMode::Rotating && !query.is_renewal && query.replaces.is_none();
        let draw = if is_stable { self.stable_draw(&query) } else { rng.random_range(0.0..1.0) };
        match select(&candidates, query.replaces.is_none(), draw) {
            Selection::Endpoint(at) => self.create_session(&self.endpoints[at], &query, false, &mut rng),
            Selection::Probe(at) => {
                self.endpoints[at].begin_probe(now);
                self.create_session(&self.endpoints[at], &query, true, &mut rng)
            }
            Selection::Unavailable(_) if query.bypasses_proxy => {
                self.create_session(&self.endpoints[0], &query, false, &mut rng)
            }
            Selection::Unavailable(wait) => Err(self.no_proxy_error(wait)),
        }
    }

    /// Whether `site` can be requested from another address than that of `session`.
    pub(crate) fn has_alternative(&self, session: &ProxySession) -> bool {
        let now = Instant::now();
        let is_up = |endpoint: &ProxyEndpoint| !matches!(endpoint.health(now), HealthState::Down(_));
        self.endpoints.iter().any(|endpoint| is_up(endpoint) && !is_replaced(Some(session), endpoint, now))
    }

    /// The statistics of every endpoint.
    pub(crate) fn stats(&self) -> Vec<ProxyStats> {
        let now = Instant::now();
        let to_stats = |endpoint: &Arc<ProxyEndpoint>| {
            let usage = endpoint.stats();
            ProxyStats {
                proxy: endpoint.name.clone(),
                uses: usage.uses,
                pages: usage.pages,
                blocks: usage.blocks,
                faults: usage.faults,
                busy: usage.busy,
                latency: usage.latency,
                is_healthy: endpoint.health(now) == HealthState::Healthy,
            }
        };
        self.endpoints.iter().map(to_stats).collect()
    }

    fn create_session(
        &self,
        endpoint: &Arc<ProxyEndpoint>,
        query: &SessionQuery<'_>,
        is_probe: bool,
        rng: &mut StdRng,
    ) -> Result<Arc<ProxySession>> {
        let is_ephemeral = self.mode == RotationMode::Rotating;
        let mut expiry = SessionExpiry { label: None, is_ephemeral, expires_at: None, idle_timeout: None };
        let proxy = match &endpoint.source {
            ProxySource::Proxy(proxy) => proxy.clone(),
            ProxySource::Account(account) => {
                let lifetime = account.session_lifetime()?;
                let (id, until) = self.session_id(account, lifetime, query, rng);
                expiry.label = id.as_deref().map(session_label);
                (expiry.expires_at, expiry.idle_timeout) = (Some(until), account.idle_timeout());
                account.proxy(id.as_deref())?
            }
        };
        let route = ProxyRules::through(proxy).with_no_proxy(self.no_proxy.clone());
        Ok(Arc::new(ProxySession::new(Arc::clone(endpoint), route, expiry, is_probe)))
    }

    /// Returns a session's id, and when the session must be replaced.
    ///
    /// The id of a lasting session is derived from the account's password, the session's name and the time.
    /// The next process of the same user therefore uses the same proxy session while it lasts: a clearance is
    /// valid only there. Without the password, the id cannot be predicted.
    fn session_id(
        &self,
        account: &ProxyAccount,
        lifetime: Duration,
        query: &SessionQuery<'_>,
        rng: &mut StdRng,
    ) -> (Option<String>, Instant) {
        let (dialect, now) = (account.dialect(), Instant::now());
        let is_ephemeral = self.mode == RotationMode::Rotating;
        if !dialect.has_sessions() || is_ephemeral && account.is_rotating() && !query.single_address {
            return (None, now + lifetime);
        }
        let secret = self.seed.map(|seed| seed.to_string()).or_else(|| account.session_secret());
        let Some(secret) = secret.filter(|_| !is_ephemeral && !query.is_renewal) else {
            return (Some(dialect.generate_session_id(rng)), now + lifetime);
        };
        let (wall, started_at) = self.started;
        let wall = wall + now.saturating_duration_since(started_at);
        // The id changes every half of a session's lifetime. Another process may have opened the session when
        // that half began; each process then has at least the other half left.
        let half = (lifetime.as_millis() / 2).max(1);
        let period = wall.as_millis() / half;
        let period_end =
            Duration::from_millis(u64::try_from(period * half).unwrap_or(u64::MAX)).saturating_add(lifetime);
        let site = query.per_site.then_some(query.site);
        let text = format!("{:?}", ("rungs session", secret, query.session_name, site, period));
        let mut period_rng = StdRng::from_seed(Sha256::digest(text.as_bytes()).into());
        (Some(dialect.generate_session_id(&mut period_rng)), now + period_end.saturating_sub(wall))
    }

    /// The draw that selects the endpoint of a lasting session. It is the same in the next process, as long
    /// as the endpoints' health is similar.
    fn stable_draw(&self, query: &SessionQuery<'_>) -> f64 {
        let site = query.per_site.then_some(query.site);
        let text = format!("{:?}", ("rungs exit", self.seed, self.pool_hash, query.session_name, site));
        StdRng::from_seed(Sha256::digest(text.as_bytes()).into()).random_range(0.0..1.0)
    }

    /// The latency assumed for an endpoint without a measured one: the lowest known, so that the endpoint is
    /// tried.
    fn typical_latency(&self) -> Duration {
        self.endpoints.iter().filter_map(|endpoint| endpoint.latency()).min().unwrap_or_default()
    }

    fn no_proxy_error(&self, wait: Duration) -> Error {
        let shown: Vec<&str> =
            self.endpoints.iter().take(MAX_NAMED).map(|endpoint| endpoint.name.as_str()).collect();
        let more = if self.endpoints.len() > MAX_NAMED { ", …" } else { "" };
        let next = match wait.as_millis().div_ceil(1000) {
            0 => "one fetch is probing one of them".to_owned(),
            seconds => format!("the next probe is in {seconds} s"),
        };
        let message =
            format!("none of {} proxies works ({}{more}); {next}", self.endpoints.len(), shown.join(", "));
        Error::new(ErrorKind::Proxy, message)
            .with_hint("connect directly while no proxy works with `--proxy-fallback direct`")
    }

    fn rng(&self) -> MutexGuard<'_, StdRng> {
        lock_unpoisoned(&self.rng)
    }
}

/// Whether replacing `session` excludes `endpoint`. A gateway that works has other addresses, so it is not
/// excluded.
fn is_replaced(session: Option<&ProxySession>, endpoint: &ProxyEndpoint, now: Instant) -> bool {
    session.is_some_and(|session| {
        std::ptr::eq(Arc::as_ptr(&session.endpoint), endpoint)
            && (!endpoint.source.has_sessions() || endpoint.health(now) != HealthState::Healthy)
    })
}

/// Returns the name of a session in traces: equal for equal ids, and not reversible.
fn session_label(id: &str) -> String {
    let hash = Sha256::digest(format!("rungs session label {id}").as_bytes());
    hex::encode(&hash[..4])
}

/// The maximum number of proxies that an error names.
const MAX_NAMED: usize = 3;
