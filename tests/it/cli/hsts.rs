//! `--hsts`: which hosts are requested over https only, and what the file has at the end.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Certs, FinishedRun, Program, RawConnection, RawServer};

/// Says how it was requested.
fn page(conn: &mut RawConnection, fields: &str) -> io::Result<()> {
    let head = conn.read_head()?;
    let line = head.lines().next().unwrap_or_default();
    let body = format!("<p>https {line}");
    let length = body.len();
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n{fields}content-length: {length}\r\n\r\n{body}"
    ))
}

/// A TLS server for `site.test` and `www.site.test`, and the program with the file `hosts.txt` in its home.
struct Site {
    certs: Certs,
    server: RawServer,
    program: Program,
}

impl Site {
    fn start(handler: impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let certs = Certs::new();
        let server = RawServer::start_tls(&certs.valid, b"\x08http/1.1", handler);
        Self { certs, server, program: Program::new() }
    }

    fn run(&self, arguments: &[&str], url: &str) -> FinishedRun {
        let resolve = format!("*:{}:127.0.0.1", self.server.port());
        let fixed = ["fetch", "--retry", "0", "--cacert", self.certs.ca(), "--resolve", &resolve];
        self.program.run(fixed.iter().chain(arguments).chain(&[url]))
    }

    fn http_url(&self, host: &str) -> String {
        format!("http://{host}:{}/p", self.server.port())
    }

    fn write_file(&self, text: &str) {
        fs::write(self.program.home().join("hosts.txt"), text).expect("a file");
    }

    /// The lines of the file that are not comments.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.program.home().join("hosts.txt")).expect("a file");
        text.lines().filter(|line| !line.starts_with('#')).map(ToOwned::to_owned).collect()
    }
}

const FILE: [&str; 2] = ["--hsts", "hosts.txt"];

fn assert_https(run: &FinishedRun, line: &str) {
    assert_eq!(run.code, 0, "{run}");
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(text.contains(&format!("https {line}")), "{run}");
}

#[test]
fn http_urls_of_hosts_in_the_file_are_requested_over_https_on_every_tier() {
    let site = Site::start(|conn| page(conn, ""));
    let lines = "site.test \"20990101 00:00:00\"\n";
    for tier in ["plain", "impersonate", "browser"] {
        site.write_file(&format!("# Your HSTS cache.\n{lines}"));
        let arguments = [&FILE[..], &["--tier", tier]].concat();
        assert_https(&site.run(&arguments, &site.http_url("site.test")), "GET /p HTTP/1.1");
        assert_eq!(site.lines(), [lines.trim_end()], "the file is kept");
    }
    let run = site.run(&["--tier", "plain", "-d", "a=1", "--hsts", "hosts.txt"], &site.http_url("site.test"));
    assert_https(&run, "POST /p HTTP/1.1");
    for (arguments, host) in [
        (&["--tier", "plain"][..], "site.test"),
        (&["--tier", "plain", "--hsts", "hosts.txt"], "www.site.test"),
    ] {
        let run = site.run(arguments, &site.http_url(host));
        assert_ne!(run.code, 0, "{host} is requested over http: {run}");
    }
}

#[test]
fn hosts_are_added_and_removed_as_responses_say() {
    let is_removed = Arc::new(AtomicBool::new(false));
    let removing = Arc::clone(&is_removed);
    let site = Site::start(move |conn| {
        let age =
            if removing.load(Ordering::SeqCst) { "max-age=0" } else { "max-age=1000; includeSubDomains" };
        page(conn, &format!("strict-transport-security: {age}\r\nstrict-transport-security: max-age=9\r\n"))
    });
    let arguments = [&FILE[..], &["--tier", "plain"]].concat();
    let run = site.run(&arguments, &site.server.url("/").replace("127.0.0.1", "site.test"));
    assert_https(&run, "GET / HTTP/1.1");
    assert!(run.stderr.is_empty(), "a missing file is not an error: {run}");
    let lines = site.lines();
    assert!(lines.len() == 1 && lines[0].starts_with(".site.test \"20"), "{lines:?}");
    assert_https(&site.run(&arguments, &site.http_url("www.site.test")), "GET /p HTTP/1.1");
    assert_eq!(site.lines().len(), 2, "{:?}", site.lines());
    is_removed.store(true, Ordering::SeqCst);
    assert_https(&site.run(&arguments, &site.http_url("site.test")), "GET /p HTTP/1.1");
    let lines = site.lines();
    assert!(lines.len() == 1 && lines[0].starts_with(".www.site.test "), "{lines:?}");
    // An address is not a host, and without verification a response may come from anybody.
    is_removed.store(false, Ordering::SeqCst);
    site.write_file("");
    assert_https(&site.run(&arguments, &site.server.url("/")), "GET / HTTP/1.1");
    let insecure = [&arguments[..], &["-k"]].concat();
    assert_https(
        &site.run(&insecure, &site.server.url("/").replace("127.0.0.1", "site.test")),
        "GET / HTTP/1.1",
    );
    assert_eq!(site.lines(), [""; 0]);
}

