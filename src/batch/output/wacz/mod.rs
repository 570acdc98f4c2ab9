//! WACZ 1.1.1: a ZIP file with the WARC of a batch, its index (CDXJ), its list of pages, and their digests. Replay tools
//! open it without a server.
//!
//! The records of a run go to a WARC beside the output, `OUT.warc.gz`. A complete run packs it into the output and
//! removes it. A later run with the same checkpoint unpacks it again when it has something to add.

mod index;
mod package;
mod surt;
mod warc_reader;

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::file::{FileStore, open_error};
use super::{EncodedRecord, OpenReport, RecordStore, write_error};
use crate::exchange::error::Result;
use crate::os::output_file;
use crate::os::paths;

/// The store of a run.
pub(super) struct WaczStore {
    output: PathBuf,
    state: State,
}

enum State {
    /// The output has the WARC of this length, and nothing was added.
    Packed(u64),
    Unpacked(FileStore),
}

impl WaczStore {
    /// Opens the WARC at `from` bytes, and truncates it there.
    pub(super) fn open(output: &Path, from: u64) -> Result<(Self, OpenReport)> {
        // Anything but a file is refused before it is written to.
        output_file::resolve_regular(output).map_err(|cause| open_error(output, cause))?;
        let (output, working) = (output.to_owned(), working_path(output));
        if !working.exists() && from > 0 && packed_len(&output).is_ok_and(|len| len == from) {
            return Ok((Self { output, state: State::Packed(from) }, OpenReport::default()));
        }
        unpack(&output).map_err(|cause| write_error(&working, cause))?;
        let (store, report) = FileStore::open(&working, from)?;
        Ok((Self { output, state: State::Unpacked(store) }, report))
    }

    /// Returns the WARC, which is unpacked first.
    fn unpacked(&mut self) -> Result<&mut FileStore> {
        if let State::Packed(len) = self.state {
            let working = working_path(&self.output);
            unpack(&self.output).map_err(|cause| write_error(&working, cause))?;
            self.state = State::Unpacked(FileStore::open(&working, len)?.0);
        }
        match &mut self.state {
            State::Unpacked(store) => Ok(store),
            State::Packed(_) => unreachable!("it was unpacked above"),
        }
    }
}

impl RecordStore for WaczStore {
    fn write(&mut self, records: &[EncodedRecord]) -> Result<Vec<u64>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.unpacked()?.write(records)
    }

    fn position(&self) -> u64 {
        match &self.state {
            State::Packed(len) => *len,
            State::Unpacked(store) => store.position(),
        }
    }

    fn sync(&mut self) -> Result<()> {
        match &mut self.state {
            State::Packed(_) => Ok(()),
            State::Unpacked(store) => store.sync(),
        }
    }

    fn finish(&mut self) -> Result<()> {
        let State::Unpacked(store) = &self.state else { return Ok(()) };
        let (len, working) = (store.position(), working_path(&self.output));
        package::write(&working, &self.output).map_err(|cause| write_error(&self.output, cause))?;
        fs::remove_file(&working).map_err(|cause| write_error(&working, cause))?;
        self.state = State::Packed(len);
        Ok(())
    }
}

/// The WARC of a run, beside its output. If the output is a link, it is beside the file that the link leads to.
pub(super) fn working_path(output: &Path) -> PathBuf {
    let output = output_file::resolve_regular(output).unwrap_or_else(|_| output.to_owned());
    paths::with_suffix(&output, ".warc.gz")
}

/// Copies the WARC out of the output, if there is none beside it.
pub(super) fn unpack(output: &Path) -> io::Result<()> {
    let working = working_path(output);
    if working.exists() || !output.exists() {
        return Ok(());
    }
    let mut archive = open_archive(output)?;
    let mut packed = archive.by_name(DATA_PATH).map_err(io::Error::other)?;
    let mut file = output_file::OutputFile::create(&working, output_file::FileMode::Ordinary)?;
    io::copy(&mut packed, &mut file)?;
    file.try_clone_file()?.sync_all()?;
    file.commit()
}

fn packed_len(output: &Path) -> io::Result<u64> {
    let mut archive = open_archive(output)?;
    let packed = archive.by_name(DATA_PATH).map_err(io::Error::other)?;
    Ok(packed.size())
}

fn open_archive(path: &Path) -> io::Result<ZipArchive<BufReader<File>>> {
    ZipArchive::new(BufReader::new(File::open(path)?)).map_err(io::Error::other)
}

const DATA_NAME: &str = "data.warc.gz";
const DATA_PATH: &str = "archive/data.warc.gz";

#[cfg(test)]
mod tests;
