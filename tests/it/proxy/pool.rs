//! Pools of real proxies: sessions, rotation, health.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rungs::{
    Dialect, ErrorKind, Fetcher, FetcherBuilder, GeoTarget, ProxyAccount, ProxyPool, ProxyRules, Response,
    RotationMode, Secret, Tier,
};

use crate::support::{
    Certs, Flow, Microsocks, Nginx, ProxiedRequest, RawServer, Relay, Site, Squid, SquidOptions, until_async,
};

const ANY_CREDENTIALS: SquidOptions<'_> =
    SquidOptions { certificate: None, no_auth: false, any_credentials: true, outgoing_address: None };

/// Jane's account, at a provider whose gateway is this squid.
fn account(squid: &Squid) -> ProxyAccount {
    let dialect = Dialect::find("decodo", None).expect("it is shipped");
    ProxyAccount::new(dialect, "jane", Secret::new("hunter2"))
        .gateway(squid.url_without_user().parse().expect("a gateway"))
        .geo(GeoTarget::default().country("US"))
        // Long enough that it is not renewed during a test.
        .lifetime(Duration::from_secs(24 * 3600))
}

fn on(tier: Tier, certs: &Certs, pool: ProxyPool) -> FetcherBuilder {
    Fetcher::builder().min_tier(tier).max_tier(tier).ca_file(certs.ca()).proxies(pool)
}

/// Starts `times` fetches at once.
async fn fetch(fetcher: &Fetcher, url: &str, times: usize) -> Vec<Response> {
    let pages = futures_util::future::join_all((0..times).map(|_| fetcher.get(url).send())).await;
    pages
        .into_iter()
        .map(|page| page.unwrap_or_else(|error| panic!("{error:?} {:?}", error.trace())))
        .collect()
}

fn users(requests: &[ProxiedRequest]) -> Vec<&str> {
    let mut users: Vec<&str> =
        requests.iter().map(|request| request.user.as_deref().unwrap_or("-")).collect();
    users.sort_unstable();
    users.dedup();
    users
}

