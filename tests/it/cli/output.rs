//! What the program prints, writes and exits with.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{self, FinishedRun, Program, RawConnection, RawServer, rungs, until};

fn fetch(arguments: &[&str]) -> FinishedRun {
    rungs(["fetch", "--tier", "plain", "--retry", "0"].into_iter().chain(arguments.iter().copied()))
}

/// A site with a few pages, for one or several connections.
fn site(conn: &mut RawConnection) -> std::io::Result<()> {
    loop {
        let head = conn.read_head()?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, headers, body) = match path.as_str() {
            "/missing" => ("404 Not Found", "", "<title>no such page</title>"),
            "/broken" => ("500 Oops", "", "<title>broken</title>"),
            "/binary" => ("200 OK", "content-type: application/octet-stream\r\n", "\u{0}\u{1}\u{2}"),
            "/moved" => ("302 Found", "location: /page\r\n", ""),
            "/odd" => {
                ("200 As You Like", "X-One: 1\r\nSET-Cookie: a\r\nx-Two: 2\r\nSet-cookie: b\r\n", "odd")
            }
            "/bare" => ("204", "", ""),
            "/set" => ("200 OK", "set-cookie: token=v4lue; Path=/; HttpOnly\r\n", "<title>set</title>"),
            "/cookies" => ("200 OK", "content-type: text/plain\r\n", head.as_str()),
            "/forbidden" => {
                ("403 Forbidden", "cf-mitigated: challenge\r\n", "<title>Just a moment...</title>")
            }
            _ => ("200 OK", "content-type: text/html\r\nx-two: a\r\nx-two: b\r\n", "<title>a page</title>"),
        };
        let length = body.len();
        conn.send(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}"))?;
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[test]
fn a_head_is_printed_as_it_was_received() {
    let server = RawServer::start(site);
    let odd = "HTTP/1.1 200 As You Like\r\nX-One: 1\r\nSET-Cookie: a\r\nx-Two: 2\r\nSet-cookie: b\r\ncontent-length: 3\r\n\r\nodd";
    for tier in ["plain", "impersonate"] {
        let run = rungs(["fetch", "--tier", tier, "-i", &server.url("/odd")]);
        assert_eq!((run.code, run.text()), (0, odd.to_owned()), "{run}");
        let run = rungs(["fetch", "--tier", tier, "--format", "json", &server.url("/odd")]);
        let (record, names) = (run.json(), ["X-One", "SET-Cookie", "x-Two", "Set-cookie", "content-length"]);
        let found: Vec<&Value> =
            record["headers"].as_array().expect("a list").iter().map(|field| &field[0]).collect();
        assert_eq!(
            (found, &record["reason"]),
            (
                names.iter().map(|name| json!(name)).collect::<Vec<_>>().iter().collect(),
                &json!("As You Like")
            )
        );
    }
    let run = fetch(&["-i", &server.url("/bare")]);
    assert!(run.text().starts_with("HTTP/1.1 204\r\n"), "{run}");
}

#[test]
fn the_json_of_a_page_has_the_documented_keys_and_no_others() {
    let server = RawServer::start(site);
    let run = fetch(&["--format", "json", &server.url("/moved")]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run}");
    let got = run.json();
    let mut expected = vec![
        "url",
        "final_url",
        "status",
        "tier",
        "browser_profile",
        "headers",
        "body_bytes",
        "body",
        "elapsed_ms",
        "timings",
        "browser",
        "robots",
        "http_version",
        "reason",
        "attempts",
        "error",
    ];
    expected.sort_unstable();
    let mut found = keys(&got);
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(got["url"], server.url("/moved"));
    assert_eq!(got["final_url"], server.url("/page"));
    assert_eq!(
        (&got["status"], &got["tier"], &got["browser_profile"]),
        (&json!(200), &json!("plain"), &Value::Null)
    );
    assert_eq!((&got["http_version"], &got["error"]), (&json!("1.1"), &Value::Null));
    assert_eq!((&got["body"], &got["body_bytes"]), (&json!("<title>a page</title>"), &json!(21)));
    assert_eq!(
        got["headers"],
        json!([["content-type", "text/html"], ["x-two", "a"], ["x-two", "b"], ["content-length", "21"]])
    );
    assert!(got["elapsed_ms"].as_f64().is_some_and(|elapsed| elapsed > 0.0));
    let mut timings = keys(&got["timings"]);
    timings.sort_unstable();
    assert_eq!(timings, ["connect_ms", "dns_ms", "first_byte_ms", "tls_ms"]);

    let attempts = got["attempts"].as_array().expect("a list");
    assert_eq!(attempts.len(), 1);
    let mut attempt = keys(&attempts[0]);
    attempt.sort_unstable();
    assert_eq!(
        attempt,
        [
            "browser_profile",
            "elapsed_ms",
            "error",
            "fallback",
            "next",
            "proxy",
            "session",
            "status",
            "tier",
            "verdict",
            "waited_ms"
        ]
    );
    assert_eq!(
        attempts[0]["verdict"],
        json!({"kind": "genuine", "vendor": null, "confidence": 1.0, "evidence": []})
    );
}

#[test]
fn the_json_of_a_failure_has_the_same_keys_and_the_error() {
    let server = RawServer::start(site);
    let url = server.url("/forbidden");
    let run = rungs(["fetch", "--max-tier", "impersonate", "--format", "json", &url]);
    assert_eq!(run.code, 7, "{run}");
    let got = run.json();
    for key in ["final_url", "body_bytes", "timings", "browser", "http_version"] {
        assert!(keys(&got).contains(&key) && got[key].is_null(), "{key}\n{run}");
    }
    assert_eq!(
        (&got["status"], &got["tier"], &got["robots"]),
        (&json!(403), &json!("impersonate"), &json!("ignored"))
    );
    let profile = rungs::default_profile().expect("a browser's profile is shipped").profile;
    assert_eq!(got["browser_profile"], profile.name.as_str());
    assert_eq!(keys(&got["error"]).len(), 4);
    let diagnosis = &got["error"]["diagnosis"];
    assert_eq!(diagnosis["layer"], "javascript");
    assert_eq!(
        diagnosis["tried"],
        json!(["plain: cloudflare challenge", "impersonate: cloudflare challenge"])
    );
    assert!(["because", "change"].iter().all(|key| diagnosis[key][0].is_string()), "{diagnosis}");
    assert_eq!(got["error"]["kind"], "blocked");
    let attempts = got["attempts"].as_array().expect("a list");
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0]["next"], "climb: cloudflare challenge");
    assert_eq!(attempts[1]["next"], Value::Null);
    let verdict = &attempts[0]["verdict"];
    assert_eq!((&verdict["kind"], &verdict["vendor"]), (&json!("challenge"), &json!("cloudflare")));
    assert!(verdict["confidence"].as_f64().is_some_and(|sure| sure > 0.8));
    let mut evidence = keys(&verdict["evidence"][0]);
    evidence.sort_unstable();
    assert_eq!(evidence, ["place", "rule", "text"]);
}

