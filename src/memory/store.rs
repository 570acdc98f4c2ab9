//! The tables of the memory file. Every change is a transaction that begins with the right to write, so
//! that what another process wrote meanwhile is read first and added to.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::circuit::{Circuit, STALE};
use super::evidence::{Rung, Slot};
use super::fault::Fault;
use super::file;
use super::saved::{Saved, Who};
use super::tables::{self, Measured, Pages, Turned};
use super::tally::Tally;

/// What was seen of one rung in one area in one browser's clothes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) site: String,
    pub(super) slot: Slot,
    pub(super) tally: Tally,
}

/// An identity that is cleared for a host.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) host: String,
    pub(super) who: Who,
    pub(super) saved: Saved,
    /// When it was last written down; an older one does not take its place.
    pub(super) learned: i64,
}

/// What was learned since the file was last written.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    pub(super) seen: Vec<Line>,
    pub(super) held: Vec<Held>,
    /// In order of time.
    pub(super) measured: Vec<Measured>,
    pub(super) turned: Vec<Turned>,
}

/// All that another process may be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) seen: Vec<Line>,
    pub(super) usual: Vec<Pages>,
    pub(super) held: Vec<Held>,
}

pub(super) struct Store(Connection);

impl Store {
    /// Opens the file, made when it is not there. A damaged one is moved aside, to where the second part says.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<PathBuf>), Fault> {
        let (connection, aside) = file::open(path)?;
        Ok((Self(connection), aside))
    }

    /// Adds what was seen to what is there, and gives back the sums.
    pub(super) fn add(&mut self, news: &News, now: i64) -> Result<Vec<Line>, Fault> {
        let write = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut sums = Vec::with_capacity(news.seen.len());
        for line in &news.seen {
            let known = tally(&write, line)?.unwrap_or_default();
            let sum = Line { tally: known.and(line.tally), ..line.clone() };
            put(&write, &sum)?;
            sums.push(sum);
        }
        for held in &news.held {
            hold(&write, held)?;
        }
        tables::learn(&write, &news.measured)?;
        tables::turn(&write, &news.turned)?;
        shrink(&write, now)?;
        write.commit()?;
        Ok(sums)
    }

    /// Puts in what another file held; of two the newer stays. How many lines were news.
    pub(super) fn import(&mut self, contents: &Contents, now: i64) -> Result<usize, Fault> {
        let write = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut news = tables::import(&write, &contents.usual)?;
        for line in &contents.seen {
            if tally(&write, line)?.is_none_or(|known| known.seen < line.tally.seen) {
                put(&write, line)?;
                news += 1;
            }
        }
        for held in &contents.held {
            news += hold(&write, held)?;
        }
        shrink(&write, now)?;
        write.commit()?;
        Ok(news)
    }

    /// What was seen of `site`, or of every one.
    pub(super) fn evidence(&self, site: Option<&str>) -> Result<Vec<Line>, Fault> {
        let mut query = self.0.prepare(
            "SELECT site, grp, rung, profile, pages, refusals, good, bad, streak, refused, seen FROM evidence
             WHERE ?1 IS NULL OR site = ?1 ORDER BY site, grp, rung, profile",
        )?;
        let rows = query.query_map([site], line)?.collect::<Result<Vec<_>, _>>()?;
        // A rung that this version does not know says nothing to it.
        Ok(rows.into_iter().flatten().filter(|line| line.tally.is_sound()).collect())
    }

    /// How large the pages of `site` are, or those of every one.
    pub(super) fn usual(&self, site: Option<&str>) -> Result<Vec<Pages>, Fault> {
        tables::of(&self.0, site)
    }

    /// On which tiers `host` is left alone, or any.
    pub(super) fn circuits(&self, host: Option<&str>, now: i64) -> Result<Vec<Circuit>, Fault> {
        tables::open(&self.0, host, now)
    }

    /// All that is exported.
    pub(super) fn contents(&self) -> Result<Contents, Fault> {
        Ok(Contents { seen: self.evidence(None)?, usual: self.usual(None)?, held: self.all_held()? })
    }

    /// What `who` holds for `host`.
    pub(super) fn held(&self, who: &Who, host: &str) -> Result<Option<Saved>, Fault> {
        let saved = self
            .0
            .query_row(
                &format!("SELECT saved FROM identity WHERE {OF_WHO}"),
                params![host, who.session, who.route, who.profile, who.place],
                |row| row.get::<_, String>(0),
            )
            .optional()?;
        Ok(saved.and_then(|text| read(&text, host)))
    }

    /// All identities.
    pub(super) fn all_held(&self) -> Result<Vec<Held>, Fault> {
        let mut query = self.0.prepare(
            "SELECT host, session, route, profile, place, saved, learned FROM identity
             ORDER BY host, session, route, profile, place",
        )?;
        let rows = query.query_map([], |row| {
            let (session, route) = (row.get(1)?, row.get(2)?);
            let who = Who { session, route, profile: row.get(3)?, place: row.get(4)? };
            Ok((row.get::<_, String>(0)?, who, row.get::<_, String>(5)?, row.get(6)?))
        })?;
        let mut all = Vec::new();
        for row in rows {
            let (host, who, text, learned) = row?;
            if let Some(saved) = read(&text, &host) {
                all.push(Held { host, who, saved, learned });
            }
        }
        Ok(all)
    }

    /// Forgets a clearance that is over.
    pub(super) fn drop_held(&mut self, who: &Who, host: &str) -> Result<(), Fault> {
        self.0.execute(
            &format!("DELETE FROM identity WHERE {OF_WHO}"),
            params![host, who.session, who.route, who.profile, who.place],
        )?;
        Ok(())
    }

    /// Forgets what `forget` says, by site and by host. How many rows went.
    pub(super) fn clear(&mut self, forget: impl Fn(&str) -> bool) -> Result<usize, Fault> {
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
    pub(super) fn sweep(&self) -> Result<(), Fault> {
        Ok(self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

fn tally(write: &Transaction<'_>, line: &Line) -> Result<Option<Tally>, Fault> {
    let known = write
        .query_row(
            "SELECT site, grp, rung, profile, pages, refusals, good, bad, streak, refused, seen FROM evidence
             WHERE site = ?1 AND grp = ?2 AND rung = ?3 AND profile = ?4",
            params![line.site, line.slot.group, line.slot.rung.name(), line.slot.profile],
            self::line,
        )
        .optional()?;
    Ok(known.flatten().map(|line| line.tally).filter(Tally::is_sound))
}

fn put(write: &Transaction<'_>, line: &Line) -> Result<(), Fault> {
    let Line { site, slot, tally } = line;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    write.execute(
        "INSERT OR REPLACE INTO evidence VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            site,
            slot.group,
            slot.rung.name(),
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

fn line(row: &Row<'_>) -> rusqlite::Result<Option<Line>> {
    let name: String = row.get(2)?;
    let Some(rung) = Rung::ALL.into_iter().find(|rung| rung.name() == name) else { return Ok(None) };
    let count = |at| row.get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or(0));
    let tally = Tally {
        pages: count(4)?,
        refusals: count(5)?,
        good: row.get(6)?,
        bad: row.get(7)?,
        streak: u32::try_from(row.get::<_, i64>(8)?).unwrap_or(0),
        refused: row.get(9)?,
        seen: row.get(10)?,
    };
    Ok(Some(Line { site: row.get(0)?, slot: Slot { group: row.get(1)?, rung, profile: row.get(3)? }, tally }))
}

fn hold(write: &Transaction<'_>, held: &Held) -> Result<usize, Fault> {
    let Ok(text) = serde_json::to_string(&held.saved) else { return Ok(0) };
    let Held { host, who, saved, learned } = held;
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
fn read(text: &str, host: &str) -> Option<Saved> {
    serde_json::from_str::<Saved>(text).ok().filter(|saved| saved.is_sound(host))
}

/// What is old leaves, and beyond the most that is kept the oldest.
fn shrink(write: &Transaction<'_>, now: i64) -> Result<(), Fault> {
    write.execute("DELETE FROM evidence WHERE seen < ?1", [now.saturating_sub(FORGET)])?;
    write.execute("DELETE FROM usual WHERE seen < ?1", [now.saturating_sub(FORGET)])?;
    write.execute("DELETE FROM identity WHERE good_until <= ?1", [now])?;
    write.execute("DELETE FROM circuit WHERE until <= ?1", [now.saturating_sub(STALE)])?;
    for (table, key, age, most) in [
        ("evidence", "site, grp, rung, profile", "seen", MAX_LINES),
        ("usual", "site, grp, form", "seen", MAX_LINES),
        ("identity", "host, session, route, profile, place", "learned", MAX_HELD),
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
const FORGET: i64 = 30 * 24 * 60 * 60;
/// The most lines of evidence and of sizes, the most identities and the most circuits; beyond them a tenth
/// leaves at once.
const MAX_LINES: i64 = 50_000;
const MAX_HELD: i64 = 1_000;
const MAX_CIRCUITS: i64 = 1_000;
const OF_WHO: &str = "host = ?1 AND session = ?2 AND route = ?3 AND profile = ?4 AND place = ?5";
