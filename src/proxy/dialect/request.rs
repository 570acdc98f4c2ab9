//! Requests for credentials: account, location, session.

use std::time::Duration;

use super::schema::Parameter;
use crate::proxy::Proxy;
use crate::text::redact::Secret;

/// The location of an exit address. Every field is optional. Default: any location.
///
/// ```
/// let geo = rungs::GeoTarget::default().country("us").city("New York");
/// assert_eq!(geo.city.as_deref(), Some("New York"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GeoTarget {
    /// The ISO 3166-1 alpha-2 code, in any case; `uk` means `gb`.
    pub country: Option<String>,
    /// The state or region, as in the provider's list, with spaces.
    pub state: Option<String>,
    /// The city, as in the provider's list, with spaces.
    pub city: Option<String>,
    /// The postal code.
    pub zip: Option<String>,
    /// The AS number, with or without `AS`.
    pub asn: Option<String>,
    /// The internet provider.
    pub isp: Option<String>,
}

macro_rules! setters {
    ($($name:ident),*) => {
        $(
            #[doc = concat!("Sets `", stringify!($name), "`.")]
            #[must_use]
            pub fn $name(mut self, value: impl Into<String>) -> Self {
                self.$name = Some(value.into());
                self
            }
        )*
    };
}

impl GeoTarget {
    setters!(country, state, city, zip, asn, isp);

    /// Whether no field is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn get(&self, parameter: Parameter) -> Option<&str> {
        match parameter {
            Parameter::Country => self.country.as_deref(),
            Parameter::State => self.state.as_deref(),
            Parameter::City => self.city.as_deref(),
            Parameter::Zip => self.zip.as_deref(),
            Parameter::Asn => self.asn.as_deref(),
            Parameter::Isp => self.isp.as_deref(),
            Parameter::Session | Parameter::Ttl => None,
        }
    }
}

/// An account and the requested parameters, for [`Dialect::render`](crate::Dialect::render).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CredentialRequest {
    /// The account's own user name, without the parameters that the dialect adds.
    pub user: String,
    /// The account's own password, without the parameters that the dialect adds.
    pub password: Secret,
    /// The gateway, without credentials. Default: the dialect's.
    pub gateway: Option<Proxy>,
    /// The location of the exit address. Default: any.
    pub geo: GeoTarget,
    /// The session id: requests with the same id share an exit address. Default: none.
    pub session: Option<String>,
    /// The lifetime of the session. Default: the provider's.
    pub ttl: Option<Duration>,
}

impl CredentialRequest {
    /// Creates a request for an account without parameters.
    #[must_use]
    pub fn new(user: impl Into<String>, password: Secret) -> Self {
        let (gateway, session, ttl) = (None, None, None);
        Self { user: user.into(), password, gateway, geo: GeoTarget::default(), session, ttl }
    }

    /// Sets the gateway. Default: the dialect's.
    #[must_use]
    pub fn gateway(mut self, gateway: Proxy) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// Sets the location of the exit address. Default: any.
    #[must_use]
    pub fn geo(mut self, geo: GeoTarget) -> Self {
        self.geo = geo;
        self
    }

    /// Sets the session id. Default: none.
    #[must_use]
    pub fn session(mut self, id: impl Into<String>) -> Self {
        self.session = Some(id.into());
        self
    }

    /// Sets the lifetime of the session. Default: the provider's.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}
