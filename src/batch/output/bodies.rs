//! Bodies in files of their own, named by what is in them and by nothing that a site says.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use http::header;
use sha2::{Digest, Sha256};

use super::unwritten;
use crate::batch::record::Record;
use crate::error::{Error, Result};
use crate::fetcher::Page;
use crate::hex;
use crate::kind::ErrorKind;

/// The folder.
#[derive(Clone, Debug)]
pub(in crate::batch) struct Bodies(PathBuf);

impl Bodies {
    /// Makes the folder where it is not there.
    pub(in crate::batch) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|cause| {
            Error::new(ErrorKind::Config, format!("could not make the folder {}", folder.display()))
                .with_source(cause)
        })?;
        Ok(Self(folder.to_owned()))
    }

    /// Puts the record's body into its file. A body that is there already is there.
    pub(in crate::batch) fn keep(&self, record: &mut Record) -> Result<()> {
        let Ok(page) = record.outcome() else { return Ok(()) };
        if page.bytes().is_empty() {
            return Ok(());
        }
        let path = self.0.join(name(page));
        self.write(&path, page.bytes()).map_err(|cause| unwritten(&path, cause))?;
        record.in_file(path.display().to_string());
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == bytes.len() as u64) {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new().prefix(".rungs-").suffix(".part").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path).map_err(|cause| cause.error)?;
        Ok(())
    }

    /// All bodies kept so far are on the disk for good.
    pub(in crate::batch) fn sync(&self) -> Result<()> {
        let synced = File::open(&self.0).and_then(|folder| sync(&folder));
        synced.map_err(|cause| unwritten(&self.0, cause))
    }
}

/// One call for all files, however many they are.
#[cfg(target_os = "linux")]
fn sync(folder: &File) -> io::Result<()> {
    rustix::fs::syncfs(folder).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn sync(_: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// `ab/ab12….html`: the SHA-256 of the body, and an ending from a closed list.
fn name(page: &Page) -> PathBuf {
    let hash = hex::encode(&Sha256::digest(page.bytes()));
    let kind = page.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Path::new(&hash[..2]).join(format!("{hash}.{}", ending(kind.unwrap_or_default())))
}

fn ending(content_type: &str) -> &'static str {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ENDINGS.iter().find(|(kind, _)| *kind == essence).map_or("bin", |(_, ending)| ending)
}

const ENDINGS: &[(&str, &str)] = &[
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
    fn an_ending_is_one_of_ours_whatever_the_site_says() {
        for (said, expected) in [
            ("text/html; charset=utf-8", "html"),
            ("IMAGE/PNG", "png"),
            ("text/../../etc/passwd", "bin"),
            ("", "bin"),
            ("application/x-sh", "bin"),
        ] {
            assert_eq!(ending(said), expected, "{said}");
        }
    }
}