#[test]
fn binary_bodies_are_base64_in_json() {
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        conn.send(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 3\r\n\r\n\x89\xff\x00")
    });
    let got = fetch(&["--format", "json", &server.url("/")]).json();
    assert_eq!((&got["body_base64"], keys(&got).contains(&"body")), (&json!("if8A"), false), "{got}");
}

#[test]
fn jsonl_is_one_line_per_fetch_whatever_its_outcome() {
    let server = RawServer::start(site);
    let urls = ["/page", "/missing", "/binary"].map(|path| server.url(path));
    let run = fetch(&["--format", "jsonl", &urls[0], "nope://x", &urls[1], &urls[2]]);
    assert_eq!(run.code, 2, "the first failure's code\n{run}");
    let text = run.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let statuses: Vec<&Value> = lines.iter().map(|line| &line["status"]).collect();
    assert_eq!(statuses, [&json!(200), &Value::Null, &json!(404), &json!(200)]);
    assert_eq!(lines[1]["error"]["kind"], "invalid_url");
}

#[test]
fn include_prints_the_head_before_the_body() {
    let server = RawServer::start(site);
    let run = fetch(&["-i", &server.url("/page")]);
    let expected = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nx-two: a\r\nx-two: b\r\ncontent-length: 21\r\n\r\n<title>a page</title>";
    assert_eq!(run.text(), expected);
}

