//! What was met so far, and what of it is new.

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

/// Every task there is or was, in a crawl with what leads to the same pages. In memory up to a cap, beyond it on disk.
pub(in crate::batch) struct Frontier {
    seen: DedupSet,
    /// How many are in it.
    pages: u64,
    crawl: Option<CrawlState>,
}

struct CrawlState {
    options: CrawlOptions,
    /// URLs that other pages answered for: no link leads there any more.
    aliases: DedupSet,
    traps: TrapDetector,
    /// Links that were left out because there were pages enough.
    skipped_links: u64,
}

/// What of a page's findings is new.
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

/// The disk did not keep what has no room in memory.
pub(in crate::batch) fn dedup_error(cause: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the list of what was seen could not be kept on disk").with_source(cause)
}

impl Frontier {
    pub(in crate::batch) fn new(folder: &Path, follow: Option<CrawlOptions>) -> Self {
        let crawl = follow.map(|follow| CrawlState {
            aliases: DedupSet::new(folder),
            traps: TrapDetector::new(follow.trap_limit),
            options: follow,
            skipped_links: 0,
        });
        Self { seen: DedupSet::new(folder), pages: 0, crawl }
    }

    /// A task that an earlier run finished.
    pub(in crate::batch) fn insert(&mut self, key: TaskKey) -> io::Result<()> {
        self.pages += u64::from(self.seen.insert(key)?);
        Ok(())
    }

    /// Whether a listed task is to be done: it is new, and there are not pages enough.
    pub(in crate::batch) fn admit_listed(&mut self, key: TaskKey, url: &str) -> io::Result<bool> {
        let Some(crawl) = &mut self.crawl else { return self.seen.insert(key) };
        if self.seen.contains(key)? {
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

    /// What of a page's findings is to be done.
    pub(in crate::batch) fn admit_discovered(&mut self, found: Discovered) -> io::Result<NewTasks> {
        let mut admitted = NewTasks::default();
        let Some(crawl) = &mut self.crawl else { return Ok(admitted) };
        for alias in found.aliases {
            if !self.seen.contains(alias)? && crawl.aliases.insert(alias)? {
                admitted.aliases.push(alias);
            }
        }
        for task in found.tasks {
            let Ok(work) = QueuedTask::new(task) else { continue };
            if self.seen.contains(work.key)? || crawl.aliases.contains(work.key)? {
                continue;
            }
            if crawl.is_full(self.pages) {
                crawl.skipped_links += 1;
            } else if Url::parse(&work.task.url).is_ok_and(|url| crawl.traps.admit(&url)) {
                self.seen.insert(work.key)?;
                self.pages += 1;
                admitted.tasks.push(work);
            }
        }
        Ok(admitted)
    }

    /// A task that an earlier run found. What is still to be done of it.
    pub(in crate::batch) fn restore(&mut self, task: Task) -> io::Result<Option<QueuedTask>> {
        let Some(crawl) = &mut self.crawl else { return Ok(None) };
        if let Ok(url) = Url::parse(&task.url) {
            crawl.traps.restore(&url);
        }
        let Ok(work) = QueuedTask::new(task) else { return Ok(None) };
        let is_left = self.seen.insert(work.key)?;
        self.pages += u64::from(is_left);
        Ok(is_left.then_some(work))
    }

    /// A URL that a page of an earlier run answered for.
    pub(in crate::batch) fn restore_alias(&mut self, key: TaskKey) -> io::Result<()> {
        if let Some(crawl) = &mut self.crawl {
            crawl.aliases.insert(key)?;
        }
        Ok(())
    }

    /// Where the crawl stopped by itself, and how many links were left out because there were pages enough.
    pub(in crate::batch) fn limits_reached(&self) -> (Vec<Trap>, u64) {
        self.crawl.as_ref().map_or_else(Default::default, |crawl| (crawl.traps.list(), crawl.skipped_links))
    }
}

impl CrawlState {
    fn is_full(&self, pages: u64) -> bool {
        self.options.max_pages.is_some_and(|most| pages >= most)
    }
}
