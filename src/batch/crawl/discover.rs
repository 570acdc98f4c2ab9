//! Extracts the tasks that a page's links lead to. Runs on threads that may block.

use std::sync::Mutex;

use url::Url;

use super::session_ids::{Candidate, ContentSketch};
use super::{CrawlOptions, LINKS, UrlPattern};
use crate::batch::record::Record;
use crate::batch::task::Task;
use crate::exchange::credentials::strip_fragment_and_credentials;
use crate::exchange::registrable_domain;
use crate::exchange::robots_policy::RobotsPolicy;
use crate::extract::{Document, Extractor, SelectorUse, has_nofollow};
use crate::fetcher::Response;
use crate::os::sync::lock_unpoisoned;

/// Extracts fields and links from every page of a batch.
pub(in crate::batch) struct PageReader {
    pub(in crate::batch) extract: Extractor,
    pub(in crate::batch) crawl: Option<CrawlOptions>,
    /// How often each selector of the crawl matched.
    uses: Mutex<Vec<SelectorUse>>,
}

/// The tasks and aliases discovered on a page.
#[derive(Debug, Default)]
pub(in crate::batch) struct Discovered {
    pub(super) tasks: Vec<Task>,
    /// Other URLs of the page.
    pub(super) aliases: Vec<Url>,
    /// The URL of the page if it may contain a session ID, and the page's content. `None` if the fetch failed.
    pub(super) visited: Option<(Candidate, Option<ContentSketch>)>,
}

impl PageReader {
    pub(in crate::batch) fn new(extract: Extractor, crawl: Option<CrawlOptions>) -> Self {
        let selectors = crawl.as_ref().map_or(0, |crawl| crawl.selectors.len());
        Self { extract, crawl, uses: Mutex::new(vec![SelectorUse::default(); selectors]) }
    }

    /// Whether the text of pages is extracted.
    pub(in crate::batch) const fn extracts_text(&self) -> bool {
        self.extract.has_text()
    }

    /// Warns of the selectors that matched elements of which none is or contains a link.
    pub(in crate::batch) fn warn_of_linkless_selectors(&self) {
        let uses = lock_unpoisoned(&self.uses);
        let selectors = self.crawl.iter().flat_map(|crawl| &crawl.selectors);
        for (selector, used) in
            selectors.zip(uses.iter()).filter(|(_, used)| used.matched > 0 && used.linked == 0)
        {
            let (css, matched) = (selector.as_str().escape_debug(), used.matched);
            tracing::warn!(
                "nothing was followed for `{css}`: it matched {matched} elements without a URL; {LINKS}"
            );
        }
    }

    /// Extracts fields into the record, and returns the links discovered for its `task`. The page is parsed once.
    pub(in crate::batch) fn read(&self, record: &mut Record, task: Option<&Task>) -> Option<Discovered> {
        let follow = self.crawl.as_ref().zip(task);
        let Ok(page) = record.outcome() else {
            record.extract(&self.extract);
            let failed = |task: &Task| Discovered { visited: visit(task, || None), ..Discovered::default() };
            return follow.map(|(_, task)| failed(task));
        };
        let wanted = page.merged_extract(&self.extract);
        if wanted.is_empty() && follow.is_none() {
            return None;
        }
        let document = page.document();
        let found = follow.map(|(follow, task)| {
            let obeys_robots = record.robots() == Some(RobotsPolicy::Obey.trace_label());
            let mut uses = vec![SelectorUse::default(); follow.selectors.len()];
            let found = follow.discover(page, document.as_ref(), task, obeys_robots, &mut uses);
            self.count_uses(&uses);
            found
        });
        if !wanted.is_empty() {
            let read = page.extract_from(&wanted, document.as_ref());
            record.set_extracted(read, &wanted);
        }
        found
    }

    fn count_uses(&self, uses: &[SelectorUse]) {
        for (total, used) in lock_unpoisoned(&self.uses).iter_mut().zip(uses) {
            total.matched += used.matched;
            total.linked += used.linked;
        }
    }
}

