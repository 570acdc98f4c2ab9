//! What the memory file needs to know about one kind of knowledge: its table, its changes and its export line.

use std::any::Any;

use rusqlite::{Connection, Transaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::StoreError;

/// Facts of a table.
pub(in crate::memory) struct TableSpec {
    pub(in crate::memory) name: &'static str,
    /// SQL that creates the table and its indexes if they are missing.
    pub(in crate::memory) schema: &'static str,
    /// SQL that updates the table of an older file, with the schema version to which it applies.
    pub(in crate::memory) upgrades: &'static [(i64, &'static str)],
    pub(in crate::memory) primary_key: &'static str,
    /// The column with the site or the host.
    pub(in crate::memory) name_column: &'static str,
    /// The column whose smallest values are the oldest rows.
    pub(in crate::memory) time_column: &'static str,
    /// A row is deleted this many seconds after the time in this column.
    pub(in crate::memory) expiry: (&'static str, i64),
    /// Above this number, the oldest tenth of the rows is deleted at once.
    pub(in crate::memory) max_rows: i64,
    /// The `kind` of its lines in an export. `None`: not exported.
    pub(in crate::memory) line_kind: Option<&'static str>,
    /// The key of its rows in JSON, and the heading of its lines; empty if they need none.
    pub(in crate::memory) json_key: &'static str,
    pub(in crate::memory) heading: &'static str,
}

/// The changes of one table that are not yet written, and how to write and show its rows.
pub(in crate::memory) trait Table: Any + Send {
    fn spec(&self) -> &'static TableSpec;

    /// Whether no change is pending.
    fn is_idle(&self) -> bool;

    /// Writes the pending changes. They stay pending until [`committed`](Self::committed).
    fn write(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError>;

    /// Drops the pending changes.
    fn discard(&mut self);

    /// Reports that the transaction of [`write`](Self::write) is committed.
    fn committed(&mut self) {
        self.discard();
    }

    /// Returns all rows as lines of an export.
    fn export(&self, connection: &Connection) -> Result<Vec<String>, StoreError> {
        let _ = connection;
        Ok(Vec::new())
    }

    /// Reads a line of an export and keeps its row for [`import`](Self::import).
    fn read_line(&mut self, line: &[u8], now: i64) -> Result<(), LineError> {
        let _ = (line, now);
        Err(LineError::Unknown { column: 0 })
    }

    /// Stores the rows that were read. The newer of two rows stays. Returns how many were stored.
    fn import(&mut self, transaction: &Transaction<'_>) -> Result<usize, StoreError> {
        let _ = transaction;
        Ok(0)
    }

    /// Returns the rows whose site or host `matches`, for `rungs memory show`.
    fn show(&self, connection: &Connection, matches: NameFilter<'_>, now: i64)
    -> Result<Section, StoreError>;
}

/// Selects rows by their site or host.
pub(in crate::memory) type NameFilter<'a> = &'a dyn Fn(&str) -> bool;

/// The rows of one table, for people and for programs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Section {
    /// The key of the rows in JSON.
    pub key: &'static str,
    /// The heading of the lines; empty if they need none.
    pub heading: &'static str,
    /// The rows.
    pub rows: Vec<serde_json::Value>,
    /// The rows as text, escaped for a terminal.
    pub lines: Vec<String>,
}

impl Section {
    /// Creates a section of serializable rows.
    pub(in crate::memory) fn new<R: Serialize>(spec: &TableSpec, rows: &[R], lines: Vec<String>) -> Self {
        let rows = rows.iter().map(|row| serde_json::json!(row)).collect();
        Self { key: spec.json_key, heading: spec.heading, rows, lines }
    }

    /// Creates a section without rows.
    pub(in crate::memory) const fn empty(spec: &TableSpec) -> Self {
        Self { key: spec.json_key, heading: spec.heading, rows: Vec::new(), lines: Vec::new() }
    }
}

/// Why a line of an export cannot be imported.
#[derive(Debug)]
pub(in crate::memory) enum LineError {
    /// The line is JSON, but not a row.
    Unknown { column: usize },
    /// The line is not JSON.
    NotJson { column: usize },
    /// A value is impossible.
    Invalid(&'static str),
}

/// Parses a line of an export. The error contains no text of the line: it may contain a cookie.
pub(in crate::memory) fn parse_line<L: DeserializeOwned>(line: &[u8]) -> Result<L, LineError> {
    serde_json::from_slice(line).map_err(|cause: serde_json::Error| match cause.classify() {
        serde_json::error::Category::Data => LineError::Unknown { column: cause.column() },
        _ => LineError::NotJson { column: cause.column() },
    })
}

/// Formats rows as lines of an export.
pub(in crate::memory) fn format_lines<L: Serialize>(rows: impl Iterator<Item = L>) -> Vec<String> {
    rows.filter_map(|row| serde_json::to_string(&row).ok()).collect()
}

/// Whether `text` of an imported line can be a name: neither empty nor long, without control characters.
pub(in crate::memory) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whether `text` of an imported line can be the first folder of a path.
pub(in crate::memory) fn is_path_prefix(text: &str) -> bool {
    is_name(text) && text.starts_with('/')
}

/// Whether the timestamp of an imported line is too far in the future.
pub(in crate::memory) const fn is_future(at: i64, now: i64) -> bool {
    at > now.saturating_add(MAX_CLOCK_SKEW)
}

/// All tables.
pub(in crate::memory) struct Tables(Vec<Box<dyn Table>>);

impl Tables {
    pub(in crate::memory) const fn new(tables: Vec<Box<dyn Table>>) -> Self {
        Self(tables)
    }

    pub(in crate::memory) fn iter(&self) -> impl Iterator<Item = &dyn Table> {
        self.0.iter().map(|table| &**table)
    }

    pub(in crate::memory) fn iter_mut(&mut self) -> impl Iterator<Item = &mut (dyn Table + 'static)> {
        self.0.iter_mut().map(|table| &mut **table)
    }

    /// Returns the table of this type.
    pub(in crate::memory) fn get_mut<T: Table>(&mut self) -> &mut T {
        let tables = self.0.iter_mut().map(|table| &mut **table as &mut dyn Any);
        tables.into_iter().find_map(<dyn Any>::downcast_mut).expect("every type of table is in the list")
    }
}

const MAX_NAME: usize = 512;
/// How far a timestamp may be in the future, in seconds: a day.
const MAX_CLOCK_SKEW: i64 = 24 * 60 * 60;
/// Rows without an update for this many seconds are deleted: 30 days.
pub(in crate::memory) const MAX_AGE: i64 = 30 * 24 * 60 * 60;
/// Maximum number of rows of a table that has rows for sections of sites.
pub(in crate::memory) const MAX_ROWS: i64 = 50_000;
/// Maximum number of pending changes of one table while the file cannot be written.
pub(in crate::memory) const MAX_PENDING: usize = 10_000;
