//! A SQLite database with a table of pages, written in transactions, and a table of runs.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::{EncodedRecord, OpenReport, RecordEncoder, RecordStore, file};
use crate::batch::journal::Ranges;
use crate::batch::record::{ErrorJson, HeadersJson, Record};
use crate::batch::summary::{Summary, timestamp};
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::output_file;
use crate::text::redact;

pub(super) struct SqliteEncoder;

/// A record as a row.
pub(in crate::batch) struct PageRow {
    url: String,
    final_url: Option<String>,
    status: Option<u16>,
    tier: Option<&'static str>,
    browser_profile: Option<String>,
    http_version: Option<&'static str>,
    headers: String,
    body_bytes: Option<u64>,
    body: Option<bytes::Bytes>,
    file: Option<String>,
    fetched_at: String,
    elapsed_ms: f64,
    robots: Option<&'static str>,
    attempts: String,
    error_kind: Option<&'static str>,
    error: Option<String>,
    fields: Option<String>,
    text: Option<String>,
    links: Option<String>,
    canonical: Option<String>,
}

impl PageRow {
    /// The approximate memory use, in bytes.
    pub(super) fn size(&self) -> usize {
        512 + self.headers.len()
            + [&self.fields, &self.text, &self.links].into_iter().flatten().map(String::len).sum::<usize>()
            + self.attempts.len()
            + self.body.as_ref().map_or(0, bytes::Bytes::len)
    }
}

impl RecordEncoder for SqliteEncoder {
    fn encode(&self, record: &Record) -> Result<EncodedRecord> {
        let page = record.outcome().ok();
        let failed = record.outcome().err().map(ErrorJson::new);
        let last = record.attempts().last();
        Ok(EncodedRecord::Row(Box::new(PageRow {
            url: record.url().to_owned(),
            final_url: page.map(|page| redact::url(page.url())),
            status: record.status(),
            tier: record.tier().map(crate::exchange::tier::Tier::name),
            browser_profile: last.and_then(|attempt| attempt.browser_profile.clone()),
            http_version: page.map(|page| page.version().name()),
            headers: to_json(&HeadersJson(page))?,
            body_bytes: page.map(crate::fetcher::Response::body_len),
            body: page.filter(|_| record.file().is_none()).map(|page| page.bytes().clone()),
            file: record.file().map(ToOwned::to_owned),
            fetched_at: timestamp(record.finished_at()),
            elapsed_ms: record.elapsed().as_secs_f64() * 1000.0,
            robots: record.robots(),
            attempts: to_json(record.attempts())?,
            error_kind: failed.as_ref().map(|failed| failed.kind.name()),
            error: failed.as_ref().map(to_json).transpose()?,
            fields: record.fields.as_ref().map(to_json).transpose()?,
            text: record.text.clone(),
            links: record.links.as_ref().map(to_json).transpose()?,
            canonical: record.canonical.clone(),
        })))
    }
}

fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|cause| Error::new(ErrorKind::Io, "could not write a record as JSON").with_source(cause))
}

/// The open database. Its position is the ID of the last row.
pub(super) struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    last_row_id: i64,
}

impl SqliteStore {
    /// Opens the database, and deletes the rows after `from`.
    pub(super) fn open(path: &Path, from: u64) -> Result<(Self, OpenReport)> {
        let connection = connect(path)?;
        let failed_query = |cause| sqlite_error(path, cause);
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let cut = connection.execute("DELETE FROM page WHERE id > ?1", [from]).map_err(failed_query)?;
        Ok((
            Self { connection, path: path.to_owned(), last_row_id: from },
            OpenReport { truncated: cut as u64 },
        ))
    }

    fn insert(&mut self, records: &[EncodedRecord]) -> rusqlite::Result<i64> {
        let write = self.connection.transaction()?;
        let mut last = self.last_row_id;
        {
            let mut insert = write.prepare(INSERT)?;
            for record in records {
                let EncodedRecord::Row(row) = record else { continue };
                last += 1;
                insert.execute(params![
                    last,
                    row.url,
                    row.final_url,
                    row.status,
                    row.tier,
                    row.browser_profile,
                    row.http_version,
                    row.headers,
                    row.body_bytes.and_then(|bytes| i64::try_from(bytes).ok()),
                    row.body.as_deref(),
                    row.file,
                    row.fetched_at,
                    row.elapsed_ms,
                    row.robots,
                    row.attempts,
                    row.error_kind,
                    row.error,
                    row.fields,
                    row.text,
                    row.links,
                    row.canonical,
                ])?;
            }
        }
        write.commit()?;
        Ok(last)
    }
}