/// Returns the visit of a task whose URL may contain a session ID.
fn visit(
    task: &Task,
    content: impl FnOnce() -> Option<ContentSketch>,
) -> Option<(Candidate, Option<ContentSketch>)> {
    let candidate = Candidate::of(&Url::parse(&task.url).ok()?)?;
    Some((candidate, content()))
}

/// Returns the content of a page, to compare it with another.
fn sketch(page: &Response, document: Option<&Document>) -> Option<ContentSketch> {
    if page.status().as_u16() >= 400 {
        return None;
    }
    let Some(document) = document else { return page.text().ok().map(|text| ContentSketch::new(&text)) };
    let read = Extractor::new().text(true).field("title=title").ok()?.extract_from(document);
    let title = read.fields.get("title").and_then(|title| title.as_str()).unwrap_or_default();
    Some(ContentSketch::new(&[title, &read.text.unwrap_or_default()].join(" ")))
}

impl Discovered {
    /// The approximate memory use, in bytes.
    pub(in crate::batch) fn memory_size(&self) -> usize {
        let text = |task: &Task| task.url.len() + task.seed_origin.as_ref().map_or(0, String::len);
        let aliases: usize = self.aliases.iter().map(|url| url.as_str().len() + size_of::<Url>()).sum();
        self.tasks.iter().map(|task| text(task) + size_of::<Task>()).sum::<usize>() + aliases
    }
}

impl CrawlOptions {
    fn discover(
        &self,
        page: &Response,
        document: Option<&Document>,
        task: &Task,
        obeys_robots: bool,
        uses: &mut [SelectorUse],
    ) -> Discovered {
        let visited = visit(task, || sketch(page, document));
        let mut found = Discovered { tasks: Vec::new(), aliases: self.aliases(page, document), visited };
        let is_deep = self.depth.is_some_and(|depth| task.depth >= depth);
        let Some(document) = document.filter(|_| !is_deep && page.status().as_u16() < 400) else {
            return found;
        };
        if obeys_robots && (document.is_nofollow() || is_nofollow(page)) {
            return found;
        }
        let requested = Url::parse(&task.url).ok();
        // A redirect of a listed URL extends the scope; a redirect of a link does not.
        let final_url = (task.depth == 0).then(|| page.url());
        let seed_urls: Vec<&Url> = requested.iter().chain(final_url).collect();
        let mut links = self.select_links(document, page.bytes().len(), obeys_robots, uses);
        for frame in page.frame_documents().filter(|frame| !(obeys_robots && frame.is_nofollow())) {
            links.extend(self.select_links(&frame, page.bytes().len(), obeys_robots, uses));
        }
        for url in links {
            if self.is_in_scope(&url, &seed_urls) {
                let link = link_task(&url, page.url(), task);
                found.tasks.push(Task { allow_private: !page.restricts_links(), ..link });
            }
        }
        found
    }

    fn select_links(
        &self,
        document: &Document,
        bytes: usize,
        obeys_robots: bool,
        uses: &mut [SelectorUse],
    ) -> Vec<Url> {
        // The memory budget of a record is computed from its body size.
        let max_bytes = BASE_LINK_BYTES + bytes * 2;
        let mut anchors = if self.selectors.is_empty() {
            Vec::new()
        } else {
            document.anchors_within(&self.selectors, max_bytes, uses)
        };
        if !self.patterns.is_empty() {
            let is_for = |url: &Url| self.patterns.iter().any(|pattern: &UrlPattern| pattern.matches(url));
            anchors.extend(document.anchors(max_bytes).into_iter().filter(|anchor| is_for(&anchor.url)));
        }
        anchors.retain(|anchor| !(obeys_robots && anchor.nofollow));
        anchors.into_iter().map(|anchor| anchor.url).collect()
    }

    /// Returns the page's other URLs: the final URL, and the canonical URL if it is trusted. It may be wrong, and then
    /// the page there would never be fetched.
    fn aliases(&self, page: &Response, document: Option<&Document>) -> Vec<Url> {
        let final_url = page.url();
        // Without an HTML document, only the `Link` header can declare a canonical URL.
        let canonical =
            || document.map_or_else(|| page.canonical(), |document| document.canonical().cloned());
        let is_same_site = |canonical: &Url| {
            registrable_domain::registrable_domain(canonical)
                == registrable_domain::registrable_domain(final_url)
        };
        let trusted = self.trust_canonical.then(canonical).flatten().filter(is_same_site);
        [Some(final_url.clone()), trusted].into_iter().flatten().collect()
    }
}

