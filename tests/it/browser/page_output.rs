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

#[test]
fn the_text_of_a_page_in_the_browser_is_what_it_shows() {
    let server = RawServer::start(|conn: &mut RawConnection| {
        let head = conn.read_head()?;
        let style = "<style>.gone{display:none}.dim{visibility:hidden}.up{text-transform:uppercase}.code{white-space:pre}</style>";
        let body = match head.split(' ').nth(1).unwrap_or_default() {
            "/styles" => {
                "<p>one<span class=gone>no</span><span class=dim>no</span> <b class=up>two</b></p><div class=code>a\n  b</div>"
            }
            "/script" => "<p id=p>sent</p><script>p.textContent='made \\ud83d'</script>",
            "/table" => "<table><tr><td>1<td>2<tr class=gone><td>3<tr><td>4<td>5</table><pre>x\n y</pre>",
            "/named" => "<form name=body><input></form><p>named<i class=gone>no</i>",
            "/shadow" => "<p>light</p><div><template shadowrootmode=open><p>in shadow</p></template></div>",
            _ => "<p class=gone>nothing",
        };
        let page = format!("<!doctype html>{style}{body}");
        let length = page.len();
        conn.send(format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{page}"))
    });
    let program = Program::new();
    let fetch = |tier: &str, path: &str, more: &[&str]| {
        let url = server.url(path);
        let common = ["fetch", "--tier", tier, "--text", "--format", "json", url.as_str()];
        let run = program.run([&common[..], more].concat());
        assert_eq!(run.code, 0, "{run}");
        run.json()["text"].clone()
    };
    for (path, shown) in [
        ("/styles", "one TWO\n\na\n  b"),
        ("/script", "made \u{fffd}"),
        ("/table", "1\t2\n4\t5\nx\n y"),
        ("/named", "named"),
        ("/shadow", "light\n\nin shadow"),
        ("/empty", ""),
    ] {
        assert_eq!(fetch("browser", path, &[]), json!(shown), "{path}");
    }
    assert_eq!(fetch("plain", "/named", &[]), "namedno", "no style sheets on the HTTP tiers");
    assert_eq!(fetch("browser", "/named", &["--body", "raw"]), "namedno", "the body is not the DOM");

    fs::write(program.home().join("urls.txt"), server.url("/styles")).expect("a list is written");
    let run = program.run([
        "batch",
        "urls.txt",
        "--out",
        "out.jsonl",
        "--tier",
        "browser",
        "--text",
        "--robots",
        "ignore",
    ]);
    assert_eq!(run.code, 0, "{run}");
    let line = fs::read_to_string(program.home().join("out.jsonl")).expect("an output");
    let record: Value = serde_json::from_str(line.trim()).expect("JSON");
    assert_eq!(record["text"], "one TWO\n\na\n  b");
}
