//! An account at a provider's gateway: many addresses, a session each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::proxy::{CredentialRequest, Dialect, GatewayRotation, GeoTarget, Proxy};
use crate::redact::Secret;

/// An account at a proxy provider. Its gateway gives each session an address of its own.
///
/// ```
/// use rungs::{Dialect, Geo, ProxyAccount, ProxyPool, Secret};
///
/// let account = ProxyAccount::new(Dialect::find("decodo", None)?, "jane", Secret::new("s3cret"))
///     .geo(Geo::default().country("us"));
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
    /// The account of this user, whose provider speaks `dialect`.
    pub fn new(dialect: Arc<Dialect>, user: impl Into<String>, password: Secret) -> Self {
        let (gateway, lifetime) = (None, None);
        Self { dialect, user: user.into(), password, gateway, geo: GeoTarget::default(), lifetime }
    }

    /// The gateway, without credentials. Default: the dialect's.
    pub fn gateway(mut self, gateway: Proxy) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// Where its exits shall be. Default: anywhere.
    pub fn geo(mut self, geo: GeoTarget) -> Self {
        self.geo = geo;
        self
    }

    /// How long a session shall last; it is renewed a little before. Default: as long as the provider keeps
    /// it by itself, or 30 minutes where that is not known.
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// The gateway's address.
    pub(super) fn name(&self) -> String {
        let gateway = self.gateway.clone().or_else(|| self.dialect.gateway());
        let gateway = gateway.map_or_else(|| "no gateway".to_owned(), |gateway| gateway.to_string());
        format!("{gateway} ({})", self.dialect.name())
    }

    pub(super) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// The gateway with credentials for the session of this id.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) saying what the dialect cannot express.
    pub(super) fn proxy(&self, session: Option<&str>) -> Result<Proxy> {
        let mut ask = CredentialRequest::new(self.user.clone(), self.password.clone()).geo(self.geo.clone());
        if let Some(gateway) = &self.gateway {
            ask = ask.gateway(gateway.clone());
        }
        if let Some(session) = session {
            ask = ask.session(session);
            if let Some(lifetime) = self.lifetime {
                ask = ask.ttl(lifetime);
            }
        }
        self.dialect.render(&ask)
    }

    /// How long a session is used.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the dialect cannot ask for it.
    pub(super) fn session_lifetime(&self) -> Result<Duration> {
        Ok(self.dialect.lifetime(self.lifetime)?.unwrap_or(DEFAULT_LIFETIME).mul_f64(RENEW_FRACTION))
    }

    /// How long it may rest between two uses.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        self.dialect.idle_timeout().map(|idle| idle.mul_f64(RENEW_FRACTION))
    }

    /// Whether a fresh connection without a session has another address.
    pub(super) fn is_rotating(&self) -> bool {
        matches!(self.dialect.rotation(), GatewayRotation::Connection | GatewayRotation::Request)
    }

    /// What nobody else knows of it: the password, and what it belongs to. `None` without one.
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

/// How long a session lasts whose provider does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// A session is over for us after this part of its time: before it is for its provider.
const RENEW_FRACTION: f64 = 0.9;