#[test]
fn fail_turns_a_status_into_an_exit_code_and_omits_the_body() {
    let server = RawServer::start(site);
    for (path, code) in [("/page", 0), ("/missing", 4), ("/broken", 5)] {
        let url = server.url(path);
        let run = fetch(&[&url]);
        assert_eq!(run.code, 0, "{run}");
        assert!(run.text().starts_with("<title>"), "{run}");
        let run = fetch(&["-f", &url]);
        assert_eq!(run.code, code, "{run}");
        assert_eq!(run.stdout.is_empty(), code != 0, "{run}");
        assert_eq!(run.stderr.starts_with("error: "), code != 0, "{run}");

        let program = Program::new();
        fs::write(program.home().join("out"), "as before").expect("a file is written");
        let run = program.run(["fetch", "--tier", "plain", "-f", "-o", "out", url.as_str()]);
        assert_eq!(run.code, code, "{run}");
        let kept = fs::read_to_string(program.home().join("out")).expect("the file is there");
        assert_eq!(kept == "as before", code != 0, "{path}: {kept}");
    }
}

#[test]
fn the_exit_code_of_several_urls_is_that_of_the_first_failure() {
    let server = RawServer::start(site);
    let (page, missing, broken) = (server.url("/page"), server.url("/missing"), server.url("/broken"));
    let run = fetch(&["-f", &page, &broken, &missing, &page]);
    assert_eq!(run.code, 5, "{run}");
    assert_eq!(run.text(), "<title>a page</title>".repeat(2), "the others are still fetched");
}

#[test]
fn files_go_to_the_urls_in_order_and_the_rest_to_stdout() {
    let server = RawServer::start(site);
    let program = Program::new();
    let urls = ["/page", "/missing", "/broken"].map(|path| server.url(path));
    let run = program.run(
        ["fetch", "--tier", "plain", "-o", "one", "-o", "two"]
            .into_iter()
            .chain(urls.iter().map(String::as_str)),
    );
    assert_eq!(run.code, 0, "{run}");
    let read = |name: &str| fs::read_to_string(program.home().join(name)).expect("a file");
    assert_eq!(
        (read("one").as_str(), read("two").as_str()),
        ("<title>a page</title>", "<title>no such page</title>")
    );
    assert_eq!(run.text(), "<title>broken</title>");
    let run = program.run(["fetch", "--tier", "plain", "-o", "one", "--format", "json", urls[0].as_str()]);
    let got = run.json();
    assert_eq!((&got["file"], &got["body_bytes"]), (&json!("one"), &json!(21)), "{run}");
    assert!(!keys(&got).contains(&"body"));
}

