//! The table of tier statistics.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::super::file::MemoryFile;
use super::super::file::StoreError;
use super::super::file::table::{
    LineError, MAX_AGE, MAX_PENDING, MAX_ROWS, NameFilter, Section, Table, TableSpec, format_lines,
    is_future, is_name, is_path_prefix, parse_line,
};
use super::super::site_section::SiteSection;
use super::super::time::format_date;
use super::stats::{StatKey, TierMode};
use super::tally::{DecayingTally, TierStatus};
use super::{TierCache, site_mut};
use crate::text::redact::escape_terminal;

/// The tally of one tier mode in one site section with one browser profile.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::memory) struct TierRow {
    pub(in crate::memory) site: String,
    pub(in crate::memory) key: StatKey,
    pub(in crate::memory) tally: DecayingTally,
}

/// Results of one tier mode in one site section. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TierEntry {
    /// The site section.
    #[serde(flatten)]
    pub section: SiteSection,
    /// The tier mode.
    #[serde(rename = "rung")]
    pub mode: TierMode,
    /// The browser profile; `plain` on the plain tier.
    pub profile: String,
    /// `works`, `refused`, or `forgotten` if the results have decayed.
    pub state: &'static str,
    /// When a refused tier is probed.
    #[serde(rename = "ask_again")]
    pub retry_at: Option<i64>,
    /// The counts.
    #[serde(flatten)]
    pub tally: DecayingTally,
}

impl TierCache {
    /// Takes over the tallies of all processes. With `new_sites`, also those of sites that are not in the cache.
    pub(in crate::memory) fn apply(&self, rows: Vec<TierRow>, new_sites: bool) {
        let mut sites = self.lock();
        for TierRow { site, key, tally } in rows {
            if new_sites {
                site_mut(&mut sites, &site).stats.set(key, tally);
            } else if let Some(site) = sites.get_mut(&site) {
                site.stats.set(key, tally);
            }
        }
    }

    /// Returns the tallies of a site.
    #[cfg(test)]
    pub(in crate::memory) fn rows(&self, site: &str) -> Vec<TierRow> {
        let sites = self.lock();
        let tallies = sites.get(site).into_iter().flat_map(|site| site.stats.tallies());
        tallies
            .map(|(key, tally)| TierRow { site: site.to_owned(), key: key.clone(), tally: *tally })
            .collect()
    }
}

impl MemoryFile {
    /// Returns the tier statistics of `host`'s site, or of all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn tiers(&self, host: Option<&str>) -> crate::exchange::error::Result<Vec<TierEntry>> {
        self.read(host, |connection, matches, now| Ok(entries(load(connection, None)?, matches, now)))
    }
}

/// A row in an export.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum TierLine {
    Evidence { site: String, group: String, rung: TierMode, profile: String, tally: DecayingTally },
}

/// Results that are not yet added to the file.
#[derive(Default)]
pub(in crate::memory) struct TierTable {
    pending: HashMap<(String, StatKey), DecayingTally>,
    /// The tallies of all processes after the last write.
    sums: Vec<TierRow>,
    imported: Vec<TierRow>,
    /// Takes over the sums.
    cache: Option<Arc<TierCache>>,
}

impl TierTable {
    pub(in crate::memory) fn new(cache: Option<Arc<TierCache>>) -> Self {
        Self { cache, ..Self::default() }
    }

    pub(in crate::memory) fn add(&mut self, row: TierRow) {
        if self.pending.len() < MAX_PENDING {
            let tally = self.pending.entry((row.site, row.key)).or_default();
            *tally = tally.merge(row.tally);
        }
    }
}

impl Table for TierTable {
    fn spec(&self) -> &'static TableSpec {
        &SPEC
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    fn write(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        self.sums.clear();
        for ((site, key), tally) in &self.pending {
            let mut row = TierRow { site: site.clone(), key: key.clone(), tally: *tally };
            row.tally = load_tally(transaction, &row)?.unwrap_or_default().merge(*tally);
            put(transaction, &row)?;
            self.sums.push(row);
        }
        Ok(())
    }

    fn discard(&mut self) {
        self.pending.clear();
    }

    fn committed(&mut self) {
        self.discard();
        let sums = std::mem::take(&mut self.sums);
        if let Some(cache) = &self.cache {
            cache.apply(sums, false);
        }
    }

    fn export(&self, connection: &Connection) -> Result<Vec<String>, StoreError> {
        let rows = load(connection, None)?.into_iter();
        Ok(format_lines(rows.map(|TierRow { site, key, tally }| {
            let StatKey { path_prefix: group, mode: rung, profile } = key;
            TierLine::Evidence { site, group, rung, profile, tally }
        })))
    }

    fn read_line(&mut self, line: &[u8], now: i64) -> Result<(), LineError> {
        let TierLine::Evidence { site, group, rung, profile, tally } = parse_line(line)?;
        if !is_name(&site) || !is_name(&profile) || !is_path_prefix(&group) {
            return Err(LineError::Invalid("`site`, `group` or `profile` is invalid"));
        }
        if !tally.is_valid() || is_future(tally.seen.max(tally.refused), now) {
            return Err(LineError::Invalid("`tally` contains an impossible number"));
        }
        let key = StatKey { path_prefix: group, mode: rung, profile };
        self.imported.push(TierRow { site, key, tally });
        Ok(())
    }

    fn import(&mut self, transaction: &Transaction<'_>) -> Result<usize, StoreError> {
        let mut stored = 0;
        for row in &self.imported {
            if load_tally(transaction, row)?.is_none_or(|known| known.seen < row.tally.seen) {
                put(transaction, row)?;
                stored += 1;
            }
        }
        Ok(stored)
    }

