//! Who a request comes from: browser profile, proxy, cookies and TLS tickets, moved between tiers
//! whole.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::client_hints::ClientHintStore;
use crate::cookies::CookieJar;
use crate::fingerprint::Profile;
use crate::geo::LocationOverride;
use crate::proxy::{Proxy, ProxyRules};
use crate::session_tickets::SessionTickets;
use crate::traffic::{ByteCounter, Traffic};

/// One client as a site sees it. Two identities never share a connection, a cookie or a ticket.
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
    /// A fresh identity: no cookies, no tickets.
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

    /// The same identity on its way by `route`: a site sees it come out of one proxy, or of none.
    #[must_use]
    pub fn with_proxy_rules(mut self, route: ProxyRules) -> Self {
        self.proxy_rules = route;
        self
    }

    /// The same identity, elsewhere.
    #[must_use]
    pub fn with_location(mut self, place: LocationOverride) -> Self {
        self.location = place;
        self
    }

    /// The same identity without cookies of its own, and with the cookies that the caller gave `other`: the two share
    /// them from now on.
    #[must_use]
    pub(crate) fn with_given_cookies_of(mut self, other: &Self) -> Self {
        self.jar = other.jar.with_same_given();
        self
    }

    /// Where its browser says it is.
    #[must_use]
    pub const fn location(&self) -> &LocationOverride {
        &self.location
    }

    /// A number no other identity of this process has: what pools are keyed by.
    #[must_use]
    pub const fn key(&self) -> u64 {
        self.key
    }

    /// The session's name, as the user gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The browser it looks like.
    #[must_use]
    pub const fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// Which proxies it goes through.
    #[must_use]
    pub const fn proxy_rules(&self) -> &ProxyRules {
        &self.proxy_rules
    }

    /// What passed between it and its proxies so far, on all tiers.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.byte_counter.snapshot()
    }

    /// Where its bytes are counted.
    #[must_use]
    pub(crate) const fn byte_counter(&self) -> &Arc<ByteCounter> {
        &self.byte_counter
    }

    /// The client hints that origins asked it for.
    #[must_use]
    pub(crate) const fn client_hints(&self) -> &ClientHintStore {
        &self.client_hints
    }

    /// Its TLS session tickets.
    #[must_use]
    pub(crate) const fn tickets(&self) -> &SessionTickets {
        &self.tickets
    }

    /// Its cookies.
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
            .field("route", &self.proxy_rules)
            .finish_non_exhaustive()
    }
}
