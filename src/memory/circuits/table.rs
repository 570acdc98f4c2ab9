//! The table of open circuits.

use std::collections::HashMap;

use rusqlite::{Connection, Row, Transaction, params};

use super::super::file::StoreError;
use super::super::file::table::{MAX_PENDING, NameFilter, Section, Table, TableSpec};
use super::super::time::format_date;
use super::{Circuit, STALE_AFTER};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::tier::Tier;
use crate::text::redact::escape_terminal;

/// A change of a host's circuit on one tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::memory) enum CircuitUpdate {
    /// It opened, or a probe failed.
    Open(Circuit),
    /// It closed: the host answers again.
    Closed { host: String, tier: Tier },
}

/// Changes that are not yet in the file.
#[derive(Default)]
pub(in crate::memory) struct CircuitTable {
    /// The newest change per host and tier.
    pending: HashMap<(String, Tier), CircuitUpdate>,
}

impl CircuitTable {
    pub(in crate::memory) fn add(&mut self, update: CircuitUpdate) {
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
    fn write(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
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
    ) -> Result<Section, StoreError> {
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
pub(in crate::memory) fn load_open(
    connection: &Connection,
    host: Option<&str>,
    now: i64,
) -> Result<Vec<Circuit>, StoreError> {
    let mut query = connection.prepare(
        "SELECT host, tier, kind, faults, since, until, lasts FROM circuit
         WHERE ?1 IS NULL OR host = ?1 ORDER BY host, tier",
    )?;
    let rows = query.query_map([host], parse_row)?.collect::<Result<Vec<_>, _>>()?;
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
