//! The tables of the memory file. Every change is a transaction that begins with the right to write, so
//! that what another process wrote meanwhile is read first and added to.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::circuit::{Circuit, STALE_AFTER};
use super::error::StoreError;
use super::file;
use super::saved_identity::{SavedIdentity, SavedIdentityKey};
use super::tables::{self, CircuitUpdate, SizeRow, SizeUpdate};
use super::tally::DecayingTally;
use super::tiers::{StatKey, TierMode};

/// What was seen of one rung in one area in one browser's clothes.
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
    /// When it was last written down; an older one does not take its place.
    pub(super) learned: i64,
}

/// What was learned since the file was last written.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingWrites {
    pub(super) tallies: Vec<TierRow>,
    pub(super) identities: Vec<IdentityRow>,
    /// In order of time.
    pub(super) sizes: Vec<SizeUpdate>,
    pub(super) circuits: Vec<CircuitUpdate>,
}

/// All that another process may be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) tallies: Vec<TierRow>,
    pub(super) page_sizes: Vec<SizeRow>,
    pub(super) identities: Vec<IdentityRow>,
}

pub(super) struct Store(Connection);

impl Store {
    /// Opens the file, made when it is not there. A damaged one is moved aside, to where the second part says.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<PathBuf>), StoreError> {
        let (connection, aside) = file::open(path)?;
        Ok((Self(connection), aside))
    }

    /// Adds what was seen to what is there, and gives back the sums.
    pub(super) fn add(&mut self, news: &PendingWrites, now: i64) -> Result<Vec<TierRow>, StoreError> {
        let write = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut sums = Vec::with_capacity(news.tallies.len());
        for line in &news.tallies {
            let known = load_tally(&write, line)?.unwrap_or_default();
            let sum = TierRow { tally: known.merge(line.tally), ..line.clone() };
            put_tally(&write, &sum)?;
            sums.push(sum);
        }
        for held in &news.identities {
            put_identity(&write, held)?;
        }
        tables::add_sizes(&write, &news.sizes)?;
        tables::write_circuits(&write, &news.circuits)?;
        prune(&write, now)?;
        write.commit()?;
        Ok(sums)
    }

    /// Puts in what another file held; of two the newer stays. How many lines were news.
    pub(super) fn import(&mut self, contents: &Snapshot, now: i64) -> Result<usize, StoreError> {
        let write = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut news = tables::import_sizes(&write, &contents.page_sizes)?;
        for line in &contents.tallies {
            if load_tally(&write, line)?.is_none_or(|known| known.seen < line.tally.seen) {
                put_tally(&write, line)?;
                news += 1;
            }
        }
        for held in &contents.identities {
            news += put_identity(&write, held)?;
        }
        prune(&write, now)?;
        write.commit()?;
        Ok(news)
    }

    /// What was seen of `site`, or of every one.
    pub(super) fn tallies(&self, site: Option<&str>) -> Result<Vec<TierRow>, StoreError> {
        let mut query = self.0.prepare(
            "SELECT site, grp, rung, profile, pages, refusals, good, bad, streak, refused, seen FROM evidence
             WHERE ?1 IS NULL OR site = ?1 ORDER BY site, grp, rung, profile",
        )?;
        let rows = query.query_map([site], parse_tier_row)?.collect::<Result<Vec<_>, _>>()?;
        // A rung that this version does not know says nothing to it.
        Ok(rows.into_iter().flatten().filter(|line| line.tally.is_valid()).collect())
    }

    /// How large the pages of `site` are, or those of every one.
    pub(super) fn page_sizes(&self, site: Option<&str>) -> Result<Vec<SizeRow>, StoreError> {
        tables::load_sizes(&self.0, site)
    }

    /// On which tiers `host` is left alone, or any.
    pub(super) fn circuits(&self, host: Option<&str>, now: i64) -> Result<Vec<Circuit>, StoreError> {
        tables::load_open_circuits(&self.0, host, now)
    }

    /// All that is exported.
    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot {
            tallies: self.tallies(None)?,
            page_sizes: self.page_sizes(None)?,
            identities: self.identities()?,
        })
    }

    /// What `who` holds for `host`.
    pub(super) fn identity(
        &self,
        who: &SavedIdentityKey,
        host: &str,
    ) -> Result<Option<SavedIdentity>, StoreError> {
        let saved = self
            .0
            .query_row(
                &format!("SELECT saved FROM identity WHERE {WHERE_IDENTITY}"),
                params![host, who.session, who.route, who.profile, who.place],
                |row| row.get::<_, String>(0),
            )
            .optional()?;
        Ok(saved.and_then(|text| parse_identity(&text, host)))
    }

    /// All identities.
    pub(super) fn identities(&self) -> Result<Vec<IdentityRow>, StoreError> {
        let mut query = self.0.prepare(
            "SELECT host, session, route, profile, place, saved, learned FROM identity
             ORDER BY host, session, route, profile, place",
        )?;
        let rows = query.query_map([], |row| {
            let (session, route) = (row.get(1)?, row.get(2)?);
            let who = SavedIdentityKey { session, route, profile: row.get(3)?, place: row.get(4)? };
            Ok((row.get::<_, String>(0)?, who, row.get::<_, String>(5)?, row.get(6)?))
        })?;
        let mut all = Vec::new();
        for row in rows {
            let (host, who, text, learned) = row?;
            if let Some(saved) = parse_identity(&text, &host) {
                all.push(IdentityRow { host, key: who, identity: saved, learned });
            }
        }
        Ok(all)
    }

    /// Forgets a clearance that is over.
    pub(super) fn drop_identity(&mut self, who: &SavedIdentityKey, host: &str) -> Result<(), StoreError> {
        self.0.execute(
            &format!("DELETE FROM identity WHERE {WHERE_IDENTITY}"),
            params![host, who.session, who.route, who.profile, who.place],
        )?;
        Ok(())
    }

    /// Forgets what `forget` says, by site and by host. How many rows went.
    pub(super) fn clear(&mut self, forget: impl Fn(&str) -> bool) -> Result<usize, StoreError> {
        let write = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut gone = 0;
        for (table, column) in
            [("evidence", "site"), ("usual", "site"), ("identity", "host"), ("circuit", "host")]
        {
            let names = {
                let mut query = write.prepare(&format!("SELECT DISTINCT {column} FROM {table}"))?;
                let names = query.query_map([], |row| row.get::<_, String>(0))?;
                names.collect::<Result<Vec<_>, _>>()?
            };
            for name in names.iter().filter(|name| forget(name)) {
                gone += write.execute(&format!("DELETE FROM {table} WHERE {column} = ?1"), [name])?;
            }
        }
        write.commit()?;
        Ok(gone)
    }

    /// What was deleted leaves the journal too.
    pub(super) fn truncate_journal(&self) -> Result<(), StoreError> {
        Ok(self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

fn load_tally(write: &Transaction<'_>, line: &TierRow) -> Result<Option<DecayingTally>, StoreError> {
    let known = write
        .query_row(
            "SELECT site, grp, rung, profile, pages, refusals, good, bad, streak, refused, seen FROM evidence
             WHERE site = ?1 AND grp = ?2 AND rung = ?3 AND profile = ?4",
            params![line.site, line.key.path_prefix, line.key.mode.name(), line.key.profile],
            parse_tier_row,
        )
        .optional()?;
    Ok(known.flatten().map(|line| line.tally).filter(DecayingTally::is_valid))
}

fn put_tally(write: &Transaction<'_>, line: &TierRow) -> Result<(), StoreError> {
    let TierRow { site, key: slot, tally } = line;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    write.execute(
        "INSERT OR REPLACE INTO evidence VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            site,
            slot.path_prefix,
            slot.mode.name(),
            slot.profile,
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
    let Some(rung) = TierMode::ALL.into_iter().find(|rung| rung.name() == name) else { return Ok(None) };
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
        key: StatKey { path_prefix: row.get(1)?, mode: rung, profile: row.get(3)? },
        tally,
    }))
}

