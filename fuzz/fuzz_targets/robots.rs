//! Parses any bytes as a robots.txt, and checks a URL made of the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rungs::robots::Rules;

fuzz_target!(|bytes: &[u8]| {
    let (path, text) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let rules = Rules::parse(text);
    let mut url = url::Url::parse("https://site.example/").expect("a valid URL");
    match String::from_utf8_lossy(path).split_once('?') {
        Some((path, query)) => {
            url.set_path(path);
            url.set_query(Some(query));
        }
        None => url.set_path(&String::from_utf8_lossy(path)),
    }
    if let Some(rule) = rules.find_disallow(&url) {
        assert!(rule.starts_with("`Disallow: /") && rule.len() < 2_000, "{rule}");
        assert!(url.path() != "/robots.txt" || url.query().is_some(), "robots.txt itself is always allowed");
    }
    url.set_fragment(Some("x"));
    let with_fragment = rules.find_disallow(&url);
    url.set_fragment(None);
    assert_eq!(with_fragment, rules.find_disallow(&url), "a fragment changes nothing");
    let _ = rules.crawl_delay();
});
