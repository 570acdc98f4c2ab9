//! The table of cleared identities.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::super::file::MemoryFile;
use super::super::file::StoreError;
use super::super::file::table::{
    LineError, MAX_PENDING, NameFilter, Section, Table, TableSpec, format_lines, is_future, is_name,
    parse_line,
};
use super::super::time::format_date;
use super::super::{HostMemory, make_room};
use super::ClearanceCache;
use super::key::SavedIdentityKey;
use super::saved::SavedIdentity;
use crate::identity::Identity;
use crate::text::redact::escape_terminal;

/// An identity that is cleared for a host.
#[derive(Clone, Debug)]
pub(in crate::memory) struct IdentityRow {
    pub(in crate::memory) host: String,
    pub(in crate::memory) key: SavedIdentityKey,
    pub(in crate::memory) identity: SavedIdentity,
    /// When it was last saved. An older row does not replace it.
    pub(in crate::memory) learned: i64,
}

/// A cleared identity, without the values of its cookies.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ClearanceEntry {
    /// The host that the identity is cleared for.
    pub host: String,
    /// The key of the identity.
    #[serde(flatten)]
    pub key: SavedIdentityKey,
    /// Whether the clearance got a page on the impersonate tier.
    #[serde(rename = "proven")]
    pub was_used: bool,
    /// Whether the impersonate tier can use it. If not, the host stays on the browser tier.
    #[serde(rename = "moves")]
    pub is_portable: bool,
    /// The names of the stored cookies.
    pub cookies: Vec<String>,
    /// When the clearance expires, if a cookie has an expiry; seconds since 1970.
    pub until: Option<i64>,
    /// When the clearance state last changed, in seconds since 1970.
    pub learned: i64,
}

impl ClearanceCache {
    /// Restores what an earlier process saved, unless `identity` already has a clearance for `host`.
    pub(in crate::memory) fn restore(&self, identity: &Identity, host: &str, saved: SavedIdentity, now: i64) {
        if !saved.state.is_worth_keeping(now) {
            return;
        }
        let mut clearances = self.lock();
        make_room(&mut clearances).entry((identity.key(), host.to_owned())).or_insert_with(|| {
            tracing::info!(host, "restored the clearance of an earlier run");
            saved.restore(identity);
            saved.state
        });
    }
}

impl HostMemory {
    /// Saves the state of `identity` at `host`, without the cookies named in `caller_cookies`.
    pub(crate) fn save_identity(
        &self,
        key: &SavedIdentityKey,
        identity: &Identity,
        host: &str,
        caller_cookies: &[String],
    ) {
        let Some(store) = &self.store else { return };
        let Some(state) = self.clearance(identity.key(), host) else { return };
        let saved = SavedIdentity::from_identity(identity, host, state, caller_cookies);
        if saved.is_none() {
            tracing::debug!(host, "too many cookies, identity not saved");
        }
        let (key, host, learned) = (key.clone(), host.to_owned(), self.now());
        store.change(move |table: &mut ClearanceTable| match saved {
            Some(identity) => table.save(IdentityRow { host, key, identity, learned }),
            None => table.delete(key, host),
        });
    }
}

impl MemoryFile {
    /// Returns the cleared identities for `host`'s site, or for all sites.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn clearances(&self, host: Option<&str>) -> crate::exchange::error::Result<Vec<ClearanceEntry>> {
        self.read(host, |connection, matches, _| Ok(entries(load_all(connection)?, matches)))
    }
}

/// A row in an export.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum IdentityLine {
    Identity { host: String, who: SavedIdentityKey, learned: i64, saved: SavedIdentity },
}

/// Identities that are not yet saved.
#[derive(Default)]
pub(in crate::memory) struct ClearanceTable {
    /// `None`: to be deleted.
    pending: HashMap<(SavedIdentityKey, String), Option<IdentityRow>>,
    imported: Vec<IdentityRow>,
}

impl ClearanceTable {
    pub(in crate::memory) fn save(&mut self, row: IdentityRow) {
        self.add((row.key.clone(), row.host.clone()), Some(row));
    }

    pub(super) fn delete(&mut self, key: SavedIdentityKey, host: String) {
        self.add((key, host), None);
    }

    fn add(&mut self, key: (SavedIdentityKey, String), row: Option<IdentityRow>) {
        if self.pending.len() < MAX_PENDING || self.pending.contains_key(&key) {
            self.pending.insert(key, row);
        }
    }
}

impl Table for ClearanceTable {
    fn spec(&self) -> &'static TableSpec {
        &SPEC
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    fn write(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        for ((key, host), row) in &self.pending {
            match row {
                Some(row) => drop(put(transaction, row)?),
                None => delete(transaction, key, host)?,
            }
        }
        Ok(())
    }

    fn discard(&mut self) {
        self.pending.clear();
    }

    fn export(&self, connection: &Connection) -> Result<Vec<String>, StoreError> {
        let rows = load_all(connection)?.into_iter();
        Ok(format_lines(rows.map(|IdentityRow { host, key: who, identity: saved, learned }| {
            IdentityLine::Identity { host, who, learned, saved }
        })))
    }

    fn read_line(&mut self, line: &[u8], now: i64) -> Result<(), LineError> {
        let IdentityLine::Identity { host, who, learned, saved } = parse_line(line)?;
        let has_names = [&host, &who.session, &who.route, &who.profile].into_iter().all(|text| is_name(text));
        if !has_names || !(who.location.is_empty() || is_name(&who.location)) {
            return Err(LineError::Invalid("`host` or `who` is invalid"));
        }
        if !saved.is_valid(&host) || is_future(learned.max(saved.state.learned), now) {
            return Err(LineError::Invalid("`saved` contains an invalid value"));
        }
        self.imported.push(IdentityRow { host, key: who, identity: saved, learned });
        Ok(())
    }

