//! Who a request comes from: browser profile, proxy, cookies and TLS tickets, moved between tiers
//! whole.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cookies::Jar;
use crate::fingerprint::Profile;
use crate::hints::Hints;
use crate::place::Place;
use crate::proxy::{Proxy, Route};
use crate::tickets::Tickets;
use crate::traffic::{Meter, Traffic};

/// One client as a site sees it. Two identities never share a connection, a cookie or a ticket.
pub struct Identity {
    key: u64,
    name: String,
    profile: Arc<Profile>,
    route: Route,
    meter: Arc<Meter>,
    place: Place,
    jar: Jar,
    tickets: Tickets,
    hints: Hints,
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
            route: proxy.into(),
            meter: Arc::default(),
            place: Place::default(),
            jar: Jar::default(),
            tickets: Tickets::default(),
            hints: Hints::default(),
        }
    }

    /// The same identity on its way by `route`: a site sees it come out of one proxy, or of none.
    #[must_use]
    pub fn routed(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// The same identity, elsewhere.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
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
    pub const fn place(&self) -> &Place {
        &self.place
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
    pub const fn route(&self) -> &Route {
        &self.route
    }

    /// What passed between it and its proxies so far, on all tiers.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.meter.read()
    }

    /// Where its bytes are counted.
    #[must_use]
    pub(crate) const fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The client hints that origins asked it for.
    #[must_use]
    pub(crate) const fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Its TLS session tickets.
    #[must_use]
    pub(crate) const fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// Its cookies.
    #[must_use]
    pub const fn jar(&self) -> &Jar {
        &self.jar
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.name)
            .field("profile", &self.profile.name)
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}
