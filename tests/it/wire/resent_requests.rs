//! When is a request sent again, on which connection, and which connection is not reused?

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::support::{
    Certs, DATA, END_HEADERS, END_STREAM, FinishedRun, GOAWAY, HEADERS, RST_STREAM, RawConnection, RawServer,
    STATUS_200, frame, read_request, rungs, start_http2,
};

const TIERS: [&str; 2] = ["plain", "impersonate"];
const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

/// Fetches `urls` one after the other on a tier, without retries of the router.
fn fetch(tier: &str, certs: &Certs, more: &[&str], urls: &[String]) -> FinishedRun {
    let fixed = ["fetch", "--tier", tier, "--retry", "0", "-m", "10", "--cacert", certs.ca()];
    rungs(fixed.into_iter().chain(more.iter().copied()).chain(urls.iter().map(String::as_str)))
}

fn http2_page(stream: u32) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, stream, STATUS_200), frame(DATA, END_STREAM, stream, b"hello")].concat()
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A header block of literals.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("the text is short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

#[test]
fn a_timeout_status_that_crosses_a_request_is_not_the_page() {
    let certs = Certs::new();
    for (tier, more) in TIERS.into_iter().flat_map(|tier| [(tier, &[][..]), (tier, &["-d", "a=b"])]) {
        let server = RawServer::start(|conn| {
            conn.read_head()?;
            conn.send(HELLO)?;
            if conn.index == 0 {
                // The request comes in, and the server has timed out already.
                conn.read_head()?;
                return conn.send(
                    "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate",
                );
            }
            conn.hold_open()
        });
        let run = fetch(tier, &certs, more, &[server.url("/one"), server.url("/two")]);
        assert_eq!(
            (run.code, run.text().as_str(), server.connections()),
            (0, "hellohello", 2),
            "{tier}\n{run}"
        );
    }
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        conn.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate")
    });
    let run = fetch("plain", &certs, &["-i"], &[server.url("/")]);
    assert!(run.text().starts_with("HTTP/1.1 408") && server.connections() == 1, "{run}");
}

#[test]
fn a_connection_is_not_reused_after_an_odd_response() {
    let certs = Certs::new();
    let odd = [
        "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 5\r\n\r\nhello",
        " HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
    ];
    let even =
        [HELLO, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-T: a\r\n\r\n"];
    for (response, connections) in odd.iter().map(|text| (*text, 2)).chain(even.map(|text| (text, 1))) {
        for tier in TIERS {
            let server = RawServer::start(move |conn| {
                loop {
                    conn.read_head()?;
                    conn.send(response)?;
                }
            });
            let run = fetch(tier, &certs, &[], &[server.url("/one"), server.url("/two")]);
            let got = (run.code, run.text(), server.connections());
            assert_eq!(got, (0, "hellohello".to_owned(), connections), "{tier} {response:?}\n{run}");
        }
    }
}

#[test]
fn framing_fields_are_shown_as_the_server_sent_them() {
    let certs = Certs::new();
    let server = RawServer::start(|conn| {
        conn.read_head()?;
        conn.send(
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\nX-A: a\r\nTransfer-Encoding: identity\r\n\r\nhello",
        )
    });
    let text = fetch("plain", &certs, &["-i"], &[server.url("/")]).text().to_ascii_lowercase();
    for line in ["content-length: +5\r\n", "transfer-encoding: identity\r\n", "x-a: a\r\n", "\r\n\r\nhello"] {
        assert!(text.contains(line), "{line:?}\n{text}");
    }
}

/// Fetches twice from an HTTP/2 server whose first connection handles a request by `first`. The others answer.
fn fetch_from_http2(
    more: &[&str],
    first: fn(&mut RawConnection, u32) -> io::Result<()>,
) -> [(FinishedRun, usize); 2] {
    let certs = Certs::new();
    TIERS.map(|tier| {
        let server = RawServer::start_tls(&certs.valid, b"\x02h2", move |conn| {
            start_http2(conn, &[])?;
            loop {
                let stream = read_request(conn)?;
                if conn.index == 0 {
                    first(conn, stream)?;
                } else {
                    conn.send(http2_page(stream))?;
                }
            }
        });
        let run = fetch(tier, &certs, more, &[server.url("/one"), server.url("/two")]);
        (run, server.connections())
    })
}

#[test]
fn a_stream_that_was_not_processed_is_sent_again() {
    for more in [&[][..], &["-d", "a=b"]] {
        for first in [
            (|conn, _| conn.send(goaway(0, 0))) as fn(&mut RawConnection, u32) -> io::Result<()>,
            |conn, _| conn.send(goaway(0, 2)),
            |conn, _| conn.send(goaway(0, 11)),
            |conn, stream| conn.send(frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes())),
        ] {
            for (run, connections) in fetch_from_http2(more, first) {
                assert_eq!((run.code, run.text().as_str(), connections), (0, "hellohello", 2), "{run}");
            }
        }
    }
}

