//! Appends records as bytes to a file or a pipe.

use std::fs;
use std::io::{self, BufWriter, IsTerminal as _, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{EncodedRecord, OpenReport, RecordStore, write_error};
use crate::batch::journal::Ranges;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::os::output_file;
use crate::os::paths;
use crate::text::redact::EscapedWriter;

/// An append-only file.
pub(super) struct FileStore {
    inner: fs::File,
    path: PathBuf,
    len: u64,
}

impl FileStore {
    /// Opens the file, and truncates it to `from` bytes.
    pub(super) fn open(path: &Path, from: u64) -> Result<(Self, OpenReport)> {
        let mut file = output_file::open_regular(path, 0o666).map_err(|cause| open_error(path, cause))?;
        let broken = |cause| write_error(path, cause);
        let size = file.metadata().map_err(broken)?.len();
        if size < from {
            let message =
                format!("{} has {size} bytes, fewer than the {from} bytes in its checkpoint", path.display());
            return Err(Error::new(ErrorKind::Config, message)
                .with_hint("to start over, remove the file and its checkpoint, or pass other files"));
        }
        file.set_len(from).map_err(broken)?;
        file.seek(SeekFrom::Start(from)).map_err(broken)?;
        Ok((Self { inner: file, path: path.to_owned(), len: from }, OpenReport { truncated: size - from }))
    }
}

impl RecordStore for FileStore {
    fn write(&mut self, records: &[EncodedRecord]) -> Result<Vec<u64>> {
        let (bytes, lens) = concat_records(records);
        if let Err(cause) = self.inner.write_all(&bytes) {
            // A reader must not see an incomplete record. The next run would truncate it anyway.
            let _ = self.inner.set_len(self.len);
            let _ = self.inner.seek(SeekFrom::Start(self.len));
            return Err(write_error(&self.path, cause));
        }
        self.len += bytes.len() as u64;
        Ok(lens)
    }

    fn position(&self) -> u64 {
        self.len
    }

    fn sync(&mut self) -> Result<()> {
        self.inner.sync_data().map_err(|cause| write_error(&self.path, cause))
    }
}

/// Stdout, a named pipe or a device: written bytes cannot be removed.
pub(super) struct PipeStore {
    out: Box<dyn Write + Send>,
    path: PathBuf,
    len: u64,
    is_closed: bool,
}

impl PipeStore {
    pub(super) fn stdout() -> Self {
        // A terminal does not get the bytes of a site, which a CSV or WARC record contains.
        let out: Box<dyn Write + Send> = if io::stdout().is_terminal() {
            Box::new(EscapedWriter::new(io::stdout()))
        } else {
            Box::new(io::stdout())
        };
        Self { out, path: "standard output".into(), len: 0, is_closed: false }
    }

    /// Opens a device, a pipe or an open file. `None` if the path is a regular or missing file.
    pub(super) fn open(path: &Path) -> Result<Option<Self>> {
        let out = output_file::open_stream(path).map_err(|cause| open_error(path, cause))?;
        Ok(out.map(|out| Self { out: Box::new(out), path: path.to_owned(), len: 0, is_closed: false }))
    }
}

impl RecordStore for PipeStore {
    fn write(&mut self, records: &[EncodedRecord]) -> Result<Vec<u64>> {
        let (bytes, lens) = concat_records(records);
        match self.out.write_all(&bytes).and_then(|()| self.out.flush()) {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => self.is_closed = true,
            Err(cause) => return Err(write_error(&self.path, cause)),
        }
        self.len += bytes.len() as u64;
        Ok(lens)
    }

    fn position(&self) -> u64 {
        self.len
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }
}

/// Concatenates all records for one write. Returns also the length of each.
fn concat_records(records: &[EncodedRecord]) -> (std::borrow::Cow<'_, [u8]>, Vec<u64>) {
    let lens = records.iter().map(|record| record.len() as u64).collect();
    if let [EncodedRecord::Bytes(bytes)] = records {
        return (bytes.into(), lens);
    }
    let mut all = Vec::with_capacity(records.iter().map(EncodedRecord::len).sum());
    for record in records {
        // Byte stores never receive rows.
        if let EncodedRecord::Bytes(bytes) = record {
            all.extend_from_slice(bytes);
        }
    }
    (all.into(), lens)
}

/// The error of an output that could not be opened.
pub(super) fn open_error(path: &Path, cause: io::Error) -> Error {
    Error::new(ErrorKind::Config, format!("could not open {}", path.display())).with_source(cause)
}

/// Writes the first `len` bytes of `path`, without `parts`, to a file beside it. Returns that file's length.
pub(super) fn write_without(path: &Path, parts: &Ranges, len: u64) -> io::Result<u64> {
    let path = &output_file::resolve_regular(path)?;
    let mut from = fs::File::open(path)?;
    let into = output_file::create_sibling(path, &part_path(path))?;
    let mut into = BufWriter::with_capacity(1 << 18, into);
    let (mut at, mut written) = (0, 0);
    for (begins, long) in parts.iter().chain([(len, 0)]) {
        from.seek(SeekFrom::Start(at))?;
        written += io::copy(&mut Read::by_ref(&mut from).take(begins - at), &mut into)?;
        at = begins + u64::from(long);
    }
    into.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(written)
}

/// Renames the prepared file to `path`, if it exists.
pub(super) fn replace(path: &Path) -> io::Result<()> {
    let path = &output_file::resolve_regular(path)?;
    match output_file::rename(&part_path(path), path) {
        Ok(()) => {}
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(cause),
    }
    fs::File::open(paths::parent_or_cwd(path))?.sync_all()
}

fn part_path(path: &Path) -> PathBuf {
    paths::with_suffix(path, ".part")
}
