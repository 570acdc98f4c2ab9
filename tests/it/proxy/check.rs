//! `rungs proxy check`, through real proxies.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::{
    Certs, Dante, FinishedRun, Microsocks, Nginx, Program, RawConnection, RawServer, Site, Squid,
    SquidOptions, never_answers,
};

const SQUID: &str = "127.0.0.2";
const MICROSOCKS: &str = "127.0.0.3";
const DANTE: &str = "127.0.0.4";

fn check<'a>(program: &Program, arguments: impl IntoIterator<Item = &'a str>) -> FinishedRun {
    program.run(["proxy", "check", "--format", "json"].into_iter().chain(arguments))
}

fn rows(run: &FinishedRun) -> Vec<Value> {
    run.json().as_array().unwrap_or_else(|| panic!("{run}")).clone()
}

fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn every_kind_of_proxy_is_reported_with_its_exit_and_every_fault_by_name() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squid = Squid::start_with(&SquidOptions { outgoing_address: Some(SQUID), ..SquidOptions::default() });
    let (microsocks, dante) = (Microsocks::start(MICROSOCKS), Dante::start(DANTE));
    let dead = format!("http://u:hunter2@127.0.0.1:{}", closed_port());
    let program = Program::new();
    for (site, tier) in [(Site::Clear, "plain"), (Site::H2, "plain"), (Site::H2, "impersonate")] {
        let list = [
            squid.url(),
            microsocks.url("socks5h"),
            dante.url("socks5"),
            squid.url_as("someuser", "hunter2"),
            squid.url_without_user(),
            microsocks.url_as("socks5", "walker:hunter2"),
            microsocks.url_without_user("socks5h"),
            dead.clone(),
        ];
        fs::write(program.home().join("list"), format!("# ours\n{}\n", list[1..].join("\n"))).unwrap();
        let echo = nginx.url(site, "/ip");
        let run = check(
            &program,
            ["--echo", &echo, "--tier", tier, "--cacert", certs.ca(), "-x", &list[0], "--proxies", "list"],
        );
        assert_eq!(run.code, 1, "{run}");
        assert!(!run.to_string().contains("hunter2") && !run.to_string().contains("p@ss"), "{run}");
        let rows = rows(&run);
        assert_eq!(rows.len(), list.len(), "{run}");
        for (row, (state, exit, asked)) in rows.iter().zip([
            ("works", Some(SQUID), 3),
            ("works", Some(MICROSOCKS), 3),
            ("works", Some(DANTE), 3),
            ("credentials", None, 1),
            ("credentials", None, 1),
            ("credentials", None, 1),
            ("credentials", None, 1),
            ("proxy", None, 3),
        ]) {
            assert_eq!(
                (row["state"].as_str(), row["requests"].as_u64()),
                (Some(state), Some(asked)),
                "{row}"
            );
            assert_eq!(row["exits"][0].as_str(), exit, "{row}");
            let works = exit.is_some();
            assert_eq!(row["answers"], if works { 3 } else { 0 }, "{row}");
            assert_eq!(row["verdict"].as_str(), works.then_some("sticky"), "{row}");
            assert_eq!(row["median_ms"].is_u64() && row["error"].is_null(), works, "{row}");
            // A refused request counts its bytes too. Without a listener no bytes are sent.
            let bytes = row["bytes_sent"].as_u64().unwrap() + row["bytes_received"].as_u64().unwrap();
            assert_eq!(bytes > 0, state != "proxy", "{row}");
        }
    }
    // One tunnel per request: each used a new connection.
    let tunnels =
        squid.requests(12).into_iter().filter(|request| request.method == "CONNECT" && request.status == 200);
    assert_eq!(tunnels.count(), 6);
}

#[test]
fn working_proxies_give_a_table_and_exit_code_0() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squid = Squid::start_with(&SquidOptions { outgoing_address: Some(SQUID), ..SquidOptions::default() });
    let echo = nginx.url(Site::Clear, "/ip");
    let run = Program::new().run(["proxy", "check", "--echo", &echo, "-x", &squid.url(), "--requests", "1"]);
    assert_eq!(run.code, 0, "{run}");
    let text = run.text();
    let [head, row] = text.lines().collect::<Vec<_>>()[..] else { panic!("two lines\n{run}") };
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells(head), ["proxy", "state", "address", "country", "rotation", "responses", "ms", "bytes"]);
    let (proxy, row) = (format!("http://***@127.0.0.1:{}", squid.port()), cells(row));
    assert_eq!(row[..6], [proxy.as_str(), "works", SQUID, "-", "-", "1/1"], "{run}");
}

