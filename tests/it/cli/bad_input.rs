//! Bad input of every kind: each has its own exit code, error kind and message. Text from a site is escaped before it
//! reaches the terminal.

use std::fs;
use std::io;
use std::net::TcpListener;

use crate::support::{self, Certs, FinishedRun, Nginx, Program, RawConnection, RawServer, Site, rungs};

/// Fetches on the HTTP tiers without retries, with JSON output.
fn fetch(arguments: &[&str]) -> FinishedRun {
    let fixed = ["fetch", "--max-tier", "impersonate", "--retry", "0", "--format", "json"];
    rungs(fixed.into_iter().chain(arguments.iter().copied()))
}

/// Checks a failure: exit code, kind, and words of the message.
fn assert_fails(run: &FinishedRun, code: i32, kind: &str, words: &str) {
    assert_eq!(run.code, code, "{run}");
    let error = &run.json()["error"];
    assert_eq!(error["kind"], kind, "{run}");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains(words), "no `{words}` in: {message}");
    assert!(run.stderr.starts_with("error: ") && run.stderr.contains(words), "{run}");
    assert_clean(run);
}

/// Checks for control characters other than line ends, and for a panic's backtrace.
fn assert_clean(run: &FinishedRun) {
    for text in [&run.stderr, &run.text()] {
        let dirty = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
        assert_eq!(dirty, None, "{run}");
    }
    assert!(!run.stderr.contains("panicked"), "{run}");
}

/// Fetches from a server with this handler.
fn served(
    handler: impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync + 'static,
    arguments: &[&str],
) -> FinishedRun {
    let server = RawServer::start(handler);
    let url = server.url("/");
    fetch(&[arguments, &[url.as_str()]].concat())
}

#[test]
fn a_malformed_url_exits_2() {
    for (url, words) in [
        ("http://[nowhere/", "malformed URL"),
        ("http://a b/", "malformed URL"),
        ("http://host:99999/", "malformed URL"),
        ("http://", "malformed URL"),
        ("", "the URL is empty"),
        ("http://\u{1b}[31mred/", "malformed URL"),
    ] {
        assert_fails(&fetch(&[url]), 2, "invalid_url", words);
    }
    let run = fetch(&["/page"]);
    assert_fails(&run, 2, "invalid_url", "malformed URL");
    assert!(run.stderr.contains("hint: write the scheme too: `https:///page`"), "{run}");
    let long = format!("http://127.0.0.1:9/?{}", "x".repeat(70_000));
    let run = fetch(&["--resolve", "*:9:127.0.0.1", &long]);
    assert!(run.stderr.len() < 2000, "it is not repeated whole: {} bytes", run.stderr.len());
}

#[test]
fn an_unknown_scheme_exits_2() {
    for (url, scheme) in
        [("ftp://site.example/", "ftp"), ("file:///etc/passwd", "file"), ("mailto:a", "mailto")]
    {
        let run = fetch(&[url]);
        assert_fails(&run, 2, "invalid_url", &format!("unknown scheme `{scheme}`"));
        assert!(run.stderr.contains("http:// and https://"), "{run}");
    }
}

#[test]
fn a_name_that_does_not_resolve_is_a_dns_error() {
    assert_fails(
        &fetch(&["https://no-such-host.invalid/"]),
        1,
        "dns",
        "could not resolve `no-such-host.invalid`",
    );
}

#[test]
fn a_refused_port_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let words = format!("127.0.0.1:{port} refused the connection");
    let run = fetch(&[&format!("http://127.0.0.1:{port}/")]);
    assert_fails(&run, 1, "connect", &words);
    // It is retried on the same tier, and the error has the number of attempts.
    let url = format!("http://127.0.0.1:{port}/");
    let run = rungs(["fetch", "--retry", "2", "--format", "json", url.as_str()]);
    let got = run.json();
    let tiers: Vec<&str> =
        got["attempts"].as_array().expect("a list").iter().filter_map(|a| a["tier"].as_str()).collect();
    assert_eq!(tiers, ["plain"; 3], "{run}");
}

