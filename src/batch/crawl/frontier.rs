//! The frontier: all tasks of a batch, and the URLs that are duplicates.

use std::io;
use std::path::Path;

use url::Url;

use super::CrawlOptions;
use super::crawl_state::CrawlState;
use super::discover::Discovered;
use super::session_ids::{Admission, Candidate, Finding};
use super::trap::Trap;
use crate::batch::dedup::DedupSet;
use crate::batch::queue::QueuedTask;
use crate::batch::task::{Task, TaskKey};
use crate::exchange::error::Error;
use crate::exchange::error_kind::ErrorKind;

/// All tasks, finished or not, and in a crawl their aliases. Keys beyond a cap are stored on disk.
pub(in crate::batch) struct Frontier {
    seen: DedupSet,
    /// The number of tasks in `seen`.
    pages: u64,
    crawl: Option<CrawlState>,
}

/// The new tasks and aliases of a page.
#[derive(Debug, Default)]
pub(in crate::batch) struct NewTasks {
    pub(in crate::batch) tasks: Vec<QueuedTask>,
    /// Tasks that wait for the fetch of another URL. A checkpoint has them like the others.
    pub(in crate::batch) waiting: Vec<Task>,
    pub(in crate::batch) aliases: Vec<TaskKey>,
}

impl NewTasks {
    pub(in crate::batch) fn merge(&mut self, other: Self) {
        self.tasks.extend(other.tasks);
        self.waiting.extend(other.waiting);
        self.aliases.extend(other.aliases);
    }
}

/// The error of a dedup filter that could not use the disk.
pub(in crate::batch) fn dedup_error(cause: io::Error) -> Error {
    Error::new(ErrorKind::Io, "could not store the dedup filter on disk").with_source(cause)
}

impl Frontier {
    pub(in crate::batch) fn new(folder: &Path, options: Option<CrawlOptions>) -> Self {
        let crawl = options.map(|options| CrawlState::new(folder, options));
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
        let url = Url::parse(url).ok();
        if let Some(url) = &url {
            crawl.add_alias_of(url, key)?;
        }
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
        if let Some(candidate) = url.as_ref().and_then(Candidate::of) {
            // The caller wants the page in any case.
            let _ = crawl.sessions.admit(&candidate);
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
            let alias = crawl.dedup_key(&alias)?;
            if !self.seen.contains(alias)? && crawl.aliases.insert(alias)? {
                admitted.aliases.push(alias);
            }
        }
        if let Some((candidate, content)) = found.visited {
            let finding = crawl.sessions.compare(&candidate, content);
            self.apply_finding(&candidate, finding, &mut admitted)?;
        }
        for task in found.tasks {
            let Ok(queued) = QueuedTask::new(task) else { continue };
            if let Some(waiting) = self.admit_link(queued, &mut admitted)? {
                admitted.waiting.push(waiting);
            }
        }
        Ok(admitted)
    }

    /// Adds a link if it is new. Returns it if it waits for the fetch of another URL.
    fn admit_link(&mut self, queued: QueuedTask, admitted: &mut NewTasks) -> io::Result<Option<Task>> {
        let Some(crawl) = &mut self.crawl else { return Ok(None) };
        let Ok(url) = Url::parse(&queued.task.url) else { return Ok(None) };
        let key = crawl.dedup_key(&url)?;
        if self.seen.contains(queued.key)? || self.seen.contains(key)? || crawl.aliases.contains(key)? {
            return Ok(None);
        }
        if crawl.is_full(self.pages) {
            crawl.skipped_links += 1;
            return Ok(None);
        }
        if let Some(candidate) = Candidate::of(&url)
            && crawl.can_wait(queued.key)
            && crawl.sessions.admit(&candidate) == Admission::Wait
        {
            let task = queued.task.clone();
            crawl.add_waiting(candidate.parameter, queued);
            return Ok(Some(task));
        }
        if crawl.admit_pattern(url) {
            crawl.add_alias(key, queued.key)?;
            self.seen.insert(queued.key)?;
            self.pages += 1;
            admitted.tasks.push(queued);
        }
        Ok(None)
    }

    /// Applies a finding about a parameter: admits the links that waited for it, or drops them as duplicates.
    fn apply_finding(
        &mut self,
        candidate: &Candidate,
        finding: Finding,
        admitted: &mut NewTasks,
    ) -> io::Result<()> {
        let Some(crawl) = &mut self.crawl else { return Ok(()) };
        let is_session_id = matches!(finding, Finding::SessionId(_));
        match finding {
            Finding::Nothing => return Ok(()),
            Finding::ProbeFailed | Finding::SelectsPages => {}
            Finding::SessionId(urls) => {
                admitted.aliases.push(crawl.store_session_id(&candidate.parameter)?);
                for url in urls.iter().filter_map(|url| Url::parse(url).ok()) {
                    let key = crawl.dedup_key(&url)?;
                    if crawl.aliases.insert(key)? {
                        admitted.aliases.push(key);
                    }
                }
            }
        }
        for queued in crawl.take_waiting(&candidate.parameter) {
            let (key, before) = (queued.key, admitted.tasks.len());
            // It is in the checkpoint already.
            let _ = self.admit_link(queued, admitted)?;
            if is_session_id && admitted.tasks.len() == before {
                admitted.aliases.push(CrawlState::dropped_key(key));
            }
        }
        Ok(())
    }

    /// Adds a task that an earlier run discovered. Returns it if it is not finished.
    pub(in crate::batch) fn restore(&mut self, task: Task) -> io::Result<Option<QueuedTask>> {
        let Some(crawl) = &mut self.crawl else { return Ok(None) };
        let Ok(queued) = QueuedTask::new(task) else { return Ok(None) };
        if crawl.aliases.contains(CrawlState::dropped_key(queued.key))? {
            return Ok(None);
        }
        if let Ok(url) = Url::parse(&queued.task.url) {
            crawl.add_alias_of(&url, queued.key)?;
            crawl.restore_pattern(url);
        }
        let is_left = self.seen.insert(queued.key)?;
        self.pages += u64::from(is_left);
        Ok(is_left.then_some(queued))
    }

    /// Adds an alias that an earlier run found. All are added before the first task is restored.
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

/// The maximum number of refused links that are fetched if they are listed later.
const MAX_REFUSED: usize = 100_000;
