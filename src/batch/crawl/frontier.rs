//! The frontier: all tasks of a batch, and the URLs that are duplicates.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use url::Url;

use super::CrawlOptions;
use super::canonicalize::canonicalize;
use super::discover::Discovered;
use super::trap::{Trap, TrapDetector};
use crate::batch::dedup::DedupSet;
use crate::batch::queue::QueuedTask;
use crate::batch::task::{Task, TaskKey};
use crate::error::Error;
use crate::error_kind::ErrorKind;

/// All tasks, finished or not, and in a crawl their aliases. Keys beyond a cap are stored on disk.
pub(in crate::batch) struct Frontier {
    seen: DedupSet,
    /// The number of tasks in `seen`.
    pages: u64,
    crawl: Option<CrawlState>,
}

struct CrawlState {
    options: CrawlOptions,
    /// Other URLs of fetched pages. Links to them are not followed.
    aliases: DedupSet,
    /// Links that were listed later. The caller requests them: they may be at private addresses.
    listed_links: DedupSet,
    /// Links that were refused because they are at private addresses. At most [`MAX_REFUSED`].
    refused: HashSet<TaskKey>,
    traps: TrapDetector,
    /// Links that were not followed because of the page limit.
    skipped_links: u64,
}

/// The new tasks and aliases of a page.
#[derive(Debug, Default)]
pub(in crate::batch) struct NewTasks {
    pub(in crate::batch) tasks: Vec<QueuedTask>,
    pub(in crate::batch) aliases: Vec<TaskKey>,
}

impl NewTasks {
    pub(in crate::batch) fn merge(&mut self, other: Self) {
        self.tasks.extend(other.tasks);
        self.aliases.extend(other.aliases);
    }
}

/// The error of a dedup filter that could not use the disk.
pub(in crate::batch) fn dedup_error(cause: io::Error) -> Error {
    Error::new(ErrorKind::Io, "could not store the dedup filter on disk").with_source(cause)
}

impl Frontier {
    pub(in crate::batch) fn new(folder: &Path, options: Option<CrawlOptions>) -> Self {
        let crawl = options.map(|options| CrawlState {
            aliases: DedupSet::new(folder),
            listed_links: DedupSet::new(folder),
            refused: HashSet::new(),
            traps: TrapDetector::new(options.trap_limit),
            options,
            skipped_links: 0,
        });
        Self { seen: DedupSet::new(folder), pages: 0, crawl }
    }

    /// Adds a task that an earlier run finished.
    pub(in crate::batch) fn insert(&mut self, key: TaskKey) -> io::Result<()> {
        self.pages += u64::from(self.seen.insert(key)?);
        Ok(())
    }

    /// Adds a task of the input; `is_listed` tells whether the caller listed it, or a sitemap. Returns whether to fetch
    /// it: it is new, or was refused as a link, and the page limit is not reached.
    pub(in crate::batch) fn admit_listed(
        &mut self,
        key: TaskKey,
        url: &str,
        is_listed: bool,
    ) -> io::Result<bool> {
        let Some(crawl) = &mut self.crawl else { return self.seen.insert(key) };
        if self.seen.contains(key)? {
            if !is_listed || crawl.refused.remove(&key) {
                return Ok(is_listed);
            }
            crawl.listed_links.insert(key)?;
            return Ok(false);
        }
        if crawl.is_full(self.pages) {
            crawl.skipped_links += 1;
            return Ok(false);
        }
        if let Ok(url) = Url::parse(url) {
            let other = TaskKey::for_url(canonicalize(url, crawl.options.sort_query));
            if other != key {
                crawl.aliases.insert(other)?;
            }
        }
        self.pages += 1;
        self.seen.insert(key)
    }

    /// Whether a link was also listed.
    pub(in crate::batch) fn is_listed_link(&mut self, key: TaskKey) -> io::Result<bool> {
        self.crawl.as_mut().map_or(Ok(false), |crawl| crawl.listed_links.contains(key))
    }

    /// Records that a link was refused because it is at a private address. Returns false if it was listed meanwhile:
    /// then it is to be fetched.
    pub(in crate::batch) fn refuse_link(&mut self, key: TaskKey) -> io::Result<bool> {
        if self.is_listed_link(key)? {
            return Ok(false);
        }
        if let Some(crawl) = self.crawl.as_mut().filter(|crawl| crawl.refused.len() < MAX_REFUSED) {
            crawl.refused.insert(key);
        }
        Ok(true)
    }

    /// Adds the discoveries of a page. Returns the new ones.
    pub(in crate::batch) fn admit_discovered(&mut self, found: Discovered) -> io::Result<NewTasks> {
        let mut admitted = NewTasks::default();
        let Some(crawl) = &mut self.crawl else { return Ok(admitted) };
        for alias in found.aliases {
            if !self.seen.contains(alias)? && crawl.aliases.insert(alias)? {
                admitted.aliases.push(alias);
            }
        }
        for task in found.tasks {
            let Ok(queued) = QueuedTask::new(task) else { continue };
            if self.seen.contains(queued.key)? || crawl.aliases.contains(queued.key)? {
                continue;
            }
            if crawl.is_full(self.pages) {
                crawl.skipped_links += 1;
            } else if Url::parse(&queued.task.url).is_ok_and(|url| crawl.traps.admit(&url)) {
                self.seen.insert(queued.key)?;
                self.pages += 1;
                admitted.tasks.push(queued);
            }
        }
        Ok(admitted)
    }

    /// Adds a task that an earlier run discovered. Returns it if it is not finished.
    pub(in crate::batch) fn restore(&mut self, task: Task) -> io::Result<Option<QueuedTask>> {
        let Some(crawl) = &mut self.crawl else { return Ok(None) };
        if let Ok(url) = Url::parse(&task.url) {
            crawl.traps.restore(&url);
        }
        let Ok(queued) = QueuedTask::new(task) else { return Ok(None) };
        let is_left = self.seen.insert(queued.key)?;
        self.pages += u64::from(is_left);
        Ok(is_left.then_some(queued))
    }

    /// Adds an alias that an earlier run found.
    pub(in crate::batch) fn restore_alias(&mut self, key: TaskKey) -> io::Result<()> {
        if let Some(crawl) = &mut self.crawl {
            crawl.aliases.insert(key)?;
        }
        Ok(())
    }

    /// Returns the traps, and the number of links that were not followed because of the page limit.
    pub(in crate::batch) fn limits_reached(&self) -> (Vec<Trap>, u64) {
        self.crawl.as_ref().map_or_else(Default::default, |crawl| (crawl.traps.list(), crawl.skipped_links))
    }
}

impl CrawlState {
    fn is_full(&self, pages: u64) -> bool {
        self.options.max_pages.is_some_and(|max| pages >= max)
    }
}

/// The maximum number of refused links that are fetched if they are listed later.
const MAX_REFUSED: usize = 100_000;