#[test]
fn a_server_that_accepts_and_never_answers_is_a_timeout() {
    let run = served(support::never_answers, &["-m", "0.5"]);
    assert_fails(&run, 1, "timeout", "exceeded its total timeout of 500ms");
    let attempts = run.json()["attempts"].clone();
    assert_eq!(attempts[0]["error"]["kind"], "timeout", "the attempt in progress is reported too\n{run}");
    assert_eq!(attempts.as_array().map(Vec::len), Some(1));

    // A server that does not complete the TLS handshake.
    let silent = RawServer::start(RawConnection::hold_open);
    let url = silent.url("/").replace("http:", "https:");
    let run = fetch(&["--connect-timeout", "0.5", &url]);
    assert_fails(&run, 1, "timeout", "during the TLS handshake with");
}

#[test]
fn a_body_that_stalls_or_drips_ends_in_time() {
    assert_fails(&served(support::slow_drip, &["-m", "1"]), 1, "timeout", "exceeded its total timeout of 1s");
    assert_fails(
        &served(support::stalled_body, &[]),
        1,
        "timeout",
        "timed out reading the body: no data for 5s",
    );
}

#[test]
fn a_body_that_breaks_off_is_a_protocol_error() {
    assert_fails(
        &served(support::truncated_body, &[]),
        1,
        "protocol",
        "the body ended before its announced length",
    );
    assert_fails(&served(support::truncated_chunks, &[]), 1, "protocol", "the body");
    let program = Program::new();
    let server = RawServer::start(support::truncated_body);
    let run = program.run(["fetch", "--tier", "plain", "--retry", "0", "-o", "out", &server.url("/")]);
    assert_eq!(run.code, 1, "{run}");
    assert!(!program.home().join("out").exists(), "a half file is no file");
}

#[test]
fn wrong_lengths_are_protocol_errors_or_cut_at_the_length() {
    assert_fails(&served(support::two_content_lengths, &[]), 1, "protocol", "the response is not valid HTTP");
    // Chromium reads such a body to the end of the connection.
    let run = served(support::content_length_is_no_number, &[]);
    assert_eq!((run.code, run.json()["body"].as_str()), (0, Some("hello")), "{run}");
    // Bytes after the announced length belong neither to this response nor to the next.
    let server = RawServer::start(support::content_length_too_small);
    let run = rungs(["fetch", "--tier", "plain", &server.url("/1"), &server.url("/2")]);
    assert_eq!((run.code, run.text().as_str()), (0, "hellohello"), "{run}");
    assert_eq!(server.connections(), 2, "the connection with the surplus is not used again");
}

#[test]
fn broken_compression_is_a_decode_error() {
    assert_fails(&served(support::bad_gzip, &[]), 1, "decode", "the compressed body is malformed");
    assert_fails(&served(support::truncated_gzip, &[]), 1, "decode", "the compressed body is truncated");
}

