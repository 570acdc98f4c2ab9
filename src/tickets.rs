//! TLS session tickets of an identity: resumption as a browser does it, never across identities.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use boring::ssl::SslSession;

use crate::lock::lock;

/// The tickets one identity holds, by `host:port`. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct Tickets(Arc<Mutex<HashMap<String, VecDeque<SslSession>>>>);

impl Tickets {
    /// Keeps a ticket, dropping the oldest beyond what a browser keeps.
    pub(crate) fn keep(&self, origin: &str, session: SslSession) {
        let mut all = lock(&self.0);
        if all.len() >= MAX_ORIGINS && !all.contains_key(origin) {
            all.clear();
        }
        let held = all.entry(origin.to_owned()).or_default();
        held.push_back(session);
        while held.len() > MAX_PER_ORIGIN {
            held.pop_front();
        }
    }

    /// Takes the newest ticket: each is used once (RFC 8446, appendix C.4).
    pub(crate) fn take(&self, origin: &str) -> Option<SslSession> {
        let mut all = lock(&self.0);
        all.get_mut(origin)?.pop_back()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(***)")
    }
}

/// A server sends two by default; Chrome keeps as many.
const MAX_PER_ORIGIN: usize = 2;
const MAX_ORIGINS: usize = 1024;
