use proptest::prelude::*;
use url::Url;

use super::dedup_key::dedup_url;
use super::scope::UrlPattern;
use super::session_ids::SessionIds;
use super::trap::TrapDetector;
use super::*;
use crate::batch::queue::QueuedTask;
use crate::batch::task::Task;
use crate::exchange::registrable_domain;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn canonicalize(link: Url, sort_query: bool) -> Url {
    dedup_url(link, sort_query, &SessionIds::default())
}

#[test]
fn equivalent_links_are_compared_by_the_same_url() {
    const RANDOM: &str = "8f3a9c81d7e6b350";
    let is_same = |text: String| (text.clone(), text);
    for (text, expected) in [
        ("HTTP://Shop.Example:80/a/../b#part".to_owned(), "http://shop.example/b".to_owned()),
        (
            "https://shop.example/?utm_source=x&b=2&UTM_Medium=y&a=1".to_owned(),
            "https://shop.example/?b=2&a=1".to_owned(),
        ),
        ("https://shop.example/p?gclid=1&fbclid=2".to_owned(), "https://shop.example/p".to_owned()),
        (
            format!("https://shop.example/a;jsessionid={RANDOM}/b;v=1?PHPSESSID={RANDOM}"),
            "https://shop.example/a/b;v=1".to_owned(),
        ),
        (
            "https://shop.example/%7ejane/%41%2f%c3%a9?q=%7e%2b".to_owned(),
            "https://shop.example/~jane/A%2F%C3%A9?q=~%2B".to_owned(),
        ),
        ("https://shop.example/100%/%%34%31".to_owned(), "https://shop.example/100%/%%341".to_owned()),
        ("https://jane:hunter2@shop.example/p".to_owned(), "https://shop.example/p".to_owned()),
        is_same("https://shop.example/p?".to_owned()),
        is_same("https://shop.example/p?a&&b=".to_owned()),
        is_same("https://shop.example/p?sid=26".to_owned()),
        is_same(format!("https://shop.example/p?sid={RANDOM}")),
        is_same("https://shop.example/a;jsessionid=26?PHPSESSID=abc".to_owned()),
        is_same("https://shop.example/p?side=left&residence=1".to_owned()),
        is_same("https://shop.example/p?a=b+c&d=e%20f;g".to_owned()),
        is_same("https://shop.example/w?key=%252Fx".to_owned()),
    ] {
        assert_eq!(canonicalize(url(&text), false).as_str(), expected, "{text}");
    }
    assert_eq!(canonicalize(url("https://a.test/?b=2&a=1"), true).as_str(), "https://a.test/?a=1&b=2");
}

#[test]
fn a_site_is_a_registrable_domain_and_others_must_be_allowed() {
    let follow = CrawlOptions::new().allow("cdn.example").unwrap().allow("*.b.test").unwrap();
    let home = url("https://www.shop.co.uk/");
    for (link, expected) in [
        ("https://shop.co.uk/x", true),
        ("http://img.shop.co.uk:8080/x", true),
        ("https://other.co.uk/", false),
        ("https://cdn.example/", true),
        ("https://a.cdn.example/", true),
        ("https://xcdn.example/", false),
        ("https://b.test/", true),
    ] {
        assert_eq!(follow.is_in_scope(&url(link), &[&home]), expected, "{link}");
        assert!(CrawlOptions::new().external(true).is_in_scope(&url(link), &[&home]), "{link}");
    }
    assert_eq!(registrable_domain::registrable_domain(&url("http://127.0.0.1:8080/")), Some("127.0.0.1"));
    assert!(!CrawlOptions::new().is_in_scope(&url("http://127.0.0.2/"), &[&url("http://127.0.0.1/")]));
    assert!(CrawlOptions::new().allow("not a host").is_err());
}

