//! A response that the HTTP tiers cannot read: the fetch continues in the browser and the trace says why.

use crate::support::{RawServer, rungs};

#[test]
fn a_response_that_only_a_browser_reads_is_fetched_with_it() {
    // Chromium takes the answer of a Shoutcast server for HTTP/0.9.
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        conn.send("ICY 200 OK\r\n\r\n<html><body><p>hello</p></body></html>")
    });
    let run = rungs(["fetch", "--format", "json", &server.url("/")]);
    let record = run.json();
    assert_eq!((run.code, &record["tier"]), (0, &"browser".into()), "{run}");
    assert!(record["body"].as_str().is_some_and(|body| body.contains("hello")), "{run}");
    let attempts = &record["attempts"];
    assert_eq!(attempts[0]["next"], "climb: protocol error, a browser may read it", "{run}");
    assert_eq!(
        (&attempts[0]["error"]["kind"], &attempts[1]["tier"]),
        (&"protocol".into(), &"browser".into())
    );
}

#[test]
fn a_response_that_was_cut_is_an_error_on_every_tier() {
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        conn.send("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n\x1f")
    });
    let run = rungs(["fetch", "--format", "json", &server.url("/")]);
    let record = run.json();
    assert_eq!((&record["error"]["kind"], &record["tier"]), (&"decode".into(), &"plain".into()), "{run}");
    assert_eq!(server.connections(), 1);
}
