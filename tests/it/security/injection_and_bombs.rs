//! Promises of SECURITY.md that no other file tests: no injection, no endless decompression, no cookie for a public
//! suffix, and no redirect to a file.

use std::io;

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use rungs::{ErrorKind, Fetcher, Tier};
use tokio::io::AsyncWriteExt;

use crate::support::{
    self, Certs, END_HEADERS, END_STREAM, HEADERS, Program, RawConnection, RawServer, frame, read_request,
    rungs, start_http2,
};

const TIERS: &[&str] =
    if cfg!(feature = "browser") { &["plain", "impersonate", "browser"] } else { &["plain", "impersonate"] };

#[tokio::test]
async fn no_header_can_be_injected_through_the_library() {
    let server = RawServer::start(support::echo_head);
    let fetcher = Fetcher::builder().max_tier(Tier::Plain).retries(0).build().expect("good settings");
    for bad in ["a\r\nx-evil: 1", "a\nx-evil: 1", "a\rx-evil: 1", "a\0b", "\u{7f}"] {
        for name in ["x-mine", "user-agent", "cookie", "referer", "authorization"] {
            let error = fetcher.get(server.url("/")).header(name, bad).send().await.expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{name} {bad:?}: {error:?}");
        }
        let error = fetcher.get(server.url("/")).header(bad, "x").send().await.expect_err(bad);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{bad:?}: {error:?}");
    }
    assert_eq!(server.connections(), 0, "nothing of it is sent");
    let page = fetcher.get(format!("{}a\0b\r\nx-evil: 1", server.url("/"))).send().await;
    let head = page.map(|page| page.text().expect("text").to_lowercase()).unwrap_or_default();
    assert!(!head.contains("\r\nx-evil"), "{head}");
}

#[test]
fn no_header_can_be_injected_by_cookie_target_or_proxy_user() {
    let server = RawServer::start(support::echo_head);
    let url = server.url("/");
    let run = rungs(["fetch", "--tier", "plain", "-b", "a=b\r\nx-evil: 1", &url]);
    assert_eq!(run.code, 2, "{run}");
    let program = Program::new();
    std::fs::write(program.home().join("jar"), "127.0.0.1\tFALSE\t/\tFALSE\t0\tname\tva\rx-evil: 1\n")
        .expect("a file");
    let run = program.run(["fetch", "--tier", "plain", "-b", "jar", &url]);
    assert!(!run.text().contains("x-evil"), "{run}");
    std::fs::write(
        program.home().join("site.toml"),
        "hosts = [\"127.0.0.1\"]\n[request.headers]\nx-mine = \"a\\r\\nx-evil: 1\"\n",
    )
    .expect("a file");
    let run = program.run(["fetch", "--tier", "plain", "--target", "site.toml", &url]);
    assert!(run.code != 0 && run.stdout.is_empty(), "{run}");
    // The proxy user is sent in base64, whatever it contains.
    let proxy = RawServer::start(support::echo_head);
    let address = proxy.url("").replace("http://", "http://a%0d%0ax-evil:%201:b%0d%0ax-evil@");
    let run = rungs(["fetch", "--tier", "plain", "--retry", "0", "-x", &address, "http://site.test/"]);
    for head in proxy.heads() {
        assert!(!head.to_lowercase().contains("\r\nx-evil"), "{head}");
    }
    assert!(!run.to_string().contains("\r\nx-evil"), "{run}");
    for head in server.heads() {
        assert!(!head.to_lowercase().contains("\r\nx-evil"), "{head}");
    }
}

#[test]
fn a_response_cannot_be_split_or_smuggle_another() {
    let certs = Certs::new();
    let evil: [&[u8]; 4] = [b"a\r\nset-cookie: evil=1", b"a\nset-cookie: evil=1", b"a\0b", b"a\r"];
    for value in evil {
        let mut block = b"\x88\x00\x01x".to_vec();
        block.push(u8::try_from(value.len()).expect("it is short"));
        block.extend_from_slice(value);
        let server = RawServer::start_tls(&certs.valid, b"\x02h2", move |conn| {
            start_http2(conn, &[])?;
            loop {
                let stream = read_request(conn)?;
                conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block))?;
            }
        });
        for tier in &TIERS[..2] {
            let run = rungs([
                "fetch",
                "--tier",
                tier,
                "--retry",
                "0",
                "-i",
                "--cacert",
                certs.ca(),
                &server.url("/"),
            ]);
            assert_eq!(run.code, 1, "{value:?}\n{run}");
            assert!(!run.text().contains("set-cookie"), "{run}");
        }
    }
    // Two contradicting lengths: bytes after the shorter one belong to no response.
    let server = RawServer::start(|conn: &mut RawConnection| {
        conn.read_head()?;
        conn.send(
            "HTTP/1.1 200 OK\r\ncontent-length: 60\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        )?;
        conn.hold_open()
    });
    for tier in &TIERS[..2] {
        let run =
            rungs(["fetch", "--tier", tier, "--retry", "0", "-m", "5", &server.url("/1"), &server.url("/2")]);
        assert!(!run.text().contains("evil"), "{run}");
    }
}

