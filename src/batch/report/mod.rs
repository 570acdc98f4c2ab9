//! A page that shows what a batch did: one file, without scripts and without requests to anybody.

mod figures;
mod most;
mod page;
mod plot;
mod series;
mod spread;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use super::observer::{Fetch, Observer};
use super::output::unwritten;
use super::record::Record;
use super::summary::Summary;
use crate::error::Result;
use crate::folder;
use crate::lock::lock;
use crate::trace::Attempt;

use figures::Figures;

/// Watches a batch, and shows it as one HTML page: throughput and latency over time, tiers, verdicts by host,
/// proxies, what was slow and what failed. It takes the same few megabytes however long the batch is.
/// Clones are one report.
///
/// ```no_run
/// # async fn example(fetcher: rungs::Fetcher) -> rungs::Result<()> {
/// use rungs::batch::{Batch, Input, Format, Output, Report};
///
/// let report = Report::new();
/// let run = Batch::new(fetcher)
///     .observer(report.clone())
///     .save(Input::file("urls.txt")?, Output::file("pages.jsonl", Format::Jsonl))?;
/// report.write("report.html", &run.finish().await?)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it shows nothing before `write`"]
pub struct Report {
    figures: Arc<Mutex<Figures>>,
    fail_status: bool,
}

impl Report {
    /// A report of a batch that begins now.
    pub fn new() -> Self {
        Self { figures: Arc::new(Mutex::new(Figures::new())), fail_status: false }
    }

    /// Counts a status of 400 or more as a failure, as [`Batch::fail_status`](super::Batch::fail_status) does.
    /// Default: false.
    pub const fn fail_status(mut self, fail: bool) -> Self {
        self.fail_status = fail;
        self
    }

    /// The page, as HTML.
    #[must_use]
    pub fn html(&self, summary: &Summary) -> String {
        page::html(&self.figures(), summary)
    }

    /// Writes the page to a file, which is there whole or as it was.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when it could not be written.
    pub fn write(&self, path: impl AsRef<Path>, summary: &Summary) -> Result<()> {
        let path = path.as_ref();
        let html = self.html(summary);
        let written = || {
            let mut file = tempfile::Builder::new()
                .prefix(".rungs-")
                .permissions(std::fs::Permissions::from_mode(0o666))
                .tempfile_in(folder::of(path))?;
            file.write_all(html.as_bytes())?;
            file.persist(path).map_err(|cause| cause.error)?;
            Ok(())
        };
        written().map_err(|cause| unwritten(path, cause))
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        // Counts are good, whoever panicked meanwhile.
        lock(&self.figures)
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Report {
    fn attempted(&self, fetch: &Fetch<'_>, attempt: &Attempt) {
        let mut figures = self.figures();
        let passed = figures.passed();
        figures.attempted(fetch.host, attempt, passed);
    }

    fn ended(&self, _: &Fetch<'_>, record: &Record) {
        let mut figures = self.figures();
        let passed = figures.passed();
        figures.ended(record, self.fail_status, passed);
    }
}