#[test]
fn bodies_stop_at_the_size_limit_compressed_or_not() {
    let words = "larger than 33554432 bytes";
    let run = served(support::gzip_bomb, &[]);
    assert_fails(&run, 1, "body_too_large", words);
    assert!(run.stderr.contains("--max-size") && run.stderr.contains("-o FILE"), "{run}");
    assert_fails(&served(support::endless_body, &[]), 1, "body_too_large", words);
    assert_fails(&served(support::endless_body, &["--max-size", "10k"]), 1, "body_too_large", "10240 bytes");
    // A file has a limit too, and the same flag sets it.
    assert_eq!(rungs::Limits::default().max_file, 1 << 30);
    for handler in [support::endless_body as fn(&mut RawConnection) -> io::Result<()>, support::gzip_bomb] {
        let program = Program::new();
        let server = RawServer::start(handler);
        let url = server.url("/");
        let run = program.run([
            "fetch",
            "--tier",
            "plain",
            "--retry",
            "0",
            "--format",
            "json",
            "--max-size",
            "1M",
            "-o",
            "out",
            &url,
        ]);
        assert_fails(&run, 1, "body_too_large", "1048576 bytes");
        assert!(run.stderr.contains("--max-size"), "{run}");
        let left: Vec<_> = fs::read_dir(program.home()).expect("a home").flatten().collect();
        assert!(!left.iter().any(|entry| entry.path().is_file()), "{left:?}");
    }
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for site in [Site::H2, Site::Clear] {
        let run = fetch(&["--cacert", certs.ca(), &nginx.url(site, "/page/40m")]);
        assert_fails(&run, 1, "body_too_large", words);
    }
    let run = rungs(["fetch", "--tier", "plain", "--max-size", "41M", &nginx.url(Site::Clear, "/page/40m")]);
    assert!(run.code == 0 && run.stdout.len() == Nginx::HUGE, "exit code {}", run.code);
}

#[test]
fn redirects_in_a_circle_and_too_many_exit_6() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for (path, words) in
        [("/redirect/loop", "more than 20 redirects"), ("/redirect/chain/21", "more than 20 redirects")]
    {
        assert_fails(&fetch(&[&nginx.url(Site::Clear, path)]), 6, "redirect", words);
    }
}

#[test]
fn endless_response_heads_are_protocol_errors() {
    for (name, run) in [
        ("flood", served(support::header_flood, &[])),
        ("endless", served(support::endless_header, &[])),
        ("garbage", served(support::garbage, &[])),
    ] {
        println!("{name}");
        assert_fails(&run, 1, "protocol", "the response is not valid HTTP");
    }
    assert_fails(
        &served(support::endless_interim, &[]),
        1,
        "protocol",
        "response headers exceed the size limit",
    );
    assert_fails(
        &served(support::closes_at_once, &[]),
        1,
        "protocol",
        "closed the connection without a response",
    );
}

