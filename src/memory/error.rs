//! What can be wrong with the file: rusqlite's errors end here, by code.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::error::Error;
use crate::error_kind::ErrorKind;

/// Why the memory file could not be read or written.
#[derive(Debug)]
pub(super) enum StoreError {
    /// Its bytes are no memory, or no longer.
    Corrupt(rusqlite::Error),
    /// Another process held it for too long.
    Busy,
    /// It was written by a newer rungs, whose version this is.
    Newer(i64),
    /// Another program's database.
    Foreign,
    /// It cannot be read or written: permissions, a full disk, whatever the system says.
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
    /// Whether a later try may go better.
    pub(super) const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Io(_) | Self::Sqlite(_))
    }

    pub(super) fn into_error(self, path: &Path) -> Error {
        let path = path.display();
        match self {
            Self::Newer(version) => Error::new(
                ErrorKind::Config,
                format!("the host memory {path} was written by a newer rungs (schema {version}); it is left as it is"),
            )
            .with_hint("update rungs, or name another file in RUNGS_MEMORY"),
            Self::Foreign => {
                Error::new(ErrorKind::Config, format!("{path} is another program's database, not rungs' host memory"))
                    .with_hint("name another file in RUNGS_MEMORY")
            }
            Self::Busy => Error::new(ErrorKind::Io, format!("the host memory {path} is in use by another process")),
            Self::Io(cause) => {
                Error::new(ErrorKind::Io, format!("the host memory {path} cannot be used")).with_source(cause)
            }
            Self::Corrupt(cause) => {
                Error::new(ErrorKind::Io, format!("the host memory {path} is damaged")).with_source(cause)
            }
            Self::Sqlite(cause) => {
                Error::new(ErrorKind::Io, format!("the host memory {path} cannot be used")).with_source(cause)
            }
        }
    }
}
