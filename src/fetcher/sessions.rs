//! The sessions of users, by name: as many as are in use, and of the others those that were used last.

use std::collections::HashMap;
use std::sync::Arc;

use crate::router::Persona;

/// A session's name; `None` for who has none.
type Name = Option<Arc<str>>;

/// By name, one persona a look.
#[derive(Default)]
pub(super) struct Sessions {
    named: HashMap<Name, Named>,
    /// Counts uses.
    clock: u64,
    /// So many names may there be before idle ones are looked for; 0 before that was done.
    room: usize,
}

#[derive(Default)]
struct Named {
    personas: Vec<Arc<Persona>>,
    used: u64,
}

impl Sessions {
    /// The personas of this name, which is used now; and those that made room for it.
    pub(super) fn of(&mut self, name: Option<&Arc<str>>) -> (&mut Vec<Arc<Persona>>, Vec<Arc<Persona>>) {
        let name = name.cloned();
        let is_full = self.named.len() >= self.room.max(MOST) && !self.named.contains_key(&name);
        let gone = if is_full { self.sweep() } else { Vec::new() };
        self.clock += 1;
        let named = self.named.entry(name).or_default();
        named.used = self.clock;
        (&mut named.personas, gone)
    }

    /// Takes out the half of those that nobody holds whose use is longest ago.
    fn sweep(&mut self) -> Vec<Arc<Persona>> {
        let is_idle = |(name, named): &(&Name, &mut Named)| {
            name.is_some() && named.personas.iter().all(|persona| Arc::strong_count(persona) == 1)
        };
        let mut idle: Vec<u64> = self.named.iter_mut().filter(is_idle).map(|(_, named)| named.used).collect();
        let half = idle.len().div_ceil(2);
        let mut gone = Vec::new();
        if half > 0 {
            let (.., last, _) = idle.select_nth_unstable(half - 1);
            let last = *last;
            let leaves = |pair: &(&Name, &mut Named)| is_idle(pair) && pair.1.used <= last;
            gone.extend(
                self.named
                    .extract_if(|name, named| leaves(&(name, named)))
                    .flat_map(|(_, named)| named.personas),
            );
        }
        // Where nearly all are in use, the next look is a while away.
        self.room = self.named.len() + MOST / 2;
        gone
    }
}

/// How many names are kept beside those in use.
const MOST: usize = if cfg!(test) { 64 } else { 4_096 };

#[cfg(test)]
mod tests {
    use super::super::Fetcher;
    use super::*;

    fn count(fetcher: &Fetcher) -> usize {
        fetcher.shared.sessions.lock().unwrap().named.len()
    }

    #[tokio::test]
    async fn names_do_not_pile_up_and_who_is_in_use_stays() {
        let fetcher = Fetcher::builder().build().unwrap();
        let held = fetcher.session("held");
        let first = fetcher.session("first").identity().key();
        let same = || fetcher.session("often").identity().key();
        let often = same();
        for n in 0..MOST * 20 {
            let _ = fetcher.session(&format!("line {n}"));
            assert_eq!(same(), often, "used again and again");
            assert!(count(&fetcher) <= MOST * 2);
        }
        assert_eq!(fetcher.session("held").identity().key(), held.identity().key());
        assert_ne!(fetcher.session("first").identity().key(), first, "it was idle for long");
    }

    #[tokio::test]
    async fn names_that_are_all_in_use_all_stay() {
        let fetcher = Fetcher::builder().build().unwrap();
        let held: Vec<_> = (0..MOST * 4).map(|n| fetcher.session(&n.to_string())).collect();
        for (n, session) in held.iter().enumerate() {
            assert_eq!(fetcher.session(&n.to_string()).identity().key(), session.identity().key());
        }
        drop(held);
        for n in 0..MOST * 8 {
            let _ = fetcher.session(&format!("line {n}"));
        }
        assert!(count(&fetcher) <= MOST * 2, "{}", count(&fetcher));
    }
}
