//! Circuits: failing hosts, and when one request may try them again. Processes share them through the file.

#[cfg(feature = "memory")]
mod shared;
#[cfg(feature = "memory")]
mod table;

use serde::Serialize;

use crate::exchange::error_kind::ErrorKind;
use crate::exchange::tier::Tier;

#[cfg(feature = "memory")]
pub(super) use shared::CircuitCache;
#[cfg(feature = "memory")]
pub(super) use table::CircuitTable;
#[cfg(all(test, feature = "memory"))]
pub(super) use table::{CircuitUpdate, load_open};

/// The open circuit of a host on one tier, after too many consecutive failures. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Circuit {
    /// The host, with its port unless that is the scheme's default.
    pub host: String,
    /// The tier it fails on.
    pub tier: Tier,
    /// The kind of the last failure.
    pub kind: ErrorKind,
    /// Number of consecutive failures.
    pub faults: u32,
    /// When the circuit opened.
    pub since: i64,
    /// When one request may probe the host.
    pub until: i64,
    /// The last cooldown, in seconds. Each failed probe doubles it.
    pub lasts: i64,
}

impl Circuit {
    /// Whether it still applies at `now`. A circuit that was not probed for an hour is ignored.
    pub(crate) const fn is_current(&self, now: i64) -> bool {
        now < self.until.saturating_add(STALE_AFTER)
    }

    /// Whether the numbers are possible. Data from a file is not trusted.
    pub(crate) fn is_valid(&self, now: i64) -> bool {
        (1..=MAX_COOLDOWN).contains(&self.lasts)
            && self.since >= 0
            && self.until <= now.saturating_add(MAX_COOLDOWN)
    }
}

/// How long a circuit is remembered after its cooldown, in seconds: an hour.
const STALE_AFTER: i64 = 60 * 60;
/// Maximum cooldown in seconds: five minutes.
const MAX_COOLDOWN: i64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    #[test]
    fn a_circuit_unprobed_for_an_hour_or_with_impossible_numbers_is_ignored() {
        let circuit = |until, lasts| Circuit {
            host: "a.example".to_owned(),
            tier: Tier::Plain,
            kind: ErrorKind::Connect,
            faults: 5,
            since: NOW - 10,
            until,
            lasts,
        };
        for (until, lasts, current, valid) in [
            (NOW + 10, 10, true, true),
            (NOW + 300, 300, true, true),
            (NOW - STALE_AFTER + 1, 10, true, true),
            (NOW - STALE_AFTER, 10, false, true),
            (NOW + 301, 300, true, false),
            (NOW, 0, true, false),
            (i64::MAX, 10, true, false),
        ] {
            let circuit = circuit(until, lasts);
            assert_eq!((circuit.is_current(NOW), circuit.is_valid(NOW)), (current, valid), "{until} {lasts}");
        }
    }
}