impl RecordStore for SqliteStore {
    fn write(&mut self, records: &[EncodedRecord]) -> Result<Vec<u64>> {
        self.last_row_id = self.insert(records).map_err(|cause| sqlite_error(&self.path, cause))?;
        Ok(records.iter().map(|_| 1).collect())
    }

    fn position(&self) -> u64 {
        self.last_row_id.unsigned_abs()
    }

    fn sync(&mut self) -> Result<()> {
        // Moves the write-ahead log into the database file, and syncs both.
        let synced = self.connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()));
        synced.map_err(|cause| sqlite_error(&self.path, cause))
    }
}

/// Deletes the rows of these ranges.
pub(super) fn delete_rows(path: &Path, parts: &Ranges) -> Result<()> {
    let mut connection = connect(path)?;
    let delete = |connection: &mut Connection| {
        let write = connection.transaction()?;
        for (begins, count) in parts.iter() {
            let first = i64::try_from(begins).unwrap_or(i64::MAX);
            let last = first.saturating_add(i64::from(count));
            write.execute("DELETE FROM page WHERE id > ?1 AND id <= ?2", [first, last])?;
        }
        write.commit()
    };
    delete(&mut connection).map_err(|cause| sqlite_error(path, cause))
}

/// Inserts the summary of a run.
pub(super) fn insert_summary(path: &Path, summary: &Summary) -> Result<()> {
    let connection = connect(path)?;
    let text = to_json(summary)?;
    let inserted = connection.execute(
        "INSERT INTO run (began, version, complete, summary) VALUES (?1, ?2, ?3, ?4)",
        params![timestamp(summary.began), summary.version, summary.complete, text],
    );
    inserted.map(drop).map_err(|cause| sqlite_error(path, cause))
}

fn connect(path: &Path) -> Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let file = output_file::resolve_regular(path).map_err(|cause| file::open_error(path, cause))?;
    let open = || {
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(connection)
    };
    open().map_err(|cause| sqlite_error(path, cause))
}

/// Converts an error by SQLite's code, never by its text.
fn sqlite_error(path: &Path, cause: rusqlite::Error) -> Error {
    match cause.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            super::write_error(path, std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        Some(ErrorCode::NotADatabase | ErrorCode::CannotOpen) => {
            Error::new(ErrorKind::Config, format!("could not open {} as a SQLite database", path.display()))
                .with_source(cause)
        }
        _ => Error::new(ErrorKind::Io, format!("could not write {}", path.display())).with_source(cause),
    }
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS page (
    id INTEGER PRIMARY KEY,
    url TEXT NOT NULL,
    final_url TEXT,
    status INTEGER,
    tier TEXT,
    browser_profile TEXT,
    http_version TEXT,
    headers TEXT NOT NULL,
    body_bytes INTEGER,
    body BLOB,
    file TEXT,
    fetched_at TEXT NOT NULL,
    elapsed_ms REAL NOT NULL,
    robots TEXT,
    attempts TEXT NOT NULL,
    error_kind TEXT,
    error TEXT,
    fields TEXT,
    text TEXT,
    links TEXT,
    canonical TEXT
);
CREATE TABLE IF NOT EXISTS run (began TEXT NOT NULL, version TEXT NOT NULL, complete INTEGER NOT NULL, summary TEXT NOT NULL);
";

const INSERT: &str = "INSERT INTO page VALUES \
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(urls: &[&str]) -> Vec<EncodedRecord> {
        let failed = || Err(Error::new(ErrorKind::Connect, "refused"));
        urls.iter().map(|url| SqliteEncoder.encode(&Record::new(url, failed())).unwrap()).collect()
    }

    fn urls(path: &Path) -> Vec<String> {
        let connection = Connection::open(path).unwrap();
        let mut query = connection.prepare("SELECT url FROM page ORDER BY id").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn rows_after_the_last_commit_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.sqlite");
        let (mut database, _) = SqliteStore::open(&path, 0).unwrap();
        assert_eq!(database.write(&rows(&["a", "b", "c"])).unwrap(), [1, 1, 1]);
        assert_eq!(database.position(), 3);
        drop(database);
        let (mut database, opened) = SqliteStore::open(&path, 2).unwrap();
        assert_eq!(opened.truncated, 1);
        database.write(&rows(&["d"])).unwrap();
        database.sync().unwrap();
        drop(database);
        assert_eq!(urls(&path), ["a", "b", "d"]);
    }
}
