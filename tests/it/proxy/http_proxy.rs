//! The program through a real squid that requires a password.

use std::net::TcpListener;

use rungs::{Fetcher, Tier};

use crate::support::{Certs, FinishedRun, Nginx, RawServer, Site, Squid, never_answers, rungs};

fn fetch(proxy: &str, arguments: &[&str]) -> FinishedRun {
    let fixed = ["fetch", "--retry", "0", "--max-tier", "impersonate", "--proxy", proxy];
    rungs(fixed.into_iter().chain(arguments.iter().copied()))
}

#[test]
fn https_goes_through_a_tunnel_and_http_in_absolute_form() {
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start());
    let mut count = 0;
    for tier in ["plain", "impersonate"] {
        let secure = nginx.url_by(Site::H2, "site.test", "/echo");
        let run = rungs(["fetch", "--tier", tier, "-x", &squid.url(), "--cacert", certs.ca(), &secure]);
        assert_eq!(run.code, 0, "{run}");
        assert!(run.text().contains("protocol: HTTP/2.0\n"), "HTTP/2 through the tunnel\n{run}");
        assert!(run.text().contains("proxy-authorization: \n"), "the site never sees the password\n{run}");

        let clear = nginx.url_by(Site::Clear, "site.test", "/echo?x=1");
        let run = rungs(["fetch", "--tier", tier, "-x", &squid.url(), &clear]);
        assert_eq!(run.code, 0, "{run}");
        assert!(run.text().contains("proxy-authorization: \n"), "{run}");
        assert!(run.text().contains("uri: /echo?x=1\n"), "{run}");
        count += 2;
        let requests = squid.requests(count);
        let [tunnel, plain] = &requests[count - 2..] else { panic!("two requests") };
        assert_eq!(tunnel.method, "CONNECT");
        assert_eq!(tunnel.target, format!("site.test:{}", nginx.port(Site::H2)));
        // squid does not log queries.
        let clear = clear.trim_end_matches("x=1");
        assert_eq!((plain.method.as_str(), plain.target.as_str()), ("GET", clear));
        for request in [tunnel, plain] {
            assert_eq!((request.status, request.user.as_deref()), (200, Some(Squid::USER)), "{request:?}");
        }
    }
}

#[test]
fn a_wrong_password_is_a_proxy_error_that_says_so_and_never_shows_it() {
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start());
    let sites = [nginx.url(Site::H2, "/echo"), nginx.url(Site::Clear, "/echo")];
    for url in &sites {
        let run = fetch(
            &squid.url_as("someuser", "hunter2%21"),
            &["-vvv", "--trace", "--cacert", certs.ca(), "--format", "json", url],
        );
        assert_eq!(run.code, 1, "{run}");
        let got = run.json();
        assert_eq!(got["error"]["kind"], "proxy", "{run}");
        assert!(run.stderr.contains("refused the credentials (407)"), "{run}");
        assert!(run.stderr.contains("check user name and password"), "{run}");
        assert_eq!(got["attempts"][0]["proxy"], format!("http://***@127.0.0.1:{}", squid.port()));
        for secret in ["hunter2", "someuser", "c29tZXVzZXI"] {
            assert!(!run.to_string().contains(secret), "{secret} in {run}");
        }

        let run = fetch(&squid.url_without_user(), &["--cacert", certs.ca(), "--format", "json", url]);
        assert_eq!((run.code, run.json()["error"]["kind"].as_str()), (1, Some("proxy")), "{run}");
        assert!(run.stderr.contains("requires credentials (407)"), "{run}");
        assert!(run.stderr.contains("http://user:password@host:port"), "{run}");
    }
}

