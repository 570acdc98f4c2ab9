//! Secrets are not printed: in logs of the highest level, in errors, in JSON, in `Debug`.

use std::io;

use rungs::{Cookie, Fetcher, Proxy, Tier};

use crate::support::{
    self, Certs, FinishedRun, Microsocks, Nginx, Program, RawConnection, RawServer, Site, Squid,
};

/// The secrets that the user passes, and their encoded forms. None may be printed.
const SECRETS: [&str; 12] = [
    "hunter2",
    "swordfish",
    "janedoe",
    "t0ken",
    "c00kie",
    "p@ss:w/rd",
    "p%40ss",
    "traveller",
    // The parts of the base64 of janedoe:hunter2 and of traveller:p@ss:w/rd that do not depend on their position.
    "amFuZWRvZTpodW50ZXIy",
    "dHJhdmVsbGVyOnBAc3M6dy9yZA",
    "f1led",
    "s3nt",
];

fn assert_silent(run: &FinishedRun) {
    let text = run.to_string();
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// A run with the highest log level and a secret of every kind.
fn loud(program: &Program, ca: &str, proxy: &str, format: &str, url: &str) -> FinishedRun {
    std::fs::write(program.home().join("jar"), "127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tf1led\n")
        .expect("a file is written");
    program.run([
        "fetch",
        "-vvv",
        "--trace",
        "--retry",
        "0",
        "--max-tier",
        "impersonate",
        "--format",
        format,
        "--cacert",
        ca,
        "-x",
        proxy,
        "-H",
        "Authorization: Bearer t0ken",
        "-H",
        "X-Api-Key: swordfish",
        "-b",
        "mine=c00kie",
        "-b",
        "jar",
        "-d",
        "password=s3nt",
        url,
    ])
}

/// Responses for every outcome of a fetch that prints a message.
fn challenge_with_secrets(conn: &mut RawConnection) -> io::Result<()> {
    let head = conn.read_head()?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let path = path.rsplit('/').next().unwrap_or_default().to_owned();
    let (status, field) = match path.as_str() {
        "missing" => ("404 Not Found", "x: y"),
        "blocked" => ("403 Forbidden", "cf-mitigated: challenge"),
        "limited" => ("429 Too Many", "x: y"),
        "circle" => ("307 Again", "location: /circle"),
        "astray" => ("307 Astray", "location: http://janedoe:hunter2@[bad/"),
        "away" => ("307 Away", "location: ftp://janedoe:hunter2@127.0.0.1/"),
        "broken" => return conn.send("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"),
        "cut" => return conn.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx"),
        "silent" => return Ok(()),
        _ => ("200 OK", "x: y"),
    };
    conn.send(format!(
        "HTTP/1.1 {status}\r\n{field}\r\ncontent-length: 16\r\nconnection: close\r\n\r\n<title>x</title>"
    ))
}

#[test]
fn no_secret_is_printed_whatever_the_outcome_of_the_fetch() {
    let certs = Certs::new();
    let (squid, server) = (Squid::start(), RawServer::start(challenge_with_secrets));
    let program = Program::new();
    for path in
        ["page", "missing", "blocked", "limited", "circle", "astray", "away", "broken", "cut", "silent"]
    {
        for format in ["body", "json"] {
            let url = server.url(&format!("/{path}")).replace("//", "//janedoe:hunter2@");
            let run = loud(&program, certs.ca(), &squid.url(), format, &url);
            assert_silent(&run);
            assert!(run.stderr.contains("attempt"), "it did log\n{run}");
        }
    }
    assert!(
        server.heads().iter().any(|head| head.contains("amFuZWRvZTpodW50ZXIy") || head.contains("t0ken"))
    );
}

#[test]
fn no_secret_is_printed_over_tls_and_http_2() {
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start());
    let program = Program::new();
    for site in [Site::H2, Site::H1, Site::Expired] {
        for path in ["/page/hello", "/status/404", "/status/403", "/redirect/loop", "/redirect/bad"] {
            let url = nginx.url(site, path).replace("//", "//janedoe:hunter2@");
            assert_silent(&loud(&program, certs.ca(), &squid.url(), "json", &url));
        }
    }
    let wrong = squid.url_as("janedoe", "hunter2");
    for site in [Site::H2, Site::Clear] {
        assert_silent(&loud(&program, certs.ca(), &wrong, "body", &nginx.url(site, "/page/hello")));
    }
}

