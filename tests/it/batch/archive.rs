//! A WARC archive has every response that a batch received, with both heads as they were on the wire, in a form that
//! replay tools read.

use std::fs;

use crate::support::{Program, RawServer, WarcRecord, warc_records};

/// `/hop/N` redirects N times, `/refresh` by its page. `/challenge` and `/empty` are refused. `/moves` changes its URL by
/// script.
fn site() -> RawServer {
    RawServer::start(|conn| {
        loop {
            let head = conn.read_head()?;
            let target = head.split(' ').nth(1).unwrap_or_default();
            let (fields, body) = match target {
                "/hop/2" => {
                    let fields = "302 Over There\r\nLocation: /hop/1\r\nSet-Cookie: a=1\r\nX-Hop: two\r\nSET-COOKIE: b=2";
                    (fields.to_owned(), "moved")
                }
                "/hop/1" => ("301 Moved Permanently\r\nLocation: /page".to_owned(), ""),
                "/refresh" => ("200 OK".to_owned(), "<meta http-equiv=refresh content='0;url=/page'>"),
                "/challenge" => {
                    let body = "<title>Just a moment...</title><script>window._cf_chl_opt = {}</script>";
                    ("403 Forbidden\r\ncf-mitigated: challenge\r\nserver: cloudflare".to_owned(), body)
                }
                "/moves" => {
                    ("200 OK".to_owned(), "moved<script>history.pushState(1,'','/elsewhere')</script>")
                }
                "/missing" => {
                    ("404 Not Found".to_owned(), "<title>Not found</title><p>There is no such page.</p>")
                }
                "/empty" => ("200 OK".to_owned(), ""),
                _ => ("200 OK".to_owned(), "<title>A page</title><p>It has some words.</p>"),
            };
            conn.send(format!(
                "HTTP/1.1 {fields}\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ))?;
        }
    })
}

/// Returns the kind, the path of the target, and the first line of the block.
fn summary(record: &WarcRecord, origin: &str) -> String {
    let uri = record.head.split("\r\n").find_map(|line| line.strip_prefix("WARC-Target-URI: "));
    let block = String::from_utf8_lossy(&record.block).into_owned();
    let first = if record.kind == "metadata" { "" } else { block.lines().next().unwrap_or_default() };
    format!("{} {} {first}", record.kind, uri.unwrap_or_default().replace(origin, "")).trim_end().to_owned()
}

#[test]
fn redirects_blocks_and_empty_answers_have_request_and_response() {
    let server = site();
    let origin = server.url("");
    for tier in ["plain", "impersonate"] {
        for (path, code, expected) in [
            (
                "/hop/2",
                0,
                &[
                    "response /hop/2 HTTP/1.1 302 Over There",
                    "request /hop/2 GET /hop/2 HTTP/1.1",
                    "response /hop/1 HTTP/1.1 301 Moved Permanently",
                    "request /hop/1 GET /hop/1 HTTP/1.1",
                    "response /page HTTP/1.1 200 OK",
                    "request /page GET /page HTTP/1.1",
                    "metadata /page",
                ][..],
            ),
            (
                "/refresh",
                0,
                &[
                    "response /refresh HTTP/1.1 200 OK",
                    "request /refresh GET /refresh HTTP/1.1",
                    "response /page HTTP/1.1 200 OK",
                    "request /page GET /page HTTP/1.1",
                    "metadata /page",
                ],
            ),
            (
                "/challenge",
                8,
                &[
                    "response /challenge HTTP/1.1 403 Forbidden",
                    "request /challenge GET /challenge HTTP/1.1",
                    "metadata /challenge",
                ],
            ),
            (
                "/empty",
                8,
                &["response /empty HTTP/1.1 200 OK", "request /empty GET /empty HTTP/1.1", "metadata /empty"],
            ),
            (
                "/missing",
                0,
                &[
                    "response /missing HTTP/1.1 404 Not Found",
                    "request /missing GET /missing HTTP/1.1",
                    "metadata /missing",
                ],
            ),
        ] {
            let program = Program::new();
            fs::write(program.home().join("urls.txt"), server.url(path)).expect("a list");
            let run = program.run([
                "batch",
                "urls.txt",
                "--out",
                "o.warc",
                "--tier",
                tier,
                "--retry",
                "0",
                "--robots",
                "ignore",
                "--no-memory",
                "--no-progress",
            ]);
            assert_eq!(run.code, code, "{path}\n{run}");
            let records = warc_records(&fs::read(program.home().join("o.warc")).expect("an archive"));
            let found: Vec<String> = records.iter().skip(1).map(|record| summary(record, &origin)).collect();
            assert_eq!(found, expected, "{tier}");
            for record in records.iter().filter(|record| record.kind == "request") {
                let block = String::from_utf8_lossy(&record.block);
                assert!(block.to_ascii_lowercase().contains("\r\nuser-agent: "), "as it was sent: {block}");
            }
            if path == "/refresh" {
                assert!(records[1].block.ends_with(b"content='0;url=/page'>"), "the page of the refresh");
            }
            let metadata = records.last().expect("a record");
            assert!(metadata.head.contains("\r\nContent-Type: application/warc-fields"), "{}", metadata.head);
            if path == "/hop/2" {
                let first = String::from_utf8_lossy(&records[1].block).into_owned();
                let received = "\r\nLocation: /hop/1\r\nSet-Cookie: a=1\r\nX-Hop: two\r\nSET-COOKIE: b=2\r\n";
                assert!(first.contains(received), "{first}");
            }
        }
    }
}

/// Archives the paths on the browser tier. Returns the records of each.
fn archive_in_browser(server: &RawServer, paths: &[&str]) -> Vec<WarcRecord> {
    let program = Program::new();
    let task = |path: &&str| match path.split_once(' ') {
        Some((method, path)) => serde_json::json!({ "url": server.url(path), "method": method }).to_string(),
        None => server.url(path),
    };
    let list: Vec<String> = paths.iter().map(task).collect();
    fs::write(program.home().join("urls.jsonl"), list.join("\n")).expect("a list");
    let common = ["batch", "urls.jsonl", "--out", "o.warc", "--tier", "browser", "--concurrency", "1"];
    let more = ["-H", "x-api-key: hunter2", "--robots", "ignore", "--no-memory", "--no-progress"];
    let run = program.run([&common[..], &more].concat());
    assert_eq!(run.code, 0, "{run}");
    warc_records(&fs::read(program.home().join("o.warc")).expect("an archive"))
}

#[test]
fn the_browser_archives_each_hop_with_its_heads_as_sent_and_received() {
    let server = site();
    let records = archive_in_browser(&server, &["/hop/2", "/refresh", "/moves", "/missing", "POST /posted"]);
    let found: Vec<String> = records.iter().skip(1).map(|record| summary(record, &server.url(""))).collect();
    let expected = [
        "response /hop/2 HTTP/1.1 302 Over There",
        "request /hop/2 GET /hop/2 HTTP/1.1",
        "response /hop/1 HTTP/1.1 301 Moved Permanently",
        "request /hop/1 GET /hop/1 HTTP/1.1",
        "response /page HTTP/1.1 200 OK",
        "request /page GET /page HTTP/1.1",
        "metadata /page",
        "response /refresh HTTP/1.1 200 OK",
        "request /refresh GET /refresh HTTP/1.1",
        "response /page HTTP/1.1 200 OK",
        "request /page GET /page HTTP/1.1",
        "metadata /page",
        "response /elsewhere HTTP/1.1 200 OK",
        "request /elsewhere GET /moves HTTP/1.1",
        "metadata /elsewhere",
        "response /missing HTTP/1.1 404 Not Found",
        "request /missing GET /missing HTTP/1.1",
        "metadata /missing",
        "response /posted HTTP/1.1 200 OK",
        "request /posted POST /posted HTTP/1.1",
        "metadata /posted",
    ];
    assert_eq!(found, expected);
    let text = |at: usize| String::from_utf8_lossy(&records[at].block).into_owned();
    let received = "\r\nLocation: /hop/1\r\nSet-Cookie: a=1\r\nX-Hop: two\r\nSET-COOKIE: b=2\r\n";
    assert!(text(1).contains(received), "{}", text(1));
    for (at, path) in [(2, "/hop/2"), (4, "/hop/1"), (6, "/page"), (14, "/moves"), (17, "/missing")] {
        let sent = fields_of(&text(at));
        let heads = server.heads();
        let of_path = |head: &&String| head.starts_with(&format!("GET {path} "));
        let on_wire = heads.iter().find(of_path).map(|head| fields_of(head)).expect("it was requested");
        assert_eq!(sent, on_wire, "{path}: as the server received it");
    }
    assert!(text(2).contains("\r\nx-api-key: ***\r\n") && !text(2).contains("Cookie"), "{}", text(2));
    assert!(text(4).contains("\r\nCookie: ***\r\n"), "{}", text(4));
    let all = records.iter().map(|record| String::from_utf8_lossy(&record.block).into_owned());
    assert!(!all.collect::<String>().contains("hunter2"));
}

/// The header fields of a head, sorted, with masks for secrets.
fn fields_of(head: &str) -> Vec<String> {
    let lines = head.split("\r\n").skip(1).take_while(|line| !line.is_empty());
    let mut fields: Vec<String> = lines
        .map(|line| match line.split_once(": ") {
            Some((name @ ("Cookie" | "x-api-key"), _)) => format!("{name}: ***"),
            _ => line.to_owned(),
        })
        .collect();
    fields.sort();
    fields
}
