//! TLS session tickets of an identity: resumption as a browser does it, never across identities.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use boring::ssl::{SslSession, SslVersion};

use crate::sync::lock_unpoisoned;

/// The tickets one identity holds, by `host:port`. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct SessionTickets(Arc<Mutex<HashMap<String, VecDeque<SslSession>>>>);

impl SessionTickets {
    /// Keeps a ticket, dropping the oldest beyond what a browser keeps: one where it may be used again.
    pub(crate) fn insert(&self, origin: &str, session: SslSession) {
        let mut all = lock_unpoisoned(&self.0);
        if all.len() >= MAX_ORIGINS && !all.contains_key(origin) {
            all.clear();
        }
        let held = all.entry(origin.to_owned()).or_default();
        if !held.back().is_some_and(is_single_use) {
            held.clear();
        }
        held.push_back(session);
        while held.len() > MAX_PER_ORIGIN {
            held.pop_front();
        }
    }

    /// The newest ticket. One of TLS 1.3 is used once (RFC 8446, appendix C.4), one of TLS 1.2 again and again, as
    /// Chrome does.
    pub(crate) fn take(&self, origin: &str) -> Option<SslSession> {
        let mut all = lock_unpoisoned(&self.0);
        let held = all.get_mut(origin)?;
        if held.back().is_some_and(is_single_use) { held.pop_back() } else { held.back().cloned() }
    }
}

impl fmt::Debug for SessionTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(***)")
    }
}

fn is_single_use(session: &SslSession) -> bool {
    session.protocol_version() == SslVersion::TLS1_3
}

/// A server sends two by default; Chrome keeps as many.
const MAX_PER_ORIGIN: usize = 2;
const MAX_ORIGINS: usize = 1024;
