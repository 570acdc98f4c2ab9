//! The sessions of users, by name: all that are in use, and the most recently used of the others.

use std::collections::HashMap;
use std::sync::Arc;

use crate::router::IdentityPair;

/// The name of a session. `None` for the fetcher's own session.
type SessionName = Option<Arc<str>>;

/// The sessions by name, with one identity pair per client spec.
#[derive(Default)]
pub(super) struct SessionRegistry {
    entries: HashMap<SessionName, SessionEntry>,
    /// Logical clock: the number of uses.
    clock: u64,
    /// The number of names at which idle ones are evicted next. 0 before the first eviction.
    sweep_at: usize,
}

#[derive(Default)]
struct SessionEntry {
    identities: Vec<Arc<IdentityPair>>,
    last_used: u64,
}

impl SessionRegistry {
    /// Returns the identities of this name, and the identities evicted to make room for it. Counts as a use of the
    /// name.
    pub(super) fn get_or_create(
        &mut self,
        name: Option<&Arc<str>>,
    ) -> (&mut Vec<Arc<IdentityPair>>, Vec<Arc<IdentityPair>>) {
        let name = name.cloned();
        let is_full = self.entries.len() >= self.sweep_at.max(MAX_IDLE) && !self.entries.contains_key(&name);
        let evicted = if is_full { self.evict_idle() } else { Vec::new() };
        self.clock += 1;
        let entry = self.entries.entry(name).or_default();
        entry.last_used = self.clock;
        (&mut entry.identities, evicted)
    }

    /// Evicts the least recently used half of the sessions without a handle.
    fn evict_idle(&mut self) -> Vec<Arc<IdentityPair>> {
        let is_idle = |(name, entry): &(&SessionName, &mut SessionEntry)| {
            name.is_some() && entry.identities.iter().all(|identities| Arc::strong_count(identities) == 1)
        };
        let mut idle: Vec<u64> =
            self.entries.iter_mut().filter(is_idle).map(|(_, entry)| entry.last_used).collect();
        let half = idle.len().div_ceil(2);
        let mut evicted = Vec::new();
        if half > 0 {
            let (.., last, _) = idle.select_nth_unstable(half - 1);
            let last = *last;
            let is_evicted =
                |pair: &(&SessionName, &mut SessionEntry)| is_idle(pair) && pair.1.last_used <= last;
            evicted.extend(
                self.entries
                    .extract_if(|name, entry| is_evicted(&(name, entry)))
                    .flat_map(|(_, entry)| entry.identities),
            );
        }
        // If nearly all are in use, the next eviction is not soon.
        self.sweep_at = self.entries.len() + MAX_IDLE / 2;
        evicted
    }
}

/// The number of names that are kept in addition to those in use.
const MAX_IDLE: usize = if cfg!(test) { 64 } else { 4_096 };

#[cfg(test)]
mod tests {
    use super::super::Fetcher;
    use super::*;

    fn count(fetcher: &Fetcher) -> usize {
        fetcher.inner.sessions.lock().unwrap().entries.len()
    }

    #[tokio::test]
    async fn idle_names_are_evicted_and_names_in_use_stay() {
        let fetcher = Fetcher::builder().build().unwrap();
        let held = fetcher.session("held");
        let first = fetcher.session("first").identity().key();
        let same = || fetcher.session("often").identity().key();
        let often = same();
        for n in 0..MAX_IDLE * 20 {
            let _ = fetcher.session(&format!("line {n}"));
            assert_eq!(same(), often, "used again and again");
            assert!(count(&fetcher) <= MAX_IDLE * 2);
        }
        assert_eq!(fetcher.session("held").identity().key(), held.identity().key());
        assert_ne!(fetcher.session("first").identity().key(), first, "it was evicted while idle");
    }

    #[tokio::test]
    async fn names_that_are_all_in_use_are_not_evicted() {
        let fetcher = Fetcher::builder().build().unwrap();
        let held: Vec<_> = (0..MAX_IDLE * 4).map(|n| fetcher.session(&n.to_string())).collect();
        for (n, session) in held.iter().enumerate() {
            assert_eq!(fetcher.session(&n.to_string()).identity().key(), session.identity().key());
        }
        drop(held);
        for n in 0..MAX_IDLE * 8 {
            let _ = fetcher.session(&format!("line {n}"));
        }
        assert!(count(&fetcher) <= MAX_IDLE * 2, "{}", count(&fetcher));
    }
}
