//! Record outputs, one file for each format. Records are encoded on several threads and written by one.

mod bodies;
mod csv;
mod file;
mod jsonl;
mod sqlite;
mod wacz;
mod warc;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::journal::Ranges;
use super::record::Record;
use super::summary::Summary;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::paths;

pub(super) use bodies::BodyStore;

/// The format of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordFormat {
    /// One JSON object per line, including the body.
    #[default]
    Jsonl,
    /// One line of CSV per record, without the body.
    Csv,
    /// WARC 1.1, gzipped if the file name ends in `.gz`.
    Warc,
    /// A SQLite database.
    Sqlite,
    /// WACZ 1.1.1: a WARC with its index and its list of pages in one file. The file appears when a run is complete.
    /// Until then the WARC is beside it, as `OUT.warc.gz`.
    Wacz,
}

impl RecordFormat {
    /// All formats.
    pub const ALL: [Self; 5] = [Self::Jsonl, Self::Csv, Self::Warc, Self::Sqlite, Self::Wacz];

    /// The stable lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Warc => "warc",
            Self::Sqlite => "sqlite",
            Self::Wacz => "wacz",
        }
    }

    /// Returns the format for a file name extension.
    #[must_use]
    pub fn from_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let is = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        [
            (Self::Jsonl, &[".jsonl", ".ndjson"][..]),
            (Self::Csv, &[".csv"]),
            (Self::Warc, &[".warc", ".warc.gz"]),
            (Self::Sqlite, &[".sqlite", ".sqlite3", ".db"]),
            (Self::Wacz, &[".wacz"]),
        ]
        .into_iter()
        .find_map(|(format, ends)| is(ends).then_some(format))
    }
}

