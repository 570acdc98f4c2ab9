//! Circuits: failing hosts, and when one request may try them again. Processes share them through the file.

use std::collections::HashMap;
use std::sync::Mutex;

use rusqlite::{Connection, Row, Transaction, params};
use serde::Serialize;

use super::error::StoreError;
use super::table::{MAX_PENDING, NameFilter, Section, Table, TableSpec};
use super::time::format_date;
use super::{HostMemory, MemoryFile, make_room};
use crate::error::Result;
use crate::error_kind::ErrorKind;
use crate::redact::escape_terminal;
use crate::sync::lock_unpoisoned;
use crate::tier::Tier;

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

/// What this process knows of the circuits in the file.
#[derive(Default)]
pub(super) struct CircuitCache {
    /// When the circuits of a host were last read from the file.
    checked: Mutex<HashMap<String, i64>>,
    /// End of the cooldown of each circuit that was already reported.
    reported: Mutex<HashMap<(String, Tier), i64>>,
}

impl HostMemory {
    /// Whether it is time to read the circuits of `host` from the file again.
    pub(crate) fn should_check_circuits(&self, host: &str) -> bool {
        let now = self.now();
        self.store.is_some()
            && lock_unpoisoned(&self.circuits.checked)
                .get(host)
                .is_none_or(|last| now.saturating_sub(*last) >= CHECK_INTERVAL)
    }

    /// Returns the circuits of `host` that other processes opened and that were not reported yet. Reads the file
    /// at most every five seconds per host.
    pub(crate) async fn new_circuits(&self, host: &str) -> Vec<Circuit> {
        let Some(store) = &self.store else { return Vec::new() };
        let now = self.now();
        {
            let mut checked = lock_unpoisoned(&self.circuits.checked);
            let last = make_room(&mut checked).entry(host.to_owned()).or_insert(i64::MIN);
            if now.saturating_sub(*last) < CHECK_INTERVAL {
                return Vec::new();
            }
            *last = now;
        }
        let name = host.to_owned();
        let mut circuits = store.read(move |connection| load_open(connection, Some(&name), now)).await;
        let mut reported = lock_unpoisoned(&self.circuits.reported);
        circuits.retain(|circuit: &Circuit| {
            let key = (circuit.host.clone(), circuit.tier);
            make_room(&mut reported).insert(key, circuit.until).is_none_or(|until| until < circuit.until)
        });
        circuits
    }

    /// Records that a circuit opened, for other processes.
    pub(crate) fn record_open_circuit(&self, circuit: Circuit) {
        let Some(store) = &self.store else { return };
        make_room(&mut lock_unpoisoned(&self.circuits.reported))
            .insert((circuit.host.clone(), circuit.tier), circuit.until);
        store.change(|table: &mut CircuitTable| table.add(CircuitUpdate::Open(circuit)));
    }

    /// Records that a circuit closed.
    pub(crate) fn record_closed_circuit(&self, host: &str, tier: Tier) {
        if let Some(store) = &self.store {
            let update = CircuitUpdate::Closed { host: host.to_owned(), tier };
            store.change(|table: &mut CircuitTable| table.add(update));
        }
    }
}

impl MemoryFile {
    /// Returns the open circuits of the hosts of `host`'s site, or of all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn circuits(&self, host: Option<&str>) -> Result<Vec<Circuit>> {
        self.read(host, |connection, matches, now| {
            let mut circuits = load_open(connection, None, now)?;
            circuits.retain(|circuit| matches(&circuit.host));
            Ok(circuits)
        })
    }
}

/// A change of a host's circuit on one tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CircuitUpdate {
    /// It opened, or a probe failed.
    Open(Circuit),
    /// It closed: the host answers again.
    Closed { host: String, tier: Tier },
}

/// Changes that are not yet in the file.
#[derive(Default)]
pub(super) struct CircuitTable {
    /// The newest change per host and tier.
    pending: HashMap<(String, Tier), CircuitUpdate>,
}

impl CircuitTable {
    pub(super) fn add(&mut self, update: CircuitUpdate) {
        let key = match &update {
            CircuitUpdate::Open(circuit) => (circuit.host.clone(), circuit.tier),
            CircuitUpdate::Closed { host, tier } => (host.clone(), *tier),
        };
        if self.pending.len() < MAX_PENDING {
            self.pending.insert(key, update);
        }
    }
}

