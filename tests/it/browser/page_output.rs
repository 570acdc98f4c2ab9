//! What the program writes for a page in the browser: forms of the body, screenshots, files.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Program, RawConnection, RawServer};

/// A site with a page that a script completes, and a file to download.
fn site(conn: &mut RawConnection) -> std::io::Result<()> {
    let head = conn.read_head()?;
    let (kind, body) = match head.split(' ').nth(1).unwrap_or_default() {
        "/file" => ("application/pdf", "%PDF-1.4 a file"),
        _ => ("text/html", "<p id=p>sent</p><script>p.textContent='made'</script>"),
    };
    let length = body.len();
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

#[test]
fn screenshots_are_written_beside_the_body_and_the_json_describes_the_browser() {
    let server = RawServer::start(site);
    let program = Program::new();
    let home = program.home();
    fs::write(home.join("shot.png"), "as before").expect("a file is written");
    let (page, file) = (server.url("/"), server.url("/file"));
    let run = program.run([
        "fetch",
        "--format",
        "jsonl",
        "--screenshot",
        "shot.png",
        "--pdf",
        "page.pdf",
        "--block",
        "images,trackers",
        "--scroll",
        "--settle-timeout",
        "20",
        &page,
        &page,
    ]);
    assert_eq!(run.code, 0, "{run}");
    let read = |name: &str| fs::read(home.join(name)).expect("a file");
    assert!(read("shot.png").starts_with(b"\x89PNG") && read("page.pdf").starts_with(b"%PDF-"));
    let text = run.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["tier"], "browser");
    let used = lines[0]["browser"].as_object().expect("an object");
    let mut keys: Vec<&str> = used.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["pages", "pid", "pss_mb", "reused", "settled"]);
    assert_eq!(used["settled"], json!(true));
    assert!(lines[0]["body"].as_str().is_some_and(|body| body.contains(">made<")), "{run}");
    assert_eq!(
        (&lines[1]["tier"], &lines[1]["browser"]),
        (&json!("plain"), &Value::Null),
        "it asks for no picture"
    );

    let run = program.run(["fetch", "--tier", "browser", "--body", "raw", &page]);
    assert_eq!(run.text(), "<p id=p>sent</p><script>p.textContent='made'</script>", "{run}");
    let run = program.run(["fetch", "--tier", "browser", "-o", "got.pdf", "--screenshot", "none.png", &file]);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stderr.contains("--screenshot") && !home.join("none.png").exists(), "{run}");
    assert_eq!(read("got.pdf"), b"%PDF-1.4 a file");
}

#[test]
fn a_screenshot_without_the_browser_tier_is_refused_before_any_request() {
    let server = RawServer::start(site);
    let url = server.url("/");
    for flag in ["--screenshot", "--pdf"] {
        let run = Program::new().run(["fetch", "--max-tier", "impersonate", flag, "x", &url]);
        assert_eq!(run.code, 2, "{run}");
        assert!(
            run.stderr.contains("needs the browser tier") && run.stderr.contains("--max-tier browser"),
            "{run}"
        );
        let run = Program::new().run(["fetch", flag, "x", flag, "y", &url]);
        assert!(run.code == 2 && run.stderr.contains(flag), "{run}");
    }
    assert_eq!(server.connections(), 0);
}
