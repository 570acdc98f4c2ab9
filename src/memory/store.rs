//! The tables of the memory file. Every change is an immediate transaction: it takes the write lock first, then
//! reads and updates what another process may have written.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::circuit::{Circuit, STALE_AFTER};
use super::error::StoreError;
use super::false_alarm::{self, FalseAlarm};
use super::file;
use super::saved_identity::{SavedIdentity, SavedIdentityKey};
use super::tables::{self, CircuitUpdate, SizeRow, SizeUpdate};
use super::tally::DecayingTally;
use super::tiers::{StatKey, TierMode};

/// The tally of one tier mode in one site section with one browser profile.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TierRow {
    pub(super) site: String,
    pub(super) key: StatKey,
    pub(super) tally: DecayingTally,
}

/// An identity that is cleared for a host.
#[derive(Clone, Debug)]
pub(super) struct IdentityRow {
    pub(super) host: String,
    pub(super) key: SavedIdentityKey,
    pub(super) identity: SavedIdentity,
    /// When it was last saved. An older row does not replace it.
    pub(super) learned: i64,
}

/// Rows that are not yet written to the file.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingWrites {
    pub(super) tallies: Vec<TierRow>,
    pub(super) identities: Vec<IdentityRow>,
    /// In chronological order.
    pub(super) sizes: Vec<SizeUpdate>,
    pub(super) circuits: Vec<CircuitUpdate>,
    pub(super) false_alarms: Vec<FalseAlarm>,
}

/// All rows that are exported.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) tallies: Vec<TierRow>,
    pub(super) page_sizes: Vec<SizeRow>,
    pub(super) false_alarms: Vec<FalseAlarm>,
    pub(super) identities: Vec<IdentityRow>,
}

pub(super) struct Store(Connection);

