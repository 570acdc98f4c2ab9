//! Two identities in one browser, each behind its own proxy with a password.

use rungs::{Fetcher, Proxy, ProxyRules, Tier};

use crate::support::{Certs, Microsocks, Nginx, Site, Squid, SquidOptions};

#[tokio::test(flavor = "multi_thread")]
async fn two_identities_on_two_proxies_at_once_keep_their_exits_and_their_cookies() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squid =
        Squid::start_with(&SquidOptions { outgoing_address: Some("127.0.0.2"), ..SquidOptions::default() });
    let microsocks = Microsocks::start("127.0.0.3");
    let fetcher = Fetcher::builder()
        .min_tier(Tier::Browser)
        .max_tier(Tier::Browser)
        .ca_file(certs.ca())
        .build()
        .expect("good settings");
    let through = |name: &str, url: &str| {
        let proxy: Proxy = url.parse().expect("a proxy");
        fetcher.session(name).with_proxy_rules(&ProxyRules::through(proxy))
    };
    let one = through("one", &squid.url());
    let two = through("two", &microsocks.url("socks5h"));
    for site in [Site::H2, Site::Clear] {
        // One cookie is set by the site, the other by the caller.
        one.get(nginx.url(site, "/cookies/set")).send().await.expect("a page");
        two.identity().jar().insert(&rungs::Cookie::session("mine", "two", "127.0.0.1"));
        let url = nginx.url(site, "/echo");
        for _ in 0..3 {
            let (first, second) = tokio::join!(one.get(&url).send(), two.get(&url).send());
            let first = first.expect("a page").text().expect("text");
            let second = second.expect("a page").text().expect("text");
            assert!(first.contains("remote: 127.0.0.2\n") && first.contains("session=s1"), "{first}");
            assert!(!first.contains("mine=two"), "{first}");
            assert!(second.contains("remote: 127.0.0.3\n") && second.contains("mine=two"), "{second}");
            assert!(!second.contains("session=s1") && !second.contains("lasting"), "{second}");
        }
    }
    assert!(one.identity().traffic().received > 0 && two.identity().traffic().received > 0);
    fetcher.close().await;
    let users: Vec<_> = squid.requests(2).into_iter().map(|request| request.user).collect();
    assert!(users.iter().all(|user| user.as_deref() == Some(Squid::USER)), "{users:?}");
}
