//! From a page to the tasks that follow from it. Runs on threads that may block.

use url::Url;

use super::normal::normal;
use super::{Follow, Pattern};
use crate::batch::record::Record;
use crate::batch::task::{Key, Task};
use crate::extract::{Document, Extract, says_nofollow};
use crate::fetcher::Page;
use crate::politeness::Robots;
use crate::site;

/// What is read out of every page of a batch.
pub(in crate::batch) struct Reading {
    pub(in crate::batch) extract: Extract,
    pub(in crate::batch) follow: Option<Follow>,
}

/// What a page leads to.
#[derive(Debug, Default)]
pub(in crate::batch) struct Found {
    pub(super) tasks: Vec<Task>,
    /// Other URLs it answers for.
    pub(super) aliases: Vec<Key>,
}

impl Reading {
    /// Reads fields into the record, and the links that `task`, whose record it is, leads to. The page is parsed once.
    pub(in crate::batch) fn of(&self, record: &mut Record, task: Option<&Task>) -> Option<Found> {
        let follow = self.follow.as_ref().zip(task);
        let Ok(page) = record.outcome() else {
            record.extract(&self.extract);
            return follow.map(|_| Found::default());
        };
        let wanted = page.wanted(&self.extract);
        if wanted.is_empty() && follow.is_none() {
            return None;
        }
        let document = page.document();
        let found = follow.map(|(follow, task)| {
            let obeys = record.robots() == Some(Robots::Obey.done());
            follow.find(page, document.as_ref(), task, obeys)
        });
        if !wanted.is_empty() {
            let read = document.as_ref().map_or_else(|| wanted.of_other(), |document| wanted.from(document));
            record.take(read, &wanted);
        }
        found
    }
}

impl Found {
    /// About how much memory it takes, in bytes.
    pub(in crate::batch) fn len(&self) -> usize {
        let text = |task: &Task| task.url.len() + task.seed_origin.as_ref().map_or(0, String::len);
        self.tasks.iter().map(|task| text(task) + size_of::<Task>()).sum()
    }
}

impl Follow {
    fn find(&self, page: &Page, document: Option<&Document>, task: &Task, obeys: bool) -> Found {
        let mut found = Found { tasks: Vec::new(), aliases: self.aliases(page, document) };
        let is_deep = self.depth.is_some_and(|depth| task.depth >= depth);
        let Some(document) = document.filter(|_| !is_deep && page.status().as_u16() < 400) else {
            return found;
        };
        if obeys && (document.is_nofollow() || is_nofollow(page)) {
            return found;
        }
        let asked = Url::parse(&task.url).ok();
        // Where a listed URL leads is at home too; a link that leads away is not.
        let landed = (task.depth == 0).then(|| page.url());
        let homes: Vec<&Url> = asked.iter().chain(landed).collect();
        for url in self.links_of(document, page.bytes().len(), obeys) {
            if self.reaches(&url, &homes) {
                found.tasks.push(follow_up(&normal(url, self.sorts), page.url(), task));
            }
        }
        found
    }

    fn links_of(&self, document: &Document, bytes: usize, obeys: bool) -> Vec<Url> {
        // What a record takes while it is under way is counted by its body.
        let most = LINKS + bytes * 2;
        let mut anchors =
            if self.css.is_empty() { Vec::new() } else { document.anchors(Some(&self.css), most) };
        if !self.patterns.is_empty() {
            let is_for = |url: &Url| self.patterns.iter().any(|pattern: &Pattern| pattern.is_for(url));
            anchors.extend(document.anchors(None, most).into_iter().filter(|anchor| is_for(&anchor.url)));
        }
        anchors.retain(|anchor| !(obeys && anchor.nofollow));
        anchors.into_iter().map(|anchor| anchor.url).collect()
    }

    /// The other URLs that the page answers for.
    fn aliases(&self, page: &Page, document: Option<&Document>) -> Vec<Key> {
        let landed = page.url();
        // What is no HTML has a header alone to say it by.
        let canonical = document.map_or_else(|| page.canonical(), |document| document.canonical().cloned());
        let canonical = canonical.filter(|canonical| site::of(canonical) == site::of(landed));
        let urls = [Some(landed.clone()), canonical].into_iter().flatten();
        urls.map(|url| Key::of_url(normal(url, self.sorts))).collect()
    }
}

/// What a header says about following.
fn is_nofollow(page: &Page) -> bool {
    let said = page.headers().get_all("x-robots-tag");
    said.iter().any(|value| says_nofollow(&String::from_utf8_lossy(value.as_bytes())))
}

/// Bytes of links that every page may have, and twice those of its body beside.
const LINKS: usize = 64 * 1024;
/// What is to be done about a link on the page `from`, which `task` asked for.
fn follow_up(url: &Url, from: &Url, task: &Task) -> Task {
    let mut referer = from.clone();
    referer.set_fragment(None);
    let _ = referer.set_username("");
    let _ = referer.set_password(None);
    Task {
        url: url.to_string(),
        headers: vec![("referer".to_owned(), referer.into())],
        target: task.target.clone(),
        session: task.session.clone(),
        depth: task.depth + 1,
        seed_origin: task.given_for().map(|origin| origin.ascii_serialization()),
        ..Task::default()
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::listed::ListedOrigins;
    use crate::fetcher::{Fetcher, RequestBuilder};

    /// URLs of few origins, so that chains come back.
    fn urls() -> impl Strategy<Value = Url> {
        let parts = ("https?", "(a|www[.]a|b|c)[.]test", "(:8443)?", "/[a-c]?");
        parts.prop_map(|(scheme, host, port, path)| format!("{scheme}://{host}{port}{path}").parse().unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]
        /// Each link is on a page that a redirect may have led to; a checkpoint may be between any two.
        #[test]
        fn no_chain_of_links_takes_a_secret_to_an_origin_it_was_not_given_for(
            seeds in proptest::collection::vec(urls(), 1..4),
            links in proptest::collection::vec((urls(), urls(), any::<bool>()), 0..8),
        ) {
            let fetcher = Fetcher::builder().build().unwrap();
            let common = |request: RequestBuilder| {
                request.header("Authorization", "hunter2").header("X-Api-Key", "hunter2").header("Cookie", "a=hunter2")
                    .header("Accept-Language", "de")
            };
            let (listed, all) = (ListedOrigins::default(), ListedOrigins::default());
            let first = Task::from(seeds[0].as_str());
            listed.add(&first);
            seeds.iter().for_each(|seed| all.add(&Task::from(seed.as_str())));
            // What no set remembers, as in a run that goes on where an earlier one ended.
            let forgotten = ListedOrigins::default();
            let check = |task: &Task| {
                let to = Url::parse(&task.url).unwrap().origin();
                let own = to == seeds[0].origin();
                let any = seeds.iter().any(|seed| seed.origin() == to);
                for (origins, expected) in [(&listed, own), (&forgotten, own), (&all, any)] {
                    let request = task.request(&fetcher, &Method::GET, Some(&common), origins).unwrap();
                    let text = format!("{:?}", request.headers());
                    let secrets = text.matches("hunter2").count();
                    assert_eq!(secrets, if expected { 3 } else { 0 }, "{} by {:?}: {text}", task.url, task.seed_origin);
                    assert!(text.contains("\"de\""), "{text}");
                }
            };
            check(&first);
            let mut task = first;
            for (page, link, is_resumed) in links {
                task = follow_up(&link, &page, &task);
                if is_resumed {
                    task = serde_json::from_str(&serde_json::to_string(&task).unwrap()).unwrap();
                }
                check(&task);
            }
        }
    }
}