    fn import(&mut self, transaction: &Transaction<'_>) -> Result<usize, StoreError> {
        let mut stored = 0;
        for row in &self.imported {
            stored += put(transaction, row)?;
        }
        Ok(stored)
    }

    fn show(&self, connection: &Connection, matches: NameFilter<'_>, _: i64) -> Result<Section, StoreError> {
        let entries = entries(load_all(connection)?, matches);
        let lines = entries.iter().map(describe).collect();
        Ok(Section::new(&SPEC, &entries, lines))
    }
}

/// Returns the rows whose host `matches`, without the values of cookies.
fn entries(rows: Vec<IdentityRow>, matches: NameFilter<'_>) -> Vec<ClearanceEntry> {
    let matching = rows.into_iter().filter(|row| matches(&row.host));
    let entries = matching.map(|IdentityRow { host, key, identity, .. }| ClearanceEntry {
        host,
        key,
        was_used: identity.state.was_used,
        is_portable: identity.state.is_portable,
        cookies: identity.cookies.into_iter().map(|cookie| cookie.name).collect(),
        until: identity.state.clearance.until,
        learned: identity.state.learned,
    });
    entries.collect()
}

fn describe(entry: &ClearanceEntry) -> String {
    let location = Some(escape_terminal(&entry.key.location)).filter(|location| !location.is_empty());
    let location = location.map(|location| format!(" ({location})")).unwrap_or_default();
    let until = entry.until.map_or_else(|| "no expiry".to_owned(), |at| format!("until {}", format_date(at)));
    let state = if !entry.is_portable {
        "valid in the browser only"
    } else if entry.was_used {
        "worked"
    } else {
        "not used yet"
    };
    format!(
        "  {}  {} as {}{location} by {}  cookies {}  {until}  {state}",
        escape_terminal(&entry.host),
        escape_terminal(&entry.key.session),
        escape_terminal(&entry.key.profile),
        escape_terminal(entry.key.route.get(..8).unwrap_or(&entry.key.route)),
        escape_terminal(&entry.cookies.join(" ")),
    )
}

/// Returns the identity saved under `key` for `host`.
pub(in crate::memory) fn load(
    connection: &Connection,
    key: &SavedIdentityKey,
    host: &str,
) -> Result<Option<SavedIdentity>, StoreError> {
    let text = connection
        .query_row(
            &format!("SELECT saved FROM identity WHERE {WHERE_KEY}"),
            params![host, key.session, key.route, key.profile, key.location],
            |row| row.get::<_, String>(0),
        )
        .optional()?;
    Ok(text.and_then(|text| parse(&text, host)))
}

/// Returns all identities.
fn load_all(connection: &Connection) -> Result<Vec<IdentityRow>, StoreError> {
    let mut query = connection.prepare(
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
        if let Some(identity) = parse(&text, &host) {
            all.push(IdentityRow { host, key, identity, learned });
        }
    }
    Ok(all)
}

/// Stores a row, unless the file has a newer one. Returns the number of stored rows.
fn put(transaction: &Transaction<'_>, row: &IdentityRow) -> Result<usize, StoreError> {
    let IdentityRow { host, key, identity, learned } = row;
    let Ok(text) = serde_json::to_string(identity) else { return Ok(0) };
    Ok(transaction.execute(
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

fn delete(transaction: &Transaction<'_>, key: &SavedIdentityKey, host: &str) -> Result<(), StoreError> {
    transaction.execute(
        &format!("DELETE FROM identity WHERE {WHERE_KEY}"),
        params![host, key.session, key.route, key.profile, key.location],
    )?;
    Ok(())
}

/// Parses a saved identity. Returns `None` if its format is unknown or it does not belong to `host`.
fn parse(text: &str, host: &str) -> Option<SavedIdentity> {
    serde_json::from_str::<SavedIdentity>(text).ok().filter(|saved| saved.is_valid(host))
}

const WHERE_KEY: &str = "host = ?1 AND session = ?2 AND route = ?3 AND profile = ?4 AND place = ?5";
const SPEC: TableSpec = TableSpec {
    name: "identity",
    schema: "
        CREATE TABLE IF NOT EXISTS identity (
            host TEXT NOT NULL, session TEXT NOT NULL, route TEXT NOT NULL, profile TEXT NOT NULL,
            place TEXT NOT NULL, saved TEXT NOT NULL, learned INTEGER NOT NULL, good_until INTEGER NOT NULL,
            PRIMARY KEY (host, session, route, profile, place)
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS identity_learned ON identity (learned);
    ",
    upgrades: &[(1, WITH_LOCATION)],
    primary_key: "host, session, route, profile, place",
    name_column: "host",
    time_column: "learned",
    expiry: ("good_until", 0),
    max_rows: 1_000,
    line_kind: Some("identity"),
    json_key: "identities",
    heading: "clearances",
};
/// Identities of version 1 were cleared with the machine's own location and the profile's own language.
const WITH_LOCATION: &str = "
    CREATE TABLE identity_2 (
        host TEXT NOT NULL, session TEXT NOT NULL, route TEXT NOT NULL, profile TEXT NOT NULL,
        place TEXT NOT NULL, saved TEXT NOT NULL, learned INTEGER NOT NULL, good_until INTEGER NOT NULL,
        PRIMARY KEY (host, session, route, profile, place)
    ) WITHOUT ROWID;
    INSERT INTO identity_2 SELECT host, session, route, profile, '', saved, learned, good_until FROM identity;
    DROP TABLE identity;
    ALTER TABLE identity_2 RENAME TO identity;
";
