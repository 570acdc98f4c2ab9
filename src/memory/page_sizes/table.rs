//! The table of page sizes.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::super::file::MemoryFile;
use super::super::file::StoreError;
use super::super::file::table::{
    LineError, MAX_AGE, MAX_PENDING, MAX_ROWS, NameFilter, Section, Table, TableSpec, format_lines,
    is_future, is_name, is_path_prefix, parse_line,
};
use super::super::make_room;
use super::super::site_section::SiteSection;
use super::SizeCache;
use super::model::{MarkupSource, PageSizeModel, SizeSample};
use crate::os::sync::lock_unpoisoned;
use crate::text::redact::escape_terminal;

/// The page sizes of one section, in one markup form.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::memory) struct SizeRow {
    pub(in crate::memory) section: SiteSection,
    pub(in crate::memory) form: MarkupSource,
    pub(in crate::memory) model: PageSizeModel,
}

/// One size measurement and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::memory) struct SizeUpdate {
    pub(in crate::memory) section: SiteSection,
    pub(in crate::memory) form: MarkupSource,
    pub(in crate::memory) sample: SizeSample,
    pub(in crate::memory) at: i64,
}

/// The page sizes of one site section, in one markup form.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SizeEntry {
    /// The site section.
    #[serde(flatten)]
    pub section: SiteSection,
    /// The markup that was measured.
    pub form: MarkupSource,
    /// The usual size in bytes, if known. A page of less than a tenth of it is a stub.
    pub usual_bytes: Option<u64>,
    /// The model behind the usual size.
    #[serde(flatten)]
    pub model: PageSizeModel,
}

impl SizeCache {
    /// Takes over rows of the file, unless this process has a newer model.
    pub(in crate::memory) fn apply(&self, rows: Vec<SizeRow>) {
        let mut sites = lock_unpoisoned(&self.0);
        for SizeRow { section: SiteSection { site, path_prefix }, form, model } in rows {
            let models = &mut make_room(&mut sites).entry(site).or_default()[form as usize];
            let known = models.entry(path_prefix).or_default();
            if known.seen <= model.seen {
                *known = model;
            }
        }
    }
}

impl MemoryFile {
    /// Returns the page sizes of `host`'s site, or of all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn page_sizes(&self, host: Option<&str>) -> crate::exchange::error::Result<Vec<SizeEntry>> {
        self.read(host, |connection, matches, _| Ok(entries(load(connection, None)?, matches)))
    }
}

/// A row in an export.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum SizeLine {
    Usual { site: String, group: String, form: MarkupSource, sizes: PageSizeModel },
}

/// Measurements that are not yet added to the file.
#[derive(Default)]
pub(in crate::memory) struct SizeTable {
    /// In chronological order.
    pending: Vec<SizeUpdate>,
    imported: Vec<SizeRow>,
}

impl SizeTable {
    pub(in crate::memory) fn add(&mut self, update: SizeUpdate) {
        if self.pending.len() < MAX_PENDING {
            self.pending.push(update);
        }
    }
}

impl Table for SizeTable {
    fn spec(&self) -> &'static TableSpec {
        &SPEC
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    fn write(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        for SizeUpdate { section, form, sample, at } in &self.pending {
            let model = load_model(transaction, section, *form)?.unwrap_or_default();
            let mut row = SizeRow { section: section.clone(), form: *form, model };
            row.model.learn(*sample, *at);
            put(transaction, &row)?;
        }
        Ok(())
    }

    fn discard(&mut self) {
        self.pending.clear();
    }

    fn export(&self, connection: &Connection) -> Result<Vec<String>, StoreError> {
        let rows = load(connection, None)?.into_iter();
        Ok(format_lines(rows.map(
            |SizeRow { section: SiteSection { site, path_prefix: group }, form, model: sizes }| {
                SizeLine::Usual { site, group, form, sizes }
            },
        )))
    }

    fn read_line(&mut self, line: &[u8], now: i64) -> Result<(), LineError> {
        let SizeLine::Usual { site, group, form, sizes } = parse_line(line)?;
        if !is_name(&site) || !is_path_prefix(&group) {
            return Err(LineError::Invalid("`site` or `group` is invalid"));
        }
        if !sizes.is_valid() || is_future(sizes.seen, now) {
            return Err(LineError::Invalid("`sizes` contains an impossible number"));
        }
        let section = SiteSection { site, path_prefix: group };
        self.imported.push(SizeRow { section, form, model: sizes });
        Ok(())
    }