/// Reports, depending on the path, one client address, a different one each time, or two in turn.
fn echo(conn: &mut RawConnection, count: &AtomicUsize) -> std::io::Result<()> {
    loop {
        let head = conn.read_head()?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let at = count.fetch_add(1, Ordering::SeqCst);
        let (status, body) = match path.rsplit('/').next().unwrap_or_default() {
            "same" => (200, r#"{"query":"203.0.113.1","country":"Germany","countryCode":"DE"}"#.to_owned()),
            "each" => (200, format!(r#"{{"origin":"203.0.113.{}"}}"#, at % 250)),
            "half" => (200, format!("203.0.113.{}", at % 2)),
            "long" => (200, "x".repeat(100_000)),
            "words" => (200, "hello\u{1b}[2J".to_owned()),
            _ => (403, "203.0.113.1".to_owned()),
        };
        let length = body.len();
        conn.send(format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))?;
    }
}

#[test]
fn rotation_stickiness_and_country_are_verified() {
    let count = AtomicUsize::new(0);
    let site = RawServer::start(move |conn| echo(conn, &count));
    let squid = Squid::start_with(&SquidOptions { any_credentials: true, ..SquidOptions::default() });
    let program = Program::new().variable("SECRET", "s3cret");
    let gateway = squid.url_without_user();
    let ask = ["--dialect", "decodo", "--user", "jane", "--password-env", "SECRET", "--gateway", &gateway];
    for (path, wishes, state, verdict, says) in [
        ("/same", "--country de --session abc", "works", "sticky", ""),
        ("/each", "", "works", "rotating", ""),
        ("/half", "", "works", "mixed", ""),
        ("/same", "--country us", "elsewhere", "sticky", "is in DE, but US was requested"),
        ("/each", "--session abc", "drifts", "rotating", "4 addresses in one session"),
        ("/words", "", "echo", "", "did not return an address"),
        ("/none", "", "echo", "", "answered 403"),
        ("/long", "", "body_too_large", "", "larger than"),
    ] {
        let url = site.url(path);
        let fixed = ask.into_iter().chain(["--echo", &url, "--requests", "4"]);
        let run = check(&program, fixed.chain(wishes.split_whitespace()));
        let [row] = &rows(&run)[..] else { panic!("one row\n{run}") };
        assert_eq!(row["state"], state, "{path} {wishes}\n{run}");
        assert_eq!(row["verdict"].as_str().unwrap_or_default(), verdict, "{path} {wishes}\n{run}");
        assert!(row["error"].as_str().unwrap_or_default().contains(says), "{path} {wishes}\n{run}");
        assert_eq!(run.code, i32::from(state != "works"), "{run}");
        assert!(!run.to_string().contains('\u{1b}') && !run.to_string().contains("s3cret"), "{run}");
    }
    let users: Vec<String> = squid.requests(32).into_iter().filter_map(|request| request.user).collect();
    assert_eq!(users[0], "user-jane-country-de-session-abc");
    assert_eq!(users[4], "user-jane");
}

#[test]
fn a_silent_proxy_times_out_and_wrong_settings_fail_before_any_request() {
    let silent = RawServer::start(never_answers);
    let program = Program::new();
    let proxy = silent.url("").replace("http://", "http://u:hunter2@");
    for echo in ["http://site.test/ip", "https://site.test/ip"] {
        let fixed = ["--echo", echo, "-x", &proxy, "--timeout", "0.3", "--requests", "2"];
        let run = check(&program, fixed);
        let row = &rows(&run)[0];
        assert_eq!(
            (run.code, row["answers"].as_u64(), row["requests"].as_u64()),
            (1, Some(0), Some(2)),
            "{run}"
        );
        assert!(["timeout", "proxy"].contains(&row["state"].as_str().unwrap()), "{run}");
    }
    let count = silent.connections();
    fs::write(program.home().join("list"), "http://a.example:1\nu:hunter2@:1\n").unwrap();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["--echo", "http://site.test/"], 2, "missing proxies: give --proxy, --proxies or --dialect"),
        (&["--echo", "site.test"], 2, "site.test"),
        (&["--echo", "http://site.test/", "--proxies", "list"], 3, "list:2"),
        (&["--echo", "http://site.test/", "--proxies", "none"], 3, "could not read none"),
        (&["--echo", "http://site.test/", "-x", "ftp://u:hunter2@x"], 2, "-x/--proxy: "),
        (&["--echo", "http://site.test/", "-x", &proxy, "--timeout", "never"], 2, "--timeout: `never`"),
        (&["--echo", "http://site.test/", "-x", &proxy, "--country", "us"], 2, "--dialect"),
    ];
    for (arguments, code, says) in cases {
        let run = check(&program, arguments.iter().copied());
        assert_eq!(run.code, code, "{arguments:?}\n{run}");
        assert!(run.stderr.contains(says) && !run.to_string().contains("hunter2"), "{says}\n{run}");
    }
    assert_eq!(silent.connections(), count, "nothing was sent");
}
