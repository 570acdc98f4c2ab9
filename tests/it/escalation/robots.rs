//! robots.txt is respected on every path to a page: fetch, redirect, browser, proxy.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rungs::lab::{Authority, Exchange, Recorder, Reply};
use rungs::{Error, ErrorKind, Fetcher, Limits, Proxy, RobotsPolicy, Tier};

use super::rate_limits::{PAGE, paths, polite, site, text, tried, url};
use crate::support::{self, Certs, Nginx, RawServer, Site, Squid, rungs};

const FORBIDDING: &str = "User-agent: *\nDisallow: /private\n";

#[test]
fn a_disallowed_url_exits_9_with_rule_and_file_and_is_not_requested() {
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        let length = FORBIDDING.len();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{FORBIDDING}"
        ))
    });
    let forbidden = server.url("/private/page");
    let run = rungs(["fetch", "--robots", "obey", "--format", "json", &forbidden]);
    assert_eq!(run.code, 9, "{run}");
    let got = run.json();
    assert_eq!(
        (got["error"]["kind"].as_str(), got["robots"].as_str()),
        (Some("robots"), Some("obeyed")),
        "{run}"
    );
    assert_eq!(got["attempts"].as_array().map(Vec::len), Some(0), "{run}");
    let file = server.url("/robots.txt");
    let expected =
        format!("error: robots.txt disallows the URL: `Disallow: /private` (User-agent: *) in {file}\n");
    assert!(
        run.stderr.contains(&expected) && run.stderr.contains("hint: skip the check with `--robots ignore`"),
        "{run}"
    );
    assert!(server.heads().iter().all(|head| head.starts_with("GET /robots.txt ")), "{:?}", server.heads());

    let run = rungs(["fetch", "--robots", "ignore", "--trace", "--format", "json", &forbidden]);
    assert_eq!((run.code, run.json()["robots"].as_str()), (0, Some("ignored")), "{run}");
    assert!(run.stderr.contains("robots.txt ignored"), "{run}");
    let run = rungs(["fetch", "--format", "json", &forbidden]);
    assert_eq!((run.code, run.json()["robots"].as_str()), (0, Some("ignored")), "a page by hand: {run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_response_for_robots_txt_decides_as_in_rfc_9309() {
    let filler = |kib: usize| format!("{}\n", "#".repeat(1023)).repeat(kib);
    let late = format!("{}{FORBIDDING}", filler(600));
    let huge = format!("{FORBIDDING}{}", filler(4096));
    let garbage: Vec<u8> =
        (0..20_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let answers: Vec<(&str, Reply, bool)> = vec![
        ("a rule", text(FORBIDDING), false),
        ("nothing", text(""), true),
        ("a page", Reply::html(200, PAGE), true),
        ("garbage", Reply::status(200).body(garbage), true),
        ("a rule past the end", text(late), true),
        ("a rule at the start of 4 MiB", text(huge), false),
        ("another's rule", text("User-agent: other\nDisallow: /"), true),
        ("403", Reply::html(403, PAGE), true),
        ("404", Reply::html(404, PAGE), true),
        ("429", Reply::html(429, PAGE), false),
        ("500", Reply::html(500, PAGE), false),
        ("503", Reply::html(503, PAGE), false),
    ];
    for (name, reply, allowed) in answers {
        let server = site(move || reply.clone()).await;
        let fetcher = polite().build().expect("good settings");
        let got = fetcher.get(url(&server, "/private")).send().await;
        assert_eq!(
            got.as_ref().map(|_| ()).map_err(Error::kind),
            allowed.then_some(()).ok_or(ErrorKind::Robots),
            "{name}"
        );
        let expected: &[&str] = if allowed { &["/robots.txt", "/private"] } else { &["/robots.txt"] };
        assert_eq!(paths(&server), expected, "{name}");
        // The result is cached for a while.
        let again = fetcher.get(url(&server, "/private")).send().await;
        assert_eq!(again.is_ok(), allowed, "{name}");
        assert_eq!(paths(&server).iter().filter(|path| *path == "/robots.txt").count(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_robots_txt_disallows_everything_and_the_error_says_why() {
    let bounds = {
        let mut bounds = Limits::default();
        bounds.first_byte = Duration::from_millis(300);
        bounds.read_idle = Duration::from_millis(300);
        bounds
    };
    for (server, why) in [
        (RawServer::start(support::never_answers), "waiting for the response headers"),
        (RawServer::start(support::closes_at_once), ""),
        (RawServer::start(support::stalled_body), ""),
        (RawServer::start(support::garbage), ""),
    ] {
        let fetcher = polite().limits(bounds).build().expect("good settings");
        let error = fetcher.get(server.url("/page")).send().await.expect_err("nothing is allowed");
        assert_eq!((error.kind(), tried(&error)), (ErrorKind::Robots, 0), "{error:?}");
        assert!(
            error.to_string().contains("could not fetch robots.txt") && error.to_string().contains(why),
            "{error}"
        );
        let asked = server.connections();
        assert_eq!(
            fetcher.get(server.url("/other")).send().await.map_err(|error| error.kind()).err(),
            Some(ErrorKind::Robots)
        );
        assert_eq!(server.connections(), asked, "it is not asked again at once");
        assert!(
            server.heads().iter().all(|head| head.starts_with("GET /robots.txt ")),
            "{:?}",
            server.heads()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn robots_txt_is_followed_over_five_redirects_and_absent_beyond() {
    for (redirects, allowed) in [(5, false), (6, true)] {
        let reply = move |heard: &Exchange| {
            let step = heard.request.path.strip_prefix("/step/").and_then(|text| text.parse().ok());
            match (heard.request.path.as_str(), step) {
                ("/private", _) => Reply::html(200, PAGE),
                (_, step) if step.unwrap_or(0) < redirects => {
                    Reply::redirect(302, format!("/step/{}", step.unwrap_or(0) + 1))
                }
                _ => text(FORBIDDING),
            }
        };
        let server = Recorder::builder().start(reply).await.expect("it listens");
        let fetcher = polite().build().expect("good settings");
        let got = fetcher.get(url(&server, "/private")).send().await;
        assert_eq!(got.is_ok(), allowed, "{redirects} redirects: {:?}", got.err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn robots_txt_is_requested_once_with_the_plain_client_on_a_separate_connection() {
    let authority = Arc::new(Authority::new(&["one.test"]).expect("a CA can be made"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.ca_pem()).expect("the CA is written");
    let reply = |heard: &Exchange| match heard.request.path.as_str() {
        "/robots.txt" => text(FORBIDDING).header("set-cookie", "from=robots; Path=/"),
        _ => Reply::html(200, PAGE).header("set-cookie", "seen=yes; Path=/"),
    };
    for protocols in [&["h2", "http/1.1"][..], &["http/1.1"]] {
        let recorder = Recorder::builder().tls(Arc::clone(&authority), protocols);
        let server = recorder.start(reply).await.expect("it listens");
        let port = server.addr().port();
        let fetcher = polite()
            .min_tier(Tier::Impersonate)
            .ca_file(&ca)
            .resolve("one.test", port, [127, 0, 0, 1].into())
            .build()
            .expect("good settings");
        let get = |path: &str| fetcher.get(format!("https://one.test:{port}{path}")).send();
        for page in join_all((0..10).map(|number| get(&format!("/page/{number}")))).await {
            assert_eq!(page.expect("a page").tier(), Tier::Impersonate);
        }
        assert_eq!(get("/private").await.expect_err("forbidden").kind(), ErrorKind::Robots);
        let connections = server.connections();
        let (honest, browser_like): (Vec<_>, Vec<_>) = connections
            .iter()
            .filter(|connection| !connection.requests.is_empty())
            .partition(|connection| connection.requests[0].path == "/robots.txt");
        assert_eq!((honest.len(), honest[0].requests.len()), (1, 1), "once, alone");
        let asked = &honest[0].requests[0];
        let agent = asked.header("user-agent").unwrap_or_default();
        assert!(agent.starts_with("rungs/") && agent.contains("+https://"), "{agent}");
        assert_eq!(asked.header("cookie"), None);
        assert!(
            honest[0].ja4.is_some() && honest[0].ja4 != browser_like[0].ja4,
            "it does not send the browser's ClientHello"
        );
        for request in browser_like.iter().flat_map(|connection| &connection.requests) {
            assert!(
                request.header("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/")),
                "{request:?}"
            );
            assert_eq!(request.cookie("from"), None, "a cookie of robots.txt is not sent");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_a_disallowed_url_is_not_followed() {
    let there = site(|| text(FORBIDDING)).await;
    let target = url(&there, "/private");
    let reply = move |heard: &Exchange| match heard.request.path.as_str() {
        "/robots.txt" => text("User-agent: *\nDisallow: /here"),
        "/out" => Reply::redirect(302, target.clone()),
        "/in" => Reply::redirect(302, "/here"),
        _ => Reply::html(200, PAGE),
    };
    let here = Recorder::builder().start(reply).await.expect("it listens");
    let fetcher = polite().build().expect("good settings");
    for path in ["/out", "/in"] {
        let error = fetcher.get(url(&here, path)).send().await.expect_err("forbidden");
        assert_eq!((error.kind(), tried(&error)), (ErrorKind::Robots, 1), "{error:?}");
    }
    assert_eq!(paths(&there), ["/robots.txt"]);
    assert_eq!(paths(&here), ["/robots.txt", "/out", "/in"]);
    fetcher.get(url(&here, "/out")).robots(RobotsPolicy::Ignore).send().await.expect("a page");
    assert_eq!(paths(&there), ["/robots.txt", "/private"]);
}

#[cfg(feature = "browser")]
#[tokio::test(flavor = "multi_thread")]
async fn the_browser_does_not_request_disallowed_urls() {
    let reply = |heard: &Exchange| match heard.request.path.as_str() {
        "/robots.txt" => text(FORBIDDING),
        "/out" => Reply::redirect(302, "/private"),
        "/script" => Reply::html(200, "<title>on</title><script>location = '/private'</script>"),
        "/in" => Reply::redirect(302, "/page"),
        _ => Reply::html(200, PAGE),
    };
    let there = site(|| text("")).await;
    let framed = format!("{PAGE}<iframe src={}></iframe>", url(&there, "/frame"));
    let reply = move |heard: &Exchange| match heard.request.path.as_str() {
        "/framed" => Reply::html(200, framed.clone()),
        _ => reply(heard),
    };
    let server = Recorder::builder().start(reply).await.expect("it listens");
    let fetcher = Fetcher::builder().robots(RobotsPolicy::Obey).build().expect("good settings");
    for path in ["/out", "/script"] {
        let error = fetcher.get(url(&server, path)).tier(Tier::Browser).send().await.expect_err("forbidden");
        assert_eq!(error.kind(), ErrorKind::Robots, "{path}: {error:?}");
    }
    for path in ["/page", "/in"] {
        let page = fetcher.get(url(&server, path)).header("x-mine", "1").tier(Tier::Browser).send().await;
        page.expect("a page");
    }
    assert!(!paths(&server).contains(&"/private".to_owned()), "{:?}", paths(&server));
    // The caller's headers are not sent to other sites.
    fetcher
        .get(url(&server, "/framed"))
        .header("x-mine", "1")
        .tier(Tier::Browser)
        .send()
        .await
        .expect("a page");
    let mine = |server: &Recorder| {
        let connections = server.connections();
        let mut all = connections.iter().flat_map(|one| &one.requests);
        all.any(|request| request.header("x-mine").is_some())
    };
    assert!(paths(&there).contains(&"/frame".to_owned()) && mine(&server) && !mine(&there));
    // Control: without robots.txt the request is made.
    fetcher
        .get(url(&server, "/out"))
        .robots(RobotsPolicy::Ignore)
        .tier(Tier::Browser)
        .send()
        .await
        .expect("a page");
    assert!(paths(&server).contains(&"/private".to_owned()));
    fetcher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn robots_txt_goes_through_the_proxy_of_the_fetch() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squid = Squid::start();
    let proxy: Proxy = squid.url().parse().expect("a proxy");
    let fetcher = polite().proxy(proxy).build().expect("good settings");
    fetcher.get(nginx.url(Site::Clear, "/echo")).send().await.expect("a page");
    let asked = nginx.visits(2);
    assert_eq!(squid.requests(2).len(), 2, "both by the proxy: {asked:?}");
    // A dead proxy is a proxy error, and is not cached as the site's robots.txt.
    let dead: Proxy = "http://127.0.0.1:9".parse().expect("a proxy");
    let error = fetcher.get(nginx.url(Site::H1, "/echo")).proxy(dead).send().await.expect_err("no proxy");
    assert_eq!(error.kind(), ErrorKind::Proxy, "{error:?}");
}