    fn import(&mut self, transaction: &Transaction<'_>) -> Result<usize, StoreError> {
        let mut stored = 0;
        for row in &self.imported {
            let known = load_model(transaction, &row.section, row.form)?;
            if known.is_none_or(|known| known.seen < row.model.seen) {
                put(transaction, row)?;
                stored += 1;
            }
        }
        Ok(stored)
    }

    fn show(&self, connection: &Connection, matches: NameFilter<'_>, _: i64) -> Result<Section, StoreError> {
        let entries = entries(load(connection, None)?, matches);
        let lines = entries.iter().map(describe).collect();
        Ok(Section::new(&SPEC, &entries, lines))
    }
}

/// Returns the rows whose site `matches`, with their usual sizes.
fn entries(rows: Vec<SizeRow>, matches: NameFilter<'_>) -> Vec<SizeEntry> {
    let matching = rows.into_iter().filter(|row| matches(&row.section.site));
    let entries = matching.map(|SizeRow { section, form, model }| SizeEntry {
        section,
        form,
        usual_bytes: model.bytes(),
        model,
    });
    entries.collect()
}

fn describe(entry: &SizeEntry) -> String {
    let usual = match entry.usual_bytes {
        Some(bytes) => format!("usually {bytes} bytes"),
        None => "no usual size".to_owned(),
    };
    let section = escape_terminal(&entry.section.to_string());
    format!("  {section}  {}  {usual}  {} pages", entry.form.name(), entry.model.pages)
}

/// Returns the rows of `site`, or of all sites.
pub(in crate::memory) fn load(
    connection: &Connection,
    site: Option<&str>,
) -> Result<Vec<SizeRow>, StoreError> {
    let mut query = connection.prepare(
        "SELECT site, grp, form, pages, mean, spread, urls, doubts, seen FROM usual
         WHERE ?1 IS NULL OR site = ?1 ORDER BY site, grp, form",
    )?;
    let rows = query.query_map([site], parse_row)?.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

fn load_model(
    transaction: &Transaction<'_>,
    section: &SiteSection,
    form: MarkupSource,
) -> Result<Option<PageSizeModel>, StoreError> {
    let found = transaction
        .query_row(
            "SELECT site, grp, form, pages, mean, spread, urls, doubts, seen FROM usual
             WHERE site = ?1 AND grp = ?2 AND form = ?3",
            params![section.site, section.path_prefix, form.name()],
            parse_row,
        )
        .optional()?;
    Ok(found.flatten().map(|row| row.model))
}

fn put(transaction: &Transaction<'_>, row: &SizeRow) -> Result<(), StoreError> {
    let SizeRow { section: SiteSection { site, path_prefix }, form, model } = row;
    transaction.execute(
        "INSERT OR REPLACE INTO usual VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            site,
            path_prefix,
            form.name(),
            model.pages,
            model.mean,
            model.spread,
            model.urls.cast_signed(),
            model.doubts,
            model.seen
        ],
    )?;
    Ok(())
}

/// Parses a row. Returns `None` for an unknown form or impossible numbers.
fn parse_row(row: &Row<'_>) -> rusqlite::Result<Option<SizeRow>> {
    let name: String = row.get(2)?;
    let Some(form) = MarkupSource::ALL.into_iter().find(|form| form.name() == name) else { return Ok(None) };
    let count = |at| row.get::<_, i64>(at).map(|count| u32::try_from(count).unwrap_or(0));
    let model = PageSizeModel {
        pages: count(3)?,
        mean: row.get(4)?,
        spread: row.get(5)?,
        urls: row.get::<_, i64>(6)?.cast_unsigned(),
        doubts: count(7)?,
        seen: row.get(8)?,
    };
    let section = SiteSection { site: row.get(0)?, path_prefix: row.get(1)? };
    Ok(model.is_valid().then_some(SizeRow { section, form, model }))
}

const SPEC: TableSpec = TableSpec {
    name: "usual",
    schema: "
        CREATE TABLE IF NOT EXISTS usual (
            site TEXT NOT NULL, grp TEXT NOT NULL, form TEXT NOT NULL,
            pages INTEGER NOT NULL, mean REAL NOT NULL, spread REAL NOT NULL, urls INTEGER NOT NULL,
            doubts INTEGER NOT NULL, seen INTEGER NOT NULL,
            PRIMARY KEY (site, grp, form)
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS usual_seen ON usual (seen);
    ",
    upgrades: &[],
    primary_key: "site, grp, form",
    name_column: "site",
    time_column: "seen",
    expiry: ("seen", MAX_AGE),
    max_rows: MAX_ROWS,
    line_kind: Some("usual"),
    json_key: "sizes",
    heading: "sizes",
};
