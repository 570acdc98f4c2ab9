//! Bodies in separate files, named by their hash and never by text from a site.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use http::header;
use sha2::{Digest, Sha256};

use super::write_error;
use crate::batch::record::Record;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::fetcher::Response;
use crate::os::output_file::{self, FileMode};
use crate::text::hex;

/// The folder that contains the bodies.
#[derive(Clone, Debug)]
pub(in crate::batch) struct BodyStore(PathBuf);

impl BodyStore {
    /// Creates the folder if it does not exist.
    pub(in crate::batch) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|cause| {
            Error::new(ErrorKind::Config, format!("could not create the folder {}", folder.display()))
                .with_source(cause)
        })?;
        Ok(Self(folder.to_owned()))
    }

    /// Writes the record's body to its file, unless that file exists already.
    pub(in crate::batch) fn store(&self, record: &mut Record) -> Result<()> {
        let Ok(page) = record.outcome() else { return Ok(()) };
        if page.bytes().is_empty() {
            return Ok(());
        }
        let path = self.0.join(body_path(page));
        self.write(&path, page.bytes()).map_err(|cause| write_error(&path, cause))?;
        record.set_file(path.display().to_string());
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == bytes.len() as u64) {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder)?;
        // A pipe or a device in the folder is an error.
        output_file::write(&output_file::resolve_regular(path)?, bytes, FileMode::Private)
    }

    /// Syncs all written bodies to disk.
    pub(in crate::batch) fn sync(&self) -> Result<()> {
        let synced = File::open(&self.0).and_then(|folder| sync(&folder));
        synced.map_err(|cause| write_error(&self.0, cause))
    }
}

/// Syncs the whole file system by one call, because there may be many files.
#[cfg(target_os = "linux")]
fn sync(folder: &File) -> io::Result<()> {
    rustix::fs::syncfs(folder).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn sync(_: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// Returns `ab/ab12….html`: the SHA-256 of the body, and an extension from a fixed list.
fn body_path(page: &Response) -> PathBuf {
    let hash = hex::encode(&Sha256::digest(page.bytes()));
    let kind = page.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Path::new(&hash[..2]).join(format!("{hash}.{}", extension(kind.unwrap_or_default())))
}

fn extension(content_type: &str) -> &'static str {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    EXTENSIONS.iter().find(|(kind, _)| *kind == essence).map_or("bin", |(_, ending)| ending)
}

const EXTENSIONS: &[(&str, &str)] = &[
    ("text/html", "html"),
    ("application/xhtml+xml", "xhtml"),
    ("text/plain", "txt"),
    ("text/css", "css"),
    ("text/csv", "csv"),
    ("text/javascript", "js"),
    ("application/javascript", "js"),
    ("application/json", "json"),
    ("application/ld+json", "json"),
    ("text/xml", "xml"),
    ("application/xml", "xml"),
    ("application/rss+xml", "xml"),
    ("application/atom+xml", "xml"),
    ("application/pdf", "pdf"),
    ("application/zip", "zip"),
    ("application/gzip", "gz"),
    ("image/jpeg", "jpg"),
    ("image/png", "png"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/avif", "avif"),
    ("image/svg+xml", "svg"),
    ("video/mp4", "mp4"),
    ("audio/mpeg", "mp3"),
    ("font/woff2", "woff2"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_is_from_the_fixed_list_for_any_content_type() {
        for (content_type, expected) in [
            ("text/html; charset=utf-8", "html"),
            ("IMAGE/PNG", "png"),
            ("text/../../etc/passwd", "bin"),
            ("", "bin"),
            ("application/x-sh", "bin"),
        ] {
            assert_eq!(extension(content_type), expected, "{content_type}");
        }
    }
}
