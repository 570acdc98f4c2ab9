//! The sitemaps that robots.txt of the listed sites names.

use std::collections::{HashSet, VecDeque};

use tokio::runtime::Handle;
use url::{Origin, Url};

use super::InputItem;
use super::sitemap::Sitemap;
use crate::exchange::error::Result;
use crate::fetcher::Fetcher;

/// Iterates over listed items, then over the sitemaps of their sites.
pub(super) struct RobotsSitemaps<I> {
    fetcher: Fetcher,
    runtime: Handle,
    listed: Option<I>,
    known: HashSet<Origin>,
    /// A listed URL of each site whose robots.txt is not read yet.
    sites: VecDeque<Url>,
    current: Option<Sitemap>,
}

impl<I> RobotsSitemaps<I> {
    pub(super) fn new(fetcher: &Fetcher, listed: I) -> Self {
        let (known, sites) = (HashSet::new(), VecDeque::new());
        let (fetcher, runtime) = (fetcher.clone(), Handle::current());
        Self { fetcher, runtime, listed: Some(listed), known, sites, current: None }
    }

    fn add_site(&mut self, url: &str) {
        let Ok(url) = Url::parse(url) else { return };
        if url.origin().is_tuple() && self.known.len() < MAX_SITES && self.known.insert(url.origin()) {
            self.sites.push_back(url);
        }
    }
}

impl<I: Iterator<Item = Result<InputItem>>> Iterator for RobotsSitemaps<I> {
    type Item = Result<InputItem>;

    fn next(&mut self) -> Option<Result<InputItem>> {
        if let Some(listed) = &mut self.listed {
            let item = listed.next();
            match &item {
                Some(Ok(InputItem::Task(task))) => {
                    let url = task.url.clone();
                    self.add_site(&url);
                }
                Some(Ok(InputItem::Queued(queued))) => {
                    let url = queued.task.url.clone();
                    self.add_site(&url);
                }
                Some(_) => {}
                None => self.listed = None,
            }
            if item.is_some() {
                return item;
            }
        }
        loop {
            if let Some(item) = self.current.as_mut().and_then(Sitemap::next) {
                return Some(item);
            }
            let site = self.sites.pop_front()?;
            match Sitemap::of_robots(&self.fetcher, self.runtime.clone(), &site) {
                Ok(sitemap) => self.current = Some(sitemap),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

const MAX_SITES: usize = 10_000;