#[test]
fn a_pattern_matches_the_path_or_the_whole_url() {
    for (pattern, link, expected) in [
        ("/p/*", "https://a.test/p/1", true),
        ("/p/*", "https://a.test/q/p/1", false),
        ("/p/*", "https://a.test/p", false),
        ("*/p/*", "https://a.test/q/p/1", true),
        ("/list?page=*", "https://a.test/list?page=2", true),
        ("/list", "https://a.test/list?page=2", false),
        ("https://*.a.test/*", "https://b.a.test/x", true),
        ("https://*.a.test/*", "https://a.test/x", false),
        ("/*a*b*c", "https://a.test/xxaxxbxxbxxc", true),
        ("/*a*b*c", "https://a.test/xxaxxbxxcx", false),
    ] {
        assert_eq!(UrlPattern::parse(pattern).unwrap().matches(&url(link)), expected, "{pattern} {link}");
    }
    for (wrong, expected) in [("pattern:p/*", "column 9"), ("a[", "column 3"), ("", "column 1")] {
        let error = CrawlOptions::new().links(wrong).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Returns how many of these links are followed, and the traps.
fn followed(limit: u32, links: impl Iterator<Item = String>) -> (usize, Vec<Trap>) {
    let mut traps = TrapDetector::new(limit);
    let count = links.filter(|link| traps.admit(&url(link))).count();
    (count, traps.list())
}

#[test]
fn endless_series_are_followed_up_to_their_limit() {
    let series = |form: fn(usize) -> String| (0..3000).map(form);
    let days =
        |n: usize| format!("http://a.test/cal/20{}/{:02}/{:02}", 10 + n / 336, n / 28 % 12 + 1, n % 28 + 1);
    for (limit, form, expected, why, pattern) in [
        (50_000, days as fn(usize) -> String, 400, "dates", "a.test/cal/N/N/N"),
        (
            50_000,
            |n| format!("http://a.test/c?month={}&year={}", n % 12, n / 12),
            400,
            "dates",
            "a.test/c?month&year",
        ),
        (50_000, |n| format!("http://a.test/c?d=20{:02}-01-02&x={n}", n % 90), 400, "dates", "a.test/c?d&x"),
        (1000, |n| format!("http://a.test/list?q={n}"), 100, "query", "a.test/list?q"),
        (1000, |n| format!("http://a.test/p/{n}"), 1000, "folder", "a.test/p/*"),
        (1000, |n| format!("http://a.test/{n}/about"), 1000, "folder", "a.test/N/*"),
        (1000, |n| format!("http://a.test/s/a1b2c3d4e5f6{n:06}/p{n}"), 100, "session", "a.test/s/*/…"),
        (
            50_000,
            |n| format!("http://a.test{}", "/x".repeat(4 + n % 10)),
            0,
            "repeating path",
            "a.test/*/x/*",
        ),
        (50_000, |n| format!("http://a.test/b/c/b/c/b/c/b/{n}"), 0, "repeating path", "a.test/*/b/*"),
        (
            50_000,
            |n| format!("http://a.test/{}", "y/".repeat(3) + &"z".repeat(2040 + n % 9)),
            0,
            "long url",
            "a.test/*",
        ),
        (50_000, |n| format!("http://a.test/f?q={}", "z".repeat(513 + n % 9)), 0, "long query", "a.test/f?*"),
        (50_000, |n| format!("http://a.test/f?{}", "a&".repeat(17 + n % 9)), 0, "long query", "a.test/f?*"),
    ] {
        let (count, traps) = followed(limit, series(form));
        assert_eq!(count, expected, "{why}: {traps:?}");
        assert_eq!((traps.len(), traps[0].why, traps[0].pattern.as_str()), (1, why, pattern), "{traps:?}");
        assert_eq!(traps[0].left, 3000 - expected as u64, "{traps:?}");
        assert_eq!(traps[0].followed as usize, expected, "{traps:?}");
    }
    let deep = (0..50).map(|n| (0..25).map(|at| format!("/s{at}x{n}")).collect::<Vec<_>>().concat());
    assert_eq!(followed(50_000, deep.map(|path| format!("http://a.test{path}"))).1[0].why, "deep path");
}

#[test]
fn ordinary_series_are_followed_completely() {
    for form in [
        (|n| format!("http://a.test/2024/05/a-title-of-words-{n}")) as fn(usize) -> String,
        |n| format!("http://a.test/list?page={n}"),
        |n| format!("http://a.test/p/{n}.html"),
        |n| format!("http://a.test/shop/shoes/red-shoe-size-{n}-new"),
        |n| format!("http://a.test/item/550e8400-e29b-41d4-a716-{n:012}"),
    ] {
        let (count, traps) = followed(50_000, (0..4000).map(form));
        assert_eq!((count, traps), (4000, Vec::new()), "{}", form(7));
    }
}

#[test]
fn counted_patterns_and_reported_traps_are_bounded() {
    let mut traps = TrapDetector::new(1);
    for n in 0..200_000 {
        traps.admit(&url(&format!("http://a.test/d{n}/x")));
        if n % 100 == 0 {
            traps.admit(&url(&format!("http://a.test/d{n}/y")));
        }
    }
    assert!(traps.pattern_count() <= 1 << 16, "{}", traps.pattern_count());
    let list = traps.list();
    assert!(list.len() <= 100 && list.iter().any(|trap| trap.pattern == "others"), "{}", list.len());
}

fn discovered(urls: &[&str], aliases: &[&str]) -> Discovered {
    let tasks = urls.iter().map(|url| Task { depth: 1, ..Task::from(*url) });
    Discovered {
        tasks: tasks.collect(),
        aliases: aliases.iter().map(|text| url(text)).collect(),
        visited: None,
    }
}

fn admit(frontier: &mut Frontier, urls: &[&str], aliases: &[&str]) -> Vec<String> {
    let admitted = frontier.admit_discovered(discovered(urls, aliases)).unwrap();
    admitted.tasks.iter().map(|work| work.task().url.clone()).collect()
}

#[test]
fn a_page_is_discovered_once_and_aliases_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let mut frontier = Frontier::new(folder.path(), Some(CrawlOptions::new()));
    let listed = "http://a.test/?utm_source=mail";
    let key = QueuedTask::new(Task::from(listed)).unwrap().key;
    assert!(
        frontier.admit_listed(key, listed, true).unwrap()
            && !frontier.admit_listed(key, listed, true).unwrap()
    );
    let both = ["http://a.test/1", "http://a.test/1", "http://a.test/", "http://a.test/c"];
    assert_eq!(admit(&mut frontier, &both, &["http://a.test/c"]), ["http://a.test/1"]);
    assert!(admit(&mut frontier, &both, &[]).is_empty());
    // A listed URL is fetched even if it is an alias.
    let key = QueuedTask::new(Task::from("http://a.test/c")).unwrap().key;
    assert!(frontier.admit_listed(key, "http://a.test/c", true).unwrap());
}

#[test]
fn a_refused_link_that_is_listed_is_fetched_whichever_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut frontier = Frontier::new(folder.path(), Some(CrawlOptions::new()));
    let (early, late) = ("http://10.0.0.1/early", "http://10.0.0.1/late");
    let key = |url: &str| QueuedTask::new(Task::from(url)).unwrap().key;
    assert_eq!(admit(&mut frontier, &[early, late], &[]).len(), 2);
    // Refused as a link, then listed: the task is added again, once.
    assert!(frontier.refuse_link(key(early)).unwrap());
    assert!(
        !frontier.admit_listed(key(early), early, false).unwrap(),
        "a sitemap does not list it for the caller"
    );
    assert!(frontier.admit_listed(key(early), early, true).unwrap());
    assert!(!frontier.admit_listed(key(early), early, true).unwrap());
    // Listed while the link is in the queue: it is not refused.
    assert!(!frontier.is_listed_link(key(late)).unwrap());
    assert!(!frontier.admit_listed(key(late), late, true).unwrap());
    assert!(frontier.is_listed_link(key(late)).unwrap() && !frontier.refuse_link(key(late)).unwrap());
}

