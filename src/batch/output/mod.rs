//! Where records go: one format a file. What a format makes of a record is made on threads of its own;
//! one thread writes it.

mod bodies;
mod csv;
mod file;
mod jsonl;
mod sqlite;
mod warc;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::journal::Ranges;
use super::record::Record;
use super::summary::Summary;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::paths;

pub(super) use bodies::BodyStore;

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordFormat {
    /// One JSON object a line, bodies in it.
    #[default]
    Jsonl,
    /// One line of CSV, without bodies.
    Csv,
    /// WARC 1.1, gzipped where the file's name ends in `.gz`.
    Warc,
    /// A SQLite database.
    Sqlite,
}

impl RecordFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Jsonl, Self::Csv, Self::Warc, Self::Sqlite];

    /// The stable lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Warc => "warc",
            Self::Sqlite => "sqlite",
        }
    }

    /// The format that a file's name stands for.
    #[must_use]
    pub fn from_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let is = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        [
            (Self::Jsonl, &[".jsonl", ".ndjson"][..]),
            (Self::Csv, &[".csv"]),
            (Self::Warc, &[".warc", ".warc.gz"]),
            (Self::Sqlite, &[".sqlite", ".sqlite3", ".db"]),
        ]
        .into_iter()
        .find_map(|(format, ends)| is(ends).then_some(format))
    }
}

/// Where records go, and how.
#[derive(Clone, Debug)]
pub struct Output {
    destination: Destination,
    format: RecordFormat,
    bodies: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Destination {
    Stdout,
    File(PathBuf),
}

impl Output {
    /// Records go to the end of this file, which must not be there unless a checkpoint says what is in it.
    pub fn file(path: impl Into<PathBuf>, format: RecordFormat) -> Self {
        Self { destination: Destination::File(path.into()), format, bodies: None }
    }

    /// Records go to stdout.
    #[must_use]
    pub const fn stdout(format: RecordFormat) -> Self {
        Self { destination: Destination::Stdout, format, bodies: None }
    }

    /// Puts bodies into files in this folder, named by the SHA-256 of what is in them; records name the file.
    #[must_use]
    pub fn bodies(mut self, folder: impl Into<PathBuf>) -> Self {
        self.bodies = Some(folder.into());
        self
    }

    /// How a checkpoint calls it.
    pub(super) fn label(&self) -> String {
        match &self.destination {
            Destination::Stdout => "stdout".to_owned(),
            Destination::File(path) => {
                // The folder may be a link and the file need not be there.
                let folder = std::fs::canonicalize(paths::parent_or_cwd(path)).unwrap_or_default();
                folder.join(path.file_name().unwrap_or_default()).display().to_string()
            }
        }
    }

    pub(super) const fn format(&self) -> RecordFormat {
        self.format
    }

    /// Whether its records tell the request as it left.
    pub(super) fn captures_request(&self) -> bool {
        self.format == RecordFormat::Warc
    }

    pub(super) fn encoder(&self, wanted: Columns) -> Box<dyn RecordEncoder> {
        match self.format {
            RecordFormat::Jsonl => Box::new(jsonl::JsonlEncoder),
            RecordFormat::Csv => Box::new(csv::CsvEncoder::new(wanted)),
            RecordFormat::Warc => Box::new(warc::WarcEncoder { gzip: self.is_gzipped() }),
            RecordFormat::Sqlite => Box::new(sqlite::SqliteEncoder),
        }
    }

    /// The folder of bodies, made.
    pub(super) fn create_body_store(&self) -> Result<Option<BodyStore>> {
        self.bodies.as_deref().map(BodyStore::new).transpose()
    }

    fn is_gzipped(&self) -> bool {
        let Destination::File(path) = &self.destination else { return false };
        path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz"))
    }

    /// Writes down how a run ended, where the format has a place for it.
    pub(super) fn write_summary(&self, summary: &Summary) -> Result<()> {
        match (&self.destination, self.format) {
            (Destination::File(path), RecordFormat::Sqlite) => sqlite::insert_summary(path, summary),
            _ => Ok(()),
        }
    }

