//! Who a request comes from: browser profile, proxy, cookies and TLS tickets, moved between tiers
//! whole.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cookies::Jar;
use crate::fingerprint::Profile;
use crate::hints::Hints;
use crate::place::Place;
use crate::proxy::Proxy;
use crate::tickets::Tickets;

/// One client as a site sees it. Two identities never share a connection, a cookie or a ticket.
pub struct Identity {
    key: u64,
    name: String,
    profile: Arc<Profile>,
    proxy: Option<Proxy>,
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
            proxy,
            place: Place::default(),
            jar: Jar::default(),
            tickets: Tickets::default(),
            hints: Hints::default(),
        }
    }

    /// The same identity, elsewhere.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
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

    /// The proxy it goes through.
    #[must_use]
    pub const fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
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
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}
