//! A page that shows what a batch did: one file, without scripts and without requests to anybody.

mod histogram;
mod page;
mod plot;
mod stats;
mod time_series;
mod top_n;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use super::observer::{FetchRef, Observer};
use super::output::write_error;
use super::record::Record;
use super::summary::Summary;
use crate::error::Result;
use crate::paths;
use crate::sync::lock_unpoisoned;
use crate::trace::Attempt;

use stats::ReportStats;

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
    stats: Arc<Mutex<ReportStats>>,
    fail_status: bool,
}

impl Report {
    /// A report of a batch that begins now.
    pub fn new() -> Self {
        Self { stats: Arc::new(Mutex::new(ReportStats::new())), fail_status: false }
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
        page::html(&self.stats(), summary)
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
                .tempfile_in(paths::parent_or_cwd(path))?;
            file.write_all(html.as_bytes())?;
            file.persist(path).map_err(|cause| cause.error)?;
            Ok(())
        };
        written().map_err(|cause| write_error(path, cause))
    }

    fn stats(&self) -> MutexGuard<'_, ReportStats> {
        // Counts are good, whoever panicked meanwhile.
        lock_unpoisoned(&self.stats)
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Report {
    fn on_attempt(&self, fetch: &FetchRef<'_>, attempt: &Attempt) {
        let mut figures = self.stats();
        let passed = figures.elapsed();
        figures.record_attempt(fetch.host, attempt, passed);
    }

    fn on_finish(&self, _: &FetchRef<'_>, record: &Record) {
        let mut figures = self.stats();
        let passed = figures.elapsed();
        figures.record_fetch(record, self.fail_status, passed);
    }
}