#[test]
fn redirects_and_refreshes_to_known_hosts_are_upgraded_and_http_teaches_nothing() {
    let site = Site::start(|conn| page(conn, ""));
    let target = site.http_url("site.test");
    let http = RawServer::start(move |conn| {
        let head = conn.read_head()?;
        let fields =
            "strict-transport-security: max-age=1000\r\ncontent-type: text/html\r\nconnection: close\r\n";
        if head.starts_with("GET /refresh ") {
            let body = format!("<meta http-equiv=refresh content='0;url={target}'>");
            return conn
                .send(format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()));
        }
        conn.send(format!("HTTP/1.1 307 Redirect\r\n{fields}location: {target}\r\ncontent-length: 0\r\n\r\n"))
    });
    site.write_file("site.test \"unlimited\"\n");
    let from = |path: &str| format!("http://other.test:{}{path}", http.port());
    let resolve = format!("*:{}:127.0.0.1", http.port());
    for tier in ["plain", "impersonate"] {
        let arguments = [&FILE[..], &["--tier", tier, "--resolve", &resolve]].concat();
        assert_https(&site.run(&arguments, &from("/refresh")), "GET /p HTTP/1.1");
        assert_https(&site.run(&[&arguments[..], &["-d", "a=1"]].concat(), &from("/")), "POST /p HTTP/1.1");
        assert_eq!(site.lines(), ["site.test \"unlimited\""]);
    }
}

#[test]
fn a_batch_has_the_file_too_and_bad_lines_are_reported() {
    let site = Site::start(|conn| page(conn, "strict-transport-security: max-age=1000\r\n"));
    site.write_file("site.test \"unlimited\"\nhunter2\n");
    fs::write(site.program.home().join("urls"), format!("{}\n", site.http_url("site.test"))).unwrap();
    let resolve = format!("*:{}:127.0.0.1", site.server.port());
    let run = site.program.run([
        "batch",
        "urls",
        "--tier",
        "plain",
        "--hsts",
        "hosts.txt",
        "--cacert",
        site.certs.ca(),
        "--resolve",
        &resolve,
        "--robots",
        "ignore",
    ]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("skipped line 2 of hosts.txt: the date is missing"), "{run}");
    assert!(!run.stderr.contains("hunter2"), "{run}");
    let lines = site.lines();
    assert!(lines.len() == 1 && lines[0].starts_with("site.test \"20"), "{lines:?}");
}

#[test]
fn a_file_that_is_not_a_list_of_hosts_is_refused_and_kept() {
    let site = Site::start(|conn| page(conn, "strict-transport-security: max-age=1000\r\n"));
    for text in ["hunter2", "# x\nkey = 1\nother \"soon\"\n"] {
        site.write_file(text);
        let run = site.run(&FILE, &site.server.url("/").replace("127.0.0.1", "site.test"));
        assert_eq!(run.code, 3, "{run}");
        assert!(run.stderr.contains("hosts.txt has no line of an HSTS file"), "{run}");
        assert_eq!(fs::read_to_string(site.program.home().join("hosts.txt")).unwrap(), text);
        assert_eq!(site.server.connections(), 0, "nothing is sent");
    }
}