#[test]
fn a_dead_proxy_is_blamed_and_not_the_site() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    for url in ["http://127.0.0.1:9/", "https://127.0.0.1:9/"] {
        let run = fetch(&format!("http://u:hunter2@127.0.0.1:{port}"), &["--format", "json", url]);
        assert_eq!((run.code, run.json()["error"]["kind"].as_str()), (1, Some("proxy")), "{run}");
        assert!(
            run.stderr.contains(&format!("the proxy http://***@127.0.0.1:{port} cannot be reached")),
            "{run}"
        );
        assert!(
            run.stderr.contains("refused the connection") && !run.to_string().contains("hunter2"),
            "{run}"
        );
    }
    // A proxy that accepts and never answers.
    let silent = RawServer::start(never_answers);
    let proxy = silent.url("").replace("http://", "http://u:hunter2@");
    let run = fetch(&proxy, &["--connect-timeout", "0.3", "--format", "json", "https://127.0.0.1:9/"]);
    assert_eq!((run.code, run.json()["error"]["kind"].as_str()), (1, Some("proxy")), "{run}");
    assert!(run.stderr.contains("timed out after 300ms waiting for the proxy"), "{run}");
    // A proxy that does not speak HTTP, and one with an endless header.
    let garbage =
        RawServer::start(|conn| conn.read_head().and_then(|_| conn.send("\u{1b}[31mno HTTP\r\n\r\n")));
    let run = fetch(&garbage.url(""), &["https://127.0.0.1:9/"]);
    assert!(run.code == 1 && run.stderr.contains("valid HTTP") && !run.stderr.contains('\u{1b}'), "{run}");
    let endless = RawServer::start(|conn| {
        conn.read_head()?;
        conn.send("HTTP/1.1 200 OK\r\n")?;
        while !conn.is_stopping() {
            conn.send(format!("x: {}\r\n", "y".repeat(1000)))?;
        }
        Ok(())
    });
    let run = fetch(&endless.url(""), &["https://127.0.0.1:9/"]);
    assert!(run.code == 1 && run.stderr.contains("exceed the size limit"), "{run}");
}

#[test]
fn several_urls_of_a_site_share_one_tunnel() {
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start());
    for (at, site) in [Site::H2, Site::H1].into_iter().enumerate() {
        let url = nginx.url_by(site, "site.test", "/page/hello");
        let run = fetch(&squid.url(), &["--cacert", certs.ca(), &url, &url, &url]);
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(squid.requests(at + 1).len(), at + 1, "{site:?}");
    }
}

#[test]
fn an_unreachable_site_behind_a_proxy_is_reported_as_the_proxys_error() {
    let squid = Squid::start();
    for url in ["http://127.0.0.1:9/", "https://127.0.0.1:9/"] {
        let run = fetch(&squid.url(), &["--format", "json", url]);
        assert_eq!((run.code, run.json()["error"]["kind"].as_str()), (1, Some("proxy")), "{run}");
    }
}

#[test]
fn the_name_is_resolved_by_the_proxy() {
    // Only squid can resolve `site.test`.
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start());
    let url = nginx.url_by(Site::H2, "other.test", "/page/hello");
    let run = fetch(&squid.url(), &["--cacert", certs.ca(), &url]);
    assert_eq!((run.code, run.stdout.clone()), (0, nginx.page("hello")), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_identities_never_share_a_connection() {
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start());
    for (at, site) in [Site::H2, Site::H1, Site::Clear].into_iter().enumerate() {
        let fetcher = Fetcher::builder()
            .min_tier(Tier::Impersonate)
            .max_tier(Tier::Impersonate)
            .ca_file(certs.ca())
            .proxy(squid.url().parse().expect("a proxy"))
            .build()
            .expect("the settings are good");
        let sessions = [fetcher.session("one"), fetcher.session("two")];
        for _ in 0..2 {
            for session in &sessions {
                session.get(nginx.url(site, "/page/hello")).send().await.expect("a page");
            }
        }
        let again = fetcher.session("one");
        again.get(nginx.url(site, "/page/hello")).send().await.expect("a page");
        let visits = nginx.visits((at + 1) * 5).split_off(at * 5);
        let ids: Vec<u64> = visits.iter().map(|visit| visit.connection).collect();
        if site != Site::Clear {
            assert_ne!(ids[0], ids[1], "{site:?} {ids:?}");
            assert_eq!((ids[0], ids[1], ids[0]), (ids[2], ids[3], ids[4]), "{site:?} {ids:?}");
            assert!(visits.iter().all(|visit| !visit.resumed), "tickets are not shared either");
        }
    }
}