/// The output of a batch: a destination and a format.
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
    /// Writes records to a file. The file must not exist unless a checkpoint covers it.
    pub fn file(path: impl Into<PathBuf>, format: RecordFormat) -> Self {
        Self { destination: Destination::File(path.into()), format, bodies: None }
    }

    /// Writes records to stdout.
    #[must_use]
    pub const fn stdout(format: RecordFormat) -> Self {
        Self { destination: Destination::Stdout, format, bodies: None }
    }

    /// Writes each body to a file in this folder, named by its SHA-256. Records contain the file name.
    #[must_use]
    pub fn bodies(mut self, folder: impl Into<PathBuf>) -> Self {
        self.bodies = Some(folder.into());
        self
    }

    /// The label in a checkpoint.
    pub(super) fn label(&self) -> String {
        match &self.destination {
            Destination::Stdout => "stdout".to_owned(),
            Destination::File(path) => {
                // Only the folder is canonicalized, because the file may not exist yet.
                let folder = std::fs::canonicalize(paths::parent_or_cwd(path)).unwrap_or_default();
                folder.join(path.file_name().unwrap_or_default()).display().to_string()
            }
        }
    }

    pub(super) const fn format(&self) -> RecordFormat {
        self.format
    }

    /// Whether records contain the request as it was sent.
    pub(super) fn captures_request(&self) -> bool {
        matches!(self.format, RecordFormat::Warc | RecordFormat::Wacz)
    }

    pub(super) fn encoder(&self, wanted: Columns) -> Box<dyn RecordEncoder> {
        match self.format {
            RecordFormat::Jsonl => Box::new(jsonl::JsonlEncoder),
            RecordFormat::Csv => Box::new(csv::CsvEncoder::new(wanted)),
            RecordFormat::Warc => Box::new(warc::WarcEncoder { gzip: self.is_gzipped() }),
            RecordFormat::Wacz => Box::new(warc::WarcEncoder { gzip: true }),
            RecordFormat::Sqlite => Box::new(sqlite::SqliteEncoder),
        }
    }

    /// Creates the folder for bodies, if one is set.
    pub(super) fn create_body_store(&self) -> Result<Option<BodyStore>> {
        self.bodies.as_deref().map(BodyStore::new).transpose()
    }

    fn is_gzipped(&self) -> bool {
        let Destination::File(path) = &self.destination else { return false };
        path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz"))
    }

    /// Writes the summary, if the format stores summaries.
    pub(super) fn write_summary(&self, summary: &Summary) -> Result<()> {
        match (&self.destination, self.format) {
            (Destination::File(path), RecordFormat::Sqlite) => sqlite::insert_summary(path, summary),
            _ => Ok(()),
        }
    }

    /// Fails if the file exists and is not empty, so that no foreign file is overwritten.
    pub(super) fn ensure_empty(&self) -> Result<()> {
        let Destination::File(path) = &self.destination else { return Ok(()) };
        let is_used =
            |path: &Path| std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0);
        let working = (self.format == RecordFormat::Wacz).then(|| wacz::working_path(path));
        let Some(path) = [Some(path), working.as_ref()].into_iter().flatten().find(|path| is_used(path))
        else {
            return Ok(());
        };
        let message = format!("{} exists already, and no checkpoint covers it", path.display());
        Err(Error::new(ErrorKind::Config, message)
            .with_hint("pass another --out, or remove the file; to resume a batch, restore its checkpoint"))
    }

    /// Opens the output at the position of the journal's last commit, and truncates it there.
    pub(super) fn open(&self, from: u64) -> Result<(Box<dyn RecordStore>, OpenReport)> {
        match &self.destination {
            Destination::Stdout if matches!(self.format, RecordFormat::Sqlite | RecordFormat::Wacz) => {
                let message = format!("the format {} cannot be written to standard output", self.format);
                Err(Error::new(ErrorKind::Config, message).with_hint("pass a file with --out"))
            }
            Destination::Stdout => Ok((Box::new(file::PipeStore::stdout()), OpenReport::default())),
            Destination::File(path) if self.format == RecordFormat::Sqlite => {
                let (store, opened) = sqlite::SqliteStore::open(path, from)?;
                Ok((Box::new(store), opened))
            }
            Destination::File(path) if self.format == RecordFormat::Wacz => {
                let (store, opened) = wacz::WaczStore::open(path, from)?;
                Ok((Box::new(store), opened))
            }
            Destination::File(path) => {
                if let Some(store) = file::PipeStore::open(path)? {
                    return Ok((Box::new(store), OpenReport::default()));
                }
                let (store, opened) = file::FileStore::open(path, from)?;
                Ok((Box::new(store), opened))
            }
        }
    }

    /// Prepares the removal of these ranges. Returns the resulting length.
    pub(super) fn prepare_replace(&self, parts: &Ranges, len: u64) -> Result<u64> {
        match &self.destination {
            Destination::Stdout => Ok(len),
            // Deleting rows does not change the IDs of others.
            Destination::File(_) if self.format == RecordFormat::Sqlite => Ok(len),
            Destination::File(path) => {
                let written = self.records_path(path).and_then(|path| file::write_without(&path, parts, len));
                written.map_err(|cause| write_error(path, cause))
            }
        }
    }

    /// Removes these ranges, as prepared. It does nothing if they were removed before.
    pub(super) fn replace(&self, parts: &Ranges) -> Result<()> {
        match &self.destination {
            Destination::Stdout => Ok(()),
            Destination::File(path) if self.format == RecordFormat::Sqlite => {
                sqlite::delete_rows(path, parts)
            }
            Destination::File(path) => {
                let replaced = self.records_path(path).and_then(|path| file::replace(&path));
                replaced.map_err(|cause| write_error(path, cause))
            }
        }
    }

    /// Returns the file that records are appended to. A WACZ is unpacked first.
    fn records_path<'a>(&self, path: &'a Path) -> io::Result<Cow<'a, Path>> {
        if self.format != RecordFormat::Wacz {
            return Ok(path.into());
        }
        wacz::unpack(path)?;
        Ok(wacz::working_path(path).into())
    }
}

/// The extracted data, for formats with columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) fields: Vec<String>,
    pub(super) text: bool,
    pub(super) links: bool,
}

/// The result of opening an output.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OpenReport {
    /// Truncated bytes or rows after the last committed record.
    pub(super) truncated: u64,
}

/// Encodes records.
pub(super) trait RecordEncoder: Send + Sync {
    fn encode(&self, record: &Record) -> Result<EncodedRecord>;

    /// The header of the output, before the first record.
    fn header(&self) -> Option<EncodedRecord> {
        None
    }
}

/// An encoded record.
pub(super) enum EncodedRecord {
    Bytes(Vec<u8>),
    Row(Box<sqlite::PageRow>),
}

impl EncodedRecord {
    /// The number of bytes, or the approximate memory use of a row.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Row(row) => row.size(),
        }
    }
}

/// Stores encoded records, in order.
pub(super) trait RecordStore: Send {
    /// Appends all records or none. Returns the length of each, in the store's own unit.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the write failed; then no record was written.
    fn write(&mut self, records: &[EncodedRecord]) -> Result<Vec<u64>>;

    /// The length of the output, in the store's own unit.
    fn position(&self) -> u64;

    /// Syncs all written records to disk.
    fn sync(&mut self) -> Result<()>;

    /// Completes the output of a complete run.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether the reader of a pipe closed it.
    fn is_closed(&self) -> bool {
        false
    }
}

impl FromStr for RecordFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("`{}` is not a record format", text.escape_debug()))
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
            "finished records are safe: free disk space, then run the same command again to resume",
        );
    }
    error
}