/// The session id in one of Jane's user names.
fn id(user: &str) -> &str {
    let id = user.strip_prefix("user-jane-country-us-session-").expect("the dialect's words");
    let id = id.strip_suffix("-sessionduration-1440").expect("and its minutes");
    assert!(id.len() >= 10 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{user}");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_requests_have_a_connection_each_and_sticky_ones_one_session() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for (site, tier, shared) in [(Site::H2, Tier::Impersonate, 1), (Site::H1, Tier::Plain, 6)] {
        let squid = Squid::start_with(&ANY_CREDENTIALS);
        let url = nginx.url_by(site, "site.test", "/page/hello");
        let pool = ProxyPool::new().account(account(&squid));
        let fetcher =
            on(tier, &certs, pool.clone().mode(RotationMode::Rotating)).build().expect("good settings");
        let pages = fetch(&fetcher, &url, 20).await;
        assert!(pages.iter().all(|page| page.trace().attempts()[0].session.is_none()));
        let requests = squid.requests(20);
        assert_eq!((requests.len(), users(&requests)), (20, vec!["user-jane-country-us"]), "{site:?}");

        let fetcher = on(tier, &certs, pool).build().expect("good settings");
        let pages = fetch(&fetcher, &url, 20).await;
        let pages = pages.into_iter().chain(fetch(&fetcher, &url, 20).await);
        let mut labels: Vec<_> = pages.map(|page| page.trace().attempts()[0].session.clone()).collect();
        labels.dedup();
        drop(fetcher);
        let sticky = squid.requests(21).split_off(20);
        let [user] = users(&sticky)[..] else { panic!("{site:?} {sticky:?}") };
        assert!(sticky.len() <= shared, "{site:?}: connections are kept: {sticky:?}");
        let [Some(label)] = &labels[..] else { panic!("one session: {labels:?}") };
        assert!(!id(user).contains(label.as_str()) && !label.is_empty(), "{label}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_fetchers_of_one_user_share_a_session_and_others_have_their_own() {
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start_with(&ANY_CREDENTIALS));
    let url = nginx.url_by(Site::H1, "site.test", "/page/hello");
    let mut found = BTreeMap::new();
    for (at, name) in [None, None, Some("shop"), Some("shop"), Some("other")].into_iter().enumerate() {
        let pool = ProxyPool::new().account(account(&squid));
        let fetcher = on(Tier::Impersonate, &certs, pool).build().expect("good settings");
        let session = name.map_or(fetcher.clone(), |name| fetcher.session(name));
        fetch(&session, &url, 1).await;
        drop((fetcher, session));
        let request = squid.requests(at + 1).remove(at);
        found.entry(name).or_insert_with(Vec::new).push(request.user.expect("a user"));
    }
    let ids: Vec<Vec<&str>> =
        found.values().map(|users| users.iter().map(|user| id(user)).collect()).collect();
    for ids in &ids {
        assert!(ids.iter().all(|id| id == &ids[0]), "the next process comes out of the same exit: {found:?}");
    }
    assert!(ids[0][0] != ids[1][0] && ids[1][0] != ids[2][0], "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_site_has_a_session_of_its_own_where_that_is_wanted() {
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start_with(&ANY_CREDENTIALS));
    let pool = ProxyPool::new().account(account(&squid)).mode(RotationMode::PerHost);
    let fetcher = on(Tier::Impersonate, &certs, pool).build().expect("good settings");
    for host in ["site.test", "other.test", "www.site.test", "other.test"] {
        let set = nginx.url_by(Site::H1, host, "/cookies/set");
        fetch(&fetcher, &set, 1).await;
        let echo = fetch(&fetcher, &nginx.url_by(Site::H1, host, "/echo"), 1).await.remove(0);
        assert!(echo.text().expect("text").contains("session=s1"), "its jar is its own");
    }
    drop(fetcher);
    let requests = squid.requests(3);
    let user = |host: &str| {
        let request = requests.iter().find(|request| request.target.starts_with(host)).expect("it was asked");
        id(request.user.as_deref().expect("a user")).to_owned()
    };
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert_eq!(user("site.test"), user("www.site.test"), "one registrable domain");
    assert_ne!(user("site.test"), user("other.test"));
}

#[cfg(feature = "browser")]
#[tokio::test(flavor = "multi_thread")]
async fn the_browser_uses_the_same_exit_as_the_tiers_below() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for mode in [RotationMode::Sticky, RotationMode::Rotating] {
        let squid = Squid::start_with(&ANY_CREDENTIALS);
        let pool = ProxyPool::new().account(account(&squid)).mode(mode);
        let fetcher = Fetcher::builder().ca_file(certs.ca()).proxies(pool).build().expect("good settings");
        let url = nginx.url_by(Site::H1, "site.test", "/echo");
        for tier in [Tier::Impersonate, Tier::Browser] {
            // The plain tier gets a block: the fetch escalates.
            let expect = rungs::detect::Expectation::default().text("nowhere in it");
            let failed = fetcher.get(&url).expect(expect).tier(tier).send().await;
            assert!(failed.is_err());
        }
        let climbed = fetcher.get(&url).expect(rungs::detect::Expectation::default().text("nowhere in it"));
        let error = climbed.send().await.expect_err("no tier gets such a page");
        let attempts = error.trace().expect("a trace").attempts();
        let sessions: Vec<_> = attempts.iter().map(|attempt| attempt.session.clone()).collect();
        assert_eq!(attempts.len(), 3, "{attempts:?}");
        assert!(
            sessions[0].is_some() && sessions.iter().all(|session| *session == sessions[0]),
            "{sessions:?}"
        );
        fetcher.close().await;
        drop(fetcher);
        let requests = squid.requests(3);
        let ids = users(&requests).iter().filter(|user| user.contains("-session-")).count();
        assert_eq!(ids, if mode == RotationMode::Sticky { 1 } else { 2 }, "{mode:?} {requests:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_identity_moves_to_another_exit_and_stays_there() {
    let certs = Certs::new();
    let socks = ["127.0.0.2", "127.0.0.3"].map(Microsocks::start);
    let site = RawServer::start(|conn| {
        let blocked = conn.peer.is_some_and(|peer| peer.to_string() == "127.0.0.2");
        while conn.read_head().is_ok() {
            conn.send(if blocked {
                "HTTP/1.1 403 Forbidden\r\ncf-mitigated: block\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nno"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 17\r\n\r\n<p>a fine page\r\n\r\n"
            })?;
        }
        Ok(())
    });
    for seed in 0..6 {
        let pool = socks.iter().fold(ProxyPool::new().seed(seed), |pool, proxy| {
            pool.proxy(proxy.url("socks5h").parse().expect("a proxy"))
        });
        let fetcher = on(Tier::Plain, &certs, pool).build().expect("good settings");
        fetcher.plain_identity().jar().insert(&rungs::Cookie::session("mine", "given", "127.0.0.1"));
        let mut pages = fetch(&fetcher, &site.url("/"), 1).await;
        pages.extend(fetch(&fetcher, &site.url("/"), 1).await);
        let attempts: Vec<usize> = pages.iter().map(|page| page.trace().attempts().len()).collect();
        assert!(attempts[0] <= 2 && attempts[1] == 1, "the second knows: {attempts:?}");
        if attempts[0] == 2 {
            let first = &pages[0].trace().attempts()[0];
            assert_eq!(first.next.as_deref(), Some("new exit: cloudflare block"));
        }
        let report = fetcher.proxy_stats();
        assert_eq!((report[0].pages, report[1].pages, report[0].blocks), (0, 2, attempts[0] as u64 - 1));
        assert!(
            site.heads().iter().all(|head| head.contains("mine=given")),
            "every identity has the cookies that the caller gave"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_gateway_is_reported_within_seconds_and_the_host_is_not_blamed() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squid = Squid::start_with(&ANY_CREDENTIALS);
    let pool = ProxyPool::new().account(account(&squid));
    drop(squid);
    let url = nginx.url(Site::H2, "/page/hello");
    let fetcher = on(Tier::Impersonate, &certs, pool.clone()).build().expect("good settings");
    let began = Instant::now();
    for at in 0..12 {
        let error = fetcher.get(&url).send().await.expect_err("the gateway is dead");
        assert_eq!(error.kind(), ErrorKind::Proxy, "{error:?}");
        let message = error.chain();
        assert!(
            message.contains(if at == 0 { "refused the connection" } else { "none of 1 proxies works" }),
            "{message}"
        );
        assert!(!message.contains("jane") && !message.contains("hunter2"), "{message}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "hours would be a silent slow-down");
    assert_eq!(nginx.visits(0).len(), 0, "no request bypasses the proxy");
    fetch(&fetcher.with_proxy_rules(&ProxyRules::default()), &url, 1).await;

    let fetcher = on(Tier::Impersonate, &certs, pool.fallback_direct(true)).build().expect("good settings");
    let page = fetch(&fetcher, &url, 1).await.remove(0);
    let attempts: Vec<_> =
        page.trace().attempts().iter().map(|one| (one.proxy.is_some(), one.fallback)).collect();
    assert_eq!(attempts.last(), Some(&(false, true)), "{attempts:?}");
    assert!(
        attempts.len() > 1 && attempts[..attempts.len() - 1].iter().all(|one| *one == (true, false)),
        "{attempts:?}"
    );
    let page = fetch(&fetcher, &url, 1).await.remove(0);
    assert!(page.trace().attempts()[0].fallback && page.trace().attempts().len() == 1);
}

/// Whether squid refuses the credentials of the pool (407).
fn refuses(squid: &Squid) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", squid.port())).expect("squid accepts");
    let request = "GET http://127.0.0.1:1/ HTTP/1.0\r\nProxy-Authorization: Basic dTpw\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("squid reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("squid answers");
    answer.ends_with(b" 407")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_is_lost_with_a_dying_a_refusing_and_a_slow_proxy_among_four() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let mut dying = Some(Squid::start_with(&ANY_CREDENTIALS));
    let (refusing, good) = (Squid::start_with(&ANY_CREDENTIALS), Squid::start_with(&ANY_CREDENTIALS));
    let slow = Relay::start(
        good.port(),
        Flow::new().latency(Duration::from_millis(60), Duration::ZERO),
        Flow::new(),
    );
    let ports = [dying.as_ref().map_or(0, Squid::port), refusing.port(), slow.port(), good.port()];
    let pool = ports.iter().fold(ProxyPool::new().mode(RotationMode::Rotating), |pool, port| {
        pool.proxy(format!("http://u:p@127.0.0.1:{port}").parse().expect("a proxy"))
    });
    let fetcher = on(Tier::Impersonate, &certs, pool.concurrency(8)).build().expect("good settings");
    // Few pages per connection: squid checks credentials only on new connections.
    let url = nginx.url(Site::H1, "/few/hello");
    let mut run = futures_util::stream::iter(0..300)
        .map(|_| fetcher.get(&url).rate_limit(rungs::RateLimit::new().concurrency(16)).send())
        .buffer_unordered(16);
    let (mut pages, mut lost) = (0, Vec::new());
    while let Some(outcome) = run.next().await {
        match outcome {
            Ok(page) => pages += usize::from(page.status().is_success()),
            Err(error) => lost.push(format!("{} {:?}", error.chain(), error.trace())),
        }
        match pages {
            60 => drop(dying.take()),
            120 => {
                refusing.reject_credentials();
                // Squid accepts credentials that it knows for one more second.
                until_async("a refusal by squid", || refuses(&refusing)).await;
            }
            _ => {}
        }
    }
    drop(run);
    let report = fetcher.proxy_stats();
    assert!(lost.is_empty(), "{} lost, {} pages, {report:#?}\n{}", lost.len(), pages, lost[0]);
    assert_eq!(pages, 300);
    let of = |at: usize| &report[at];
    assert_eq!(report.iter().map(|exit| exit.pages).sum::<u64>(), 300, "{report:#?}");
    assert!(of(0).faults >= 2 && of(1).faults >= 2, "{report:#?}");
    assert!(of(0).faults + of(1).faults < 60, "they are left alone soon: {report:#?}");
    assert!(of(3).pages > of(2).pages && of(2).pages > 0, "the slow one gets less: {report:#?}");
    fetch(&fetcher.with_proxy_rules(&ProxyRules::default()), &url, 1).await;
}
