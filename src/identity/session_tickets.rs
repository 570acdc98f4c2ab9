//! The TLS session tickets of an identity: resumption as in a browser, never across identities.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use boring::ssl::{SslSession, SslVersion};

use crate::os::sync::lock_unpoisoned;

/// The tickets of one identity, by `host:port`. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct SessionTickets(Arc<Mutex<HashMap<String, VecDeque<SslSession>>>>);

impl SessionTickets {
    /// Adds a ticket and drops the oldest ones. Like a browser, it keeps two single-use tickets or one reusable ticket.
    pub(crate) fn insert(&self, origin: &str, session: SslSession) {
        let mut all = lock_unpoisoned(&self.0);
        if all.len() >= MAX_ORIGINS && !all.contains_key(origin) {
            all.clear();
        }
        let tickets = all.entry(origin.to_owned()).or_default();
        if !tickets.back().is_some_and(is_single_use) {
            tickets.clear();
        }
        tickets.push_back(session);
        while tickets.len() > MAX_PER_ORIGIN {
            tickets.pop_front();
        }
    }

    /// Returns the newest ticket. As in Chrome, a TLS 1.3 ticket is used once (RFC 8446, appendix C.4), a TLS 1.2
    /// ticket any number of times.
    pub(crate) fn take(&self, origin: &str) -> Option<SslSession> {
        let mut all = lock_unpoisoned(&self.0);
        let tickets = all.get_mut(origin)?;
        if tickets.back().is_some_and(is_single_use) { tickets.pop_back() } else { tickets.back().cloned() }
    }
}

impl fmt::Debug for SessionTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionTickets(***)")
    }
}

fn is_single_use(session: &SslSession) -> bool {
    session.protocol_version() == SslVersion::TLS1_3
}

/// The number that Chrome keeps. Servers send two by default.
const MAX_PER_ORIGIN: usize = 2;
const MAX_ORIGINS: usize = 1024;