#[test]
fn an_output_symlink_is_followed_and_its_file_replaced_whole() {
    let server = RawServer::start(site);
    let program = Program::new();
    let home = program.home();
    fs::write(home.join("real"), "x".repeat(1000)).expect("a file is written");
    std::os::unix::fs::symlink("real", home.join("link")).expect("a link is made");
    let run = program.run(["fetch", "--tier", "plain", "-o", "link", &server.url("/page")]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(fs::read_to_string(home.join("real")).expect("a file"), "<title>a page</title>");
    assert!(home.join("link").is_symlink());
    let run = program.run(["fetch", "--tier", "plain", "-o", "/dev/null", &server.url("/page")]);
    assert_eq!(run.code, 0, "{run}");
    let run = program.run(["fetch", "--tier", "plain", "-o", "-", &server.url("/page")]);
    assert_eq!(run.text(), "<title>a page</title>", "{run}");
}

#[test]
fn cookie_files_are_written_and_read_as_curl_does() {
    let server = RawServer::start(site);
    let program = Program::new();
    let home = program.home();
    let run =
        program.run(["fetch", "--tier", "plain", "-c", "jar.txt", "-o", "/dev/null", &server.url("/set")]);
    assert_eq!(run.code, 0, "{run}");
    let file = fs::read_to_string(home.join("jar.txt")).expect("a file");
    assert!(file.starts_with("# Netscape HTTP Cookie File\n"), "{file}");
    assert!(file.contains("#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t0\ttoken\tv4lue\n"), "{file}");
    let mode = fs::metadata(home.join("jar.txt")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o077, 0, "its owner's alone");

    let run = program.run(["fetch", "--tier", "plain", "-b", "jar.txt", &server.url("/cookies")]);
    assert!(run.text().contains("token=v4lue"), "{run}");
    let run = program.run(["fetch", "--tier", "plain", "-b", "a=1; b=2", &server.url("/cookies")]);
    assert!(run.text().contains("a=1; b=2"), "{run}");
    fs::write(home.join("bad.txt"), "# a comment\n127.0.0.1\tFALSE\thunter2\n").expect("a file is written");
    let run = program.run(["fetch", "-b", "bad.txt", &server.url("/")]);
    let reported = run.stderr.contains("skipped line 2 of bad.txt") && !run.stderr.contains("hunter2");
    assert!(run.code == 0 && reported, "{run}");
}

#[test]
fn bodies_come_from_arguments_files_and_stdin() {
    let server = RawServer::start(|conn| {
        let head = conn.read_head()?.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let body = conn.read_bytes(length.and_then(|text| text.parse().ok()).unwrap_or(0))?;
        let method = head.split(' ').next().unwrap_or_default();
        let echo = format!("{method} {}", String::from_utf8_lossy(&body));
        conn.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{echo}",
            echo.len()
        ))
    });
    let program = Program::new().input("from stdin\r\n");
    fs::write(program.home().join("form.txt"), "from=file\n").expect("a file is written");
    let url = server.url("/");
    for (arguments, expected) in [
        (&["-d", "a=1", "-d", "b=2"][..], "post a=1&b=2"),
        (&["-d", "@form.txt", "-d", "x"], "post from=file&x"),
        (&["-d", "@-"], "post from stdin"),
        (&["-X", "PATCH", "-d", "-1"], "patch -1"),
        (&["-X", "DELETE"], "delete "),
        (&["-X", "POST"], "post "),
        (&["-d", ""], "post "),
    ] {
        let arguments = ["fetch", "--tier", "plain"].into_iter().chain(arguments.iter().copied());
        let run = program.run(arguments.chain([url.as_str()]));
        assert_eq!((run.code, run.text().as_str()), (0, expected), "{run}");
    }
    let run = program.run(["fetch", "--tier", "impersonate", "-X", "POST", url.as_str()]);
    assert_eq!((run.code, run.text().as_str()), (0, "post "), "{run}");
    for head in server.heads().iter().filter(|head| head.starts_with("POST")) {
        assert!(head.to_lowercase().contains("content-length: "), "a POST says how long it is\n{head}");
    }
}

#[test]
fn headers_are_set_replaced_emptied_and_removed() {
    let server = RawServer::start(support::echo_head);
    let head = |arguments: &[&str]| {
        let run = fetch(&[arguments, &[server.url("/").as_str()]].concat());
        assert_eq!(run.code, 0, "{run}");
        run.text().to_lowercase()
    };
    let plain = head(&[]);
    assert!(plain.contains("user-agent: rungs/") && plain.contains("accept: "), "{plain}");
    let mine = head(&["-A", "me", "-H", "Accept:", "-H", "X-Empty;", "-H", "X-A: 1", "-H", "X-A: 2"]);
    assert!(mine.contains("user-agent: me\r\n") && !mine.contains("accept: "), "{mine}");
    assert!(mine.contains("x-empty:") && mine.contains("x-a: 1\r\nx-a: 2\r\n"), "{mine}");
    let host = head(&["-H", "Host: other.test"]);
    assert!(host.contains("host: other.test\r\n") && host.matches("host: ").count() == 1, "{host}");
    assert!(!head(&["-H", "User-Agent:"]).contains("user-agent"));
}

