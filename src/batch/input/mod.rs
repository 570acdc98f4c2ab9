//! The inputs of a batch. They are read lazily, never as a whole.

mod lines;
mod robots_sitemaps;
mod sitemap;
mod sitemap_entries;
mod sitemap_text;
mod sitemap_xml;

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;

use super::queue::QueuedTask;
use super::task::Task;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::fetcher::Fetcher;

use lines::Lines;

/// The URLs of a batch: a file, stdin, a sitemap, or an iterator of [`Task`]s.
///
/// A line is a URL, or a JSON object with `url` and optionally `method`, `headers`, `body` or `body_base64`, `target`,
/// `session` and `context`. Blank lines and lines that begin with `#` are ignored. Any other line becomes a failed
/// record that names the file and the line.
pub struct Input {
    label: String,
    items: Box<dyn Iterator<Item = Result<InputItem>> + Send>,
    pub(super) progress: Arc<InputProgress>,
}

/// One item of an input.
#[derive(Debug)]
pub(super) enum InputItem {
    Task(Task),
    /// A task that is already validated.
    Queued(Box<QueuedTask>),
    BadLine(BadLine),
}

/// An input line that is not a task.
#[derive(Debug)]
pub(super) struct BadLine {
    /// The line, or its beginning.
    pub(super) text: String,
    /// The file, the line number and the error.
    pub(super) message: String,
}

/// The number of bytes read from an input.
#[derive(Debug, Default)]
pub(super) struct InputProgress {
    pub(super) read: AtomicU64,
    /// Zero if unknown.
    pub(super) total: AtomicU64,
}

impl Input {
    /// Reads the lines of a file.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it could not be opened.
    pub fn file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let unreadable = |cause| {
            Error::new(ErrorKind::Config, format!("could not read {}", path.display())).with_source(cause)
        };
        let file = File::open(path).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        if meta.is_dir() {
            return Err(Error::new(
                ErrorKind::Config,
                format!("{} is a folder, not a file of URLs", path.display()),
            ));
        }
        let absolute = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let progress = Arc::new(InputProgress::default());
        progress.total.store(meta.len(), Ordering::Relaxed);
        let (label, name) = (absolute.display().to_string(), path.display().to_string());
        Ok(Self::reader(label, name, BufReader::new(file), progress))
    }

    /// Reads the lines of stdin.
    #[must_use]
    pub fn stdin() -> Self {
        let reader = BufReader::new(std::io::stdin());
        Self::reader("-".to_owned(), "stdin".to_owned(), reader, Arc::default())
    }

    /// Reads tasks, or URLs, from an iterator. `label` identifies the input in a checkpoint.
    pub fn tasks<T: Into<Task>>(
        label: &str,
        tasks: impl IntoIterator<Item = T, IntoIter: Send + 'static>,
    ) -> Self {
        let items = tasks.into_iter().map(|task| Ok(InputItem::Task(task.into())));
        Self { label: label.to_owned(), items: Box::new(items), progress: Arc::default() }
    }

    /// Reads the pages of a sitemap, fetched by `fetcher`: `urlset` or `sitemapindex`, RSS, Atom, or one URL a line,
    /// optionally gzipped. For a `/robots.txt`, reads the sitemaps that it names. The limits are 50 MiB and 50,000
    /// entries for a file, and three levels and 10,000 files for indexes. Only pages of the sitemap's own site are
    /// fetched. Each skipped entry becomes a failed record, and so does the damage of a file, with its position.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`] when `url` is invalid.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn sitemap(fetcher: &Fetcher, url: &str) -> Result<Self> {
        let items = sitemap::Sitemap::new(fetcher, Handle::current(), url)?;
        let label = format!("sitemap {}", crate::text::redact::url_text(url));
        Ok(Self { label, items: Box::new(items), progress: Arc::default() })
    }

    /// Appends the pages of the sitemaps that robots.txt names, for the site of each URL in this input.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn with_robots_sitemaps(self, fetcher: &Fetcher) -> Self {
        let label = format!("{}, sitemaps of robots.txt", self.label);
        let items = robots_sitemaps::RobotsSitemaps::new(fetcher, self.items);
        Self { label, items: Box::new(items), progress: self.progress }
    }

    /// Appends `other` to this input.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            label: format!("{}, {}", self.label, other.label),
            items: Box::new(self.items.chain(other.items)),
            progress: Arc::default(),
        }
    }

    /// The label that identifies the input in a checkpoint.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Reads the next item.
    pub(super) fn next(&mut self) -> Option<Result<InputItem>> {
        self.items.next()
    }

    fn reader(
        label: String,
        name: String,
        reader: impl BufRead + Send + 'static,
        progress: Arc<InputProgress>,
    ) -> Self {
        let items = Box::new(Lines::new(reader, name, Arc::clone(&progress)));
        Self { label, items, progress }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("label", &self.label).finish_non_exhaustive()
    }
}
