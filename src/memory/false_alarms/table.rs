//! The table of false alarms.

use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::super::file::MemoryFile;
use super::super::file::StoreError;
use super::super::file::table::{
    LineError, MAX_AGE, MAX_PENDING, MAX_ROWS, NameFilter, Section, Table, TableSpec, format_lines,
    is_future, is_name, is_path_prefix, parse_line,
};
use super::super::site_section::SiteSection;
use super::super::time::format_date;
use super::FalseAlarm;
use crate::text::redact::escape_terminal;

impl MemoryFile {
    /// Returns the false alarms of `host`'s site, or of all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn false_alarms(&self, host: Option<&str>) -> crate::exchange::error::Result<Vec<FalseAlarm>> {
        self.read(host, |connection, matches, _| {
            let mut alarms = load(connection, None)?;
            alarms.retain(|alarm| matches(&alarm.section.site));
            Ok(alarms)
        })
    }
}

/// False alarms that are not yet in the file.
#[derive(Default)]
pub(in crate::memory) struct FalseAlarmTable {
    pending: Vec<FalseAlarm>,
    imported: Vec<FalseAlarm>,
}

impl FalseAlarmTable {
    pub(super) fn add(&mut self, alarm: FalseAlarm) {
        if self.pending.len() < MAX_PENDING {
            self.pending.push(alarm);
        }
    }
}

/// A row in an export.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum FalseAlarmLine {
    Alarm(FalseAlarm),
}

impl Table for FalseAlarmTable {
    fn spec(&self) -> &'static TableSpec {
        &SPEC
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    fn write(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        put(transaction, &self.pending).map(drop)
    }

    fn discard(&mut self) {
        self.pending.clear();
    }

    fn export(&self, connection: &Connection) -> Result<Vec<String>, StoreError> {
        Ok(format_lines(load(connection, None)?.into_iter().map(FalseAlarmLine::Alarm)))
    }

    fn read_line(&mut self, line: &[u8], now: i64) -> Result<(), LineError> {
        let FalseAlarmLine::Alarm(alarm) = parse_line(line)?;
        if !is_name(&alarm.section.site) || !is_path_prefix(&alarm.section.path_prefix) {
            return Err(LineError::Invalid("`site` or `group` is invalid"));
        }
        if !alarm.is_valid() || is_future(alarm.seen, now) {
            return Err(LineError::Invalid("the false alarm contains an impossible value"));
        }
        self.imported.push(alarm);
        Ok(())
    }

    fn import(&mut self, transaction: &Transaction<'_>) -> Result<usize, StoreError> {
        put(transaction, &self.imported)
    }

    fn show(&self, connection: &Connection, matches: NameFilter<'_>, _: i64) -> Result<Section, StoreError> {
        let mut alarms = load(connection, None)?;
        alarms.retain(|alarm| matches(&alarm.section.site));
        let lines = alarms.iter().map(|alarm| {
            let section = escape_terminal(&alarm.section.to_string());
            let (kind, bytes, seen) = (alarm.kind, alarm.bytes, format_date(alarm.seen));
            format!("  {section}  {kind}  {bytes} bytes  the browser got the same page {seen}")
        });
        let lines = lines.collect();
        Ok(Section::new(&SPEC, &alarms, lines))
    }
}

/// Stores false alarms. Of two for the same section and kind, the newer stays. Returns how many were stored.
fn put(transaction: &Transaction<'_>, alarms: &[FalseAlarm]) -> Result<usize, StoreError> {
    let mut stored = 0;
    for FalseAlarm { section: SiteSection { site, path_prefix }, kind, bytes, seen } in alarms {
        stored += transaction.execute(
            "INSERT INTO false_alarm VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET bytes = excluded.bytes, seen = excluded.seen WHERE excluded.seen > seen",
            params![site, path_prefix, kind.name(), i64::try_from(*bytes).unwrap_or(i64::MAX), seen],
        )?;
    }
    Ok(stored)
}

/// Returns the false alarms of `site`, or of all sites.
pub(in crate::memory) fn load(
    connection: &Connection,
    site: Option<&str>,
) -> Result<Vec<FalseAlarm>, StoreError> {
    let mut query = connection.prepare(
        "SELECT site, grp, kind, bytes, seen FROM false_alarm
         WHERE ?1 IS NULL OR site = ?1 ORDER BY site, grp, kind",
    )?;
    let rows = query.query_map([site], parse_row)?.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().flatten().filter(FalseAlarm::is_valid).collect())
}

/// Parses a row. Returns `None` for an unknown kind.
fn parse_row(row: &Row<'_>) -> rusqlite::Result<Option<FalseAlarm>> {
    let name: String = row.get(2)?;
    let Ok(kind) = serde_json::from_value(serde_json::Value::String(name)) else { return Ok(None) };
    let section = SiteSection { site: row.get(0)?, path_prefix: row.get(1)? };
    let bytes = u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
    Ok(Some(FalseAlarm { section, kind, bytes, seen: row.get(4)? }))
}

const SPEC: TableSpec = TableSpec {
    name: "false_alarm",
    schema: "
        CREATE TABLE IF NOT EXISTS false_alarm (
            site TEXT NOT NULL, grp TEXT NOT NULL, kind TEXT NOT NULL, bytes INTEGER NOT NULL, seen INTEGER NOT NULL,
            PRIMARY KEY (site, grp, kind)
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS false_alarm_seen ON false_alarm (seen);
    ",
    upgrades: &[],
    primary_key: "site, grp, kind",
    name_column: "site",
    time_column: "seen",
    expiry: ("seen", MAX_AGE),
    max_rows: MAX_ROWS,
    line_kind: Some("alarm"),
    json_key: "false_alarms",
    heading: "false alarms",
};
