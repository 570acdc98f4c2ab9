//! HTTP/2 servers with unusual or invalid behaviour, frame by frame.

use std::io;

use crate::support::{
    CONTINUATION, Certs, END_HEADERS, END_STREAM, FinishedRun, GOAWAY, HEADERS, PING, RST_STREAM,
    RawConnection, RawServer, STATUS_200, frame, read_request, rungs, start_http2,
};

/// How a server handles a request on a stream.
type Answer = fn(&mut RawConnection, u32) -> io::Result<()>;

/// Fetches two pages, one after the other, on both HTTP tiers.
fn fetch(
    handler: impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync + Clone + 'static,
) -> [FinishedRun; 2] {
    let certs = Certs::new();
    ["plain", "impersonate"].map(|tier| {
        let server = RawServer::start_tls(&certs.valid, b"\x02h2", handler.clone());
        let (one, two) = (server.url("/one"), server.url("/two"));
        rungs(["fetch", "--tier", tier, "--retry", "0", "-m", "5", "--cacert", certs.ca(), "-i", &one, &two])
    })
}

#[test]
fn any_header_table_size_works() {
    for size in [0, 1, 100, 4096, 65_536, 1 << 20, u32::MAX] {
        let runs = fetch(move |conn| {
            start_http2(conn, &[(1, size)])?;
            loop {
                let stream = read_request(conn)?;
                conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x89]))?;
            }
        });
        for run in runs {
            assert_eq!(run.code, 0, "{size}\n{run}");
            assert_eq!(run.text(), "HTTP/2 204\r\n\r\n".repeat(2), "{size}\n{run}");
        }
    }
}

#[test]
fn a_refused_stream_is_retried_on_a_new_connection() {
    let runs = fetch(|conn| {
        start_http2(conn, &[])?;
        loop {
            let stream = read_request(conn)?;
            if conn.index == 0 {
                conn.send(frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes()))?;
            } else {
                conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x89]))?;
            }
        }
    });
    for run in runs {
        assert_eq!(run.code, 0, "{run}");
    }
}

#[test]
fn after_goaway_a_new_connection_is_used() {
    let runs = fetch(|conn| {
        start_http2(conn, &[])?;
        let stream = read_request(conn)?;
        // Answers one request and processes no more.
        let mut last = stream.to_be_bytes().to_vec();
        last.extend_from_slice(&0_u32.to_be_bytes());
        conn.send(frame(GOAWAY, 0, 0, &last))?;
        conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x89]))?;
        conn.hold_open()
    });
    for run in runs {
        assert_eq!(run.code, 0, "{run}");
    }
}

#[test]
fn broken_frames_are_protocol_errors() {
    let cases: [(&str, Answer); 4] = [
        ("a frame on an idle stream", |conn, _| conn.send(frame(0, 0, 99, b"x"))),
        ("an invalid header block", |conn, stream| {
            conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))
        }),
        ("an error instead of an answer", |conn, stream| {
            conn.send(frame(RST_STREAM, 0, stream, &2_u32.to_be_bytes()))
        }),
        ("HTTP/1.1 in the middle", |conn, _| conn.send("HTTP/1.1 400 Bad Request\r\n\r\n")),
    ];
    for (name, answer) in cases {
        let runs = fetch(move |conn| {
            start_http2(conn, &[])?;
            let stream = read_request(conn)?;
            answer(conn, stream)?;
            conn.hold_open()
        });
        for run in runs {
            assert_eq!(run.code, 1, "{name}\n{run}");
            assert!(run.stderr.contains("protocol") || run.stderr.contains("HTTP/2"), "{name}\n{run}");
            assert!(!run.stderr.contains("panicked"), "{name}\n{run}");
        }
    }
}

#[test]
fn endless_header_blocks_are_cut_off() {
    let runs = fetch(|conn| {
        start_http2(conn, &[])?;
        let stream = read_request(conn)?;
        conn.send(frame(HEADERS, 0, stream, STATUS_200))?;
        let mut field = b"\x00\x01a\x7f\x81\x3e".to_vec();
        field.extend_from_slice(&[b'y'; 8000]);
        while !conn.is_stopping() {
            conn.send(frame(CONTINUATION, 0, stream, &field))?;
        }
        Ok(())
    });
    for run in runs {
        assert_eq!(run.code, 1, "{run}");
        assert!(!run.stderr.contains("took longer"), "bounded by size, not by time\n{run}");
    }
}

#[test]
fn a_flood_of_pings_ends_in_time() {
    let runs = fetch(|conn| {
        start_http2(conn, &[])?;
        read_request(conn)?;
        while !conn.is_stopping() {
            conn.send(frame(PING, 0, 0, &[0; 8]).repeat(100))?;
        }
        Ok(())
    });
    for run in runs {
        assert_eq!(run.code, 1, "{run}");
    }
}

#[test]
fn the_connection_opened_after_goaway_is_reused() {
    let certs = Certs::new();
    for tier in ["plain", "impersonate"] {
        let server = RawServer::start_tls(&certs.valid, b"\x02h2", |conn| {
            start_http2(conn, &[])?;
            loop {
                let stream = read_request(conn)?;
                conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x89]))?;
                if conn.index == 0 {
                    let last = [stream.to_be_bytes(), 0_u32.to_be_bytes()].concat();
                    conn.send(frame(GOAWAY, 0, 0, &last))?;
                }
            }
        });
        let urls: Vec<String> = (0..5).map(|number| server.url(&format!("/{number}"))).collect();
        let fixed = ["fetch", "--tier", tier, "--retry", "0", "--cacert", certs.ca()];
        let run = rungs(fixed.into_iter().chain(urls.iter().map(String::as_str)));
        assert_eq!((run.code, server.connections()), (0, 2), "{tier}\n{run}");
    }
}