#[test]
fn the_page_limit_holds_across_runs() {
    let folder = tempfile::tempdir().unwrap();
    let follow = || Some(CrawlOptions::new().max_pages(3));
    let mut frontier = Frontier::new(folder.path(), follow());
    frontier.insert(QueuedTask::new(Task::from("http://a.test/0")).unwrap().key).unwrap();
    let left = frontier.restore(Task { depth: 1, ..Task::from("http://a.test/1") }).unwrap();
    assert!(left.is_some() && frontier.restore(Task::from("http://a.test/0")).unwrap().is_none());
    let links =
        ["http://a.test/0", "http://a.test/1", "http://a.test/2", "http://a.test/3", "http://a.test/4"];
    assert_eq!(admit(&mut frontier, &links, &[]), ["http://a.test/2"]);
    assert_eq!(frontier.limits_reached().1, 2);
}

#[test]
fn a_link_is_requested_as_the_page_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut frontier = Frontier::new(folder.path(), Some(CrawlOptions::new()));
    let links = [
        "http://a.test/?utm_source=x&b=%2f&&a=",
        "http://a.test/p?sid=26",
        "http://a.test/p?",
        "http://a.test/p",
    ];
    assert_eq!(admit(&mut frontier, &links, &[]), links);
    let same = ["http://a.test/?b=%2F&&a=", "http://a.test/%70?sid=26", "http://a.test/%70"];
    assert!(admit(&mut frontier, &same, &[]).is_empty());
}