    fn show(
        &self,
        connection: &Connection,
        matches: NameFilter<'_>,
        now: i64,
    ) -> Result<Section, StoreError> {
        let entries = entries(load(connection, None)?, matches, now);
        let lines = describe(&entries);
        Ok(Section::new(&SPEC, &entries, lines))
    }
}

/// Returns the rows whose site `matches`, with their status at `now`.
fn entries(rows: Vec<TierRow>, matches: NameFilter<'_>, now: i64) -> Vec<TierEntry> {
    let matching = rows.into_iter().filter(|row| matches(&row.site));
    let entries = matching.map(|TierRow { site, key, tally }| {
        let (state, retry_at) = match tally.status(now) {
            TierStatus::Unknown => ("forgotten", None),
            TierStatus::Works => ("works", None),
            TierStatus::Refused { retry_at } => ("refused", Some(retry_at)),
        };
        let section = SiteSection { site, path_prefix: key.path_prefix };
        TierEntry { section, mode: key.mode, profile: key.profile, state, retry_at, tally }
    });
    entries.collect()
}

/// Returns a line for each section, followed by one for each of its entries.
fn describe(entries: &[TierEntry]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut last = None;
    for entry in entries {
        if last.replace(&entry.section) != Some(&entry.section) {
            lines.push(escape_terminal(&entry.section.to_string()));
        }
        let state = match entry.retry_at {
            Some(at) => format!("{}, next probe {}", entry.state, format_date(at)),
            None => entry.state.to_owned(),
        };
        lines.push(format!(
            "  {:<11}  {:<24}  {:>6} pages  {:>6} refusals  seen {}  {state}",
            entry.mode.name(),
            escape_terminal(&entry.profile),
            entry.tally.pages,
            entry.tally.refusals,
            format_date(entry.tally.seen)
        ));
    }
    lines
}

/// Returns the rows of `site`, or of all sites.
pub(in crate::memory) fn load(
    connection: &Connection,
    site: Option<&str>,
) -> Result<Vec<TierRow>, StoreError> {
    let mut query = connection.prepare(
        "SELECT site, grp, rung, profile, pages, refusals, good, bad, streak, refused, seen FROM evidence
         WHERE ?1 IS NULL OR site = ?1 ORDER BY site, grp, rung, profile",
    )?;
    let rows = query.query_map([site], parse_row)?.collect::<Result<Vec<_>, _>>()?;
    // Rows with a tier mode that this version does not know are skipped.
    Ok(rows.into_iter().flatten().filter(|row| row.tally.is_valid()).collect())
}

fn load_tally(transaction: &Transaction<'_>, row: &TierRow) -> Result<Option<DecayingTally>, StoreError> {
    let known = transaction
        .query_row(
            "SELECT site, grp, rung, profile, pages, refusals, good, bad, streak, refused, seen FROM evidence
             WHERE site = ?1 AND grp = ?2 AND rung = ?3 AND profile = ?4",
            params![row.site, row.key.path_prefix, row.key.mode.name(), row.key.profile],
            parse_row,
        )
        .optional()?;
    Ok(known.flatten().map(|row| row.tally).filter(DecayingTally::is_valid))
}

fn put(transaction: &Transaction<'_>, row: &TierRow) -> Result<(), StoreError> {
    let TierRow { site, key, tally } = row;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    transaction.execute(
        "INSERT OR REPLACE INTO evidence VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            site,
            key.path_prefix,
            key.mode.name(),
            key.profile,
            count(tally.pages),
            count(tally.refusals),
            tally.good,
            tally.bad,
            tally.streak,
            tally.refused,
            tally.seen
        ],
    )?;
    Ok(())
}

fn parse_row(row: &Row<'_>) -> rusqlite::Result<Option<TierRow>> {
    let name: String = row.get(2)?;
    let Some(mode) = TierMode::ALL.into_iter().find(|mode| mode.name() == name) else { return Ok(None) };
    let count = |at| row.get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or(0));
    let tally = DecayingTally {
        pages: count(4)?,
        refusals: count(5)?,
        good: row.get(6)?,
        bad: row.get(7)?,
        streak: u32::try_from(row.get::<_, i64>(8)?).unwrap_or(0),
        refused: row.get(9)?,
        seen: row.get(10)?,
    };
    Ok(Some(TierRow {
        site: row.get(0)?,
        key: StatKey { path_prefix: row.get(1)?, mode, profile: row.get(3)? },
        tally,
    }))
}

const SPEC: TableSpec = TableSpec {
    name: "evidence",
    schema: "
        CREATE TABLE IF NOT EXISTS evidence (
            site TEXT NOT NULL, grp TEXT NOT NULL, rung TEXT NOT NULL, profile TEXT NOT NULL,
            pages INTEGER NOT NULL, refusals INTEGER NOT NULL, good REAL NOT NULL, bad REAL NOT NULL,
            streak INTEGER NOT NULL, refused INTEGER NOT NULL, seen INTEGER NOT NULL,
            PRIMARY KEY (site, grp, rung, profile)
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS evidence_seen ON evidence (seen);
    ",
    upgrades: &[],
    primary_key: "site, grp, rung, profile",
    name_column: "site",
    time_column: "seen",
    expiry: ("seen", MAX_AGE),
    max_rows: MAX_ROWS,
    line_kind: Some("evidence"),
    json_key: "evidence",
    heading: "",
};
