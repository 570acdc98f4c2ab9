//! `--screenshot` and `--pdf`: captures of pages, saved as files.

use std::path::Path;

use rungs::output_file::{self, FileMode};
use rungs::{RequestBuilder, Response};

use super::args::CaptureArgs;
use super::exit::{self, Failure};
use super::output::human;
use super::terminal;

/// The captures requested for one URL.
pub(crate) struct PageCaptures<'a> {
    screenshot: Option<&'a Path>,
    pdf: Option<&'a Path>,
}

impl<'a> PageCaptures<'a> {
    /// Returns the captures for the URL with this index.
    pub(crate) fn for_url(args: &'a CaptureArgs, index: usize) -> Self {
        let at = |files: &'a [std::path::PathBuf]| files.get(index).map(AsRef::as_ref);
        Self { screenshot: at(&args.screenshot), pdf: at(&args.pdf) }
    }

    /// Adds the captures to a request.
    pub(crate) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        request.screenshot(self.screenshot.is_some()).pdf(self.pdf.is_some())
    }

    /// Writes the captures and returns the exit code. A missing capture is a failure.
    pub(crate) fn save(&self, url: &str, page: &Response) -> Result<u8, Failure> {
        let captures =
            [("--screenshot", self.screenshot, page.screenshot()), ("--pdf", self.pdf, page.pdf())];
        let mut code = exit::OK;
        for (flag, path, bytes) in captures {
            match (path, bytes) {
                (Some(path), Some(bytes)) => {
                    output_file::write(path, bytes, FileMode::Ordinary).map_err(|cause| {
                        Failure::Io(format!("{flag}: could not write {}", path.display()), cause)
                    })?;
                }
                (Some(_), None) => {
                    let shown = human::display_url(url);
                    terminal::print_message(&format!(
                        "error: {flag}: {shown} returned a file or an empty response, not a page"
                    ));
                    code = exit::FAILED;
                }
                (None, _) => {}
            }
        }
        Ok(code)
    }
}
