//! The memory limit of a page: the flag, the error of the guilty page, and the others of the run.

use serde_json::Value;

use crate::support::{Program, RawServer};

/// Never loaded before its script ends.
const HOSTILE: &str = "<script>const all=[];for(;;)all.push(new Uint8Array(2e7).fill(7))</script>";

fn server() -> RawServer {
    RawServer::start(|conn| {
        let head = conn.read_head()?;
        let body = if head.starts_with("GET /hostile ") { HOSTILE } else { "<p>fine" };
        let length = body.len();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
    })
}

#[test]
fn a_batch_records_the_guilty_page_as_failed_and_all_others() {
    let server = server();
    let paths = ["/0", "/1", "/hostile", "/2", "/3", "/4"];
    let list = paths.map(|path| server.url(path)).join("\n");
    let program = Program::new().input(list);
    let run = program.run([
        "batch",
        "-",
        "--tier",
        "browser",
        "--page-memory",
        "200M",
        "--browser-pages",
        "3",
        "--robots",
        "ignore",
        "-o",
        "out.jsonl",
        "--settle-timeout",
        "30",
    ]);
    assert_eq!(run.code, 8, "{run}");
    let text = std::fs::read_to_string(program.home().join("out.jsonl")).expect("the output is there");
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(records.len(), paths.len(), "{text}");
    for record in records {
        let url = record["url"].as_str().expect("a URL");
        let kind = record["error"]["kind"].as_str();
        assert_eq!(kind, url.ends_with("/hostile").then_some("page_memory"), "{record}");
    }
}

#[test]
fn the_error_names_the_limit_and_the_flag() {
    let server = server();
    let arguments = ["fetch", "--tier", "browser", "--page-memory", "200M", "--wait-for", "#never"];
    let run = Program::new().run(arguments.into_iter().chain([server.url("/hostile").as_str()]));
    assert_eq!(run.code, 1, "{run}");
    for words in ["the page exceeded its memory limit", "limit: 200 MiB", "hint: ", "--page-memory"] {
        assert!(run.stderr.contains(words), "{words}: {run}");
    }
}

#[test]
fn a_limit_that_no_page_can_keep_is_refused() {
    for (value, words) in
        [("1k", "below the minimum of 128M"), ("much", "is not a size"), ("0", "below the minimum")]
    {
        let run = Program::new().run(["fetch", "--page-memory", value, "http://127.0.0.1:1/"]);
        assert!(matches!(run.code, 2 | 3), "{run}");
        assert!(run.stderr.contains("--page-memory") && run.stderr.contains(words), "{run}");
    }
}
