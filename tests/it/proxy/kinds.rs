//! Real proxies of every kind, on every tier.

use std::net::TcpListener;
use std::time::Duration;

use rungs::{ErrorKind, Fetcher, FetcherBuilder, Limits, Proxy, ProxyRules, Tier};

use crate::support::{
    Certs, Dante, FinishedRun, Microsocks, Nginx, Program, RawConnection, RawServer, Site, Squid,
    SquidOptions, rungs,
};

const TIERS: &[&str] =
    if cfg!(feature = "browser") { &["plain", "impersonate", "browser"] } else { &["plain", "impersonate"] };

/// The outgoing addresses of the proxies, by which the sites identify them.
const SQUID: &str = "127.0.0.2";
const MICROSOCKS: &str = "127.0.0.3";
const DANTE: &str = "127.0.0.4";

fn fetch(tier: &str, arguments: &[&str]) -> FinishedRun {
    let fixed = ["fetch", "--retry", "0", "--tier", tier];
    rungs(fixed.into_iter().chain(arguments.iter().copied()))
}

fn tiers() -> impl Iterator<Item = Tier> {
    TIERS.iter().map(|name| name.parse().expect("a tier's name"))
}

fn on(tier: Tier) -> FetcherBuilder {
    Fetcher::builder().min_tier(tier).max_tier(tier).retries(0)
}

fn by(fetcher: &Fetcher, proxy: &str) -> Fetcher {
    fetcher.with_proxy_rules(&ProxyRules::through(proxy.parse().expect("a proxy")))
}

fn remote(exit: &str) -> String {
    format!("remote: {exit}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_proxy_carries_every_tier() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squid = |certificate, no_auth| {
        Squid::start_with(&SquidOptions {
            certificate,
            no_auth,
            outgoing_address: Some(SQUID),
            ..SquidOptions::default()
        })
    };
    let (http, open_http) = (squid(None, false), squid(None, true));
    let (https, open_https) = (squid(Some(&certs.valid), false), squid(Some(&certs.valid), true));
    let (microsocks, dante) = (Microsocks::start(MICROSOCKS), Dante::start(DANTE));
    for tier in tiers() {
        let builder = on(tier).ca_file(certs.ca()).proxy_ca_file(certs.ca());
        let fetcher = builder.build().expect("good settings");
        for (proxy, exit, host) in [
            (http.url(), SQUID, "site.test"),
            (open_http.url_without_user(), SQUID, "site.test"),
            (https.url(), SQUID, "site.test"),
            (open_https.url_without_user(), SQUID, "site.test"),
            (microsocks.url("socks5h"), MICROSOCKS, "localhost"),
            (microsocks.url("socks5"), MICROSOCKS, "localhost"),
            (dante.url("socks5h"), DANTE, "localhost"),
            (dante.url("socks5"), DANTE, "localhost"),
        ] {
            let through = by(&fetcher, &proxy);
            for site in [Site::H2, Site::Clear] {
                let got = through.get(nginx.url_by(site, host, "/echo?x=1")).send().await;
                let page = got.unwrap_or_else(|error| panic!("{tier} {proxy} {site:?}: {}", error.chain()));
                let text = page.text().expect("text");
                assert!(text.contains(&remote(exit)), "{tier} {proxy} {site:?}\n{text}");
                assert!(text.contains("proxy-authorization: \n"), "no site sees it: {tier} {proxy}\n{text}");
                let protocol = if site == Site::H2 { "HTTP/2.0" } else { "HTTP/1.1" };
                assert!(text.contains(&format!("protocol: {protocol}\n")), "{tier} {proxy}\n{text}");
                assert!(text.contains("uri: /echo?x=1\n"), "{tier} {proxy}\n{text}");
            }
        }
        fetcher.close().await;
    }
    for squid in [&http, &https] {
        let requests = squid.requests(2);
        assert!(requests.iter().all(|request| request.user.as_deref() == Some(Squid::USER)), "{requests:?}");
    }
}

