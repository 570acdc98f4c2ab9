//! A host that fails, as it is told to other processes. Pure.

use serde::Serialize;

use crate::error_kind::ErrorKind;
use crate::tier::Tier;

/// A host that is left alone on one tier, because it failed too often in a row there. Times are seconds
/// since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Circuit {
    /// The host, with the port where that is not the scheme's own.
    pub host: String,
    /// The tier it fails on.
    pub tier: Tier,
    /// What its last fault was.
    pub kind: ErrorKind,
    /// How many there were in a row.
    pub faults: u32,
    /// Since when it is left alone.
    pub since: i64,
    /// When one request may try it again.
    pub until: i64,
    /// How long it was left alone last, in seconds; each request that fails then doubles it.
    pub lasts: i64,
}

impl Circuit {
    /// Whether it still says anything at `now`: what nobody tried for an hour is not known any more.
    pub(crate) const fn is_current(&self, now: i64) -> bool {
        now < self.until.saturating_add(STALE_AFTER)
    }

    /// Whether the numbers can be: what comes from a file is looked at.
    pub(crate) fn is_valid(&self, now: i64) -> bool {
        (1..=MAX_COOLDOWN).contains(&self.lasts)
            && self.since >= 0
            && self.until <= now.saturating_add(MAX_COOLDOWN)
    }
}

/// How long it is remembered that a host had to be tried again: an hour.
pub(super) const STALE_AFTER: i64 = 60 * 60;
/// No host is left alone for longer than five minutes at once.
const MAX_COOLDOWN: i64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    #[test]
    fn a_circuit_untried_for_an_hour_or_with_impossible_numbers_is_ignored() {
        let circuit = |until, lasts| Circuit {
            host: "a.example".to_owned(),
            tier: Tier::Plain,
            kind: ErrorKind::Connect,
            faults: 5,
            since: NOW - 10,
            until,
            lasts,
        };
        for (until, lasts, current, sound) in [
            (NOW + 10, 10, true, true),
            (NOW + 300, 300, true, true),
            (NOW - STALE_AFTER + 1, 10, true, true),
            (NOW - STALE_AFTER, 10, false, true),
            (NOW + 301, 300, true, false),
            (NOW, 0, true, false),
            (i64::MAX, 10, true, false),
        ] {
            let circuit = circuit(until, lasts);
            assert_eq!((circuit.is_current(NOW), circuit.is_valid(NOW)), (current, sound), "{until} {lasts}");
        }
    }
}
