//! Opens the memory file, creates or migrates its schema, and moves a corrupt file aside.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use crate::output_file;
use crate::paths;

/// Opens the file at `path`, creates it if it is missing, and brings its schema up to date. Moves a corrupt
/// file aside first and returns its new path as the second value.
pub(super) fn open(path: &Path) -> Result<(Connection, Option<PathBuf>), StoreError> {
    make_folder(path)?;
    // A link stays, and its target is opened. A device or a pipe is an error.
    let path = &output_file::resolve_regular(path)?;
    // Two processes that create or repair the same file must not undo each other's work.
    let _lock = lock_file(path)?;
    match connect(path) {
        Err(StoreError::Corrupt(_)) => {
            let aside = move_aside(path)?;
            Ok((connect(path)?, Some(aside)))
        }
        connected => Ok((connected?, None)),
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    // SQLite gives its other files the permissions of this one.
    let file = output_file::open_regular(path, 0o600)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let pragma_value =
        |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let (id, version) = (pragma_value("application_id")?, pragma_value("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id != APPLICATION_ID && (tables > 0 || version != 0) {
        return Err(StoreError::Foreign);
    }
    if version > SCHEMA_VERSION {
        return Err(StoreError::Newer(version));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_SIZE_LIMIT)?;
    // Overwrites deleted cookies, so that none stay in unused database pages.
    connection.pragma_update(None, "secure_delete", true)?;
    let migrations = MIGRATIONS.get(usize::try_from(version).unwrap_or(0)..).unwrap_or_default();
    if !migrations.is_empty() {
        let migrations = migrations.concat();
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {migrations} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        ))?;
    }
    Ok(connection)
}

fn make_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }
}

/// Locks the file's `.lock` sibling until the returned handle is dropped or the process exits.
fn lock_file(path: &Path) -> Result<File, StoreError> {
    let lock = output_file::open_regular(&paths::with_suffix(path, ".lock"), 0o600)?;
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(std::fs::TryLockError::WouldBlock) => return Err(StoreError::Busy),
            Err(std::fs::TryLockError::Error(cause)) => return Err(cause.into()),
        }
    }
}

/// Moves the file and SQLite's `-wal` and `-shm` files to `NAME.corrupt-DATE`.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(':', "");
    let unused_path = |number: u32| {
        let suffix = if number == 0 { String::new() } else { format!("-{number}") };
        let aside = paths::with_suffix(path, &format!(".corrupt-{date}{suffix}"));
        (!aside.exists()).then_some(aside)
    };
    let aside = (0..).find_map(unused_path).expect("the range is unbounded");
    output_file::rename(path, &aside)?;
    for part in ["-wal", "-shm"] {
        match output_file::rename(&paths::with_suffix(path, part), &paths::with_suffix(&aside, part)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
    }
    Ok(aside)
}

/// How long to wait for another process that has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Size in bytes to which SQLite truncates the journal after a burst of writes.
const JOURNAL_SIZE_LIMIT: i64 = 1 << 20;
/// SQLite `application_id`, `rngs` in ASCII: identifies the file to `file` and to rungs.
const APPLICATION_ID: i64 = 0x726e_6773;
/// The schema version after all migrations. A file with a larger number was written by a newer rungs.
const SCHEMA_VERSION: i64 = 3;
/// Migrations from an empty file to version 1, from 1 to 2, and so on. An older file keeps its rows.
const MIGRATIONS: [&str; 3] = [SCHEMA_V1, MIGRATION_V2, MIGRATION_V3];
pub(super) const SCHEMA_V1: &str = "
    CREATE TABLE evidence (
        site TEXT NOT NULL, grp TEXT NOT NULL, rung TEXT NOT NULL, profile TEXT NOT NULL,
        pages INTEGER NOT NULL, refusals INTEGER NOT NULL, good REAL NOT NULL, bad REAL NOT NULL,
        streak INTEGER NOT NULL, refused INTEGER NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (site, grp, rung, profile)
    ) WITHOUT ROWID;
    CREATE INDEX evidence_seen ON evidence (seen);
    CREATE TABLE identity (
        host TEXT NOT NULL, session TEXT NOT NULL, route TEXT NOT NULL, profile TEXT NOT NULL,
        saved TEXT NOT NULL, learned INTEGER NOT NULL, good_until INTEGER NOT NULL,
        PRIMARY KEY (host, session, route, profile)
    ) WITHOUT ROWID;
    CREATE INDEX identity_learned ON identity (learned);
";
/// Identities of version 1 were cleared with the machine's own location and the profile's own language.
const MIGRATION_V2: &str = "
    CREATE TABLE identity_2 (
        host TEXT NOT NULL, session TEXT NOT NULL, route TEXT NOT NULL, profile TEXT NOT NULL,
        place TEXT NOT NULL, saved TEXT NOT NULL, learned INTEGER NOT NULL, good_until INTEGER NOT NULL,
        PRIMARY KEY (host, session, route, profile, place)
    ) WITHOUT ROWID;
    INSERT INTO identity_2 SELECT host, session, route, profile, '', saved, learned, good_until FROM identity;
    DROP TABLE identity;
    ALTER TABLE identity_2 RENAME TO identity;
    CREATE INDEX identity_learned ON identity (learned);
    CREATE TABLE usual (
        site TEXT NOT NULL, grp TEXT NOT NULL, form TEXT NOT NULL,
        pages INTEGER NOT NULL, mean REAL NOT NULL, spread REAL NOT NULL, urls INTEGER NOT NULL,
        doubts INTEGER NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (site, grp, form)
    ) WITHOUT ROWID;
    CREATE INDEX usual_seen ON usual (seen);
    CREATE TABLE circuit (
        host TEXT NOT NULL, tier TEXT NOT NULL, kind TEXT NOT NULL, faults INTEGER NOT NULL,
        since INTEGER NOT NULL, until INTEGER NOT NULL, lasts INTEGER NOT NULL,
        PRIMARY KEY (host, tier)
    ) WITHOUT ROWID;
    CREATE INDEX circuit_until ON circuit (until);
";
const MIGRATION_V3: &str = "
    CREATE TABLE false_alarm (
        site TEXT NOT NULL, grp TEXT NOT NULL, kind TEXT NOT NULL, bytes INTEGER NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (site, grp, kind)
    ) WITHOUT ROWID;
    CREATE INDEX false_alarm_seen ON false_alarm (seen);
";
