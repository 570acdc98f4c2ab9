//! Two of the memory file's tables: usual sizes, and circuits.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::circuit::{Circuit, STALE};
use super::fault::Fault;
use super::usual::{Form, Measure, Usual};
use crate::kind::ErrorKind;
use crate::tier::Tier;

/// What was learned of the sizes in one area, in one form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pages {
    pub(super) site: String,
    pub(super) group: String,
    pub(super) form: Form,
    pub(super) usual: Usual,
}

/// One thing learned of a size, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) site: String,
    pub(super) group: String,
    pub(super) form: Form,
    pub(super) measure: Measure,
    pub(super) at: i64,
}

/// What became of a host on a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// It failed too often, or once more.
    Open(Circuit),
    /// It answered again.
    Closed { host: String, tier: Tier },
}

/// Adds what was measured to what is there.
pub(super) fn learn(write: &Transaction<'_>, measured: &[Measured]) -> Result<(), Fault> {
    for Measured { site, group, form, measure, at } in measured {
        let mut pages =
            Pages { site: site.clone(), group: group.clone(), form: *form, usual: Usual::default() };
        pages.usual = known(write, &pages)?.unwrap_or_default();
        pages.usual.learn(*measure, *at);
        put(write, &pages)?;
    }
    Ok(())
}

/// Puts in what another file held, where that is newer. How many lines were news.
pub(super) fn import(write: &Transaction<'_>, all: &[Pages]) -> Result<usize, Fault> {
    let mut news = 0;
    for pages in all {
        if known(write, pages)?.is_none_or(|known| known.seen < pages.usual.seen) {
            put(write, pages)?;
            news += 1;
        }
    }
    Ok(news)
}

/// The sizes of `site`, or of every one.
pub(super) fn of(connection: &Connection, site: Option<&str>) -> Result<Vec<Pages>, Fault> {
    let mut query = connection.prepare(
        "SELECT site, grp, form, pages, mean, spread, urls, doubts, seen FROM usual
         WHERE ?1 IS NULL OR site = ?1 ORDER BY site, grp, form",
    )?;
    let rows = query.query_map([site], pages)?.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// Writes down what became of hosts that fail. Who finds one open keeps its beginning.
pub(super) fn turn(write: &Transaction<'_>, turned: &[Turned]) -> Result<(), Fault> {
    for turned in turned {
        match turned {
            Turned::Closed { host, tier } => {
                write.execute(
                    "DELETE FROM circuit WHERE host = ?1 AND tier = ?2",
                    params![host, tier.name()],
                )?;
            }
            Turned::Open(Circuit { host, tier, kind, faults, since, until, lasts }) => {
                write.execute(
                    "INSERT INTO circuit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT DO UPDATE SET kind = excluded.kind, faults = max(faults, excluded.faults),
                         since = iif(until + ?8 > excluded.since, since, excluded.since),
                         until = excluded.until, lasts = excluded.lasts
                     WHERE excluded.until >= until",
                    params![host, tier.name(), kind.name(), faults, since, until, lasts, STALE],
                )?;
            }
        }
    }
    Ok(())
}

/// The circuits that are open, of `host` or of every one.
pub(super) fn open(connection: &Connection, host: Option<&str>, now: i64) -> Result<Vec<Circuit>, Fault> {
    let mut query = connection.prepare(
        "SELECT host, tier, kind, faults, since, until, lasts FROM circuit
         WHERE ?1 IS NULL OR host = ?1 ORDER BY host, tier",
    )?;
    let rows = query.query_map([host], circuit)?.collect::<Result<Vec<_>, _>>()?;
    let says = |circuit: &Circuit| circuit.is_sound(now) && circuit.is_current(now);
    Ok(rows.into_iter().flatten().filter(says).collect())
}

fn known(write: &Transaction<'_>, like: &Pages) -> Result<Option<Usual>, Fault> {
    let row = write
        .query_row(
            "SELECT site, grp, form, pages, mean, spread, urls, doubts, seen FROM usual
             WHERE site = ?1 AND grp = ?2 AND form = ?3",
            params![like.site, like.group, like.form.name()],
            pages,
        )
        .optional()?;
    Ok(row.flatten().map(|pages| pages.usual))
}

fn put(write: &Transaction<'_>, pages: &Pages) -> Result<(), Fault> {
    let Pages { site, group, form, usual } = pages;
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
fn pages(row: &Row<'_>) -> rusqlite::Result<Option<Pages>> {
    let name: String = row.get(2)?;
    let Some(form) = Form::ALL.into_iter().find(|form| form.name() == name) else { return Ok(None) };
    let count = |at| row.get::<_, i64>(at).map(|count| u32::try_from(count).unwrap_or(0));
    let usual = Usual {
        pages: count(3)?,
        mean: row.get(4)?,
        spread: row.get(5)?,
        urls: row.get::<_, i64>(6)?.cast_unsigned(),
        doubts: count(7)?,
        seen: row.get(8)?,
    };
    Ok(usual.is_sound().then_some(Pages { site: row.get(0)?, group: row.get(1)?, form, usual }))
}

fn circuit(row: &Row<'_>) -> rusqlite::Result<Option<Circuit>> {
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