impl Table for CircuitTable {
    fn spec(&self) -> &'static TableSpec {
        &SPEC
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// A circuit that was already open keeps its start time.
    fn write(&mut self, transaction: &Transaction<'_>) -> std::result::Result<(), StoreError> {
        for update in self.pending.values() {
            match update {
                CircuitUpdate::Closed { host, tier } => {
                    transaction.execute(
                        "DELETE FROM circuit WHERE host = ?1 AND tier = ?2",
                        params![host, tier.name()],
                    )?;
                }
                CircuitUpdate::Open(Circuit { host, tier, kind, faults, since, until, lasts }) => {
                    transaction.execute(
                        "INSERT INTO circuit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                         ON CONFLICT DO UPDATE SET kind = excluded.kind, faults = max(faults, excluded.faults),
                             since = iif(until + ?8 > excluded.since, since, excluded.since),
                             until = excluded.until, lasts = excluded.lasts
                         WHERE excluded.until >= until",
                        params![host, tier.name(), kind.name(), faults, since, until, lasts, STALE_AFTER],
                    )?;
                }
            }
        }
        Ok(())
    }

    fn discard(&mut self) {
        self.pending.clear();
    }

    fn show(
        &self,
        connection: &Connection,
        matches: NameFilter<'_>,
        now: i64,
    ) -> std::result::Result<Section, StoreError> {
        let mut circuits = load_open(connection, None, now)?;
        circuits.retain(|circuit| matches(&circuit.host));
        let lines = circuits.iter().map(|circuit| {
            format!(
                "  {}  {}  {} consecutive {} errors  open since {}  next probe {}",
                escape_terminal(&circuit.host),
                circuit.tier,
                circuit.faults,
                circuit.kind,
                format_date(circuit.since),
                format_date(circuit.until)
            )
        });
        let lines = lines.collect();
        Ok(Section::new(&SPEC, &circuits, lines))
    }
}

/// Returns the open circuits of `host`, or of all hosts.
pub(super) fn load_open(
    connection: &Connection,
    host: Option<&str>,
    now: i64,
) -> std::result::Result<Vec<Circuit>, StoreError> {
    let mut query = connection.prepare(
        "SELECT host, tier, kind, faults, since, until, lasts FROM circuit
         WHERE ?1 IS NULL OR host = ?1 ORDER BY host, tier",
    )?;
    let rows = query.query_map([host], parse_row)?.collect::<std::result::Result<Vec<_>, _>>()?;
    let is_open = |circuit: &Circuit| circuit.is_valid(now) && circuit.is_current(now);
    Ok(rows.into_iter().flatten().filter(is_open).collect())
}

/// Parses a row. Returns `None` for an unknown tier or kind.
fn parse_row(row: &Row<'_>) -> rusqlite::Result<Option<Circuit>> {
    let (tier, kind): (String, String) = (row.get(1)?, row.get(2)?);
    let kind = ErrorKind::ALL.into_iter().find(|known| known.name() == kind);
    let (Ok(tier), Some(kind)) = (tier.parse(), kind) else { return Ok(None) };
    Ok(Some(Circuit {
        host: row.get(0)?,
        tier,
        kind,
        faults: u32::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
        since: row.get(4)?,
        until: row.get(5)?,
        lasts: row.get(6)?,
    }))
}

const SPEC: TableSpec = TableSpec {
    name: "circuit",
    schema: "
        CREATE TABLE IF NOT EXISTS circuit (
            host TEXT NOT NULL, tier TEXT NOT NULL, kind TEXT NOT NULL, faults INTEGER NOT NULL,
            since INTEGER NOT NULL, until INTEGER NOT NULL, lasts INTEGER NOT NULL,
            PRIMARY KEY (host, tier)
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS circuit_until ON circuit (until);
    ",
    upgrades: &[],
    primary_key: "host, tier",
    name_column: "host",
    time_column: "until",
    expiry: ("until", STALE_AFTER),
    max_rows: 1_000,
    line_kind: None,
    json_key: "circuits",
    heading: "open circuits",
};
/// Interval at which the circuits of a host are read from the file, in seconds.
const CHECK_INTERVAL: i64 = 5;
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