fn put_identity(write: &Transaction<'_>, held: &IdentityRow) -> Result<usize, StoreError> {
    let Ok(text) = serde_json::to_string(&held.identity) else { return Ok(0) };
    let IdentityRow { host, key: who, identity: saved, learned } = held;
    Ok(write.execute(
        "INSERT INTO identity VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET saved = excluded.saved, learned = excluded.learned, good_until = excluded.good_until
         WHERE excluded.learned >= learned",
        params![
            host,
            who.session,
            who.route,
            who.profile,
            who.place,
            text,
            learned,
            saved.note.good_until()
        ],
    )?)
}

/// What a row holds; nothing where it is not as this version writes it.
fn parse_identity(text: &str, host: &str) -> Option<SavedIdentity> {
    serde_json::from_str::<SavedIdentity>(text).ok().filter(|saved| saved.is_valid(host))
}

/// What is old leaves, and beyond the most that is kept the oldest.
fn prune(write: &Transaction<'_>, now: i64) -> Result<(), StoreError> {
    write.execute("DELETE FROM evidence WHERE seen < ?1", [now.saturating_sub(MAX_AGE)])?;
    write.execute("DELETE FROM usual WHERE seen < ?1", [now.saturating_sub(MAX_AGE)])?;
    write.execute("DELETE FROM identity WHERE good_until <= ?1", [now])?;
    write.execute("DELETE FROM circuit WHERE until <= ?1", [now.saturating_sub(STALE_AFTER)])?;
    for (table, key, age, most) in [
        ("evidence", "site, grp, rung, profile", "seen", MAX_ROWS),
        ("usual", "site, grp, form", "seen", MAX_ROWS),
        ("identity", "host, session, route, profile, place", "learned", MAX_IDENTITIES),
        ("circuit", "host, tier", "until", MAX_CIRCUITS),
    ] {
        let rows: i64 = write.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
        if rows > most {
            let oldest = format!("SELECT {key} FROM {table} ORDER BY {age} LIMIT ?1");
            write.execute(
                &format!("DELETE FROM {table} WHERE ({key}) IN ({oldest})"),
                [rows - most * 9 / 10],
            )?;
        }
    }
    Ok(())
}

/// After so many seconds without news a line leaves: 30 days.
const MAX_AGE: i64 = 30 * 24 * 60 * 60;
/// The most lines of evidence and of sizes, the most identities and the most circuits; beyond them a tenth
/// leaves at once.
const MAX_ROWS: i64 = 50_000;
const MAX_IDENTITIES: i64 = 1_000;
const MAX_CIRCUITS: i64 = 1_000;
const WHERE_IDENTITY: &str = "host = ?1 AND session = ?2 AND route = ?3 AND profile = ?4 AND place = ?5";
