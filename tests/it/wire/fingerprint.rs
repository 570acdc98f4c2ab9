//! The impersonate tier and the installed Chromium, recorded by the same recorder in one run.

use std::sync::Arc;
use std::time::Duration;

use rungs::lab::{
    Authority, Chromium, Exchange, LaunchOptions, RecordedConnection, RecordedRequest, Recorder, Reply,
};
use rungs::{Fetcher, Tier};
use serde_json::Value;

use crate::support::captured_profile;

const LIMIT: Duration = Duration::from_secs(30);

/// A recorder for one set of protocols.
struct Duel {
    recorder: Recorder,
    authority: Arc<Authority>,
    scheme: &'static str,
}

impl Duel {
    async fn new(protocols: Option<&[&'static str]>) -> Self {
        let authority = Arc::new(Authority::new(&["one.test", "two.test"]).expect("a CA can be made"));
        let builder = Recorder::builder();
        let (builder, scheme) = match protocols {
            Some(protocols) => (builder.tls(Arc::clone(&authority), protocols), "https"),
            None => (builder, "http"),
        };
        let recorder = builder.start(site).await.expect("the recorder listens");
        Self { recorder, authority, scheme }
    }

    fn url(&self, path: &str) -> String {
        format!("{}://one.test:{}{path}", self.scheme, self.recorder.addr().port())
    }

    /// What Chromium sends when it opens `path`, up to the end of redirects (`last`).
    async fn chromium(&self, paths: &[&str]) -> Vec<RecordedConnection> {
        self.recorder.clear();
        let chromium = Chromium::start(LaunchOptions {
            pin: Some(self.authority.pin().expect("the leaf has a key")),
            rules: Some("MAP *.test 127.0.0.1".to_owned()),
            ..LaunchOptions::default()
        })
        .await
        .expect("Chromium starts; `make deps` installs it");
        for path in paths {
            chromium.open(&self.url(path)).await.expect("Chromium opens a page");
            let arrived = self.recorder.wait_until(LIMIT, |all| find(all, last(path)).is_some()).await;
            assert!(arrived, "Chromium did not ask for {}", last(path));
        }
        let heard = self.recorder.connections();
        chromium.stop().await.expect("Chromium ends");
        heard
    }

    /// What the impersonate tier sends for the same.
    async fn rungs(&self, paths: &[&str]) -> Vec<RecordedConnection> {
        self.recorder.clear();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, self.authority.ca_pem()).expect("the CA is written");
        let port = self.recorder.addr().port();
        let local = "127.0.0.1".parse().expect("an address");
        let fetcher = Fetcher::builder()
            .min_tier(Tier::Impersonate)
            .max_tier(Tier::Impersonate)
            .browser_profile(captured_profile())
            .ca_file(&ca)
            .resolve("*", port, local)
            .build()
            .expect("the settings are good");
        for path in paths {
            fetcher.get(self.url(path)).send().await.expect("the page is got");
        }
        self.recorder.connections()
    }
}

/// The last path of a redirecting one.
fn last(path: &str) -> &str {
    if path.starts_with("/to-") { "/landed" } else { path }
}

fn find<'a>(
    all: &'a [RecordedConnection],
    path: &str,
) -> Option<(&'a RecordedConnection, &'a RecordedRequest)> {
    all.iter().find_map(|c| c.requests.iter().find(|r| r.path == path).map(|r| (c, r)))
}

fn heard<'a>(all: &'a [RecordedConnection], path: &str) -> (&'a RecordedConnection, &'a RecordedRequest) {
    find(all, path).unwrap_or_else(|| panic!("no request for {path}"))
}

/// The paths requested on the same connection before `path`.
fn before<'a>(all: &'a [RecordedConnection], path: &str) -> Vec<&'a str> {
    let (connection, _) = heard(all, path);
    connection.requests.iter().map(|r| r.path.as_str()).take_while(|other| *other != path).collect()
}

/// The first full handshake: Chromium opens spare connections, and its first request may use a resumed one.
fn first_hello(all: &[RecordedConnection]) -> &RecordedConnection {
    all.iter().find(|c| c.ja4.is_some() && !c.resumed).expect("a full hello was heard")
}

