//! What was met so far, and what of it is new.

use std::io;
use std::path::Path;

use url::Url;

use super::Follow;
use super::find::Found;
use super::normal::normal;
use super::trap::{Trap, Traps};
use crate::batch::seen::Seen;
use crate::batch::task::{Key, Task};
use crate::batch::work::Work;
use crate::error::Error;
use crate::kind::ErrorKind;

/// Every task there is or was, in a crawl with what leads to the same pages. In memory up to a cap, beyond it on disk.
pub(in crate::batch) struct Frontier {
    seen: Seen,
    /// How many are in it.
    pages: u64,
    crawl: Option<Crawl>,
}

struct Crawl {
    follow: Follow,
    /// URLs that other pages answered for: no link leads there any more.
    aliases: Seen,
    traps: Traps,
    /// Links that were left out because there were pages enough.
    beyond: u64,
}

/// What of a page's findings is new.
#[derive(Debug, Default)]
pub(in crate::batch) struct Admitted {
    pub(in crate::batch) work: Vec<Work>,
    pub(in crate::batch) aliases: Vec<Key>,
}

impl Admitted {
    pub(in crate::batch) fn and(&mut self, other: Self) {
        self.work.extend(other.work);
        self.aliases.extend(other.aliases);
    }
}

/// The disk did not keep what has no room in memory.
pub(in crate::batch) fn unkept(cause: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the list of what was seen could not be kept on disk").with_source(cause)
}

impl Frontier {
    pub(in crate::batch) fn new(folder: &Path, follow: Option<Follow>) -> Self {
        let crawl = follow.map(|follow| Crawl {
            aliases: Seen::new(folder),
            traps: Traps::new(follow.limit),
            follow,
            beyond: 0,
        });
        Self { seen: Seen::new(folder), pages: 0, crawl }
    }

    /// A task that an earlier run finished.
    pub(in crate::batch) fn insert(&mut self, key: Key) -> io::Result<()> {
        self.pages += u64::from(self.seen.insert(key)?);
        Ok(())
    }

    /// Whether a listed task is to be done: it is new, and there are not pages enough.
    pub(in crate::batch) fn list(&mut self, key: Key, url: &str) -> io::Result<bool> {
        let Some(crawl) = &mut self.crawl else { return self.seen.insert(key) };
        if self.seen.contains(key)? {
            return Ok(false);
        }
        if crawl.is_enough(self.pages) {
            crawl.beyond += 1;
            return Ok(false);
        }
        if let Ok(url) = Url::parse(url) {
            let other = Key::of_url(normal(url, crawl.follow.sorts));
            if other != key {
                crawl.aliases.insert(other)?;
            }
        }
        self.pages += 1;
        self.seen.insert(key)
    }

    /// What of a page's findings is to be done.
    pub(in crate::batch) fn admit(&mut self, found: Found) -> io::Result<Admitted> {
        let mut admitted = Admitted::default();
        let Some(crawl) = &mut self.crawl else { return Ok(admitted) };
        for alias in found.aliases {
            if !self.seen.contains(alias)? && crawl.aliases.insert(alias)? {
                admitted.aliases.push(alias);
            }
        }
        for task in found.tasks {
            let Ok(work) = Work::new(task) else { continue };
            if self.seen.contains(work.key)? || crawl.aliases.contains(work.key)? {
                continue;
            }
            if crawl.is_enough(self.pages) {
                crawl.beyond += 1;
            } else if Url::parse(&work.task.url).is_ok_and(|url| crawl.traps.admit(&url)) {
                self.seen.insert(work.key)?;
                self.pages += 1;
                admitted.work.push(work);
            }
        }
        Ok(admitted)
    }

    /// A task that an earlier run found. What is still to be done of it.
    pub(in crate::batch) fn recall(&mut self, task: Task) -> io::Result<Option<Work>> {
        let Some(crawl) = &mut self.crawl else { return Ok(None) };
        if let Ok(url) = Url::parse(&task.url) {
            crawl.traps.recall(&url);
        }
        let Ok(work) = Work::new(task) else { return Ok(None) };
        let is_left = self.seen.insert(work.key)?;
        self.pages += u64::from(is_left);
        Ok(is_left.then_some(work))
    }

    /// A URL that a page of an earlier run answered for.
    pub(in crate::batch) fn recall_alias(&mut self, key: Key) -> io::Result<()> {
        if let Some(crawl) = &mut self.crawl {
            crawl.aliases.insert(key)?;
        }
        Ok(())
    }

    /// Where the crawl stopped by itself, and how many links were left out because there were pages enough.
    pub(in crate::batch) fn bounded(&self) -> (Vec<Trap>, u64) {
        self.crawl.as_ref().map_or_else(Default::default, |crawl| (crawl.traps.list(), crawl.beyond))
    }
}

impl Crawl {
    fn is_enough(&self, pages: u64) -> bool {
        self.follow.max_pages.is_some_and(|most| pages >= most)
    }
}
