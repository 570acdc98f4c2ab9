//! Opens the memory file, creates or migrates its schema, and moves a corrupt file aside.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::table::TableSpec;
use crate::os::output_file;
use crate::os::paths;

/// Opens the file at `path`, creates it if it is missing, and brings its tables up to date. Moves a corrupt
/// file aside first and returns its new path as the second value.
pub(super) fn open(path: &Path, specs: &[&TableSpec]) -> Result<(Connection, Option<PathBuf>), StoreError> {
    make_folder(path)?;
    // A link stays, and its target is opened. A device or a pipe is an error.
    let path = &output_file::resolve_regular(path)?;
    // Two processes that create or repair the same file must not undo each other's work.
    let _lock = lock_file(path)?;
    match connect(path, specs) {
        Err(StoreError::Corrupt(_)) => {
            let aside = move_aside(path)?;
            Ok((connect(path, specs)?, Some(aside)))
        }
        connected => Ok((connected?, None)),
    }
}

fn connect(path: &Path, specs: &[&TableSpec]) -> Result<Connection, StoreError> {
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
    let updates = updates(specs, version, tables > 0);
    if version < SCHEMA_VERSION || has_missing_table(&connection, specs)? {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {updates} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        ))?;
    }
    Ok(connection)
}

/// Returns the SQL that brings the tables of a file of `version` up to date. An older file keeps its rows.
fn updates(specs: &[&TableSpec], version: i64, has_tables: bool) -> String {
    let upgrades = specs.iter().flat_map(|spec| spec.upgrades);
    let upgrades = upgrades.filter(|(from, _)| has_tables && *from >= version).map(|(_, sql)| *sql);
    upgrades.chain(specs.iter().map(|spec| spec.schema)).collect()
}

/// Whether a table does not exist yet. A new table needs no new schema version: an older rungs ignores it.
fn has_missing_table(connection: &Connection, specs: &[&TableSpec]) -> Result<bool, StoreError> {
    let mut query =
        connection.prepare("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1")?;
    for spec in specs {
        if query.query_row([spec.name], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(true);
        }
    }
    Ok(false)
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
/// The version of the tables' columns. A file with a larger number was written by a newer rungs.
const SCHEMA_VERSION: i64 = 3;