#[test]
fn a_server_that_requires_http_1_gets_it_for_all_later_requests() {
    let certs = Certs::new();
    let refusals: [fn(u32) -> Vec<u8>; 3] = [
        |stream| frame(RST_STREAM, 0, stream, &0xd_u32.to_be_bytes()),
        |_| goaway(0, 0xd),
        |stream| goaway(stream, 0xd),
    ];
    for (tier, refusal) in TIERS.into_iter().flat_map(|tier| refusals.map(|refusal| (tier, refusal))) {
        let server = RawServer::start_tls(&certs.valid, b"\x02h2\x08http/1.1", move |conn| {
            if conn.index > 0 {
                loop {
                    conn.read_head()?;
                    conn.send(HELLO)?;
                }
            }
            start_http2(conn, &[])?;
            let stream = read_request(conn)?;
            conn.send(refusal(stream))?;
            conn.hold_open()
        });
        let run = fetch(tier, &certs, &["-d", "a=b"], &[server.url("/one"), server.url("/two")]);
        assert_eq!((run.code, run.text().as_str()), (0, "hellohello"), "{tier}\n{run}");
        assert_eq!((server.heads().len(), server.connections()), (2, 2), "{tier}");
    }
}

#[test]
fn fields_of_the_connection_and_a_wrong_length_do_not_fail_an_http_2_page() {
    let certs = Certs::new();
    for tier in TIERS {
        let server = RawServer::start_tls(&certs.valid, b"\x02h2", |conn| {
            start_http2(conn, &[])?;
            let stream = read_request(conn)?;
            let fields = [
                (":status", "200"),
                ("content-type", "text/plain"),
                ("content-length", "400"),
                ("connection", "keep-alive"),
                ("keep-alive", "timeout=5"),
                ("upgrade", "h2c"),
                ("x-last", "a\u{1}b"),
            ];
            conn.send(frame(HEADERS, END_HEADERS, stream, &block(&fields)))?;
            conn.send(frame(DATA, END_STREAM, stream, b"hello"))?;
            conn.hold_open()
        });
        let run = fetch(tier, &certs, &["-i"], &[server.url("/")]);
        let expected = "HTTP/2 200\r\ncontent-type: text/plain\r\ncontent-length: 400\r\nconnection: keep-alive\r\n\
                        keep-alive: timeout=5\r\nupgrade: h2c\r\nx-last: a b\r\n\r\nhello";
        assert_eq!((run.code, run.text().as_str()), (0, expected), "{tier}\n{run}");
    }
}

#[test]
fn a_response_without_status_and_an_unasked_switch_are_errors() {
    let certs = Certs::new();
    for tier in TIERS {
        for fields in [&[("content-type", "text/plain")][..], &[(":status", "101")]] {
            let server = RawServer::start_tls(&certs.valid, b"\x02h2", move |conn| {
                start_http2(conn, &[])?;
                let stream = read_request(conn)?;
                conn.send(frame(HEADERS, END_HEADERS, stream, &block(fields)))?;
                conn.send(frame(DATA, END_STREAM, stream, b"hello"))?;
                conn.hold_open()
            });
            let run = fetch(tier, &certs, &["--format", "json"], &[server.url("/")]);
            assert_eq!(run.json()["error"]["kind"], "protocol", "{tier} {fields:?}\n{run}");
        }
        let server = RawServer::start(|conn| {
            conn.read_head()?;
            conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello")
        });
        let run = fetch(tier, &certs, &["--format", "json"], &[server.url("/")]);
        assert_eq!(run.json()["error"]["kind"], "protocol", "{tier}\n{run}");
    }
}

/// `openssl s_server` with TLS 1.2, which renegotiates after a request and then answers.
struct RenegotiatingServer {
    process: Child,
    port: u16,
}

impl RenegotiatingServer {
    /// `command` is the letter by which s_server renegotiates: `r`, or `R` to ask for a certificate.
    fn start(certs: &Certs, command: &'static str) -> Self {
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-alpn", "http/1.1"])
            .arg("-cert")
            .arg(&certs.valid.chain)
            .arg("-key")
            .arg(&certs.valid.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut input = process.stdin.take().expect("it is piped");
        let port = loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).expect("s_server prints") > 0, "s_server ended");
            if let Some(port) = line.trim().strip_prefix("ACCEPT 127.0.0.1:") {
                break port.parse().expect("a port");
            }
        };
        thread::spawn(move || {
            let (mut printed, mut step) = (Vec::new(), 0);
            loop {
                let mut bytes = [0; 4096];
                let Ok(length @ 1..) = output.read(&mut bytes) else { return };
                printed.extend_from_slice(&bytes[..length]);
                let text = String::from_utf8_lossy(&printed);
                if step == 0 && text.contains("GET /") && text.contains("\n\r\n") {
                    step = 1;
                    let sent =
                        input.write_all(format!("{command}\n").as_bytes()).and_then(|()| input.flush());
                    if sent.is_err() {
                        return;
                    }
                }
                // Its next write completes the handshake.
                if step == 1 && text.contains("SSL_do_handshake") {
                    step = 2;
                    if input.write_all(HELLO.as_bytes()).and_then(|()| input.flush()).is_err() {
                        return;
                    }
                }
            }
        });
        Self { process, port }
    }
}

impl Drop for RenegotiatingServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_may_renegotiate_tls_1_2() {
    let certs = Certs::new();
    for (tier, command) in TIERS.into_iter().flat_map(|tier| [(tier, "r"), (tier, "R")]) {
        let server = RenegotiatingServer::start(&certs, command);
        let run = fetch(tier, &certs, &[], &[format!("https://127.0.0.1:{}/", server.port)]);
        assert_eq!((run.code, run.text().as_str()), (0, "hello"), "{tier} {command}\n{run}");
    }
}
