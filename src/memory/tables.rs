//! Two of the memory file's tables: usual sizes, and circuits.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::circuit::{Circuit, STALE_AFTER};
use super::error::StoreError;
use super::page_size::{MarkupSource, PageSizeModel, SizeSample};
use crate::error_kind::ErrorKind;
use crate::tier::Tier;

/// What was learned of the sizes in one area, in one form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SizeRow {
    pub(super) site: String,
    pub(super) path_prefix: String,
    pub(super) form: MarkupSource,
    pub(super) model: PageSizeModel,
}

/// One thing learned of a size, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SizeUpdate {
    pub(super) site: String,
    pub(super) path_prefix: String,
    pub(super) form: MarkupSource,
    pub(super) sample: SizeSample,
    pub(super) at: i64,
}

/// What became of a host on a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CircuitUpdate {
    /// It failed too often, or once more.
    Open(Circuit),
    /// It answered again.
    Closed { host: String, tier: Tier },
}

/// Adds what was measured to what is there.
pub(super) fn add_sizes(write: &Transaction<'_>, measured: &[SizeUpdate]) -> Result<(), StoreError> {
    for SizeUpdate { site, path_prefix: group, form, sample: measure, at } in measured {
        let mut pages = SizeRow {
            site: site.clone(),
            path_prefix: group.clone(),
            form: *form,
            model: PageSizeModel::default(),
        };
        pages.model = load_model(write, &pages)?.unwrap_or_default();
        pages.model.learn(*measure, *at);
        put_sizes(write, &pages)?;
    }
    Ok(())
}

/// Puts in what another file held, where that is newer. How many lines were news.
pub(super) fn import_sizes(write: &Transaction<'_>, all: &[SizeRow]) -> Result<usize, StoreError> {
    let mut news = 0;
    for pages in all {
        if load_model(write, pages)?.is_none_or(|known| known.seen < pages.model.seen) {
            put_sizes(write, pages)?;
            news += 1;
        }
    }
    Ok(news)
}

/// The sizes of `site`, or of every one.
pub(super) fn load_sizes(connection: &Connection, site: Option<&str>) -> Result<Vec<SizeRow>, StoreError> {
    let mut query = connection.prepare(
        "SELECT site, grp, form, pages, mean, spread, urls, doubts, seen FROM usual
         WHERE ?1 IS NULL OR site = ?1 ORDER BY site, grp, form",
    )?;
    let rows = query.query_map([site], parse_size_row)?.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// Writes down what became of hosts that fail. Who finds one open keeps its beginning.
pub(super) fn write_circuits(write: &Transaction<'_>, turned: &[CircuitUpdate]) -> Result<(), StoreError> {
    for turned in turned {
        match turned {
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

/// The circuits that are open, of `host` or of every one.
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
    let says = |circuit: &Circuit| circuit.is_valid(now) && circuit.is_current(now);
    Ok(rows.into_iter().flatten().filter(says).collect())
}

fn load_model(write: &Transaction<'_>, like: &SizeRow) -> Result<Option<PageSizeModel>, StoreError> {
    let row = write
        .query_row(
            "SELECT site, grp, form, pages, mean, spread, urls, doubts, seen FROM usual
             WHERE site = ?1 AND grp = ?2 AND form = ?3",
            params![like.site, like.path_prefix, like.form.name()],
            parse_size_row,
        )
        .optional()?;
    Ok(row.flatten().map(|pages| pages.model))
}

fn put_sizes(write: &Transaction<'_>, pages: &SizeRow) -> Result<(), StoreError> {
    let SizeRow { site, path_prefix: group, form, model: usual } = pages;
    write.execute(
        "INSERT OR REPLACE INTO usual VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            site,
            group,
            form.name(),
            usual.pages,
            usual.mean,
            usual.spread,
            usual.urls.cast_signed(),
            usual.doubts,
            usual.seen
        ],
    )?;
    Ok(())
}

/// A row, where this version understands it and its numbers can be.
fn parse_size_row(row: &Row<'_>) -> rusqlite::Result<Option<SizeRow>> {
    let name: String = row.get(2)?;
    let Some(form) = MarkupSource::ALL.into_iter().find(|form| form.name() == name) else { return Ok(None) };
    let count = |at| row.get::<_, i64>(at).map(|count| u32::try_from(count).unwrap_or(0));
    let usual = PageSizeModel {
        pages: count(3)?,
        mean: row.get(4)?,
        spread: row.get(5)?,
        urls: row.get::<_, i64>(6)?.cast_unsigned(),
        doubts: count(7)?,
        seen: row.get(8)?,
    };
    Ok(usual.is_valid().then_some(SizeRow {
        site: row.get(0)?,
        path_prefix: row.get(1)?,
        form,
        model: usual,
    }))
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
