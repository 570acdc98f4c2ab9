//! What was learned of a host: the tier to start at. In this process only, and it decays.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::tier::Tier;
use crate::trace::Trace;

#[derive(Default)]
pub(crate) struct Memory(Mutex<HashMap<String, Note>>);

#[derive(Clone, Copy, Debug)]
struct Note {
    lesson: Lesson,
    learned: Instant,
}

/// Where to start, and whether the impersonate tier got a page since the browser last had to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lesson {
    start: Tier,
    proven: bool,
}

impl Memory {
    /// The tier to start `host` at for the session `session`, or `None` when nothing is known.
    pub(crate) fn start(&self, session: u64, host: &str) -> Option<Tier> {
        self.known(session, host).map(|lesson| lesson.start)
    }

    /// Learns from a fetch that ended well.
    pub(crate) fn learn(&self, session: u64, host: &str, trace: &Trace) {
        let attempts = trace.attempts();
        let (Some(first), Some(last)) = (attempts.first(), attempts.last()) else { return };
        let known = self.known(session, host);
        let Some(lesson) = lesson(known, first.tier, last.tier) else { return };
        if known != Some(lesson) {
            self.note(session, host, lesson);
        }
    }

    /// Learns that a clearance fresh from the browser was no good one rung lower.
    pub(crate) fn does_not_move(&self, session: u64, host: &str) {
        self.note(session, host, Lesson { start: Tier::Browser, proven: false });
    }

    fn note(&self, session: u64, host: &str, lesson: Lesson) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() >= MAX_HOSTS {
            notes.retain(|_, note| note.learned.elapsed() < FORGET_AFTER / 4);
        }
        if notes.len() >= MAX_HOSTS {
            // All of them new: half are forgotten at once, rather than one a fetch.
            let mut keep = false;
            notes.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        notes.insert(key(session, host), Note { lesson, learned: Instant::now() });
    }

    fn known(&self, session: u64, host: &str) -> Option<Lesson> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let note = notes.get(&key(session, host))?;
        (note.learned.elapsed() < FORGET_AFTER).then_some(note.lesson)
    }
}

/// What a fetch that started at `first` and got its page at `won` teaches. Pure.
///
/// A page that only the browser got leaves its clearance in the identity, so the next one starts
/// one rung lower. When that is challenged before it ever worked, clearance does not move for this
/// host, and the browser keeps it.
fn lesson(known: Option<Lesson>, first: Tier, won: Tier) -> Option<Lesson> {
    match (first, won) {
        (_, Tier::Plain) | (Tier::Browser, _) => None,
        (_, Tier::Impersonate) => Some(Lesson { start: Tier::Impersonate, proven: true }),
        (Tier::Impersonate, Tier::Browser) if known.is_some_and(|known| !known.proven) => {
            Some(Lesson { start: Tier::Browser, proven: false })
        }
        (_, Tier::Browser) => Some(Lesson { start: Tier::Impersonate, proven: false }),
    }
}

fn key(session: u64, host: &str) -> String {
    format!("{session} {host}")
}

/// After this a cheaper tier is tried again: sites relax.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);
const MAX_HOSTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Attempt;

    fn trace(tiers: &[Tier]) -> Trace {
        let mut trace = Trace::default();
        for tier in tiers {
            trace.push(Attempt {
                tier: *tier,
                browser_profile: None,
                proxy: None,
                status: Some(200),
                verdict: None,
                elapsed: Duration::ZERO,
                error: None,
                next: None,
            });
        }
        trace
    }

    #[tokio::test]
    async fn what_the_browser_earned_is_used_one_rung_lower() {
        let memory = Memory::default();
        assert_eq!(memory.start(1, "a.example"), None);
        memory.learn(1, "a.example", &trace(&[Tier::Plain, Tier::Impersonate, Tier::Browser]));
        assert_eq!(memory.start(1, "a.example"), Some(Tier::Impersonate));
        assert_eq!(memory.start(2, "a.example"), None, "another session has no clearance");
        memory.learn(1, "a.example", &trace(&[Tier::Impersonate]));
        assert_eq!(memory.start(1, "a.example"), Some(Tier::Impersonate));
    }

    #[tokio::test]
    async fn a_host_whose_clearance_does_not_move_stays_with_the_browser() {
        let memory = Memory::default();
        memory.learn(1, "a.example", &trace(&[Tier::Plain, Tier::Impersonate, Tier::Browser]));
        memory.learn(1, "a.example", &trace(&[Tier::Impersonate, Tier::Browser]));
        assert_eq!(memory.start(1, "a.example"), Some(Tier::Browser));
    }

    #[tokio::test]
    async fn a_clearance_that_ran_out_is_earned_again_and_moves_down_again() {
        let memory = Memory::default();
        memory.learn(1, "a.example", &trace(&[Tier::Plain, Tier::Impersonate, Tier::Browser]));
        memory.learn(1, "a.example", &trace(&[Tier::Impersonate]));
        memory.learn(1, "a.example", &trace(&[Tier::Impersonate, Tier::Browser]));
        assert_eq!(memory.start(1, "a.example"), Some(Tier::Impersonate));
    }

    #[tokio::test]
    async fn no_more_hosts_are_remembered_than_allowed() {
        let memory = Memory::default();
        for host in 0..=MAX_HOSTS {
            memory.learn(1, &host.to_string(), &trace(&[Tier::Plain, Tier::Impersonate]));
        }
        assert!(memory.0.lock().unwrap().len() <= MAX_HOSTS);
        assert_eq!(memory.start(1, &MAX_HOSTS.to_string()), Some(Tier::Impersonate));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lesson_is_forgotten_after_an_hour() {
        let memory = Memory::default();
        memory.learn(1, "a.example", &trace(&[Tier::Plain, Tier::Impersonate]));
        tokio::time::advance(FORGET_AFTER).await;
        assert_eq!(memory.start(1, "a.example"), None);
    }
}
