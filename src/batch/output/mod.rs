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
use crate::folder;
use crate::kind::ErrorKind;

pub(super) use bodies::Bodies;

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
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

impl Format {
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
    pub fn of(path: &Path) -> Option<Self> {
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
    place: Place,
    format: Format,
    bodies: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Stdout,
    File(PathBuf),
}

impl Output {
    /// Records go to the end of this file, which must not be there unless a checkpoint says what is in it.
    pub fn file(path: impl Into<PathBuf>, format: Format) -> Self {
        Self { place: Place::File(path.into()), format, bodies: None }
    }

    /// Records go to stdout.
    #[must_use]
    pub const fn stdout(format: Format) -> Self {
        Self { place: Place::Stdout, format, bodies: None }
    }

    /// Puts bodies into files in this folder, named by the SHA-256 of what is in them; records name the file.
    #[must_use]
    pub fn bodies(mut self, folder: impl Into<PathBuf>) -> Self {
        self.bodies = Some(folder.into());
        self
    }

    /// How a checkpoint calls it.
    pub(super) fn label(&self) -> String {
        match &self.place {
            Place::Stdout => "stdout".to_owned(),
            Place::File(path) => {
                // The folder may be a link and the file need not be there.
                let folder = std::fs::canonicalize(folder::of(path)).unwrap_or_default();
                folder.join(path.file_name().unwrap_or_default()).display().to_string()
            }
        }
    }

    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Whether its records tell the request as it left.
    pub(super) fn tells_sent(&self) -> bool {
        self.format == Format::Warc
    }

    pub(super) fn encoder(&self, wanted: Columns) -> Box<dyn Encode> {
        match self.format {
            Format::Jsonl => Box::new(jsonl::Jsonl),
            Format::Csv => Box::new(csv::Csv::new(wanted)),
            Format::Warc => Box::new(warc::Warc { packed: self.is_packed() }),
            Format::Sqlite => Box::new(sqlite::Sqlite),
        }
    }

    /// The folder of bodies, made.
    pub(super) fn folder(&self) -> Result<Option<Bodies>> {
        self.bodies.as_deref().map(Bodies::new).transpose()
    }

    fn is_packed(&self) -> bool {
        let Place::File(path) = &self.place else { return false };
        path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz"))
    }

    /// Writes down how a run ended, where the format has a place for it.
    pub(super) fn note(&self, summary: &Summary) -> Result<()> {
        match (&self.place, self.format) {
            (Place::File(path), Format::Sqlite) => sqlite::note(path, summary),
            _ => Ok(()),
        }
    }

    /// What is there already and not a batch's is not written over.
    pub(super) fn refuse_old(&self) -> Result<()> {
        let Place::File(path) = &self.place else { return Ok(()) };
        if !std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0) {
            return Ok(());
        }
        let message = format!("{} is there already, and no checkpoint says what is in it", path.display());
        Err(Error::new(ErrorKind::Config, message)
            .with_hint("name another --out, or remove it; with its checkpoint beside it, a batch goes on"))
    }

    /// Opens it where the journal says it ended: what is behind that is cut off.
    pub(super) fn open(&self, from: u64) -> Result<(Box<dyn Store>, Opened)> {
        match &self.place {
            Place::Stdout if self.format == Format::Sqlite => {
                let message = "a database cannot be written to standard output";
                Err(Error::new(ErrorKind::Config, message).with_hint("name a file with --out"))
            }
            Place::Stdout => Ok((Box::new(file::Pipe::stdout()), Opened::default())),
            Place::File(path) if self.format == Format::Sqlite => {
                let (store, opened) = sqlite::Database::open(path, from)?;
                Ok((Box::new(store), opened))
            }
            Place::File(path) => {
                if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
                    return Ok((Box::new(file::Pipe::open(path)?), Opened::default()));
                }
                let (store, opened) = file::File::open(path, from)?;
                Ok((Box::new(store), opened))
            }
        }
    }

    /// Prepares that these parts are taken out of it. How long it is then.
    pub(super) fn without(&self, parts: &Ranges, len: u64) -> Result<u64> {
        match &self.place {
            Place::Stdout => Ok(len),
            // Rows keep their numbers.
            Place::File(_) if self.format == Format::Sqlite => Ok(len),
            Place::File(path) => file::without(path, parts, len).map_err(|cause| unwritten(path, cause)),
        }
    }

    /// Takes these parts out of it, as was prepared. When that was done before, it does nothing.
    pub(super) fn replace(&self, parts: &Ranges) -> Result<()> {
        match &self.place {
            Place::Stdout => Ok(()),
            Place::File(path) if self.format == Format::Sqlite => sqlite::without(path, parts),
            Place::File(path) => file::replace(path).map_err(|cause| unwritten(path, cause)),
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
pub(super) struct Opened {
    /// Bytes or rows behind the last committed record that were cut off.
    pub(super) cut: u64,
}

/// Makes a record's bytes.
pub(super) trait Encode: Send + Sync {
    fn encode(&self, record: &Record) -> Result<Encoded>;

    /// What stands at the beginning of the output, before the first record.
    fn prelude(&self) -> Option<Encoded> {
        None
    }
}

/// What a record has become.
pub(super) enum Encoded {
    Bytes(Vec<u8>),
    Row(Box<sqlite::Row>),
}

impl Encoded {
    /// About how much memory it takes; of bytes, how many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Row(row) => row.size(),
        }
    }
}

/// Takes what records have become, in order.
pub(super) trait Store: Send {
    /// Appends them, all or none of them, and says how long each is in the store's own unit.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: none was written then.
    fn write(&mut self, records: &[Encoded]) -> Result<Vec<u64>>;

    /// How much there is, in the store's own unit.
    fn position(&self) -> u64;

    /// All that was written is on the disk for good.
    fn sync(&mut self) -> Result<()>;

    /// The reader went away: it has what it wanted.
    fn is_unwanted(&self) -> bool {
        false
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("`{}` is no format of a batch", text.escape_debug()))
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

pub(super) fn unwritten(path: &Path, cause: io::Error) -> Error {
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