#[test]
fn more_than_a_thousand_headers_are_refused() {
    let many = |count: usize| {
        move |conn: &mut RawConnection| {
            conn.read_head()?;
            let fields = (0..count).map(|number| format!("x-{number}: y\r\n")).collect::<Vec<_>>().concat();
            conn.send(format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok"))
        }
    };
    assert_eq!(served(many(990), &[]).code, 0);
    assert_fails(&served(many(1001), &[]), 1, "protocol", "");
}

#[test]
fn terminal_escapes_of_a_site_never_reach_the_terminal() {
    // On stdout the body is unchanged. In JSON, messages and logs it is escaped.
    let run = served(escapes_in_body, &["-vv", "--trace"]);
    assert_eq!(run.code, 0, "{run}");
    assert_clean(&run);
    assert_eq!(run.json()["body"], "\u{1b}[31m\u{9b}m\u{7f}\u{202e}");
    for handler in [support::terminal_escapes, escapes_in_redirect, escapes_in_title] {
        assert_clean(&served(handler, &["-vv", "--trace"]));
    }
    for url in ["http://127.0.0.1:1/\u{1b}[31m", "http://u:p@127.0.0.1:1/\u{9b}31m", "nope://\u{1b}[31m"] {
        assert_clean(&fetch(&["-vv", "--trace", url]));
    }
}

/// Terminal escapes where HTTP allows them: in the body, and non-ASCII ones in a header.
fn escapes_in_body(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    let body = "\u{1b}[31m\u{9b}m\u{7f}\u{202e}";
    let length = body.len();
    conn.send(format!("HTTP/1.1 404 Not\r\nx-colour: \u{9b}31m\r\ncontent-length: {length}\r\n\r\n{body}"))
}

/// A redirect to an invalid URL that contains a terminal escape.
fn escapes_in_redirect(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 302 Found\r\nlocation: http://[\u{9b}31m\u{202e}\r\ncontent-length: 0\r\n\r\n")
}

/// A challenge whose title, which is part of the evidence, contains terminal escapes.
fn escapes_in_title(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    let page = "<title>Just a moment...\u{1b}[31m\u{9b}0m</title><div id=challenge-running></div>";
    conn.send(format!(
        "HTTP/1.1 403 \u{1b}[31m\r\ncf-mitigated: challenge\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
        page.len()
    ))
}

#[test]
fn wrong_flags_exit_2_and_name_the_flag() {
    let url = "http://127.0.0.1:9/";
    for (arguments, words) in [
        (&["--tier", "bicycle", url][..], &["--tier", "bicycle", "plain, impersonate, browser"][..]),
        (&["--format", "xml", url], &["--format", "xml", "json"]),
        (&["--retry", "many", url], &["--retry", "many"]),
        (&["--no-such-flag", url], &["--no-such-flag"]),
        (&[], &["<URL>"]),
        (&["--tier", "plain", "--max-tier", "plain", url], &["--tier", "--max-tier"]),
        (
            &["--min-tier", "browser", "--max-tier", "plain", url],
            &["--min-tier browser is above --max-tier plain"],
        ),
        (&["-m", "soon", url], &["-m/--max-time", "`soon`", "seconds"]),
        (&["-m", "0", url], &["-m/--max-time"]),
        (&["--connect-timeout=-1", url], &["--connect-timeout", "`-1`"]),
        (&["--max-size", "1T", url], &["--max-size", "`1T`", "5M"]),
        (&["--resolve", "site.example", url], &["--resolve", "`site.example`", "HOST:PORT:ADDR"]),
        (&["--resolve", "site.example:443:nowhere", url], &["--resolve", "HOST:PORT:ADDR"]),
        (&["-H", "no colon", url], &["-H/--header", "`Name: value`"]),
        (&["-H", "bad name: x", url], &["`bad name` is not a header name"]),
        (&["-H", "x: a\nb: c", url], &["`x`", "control character"]),
        (&["-H", "content-length: 5", url], &["`content-length`", "cannot be set"]),
        (&["-A", "a\r\nx: y", url], &["`user-agent`", "control character"]),
        (&["-X", "GE T", url], &["-X/--request", "`GE T`"]),
        (&["-X", "CONNECT", url], &["CONNECT"]),
        (&["-x", "socks9://127.0.0.1:1", url], &["-x/--proxy", "`socks9`", "not supported"]),
        (&["-x", "http://[", url], &["-x/--proxy", "malformed", "http://user:password@host:port"]),
        (&["-x", "http://127.0.0.1:1/path", url], &["-x/--proxy", "path"]),
        (&["-x", "ftp://127.0.0.1:9", url], &["-x/--proxy"]),
        (&["-o", "a", "-o", "b", url], &["-o/--output: 2 files for 1 URLs"]),
        (&["-I", "-d", "x", url], &["--head", "--data"]),
    ] {
        let run = rungs(["fetch"].into_iter().chain(arguments.iter().copied()));
        assert_eq!(run.code, 2, "{arguments:?}\n{run}");
        assert!(run.stdout.is_empty(), "{arguments:?}\n{run}");
        for word in words {
            assert!(run.stderr.contains(word), "no `{word}` for {arguments:?}\n{run}");
        }
        assert_clean(&run);
    }
}

#[test]
fn missing_files_are_named_in_the_error() {
    let url = "http://127.0.0.1:9/";
    for (arguments, code, words) in [
        (&["-d", "@nowhere.txt"][..], 1, &["-d/--data", "nowhere.txt"][..]),
        (&["-b", "nowhere.txt"], 1, &["-b/--cookie", "nowhere.txt"]),
        (&["--as", "nowhere.toml"], 3, &["nowhere.toml"]),
        (&["--as", "netscape-4"], 3, &["`netscape-4`", "use a shipped profile: "]),
    ] {
        let run = rungs(["fetch"].into_iter().chain(arguments.iter().copied()).chain([url]));
        assert_eq!(run.code, code, "{arguments:?}\n{run}");
        for word in words {
            assert!(run.stderr.contains(word), "no `{word}`\n{run}");
        }
    }
    let server = RawServer::start(support::answer("hello"));
    let run = rungs(["fetch", "--tier", "plain", "-o", "no/such/folder/out", &server.url("/")]);
    assert_eq!(run.code, 1, "{run}");
    assert!(
        run.stderr.contains("could not write no/such/folder/out: there is no folder no/such/folder"),
        "{run}"
    );
}

#[test]
fn a_broken_profile_is_reported_by_file_line_column_and_key() {
    let program = Program::new();
    let profile = rungs::default_profile().expect("a browser's profile is shipped").profile;
    let good = program.run(["profile", "show", "--whole", &profile.name]);
    assert_eq!(good.code, 0, "{good}");
    let good = good.text();
    fs::write(program.home().join("good.toml"), &good).expect("a profile is written");
    let shown = program.run(["profile", "show", "./good.toml"]);
    assert_eq!(shown.code, 0, "what is shown can be loaded again\n{shown}");

    let line_of = |text: &str, key: &str| {
        1 + text
            .lines()
            .position(|line| line.starts_with(key))
            .unwrap_or_else(|| panic!("no {key} in {text}"))
    };
    let wrong_type = replace_line(&good, "window_update", "window_update = \"many\"");
    let unknown = good.replacen("[http2]", "[http2]\nwindow_updaet = 1", 1);
    let syntax = replace_line(&good, "window_update", "window_update = = 1");
    for (text, key) in
        [(&wrong_type, "window_update"), (&unknown, "window_updaet"), (&syntax, "window_update")]
    {
        fs::write(program.home().join("broken.toml"), text).expect("a profile is written");
        let run = program.run(["fetch", "--as", "broken.toml", "http://127.0.0.1:9/"]);
        assert_eq!(run.code, 3, "{run}");
        let place = format!("broken.toml:{}:", line_of(text, key));
        assert!(run.stderr.contains(&place), "no `{place}`\n{run}");
        assert!(run.stderr.contains(key), "no `{key}`\n{run}");
        assert_clean(&run);
    }
    let missing = replace_line(&good, "window_update", "");
    fs::write(program.home().join("broken.toml"), missing).expect("a profile is written");
    let run = program.run(["fetch", "--as", "broken.toml", "http://127.0.0.1:9/"]);
    assert_eq!(run.code, 3, "{run}");
    assert!(run.stderr.contains("broken.toml") && run.stderr.contains("window_update"), "{run}");
}

/// `text` with the line that begins with `key` replaced.
fn replace_line(text: &str, key: &str, line: &str) -> String {
    text.lines().map(|old| if old.starts_with(key) { line } else { old }).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_request_can_be_smuggled_through_url_or_header() {
    let server = RawServer::start(support::echo_head);
    let base = server.url("");
    for path in ["/a\r\nX-Smuggled: 1", "/a%0d%0aX-Smuggled:%201", "/?q=\r\n\r\nGET / HTTP/1.1"] {
        let run = rungs(["fetch", "--tier", "plain", &format!("{base}{path}")]);
        assert_eq!(run.code, 0, "{run}");
        let head = run.text();
        assert!(
            !head.to_lowercase().contains("\r\nx-smuggled") && head.matches("GET ").count() == 1,
            "{head}"
        );
    }
    // Every character allowed in a URL can be sent.
    let odd = "/a|b^c[d]'e(f)*~!$&,;=:@\"<>`{}\\%ff\u{fc}?q=|^[]'\"<>`{}\\\u{fc}%zz";
    for tier in ["plain", "impersonate"] {
        let run = rungs(["fetch", "--tier", tier, &format!("{base}{odd}")]);
        assert_eq!(run.code, 0, "{run}");
    }
}
