//! Packs a WARC with its index, its pages and their digests.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::DATA_PATH;
use super::index::{Index, MainPage};
use crate::batch::output::warc;
use crate::batch::summary::timestamp;
use crate::os::output_file::{FileMode, OutputFile};

/// Packs the WARC at `working` into the file at `output`, which is replaced at once.
pub(super) fn write(working: &Path, output: &Path) -> io::Result<()> {
    let mut pages = tempfile::tempfile()?;
    let (index, main_page) =
        Index::build(BufReader::with_capacity(BUFFER, File::open(working)?), io::BufWriter::new(&mut pages))?;
    pages.seek(SeekFrom::Start(0))?;
    let mut file = OutputFile::create(output, FileMode::Ordinary)?;
    let mut package = Package(ZipWriter::new(file.try_clone_file()?));
    // Replay tools read ranges of the WARC, so it is stored.
    let data = package.add(DATA_PATH, CompressionMethod::Stored, |into| {
        io::copy(&mut File::open(working)?, into).map(drop)
    })?;
    let index = package.add("indexes/index.cdx", CompressionMethod::Deflated, |into| {
        index.write_sorted(io::BufWriter::with_capacity(BUFFER, into))
    })?;
    let pages = package
        .add("pages/pages.jsonl", CompressionMethod::Deflated, |into| io::copy(&mut pages, into).map(drop))?;
    package.finish(&[data, index, pages], main_page)?;
    file.flush()?;
    file.try_clone_file()?.sync_all()?;
    file.commit()
}

struct Package(ZipWriter<File>);

/// A file of the package, as its description has it.
#[derive(Serialize)]
struct Resource {
    name: &'static str,
    path: &'static str,
    hash: String,
    bytes: u64,
}

impl Package {
    /// Adds a file. `write` writes its content.
    fn add(
        &mut self,
        path: &'static str,
        method: CompressionMethod,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Resource> {
        let options = SimpleFileOptions::default().compression_method(method).large_file(true);
        self.0.start_file(path, options).map_err(io::Error::other)?;
        let mut hashing = HashingWriter { inner: &mut self.0, hash: Sha256::new(), len: 0 };
        write(&mut hashing)?;
        let (hash, bytes) = (warc::format_digest(hashing.hash), hashing.len);
        Ok(Resource { name: path.rsplit('/').next().unwrap_or(path), path, hash, bytes })
    }

    /// Adds the description of the files, and its digest.
    fn finish(mut self, resources: &[Resource], main_page: Option<MainPage>) -> io::Result<()> {
        let now = timestamp(SystemTime::now());
        let mut description = json!({
            "profile": "data-package",
            "wacz_version": "1.1.1",
            "title": "Pages of a batch",
            "created": now,
            "modified": now,
            "software": format!("rungs/{}", env!("CARGO_PKG_VERSION")),
            "resources": resources,
        });
        if let (Some(page), Some(fields)) = (main_page, description.as_object_mut()) {
            fields.insert("mainPageUrl".to_owned(), page.url.into());
            fields.insert("mainPageDate".to_owned(), page.date.into());
        }
        let Resource { path, hash, .. } = self.add_json("datapackage.json", &description)?;
        self.add_json("datapackage-digest.json", &json!({"path": path, "hash": hash}))?;
        self.0.finish().map_err(io::Error::other)?.flush()
    }

    fn add_json(&mut self, path: &'static str, value: &Value) -> io::Result<Resource> {
        self.add(path, CompressionMethod::Deflated, |into| Ok(serde_json::to_writer_pretty(into, value)?))
    }
}

struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
    len: u64,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

const BUFFER: usize = 1 << 18;