/// Whether the `X-Robots-Tag` header forbids following links.
fn is_nofollow(page: &Response) -> bool {
    let values = page.headers().get_all("x-robots-tag");
    values.iter().any(|value| has_nofollow(&String::from_utf8_lossy(value.as_bytes())))
}

/// The size limit of a page's links, in addition to twice its body size.
const BASE_LINK_BYTES: usize = 64 * 1024;

/// Creates the task for a link on the page `from`, which was fetched for `task`.
fn link_task(url: &Url, from: &Url, task: &Task) -> Task {
    let referer = referer(url, from).map(|referer| ("referer".to_owned(), referer));
    Task {
        url: url.to_string(),
        headers: referer.into_iter().collect(),
        target: task.target.clone(),
        session: task.session.clone(),
        depth: task.depth + 1,
        seed_origin: task.listed_origin().map(|origin| origin.ascii_serialization()),
        seed_has_credentials: task.has_credentials(),
        ..Task::default()
    }
}

/// Returns the Referer for a link on the page `from`, by the default policy of browsers
/// (`strict-origin-when-cross-origin`): the page's URL on its own origin, the origin elsewhere, and nothing after https.
fn referer(url: &Url, from: &Url) -> Option<String> {
    if url.origin() != from.origin() {
        let is_downgrade = from.scheme() == "https" && url.scheme() != "https";
        return (!is_downgrade).then(|| format!("{}/", from.origin().ascii_serialization()));
    }
    let mut referer = from.clone();
    strip_fragment_and_credentials(&mut referer);
    Some(referer.into())
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::listed::ListedOrigins;
    use crate::fetcher::{Fetcher, RequestBuilder};

    /// URLs of few origins, so that chains of links return to an origin.
    fn urls() -> impl Strategy<Value = Url> {
        let parts = ("https?", "(a|www[.]a|b|c)[.]test", "(:8443)?", "/[a-c]?");
        parts.prop_map(|(scheme, host, port, path)| format!("{scheme}://{host}{port}{path}").parse().unwrap())
    }

    #[test]
    fn a_referer_does_not_show_another_origin_the_url() {
        let from = Url::parse("https://user:pass@shop.example/list?token=x#top").unwrap();
        for (url, expected) in [
            ("https://shop.example/p", Some("https://shop.example/list?token=x")),
            ("https://shop.example:8443/p", Some("https://shop.example/")),
            ("https://other.example/p", Some("https://shop.example/")),
            ("http://shop.example/p", None),
        ] {
            assert_eq!(referer(&Url::parse(url).unwrap(), &from).as_deref(), expected, "{url}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]
        /// Each page may be the target of a redirect; the run may be resumed between any two links.
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
            listed.add(seeds[0].origin());
            for seed in &seeds {
                all.add(seed.origin());
            }
            // An empty set, as in a resumed run.
            let empty = ListedOrigins::default();
            let check = |task: &Task| {
                let to = Url::parse(&task.url).unwrap().origin();
                let own = to == seeds[0].origin();
                let any = seeds.iter().any(|seed| seed.origin() == to);
                for (origins, expected) in [(&listed, own), (&empty, own), (&all, any)] {
                    let request = task.build_request(&fetcher, &Method::GET, Some(&common), origins).unwrap();
                    let text = format!("{:?}", request.headers());
                    let secrets = text.matches("hunter2").count();
                    assert_eq!(secrets, if expected { 3 } else { 0 }, "{} by {:?}: {text}", task.url, task.seed_origin);
                    assert!(text.contains("\"de\""), "{text}");
                }
            };
            check(&first);
            let mut task = first;
            for (page, link, is_resumed) in links {
                task = link_task(&link, &page, &task);
                if is_resumed {
                    task = serde_json::from_str(&serde_json::to_string(&task).unwrap()).unwrap();
                }
                check(&task);
            }
        }
    }
}
