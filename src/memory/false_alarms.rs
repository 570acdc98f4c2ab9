//! False alarms of the structural detector: the browser got the page that was refused on a lower tier.

use std::collections::HashMap;
use std::sync::Mutex;

use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::table::{
    LineError, MAX_AGE, MAX_PENDING, MAX_ROWS, NameFilter, Section, Table, TableSpec, format_lines,
    is_future, is_name, is_path_prefix, parse_line,
};
use super::time::format_date;
use super::{HostMemory, MemoryFile, SiteSection, make_room};
use crate::error::Result;
use crate::redact::escape_terminal;
use crate::sync::lock_unpoisoned;
use crate::verdict::VerdictKind;

/// A kind of verdict that was wrong about the pages of a site section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FalseAlarm {
    /// The site section.
    #[serde(flatten)]
    pub section: SiteSection,
    /// The kind.
    #[serde(rename = "verdict")]
    pub kind: VerdictKind,
    /// The size of the page in bytes.
    pub bytes: u64,
    /// When the browser got the page, in seconds since 1970.
    pub seen: i64,
}

impl FalseAlarm {
    /// Whether a page with `bytes` bytes is like the one that the browser got, and that was not long ago.
    pub(crate) fn covers(&self, bytes: u64, now: i64) -> bool {
        let (smallest, largest) = (self.bytes / 2, self.bytes.saturating_mul(2).saturating_add(SIZE_SLACK));
        (smallest..=largest).contains(&bytes) && now.saturating_sub(self.seen) < VALID_FOR
    }

    /// Whether the values are possible. Data from a file is not trusted.
    pub(super) fn is_valid(&self) -> bool {
        self.kind != VerdictKind::Genuine && self.seen >= 0
    }
}

/// The false alarms of this process, by site: at most one per path prefix and kind.
#[derive(Default)]
pub(super) struct FalseAlarmCache(Mutex<HashMap<String, Vec<FalseAlarm>>>);

impl FalseAlarmCache {
    /// Adds false alarms. Of two for the same section and kind, the newer stays.
    pub(super) fn add(&self, alarms: Vec<FalseAlarm>) {
        let mut sites = lock_unpoisoned(&self.0);
        for alarm in alarms {
            let known = make_room(&mut sites).entry(alarm.section.site.clone()).or_default();
            let is_same = |known: &FalseAlarm| known.section == alarm.section && known.kind == alarm.kind;
            if let Some(same) = known.iter_mut().find(|known| is_same(known)) {
                if same.seen < alarm.seen {
                    *same = alarm;
                }
                continue;
            }
            if known.len() >= MAX_CACHED {
                known.remove(0);
            }
            known.push(alarm);
        }
    }
}

impl HostMemory {
    /// Whether the browser got a page like this one, of `bytes` bytes, that was classified as `kind` too.
    pub(crate) fn is_false_alarm(&self, section: &SiteSection, kind: VerdictKind, bytes: u64) -> bool {
        let now = self.now();
        lock_unpoisoned(&self.false_alarms.0).get(&section.site).is_some_and(|alarms| {
            let is_same = |alarm: &FalseAlarm| alarm.section == *section && alarm.kind == kind;
            alarms.iter().any(|alarm| is_same(alarm) && alarm.covers(bytes, now))
        })
    }

    /// Records that the browser got a page that a lower tier refused as `kind`.
    pub(crate) fn record_false_alarm(&self, section: &SiteSection, kind: VerdictKind, bytes: u64) {
        let alarm = FalseAlarm { section: section.clone(), kind, bytes, seen: self.now() };
        self.false_alarms.add(vec![alarm.clone()]);
        if let Some(store) = &self.store {
            store.change(|table: &mut FalseAlarmTable| table.add(alarm));
        }
    }
}

impl MemoryFile {
    /// Returns the false alarms of `host`'s site, or of all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn false_alarms(&self, host: Option<&str>) -> Result<Vec<FalseAlarm>> {
        self.read(host, |connection, matches, _| {
            let mut alarms = load(connection, None)?;
            alarms.retain(|alarm| matches(&alarm.section.site));
            Ok(alarms)
        })
    }
}

/// False alarms that are not yet in the file.
#[derive(Default)]
pub(super) struct FalseAlarmTable {
    pending: Vec<FalseAlarm>,
    imported: Vec<FalseAlarm>,
}

impl FalseAlarmTable {
    fn add(&mut self, alarm: FalseAlarm) {
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

    fn write(&mut self, transaction: &Transaction<'_>) -> std::result::Result<(), StoreError> {
        put(transaction, &self.pending).map(drop)
    }

    fn discard(&mut self) {
        self.pending.clear();
    }

    fn export(&self, connection: &Connection) -> std::result::Result<Vec<String>, StoreError> {
        Ok(format_lines(load(connection, None)?.into_iter().map(FalseAlarmLine::Alarm)))
    }

    fn read_line(&mut self, line: &[u8], now: i64) -> std::result::Result<(), LineError> {
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

    fn import(&mut self, transaction: &Transaction<'_>) -> std::result::Result<usize, StoreError> {
        put(transaction, &self.imported)
    }

    fn show(
        &self,
        connection: &Connection,
        matches: NameFilter<'_>,
        _: i64,
    ) -> std::result::Result<Section, StoreError> {
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
fn put(transaction: &Transaction<'_>, alarms: &[FalseAlarm]) -> std::result::Result<usize, StoreError> {
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
pub(super) fn load(
    connection: &Connection,
    site: Option<&str>,
) -> std::result::Result<Vec<FalseAlarm>, StoreError> {
    let mut query = connection.prepare(
        "SELECT site, grp, kind, bytes, seen FROM false_alarm
         WHERE ?1 IS NULL OR site = ?1 ORDER BY site, grp, kind",
    )?;
    let rows = query.query_map([site], parse_row)?.collect::<std::result::Result<Vec<_>, _>>()?;
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
/// Maximum number of false alarms per site in the cache.
const MAX_CACHED: usize = 100;
/// After this many seconds the browser is asked again: a week.
const VALID_FOR: i64 = 7 * 24 * 60 * 60;
/// Number of bytes that a small page may vary.
const SIZE_SLACK: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_size_or_a_week_later_is_not_covered() {
        let section = SiteSection { site: "a.example".to_owned(), path_prefix: "/".to_owned() };
        let alarm = FalseAlarm { section, kind: VerdictKind::Challenge, bytes: 2000, seen: 100 };
        for (bytes, now, covered) in [
            (2000, 100, true),
            (1000, 100, true),
            (999, 100, false),
            (4256, 100, true),
            (4257, 100, false),
            (2000, 99 + VALID_FOR, true),
            (2000, 100 + VALID_FOR, false),
        ] {
            assert_eq!(alarm.covers(bytes, now), covered, "{bytes} {now}");
        }
        assert!(alarm.is_valid() && !FalseAlarm { kind: VerdictKind::Genuine, ..alarm }.is_valid());
    }
}
