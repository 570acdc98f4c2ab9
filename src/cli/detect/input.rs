//! The files that `rungs detect` reads.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rungs::detect::har::{self, Har};
use rungs::detect::recorded::{self, RecordedResponse};

use crate::cli::exit::Failure;

/// The content of a file.
pub(super) enum Saved {
    One(RecordedResponse),
    Har(Har),
    /// Neither a response, a page nor a HAR file; the message says what is wrong.
    Other(String),
}

/// A file of a list of files and folders.
pub(super) struct FoundFile {
    pub(super) path: PathBuf,
    /// Whether it was named, and not found in a folder.
    pub(super) is_named: bool,
    /// Why a folder could not be read.
    pub(super) cause: Option<io::Error>,
}

/// Reads a file, or stdin for `-`.
pub(super) fn read(file: &Path) -> Result<Saved, Failure> {
    let bytes = read_bytes(file)?;
    let has_ending = |endings: &[&str]| {
        file.extension().is_some_and(|found| endings.iter().any(|ending| found.eq_ignore_ascii_case(ending)))
    };
    if !bytes.starts_with(b"HTTP/") {
        if has_ending(&["html", "htm", "xhtml"]) {
            return Ok(Saved::One(RecordedResponse::from_page(bytes)));
        }
        if has_ending(&["har"]) {
            return parse_har(file, &bytes);
        }
    }
    Ok(match recorded::parse(&bytes) {
        Ok(response) => Saved::One(response),
        Err(error) => Saved::Other(format!("{}: {}", file.display(), error.chain())),
    })
}

/// Reads a HAR file, or stdin for `-`.
pub(super) fn read_har(file: &Path) -> Result<Saved, Failure> {
    parse_har(file, &read_bytes(file)?)
}

fn parse_har(file: &Path, bytes: &[u8]) -> Result<Saved, Failure> {
    let har = har::parse(bytes)
        .map_err(|error| Failure::Usage(format!("{}: {}", file.display(), error.chain())))?;
    Ok(Saved::Har(har))
}

fn read_bytes(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = MAX_INPUT_BYTES + 1;
    let read = if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|cause| Failure::Io(format!("could not read {}", file.display()), cause))?;
    if bytes.len() as u64 > MAX_INPUT_BYTES {
        let limit = MAX_INPUT_BYTES >> 20;
        return Err(Failure::Usage(format!("{}: larger than {limit} MiB", file.display())));
    }
    Ok(bytes)
}

/// Returns the files, and those of the folders, each folder in the order of its names. Links in a folder are not followed.
pub(super) fn find_files(paths: &[PathBuf]) -> Vec<FoundFile> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            search_folder(path, MAX_DEPTH, &mut found);
        } else {
            found.push(FoundFile { path: path.clone(), is_named: true, cause: None });
        }
    }
    found
}

fn search_folder(folder: &Path, depth: usize, found: &mut Vec<FoundFile>) {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(cause) => {
            found.push(FoundFile { path: folder.to_owned(), is_named: true, cause: Some(cause) });
            return;
        }
    };
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            search_folder(&entry.path(), depth - 1, found);
        } else if kind.is_file() {
            found.push(FoundFile { path: entry.path(), is_named: false, cause: None });
        }
    }
}

/// The largest file.
const MAX_INPUT_BYTES: u64 = 256 * 1024 * 1024;
/// The deepest subfolder.
const MAX_DEPTH: usize = 32;
