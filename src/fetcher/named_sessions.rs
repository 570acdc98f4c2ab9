//! The sessions of users, by name: as many as are in use, and of the others those that were used last.

use std::collections::HashMap;
use std::sync::Arc;

use crate::router::IdentityPair;

/// A session's name; `None` for who has none.
type SessionName = Option<Arc<str>>;

/// By name, one persona a look.
#[derive(Default)]
pub(super) struct SessionRegistry {
    entries: HashMap<SessionName, SessionEntry>,
    /// Counts uses.
    clock: u64,
    /// So many names may there be before idle ones are looked for; 0 before that was done.
    sweep_at: usize,
}

#[derive(Default)]
struct SessionEntry {
    identities: Vec<Arc<IdentityPair>>,
    last_used: u64,
}

impl SessionRegistry {
    /// The personas of this name, which is used now; and those that made room for it.
    pub(super) fn get_or_create(
        &mut self,
        name: Option<&Arc<str>>,
    ) -> (&mut Vec<Arc<IdentityPair>>, Vec<Arc<IdentityPair>>) {
        let name = name.cloned();
        let is_full = self.entries.len() >= self.sweep_at.max(MAX_IDLE) && !self.entries.contains_key(&name);
        let gone = if is_full { self.evict_idle() } else { Vec::new() };
        self.clock += 1;
        let named = self.entries.entry(name).or_default();
        named.last_used = self.clock;
        (&mut named.identities, gone)
    }

    /// Takes out the half of those that nobody holds whose use is longest ago.
    fn evict_idle(&mut self) -> Vec<Arc<IdentityPair>> {
        let is_idle = |(name, named): &(&SessionName, &mut SessionEntry)| {
            name.is_some() && named.identities.iter().all(|persona| Arc::strong_count(persona) == 1)
        };
        let mut idle: Vec<u64> =
            self.entries.iter_mut().filter(is_idle).map(|(_, named)| named.last_used).collect();
        let half = idle.len().div_ceil(2);
        let mut gone = Vec::new();
        if half > 0 {
            let (.., last, _) = idle.select_nth_unstable(half - 1);
            let last = *last;
            let leaves = |pair: &(&SessionName, &mut SessionEntry)| is_idle(pair) && pair.1.last_used <= last;
            gone.extend(
                self.entries
                    .extract_if(|name, named| leaves(&(name, named)))
                    .flat_map(|(_, named)| named.identities),
            );
        }
        // Where nearly all are in use, the next look is a while away.
        self.sweep_at = self.entries.len() + MAX_IDLE / 2;
        gone
    }
}

/// How many names are kept beside those in use.
const MAX_IDLE: usize = if cfg!(test) { 64 } else { 4_096 };

#[cfg(test)]
mod tests {
    use super::super::Fetcher;
    use super::*;

    fn count(fetcher: &Fetcher) -> usize {
        fetcher.inner.sessions.lock().unwrap().entries.len()
    }

    #[tokio::test]
    async fn names_do_not_pile_up_and_who_is_in_use_stays() {
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
        assert_ne!(fetcher.session("first").identity().key(), first, "it was idle for long");
    }

    #[tokio::test]
    async fn names_that_are_all_in_use_all_stay() {
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