#[test]
fn trace_prints_all_attempts_on_stderr() {
    let server = RawServer::start(site);
    let url = server.url("/page");
    let run = fetch(&["--trace", &url]);
    assert_eq!(run.text(), "<title>a page</title>");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert!(lines[0].starts_with(&format!("{url}: 200 by plain in ")), "{run}");
    assert!(lines[1].trim_start().starts_with("plain        200  genuine"), "{run}");

    let url = server.url("/forbidden");
    let run = rungs(["fetch", "--max-tier", "impersonate", "--trace", &url]);
    assert_eq!(run.code, 7, "{run}");
    for words in [
        "blocked at every tier allowed",
        "  plain        403  cloudflare challenge",
        "  impersonate  403  cloudflare challenge",
        "cloudflare/",
        "-> climb: cloudflare challenge",
        "hint: this fetch stops at `impersonate`; try `--max-tier browser`",
    ] {
        assert!(run.stderr.contains(words), "no `{words}`\n{run}");
    }
    assert!(run.stdout.is_empty(), "{run}");
    let quiet = rungs(["fetch", "-q", "--trace", "--tier", "plain", &server.url("/page")]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{quiet}");
}

#[test]
fn verbose_logs_each_attempt_on_stderr_alone() {
    let server = RawServer::start(site);
    let run = fetch(&["-v", &server.url("/page")]);
    assert_eq!(run.text(), "<title>a page</title>");
    assert!(run.stderr.contains("attempt") && run.stderr.contains("plain"), "{run}");
}

#[test]
fn an_interrupted_fetch_leaves_nothing_behind_and_exits_130() {
    let program = Program::new();
    for signal in [Signal::INT, Signal::TERM] {
        // More than is read before the verdict: the program has begun to write the file when the body stalls.
        let server = RawServer::start(|conn| {
            conn.read_head()?;
            conn.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2000000\r\n\r\n")?;
            conn.send("x".repeat(1_000_000))?;
            conn.hold_open()
        });
        let running = program.start(["fetch", "--tier", "plain", "-o", "out", &server.url("/")]);
        until("a part of the page in a temporary file", || !files(&program).is_empty());
        running.signal(signal);
        let run = running.finish();
        assert_eq!((run.code, run.stderr.as_str()), (130, "interrupted\n"), "{run}");
        let files = files(&program);
        assert!(files.is_empty() && program.leftover_files().is_empty(), "{files:?}");
    }
}

/// The names of the files in the program's home.
fn files(program: &Program) -> Vec<OsString> {
    let entries = fs::read_dir(program.home()).expect("the home").filter_map(Result::ok);
    entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name()).collect()
}

#[test]
fn an_interrupt_among_several_urls_keeps_finished_pages_and_sends_no_more_requests() {
    let program = Program::new().limit(Duration::from_secs(30));
    let done = RawServer::start(support::answer("the first"));
    let never = RawServer::start(support::answer("the third"));
    for (tier, silent) in [("plain", true), ("impersonate", false)] {
        let under_way = RawServer::start(if silent { support::never_answers } else { support::slow_drip });
        let urls = [done.url("/"), under_way.url("/"), never.url("/")];
        let fixed = ["fetch", "--tier", tier];
        let running = program.start(fixed.into_iter().chain(urls.iter().map(String::as_str)));
        until("the second request", || !under_way.heads().is_empty());
        running.signal(Signal::INT);
        let run = running.finish();
        assert_eq!((run.code, run.text().as_str()), (130, "the first"), "{run}");
        assert!(never.heads().is_empty() && program.leftover_files().is_empty());
    }
}

#[test]
fn a_closed_output_pipe_is_not_a_failure() {
    let big = "a line of the page\n".repeat(20_000);
    let body: &'static str = big.leak();
    let server = RawServer::start(support::answer(body));
    let mut child = Command::new(env!("CARGO_BIN_EXE_rungs"))
        .args(["fetch", "--tier", "plain", &server.url("/"), &server.url("/")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built with the tests");
    let mut some = [0; 100];
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut some).expect("it writes");
    drop(stdout);
    let out = child.wait_with_output().expect("it ends");
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
}