impl Store {
    /// Opens the file, or creates it if it is missing. Moves a corrupt file aside and returns its new path as
    /// the second value.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<PathBuf>), StoreError> {
        let (connection, aside) = file::open(path)?;
        Ok((Self(connection), aside))
    }

    /// Adds `pending` to the stored rows. Returns the resulting tallies.
    pub(super) fn add(&mut self, pending: &PendingWrites, now: i64) -> Result<Vec<TierRow>, StoreError> {
        let write = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut sums = Vec::with_capacity(pending.tallies.len());
        for row in &pending.tallies {
            let known = load_tally(&write, row)?.unwrap_or_default();
            let sum = TierRow { tally: known.merge(row.tally), ..row.clone() };
            put_tally(&write, &sum)?;
            sums.push(sum);
        }
        for row in &pending.identities {
            put_identity(&write, row)?;
        }
        tables::add_sizes(&write, &pending.sizes)?;
        tables::write_circuits(&write, &pending.circuits)?;
        false_alarm::store(&write, &pending.false_alarms)?;
        prune(&write, now)?;
        write.commit()?;
        Ok(sums)
    }

    /// Imports the rows of another file. The newer of two rows is kept. Returns how many rows were stored.
    pub(super) fn import(&mut self, snapshot: &Snapshot, now: i64) -> Result<usize, StoreError> {
        let write = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut stored = tables::import_sizes(&write, &snapshot.page_sizes)?;
        stored += false_alarm::store(&write, &snapshot.false_alarms)?;
        for row in &snapshot.tallies {
            if load_tally(&write, row)?.is_none_or(|known| known.seen < row.tally.seen) {
                put_tally(&write, row)?;
                stored += 1;
            }
        }
        for row in &snapshot.identities {
            stored += put_identity(&write, row)?;
        }
        prune(&write, now)?;
        write.commit()?;
        Ok(stored)
    }

    /// Returns the tallies of `site`, or of all sites.
    pub(super) fn tallies(&self, site: Option<&str>) -> Result<Vec<TierRow>, StoreError> {
        let mut query = self.0.prepare(
            "SELECT site, grp, rung, profile, pages, refusals, good, bad, streak, refused, seen FROM evidence
             WHERE ?1 IS NULL OR site = ?1 ORDER BY site, grp, rung, profile",
        )?;
        let rows = query.query_map([site], parse_tier_row)?.collect::<Result<Vec<_>, _>>()?;
        // Rows with a tier mode that this version does not know are skipped.
        Ok(rows.into_iter().flatten().filter(|row| row.tally.is_valid()).collect())
    }

    /// Returns the page sizes of `site`, or of all sites.
    pub(super) fn page_sizes(&self, site: Option<&str>) -> Result<Vec<SizeRow>, StoreError> {
        tables::load_sizes(&self.0, site)
    }

    /// Returns the false alarms of `site`, or of all sites.
    pub(super) fn false_alarms(&self, site: Option<&str>) -> Result<Vec<FalseAlarm>, StoreError> {
        false_alarm::load(&self.0, site)
    }

    /// Returns the open circuits of `host`, or of all hosts.
    pub(super) fn circuits(&self, host: Option<&str>, now: i64) -> Result<Vec<Circuit>, StoreError> {
        tables::load_open_circuits(&self.0, host, now)
    }

    /// Returns all rows that are exported.
    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot {
            tallies: self.tallies(None)?,
            page_sizes: self.page_sizes(None)?,
            false_alarms: self.false_alarms(None)?,
            identities: self.identities()?,
        })
    }

    /// Returns the identity saved under `key` for `host`.
    pub(super) fn identity(
        &self,
        key: &SavedIdentityKey,
        host: &str,
    ) -> Result<Option<SavedIdentity>, StoreError> {
        let text = self
            .0
            .query_row(
                &format!("SELECT saved FROM identity WHERE {WHERE_IDENTITY}"),
                params![host, key.session, key.route, key.profile, key.location],
                |row| row.get::<_, String>(0),
            )
            .optional()?;
        Ok(text.and_then(|text| parse_identity(&text, host)))
    }

    /// Returns all identities.
    pub(super) fn identities(&self) -> Result<Vec<IdentityRow>, StoreError> {
        let mut query = self.0.prepare(
            "SELECT host, session, route, profile, place, saved, learned FROM identity
             ORDER BY host, session, route, profile, place",
        )?;
        let rows = query.query_map([], |row| {
            let (session, route) = (row.get(1)?, row.get(2)?);
            let key = SavedIdentityKey { session, route, profile: row.get(3)?, location: row.get(4)? };
            Ok((row.get::<_, String>(0)?, key, row.get::<_, String>(5)?, row.get(6)?))
        })?;
        let mut all = Vec::new();
        for row in rows {
            let (host, key, text, learned) = row?;
            if let Some(identity) = parse_identity(&text, &host) {
                all.push(IdentityRow { host, key, identity, learned });
            }
        }
        Ok(all)
    }

    /// Deletes the identity saved under `key` for `host`.
    pub(super) fn drop_identity(&mut self, key: &SavedIdentityKey, host: &str) -> Result<(), StoreError> {
        self.0.execute(
            &format!("DELETE FROM identity WHERE {WHERE_IDENTITY}"),
            params![host, key.session, key.route, key.profile, key.location],
        )?;
        Ok(())
    }

    /// Deletes the rows whose site or host `matches`. Returns the number of deleted rows.
    pub(super) fn clear(&mut self, matches: impl Fn(&str) -> bool) -> Result<usize, StoreError> {
        let write = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut deleted = 0;
        for (table, column) in [
            ("evidence", "site"),
            ("usual", "site"),
            ("false_alarm", "site"),
            ("identity", "host"),
            ("circuit", "host"),
        ] {
            let names = {
                let mut query = write.prepare(&format!("SELECT DISTINCT {column} FROM {table}"))?;
                let names = query.query_map([], |row| row.get::<_, String>(0))?;
                names.collect::<Result<Vec<_>, _>>()?
            };
            for name in names.iter().filter(|name| matches(name)) {
                deleted += write.execute(&format!("DELETE FROM {table} WHERE {column} = ?1"), [name])?;
            }
        }
        write.commit()?;
        Ok(deleted)
    }

    /// Truncates the journal, so that it does not contain deleted rows.
    pub(super) fn truncate_journal(&self) -> Result<(), StoreError> {
        Ok(self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

fn load_tally(write: &Transaction<'_>, row: &TierRow) -> Result<Option<DecayingTally>, StoreError> {
    let known = write
        .query_row(
            "SELECT site, grp, rung, profile, pages, refusals, good, bad, streak, refused, seen FROM evidence
             WHERE site = ?1 AND grp = ?2 AND rung = ?3 AND profile = ?4",
            params![row.site, row.key.path_prefix, row.key.mode.name(), row.key.profile],
            parse_tier_row,
        )
        .optional()?;
    Ok(known.flatten().map(|row| row.tally).filter(DecayingTally::is_valid))
}

fn put_tally(write: &Transaction<'_>, row: &TierRow) -> Result<(), StoreError> {
    let TierRow { site, key, tally } = row;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    write.execute(
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

fn parse_tier_row(row: &Row<'_>) -> rusqlite::Result<Option<TierRow>> {
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

fn put_identity(write: &Transaction<'_>, row: &IdentityRow) -> Result<usize, StoreError> {
    let IdentityRow { host, key, identity, learned } = row;
    let Ok(text) = serde_json::to_string(identity) else { return Ok(0) };
    Ok(write.execute(
        "INSERT INTO identity VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET saved = excluded.saved, learned = excluded.learned, good_until = excluded.good_until
         WHERE excluded.learned >= learned",
        params![
            host,
            key.session,
            key.route,
            key.profile,
            key.location,
            text,
            learned,
            identity.state.good_until()
        ],
    )?)
}

/// Parses a saved identity. Returns `None` if its format is unknown or it does not belong to `host`.
fn parse_identity(text: &str, host: &str) -> Option<SavedIdentity> {
    serde_json::from_str::<SavedIdentity>(text).ok().filter(|saved| saved.is_valid(host))
}

/// Deletes expired rows, then the oldest rows above the limits.
fn prune(write: &Transaction<'_>, now: i64) -> Result<(), StoreError> {
    write.execute("DELETE FROM evidence WHERE seen < ?1", [now.saturating_sub(MAX_AGE)])?;
    write.execute("DELETE FROM usual WHERE seen < ?1", [now.saturating_sub(MAX_AGE)])?;
    write.execute("DELETE FROM false_alarm WHERE seen < ?1", [now.saturating_sub(MAX_AGE)])?;
    write.execute("DELETE FROM identity WHERE good_until <= ?1", [now])?;
    write.execute("DELETE FROM circuit WHERE until <= ?1", [now.saturating_sub(STALE_AFTER)])?;
    for (table, key, time_column, max_rows) in [
        ("evidence", "site, grp, rung, profile", "seen", MAX_ROWS),
        ("usual", "site, grp, form", "seen", MAX_ROWS),
        ("false_alarm", "site, grp, kind", "seen", MAX_ROWS),
        ("identity", "host, session, route, profile, place", "learned", MAX_IDENTITIES),
        ("circuit", "host, tier", "until", MAX_CIRCUITS),
    ] {
        let rows: i64 = write.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
        if rows > max_rows {
            let oldest = format!("SELECT {key} FROM {table} ORDER BY {time_column} LIMIT ?1");
            write.execute(
                &format!("DELETE FROM {table} WHERE ({key}) IN ({oldest})"),
                [rows - max_rows * 9 / 10],
            )?;
        }
    }
    Ok(())
}

/// Rows without an update for this many seconds are deleted: 30 days.
const MAX_AGE: i64 = 30 * 24 * 60 * 60;
/// Maximum number of tallies, of page sizes and of false alarms; of identities; of circuits. Above it, the oldest tenth is
/// deleted at once.
const MAX_ROWS: i64 = 50_000;
const MAX_IDENTITIES: i64 = 1_000;
const MAX_CIRCUITS: i64 = 1_000;
const WHERE_IDENTITY: &str = "host = ?1 AND session = ?2 AND route = ?3 AND profile = ?4 AND place = ?5";
