//! What one identity holds for one host: its clearance, and whether that is any good a rung lower. Pure.

use serde::{Deserialize, Serialize};

use super::clearance::Clearance;

/// What is known of one host for one identity. Plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    /// Whether the impersonate tier got a page since the browser last had to.
    pub(crate) proven: bool,
    /// Whether what the browser earns is good one rung lower. When not, the browser keeps the host.
    pub(crate) moves: bool,
    /// What the browser earned last.
    pub(crate) clearance: Clearance,
    /// When this was learned, in seconds since 1970.
    pub(crate) learned: i64,
}

impl Note {
    /// The browser passed where the tiers below did not: what it earned is tried one rung lower.
    pub(crate) const fn cleared(clearance: Clearance, now: i64) -> Self {
        Self { proven: false, moves: true, clearance, learned: now }
    }

    /// The impersonate tier got a page.
    pub(crate) fn impersonated(&mut self) {
        (self.proven, self.moves) = (true, true);
    }

    /// The impersonate tier was refused with the newest clearance. Does clearance not move? So it is when
    /// that was straight after it was earned, and it never got anybody a page. Whether this is news.
    pub(crate) fn refused(&mut self, now: i64) -> bool {
        let moves = !self.moves || self.proven || now.saturating_sub(self.learned) >= FRESH;
        if !moves {
            (self.moves, self.learned) = (false, now);
        }
        !moves
    }

    /// Whether it still says anything at `now`.
    pub(crate) fn is_current(&self, now: i64) -> bool {
        now < self.good_until()
    }

    /// When it stops to say anything: a host that the browser keeps is tried again below, and a clearance
    /// that names no end is not trusted for ever. One that ran out is known as such for a while.
    pub(crate) fn good_until(&self) -> i64 {
        let until = match self.clearance.until {
            _ if !self.moves => self.learned.saturating_add(KEPT_FOR),
            Some(until) => until.max(self.learned).saturating_add(OVER_FOR),
            None => self.learned.saturating_add(CLEARED_FOR),
        };
        until.min(self.learned.saturating_add(LONGEST))
    }

    /// Whether a process that comes later has any use for it.
    pub(crate) fn is_worth_keeping(&self, now: i64) -> bool {
        self.is_current(now) && (!self.moves || self.clearance.until.is_none_or(|until| until > now))
    }
}

/// How long the browser keeps a host, in seconds: an hour.
const KEPT_FOR: i64 = 60 * 60;
/// How many seconds a clearance counts as fresh: refused later than that, it may have run out. A minute.
const FRESH: i64 = 60;
/// How long a clearance that names no end is believed: a day.
const CLEARED_FOR: i64 = 24 * 60 * 60;
/// How long it is known that a clearance ran out: a day.
const OVER_FOR: i64 = 24 * 60 * 60;
/// No clearance is believed for longer, whatever its cookies say: 30 days.
const LONGEST: i64 = 30 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn note(until: Option<i64>) -> Note {
        Note::cleared(Clearance { cookies: vec!["pass".to_owned()], until }, NOW)
    }

    #[test]
    fn only_a_fresh_clearance_that_never_worked_is_said_not_to_move() {
        for (worked, later, news) in [(false, 0, true), (true, 0, false), (false, FRESH, false)] {
            let mut note = note(None);
            if worked {
                note.impersonated();
            }
            assert_eq!(note.refused(NOW + later), news, "{worked} {later}");
            assert_eq!(note.moves, !news);
            assert!(!note.refused(NOW + later), "told once");
        }
    }

    #[test]
    fn a_page_below_shows_that_it_moves_after_all_and_an_hour_lets_it_be_tried() {
        let mut kept = note(None);
        kept.refused(NOW + 5);
        assert!(kept.is_current(NOW + 4 + KEPT_FOR) && !kept.is_current(NOW + 5 + KEPT_FOR));
        kept.impersonated();
        assert!(kept.moves && kept.proven);
    }

    #[test]
    fn a_note_outlives_its_clearance_only_to_say_that_it_is_over() {
        for (until, worth, current) in [
            (Some(NOW + 100), NOW + 100, NOW + 100 + OVER_FOR),
            (None, NOW + CLEARED_FOR, NOW + CLEARED_FOR),
            (Some(i64::MAX), NOW + LONGEST, NOW + LONGEST),
        ] {
            let note = note(until);
            assert!(note.is_worth_keeping(worth - 1) && !note.is_worth_keeping(worth), "{until:?}");
            assert!(note.is_current(current - 1) && !note.is_current(current), "{until:?}");
        }
    }

    #[test]
    fn a_note_survives_being_written_down() {
        let note = note(Some(NOW));
        let text = serde_json::to_string(&note).unwrap();
        assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note);
    }
}
