//! Certificates that are wrong in one way each, and `--insecure`.

use std::net::TcpListener;

use crate::support::{Certs, FinishedRun, Nginx, RawServer, Site, keep_answering, rungs};

fn fetch(arguments: &[&str]) -> FinishedRun {
    rungs(["fetch", "--max-tier", "impersonate"].into_iter().chain(arguments.iter().copied()))
}

/// The sites with wrong certificates, each with words of its error message.
const WRONG: [(Site, &str); 3] = [
    (Site::Expired, "has expired"),
    (Site::SelfSigned, "is self-signed"),
    (Site::WrongName, "is for another name"),
];

#[test]
fn a_wrong_certificate_is_a_tls_error_with_the_reason() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for tier in ["plain", "impersonate"] {
        for (site, words) in WRONG {
            let url = nginx.url(site, "/page/hello");
            let run = rungs(["fetch", "--tier", tier, "--cacert", certs.ca(), "--format", "json", &url]);
            assert_eq!(run.code, 1, "{site:?}\n{run}");
            let error = &run.json()["error"];
            assert_eq!(error["kind"], "tls", "{site:?}\n{run}");
            let message = error["message"].as_str().expect("a message");
            assert!(message.contains(words), "{site:?}: {message}");
            assert!(message.contains(&format!("127.0.0.1:{}", nginx.port(site))), "{message}");
            assert!(run.stderr.contains(words) && run.stderr.contains("hint: "), "{run}");
            assert_eq!(run.json()["attempts"].as_array().map(Vec::len), Some(1), "no retry, no climb\n{run}");
        }
    }
}

#[test]
fn a_name_is_checked_as_well_as_an_address() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let ask = |site, name: &str| {
        let resolve = nginx.resolve(site, name);
        fetch(&["--cacert", certs.ca(), "--resolve", &resolve, &nginx.url_by(site, name, "/page/hello")])
    };
    assert_eq!(ask(Site::H2, "site.test").code, 0);
    assert_eq!(ask(Site::WrongName, "elsewhere.test").code, 0);
    let run = ask(Site::H2, "elsewhere.test");
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stderr.contains("is for another name"), "{run}");
}

#[test]
fn an_unknown_authority_is_not_trusted_until_it_is_given() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let url = nginx.url(Site::H2, "/page/hello");
    let run = fetch(&["--format", "json", &url]);
    assert_eq!((run.code, run.json()["error"]["kind"].as_str()), (1, Some("tls")), "{run}");
    assert!(run.stderr.contains("not trusted"), "{run}");
    assert!(run.stderr.contains("--cacert"), "the hint names the way out\n{run}");
    let run = fetch(&["--cacert", certs.ca(), &url]);
    assert_eq!((run.code, run.stdout.clone()), (0, nginx.page("hello")), "{run}");
}

#[test]
fn insecure_takes_any_certificate() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for (site, _) in WRONG {
        for tier in ["plain", "impersonate"] {
            let url = nginx.url(site, "/page/hello");
            let run = rungs(["fetch", "--tier", tier, "-k", url.as_str()]);
            assert_eq!((run.code, run.stdout.clone()), (0, nginx.page("hello")), "{site:?}\n{run}");
        }
    }
}

#[test]
fn an_invalid_ca_file_is_a_config_error() {
    let certs = Certs::new();
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate\n").expect("a file is written");
    for file in [empty.to_str().expect("text"), "/nowhere/ca.pem"] {
        let run = fetch(&["--cacert", file, "https://127.0.0.1:9/"]);
        assert_eq!(run.code, 3, "{run}");
        assert!(run.stderr.contains(file) && run.stderr.contains("hint: "), "{run}");
    }
    drop(certs);
}

#[test]
fn a_port_without_tls_is_distinguished_from_a_bad_certificate() {
    let server = RawServer::start(|conn| {
        conn.send("HTTP/1.1 400 Bad Request\r\n\r\n")?;
        conn.hold_open()
    });
    let run = fetch(&["--retry", "0", "--format", "json", &server.url("/").replace("http:", "https:")]);
    assert_eq!((run.code, run.json()["error"]["kind"].as_str()), (1, Some("tls")), "{run}");
    assert!(!run.stderr.contains("certificate"), "{run}");
    assert!(run.stderr.contains("check that the port speaks TLS"), "{run}");

    // A server that closes during the handshake.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let server = std::thread::spawn(move || drop(listener.accept()));
    let run = fetch(&["--retry", "0", "--format", "json", &format!("https://127.0.0.1:{port}/")]);
    assert_eq!((run.code, run.json()["error"]["kind"].as_str()), (1, Some("tls")), "{run}");
    assert!(!run.stderr.contains("certificate"), "{run}");
    server.join().expect("the server ends");
}

#[test]
fn a_cleartext_request_to_a_tls_port_does_not_crash() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let url = nginx.url(Site::H2, "/page/hello").replace("https:", "http:");
    let run = fetch(&["--format", "json", &url]);
    assert_eq!((run.code, run.json()["status"].as_u64()), (0, Some(400)), "nginx says so in HTTP\n{run}");
}

#[test]
fn a_server_without_alpn_speaks_http_1() {
    let certs = Certs::new();
    for alpn in [&b""[..], b"\x08http/1.1"] {
        let server = RawServer::start_tls(&certs.valid, alpn, keep_answering);
        let (one, two) = (server.url("/1"), server.url("/2"));
        let run = fetch(&["--cacert", certs.ca(), "--tier", "plain", &one, &two]);
        // Two tiers are two clients; each keeps its own connection.
        assert_eq!(run.code, 2, "--tier and --max-tier exclude each other\n{run}");
        for tier in ["plain", "impersonate"] {
            let run = rungs(["fetch", "--tier", tier, "--cacert", certs.ca(), &one, &two]);
            assert_eq!(run.code, 0, "{run}");
            assert!(run.text().contains("answer 1 on") && run.text().contains("answer 2 on"), "{run}");
        }
        assert_eq!(server.connections(), 2);
    }
}