#[test]
fn the_scheme_decides_whether_client_or_proxy_resolves_the_name() {
    let certs = Certs::new();
    let (nginx, microsocks) = (Nginx::start(&certs), Microsocks::start(MICROSOCKS));
    let (here, there) = (microsocks.url("socks5"), microsocks.url("socks5h"));
    let port = nginx.port(Site::Clear);
    let mut count = 0;
    for tier in TIERS {
        // Both the proxy and the client can resolve this name: the request to the proxy shows which of them did.
        let url = nginx.url_by(Site::Clear, "localhost", "/page/hello");
        for (proxy, names) in [(&there, true), (&here, false)] {
            let run = fetch(tier, &["-x", proxy, &url]);
            assert_eq!(run.code, 0, "{tier} {proxy}\n{run}");
            count += 1;
            let asked = microsocks.requests(count).split_off(count - 1);
            let named = asked.iter().all(|to| *to == format!("localhost:{port}"));
            assert_eq!(named, names, "{tier} {proxy} {asked:?}");
            count = microsocks.requests(count).len();
        }
        // Only the client can resolve this name: through socks5h it must fail, and the client's address is not used.
        let url = nginx.url_by(Site::Clear, "site.test", "/page/hello");
        let known = nginx.resolve(Site::Clear, "site.test");
        let run = fetch(tier, &["-x", &here, "--resolve", &known, &url]);
        assert_eq!(run.code, 0, "{tier}\n{run}");
        count = microsocks.requests(count + 1).len();
        let run = fetch(tier, &["-x", &there, "--resolve", &known, "--format", "json", &url]);
        assert_eq!((run.code, run.json()["error"]["kind"].as_str()), (1, Some("proxy")), "{tier}\n{run}");
        assert!(run.stderr.contains("could not open a tunnel to site.test"), "{tier}\n{run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socks_refusal_is_reported_with_its_reason() {
    let (microsocks, dante) = (Microsocks::start(MICROSOCKS), Dante::start(DANTE));
    let port = closed_port();
    let closed = format!("http://127.0.0.1:{port}/");
    let closed_tls = closed.replace("http:", "https:");
    let nowhere = "http://nowhere.invalid/".to_owned();
    let wrong = microsocks.url_as("socks5h", "janedoe:hunter2");
    for tier in tiers() {
        let fetcher = on(tier).build().expect("good settings");
        for (proxy, url, kind, words) in [
            (wrong.clone(), &closed, ErrorKind::Proxy, "refused the credentials"),
            (wrong.clone(), &closed_tls, ErrorKind::Proxy, "refused the credentials"),
            (microsocks.url_without_user("socks5"), &closed, ErrorKind::Proxy, "requires credentials"),
            (dante.url("socks5"), &closed, ErrorKind::Connect, "refused the connection, according to"),
            (dante.url("socks5h"), &closed_tls, ErrorKind::Connect, "refused the connection, according to"),
            (dante.url("socks5h"), &nowhere, ErrorKind::Connect, "cannot be reached, according to"),
            (
                microsocks.url("socks5h"),
                &nowhere,
                ErrorKind::Proxy,
                "could not open a tunnel to nowhere.invalid",
            ),
        ] {
            let error = by(&fetcher, &proxy).get(url).send().await.expect_err("nothing is there");
            let message = error.chain();
            assert_eq!(error.kind(), kind, "{tier} {proxy} {message}");
            assert!(message.contains(words), "{tier} {words}: {message}");
            assert!(!message.contains("hunter2") && !message.contains("janedoe"), "{message}");
        }
        fetcher.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_or_foreign_gateway_is_a_proxy_error_on_every_tier_and_is_never_bypassed() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let site = nginx.url(Site::Clear, "/page/hello");
    let secure = nginx.url(Site::H2, "/page/hello");
    let silent = RawServer::start(RawConnection::hold_open);
    let garbage = RawServer::start(|conn| conn.send("\u{1b}[31mneither HTTP nor SOCKS nor TLS\r\n\r\n"));
    let closed = closed_port();
    let mut bounds = Limits::default();
    (bounds.connect, bounds.tls) = (Duration::from_millis(500), Duration::from_millis(500));
    for tier in tiers() {
        let fetcher = on(tier).limits(bounds).insecure(true).build().expect("good settings");
        for scheme in ["http", "https", "socks5", "socks5h"] {
            for port in [closed, silent.port(), garbage.port()] {
                // For an http site, a silent http proxy looks like a silent site: another timeout applies.
                let url = if scheme == "http" { &secure } else { &site };
                let proxy = format!("{scheme}://u:hunter2@127.0.0.1:{port}");
                let error = by(&fetcher, &proxy).get(url).send().await.expect_err("no way");
                let message = error.chain();
                assert_eq!(error.kind(), ErrorKind::Proxy, "{tier} {scheme} {port}: {message}");
                assert!(
                    message.contains(&format!("the proxy {scheme}://***@127.0.0.1:{port}")),
                    "{tier} {message}"
                );
                assert!(!message.contains("hunter2"), "{message}");
            }
        }
        fetcher.close().await;
    }
    assert!(nginx.visits(0).is_empty(), "a request bypassed the proxy");
}

#[test]
fn an_https_proxy_is_trusted_by_its_own_flags_and_not_by_those_for_sites() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squid =
        Squid::start_with(&SquidOptions { certificate: Some(&certs.valid), ..SquidOptions::default() });
    let url = nginx.url(Site::H2, "/page/hello");
    let ca = certs.ca();
    for tier in TIERS {
        for (flags, works) in [
            (vec!["--cacert", ca, "--proxy-cacert", ca], true),
            (vec!["-k", "--proxy-insecure"], true),
            (vec!["--cacert", ca], false),
            (vec!["-k"], false),
        ] {
            let run = fetch(tier, &[&flags[..], &["-x", &squid.url(), "--format", "json", &url]].concat());
            assert_eq!(run.code == 0, works, "{tier} {flags:?}\n{run}");
            if !works {
                assert_eq!(run.json()["error"]["kind"], "proxy", "{run}");
                assert!(run.stderr.contains("--proxy-cacert"), "{run}");
            }
        }
    }
    let run = fetch("plain", &["-x", &squid.url(), "--proxy-cacert", "nowhere.pem", &url]);
    assert!(run.code == 3 && run.stderr.contains("nowhere.pem"), "{run}");
}

#[test]
fn flags_and_environment_are_read_as_curl_reads_them() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squid = Squid::start_with(&SquidOptions { outgoing_address: Some(SQUID), ..SquidOptions::default() });
    let microsocks = Microsocks::start(MICROSOCKS);
    let (http, socks) = (squid.url(), microsocks.url("socks5h"));
    let password = format!("{}:{}", Squid::USER, Squid::PASSWORD);
    let without_user = squid.url_without_user();
    let direct = "127.0.0.1";
    for (variables, flags, site, exit) in [
        (vec![("http_proxy", &*http)], vec![], Site::Clear, SQUID),
        (vec![("HTTP_PROXY", &*http)], vec![], Site::Clear, direct),
        (vec![("http_proxy", &*http)], vec![], Site::H1, direct),
        (vec![("HTTPS_PROXY", &*http)], vec![], Site::H1, SQUID),
        (vec![("ALL_PROXY", &*socks), ("https_proxy", &*http)], vec![], Site::H1, SQUID),
        (vec![("ALL_PROXY", &*socks), ("https_proxy", &*http)], vec![], Site::Clear, MICROSOCKS),
        (vec![("all_proxy", &*socks)], vec!["-x", &http], Site::Clear, SQUID),
        (vec![("all_proxy", &*socks)], vec!["-x", ""], Site::Clear, direct),
        (vec![("all_proxy", &*socks), ("NO_PROXY", "127.0.0.0/8")], vec![], Site::Clear, direct),
        (vec![("no_proxy", "127.0.0.1")], vec!["-x", &http], Site::Clear, direct),
        (vec![("no_proxy", "127.0.0.1")], vec!["-x", &http, "--noproxy", ""], Site::Clear, SQUID),
        (vec![], vec!["-x", &http, "--noproxy", "other.test,127.0.0.1"], Site::Clear, direct),
        (vec![], vec!["-x", &http, "--noproxy", "*"], Site::Clear, direct),
        (vec![], vec!["-x", &without_user, "--proxy-user", &password], Site::Clear, SQUID),
        (vec![("http_proxy", &*without_user)], vec!["-U", &password], Site::Clear, SQUID),
        (vec![], vec!["-x", &http, "-U", "janedoe:hunter2"], Site::Clear, SQUID),
    ] {
        let mut program = Program::new();
        for (name, value) in &variables {
            program = program.variable(name, value);
        }
        let url = nginx.url(site, "/echo");
        let fixed = ["fetch", "--tier", "impersonate", "--cacert", certs.ca()];
        let run = program.run(fixed.into_iter().chain(flags.iter().copied()).chain([url.as_str()]));
        assert!(run.code == 0 && run.text().contains(&remote(exit)), "{variables:?} {flags:?} {exit}\n{run}");
    }
    let run =
        Program::new().variable("https_proxy", "gopher://janedoe:hunter2@gate").run(["fetch", "https://a/"]);
    assert!(run.code == 3 && run.stderr.contains("https_proxy") && !run.stderr.contains("hunter2"), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_counts_what_passes_through_its_proxies_on_every_tier() {
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start());
    for tier in tiers() {
        let fetcher = on(tier).ca_file(certs.ca()).build().expect("good settings");
        let proxied = by(&fetcher, &squid.url());
        for url in [nginx.url(Site::H1, "/page/700k"), nginx.url(Site::Clear, "/page/700k")] {
            fetcher.get(&url).send().await.expect("a page, straight");
            proxied.get(&url).send().await.expect("a page, by the proxy");
        }
        let of = |fetcher: &Fetcher| match tier {
            Tier::Plain => fetcher.plain_identity().traffic(),
            _ => fetcher.identity().traffic(),
        };
        assert_eq!(of(&fetcher), rungs::Traffic::default(), "{tier}: straight is not counted");
        let (counted, pages) = (of(&proxied), 2 * Nginx::LARGE as u64);
        // Heads, handshakes and TLS records are added to it.
        assert!((pages..pages + 40_000).contains(&counted.received), "{tier} {counted:?}");
        assert!((100..20_000).contains(&counted.sent), "{tier} {counted:?}");
        fetcher.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_proxy_is_another_identity() {
    let certs = Certs::new();
    let (nginx, microsocks) = (Nginx::start(&certs), Microsocks::start(MICROSOCKS));
    let fetcher = Fetcher::builder().max_tier(Tier::Plain).build().expect("good settings");
    let proxy: Proxy = microsocks.url("socks5h").parse().expect("a proxy");
    let (set, echo) = (nginx.url(Site::Clear, "/cookies/set"), nginx.url(Site::Clear, "/echo"));
    fetcher.get(&set).send().await.expect("a page");
    let there = fetcher.get(&echo).proxy(proxy.clone()).send().await.expect("a page").text().expect("text");
    assert!(there.contains(&remote(MICROSOCKS)) && there.contains("cookie: \n"), "{there}");
    fetcher.get(&set).proxy(proxy.clone()).send().await.expect("a page");
    let again = fetcher.get(&echo).proxy(proxy.clone()).send().await.expect("a page").text().expect("text");
    assert!(
        again.contains(&remote(MICROSOCKS)) && again.contains("session=s1"),
        "the same identity: {again}"
    );
    let route = ProxyRules::through(proxy).no_proxy("127.0.0.1");
    assert_ne!(fetcher.with_proxy_rules(&route).identity().key(), fetcher.identity().key());
    let home = fetcher.get(&echo).send().await.expect("a page").text().expect("text");
    assert!(home.contains(&remote("127.0.0.1")) && home.contains("session=s1"), "{home}");
}

/// A loopback port on which no server listens.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
