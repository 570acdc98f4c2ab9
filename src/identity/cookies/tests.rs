//! The jar as its callers use it.

mod rules;

use http::HeaderValue;
use url::Url;

use super::store::{MAX_COOKIES, MAX_PER_SITE};
use super::*;
use crate::os::sync::lock_unpoisoned;

fn jar(url: &str, set: &[&str]) -> CookieJar {
    let jar = CookieJar::default();
    let values: Vec<HeaderValue> = set.iter().map(|text| text.parse().unwrap()).collect();
    jar.store(&Url::parse(url).unwrap(), &values);
    jar
}

fn cookie_header(jar: &CookieJar, url: &str) -> String {
    let pairs = jar.pairs(&Url::parse(url).unwrap());
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

#[test]
fn longest_path_first_then_oldest_first() {
    let jar = jar("https://www.site.example/a/b", &["z=1; Path=/", "a=2; Path=/", "deep=3; Path=/a"]);
    assert_eq!(cookie_header(&jar, "https://www.site.example/a/b"), "deep=3; z=1; a=2");
    assert_eq!(cookie_header(&jar, "https://www.site.example/c"), "z=1; a=2");
}

#[test]
fn a_cookie_keeps_its_position_until_its_value_changes() {
    let jar = jar("https://site.example/", &["a=1", "b=2", "a=1; Secure"]);
    assert_eq!(cookie_header(&jar, "https://site.example/"), "a=1; b=2");
    let set = "a=3".parse::<HeaderValue>().unwrap();
    jar.store(&Url::parse("https://site.example/").unwrap(), [&set]);
    assert_eq!(cookie_header(&jar, "https://site.example/"), "b=2; a=3");
}

#[test]
fn public_suffixes_and_foreign_domains_are_refused() {
    let jar = jar(
        "https://shop.site.co.uk/",
        &[
            "a=1; Domain=co.uk",
            "b=2; Domain=other.example",
            "c=3; Domain=site.co.uk",
            "d=4; Domain=uk",
            "e=5; Domain=.   co.uk",
            "f=6; Domain=.\tco.uk",
            "g=7; Domain=\". co.uk\"",
        ],
    );
    assert_eq!(cookie_header(&jar, "https://www.site.co.uk/"), "c=3");
    assert_eq!(cookie_header(&jar, "https://else.co.uk/"), "");
}

#[test]
fn prefixes_and_secure_are_enforced() {
    let plain = jar("http://site.example/", &["a=1; Secure", "__Host-b=2; Path=/", "c=3"]);
    assert_eq!(cookie_header(&plain, "http://site.example/"), "c=3");
    let tls = jar("https://site.example/", &["a=1; Secure", "__Host-b=2; Path=/; Secure"]);
    assert_eq!(cookie_header(&tls, "https://site.example/"), "a=1; __Host-b=2");
    assert_eq!(cookie_header(&tls, "http://site.example/"), "");
}

#[test]
fn an_expired_cookie_is_removed() {
    let jar = jar("https://site.example/", &["a=1", "b=2", "a=; Max-Age=0"]);
    assert_eq!(cookie_header(&jar, "https://site.example/"), "b=2");
}

#[test]
fn cookies_survive_a_round_trip_through_another_jar() {
    let first = jar(
        "https://www.site.example/",
        &["a=1; Domain=site.example; Secure; HttpOnly; SameSite=Lax; Max-Age=1000", "b=2"],
    );
    let second = CookieJar::default();
    for cookie in first.list() {
        second.insert(&cookie);
    }
    assert_eq!(first.list(), second.list());
    assert_eq!(cookie_header(&second, "https://www.site.example/"), "a=1; b=2");
}

#[test]
fn a_flood_is_bounded() {
    let jar = CookieJar::default();
    let url = Url::parse("https://site.example/").unwrap();
    for i in 0..(MAX_PER_SITE + 5) {
        jar.store(&url, &[format!("c{i}=1").parse::<HeaderValue>().unwrap()]);
    }
    assert_eq!(jar.list().len(), MAX_PER_SITE);
}

#[test]
fn a_full_jar_evicts_the_oldest_cookie_of_any_site() {
    let jar = CookieJar::default();
    let url = |site: usize| Url::parse(&format!("https://www.site{site}.example/")).unwrap();
    for site in 0..=MAX_COOKIES {
        let line = format!("c={site}; Domain=site{site}.example");
        jar.store(&url(site), &[line.parse::<HeaderValue>().unwrap()]);
    }
    assert_eq!(jar.list().len(), MAX_COOKIES);
    assert_eq!((jar.pairs(&url(0)).len(), jar.pairs(&url(1)).len()), (0, 1));
}

#[test]
fn cookies_of_a_host_and_of_its_parents_are_sent_together() {
    let jar = jar(
        "https://a.b.site.example/",
        &["1=; Domain=site.example", "2=", "3=; Domain=b.site.example", "4=; Path=/x"],
    );
    assert_eq!(cookie_header(&jar, "https://a.b.site.example/x"), "4=; 1=; 2=; 3=");
    assert_eq!(cookie_header(&jar, "https://c.b.site.example/"), "1=; 3=");
    assert_eq!(cookie_header(&jar, "https://c.site.example/"), "1=");
    assert_eq!(cookie_header(&jar, "https://othersite.example/"), "");
    assert_eq!(cookie_header(&jar, "https://example/"), "");
}

#[test]
fn a_domain_without_cookies_has_no_store() {
    let jar = jar("https://site.example/", &["a=1", "a=; Max-Age=0", "b=; Max-Age=0", "c=1; Path=/x"]);
    jar.store(
        &Url::parse("https://other.example/").unwrap(),
        &["d=; Max-Age=0".parse::<HeaderValue>().unwrap()],
    );
    let inner = lock_unpoisoned(&jar.own);
    assert_eq!(inner.counts(), (1, 1));
}

#[test]
fn cookies_of_an_ip_address_work_in_every_form() {
    for address in ["http://127.0.0.1:8080/", "http://[::1]:8080/"] {
        let first = jar(address, &["a=1"]);
        assert_eq!(cookie_header(&first, address), "a=1", "{address}");
        let host = Url::parse(address).unwrap().host_str().unwrap().to_owned();
        assert_eq!(first.site_cookies_for(&host).len(), 1, "{address}");
        let second = CookieJar::default();
        first.list().iter().for_each(|cookie| second.insert(cookie));
        assert_eq!(cookie_header(&second, address), "a=1", "{address}");
        assert_eq!(second.user_cookies_for(&host).len(), 1, "{address}");
    }
}

#[test]
fn a_cookie_of_the_caller_stays_the_callers_when_the_site_renews_it() {
    let jar = jar("https://www.site.example/", &["a=1; Domain=site.example", "b=2", "c=3; Path=/deep"]);
    jar.insert(&Cookie::session("login", "hunter2", "www.site.example"));
    jar.store(
        &Url::parse("https://www.site.example/").unwrap(),
        &["login=renewed".parse::<HeaderValue>().unwrap()],
    );
    let site_set =
        |host| jar.site_cookies_for(host).into_iter().map(|cookie| cookie.name).collect::<Vec<_>>();
    assert_eq!(site_set("www.site.example"), ["a", "b", "c"]);
    assert_eq!(site_set("site.example"), ["a"]);
    assert!(site_set("other.example").is_empty());
}

fn receive(jar: &CookieJar, set: &str) {
    jar.store(&Url::parse("https://www.site.example/").unwrap(), &[set.parse::<HeaderValue>().unwrap()]);
}

fn values(cookies: &[Cookie]) -> Vec<String> {
    cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect()
}

#[test]
fn all_tiers_share_a_cookie_of_the_caller() {
    let plain = CookieJar::default();
    let browser = plain.with_same_given();
    for name in ["renewed", "deleted", "kept"] {
        plain.insert(&Cookie::session(name, "1", "www.site.example"));
    }
    receive(&plain, "renewed=2");
    receive(&plain, "own=plain");
    receive(&browser, "deleted=; Max-Age=0");
    for jar in [&plain, &browser] {
        let sent = cookie_header(jar, "https://www.site.example/");
        assert!(sent.contains("renewed=2") && sent.contains("kept=1") && !sent.contains("deleted"), "{sent}");
    }
    assert!(
        !cookie_header(&browser, "https://www.site.example/").contains("own="),
        "a cookie that the site set is not shared"
    );
    // The site sets the cookie again after deleting it: it is still the caller's.
    receive(&plain, "deleted=3");
    assert!(cookie_header(&browser, "https://www.site.example/").contains("deleted=3"));
    assert_eq!(values(&plain.site_cookies_for("www.site.example")), ["own=plain"]);
}

#[test]
fn merging_jars_keeps_the_last_change_of_each_cookie() {
    let (plain, browser) = (CookieJar::default(), CookieJar::default());
    receive(&plain, "a=1");
    receive(&browser, "a=2");
    receive(&browser, "b=1");
    receive(&plain, "b=2");
    receive(&plain, "c=1");
    receive(&browser, "c=2");
    receive(&browser, "c=; Max-Age=0");
    receive(&browser, "d=; Max-Age=0");
    receive(&plain, "d=1");
    for jars in [[&plain, &browser], [&browser, &plain]] {
        assert_eq!(values(&CookieJar::merge(jars)), ["a=2", "b=2", "d=1"]);
    }
}

#[test]
fn a_cookie_of_the_caller_replaces_one_that_the_site_set() {
    let plain = CookieJar::default();
    let browser = plain.with_same_given();
    receive(&plain, "sid=site");
    receive(&browser, "sid=other");
    plain.insert(&Cookie::session("sid", "given", "www.site.example"));
    for jar in [&plain, &browser] {
        assert_eq!(cookie_header(jar, "https://www.site.example/"), "sid=given");
        assert_eq!(values(&jar.list()), ["sid=given"]);
    }
    assert_eq!(values(&CookieJar::merge([&browser, &plain])), ["sid=given"]);
}

#[test]
fn debug_shows_no_value() {
    let jar = jar("https://site.example/", &["a=hunter2"]);
    assert!(!format!("{jar:?} {:?}", jar.list()).contains("hunter2"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2_000, ..Default::default() })]
    /// The property of the fuzz target `set_cookie`.
    #[test]
    fn any_cookie_is_limited_in_size_and_sent_to_its_site_only(
        bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200),
        name in "(__(host|http|secure|Host-Http)-)?[nN=]?",
        attributes in "[ ;=,]?(Domain=[.]?[ ]{0,2}(co.uk|uk|example.co.uk|kawasaki.jp)|Domain|Path|Expires|Max-Age|Secure|SameSite|__Host-a)?[=; ]{0,2}[a-z0-9.:/,; -]{0,40}",
        raw in proptest::bool::ANY,
        scheme in "https?",
        host in "(shop[.]example[.]co[.]uk|a[.]b[.]kawasaki[.]jp|x[.]city[.]kawasaki[.]jp|kawasaki[.]jp)",
    ) {
        let line = if raw { bytes } else { format!("{name}=v;{attributes}").into_bytes() };
        let Ok(value) = HeaderValue::from_bytes(&line) else { return Ok(()) };
        let jar = CookieJar::default();
        let site = Url::parse(&format!("{scheme}://{host}/a/b")).unwrap();
        jar.store(&site, [&value]);
        for other in ["https://example.co.uk.evil.com/a/b", "https://other.co.uk/a/b", "https://co.uk/a/b", "https://c.b.kawasaki.jp/a/b"] {
            assert!(jar.pairs(&Url::parse(other).unwrap()).is_empty(), "{other}: {value:?}");
        }
        for cookie in jar.list() {
            assert!(cookie.is_consistent() && cookie.matches_host(&host), "{host}: {value:?}");
            assert!(cookie.name.len() + cookie.value.len() <= 4096);
            assert!(!cookie.value.contains(['\r', '\n', '\0', ';']), "{value:?}");
        }
    }
}
