//! What one identity holds for one host: its clearance, and whether that is any good a rung lower. Pure.

use serde::{Deserialize, Serialize};

use super::clearance::Clearance;

/// What is known of one host for one identity. Plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClearanceState {
    /// Whether the impersonate tier got a page since the browser last had to.
    pub(crate) was_used: bool,
    /// Whether what the browser earns is good one rung lower. When not, the browser keeps the host.
    pub(crate) is_portable: bool,
    /// What the browser earned last.
    pub(crate) clearance: Clearance,
    /// When this was learned, in seconds since 1970.
    pub(crate) learned: i64,
}

impl ClearanceState {
    /// The browser passed where the tiers below did not: what it earned is tried one rung lower.
    pub(crate) const fn new(clearance: Clearance, now: i64) -> Self {
        Self { was_used: false, is_portable: true, clearance, learned: now }
    }

    /// The impersonate tier got a page.
    pub(crate) fn mark_used(&mut self) {
        (self.was_used, self.is_portable) = (true, true);
    }

    /// The impersonate tier was refused with the newest clearance. Does clearance not move? So it is when
    /// that was straight after it was earned, and it never got anybody a page. Whether this is news.
    pub(crate) fn mark_refused(&mut self, now: i64) -> bool {
        let moves = !self.is_portable || self.was_used || now.saturating_sub(self.learned) >= FRESH_FOR;
        if !moves {
            (self.is_portable, self.learned) = (false, now);
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
            _ if !self.is_portable => self.learned.saturating_add(NOT_PORTABLE_FOR),
            Some(until) => until.max(self.learned).saturating_add(EXPIRED_KEPT_FOR),
            None => self.learned.saturating_add(DEFAULT_LIFETIME),
        };
        until.min(self.learned.saturating_add(MAX_LIFETIME))
    }

    /// Whether a process that comes later has any use for it.
    pub(crate) fn is_worth_keeping(&self, now: i64) -> bool {
        self.is_current(now) && (!self.is_portable || self.clearance.until.is_none_or(|until| until > now))
    }
}

/// How long the browser keeps a host, in seconds: an hour.
const NOT_PORTABLE_FOR: i64 = 60 * 60;
/// How many seconds a clearance counts as fresh: refused later than that, it may have run out. A minute.
const FRESH_FOR: i64 = 60;
/// How long a clearance that names no end is believed: a day.
const DEFAULT_LIFETIME: i64 = 24 * 60 * 60;
/// How long it is known that a clearance ran out: a day.
const EXPIRED_KEPT_FOR: i64 = 24 * 60 * 60;
/// No clearance is believed for longer, whatever its cookies say: 30 days.
const MAX_LIFETIME: i64 = 30 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn clearance_state(until: Option<i64>) -> ClearanceState {
        ClearanceState::new(Clearance { cookies: vec!["pass".to_owned()], until }, NOW)
    }

    #[test]
    fn only_a_fresh_clearance_that_never_worked_is_said_not_to_move() {
        for (worked, later, news) in [(false, 0, true), (true, 0, false), (false, FRESH_FOR, false)] {
            let mut note = clearance_state(None);
            if worked {
                note.mark_used();
            }
            assert_eq!(note.mark_refused(NOW + later), news, "{worked} {later}");
            assert_eq!(note.is_portable, !news);
            assert!(!note.mark_refused(NOW + later), "told once");
        }
    }

    #[test]
    fn a_page_below_shows_that_it_moves_after_all_and_an_hour_lets_it_be_tried() {
        let mut kept = clearance_state(None);
        kept.mark_refused(NOW + 5);
        assert!(kept.is_current(NOW + 4 + NOT_PORTABLE_FOR) && !kept.is_current(NOW + 5 + NOT_PORTABLE_FOR));
        kept.mark_used();
        assert!(kept.is_portable && kept.was_used);
    }

    #[test]
    fn a_note_outlives_its_clearance_only_to_say_that_it_is_over() {
        for (until, worth, current) in [
            (Some(NOW + 100), NOW + 100, NOW + 100 + EXPIRED_KEPT_FOR),
            (None, NOW + DEFAULT_LIFETIME, NOW + DEFAULT_LIFETIME),
            (Some(i64::MAX), NOW + MAX_LIFETIME, NOW + MAX_LIFETIME),
        ] {
            let note = clearance_state(until);
            assert!(note.is_worth_keeping(worth - 1) && !note.is_worth_keeping(worth), "{until:?}");
            assert!(note.is_current(current - 1) && !note.is_current(current), "{until:?}");
        }
    }

    #[test]
    fn a_note_survives_being_written_down() {
        let note = clearance_state(Some(NOW));
        let text = serde_json::to_string(&note).unwrap();
        assert_eq!(serde_json::from_str::<ClearanceState>(&text).unwrap(), note);
    }
}