    /// What is there already and not a batch's is not written over.
    pub(super) fn ensure_empty(&self) -> Result<()> {
        let Destination::File(path) = &self.destination else { return Ok(()) };
        if !std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0) {
            return Ok(());
        }
        let message = format!("{} is there already, and no checkpoint says what is in it", path.display());
        Err(Error::new(ErrorKind::Config, message)
            .with_hint("name another --out, or remove it; with its checkpoint beside it, a batch goes on"))
    }

    /// Opens it where the journal says it ended: what is behind that is cut off.
    pub(super) fn open(&self, from: u64) -> Result<(Box<dyn RecordStore>, OpenReport)> {
        match &self.destination {
            Destination::Stdout if self.format == RecordFormat::Sqlite => {
                let message = "a database cannot be written to standard output";
                Err(Error::new(ErrorKind::Config, message).with_hint("name a file with --out"))
            }
            Destination::Stdout => Ok((Box::new(file::PipeStore::stdout()), OpenReport::default())),
            Destination::File(path) if self.format == RecordFormat::Sqlite => {
                let (store, opened) = sqlite::SqliteStore::open(path, from)?;
                Ok((Box::new(store), opened))
            }
            Destination::File(path) => {
                if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
                    return Ok((Box::new(file::PipeStore::open(path)?), OpenReport::default()));
                }
                let (store, opened) = file::FileStore::open(path, from)?;
                Ok((Box::new(store), opened))
            }
        }
    }

    /// Prepares that these parts are taken out of it. How long it is then.
    pub(super) fn prepare_replace(&self, parts: &Ranges, len: u64) -> Result<u64> {
        match &self.destination {
            Destination::Stdout => Ok(len),
            // Rows keep their numbers.
            Destination::File(_) if self.format == RecordFormat::Sqlite => Ok(len),
            Destination::File(path) => {
                file::write_without(path, parts, len).map_err(|cause| write_error(path, cause))
            }
        }
    }

    /// Takes these parts out of it, as was prepared. When that was done before, it does nothing.
    pub(super) fn replace(&self, parts: &Ranges) -> Result<()> {
        match &self.destination {
            Destination::Stdout => Ok(()),
            Destination::File(path) if self.format == RecordFormat::Sqlite => {
                sqlite::delete_rows(path, parts)
            }
            Destination::File(path) => file::replace(path).map_err(|cause| write_error(path, cause)),
        }
    }
}

/// What is read out of pages, where a format has a column for each.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) fields: Vec<String>,
    pub(super) text: bool,
    pub(super) links: bool,
}

/// What was found where the output is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OpenReport {
    /// Bytes or rows behind the last committed record that were cut off.
    pub(super) truncated: u64,
}

/// Makes a record's bytes.
pub(super) trait RecordEncoder: Send + Sync {
    fn encode(&self, record: &Record) -> Result<EncodedRecord>;

    /// What stands at the beginning of the output, before the first record.
    fn header(&self) -> Option<EncodedRecord> {
        None
    }
}

/// What a record has become.
pub(super) enum EncodedRecord {
    Bytes(Vec<u8>),
    Row(Box<sqlite::PageRow>),
}

impl EncodedRecord {
    /// About how much memory it takes; of bytes, how many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Row(row) => row.size(),
        }
    }
}

/// Takes what records have become, in order.
pub(super) trait RecordStore: Send {
    /// Appends them, all or none of them, and says how long each is in the store's own unit.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: none was written then.
    fn write(&mut self, records: &[EncodedRecord]) -> Result<Vec<u64>>;

    /// How much there is, in the store's own unit.
    fn position(&self) -> u64;

    /// All that was written is on the disk for good.
    fn sync(&mut self) -> Result<()>;

    /// The reader went away: it has what it wanted.
    fn is_closed(&self) -> bool {
        false
    }
}

impl FromStr for RecordFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("`{}` is no format of a batch", text.escape_debug()))
        })
    }
}

impl fmt::Display for RecordFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

pub(super) fn write_error(path: &Path, cause: io::Error) -> Error {
    let is_full = matches!(
        cause.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    );
    let error = Error::new(ErrorKind::Io, format!("could not write {}", path.display())).with_source(cause);
    if is_full {
        return error.with_hint(
            "what was finished is safe: make room and give the same command again, and it goes on from there",
        );
    }
    error
}