#[test]
fn a_redirect_reads_no_file_on_any_tier() {
    for target in
        ["file:///etc/passwd", "file://localhost/etc/passwd", "ftp://127.0.0.1/", "javascript:alert(1)"]
    {
        let server = RawServer::start(move |conn: &mut RawConnection| -> io::Result<()> {
            conn.read_head()?;
            conn.send(format!(
                "HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            ))
        });
        for tier in TIERS {
            let run = rungs(["fetch", "--tier", tier, "--retry", "0", &server.url("/")]);
            // Chromium hands unknown schemes to the system, which has no handler here.
            let expected =
                if *tier == "browser" && !target.starts_with("file:") { &[1, 6][..] } else { &[6] };
            assert!(expected.contains(&run.code) && run.stdout.is_empty(), "{tier} {target}\n{run}");
            assert!(!run.to_string().contains("root:x:"), "{run}");
        }
    }
}

#[test]
fn no_cookie_is_set_for_a_public_suffix() {
    let server = RawServer::start(|conn: &mut RawConnection| {
        loop {
            let head = conn.read_head()?;
            let host =
                head.lines().find_map(|line| line.strip_prefix("Host: ").or(line.strip_prefix("host: ")));
            let host = host.unwrap_or_default().split(':').next().unwrap_or_default();
            let suffix = host.split_once('.').map_or("", |(_, suffix)| suffix);
            let body = format!("<pre>{head}</pre>");
            conn.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nset-cookie: wide=1; Domain={suffix}; Path=/\r\n\
                 set-cookie: own=1; Path=/\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ))?;
        }
    });
    let port = server.port();
    for suffix in ["co.uk", "github.io", "test"] {
        let (one, two) = (format!("one.{suffix}"), format!("two.{suffix}"));
        let known = [&one, &two].map(|host| format!("{host}:{port}:127.0.0.1"));
        let urls = [&one, &one, &two].map(|host| format!("http://{host}:{port}/"));
        for tier in TIERS {
            let fixed = ["fetch", "--tier", tier, "--resolve", &known[0], "--resolve", &known[1]];
            let run = rungs(fixed.into_iter().chain(urls.iter().map(String::as_str)));
            assert_eq!(run.code, 0, "{run}");
            let text = run.text().to_lowercase();
            assert!(text.contains("own=1"), "cookies are kept\n{run}");
            assert!(!text.contains("wide=1"), "{tier} {suffix}\n{run}");
        }
    }
    // Control: a cookie for a domain that is not a public suffix is shared.
    let known = ["one.shop.test", "two.shop.test"].map(|host| format!("{host}:{port}:127.0.0.1"));
    let urls = ["one", "two"].map(|host| format!("http://{host}.shop.test:{port}/"));
    let run = rungs([
        "fetch",
        "--tier",
        "plain",
        "--resolve",
        &known[0],
        "--resolve",
        &known[1],
        &urls[0],
        &urls[1],
    ]);
    assert!(run.text().contains("wide=1"), "{run}");
}

/// 16 MiB of zeros, compressed with `codings` in their order.
async fn bomb(codings: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0; 16 << 20];
    for coding in codings {
        macro_rules! pack {
            ($encoder:ident) => {{
                let mut encoder = $encoder::with_quality(Vec::new(), async_compression::Level::Fastest);
                encoder.write_all(&bytes).await.expect("a Vec takes all");
                encoder.shutdown().await.expect("a Vec takes all");
                encoder.into_inner()
            }};
        }
        bytes = match *coding {
            "gzip" => pack!(GzipEncoder),
            "br" => pack!(BrotliEncoder),
            "zstd" => pack!(ZstdEncoder),
            _ => pack!(ZlibEncoder),
        };
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decompression_bomb_of_every_coding_and_nesting_stops_at_the_limit() {
    for codings in [
        &["gzip"][..],
        &["deflate"],
        &["br"],
        &["zstd"],
        &["zstd", "gzip"],
        &["gzip", "br"],
        &["br", "zstd", "gzip"],
    ] {
        let packed = bomb(codings).await;
        assert!(packed.len() < 1 << 20, "{codings:?}: {} bytes are no bomb", packed.len());
        let named = codings.join(", ");
        let server = RawServer::start(move |conn: &mut RawConnection| {
            conn.read_head()?;
            let length = packed.len();
            conn.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-encoding: {named}\r\ncontent-length: {length}\r\n\r\n"
            ))?;
            conn.send(&packed)
        });
        for tier in [Tier::Plain, Tier::Impersonate] {
            let mut bounds = rungs::Limits::default();
            bounds.max_body = 1 << 20;
            let fetcher = Fetcher::builder().retries(0).limits(bounds).build().expect("good settings");
            let error = fetcher.get(server.url("/")).tier(tier).send().await.expect_err("it is too large");
            assert_eq!(error.kind(), ErrorKind::BodyTooLarge, "{codings:?}: {error:?}");
        }
    }
}
