//! What a crawl knows of URLs that are no tasks: aliases, refused links, patterns, links that wait.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use url::Url;

use super::CrawlOptions;
use super::dedup_key::dedup_url;
use super::session_ids::{Candidate, Parameter, SessionIds};
use super::trap::TrapDetector;
use crate::batch::dedup::DedupSet;
use crate::batch::queue::QueuedTask;
use crate::batch::task::TaskKey;

pub(super) struct CrawlState {
    pub(super) options: CrawlOptions,
    /// Other URLs of tasks and of fetched pages, and facts about URLs. Links to them are not followed.
    pub(super) aliases: DedupSet,
    /// Links that were listed later. The caller requests them: they may be at private addresses.
    pub(super) listed_links: DedupSet,
    /// Links that were refused because they are at private addresses. Their number is limited.
    pub(super) refused: HashSet<TaskKey>,
    pub(super) traps: TrapDetector,
    /// Links that were not followed because of the page limit.
    pub(super) skipped_links: u64,
    pub(super) sessions: SessionIds,
    /// Links that wait until it is known whether a parameter is a session ID. At most [`MAX_WAITING`].
    waiting: HashMap<Parameter, Vec<QueuedTask>>,
    waiting_keys: HashSet<TaskKey>,
}

impl CrawlState {
    pub(super) fn new(folder: &Path, options: CrawlOptions) -> Self {
        Self {
            aliases: DedupSet::new(folder),
            listed_links: DedupSet::new(folder),
            refused: HashSet::new(),
            traps: TrapDetector::new(options.trap_limit),
            options,
            skipped_links: 0,
            sessions: SessionIds::default(),
            waiting: HashMap::new(),
            waiting_keys: HashSet::new(),
        }
    }

    pub(super) fn is_full(&self, pages: u64) -> bool {
        self.options.max_pages.is_some_and(|max| pages >= max)
    }

    /// Returns the key of all URLs that are equivalent to `url`.
    pub(super) fn dedup_key(&mut self, url: &Url) -> io::Result<TaskKey> {
        if let Some(Candidate { parameter, .. }) = Candidate::of(url)
            && self.sessions.is_new(&parameter)
            && self.aliases.contains(session_key(&parameter))?
        {
            self.sessions.restore(parameter);
        }
        Ok(TaskKey::for_url(self.dedup_url(url.clone())))
    }

    /// Adds the equivalent URLs of a task's URL to the aliases.
    pub(super) fn add_alias_of(&mut self, url: &Url, key: TaskKey) -> io::Result<()> {
        let alias = self.dedup_key(url)?;
        self.add_alias(alias, key)
    }

    /// Adds the alias of a task, unless it is the task's own key.
    pub(super) fn add_alias(&mut self, alias: TaskKey, key: TaskKey) -> io::Result<()> {
        if alias != key {
            self.aliases.insert(alias)?;
        }
        Ok(())
    }

    /// Whether the pattern of the URL has room for another page.
    pub(super) fn admit_pattern(&mut self, url: Url) -> bool {
        let url = self.dedup_url(url);
        self.traps.admit(&url)
    }

    /// Counts a page of an earlier run.
    pub(super) fn restore_pattern(&mut self, url: Url) {
        let url = self.dedup_url(url);
        self.traps.restore(&url);
    }

    /// Stores that a parameter is a session ID. Returns the key of that fact.
    pub(super) fn store_session_id(&mut self, parameter: &Parameter) -> io::Result<TaskKey> {
        let key = session_key(parameter);
        self.aliases.insert(key)?;
        Ok(key)
    }

    /// Returns the key of the fact that a link which waited is a duplicate.
    pub(super) fn dropped_key(key: TaskKey) -> TaskKey {
        TaskKey::for_fact(&["dropped", &format!("{key:?}")])
    }

    /// Whether a link may wait: it does not yet, and there is room.
    pub(super) fn can_wait(&self, key: TaskKey) -> bool {
        self.waiting_keys.len() < MAX_WAITING && !self.waiting_keys.contains(&key)
    }

    pub(super) fn add_waiting(&mut self, parameter: Parameter, queued: QueuedTask) {
        self.waiting_keys.insert(queued.key);
        self.waiting.entry(parameter).or_default().push(queued);
    }

    pub(super) fn take_waiting(&mut self, parameter: &Parameter) -> Vec<QueuedTask> {
        let taken = self.waiting.remove(parameter).unwrap_or_default();
        for queued in &taken {
            self.waiting_keys.remove(&queued.key);
        }
        taken
    }

    fn dedup_url(&self, url: Url) -> Url {
        dedup_url(url, self.options.sort_query, &self.sessions)
    }
}

fn session_key(parameter: &Parameter) -> TaskKey {
    TaskKey::for_fact(&["session", &parameter.host, &parameter.name])
}

/// The maximum number of links that wait.
const MAX_WAITING: usize = 20_000;
