//! What was learned of a host: where to start, and how long its clearance holds. In this process
//! only, and it decays.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::clearance::Clearance;
use crate::tier::Tier;

/// What is known of one host for one session. Plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The tier to start at.
    pub(crate) start: Tier,
    /// Whether the impersonate tier got a page since the browser last had to.
    pub(crate) proven: bool,
    /// Whether what the browser earns is good one rung lower. When not, the browser keeps the host.
    pub(crate) moves: bool,
    /// What the browser earned last, if it had to.
    pub(crate) clearance: Option<Clearance>,
    /// When this was learned, in seconds since 1970.
    pub(crate) learned: i64,
}

/// A session's identity and a host.
type Key = (u64, String);

#[derive(Default)]
pub(crate) struct Memory(Mutex<HashMap<Key, Note>>);

impl Memory {
    /// What is known of `host` for the identity, unless it is too old.
    pub(crate) fn known(&self, identity: u64, host: &str, now: i64) -> Option<Note> {
        let notes = self.lock();
        let note = notes.get(&(identity, host.to_owned()))?;
        is_current(note, now).then(|| note.clone())
    }

    /// Whether the browser keeps `host`, because clearance does not move.
    pub(crate) fn is_kept(&self, identity: u64, host: &str, now: i64) -> bool {
        self.known(identity, host, now).is_some_and(|note| !note.moves)
    }

    /// The impersonate tier got a page.
    pub(crate) fn impersonated(&self, identity: u64, host: &str, now: i64) {
        let known = self.known(identity, host, now);
        if known.as_ref().is_some_and(|note| note.proven && note.start == Tier::Impersonate) {
            return;
        }
        let clearance = known.and_then(|note| note.clearance);
        self.note(
            identity,
            host,
            Note { start: Tier::Impersonate, proven: true, moves: true, clearance, learned: now },
        );
    }

    /// The browser passed where the tiers below did not: what it earned is tried one rung lower.
    pub(crate) fn cleared(&self, identity: u64, host: &str, clearance: Clearance, now: i64) {
        tracing::info!(
            host,
            cookies = clearance.cookies.join(" "),
            cleared_until = clearance.until,
            "cleared"
        );
        let clearance = Some(clearance);
        self.note(
            identity,
            host,
            Note { start: Tier::Impersonate, proven: false, moves: true, clearance, learned: now },
        );
    }

    /// The impersonate tier was refused with the newest clearance. Does clearance not move? So it is
    /// when that was straight after it was earned, and it never got anybody a page.
    pub(crate) fn refused(&self, identity: u64, host: &str, now: i64) {
        let Some(note) = self.known(identity, host, now) else { return };
        if does_not_move(&note, now) {
            tracing::info!(host, "clearance does not move: the browser keeps the host");
            self.note(identity, host, Note { start: Tier::Browser, moves: false, learned: now, ..note });
        }
    }

    fn note(&self, identity: u64, host: &str, note: Note) {
        let mut notes = self.lock();
        if notes.len() >= MAX_HOSTS {
            let now = note.learned;
            notes.retain(|_, note| now.saturating_sub(note.learned) < FORGET_AFTER / 4);
        }
        if notes.len() >= MAX_HOSTS {
            // All of them new: half are forgotten at once, rather than one a fetch.
            let mut keep = false;
            notes.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        notes.insert((identity, host.to_owned()), note);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn is_current(note: &Note, now: i64) -> bool {
    now.saturating_sub(note.learned) < FORGET_AFTER
}

fn does_not_move(note: &Note, now: i64) -> bool {
    note.moves && note.clearance.is_some() && !note.proven && now.saturating_sub(note.learned) < FRESH
}

/// After this many seconds a cheaper tier is tried again: sites relax. An hour.
const FORGET_AFTER: i64 = 60 * 60;
/// How many seconds a clearance counts as fresh: refused later than that, it may have run out. A minute.
const FRESH: i64 = 60;
const MAX_HOSTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;
    const HOST: &str = "a.example";

    fn start(memory: &Memory, now: i64) -> Option<Tier> {
        memory.known(1, HOST, now).map(|note| note.start)
    }

    #[test]
    fn what_the_browser_earned_is_used_one_rung_lower_by_its_own_session() {
        let memory = Memory::default();
        assert_eq!(start(&memory, NOW), None);
        let clearance = Clearance { cookies: vec!["pass".to_owned()], until: Some(NOW + 9) };
        memory.cleared(1, HOST, clearance.clone(), NOW);
        assert_eq!(start(&memory, NOW), Some(Tier::Impersonate));
        assert_eq!(memory.known(2, HOST, NOW), None, "another session has no clearance");
        memory.impersonated(1, HOST, NOW);
        let note = memory.known(1, HOST, NOW).unwrap();
        assert_eq!((note.proven, note.clearance), (true, Some(clearance)));
    }

    #[test]
    fn only_a_fresh_clearance_that_never_worked_is_said_not_to_move() {
        for (worked, later, kept) in [(false, 0, true), (true, 0, false), (false, FRESH, false)] {
            let memory = Memory::default();
            memory.cleared(1, HOST, Clearance::default(), NOW);
            if worked {
                memory.impersonated(1, HOST, NOW);
            }
            memory.refused(1, HOST, NOW + later);
            assert_eq!(memory.is_kept(1, HOST, NOW + later), kept, "{worked} {later}");
            let expected = if kept { Tier::Browser } else { Tier::Impersonate };
            assert_eq!(start(&memory, NOW + later), Some(expected));
        }
        let memory = Memory::default();
        memory.refused(1, HOST, NOW);
        assert!(!memory.is_kept(1, HOST, NOW), "nothing was earned");
    }

    #[test]
    fn a_page_below_shows_that_it_moves_after_all_and_so_does_an_hour() {
        let memory = Memory::default();
        memory.cleared(1, HOST, Clearance::default(), NOW);
        memory.refused(1, HOST, NOW);
        assert_eq!(start(&memory, NOW + FORGET_AFTER), None);
        memory.impersonated(1, HOST, NOW);
        assert_eq!(start(&memory, NOW), Some(Tier::Impersonate));
        assert!(!memory.is_kept(1, HOST, NOW));
    }

    #[test]
    fn no_more_hosts_are_remembered_than_allowed() {
        let memory = Memory::default();
        for host in 0..=MAX_HOSTS {
            memory.impersonated(1, &host.to_string(), NOW);
        }
        assert!(memory.lock().len() <= MAX_HOSTS);
        assert!(memory.known(1, &MAX_HOSTS.to_string(), NOW).is_some());
    }

    #[test]
    fn a_note_survives_being_written_down() {
        let memory = Memory::default();
        memory.cleared(1, HOST, Clearance { cookies: vec!["pass".to_owned()], until: Some(NOW) }, NOW);
        let note = memory.known(1, HOST, NOW).unwrap();
        let text = serde_json::to_string(&note).unwrap();
        assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note);
    }
}
