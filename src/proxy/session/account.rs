//! An account at a proxy provider's gateway: many addresses, one per session.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::exchange::error::Result;
use crate::proxy::{CredentialRequest, Dialect, GatewayRotation, GeoTarget, Proxy};
use crate::text::redact::Secret;

/// An account at a proxy provider. Its gateway gives each session an address of its own.
///
/// ```
/// use rungs::{Dialect, GeoTarget, ProxyAccount, ProxyPool, Secret};
///
/// let account = ProxyAccount::new(Dialect::find("decodo", None)?, "jane", Secret::new("s3cret"))
///     .geo(GeoTarget::default().country("us"));
/// let pool = ProxyPool::new().account(account);
/// assert_eq!(pool.len(), 1);
/// # Ok::<(), rungs::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ProxyAccount {
    dialect: Arc<Dialect>,
    user: String,
    password: Secret,
    gateway: Option<Proxy>,
    geo: GeoTarget,
    lifetime: Option<Duration>,
}

impl ProxyAccount {
    /// Creates an account of `user` at the provider that uses `dialect`.
    pub fn new(dialect: Arc<Dialect>, user: impl Into<String>, password: Secret) -> Self {
        let (gateway, lifetime) = (None, None);
        Self { dialect, user: user.into(), password, gateway, geo: GeoTarget::default(), lifetime }
    }

    /// The gateway, without credentials. Default: the dialect's.
    pub fn gateway(mut self, gateway: Proxy) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// The location of the proxies. Default: anywhere.
    pub fn geo(mut self, geo: GeoTarget) -> Self {
        self.geo = geo;
        self
    }

    /// How long a session lasts; rungs replaces it slightly earlier. Default: the provider's own lifetime, or
    /// 30 minutes if that is unknown.
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// The gateway's address and the dialect's name.
    pub(super) fn name(&self) -> String {
        let gateway = self.gateway.clone().or_else(|| self.dialect.gateway());
        let gateway = gateway.map_or_else(|| "no gateway".to_owned(), |gateway| gateway.to_string());
        format!("{gateway} ({})", self.dialect.name())
    }

    pub(super) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Returns the gateway with credentials for this session.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming the parameter that the dialect cannot express.
    pub(super) fn proxy(&self, session: Option<&str>) -> Result<Proxy> {
        let mut request =
            CredentialRequest::new(self.user.clone(), self.password.clone()).geo(self.geo.clone());
        if let Some(gateway) = &self.gateway {
            request = request.gateway(gateway.clone());
        }
        if let Some(session) = session {
            request = request.session(session);
            if let Some(lifetime) = self.lifetime {
                request = request.ttl(lifetime);
            }
        }
        self.dialect.render(&request)
    }

    /// How long a session is used.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the dialect cannot request the lifetime.
    pub(super) fn session_lifetime(&self) -> Result<Duration> {
        Ok(self.dialect.lifetime(self.lifetime)?.unwrap_or(DEFAULT_LIFETIME).mul_f64(RENEW_FRACTION))
    }

    /// How long a session may stay unused.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        self.dialect.idle_timeout().map(|idle| idle.mul_f64(RENEW_FRACTION))
    }

    /// Whether each new connection without a session gets another address.
    pub(super) fn is_rotating(&self) -> bool {
        matches!(self.dialect.rotation(), GatewayRotation::Connection | GatewayRotation::Request)
    }

    /// The secret that session ids are derived from: the password with the account's name, user and location.
    /// `None` without a password.
    pub(super) fn session_secret(&self) -> Option<String> {
        let password = self.password.expose();
        (!password.is_empty()).then(|| format!("{:?}", (self.name(), &self.user, password, &self.geo)))
    }
}

impl PartialEq for ProxyAccount {
    fn eq(&self, other: &Self) -> bool {
        let dialect = |account: &Self| {
            let dialect = &account.dialect;
            let (source, seen) = dialect.source();
            (dialect.name().to_owned(), source.to_owned(), seen.to_owned(), dialect.gateway())
        };
        (Arc::ptr_eq(&self.dialect, &other.dialect) || dialect(self) == dialect(other))
            && (&self.user, &self.password, &self.gateway) == (&other.user, &other.password, &other.gateway)
            && (&self.geo, self.lifetime) == (&other.geo, other.lifetime)
    }
}

impl fmt::Debug for ProxyAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyAccount")
            .field("gateway", &self.name())
            .field("geo", &self.geo)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// The lifetime of a session when neither the user nor the provider states one.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// The part of a session's lifetime after which rungs replaces it, so that it does not end at the provider
/// first.
const RENEW_FRACTION: f64 = 0.9;
