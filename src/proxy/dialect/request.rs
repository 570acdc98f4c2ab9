//! What is asked of a provider.

use std::time::Duration;

use super::schema::Parameter;
use crate::proxy::Proxy;
use crate::redact::Secret;

/// Where an exit shall be. Everything is optional; nothing asked for is anywhere.
///
/// ```
/// let geo = rungs::Geo::default().country("us").city("New York");
/// assert_eq!(geo.city.as_deref(), Some("New York"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GeoTarget {
    /// Two letters of ISO 3166, in any case; `uk` is `gb`.
    pub country: Option<String>,
    /// The state or region, by the name that the provider's list has, with its spaces.
    pub state: Option<String>,
    /// The city, likewise.
    pub city: Option<String>,
    /// The postal code.
    pub zip: Option<String>,
    /// The number of the network, with or without `AS`.
    pub asn: Option<String>,
    /// The internet provider.
    pub isp: Option<String>,
}

macro_rules! setters {
    ($($name:ident),*) => {
        $(
            #[doc = concat!("The same with this ", stringify!($name), ".")]
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

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn get(&self, wish: Parameter) -> Option<&str> {
        match wish {
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

/// An account, and what is wished of it: for [`Dialect::render`](crate::Dialect::render).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CredentialRequest {
    /// The account's own user name, without what the dialect adds to it.
    pub user: String,
    /// The account's own password, likewise.
    pub password: Secret,
    /// A gateway in place of the dialect's, without credentials. Default: the dialect's.
    pub gateway: Option<Proxy>,
    /// Where the exit shall be. Default: anywhere.
    pub geo: GeoTarget,
    /// A session's id: requests with the same share an exit. Default: none.
    pub session: Option<String>,
    /// How long the session shall last. Default: as long as the provider likes.
    pub ttl: Option<Duration>,
}

impl CredentialRequest {
    /// An account, and no wishes.
    #[must_use]
    pub fn new(user: impl Into<String>, password: Secret) -> Self {
        let (gateway, session, ttl) = (None, None, None);
        Self { user: user.into(), password, gateway, geo: GeoTarget::default(), session, ttl }
    }

    /// Through this gateway, in place of the dialect's.
    #[must_use]
    pub fn gateway(mut self, gateway: Proxy) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// Out of there.
    #[must_use]
    pub fn geo(mut self, geo: GeoTarget) -> Self {
        self.geo = geo;
        self
    }

    /// In the session of this id.
    #[must_use]
    pub fn session(mut self, id: impl Into<String>) -> Self {
        self.session = Some(id.into());
        self
    }

    /// In a session that lasts so long.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}
