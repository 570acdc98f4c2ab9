//! Tests of the test servers themselves.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use boring::ssl::{SslConnector, SslMethod, SslStream};

use super::*;

/// Opens a TLS connection to 127.0.0.1 that trusts the authority of `certs`.
fn tls(certs: &Certs, port: u16, alpn: &[u8]) -> Result<SslStream<TcpStream>, String> {
    let mut builder = SslConnector::builder(SslMethod::tls()).expect("BoringSSL starts");
    builder.set_ca_file(certs.ca()).expect("the authority is good");
    if !alpn.is_empty() {
        builder.set_alpn_protos(alpn).expect("ALPN is well formed");
    }
    let stream = connect(port);
    builder.build().connect("127.0.0.1", stream).map_err(|error| error.to_string())
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server accepts");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    stream
}

/// Sends a request and reads to the end of the connection.
fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("the request is taken");
    let mut answer = Vec::new();
    // A reset counts as the end too.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n{more}\r\n")
}

#[test]
fn nginx_offers_the_protocols_of_each_site() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    for (site, version, protocol) in [
        (Site::H2, "TLSv1.3", Some(b"h2".as_slice())),
        (Site::H1, "TLSv1.3", Some(b"http/1.1")),
        (Site::Tls12, "TLSv1.2", Some(b"h2")),
    ] {
        let stream = tls(&certs, nginx.port(site), b"\x02h2\x08http/1.1").expect("the certificate is good");
        assert_eq!(stream.ssl().version_str(), version, "{site:?}");
        assert_eq!(stream.ssl().selected_alpn_protocol(), protocol, "{site:?}");
    }
    for (site, reason) in
        [(Site::Expired, "expired"), (Site::SelfSigned, "self"), (Site::WrongName, "IP address mismatch")]
    {
        let error = tls(&certs, nginx.port(site), b"").map(|_| ()).expect_err("the certificate is bad");
        assert!(error.contains(reason), "{site:?}: {error}");
    }
}

