//! Every limit of an attempt, set through the library and reached.

use std::io;
use std::time::{Duration, Instant};

use rungs::{Error, ErrorKind, Fetcher, Limits, Response, Tier};

use crate::support::{
    self, Certs, END_HEADERS, END_STREAM, HEADERS, Nginx, RawConnection, RawServer, Site, WINDOW_UPDATE,
    frame, read_request, start_http2,
};

const SHORT: Duration = Duration::from_millis(300);

/// A plain fetch of `url` under changed bounds.
async fn fetch(url: &str, change: impl FnOnce(&mut Limits)) -> Result<Response, Error> {
    let mut bounds = Limits::default();
    change(&mut bounds);
    fetcher(bounds).get(url).send().await
}

fn fetcher(bounds: Limits) -> Fetcher {
    Fetcher::builder().max_tier(Tier::Plain).retries(0).limits(bounds).build().expect("good settings")
}

async fn fails(
    handler: impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync + 'static,
    change: impl FnOnce(&mut Limits),
) -> Error {
    let server = RawServer::start(handler);
    fetch(&server.url("/"), change).await.expect_err("the bound is run into")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_timeout_has_its_own_message() {
    let error = fails(support::never_answers, |bounds| bounds.first_byte = SHORT).await;
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Timeout, "timed out after 300ms waiting for the response headers")
    );
    let error = fails(support::never_answers, |bounds| bounds.http_total = SHORT).await;
    assert_eq!(error.to_string(), "the attempt timed out after 300ms");
    let error = fails(support::stalled_body, |bounds| bounds.read_idle = SHORT).await;
    assert_eq!(error.to_string(), "timed out reading the body: no data for 300ms");
    let error = fails(support::slow_drip, |bounds| bounds.http_total = SHORT).await;
    assert_eq!(error.to_string(), "timed out reading the body: the attempt's total time is over");

    let silent = RawServer::start(RawConnection::hold_open);
    let url = silent.url("/").replace("http:", "https:");
    let error = fetch(&url, |bounds| bounds.tls = SHORT).await.expect_err("no handshake");
    assert!(error.is_timeout() && error.to_string().contains("during the TLS handshake with"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn infinite_limits_do_not_crash() {
    let server = RawServer::start(support::answer("hello"));
    let url = server.url("/");
    let page = fetch(&url, |bounds| {
        bounds.dns = Duration::MAX;
        bounds.connect = Duration::MAX;
        bounds.first_byte = Duration::MAX;
        bounds.read_idle = Duration::MAX;
        bounds.http_total = Duration::MAX;
        bounds.fetch_total = Some(Duration::MAX);
        bounds.max_body = u64::MAX;
        bounds.max_header_fields = usize::MAX;
    });
    assert_eq!(page.await.expect("a page").bytes().as_ref(), b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_saved_to_a_file_is_limited_by_idle_time_alone() {
    // Twenty bytes in one second, far beyond the attempt's total timeout.
    let drip = |conn: &mut RawConnection| {
        conn.read_head()?;
        conn.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 20\r\n\r\n")?;
        for _ in 0..20 {
            conn.send("x")?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    };
    let server = RawServer::start(drip);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out");
    let bounds = {
        let mut bounds = Limits::default();
        bounds.http_total = SHORT;
        bounds
    };
    let page = fetcher(bounds).get(server.url("/")).save(&path).send().await.expect("it is saved");
    assert_eq!((page.body_len(), page.file()), (20, Some(path.as_path())));
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), "x".repeat(20));
    let error = fetcher(bounds).get(server.url("/")).send().await.expect_err("in memory it has a total");
    assert!(error.is_timeout(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn size_and_count_limits_hold_at_their_exact_value() {
    let server = RawServer::start(support::answer("hello"));
    assert!(fetch(&server.url("/"), |bounds| bounds.max_body = 5).await.is_ok());
    let error = fetch(&server.url("/"), |bounds| bounds.max_body = 4).await.expect_err("one byte too many");
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out");
    let bounds = {
        let mut bounds = Limits::default();
        bounds.max_file = 4;
        bounds
    };
    let error = fetcher(bounds).get(server.url("/")).save(&path).send().await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
    assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 0, "nothing is left");

    // Two fields: content-type and content-length.
    assert!(fetch(&server.url("/"), |bounds| bounds.max_header_fields = 2).await.is_ok());
    let error =
        fetch(&server.url("/"), |bounds| bounds.max_header_fields = 1).await.expect_err("one too many");
    assert_eq!(error.kind(), ErrorKind::Protocol);

    let certs = Certs::new();
    let nginx = Nginx::start(&certs);
    let chain = |steps: u32| nginx.url(Site::Clear, &format!("/redirect/chain/{steps}"));
    let page = fetch(&chain(3), |bounds| bounds.max_redirects = 3).await.expect("three are allowed");
    assert_eq!(page.redirects().len(), 3);
    assert_eq!(page.redirects()[0].url.as_str(), chain(3));
    let error = fetch(&chain(3), |bounds| bounds.max_redirects = 2).await.expect_err("one too many");
    assert_eq!((error.kind(), error.url()), (ErrorKind::Redirect, Some(chain(3).as_str())));
    let error = fetch(&chain(1), |bounds| bounds.max_redirects = 0).await.expect_err("none is allowed");
    assert_eq!(error.kind(), ErrorKind::Redirect);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nested_decompression_bomb_stops_at_the_limit_in_time() {
    let mut packed = vec![0; 64 << 20];
    for _ in 0..3 {
        packed = support::gzip(&packed);
    }
    let server = RawServer::start(move |conn| {
        conn.read_head()?;
        let length = packed.len();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip, gzip, gzip\r\ncontent-length: {length}\r\n\r\n"
        ))?;
        conn.send(&packed)
    });
    let started = Instant::now();
    let error = fetch(&server.url("/"), |_| {}).await.expect_err("it is too large");
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge, "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_passes_and_a_stalled_one_times_out() {
    let certs = Certs::new();
    // Longer than the limit in total, but no single wait is.
    let opens = |times: u32| {
        move |conn: &mut RawConnection| {
            start_http2(conn, &[(4, 0)])?;
            // The client has seen the window of the SETTINGS once it has this response.
            let first = read_request(conn)?;
            conn.send(frame(HEADERS, END_HEADERS | END_STREAM, first, &[0x89]))?;
            let stream = read_request(conn)?;
            for _ in 0..times {
                std::thread::sleep(SHORT * 4);
                conn.send(frame(WINDOW_UPDATE, 0, stream, &10_000_u32.to_be_bytes()))?;
            }
            if times == 6 {
                conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x89]))?;
            }
            conn.hold_open()
        }
    };
    for (times, passes) in [(6, true), (3, false)] {
        let server = RawServer::start_tls(&certs.valid, b"\x02h2", opens(times));
        let mut bounds = Limits::default();
        // Far above one wait, so that a busy machine does not reach it.
        bounds.first_byte = SHORT * 20;
        let fetcher = Fetcher::builder().max_tier(Tier::Plain).retries(0).limits(bounds).ca_file(certs.ca());
        let fetcher = fetcher.build().expect("good settings");
        fetcher.get(server.url("/")).send().await.expect("a response without a body");
        let sent = fetcher.request(http::Method::POST, server.url("/")).body(vec![b'x'; 60_000]).send().await;
        assert_eq!(
            sent.as_ref().map_err(Error::kind).err(),
            (!passes).then_some(ErrorKind::Timeout),
            "{sent:?}"
        );
    }
}
