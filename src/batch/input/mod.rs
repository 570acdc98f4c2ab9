//! Where the URLs come from, read as they are needed and never all at once.

mod lines;
mod sitemap;

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::queue::QueuedTask;
use super::task::Task;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::fetcher::Fetcher;

use lines::Lines;

/// The URLs of a batch: a file, stdin, a sitemap, or whatever gives [`Task`]s.
///
/// A line is a URL, or a JSON object with `url` and perhaps `method`, `headers`, `body` or `body_base64`,
/// `target`, `session` and `context`. Blank lines and those that begin with `#` are passed over. A line that is neither
/// becomes a failed record that names the file and the line.
pub struct Input {
    label: String,
    items: Box<dyn Iterator<Item = Result<InputItem>> + Send>,
    pub(super) progress: Arc<InputProgress>,
}

/// One thing read.
#[derive(Debug)]
pub(super) enum InputItem {
    Task(Task),
    /// A task that was looked at already.
    Queued(Box<QueuedTask>),
    BadLine(BadLine),
}

/// What was no task.
#[derive(Debug)]
pub(super) struct BadLine {
    /// As it was read, the beginning at least.
    pub(super) text: String,
    /// Which file, which line, and what is wrong with it.
    pub(super) message: String,
}

/// How far an input is read.
#[derive(Debug, Default)]
pub(super) struct InputProgress {
    pub(super) read: AtomicU64,
    /// Zero where it is not known.
    pub(super) total: AtomicU64,
}

impl Input {
    /// The lines of a file.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it cannot be opened.
    pub fn file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let unreadable = |cause| {
            Error::new(ErrorKind::Config, format!("could not read {}", path.display())).with_source(cause)
        };
        let file = File::open(path).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        if meta.is_dir() {
            return Err(Error::new(ErrorKind::Config, format!("{} is a folder, not a list", path.display())));
        }
        let place = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let gauge = Arc::new(InputProgress::default());
        gauge.total.store(meta.len(), Ordering::Relaxed);
        Ok(Self::reader(place.display().to_string(), path.display().to_string(), BufReader::new(file), gauge))
    }

    /// The lines of stdin.
    #[must_use]
    pub fn stdin() -> Self {
        let reader = BufReader::new(std::io::stdin());
        Self::reader("-".to_owned(), "stdin".to_owned(), reader, Arc::default())
    }

    /// Tasks, or URLs, made in code. `label` says of a checkpoint what it is for.
    pub fn tasks<T: Into<Task>>(
        label: &str,
        tasks: impl IntoIterator<Item = T, IntoIter: Send + 'static>,
    ) -> Self {
        let items = tasks.into_iter().map(|task| Ok(InputItem::Task(task.into())));
        Self { label: label.to_owned(), items: Box::new(items), progress: Arc::default() }
    }

    /// The pages that a sitemap lists: `urlset` or `sitemapindex`, as it is or gzipped, fetched by `fetcher`. Of one file
    /// at most 50 MiB and 50,000 entries are taken, of indexes at most three levels and 10,000 files, and pages of
    /// the sitemap's own site alone; what is passed over becomes a failed record.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn sitemap(fetcher: &Fetcher, url: &str) -> Result<Self> {
        let items = sitemap::Sitemap::new(fetcher, url)?;
        let label = format!("sitemap {}", crate::redact::url_text(url));
        Ok(Self { label, items: Box::new(items), progress: Arc::default() })
    }

    /// This one, then `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            label: format!("{}, {}", self.label, other.label),
            items: Box::new(self.items.chain(other.items)),
            progress: Arc::default(),
        }
    }

    /// What a checkpoint is for.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// The next thing read.
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
