//! Two tables of the memory file: page sizes and circuits.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::circuit::{Circuit, STALE_AFTER};
use super::error::StoreError;
use super::page_size::{MarkupSource, PageSizeModel, SizeSample};
use crate::error_kind::ErrorKind;
use crate::tier::Tier;

/// The page sizes of one section, in one markup form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SizeRow {
    pub(super) site: String,
    pub(super) path_prefix: String,
    pub(super) form: MarkupSource,
    pub(super) model: PageSizeModel,
}

/// One size measurement and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SizeUpdate {
    pub(super) site: String,
    pub(super) path_prefix: String,
    pub(super) form: MarkupSource,
    pub(super) sample: SizeSample,
    pub(super) at: i64,
}

/// A change of a host's circuit on one tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CircuitUpdate {
    /// It opened, or a probe failed.
    Open(Circuit),
    /// It closed: the host answers again.
    Closed { host: String, tier: Tier },
}

/// Adds measurements to the stored models.
pub(super) fn add_sizes(write: &Transaction<'_>, updates: &[SizeUpdate]) -> Result<(), StoreError> {
    for SizeUpdate { site, path_prefix, form, sample, at } in updates {
        let mut row = SizeRow {
            site: site.clone(),
            path_prefix: path_prefix.clone(),
            form: *form,
            model: PageSizeModel::default(),
        };
        row.model = load_model(write, &row)?.unwrap_or_default();
        row.model.learn(*sample, *at);
        put_sizes(write, &row)?;
    }
    Ok(())
}

/// Stores the rows of another file that are newer. Returns how many were stored.
pub(super) fn import_sizes(write: &Transaction<'_>, rows: &[SizeRow]) -> Result<usize, StoreError> {
    let mut stored = 0;
    for row in rows {
        if load_model(write, row)?.is_none_or(|known| known.seen < row.model.seen) {
            put_sizes(write, row)?;
            stored += 1;
        }
    }
    Ok(stored)
}

/// Returns the page sizes of `site`, or of all sites.
pub(super) fn load_sizes(connection: &Connection, site: Option<&str>) -> Result<Vec<SizeRow>, StoreError> {
    let mut query = connection.prepare(
        "SELECT site, grp, form, pages, mean, spread, urls, doubts, seen FROM usual
         WHERE ?1 IS NULL OR site = ?1 ORDER BY site, grp, form",
    )?;
    let rows = query.query_map([site], parse_size_row)?.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// Stores changes of circuits. A circuit that was already open keeps its start time.
pub(super) fn write_circuits(write: &Transaction<'_>, updates: &[CircuitUpdate]) -> Result<(), StoreError> {
    for update in updates {
        match update {
            CircuitUpdate::Closed { host, tier } => {
                write.execute(
                    "DELETE FROM circuit WHERE host = ?1 AND tier = ?2",
                    params![host, tier.name()],
                )?;
            }
            CircuitUpdate::Open(Circuit { host, tier, kind, faults, since, until, lasts }) => {
                write.execute(
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

/// Returns the open circuits of `host`, or of all hosts.
pub(super) fn load_open_circuits(
    connection: &Connection,
    host: Option<&str>,
    now: i64,
) -> Result<Vec<Circuit>, StoreError> {
    let mut query = connection.prepare(
        "SELECT host, tier, kind, faults, since, until, lasts FROM circuit
         WHERE ?1 IS NULL OR host = ?1 ORDER BY host, tier",
    )?;
    let rows = query.query_map([host], parse_circuit_row)?.collect::<Result<Vec<_>, _>>()?;
    let is_open = |circuit: &Circuit| circuit.is_valid(now) && circuit.is_current(now);
    Ok(rows.into_iter().flatten().filter(is_open).collect())
}

fn load_model(write: &Transaction<'_>, row: &SizeRow) -> Result<Option<PageSizeModel>, StoreError> {
    let found = write
        .query_row(
            "SELECT site, grp, form, pages, mean, spread, urls, doubts, seen FROM usual
             WHERE site = ?1 AND grp = ?2 AND form = ?3",
            params![row.site, row.path_prefix, row.form.name()],
            parse_size_row,
        )
        .optional()?;
    Ok(found.flatten().map(|row| row.model))
}

fn put_sizes(write: &Transaction<'_>, row: &SizeRow) -> Result<(), StoreError> {
    let SizeRow { site, path_prefix, form, model } = row;
    write.execute(
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
fn parse_size_row(row: &Row<'_>) -> rusqlite::Result<Option<SizeRow>> {
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
    Ok(model.is_valid().then_some(SizeRow { site: row.get(0)?, path_prefix: row.get(1)?, form, model }))
}

fn parse_circuit_row(row: &Row<'_>) -> rusqlite::Result<Option<Circuit>> {
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
