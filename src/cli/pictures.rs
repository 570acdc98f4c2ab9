//! `--screenshot` and `--pdf`: what a page looked like, as files.

use std::io::{self, Write};
use std::path::Path;

use rungs::{Page, RequestBuilder};

use super::args::PictureFiles;
use super::exit::{self, Failure};
use super::output::story;
use super::whole;

/// The pictures wanted of one URL's page.
pub(crate) struct Pictures<'a> {
    screenshot: Option<&'a Path>,
    pdf: Option<&'a Path>,
}

impl<'a> Pictures<'a> {
    /// Those of the URL `at` this place.
    pub(crate) fn of(wanted: &'a PictureFiles, at: usize) -> Self {
        let at = |files: &'a [std::path::PathBuf]| files.get(at).map(AsRef::as_ref);
        Self { screenshot: at(&wanted.screenshot), pdf: at(&wanted.pdf) }
    }

    /// Asks for them.
    pub(crate) fn ask(&self, request: RequestBuilder) -> RequestBuilder {
        request.screenshot(self.screenshot.is_some()).pdf(self.pdf.is_some())
    }

    /// Writes them, and returns the exit code: it is a failure that there is nothing to write.
    pub(crate) fn save(&self, url: &str, page: &Page) -> Result<u8, Failure> {
        let wanted = [("--screenshot", self.screenshot, page.screenshot()), ("--pdf", self.pdf, page.pdf())];
        let mut code = exit::OK;
        for (flag, path, bytes) in wanted {
            match (path, bytes) {
                (Some(path), Some(bytes)) => write(path, bytes).map_err(|cause| {
                    Failure::Io(format!("{flag}: could not write {}", path.display()), cause)
                })?,
                (Some(_), None) => {
                    let shown = story::shown(url);
                    let _ = writeln!(
                        io::stderr(),
                        "error: {flag}: {shown} answered with a file or with nothing, not with a page"
                    );
                    code = exit::FAILED;
                }
                (None, _) => {}
            }
        }
        Ok(code)
    }
}

/// The file appears only when it is whole.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let whole = std::fs::canonicalize(path);
    let path = whole.as_deref().unwrap_or(path);
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        // A device or a pipe: nothing to rename.
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let mut file = whole::begin(path)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|cause| cause.error)?;
    Ok(())
}
