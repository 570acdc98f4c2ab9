//! What `--frames` and `--wait` add to the output.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::{Program, RawConnection, RawServer};

/// A frameset, and a page that a script sends elsewhere after a second.
fn site(conn: &mut RawConnection) -> std::io::Result<()> {
    let head = conn.read_head()?;
    let body = match head.split(' ').nth(1).unwrap_or_default() {
        "/" => "<frameset cols='50%,50%'><frame src=/menu><frame src=/main></frameset>",
        "/menu" => "<a href=a>a</a><a href=b>b</a>",
        "/main" => "main <a href=/b>b</a>",
        "/early" => "early<script>setTimeout(()=>location='/late',1000)</script>",
        "/late" => "late",
        "/robots.txt" => "",
        _ => "page",
    };
    let length = body.len();
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

#[test]
fn a_frameset_is_read_and_crawled_and_a_fixed_wait_sees_a_late_redirect() {
    let server = RawServer::start(site);
    let program = Program::new();
    let run = program.run(["fetch", "--frames", "--links", "--format", "json", &server.url("/")]);
    assert_eq!(run.code, 0, "{run}");
    let record = run.json();
    let frames = record["frames"].as_array().expect("a list");
    let urls: Vec<&Value> = frames.iter().map(|frame| &frame["url"]).collect();
    assert_eq!(urls, [&server.url("/menu"), &server.url("/main")]);
    assert!(frames[1]["html"].as_str().is_some_and(|html| html.contains("main <a")), "{run}");
    let keys: Vec<&String> = frames[0].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["html", "url"]);
    assert_eq!(record["links"], serde_json::json!([server.url("/a"), server.url("/b")]));

    fs::write(program.home().join("urls.txt"), server.url("/")).expect("a list is written");
    let crawl = ["batch", "urls.txt", "--out", "out.jsonl", "--follow", "a", "--frames", "--rate", "100/s"];
    let run = program.run(crawl);
    assert_eq!(run.code, 0, "{run}");
    let lines = fs::read_to_string(program.home().join("out.jsonl")).expect("an output");
    let pages: BTreeSet<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["url"].as_str().expect("a URL").to_owned()
        })
        .collect();
    assert_eq!(pages, ["/", "/a", "/b"].map(|path| server.url(path)).into());

    let run = program.run([
        "fetch",
        "--tier",
        "browser",
        "--wait",
        "2s",
        "--format",
        "json",
        &server.url("/early"),
    ]);
    let record = run.json();
    assert_eq!(record["final_url"], server.url("/late"), "{run}");
    assert_eq!(record["frames"], Value::Null, "not requested");
    for wrong in ["x", "", "2 parsecs"] {
        let run = program.run(["fetch", "--wait", wrong, &server.url("/")]);
        assert!(run.code == 2 && run.stderr.contains("--wait"), "{run}");
    }
}