/// Sets cookies, redirects within the site and to another, or answers with a page.
fn site(heard: &Exchange) -> Reply {
    match heard.request.path.as_str() {
        "/to-same" => Reply::redirect(302, "/landed"),
        "/set" => Reply::html(200, QUIET)
            .header("set-cookie", "first=1; Path=/")
            .header("set-cookie", "second=two; Path=/"),
        "/end" => Reply::html(200, QUIET).close_after(),
        "/favicon.ico" => Reply::status(404),
        _ => Reply::html(200, QUIET),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_navigation_over_h2_is_chromiums_own_from_hello_to_headers() {
    let duel = Duel::new(Some(&["h2", "http/1.1"])).await;
    let theirs = duel.chromium(&["/page"]).await;
    let ours = duel.rungs(&["/page"]).await;
    let (their_hello, our_hello) = (first_hello(&theirs), first_hello(&ours));
    assert!(their_hello.ja4.is_some(), "the recorder heard Chromium");
    assert_eq!(our_hello.ja4, their_hello.ja4);
    assert_eq!(our_hello.ja4_r, their_hello.ja4_r);
    let (their_side, their_request) = heard(&theirs, "/page");
    let (our_side, our_request) = heard(&ours, "/page");
    assert!(their_side.akamai.is_some(), "the recorder heard Chromium's HTTP/2");
    assert_eq!(our_side.akamai, their_side.akamai);
    assert_eq!(our_request.priority, their_request.priority);
    assert_eq!(our_request.pseudo, their_request.pseudo);
    assert_eq!(our_request.headers, their_request.headers);
    assert_eq!(our_request.hpack, their_request.hpack, "what is indexed, and what is Huffman-coded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_resumes_with_chromiums_hello() {
    let duel = Duel::new(Some(&["h2", "http/1.1"])).await;
    let paths = ["/end", "/page"];
    let resumed = |all: &[RecordedConnection]| all.iter().find(|c| c.resumed).and_then(|c| c.ja4.clone());
    let theirs = resumed(&duel.chromium(&paths).await);
    let ours = resumed(&duel.rungs(&paths).await);
    assert!(theirs.is_some(), "Chromium resumed its session");
    assert_eq!(ours, theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fixed_extension_body_of_the_hello_is_chromiums() {
    let duel = Duel::new(Some(&["h2", "http/1.1"])).await;
    let theirs = duel.chromium(&["/page"]).await;
    let ours = duel.rungs(&["/page"]).await;
    let hello = |all: &[RecordedConnection]| {
        serde_json::to_value(first_hello(all)).expect("a record")["hello"].clone()
    };
    let (theirs, ours) = (hello(&theirs), hello(&ours));
    let fixed = |hello: &Value| {
        let extensions = hello["extensions"].as_array().expect("a hello was heard");
        let mut bodies: Vec<(u64, String)> = extensions
            .iter()
            .map(|extension| (number(&extension["id"]), extension["body"].to_string()))
            // Random for every connection: GREASE values, key shares, the ECH payload.
            .filter(|(id, _)| !is_grease(*id) && ![10, 13, 43, 51, 65037].contains(id))
            .collect();
        bodies.sort();
        bodies
    };
    assert!(fixed(&theirs).len() > 10);
    assert_eq!(fixed(&ours), fixed(&theirs));
    for list in ["ciphers", "groups", "versions"] {
        let plain = |hello: &Value| {
            let ids = hello[list].as_array().expect("a list");
            let ids: Vec<u64> = ids.iter().map(number).collect();
            (ids.len(), ids.into_iter().filter(|id| !is_grease(*id)).collect::<Vec<_>>())
        };
        assert_eq!(plain(&ours), plain(&theirs), "{list}");
    }
    let lengths = |hello: &Value| {
        let shares = hello["key_shares"].as_array().expect("a list");
        shares.iter().map(|share| number(&share[1])).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&ours), lengths(&theirs));
    for field in ["record_version", "legacy_version", "session_id_len"] {
        assert_eq!(ours[field], theirs[field], "{field}");
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn is_grease(id: u64) -> bool {
    id & 0x0f0f == 0x0a0a
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_and_cookies_have_the_headers_that_chromium_sends() {
    let paths = ["/to-same", "/set", "/with-cookies"];
    for protocols in [Some(&["h2", "http/1.1"][..]), Some(&["http/1.1"][..]), None] {
        let duel = Duel::new(protocols).await;
        let theirs = duel.chromium(&paths).await;
        let ours = duel.rungs(&paths).await;
        for path in ["/to-same", "/landed", "/set", "/with-cookies"] {
            // Chromium races spare connections and may switch to another one: header tables are compared only
            // where both clients had sent the same before.
            let alike = before(&theirs, path) == before(&ours, path);
            let (theirs, ours) = (heard(&theirs, path).1, heard(&ours, path).1);
            assert_eq!(ours.headers, theirs.headers, "{path} over {protocols:?}");
            assert_eq!(ours.pseudo, theirs.pseudo, "{path} over {protocols:?}");
            if alike {
                assert_eq!(
                    ours.hpack, theirs.hpack,
                    "{path} over {protocols:?}: what the table was used for"
                );
            }
            assert_eq!(ours.priority, theirs.priority, "{path} over {protocols:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_tier_identifies_itself() {
    let duel = Duel::new(Some(&["h2", "http/1.1"])).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, duel.authority.ca_pem()).expect("the CA is written");
    let local = "127.0.0.1".parse().expect("an address");
    let fetcher = Fetcher::builder()
        .max_tier(Tier::Plain)
        .ca_file(&ca)
        .resolve("one.test", duel.recorder.addr().port(), local)
        .build()
        .expect("the settings are good");
    fetcher.get(duel.url("/page")).send().await.expect("the page is got");
    let all = duel.recorder.connections();
    let (_, request) = heard(&all, "/page");
    let agent = request.header("user-agent").expect("it names itself");
    assert!(agent.starts_with(&format!("rungs/{} (+https://", env!("CARGO_PKG_VERSION"))), "{agent}");
    for name in ["sec-ch-ua", "sec-fetch-mode", "upgrade-insecure-requests", "accept-language"] {
        assert_eq!(request.header(name), None, "{name} is a browser's");
    }
}

/// A page for which the browser makes no further requests, not even for its icon.
const QUIET: &str =
    "<!doctype html><link rel=icon href='data:,'><title>page</title><p>A page with some words.</p>";
