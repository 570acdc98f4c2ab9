//! A request whose method is not safe is sent again only when the server certainly did not act on it.

use crate::support::{Program, RawServer};

const EMPTY_200: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 36\r\n\r\n\
    <!doctype html><h1>Access denied</h1";
const TOO_MANY: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
const CHALLENGE: &str = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\ncf-mitigated: challenge\r\nserver: cloudflare\r\n\
    Content-Length: 24\r\n\r\n<title>Just a moment</t>";

/// Sends the same response to every request, and reads the body first.
fn site(response: &'static str) -> RawServer {
    RawServer::start(move |conn| {
        loop {
            let head = conn.read_head()?.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            conn.read_bytes(length)?;
            conn.send(response)?;
        }
    })
}

fn requests(site: &RawServer, method: &str) -> usize {
    site.heads().iter().filter(|head| head.starts_with(&format!("{method} /act"))).count()
}

#[test]
fn a_post_or_delete_is_sent_once_whatever_the_response() {
    for method in ["POST", "DELETE", "PUT", "PATCH"] {
        for (response, code) in [(EMPTY_200, 0), (REFUSED, 7), (TOO_MANY, 7), (UNAVAILABLE, 0)] {
            let site = site(response);
            let run = Program::new().run(["fetch", "-X", method, "-d", "a=1", &site.url("/act")]);
            assert_eq!(run.code, code, "{method} {response:?}: {run}");
            assert_eq!(requests(&site, method), 1, "{method} {response:?}: {run}");
        }
    }
}

#[test]
fn the_error_says_how_to_allow_it() {
    let site = site(REFUSED);
    let run = Program::new().run(["fetch", "-d", "a=1", &site.url("/act")]);
    assert!(run.stderr.contains("does not resend a POST") && run.stderr.contains("retry.unsafe"), "{run}");
}

#[test]
fn a_target_can_allow_it() {
    let site = site(REFUSED);
    let program = Program::new();
    let folder = program.home().join(".config/rungs/targets");
    std::fs::create_dir_all(&folder).expect("a folder for targets");
    let target = "schema = 1\n[match]\nhosts = [\"127.0.0.1\"]\n[retry]\nunsafe = true\n";
    let file = folder.join("act.toml");
    std::fs::write(&file, target).expect("the target is written");
    let run = program.run([
        "fetch",
        "--max-tier",
        "impersonate",
        "--target",
        file.to_str().expect("a plain path"),
        "-d",
        "a=1",
        &site.url("/act"),
    ]);
    assert_eq!(run.code, 7, "{run}");
    assert_eq!(requests(&site, "POST"), 2, "plain, then impersonate: {run}");
}

#[test]
fn a_vendors_challenge_took_the_place_of_the_site() {
    let site = site(CHALLENGE);
    let run = Program::new().run(["fetch", "--max-tier", "impersonate", "-d", "a=1", &site.url("/act")]);
    assert_eq!(run.code, 7, "{run}");
    assert_eq!(requests(&site, "POST"), 2, "{run}");
}

#[test]
fn a_get_with_an_empty_response_still_escalates() {
    let site = site(EMPTY_200);
    let run = Program::new().run(["fetch", "--max-tier", "impersonate", &site.url("/act")]);
    assert_eq!(run.code, 7, "{run}");
    assert_eq!(requests(&site, "GET"), 2, "{run}");
}

/// A pooled connection that the server closes without a response: the request may have been acted on.
#[test]
fn a_request_on_a_connection_that_breaks_is_not_sent_again() {
    for (method, expected) in [("DELETE", 1), ("PUT", 1), ("POST", 1)] {
        let site = RawServer::start(|conn| {
            loop {
                let head = conn.read_head()?;
                if head.contains(" /act") {
                    return Ok(());
                }
                conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")?;
            }
        });
        let run = Program::new().run([
            "fetch",
            "-X",
            method,
            "--tier",
            "plain",
            &site.url("/first"),
            &site.url("/act"),
        ]);
        assert_eq!(run.code, 1, "{run}");
        assert_eq!(requests(&site, method), expected, "{method}: {run}");
    }
}

#[test]
fn a_batch_does_not_send_a_failed_post_again() {
    let site = site(UNAVAILABLE);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out.jsonl");
    let out = out.to_str().expect("a plain path");
    let line = format!("{{\"url\": \"{}\", \"method\": \"POST\", \"body\": \"a=1\"}}\n", site.url("/act"));
    let run = Program::new().input(line).run([
        "batch",
        "-",
        "--robots",
        "ignore",
        "--retry-failed",
        "-q",
        "--out",
        out,
    ]);
    assert_eq!(requests(&site, "POST"), 1, "{run}");
}

/// A redirect to a port that refuses connections: the first server has acted, although the last connection was not
/// opened.
#[test]
fn a_post_whose_redirect_cannot_be_followed_is_not_sent_again() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = closed.local_addr().expect("a listener has an address").port();
    drop(closed);
    for status in ["303 See Other", "307 Temporary Redirect"] {
        let site = RawServer::start(move |conn| {
            let head = conn.read_head()?;
            let length = head.to_ascii_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
            conn.read_bytes(length.and_then(|text| text.trim().parse().ok()).unwrap_or(0))?;
            conn.send(format!(
                "HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:{port}/next\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ))
        });
        for tier in ["plain", "impersonate"] {
            let before = requests(&site, "POST");
            let run = Program::new().run(["fetch", "--tier", tier, "-d", "a=1", &site.url("/act")]);
            assert_eq!(run.code, 1, "{run}");
            assert_eq!(requests(&site, "POST") - before, 1, "{tier} {status}: {run}");
        }
    }
}

/// Chromium itself may send a request twice on a connection that is reset; rungs adds no attempt to that.
#[cfg(feature = "browser")]
#[test]
fn a_post_whose_connection_is_reset_in_the_browser_is_one_attempt() {
    let site = RawServer::start(|conn| conn.read_head().map(drop));
    let run = Program::new().run([
        "fetch",
        "--tier",
        "browser",
        "--format",
        "json",
        "-d",
        "a=1",
        &site.url("/act"),
    ]);
    assert_eq!(run.code, 1, "{run}");
    assert_eq!(run.json()["attempts"].as_array().map(Vec::len), Some(1), "{run}");
}
