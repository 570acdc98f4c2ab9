//! The identity of a client: browser profile, proxy, cookies and TLS tickets. It moves between tiers as a whole.

pub(crate) mod client_hints;
pub(crate) mod cookies;
pub(crate) mod geo;
pub(crate) mod hsts;
pub(crate) mod session_tickets;
pub(crate) mod traffic;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fingerprint::Profile;
use crate::identity::client_hints::ClientHintStore;
use crate::identity::cookies::CookieJar;
use crate::identity::geo::LocationOverride;
use crate::identity::session_tickets::SessionTickets;
use crate::identity::traffic::{ByteCounter, Traffic};
use crate::proxy::{Proxy, ProxyRules};

/// One client as a site sees it. Two identities never share a connection, a site's cookie or a TLS ticket.
pub struct Identity {
    key: u64,
    name: String,
    profile: Arc<Profile>,
    proxy_rules: ProxyRules,
    byte_counter: Arc<ByteCounter>,
    location: LocationOverride,
    jar: CookieJar,
    tickets: SessionTickets,
    client_hints: ClientHintStore,
}

impl Identity {
    /// Creates an identity without cookies and tickets.
    #[must_use]
    pub fn new(name: impl Into<String>, profile: Arc<Profile>, proxy: Option<Proxy>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            key: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.into(),
            profile,
            proxy_rules: proxy.into(),
            byte_counter: Arc::default(),
            location: LocationOverride::default(),
            jar: CookieJar::default(),
            tickets: SessionTickets::default(),
            client_hints: ClientHintStore::default(),
        }
    }

    /// Sets the proxy rules.
    #[must_use]
    pub fn with_proxy_rules(mut self, rules: ProxyRules) -> Self {
        self.proxy_rules = rules;
        self
    }

    /// Sets the location.
    #[must_use]
    pub fn with_location(mut self, location: LocationOverride) -> Self {
        self.location = location;
        self
    }

    /// Replaces the cookie jar by an empty one that shares the caller's cookies of `other`.
    #[must_use]
    pub(crate) fn with_given_cookies_of(mut self, other: &Self) -> Self {
        self.jar = other.jar.with_same_given();
        self
    }

    /// The location that the browser reports.
    #[must_use]
    pub const fn location(&self) -> &LocationOverride {
        &self.location
    }

    /// The unique number of this identity in the process, the key of connection pools.
    #[must_use]
    pub const fn key(&self) -> u64 {
        self.key
    }

    /// The name of the session, as the user set it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The browser profile.
    #[must_use]
    pub const fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// The proxy rules.
    #[must_use]
    pub const fn proxy_rules(&self) -> &ProxyRules {
        &self.proxy_rules
    }

    /// The bytes exchanged with proxies so far, on all tiers.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.byte_counter.snapshot()
    }

    /// The counter of the bytes exchanged with proxies.
    #[must_use]
    pub(crate) const fn byte_counter(&self) -> &Arc<ByteCounter> {
        &self.byte_counter
    }

    /// The client hints that origins requested.
    #[must_use]
    pub(crate) const fn client_hints(&self) -> &ClientHintStore {
        &self.client_hints
    }

    /// The TLS session tickets.
    #[must_use]
    pub(crate) const fn tickets(&self) -> &SessionTickets {
        &self.tickets
    }

    /// The cookie jar.
    #[must_use]
    pub const fn jar(&self) -> &CookieJar {
        &self.jar
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.name)
            .field("profile", &self.profile.name)
            .field("proxy_rules", &self.proxy_rules)
            .finish_non_exhaustive()
    }
}
