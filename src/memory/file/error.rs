//! Errors of the memory file. Converts rusqlite's errors by their code.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::exchange::error::Error;
use crate::exchange::error_kind::ErrorKind;

/// Why the memory file could not be read or written.
#[derive(Debug)]
pub(in crate::memory) enum StoreError {
    /// The content is not a valid database.
    Corrupt(rusqlite::Error),
    /// Another process locked it for too long.
    Busy,
    /// A newer rungs wrote it, with this schema version.
    Newer(i64),
    /// It is another program's database.
    Foreign,
    /// It cannot be read or written, for example because of permissions or a full disk.
    Io(std::io::Error),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(cause: rusqlite::Error) -> Self {
        match cause.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(cause),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Sqlite(cause),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(cause: std::io::Error) -> Self {
        Self::Io(cause)
    }
}

impl StoreError {
    /// Whether a later try may succeed.
    pub(in crate::memory) const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Io(_) | Self::Sqlite(_))
    }

    pub(in crate::memory) fn into_error(self, path: &Path) -> Error {
        let path = path.display();
        match self {
            Self::Newer(version) => Error::new(
                ErrorKind::Config,
                format!("the host memory {path} was written by a newer rungs (schema {version}); it was not changed"),
            )
            .with_hint("update rungs, or set RUNGS_MEMORY to another file"),
            Self::Foreign => {
                Error::new(ErrorKind::Config, format!("{path} is another program's database, not rungs' host memory"))
                    .with_hint("set RUNGS_MEMORY to another file")
            }
            Self::Busy => Error::new(ErrorKind::Io, format!("the host memory {path} is in use by another process")),
            Self::Io(cause) => {
                Error::new(ErrorKind::Io, format!("the host memory {path} cannot be used")).with_source(cause)
            }
            Self::Corrupt(cause) => {
                Error::new(ErrorKind::Io, format!("the host memory {path} is corrupt")).with_source(cause)
            }
            Self::Sqlite(cause) => {
                Error::new(ErrorKind::Io, format!("the host memory {path} cannot be used")).with_source(cause)
            }
        }
    }
}
