//! `--screenshot` and `--pdf`: what a page looked like, as files.

use std::io::{self, Write};
use std::path::Path;

use rungs::{RequestBuilder, Response};

use super::args::CaptureArgs;
use super::atomic_file;
use super::exit::{self, Failure};
use super::output::human;

/// The pictures wanted of one URL's page.
pub(crate) struct PageCaptures<'a> {
    screenshot: Option<&'a Path>,
    pdf: Option<&'a Path>,
}

impl<'a> PageCaptures<'a> {
    /// Those of the URL `at` this place.
    pub(crate) fn for_url(wanted: &'a CaptureArgs, at: usize) -> Self {
        let at = |files: &'a [std::path::PathBuf]| files.get(at).map(AsRef::as_ref);
        Self { screenshot: at(&wanted.screenshot), pdf: at(&wanted.pdf) }
    }

    /// Asks for them.
    pub(crate) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        request.screenshot(self.screenshot.is_some()).pdf(self.pdf.is_some())
    }

    /// Writes them, and returns the exit code: it is a failure that there is nothing to write.
    pub(crate) fn save(&self, url: &str, page: &Response) -> Result<u8, Failure> {
        let wanted = [("--screenshot", self.screenshot, page.screenshot()), ("--pdf", self.pdf, page.pdf())];
        let mut code = exit::OK;
        for (flag, path, bytes) in wanted {
            match (path, bytes) {
                (Some(path), Some(bytes)) => write_file(path, bytes).map_err(|cause| {
                    Failure::Io(format!("{flag}: could not write {}", path.display()), cause)
                })?,
                (Some(_), None) => {
                    let shown = human::display_url(url);
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
fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let whole = std::fs::canonicalize(path);
    let path = whole.as_deref().unwrap_or(path);
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        // A device or a pipe: nothing to rename.
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let mut file = atomic_file::create(path)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|cause| cause.error)?;
    Ok(())
}