#[test]
fn links_that_wait_for_a_probe_are_dropped_or_admitted_also_in_a_resumed_run() {
    for (contents, expected) in [(["a b c", "a b c"], 0), (["a b c", "d e f"], 1)] {
        let folder = tempfile::tempdir().unwrap();
        let mut frontier = Frontier::new(folder.path(), Some(CrawlOptions::new()));
        let link = |id: u32| format!("http://a.test/p?sid=8f3a9c81d7e6b{id:03}");
        let links = [link(1), link(2), link(3)];
        let found = discovered(&links.each_ref().map(String::as_str), &[]);
        let first = frontier.admit_discovered(found).unwrap();
        assert_eq!((first.tasks.len(), first.waiting.len()), (2, 1));
        let mut new = NewTasks::default();
        for (id, content) in [(2, contents[0]), (1, contents[1])] {
            let visited = session_ids::Candidate::of(&url(&link(id))).unwrap();
            let visited = Some((visited, Some(session_ids::ContentSketch::new(content))));
            new.merge(frontier.admit_discovered(Discovered { visited, ..Discovered::default() }).unwrap());
        }
        assert_eq!(new.tasks.len(), expected);
        assert_eq!(admit(&mut frontier, &[&link(4)], &[]).len(), expected);
        let mut resumed = Frontier::new(folder.path(), Some(CrawlOptions::new()));
        new.aliases.iter().for_each(|alias| resumed.restore_alias(*alias).unwrap());
        let mut is_left = |task: &Task| resumed.restore(task.clone()).unwrap().is_some();
        let left = first.waiting.iter().filter(|task| is_left(task)).count();
        assert_eq!(left, expected);
        assert_eq!(admit(&mut resumed, &[&link(5)], &[]).len(), usize::from(expected > 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_link_causes_a_panic_and_canonicalization_is_idempotent(rest in "[/?&=;%#a-z0-9A-F._~é-]{0,60}") {
        if let Ok(link) = Url::parse(&format!("http://a.test/{rest}")) {
            let once = canonicalize(link.clone(), true);
            prop_assert_eq!(&canonicalize(once.clone(), true), &once);
            let mut traps = TrapDetector::new(1);
            let first = traps.admit(&once);
            prop_assert!(!traps.admit(&once), "a pattern with a limit of one page has one page; the first was {first}");
            prop_assert!(CrawlOptions::new().is_in_scope(&once, &[&link]));
        }
    }

    #[test]
    fn matching_terminates_quickly_for_any_pattern(pattern in "/[*a]{0,30}", path in "/a{0,200}") {
        let pattern = UrlPattern::parse(&pattern).unwrap();
        let _ = pattern.matches(&Url::parse(&format!("http://a.test{path}")).unwrap());
    }
}
