//! Redirects as the installed Chromium follows them: to the same URL, without a URL, with several URLs, with raw bytes.

use crate::support::{FinishedRun, RawServer, rungs};

const TIERS: [&str; 2] = ["plain", "impersonate"];

/// Answers `/start` with a status line and fields, and all other paths with a page that names the path.
fn site(answer: &'static [u8]) -> RawServer {
    RawServer::start(move |conn| {
        let head = conn.read_head()?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if path == "/start" {
            conn.send(b"HTTP/1.1 ")?;
            conn.send(answer)?;
            return conn
                .send("Content-Type: text/html\r\nContent-Length: 5\r\nConnection: close\r\n\r\nstart");
        }
        let length = path.len();
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{path}"))
    })
}

/// Redirects `/start` to itself a number of times.
fn warming_site(rounds: usize) -> RawServer {
    RawServer::start(move |conn| {
        conn.read_head()?;
        let fields = if conn.index < rounds {
            "302 Found\r\nLocation: /start\r\nContent-Length: 0"
        } else {
            "200 OK\r\nContent-Length: 5"
        };
        let body = if conn.index < rounds { "" } else { "ready" };
        conn.send(format!("HTTP/1.1 {fields}\r\nConnection: close\r\n\r\n{body}"))
    })
}

fn fetch(tier: &str, arguments: &[&str]) -> FinishedRun {
    let fixed = ["fetch", "--retry", "0", "--tier", tier];
    rungs(fixed.into_iter().chain(arguments.iter().copied()))
}

#[test]
fn bytes_of_a_location_reach_the_server_as_they_are() {
    for (answer, path) in [
        (&b"302 Found\r\nLocation: /caf\xe9\r\n"[..], "/caf%E9"),
        (b"302 Found\r\nLocation: /s?q=\xd6\xd0\xce\xc4\r\n", "/s?q=%D6%D0%CE%C4"),
        (b"301 Moved\r\nLocation: /caf\xc3\xa9\r\n", "/caf%C3%A9"),
    ] {
        for tier in TIERS {
            let run = fetch(tier, &[&site(answer).url("/start")]);
            assert_eq!((run.code, run.text().as_str()), (0, path), "{tier}\n{run}");
        }
    }
}

#[test]
fn a_redirect_without_a_url_is_the_page_itself() {
    for answer in [&b"302 Found\r\nLocation:\r\n"[..], b"301 Moved\r\nLocation:  \r\n", b"302 Found\r\n"] {
        for tier in TIERS {
            let run = fetch(tier, &["--format", "json", &site(answer).url("/start")]);
            let record = run.json();
            assert_eq!((run.code, record["body"].as_str()), (0, Some("start")), "{tier}\n{run}");
            assert_eq!(record["redirects"].as_array().map_or(0, Vec::len), 0, "{tier}\n{run}");
        }
    }
}

#[test]
fn different_urls_are_an_error_and_equal_ones_are_not() {
    for tier in TIERS {
        for answer in [
            &b"302 Found\r\nLocation: /a\r\nLocation: /b\r\n"[..],
            b"302 Found\r\nLocation:\r\nLocation: /b\r\n",
            b"200 OK\r\nLocation: /a\r\nLocation: /b\r\n",
        ] {
            let run = fetch(tier, &[&site(answer).url("/start")]);
            assert_eq!(run.code, 6, "{tier}\n{run}");
            assert!(run.stderr.contains("several `Location` fields"), "{tier}\n{run}");
        }
        let run = fetch(tier, &[&site(b"302 Found\r\nLocation: /a\r\nLocation: /a\r\n").url("/start")]);
        assert_eq!((run.code, run.text().as_str()), (0, "/a"), "{tier}\n{run}");
    }
}

#[test]
fn redirects_to_the_same_url_are_only_counted() {
    for tier in TIERS {
        for (rounds, arguments, code) in [
            (1, &[][..], 0),
            (20, &[], 0),
            (21, &[], 6),
            (2, &["--max-redirs", "2"], 0),
            (3, &["--max-redirs", "2"], 6),
            (1, &["--max-redirs", "0"], 6),
            (30, &["--max-redirs", "30"], 0),
        ] {
            let server = warming_site(rounds);
            let url = server.url("/start");
            let run = fetch(tier, &[arguments, &[url.as_str()]].concat());
            assert_eq!(run.code, code, "{tier} {rounds} {arguments:?}\n{run}");
            if code == 0 {
                assert_eq!(run.text(), "ready", "{run}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_sets_the_limit() {
    let server = warming_site(3);
    let fetcher =
        rungs::Fetcher::builder().max_tier(rungs::Tier::Plain).max_redirects(2).build().expect("settings");
    let error = fetcher.get(server.url("/start")).send().await.expect_err("the third is one too many");
    assert_eq!(error.kind(), rungs::ErrorKind::Redirect, "{error:?}");
}