#[test]
fn nginx_serves_its_pages() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let clear = |path: &str, more: &str| ask(connect(nginx.port(Site::Clear)), &get(path, more));
    assert!(clear("/page/10k", "").ends_with(&String::from_utf8(nginx.page("10k")).expect("it is text")));
    assert!(clear("/page/latin1", "").contains("charset=iso-8859-1"));
    assert!(clear("/gzip/700k", "Accept-Encoding: gzip\r\n").contains("Content-Encoding: gzip"));
    if nginx.has_brotli() {
        assert!(clear("/br/700k", "Accept-Encoding: br\r\n").contains("Content-Encoding: br"));
    }
    for status in [301, 302, 303, 307, 308] {
        let answer = clear(&format!("/redirect/{status}"), "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("/echo\r\n"), "{answer}");
    }
    for status in [204, 403, 404, 410, 429, 500, 503] {
        let answer = clear(&format!("/status/{status}"), "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(answer.contains("retry-after: 2"), matches!(status, 429 | 503), "{answer}");
    }
    assert!(clear("/redirect/chain/25", "").contains("/redirect/chain/24"));
    assert!(clear("/auth", "").contains("WWW-Authenticate: Basic realm=\"the reading room\""));
    // reader:open sesame
    assert!(clear("/auth", "Authorization: Basic cmVhZGVyOm9wZW4gc2VzYW1l\r\n").contains("<p>hello"));
    assert!(clear("/echo", "Cookie: a=b\r\n").contains("\ncookie: a=b\n"));
    assert_eq!(clear("/cookies/set", "").matches("set-cookie").count(), 7);
    let form =
        "POST /body HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\nContent-Length: 7\r\n\r\na=1&b=2";
    assert!(ask(connect(nginx.port(Site::Clear)), form).ends_with("a=1&b=2"));
    let visits = nginx.visits(20);
    assert_eq!((visits[0].uri.as_str(), visits[0].status, visits[0].tls.as_str()), ("/page/10k", 200, "-"));
}

#[test]
fn squid_requires_its_password_and_logs_the_user() {
    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let squid = Squid::start();
    let url = nginx.url_by(Site::Clear, "site.test", "/echo");
    let through = |head: &str, more: &str| {
        ask(
            connect(squid.port()),
            &format!("{head} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n{more}\r\n"),
        )
    };
    let refused = through(&format!("GET {url}"), "");
    assert!(refused.starts_with("HTTP/1.1 407 ") && refused.contains("Basic realm=\"rungs\""), "{refused}");
    // traveller:p@ss:w/rd
    let pass = "Proxy-Authorization: Basic dHJhdmVsbGVyOnBAc3M6dy9yZA==\r\n";
    let answer = through(&format!("GET {url}"), pass);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\nproxy-authorization: \n"), "squid keeps the password to itself: {answer}");

    let mut tunnel = connect(squid.port());
    let target = format!("site.test:{}", nginx.port(Site::H1));
    write!(tunnel, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{pass}\r\n")
        .expect("the request is taken");
    let mut head = [0; 12];
    tunnel.read_exact(&mut head).expect("squid answers");
    assert_eq!(&head, b"HTTP/1.1 200");
    drop(tunnel);

    let requests = squid.requests(3);
    let user = Some(Squid::USER.to_owned());
    let facts: Vec<_> = requests.iter().map(|p| (p.method.as_str(), p.status, p.user.clone())).collect();
    assert_eq!(facts, [("GET", 407, None), ("GET", 200, user.clone()), ("CONNECT", 200, user)]);
    assert_eq!(requests[2].target, target);
}

#[test]
fn servers_leave_nothing_behind() {
    let certs = Certs::new();
    let (nginx, squid) = (Nginx::start(&certs), Squid::start());
    let ports = [nginx.port(Site::H2), squid.port()];
    let folder = Path::new(certs.ca()).parent().expect("it is in a folder").to_owned();
    drop((certs, nginx, squid));
    for port in ports {
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "a server still listens");
    }
    assert!(!folder.exists());
    let shared = Path::new("/dev/shm").read_dir().into_iter().flatten().flatten();
    let service = format!("rungs{}-", ports[1]);
    let left: Vec<_> =
        shared.filter(|entry| entry.file_name().to_string_lossy().starts_with(&service)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_raw_server_sends_what_its_closure_sends() {
    let server = RawServer::start(answers_after(1, "second time lucky"));
    assert_eq!(ask(connect(server.port()), &get("/", "")), "");
    assert!(ask(connect(server.port()), &get("/x", "")).ends_with("second time lucky"));
    assert_eq!(server.connections(), 2);
    assert!(server.heads()[1].starts_with("GET /x HTTP/1.1\r\n"));
    // Endless responses end when the server is dropped.
    let servers =
        [RawServer::start(endless_body), RawServer::start(header_flood), RawServer::start(never_answers)];
    let mut clients = servers.each_ref().map(|server| connect(server.port()));
    for client in &mut clients {
        client.write_all(get("/", "").as_bytes()).expect("the request is taken");
    }
}

#[test]
fn a_raw_server_can_use_tls() {
    let certs = Certs::new();
    let server = RawServer::start_tls(&certs.valid, b"\x08http/1.1", truncated_body);
    let stream = tls(&certs, server.port(), b"\x02h2\x08http/1.1").expect("the certificate is good");
    assert_eq!(stream.ssl().selected_alpn_protocol(), Some(b"http/1.1".as_slice()));
    assert!(ask(stream, &get("/", "")).ends_with(&"x".repeat(100)));
}

#[test]
fn a_panic_in_a_raw_server_fails_the_test() {
    let server = Mutex::new(Some(RawServer::start(|_| panic!("a handler's panic, on purpose"))));
    let port = server.lock().expect("no other thread").as_ref().map_or(0, RawServer::port);
    ask(connect(port), "");
    let dropped = std::panic::catch_unwind(|| drop(server.lock().expect("no other thread").take()));
    assert!(dropped.is_err());
}

#[test]
#[should_panic(expected = "run `make deps`")]
fn a_missing_server_program_is_reported_with_how_to_install_it() {
    daemon::program("rungs-no-such-server");
}

#[test]
fn the_program_runs_in_a_home_of_its_own() {
    let program = Program::new().input("not read");
    let run = program.run(["--version"]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(program.leftover_files(), Vec::<std::path::PathBuf>::new());
}
