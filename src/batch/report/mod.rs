//! The HTML report of a batch: one file, without scripts and without external requests.

mod histogram;
mod page;
mod plot;
mod stats;
mod time_series;
mod top_n;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use super::observer::{FetchRef, Observer};
use super::output::write_error;
use super::record::Record;
use super::summary::Summary;
use crate::exchange::error::Result;
use crate::exchange::trace::Attempt;
use crate::os::output_file::{self, FileMode};
use crate::os::sync::lock_unpoisoned;

use stats::ReportStats;

/// An observer that reports a batch as one HTML page: throughput and latency over time, tiers, verdicts by host,
/// proxies, slowest fetches and failures. It uses a few megabytes of memory, independent of the batch's size.
/// Clones share one report.
///
/// ```no_run
/// # async fn example(fetcher: rungs::Fetcher) -> rungs::Result<()> {
/// use rungs::batch::{Batch, Input, Output, RecordFormat, Report};
///
/// let report = Report::new();
/// let run = Batch::new(fetcher)
///     .observer(report.clone())
///     .save(Input::file("urls.txt")?, Output::file("pages.jsonl", RecordFormat::Jsonl))?;
/// report.write("report.html", &run.finish().await?)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a report does nothing before `write`"]
pub struct Report {
    stats: Arc<Mutex<ReportStats>>,
    fail_status: bool,
}

impl Report {
    /// Creates a report of a batch that starts now.
    pub fn new() -> Self {
        Self { stats: Arc::new(Mutex::new(ReportStats::new())), fail_status: false }
    }

    /// Counts a status of 400 or more as a failure, as [`Batch::fail_status`](super::Batch::fail_status) does.
    /// Default: false.
    pub const fn fail_status(mut self, fail: bool) -> Self {
        self.fail_status = fail;
        self
    }

    /// Returns the page as HTML.
    #[must_use]
    pub fn html(&self, summary: &Summary) -> String {
        page::html(&self.stats(), summary)
    }

    /// Writes the page to a file, atomically.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when it could not be written.
    pub fn write(&self, path: impl AsRef<Path>, summary: &Summary) -> Result<()> {
        let path = path.as_ref();
        let html = self.html(summary);
        output_file::write(path, html.as_bytes(), FileMode::Ordinary)
            .map_err(|cause| write_error(path, cause))
    }

    fn stats(&self) -> MutexGuard<'_, ReportStats> {
        // A panic in another thread does not invalidate the counts.
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
        let mut stats = self.stats();
        let elapsed = stats.elapsed();
        stats.record_attempt(fetch.host, attempt, elapsed);
    }

    fn on_finish(&self, _: &FetchRef<'_>, record: &Record) {
        let mut stats = self.stats();
        let elapsed = stats.elapsed();
        stats.record_fetch(record, self.fail_status, elapsed);
    }
}
