//! The rules that keep a cookie from hosts and responses that must not have it.

use super::*;

#[test]
fn a_response_over_http_leaves_secure_cookies_alone() {
    for (secure, insecure, url, sent) in [
        ("a=1; Secure", "a=2", "http://www.site.example/a/b", "a=1"),
        ("a=1; Secure", "a=; Max-Age=0", "http://www.site.example/a/b", "a=1"),
        ("a=1; Secure", "a=2; Domain=site.example", "http://x.site.example/a/b", "a=1"),
        ("a=1; Secure; Domain=site.example", "a=2", "http://www.site.example/a/b", "a=1"),
        ("a=1; Secure; Path=/a", "a=2; Path=/a/b", "http://www.site.example/a/b", "a=1"),
        ("a=1; Secure; Path=/a", "a=2; Path=/ab", "http://www.site.example/a/b", "a=1"),
        ("a=1; Secure; Path=/a/b", "a=2; Path=/a", "http://www.site.example/a/b", "a=1; a=2"),
        ("a=1; Secure", "b=2", "http://www.site.example/a/b", "a=1; b=2"),
        ("a=1; Secure", "A=2", "http://www.site.example/a/b", "a=1; A=2"),
        ("a=1; Secure", "a=2", "http://x.site.example/a/b", "a=1"),
        ("a=1; Secure", "a=2; Domain=site.example", "http://site.example/a/b", "a=1"),
        ("x; Secure", "y", "http://www.site.example/a/b", "=x"),
    ] {
        let jar = jar("https://www.site.example/a/b", &[secure]);
        let set = insecure.parse::<HeaderValue>().unwrap();
        jar.store(&Url::parse(url).unwrap(), [&set]);
        assert_eq!(cookie_header(&jar, "https://www.site.example/a/b"), sent, "{secure} {insecure}");
    }
}

#[test]
fn a_flood_over_http_evicts_no_secure_cookie() {
    let jar = jar("https://www.site.example/", &["first=1; Secure; Domain=site.example"]);
    for i in 0..=MAX_PER_SITE {
        let set = format!("c{i}=1; Domain=site.example").parse::<HeaderValue>().unwrap();
        jar.store(&Url::parse("http://x.site.example/").unwrap(), [&set]);
    }
    for site in 0..MAX_COOKIES {
        let set = HeaderValue::from_static("c=1");
        jar.store(&Url::parse(&format!("http://www.site{site}.example/")).unwrap(), [&set]);
    }
    assert_eq!(jar.list().len(), MAX_COOKIES);
    assert_eq!(cookie_header(&jar, "https://x.site.example/"), "first=1");
}

#[test]
fn a_domain_above_a_wildcard_or_an_exception_reaches_only_itself() {
    for (at, set, itself) in [
        ("https://kawasaki.jp/", "a=1; Domain=kawasaki.jp", "a=1"),
        ("https://a.b.kawasaki.jp/", "a=1; Domain=kawasaki.jp", ""),
        ("https://b.kawasaki.jp/", "a=1; Domain=b.kawasaki.jp", ""),
        ("https://city.kawasaki.jp/", "a=1; Domain=kawasaki.jp", ""),
        ("https://x.city.kawasaki.jp/", "a=1; Domain=city.kawasaki.jp", ""),
        ("https://a.b.kawasaki.jp/", "a=1; Domain=b.kawasaki.jp", ""),
    ] {
        let received = jar(at, &[set]);
        let given = CookieJar::default();
        let mut cookie = Cookie::session("a", "1", set.rsplit('=').next().unwrap());
        cookie.host_only = false;
        given.insert(&cookie);
        for jar in [&received, &given] {
            for stranger in ["https://c.b.kawasaki.jp/", "https://d.kawasaki.jp/", "https://e.d.kawasaki.jp/"]
            {
                assert_eq!(cookie_header(jar, stranger), "", "{at} {set} {stranger}");
            }
            if !set.contains("city") {
                assert_eq!(cookie_header(jar, "https://city.kawasaki.jp/"), "", "{at} {set}");
                assert!(jar.list().iter().all(|cookie| cookie.host_only), "{at} {set}");
            }
        }
        assert_eq!(cookie_header(&received, "https://kawasaki.jp/"), itself, "{at} {set}");
    }
    let exception = jar("https://x.city.kawasaki.jp/", &["a=1; Domain=city.kawasaki.jp"]);
    assert_eq!(cookie_header(&exception, "https://y.city.kawasaki.jp/"), "a=1");
}

#[test]
fn a_public_suffix_gets_host_only_cookies() {
    for host in ["co.uk", "github.io", "b.kawasaki.jp", "localhost", "127.0.0.1"] {
        let url = format!("https://{host}/");
        let received = jar(&url, &[&format!("a=1; Domain={host}")]);
        let given = CookieJar::default();
        given.insert(&Cookie { host_only: false, ..Cookie::session("a", "1", host) });
        for jar in [received, given] {
            assert_eq!(cookie_header(&jar, &url), "a=1", "{host}");
            if host != "127.0.0.1" {
                assert_eq!(cookie_header(&jar, &format!("https://www.{host}/")), "", "{host}");
            }
            assert!(jar.list()[0].host_only && !jar.list()[0].matches_host(&format!("www.{host}")), "{host}");
        }
    }
}

#[test]
fn every_store_enforces_prefixes_and_samesite_none() {
    let with = |change: &dyn Fn(&mut Cookie)| {
        let mut cookie =
            Cookie { secure: true, http_only: true, ..Cookie::session("a", "1", "www.site.example") };
        change(&mut cookie);
        cookie
    };
    let refused: [&dyn Fn(&mut Cookie); 8] = [
        &|c| (c.name, c.secure) = ("__SeCure-a".into(), false),
        &|c| (c.name, c.host_only) = ("__host-a".into(), false),
        &|c| (c.name, c.path) = ("__Host-a".into(), "/a".into()),
        &|c| (c.name, c.http_only) = ("__HTTP-a".into(), false),
        &|c| (c.name, c.http_only) = ("__Host-Http-a".into(), false),
        &|c| (c.name, c.value) = (String::new(), "__Host-a=1".into()),
        &|c| (c.same_site, c.secure) = (Some("None".into()), false),
        &|c| c.domain.clear(),
    ];
    for change in refused {
        let (cookie, jar) = (with(change), CookieJar::default());
        jar.insert(&cookie);
        jar.insert_from_site(&cookie);
        assert_eq!(jar.list(), [], "{cookie:?}");
    }
    for name in ["a", "__Secure-a", "__Host-a", "__Http-a", "__Host-Http-a", "__Hosta"] {
        let jar = CookieJar::default();
        jar.insert(&with(&|c| c.name = name.into()));
        assert_eq!(jar.list().len(), 1, "{name}");
    }
}
