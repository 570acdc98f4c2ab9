//! The clearance of one identity at one host, and whether the impersonate tier can use it. Pure.

use serde::{Deserialize, Serialize};

use super::clearance::Clearance;

/// The clearance of one identity at one host. Plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClearanceState {
    /// Whether the impersonate tier got a page since the last browser visit.
    #[serde(rename = "proven")]
    pub(crate) was_used: bool,
    /// Whether the impersonate tier can use the clearance. If not, the host stays on the browser tier.
    #[serde(rename = "moves")]
    pub(crate) is_portable: bool,
    /// The newest clearance.
    pub(crate) clearance: Clearance,
    /// When this was learned, in seconds since 1970.
    pub(crate) learned: i64,
}

impl ClearanceState {
    /// Creates the state after a browser visit passed. The impersonate tier will try the clearance.
    pub(crate) const fn new(clearance: Clearance, now: i64) -> Self {
        Self { was_used: false, is_portable: true, clearance, learned: now }
    }

    /// Records that the impersonate tier got a page.
    pub(crate) fn mark_used(&mut self) {
        (self.was_used, self.is_portable) = (true, true);
    }

    /// Records that the impersonate tier was refused with the newest clearance. The clearance is not portable
    /// if it was fresh and has never been used. Returns whether this changed the state.
    pub(crate) fn mark_refused(&mut self, now: i64) -> bool {
        let is_unchanged =
            !self.is_portable || self.was_used || now.saturating_sub(self.learned) >= FRESH_FOR;
        if !is_unchanged {
            (self.is_portable, self.learned) = (false, now);
        }
        !is_unchanged
    }

    /// Whether the state still applies at `now`.
    pub(crate) fn is_current(&self, now: i64) -> bool {
        now < self.good_until()
    }

    /// Returns when the state stops to apply. A host on the browser tier is then tried on lower tiers again. A
    /// clearance without an expiry is not trusted forever. An expired one is remembered for a while.
    pub(crate) fn good_until(&self) -> i64 {
        let until = match self.clearance.until {
            _ if !self.is_portable => self.learned.saturating_add(NOT_PORTABLE_FOR),
            Some(until) => until.max(self.learned).saturating_add(EXPIRED_KEPT_FOR),
            None => self.learned.saturating_add(DEFAULT_LIFETIME),
        };
        until.min(self.learned.saturating_add(MAX_LIFETIME))
    }

    /// Whether a later process can use it.
    pub(crate) fn is_worth_keeping(&self, now: i64) -> bool {
        self.is_current(now) && (!self.is_portable || self.clearance.until.is_none_or(|until| until > now))
    }
}

/// How long a host stays on the browser tier, in seconds: an hour.
const NOT_PORTABLE_FOR: i64 = 60 * 60;
/// How long a clearance counts as fresh, in seconds: a minute. If it is refused later, it may have expired.
const FRESH_FOR: i64 = 60;
/// How long a clearance without an expiry is trusted, in seconds: a day.
const DEFAULT_LIFETIME: i64 = 24 * 60 * 60;
/// How long an expired clearance is remembered, in seconds: a day.
const EXPIRED_KEPT_FOR: i64 = 24 * 60 * 60;
/// Maximum lifetime of a clearance in seconds, whatever its cookies say: 30 days.
const MAX_LIFETIME: i64 = 30 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn clearance_state(until: Option<i64>) -> ClearanceState {
        ClearanceState::new(Clearance { cookies: vec!["pass".to_owned()], until }, NOW)
    }

    #[test]
    fn only_a_fresh_clearance_that_never_worked_is_not_portable() {
        for (worked, later, changed) in [(false, 0, true), (true, 0, false), (false, FRESH_FOR, false)] {
            let mut state = clearance_state(None);
            if worked {
                state.mark_used();
            }
            assert_eq!(state.mark_refused(NOW + later), changed, "{worked} {later}");
            assert_eq!(state.is_portable, !changed);
            assert!(!state.mark_refused(NOW + later), "the second refusal changes nothing");
        }
    }

    #[test]
    fn a_page_on_a_lower_tier_makes_a_clearance_portable_and_a_refusal_expires_after_an_hour() {
        let mut state = clearance_state(None);
        state.mark_refused(NOW + 5);
        assert!(
            state.is_current(NOW + 4 + NOT_PORTABLE_FOR) && !state.is_current(NOW + 5 + NOT_PORTABLE_FOR)
        );
        state.mark_used();
        assert!(state.is_portable && state.was_used);
    }

    #[test]
    fn an_expired_clearance_is_remembered_but_not_worth_keeping() {
        for (until, worthless_at, expired_at) in [
            (Some(NOW + 100), NOW + 100, NOW + 100 + EXPIRED_KEPT_FOR),
            (None, NOW + DEFAULT_LIFETIME, NOW + DEFAULT_LIFETIME),
            (Some(i64::MAX), NOW + MAX_LIFETIME, NOW + MAX_LIFETIME),
        ] {
            let state = clearance_state(until);
            assert!(
                state.is_worth_keeping(worthless_at - 1) && !state.is_worth_keeping(worthless_at),
                "{until:?}"
            );
            assert!(state.is_current(expired_at - 1) && !state.is_current(expired_at), "{until:?}");
        }
    }

    #[test]
    fn the_state_survives_serialization() {
        let state = clearance_state(Some(NOW));
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<ClearanceState>(&text).unwrap(), state);
    }
}