#[test]
fn no_secret_of_a_socks_proxy_or_of_its_own_flag_is_printed() {
    let certs = Certs::new();
    let (nginx, squid, socks) = (Nginx::start(&certs), Squid::start(), Microsocks::start("127.0.0.1"));
    let program = Program::new();
    let user = format!("{}:{}", Squid::USER, Squid::PASSWORD);
    for site in [Site::H2, Site::Clear] {
        let url = nginx.url(site, "/page/hello");
        for proxy in [socks.url("socks5"), socks.url_as("socks5h", "janedoe:hunter2")] {
            let run = loud(&program, certs.ca(), &proxy, "json", &url);
            assert_silent(&run);
            assert!(run.text().contains("socks5") && !run.to_string().contains(Microsocks::USER), "{run}");
        }
        let without_user = squid.url_without_user();
        for (user, code) in [(user.as_str(), 0), ("janedoe:hunter2", 1)] {
            let flags =
                ["fetch", "-vvv", "--trace", "--retry", "0", "--tier", "plain", "--cacert", certs.ca()];
            let by_flag = ["-x", &without_user, "--proxy-user", user, &url];
            let run = program.run(flags.into_iter().chain(by_flag));
            assert_eq!(run.code, code, "{run}");
            assert_silent(&run);
            let named = Program::new()
                .variable("ALL_PROXY", &without_user.replace("//", &format!("//{}@", "janedoe:hunter2")));
            assert_silent(&named.run(flags.into_iter().chain([url.as_str()])));
        }
    }
}

#[test]
fn no_secret_is_printed_when_the_command_line_is_wrong() {
    let program = Program::new();
    let ca = Certs::new();
    let good = "http://127.0.0.1:9/";
    for (proxy, url) in [
        ("http://janedoe:hunter2@[", good),
        ("http://janedoe:hunter2@127.0.0.1:9/path", good),
        ("socks5://janedoe:hunter2@127.0.0.1:9", good),
        ("socks4://janedoe:hunter2@127.0.0.1:9", good),
        ("https://janedoe:hunter2@127.0.0.1:9", good),
        ("janedoe:hunter2://127.0.0.1:9", good),
        ("janedoe:hunter2@127.0.0.1:99999", good),
        ("http://127.0.0.1:9", "http://janedoe:hunter2@[bad/"),
        ("http://127.0.0.1:9", "http://janedoe:hunter2@host:99999/"),
        ("http://127.0.0.1:9", "ftp://janedoe:hunter2@host/"),
        ("http://127.0.0.1:9", "janedoe:hunter2@host/"),
        ("http://127.0.0.1:9", "//janedoe:hunter2@host/"),
        ("http://127.0.0.1:9", "http://janedoe:hunter2@127.0.0.1:9/"),
    ] {
        for format in ["body", "json"] {
            let run = loud(&program, ca.ca(), proxy, format, url);
            assert_ne!(run.code, 0, "{run}");
            assert_silent(&run);
        }
    }
    let control = "Authorization: Bearer t0ken\u{7}";
    assert_silent(&program.run(["fetch", "-H", control, good]));
    assert_silent(&program.run(["fetch", "-H", "Bearer t0ken", good]));
    assert_silent(&program.run(["fetch", "-f", "-vvv", "http://janedoe:hunter2@127.0.0.1:9/"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_prints_no_secret() {
    let server = RawServer::start(support::answer("<title>x</title>"));
    let proxy: Proxy = "http://janedoe:hunter2@127.0.0.1:9".parse().expect("a proxy");
    let mut bounds = rungs::Limits::default();
    bounds.connect = std::time::Duration::from_secs(1);
    let builder = Fetcher::builder().proxy(proxy.clone()).max_tier(Tier::Plain).limits(bounds).retries(0);
    let fetcher = builder.clone().build().expect("good settings");
    let cookie = Cookie::session("session", "c00kie", "127.0.0.1");
    fetcher.identity().jar().insert(&cookie);
    let error =
        fetcher.get("http://janedoe:hunter2@127.0.0.1:9/").send().await.expect_err("no server listens there");
    let direct = Fetcher::builder().max_tier(Tier::Plain).build().expect("good settings");
    let page = direct
        .get(server.url("/").replace("//", "//janedoe:hunter2@"))
        .header("authorization", "Bearer t0ken")
        .send()
        .await
        .expect("a page");
    let all = format!(
        "{proxy:?} {proxy} {builder:?} {fetcher:?} {:?} {cookie:?} {:?} {error:?} {error} {} {:?} {page:?} {:?}",
        fetcher.identity(),
        fetcher.identity().jar(),
        error.chain(),
        error.trace(),
        page.trace(),
    );
    for secret in SECRETS {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}
