//! The faults, and what must come of each.

use std::io;
use std::thread;
use std::time::Duration;

use super::{Fault, Row, UNCHANGED, disconnect, goaway};
use crate::support::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, End, HEADERS, PING, PUSH_PROMISE, RST_STREAM,
    RawConnection, SETTINGS, STATUS_200, Site, WINDOW_UPDATE, frame,
};

/// Every fault there is a server or a relay for.
pub(super) fn rows() -> Vec<Row> {
    let ms = Duration::from_millis;
    let row = |name, fault, http, browser| Row { name, fault, flags: &[], http, browser };
    let mut rows = Vec::new();
    for (site, names) in [
        (
            Site::Clear,
            [
                "http: 150 ms late, 150 ms jitter",
                "http: 400 kB/s",
                "http: swallowed",
                "http: reset in the body",
                "http: half-close in the body",
                "http: silence in the body",
                "http: byte by byte",
            ],
        ),
        (
            Site::H1,
            [
                "tls: 150 ms late, 150 ms jitter",
                "tls: 400 kB/s",
                "tls: swallowed",
                "tls: reset in the body",
                "tls: half-close in the body",
                "tls: silence in the body",
                "tls: byte by byte",
            ],
        ),
        (
            Site::H2,
            [
                "h2: 150 ms late, 150 ms jitter",
                "h2: 400 kB/s",
                "h2: swallowed",
                "h2: reset in the body",
                "h2: half-close in the body",
                "h2: silence in the body",
                "h2: byte by byte",
            ],
        ),
    ] {
        let [late, slow, swallowed, reset, half, silent, bytes] = names;
        let large = |flow| Fault::Relay(site, "/page/700k", flow, UNCHANGED);
        // Chromium meets those over TLS with HTTP/2 alone: each takes it seconds.
        let row =
            |name, way, http, browser| row(name, way, http, if site == Site::H1 { "-" } else { browser });
        rows.extend([
            row(
                late,
                Fault::Relay(
                    site,
                    "/page/10k",
                    UNCHANGED.latency(ms(150), ms(150)),
                    UNCHANGED.latency(ms(150), ms(150)),
                ),
                "page",
                "page",
            ),
            row(slow, large(UNCHANGED.rate(400_000)), "page", "page"),
            row(swallowed, large(UNCHANGED.end_after(0, End::Silence)), "timeout", "timeout"),
            // A reset discards what was received and not read, on a busy machine all of it.
            row(reset, large(UNCHANGED.end_after(100_000, End::Reset)), "protocol", "protocol|connect"),
            row(half, large(UNCHANGED.end_after(100_000, End::HalfClose)), "protocol", "protocol"),
            row(silent, large(UNCHANGED.end_after(100_000, End::Silence)), "timeout", "timeout"),
            row(
                bytes,
                Fault::Relay(site, "/page/10k", UNCHANGED.segments(1, ms(0)), UNCHANGED.segments(1, ms(0))),
                "page",
                "page",
            ),
        ]);
    }
    rows.extend([
        row("no answer to SYN", Fault::FullBacklog, "timeout", "timeout"),
        row(
            "tls: reset in the handshake",
            Fault::Relay(Site::H2, "/page/10k", UNCHANGED.end_after(500, End::Reset), UNCHANGED),
            "tls",
            "connect",
        ),
        row(
            "tls: FIN in the handshake",
            Fault::Relay(Site::H2, "/page/10k", UNCHANGED.end_after(500, End::HalfClose), UNCHANGED),
            "tls",
            "connect",
        ),
        row(
            "tls: silence in the handshake",
            Fault::Relay(Site::H2, "/page/10k", UNCHANGED.end_after(500, End::Silence), UNCHANGED),
            "timeout",
            "timeout",
        ),
        row("closed without an answer", Fault::Http1(support::closes_at_once), "protocol", "protocol"),
        row("head drips", Fault::Http1(support::dripping_head), "timeout", "timeout"),
        row("body drips", Fault::Http1(support::slow_drip), "timeout", "timeout"),
        row("body stalls", Fault::Http1(support::stalled_body), "timeout", "timeout"),
        row("body shorter than announced", Fault::Http1(support::truncated_body), "protocol", "protocol"),
        row("chunks without an end", Fault::Http1(support::truncated_chunks), "protocol", "protocol"),
        row("chunk beyond counting", Fault::Http1(support::chunk_beyond_counting), "protocol", "protocol"),
        row("endless chunk extension", Fault::Http1(support::endless_extension), "protocol", "protocol"),
        row("endless trailers", Fault::Http1(support::endless_trailers), "protocol", "timeout"),
        row("garbage after the body", Fault::Http1(support::content_length_too_small), "page", "page"),
        row("garbage instead of an answer", Fault::Http1(support::garbage), "protocol", "-"),
        row("head of 200 fields and more", Fault::Http1(support::header_flood), "protocol", "protocol"),
        row("header without end", Fault::Http1(support::endless_header), "protocol", "protocol"),
        row("100, 102, 103, then 200", Fault::Http1(support::some_interim), "page", "page"),
        row("endless 100", Fault::Http1(support::endless_interim), "protocol", "timeout"),
        row("endless body", Fault::Http1(support::endless_body), "body_too_large", "-"),
        row("gzip bomb", Fault::Http1(support::gzip_bomb), "body_too_large", "-"),
        Row {
            name: "endless body, of 1 MiB at most",
            fault: Fault::Http1(support::endless_body),
            flags: &["--max-size", "1M"],
            http: "body_too_large",
            browser: "body_too_large",
        },
        row(
            "h2: GOAWAY, stream answered",
            Fault::Http2(&[], |conn, stream| {
                conn.send(goaway(stream, 0))?;
                conn.send(page(stream))?;
                conn.hold_open()
            }),
            "page",
            "page",
        ),
        row(
            "h2: GOAWAY in the body",
            Fault::Http2(&[], |conn, stream| {
                conn.send(frame(HEADERS, END_HEADERS, stream, STATUS_200))?;
                conn.send(frame(DATA, 0, stream, b"half"))?;
                conn.send(goaway(stream, 0))?;
                disconnect()
            }),
            "protocol",
            "protocol",
        ),
        row(
            "h2: GOAWAY, nothing heard, always",
            Fault::Http2(&[], |conn, _| {
                conn.send(goaway(0, 0))?;
                disconnect()
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: GOAWAY, enhance your calm",
            Fault::Http2(&[], |conn, stream| {
                conn.send(goaway(stream, 11))?;
                disconnect()
            }),
            "protocol",
            "connect",
        ),
        row(
            "h2: RST_STREAM instead of an answer",
            Fault::Http2(&[], |conn, stream| {
                conn.send(frame(RST_STREAM, 0, stream, &2_u32.to_be_bytes()))?;
                conn.hold_open()
            }),
            "protocol",
            "protocol",
        ),
        row(
            "h2: RST_STREAM in the body",
            Fault::Http2(&[], |conn, stream| {
                conn.send(frame(HEADERS, END_HEADERS, stream, STATUS_200))?;
                conn.send(frame(DATA, 0, stream, b"half"))?;
                conn.send(frame(RST_STREAM, 0, stream, &2_u32.to_be_bytes()))?;
                conn.hold_open()
            }),
            "protocol",
            "protocol",
        ),
        row(
            "h2: refused for ever",
            Fault::Http2(&[], |conn, stream| {
                conn.send(frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes()))?;
                conn.hold_open()
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: body stalls",
            Fault::Http2(&[], |conn, stream| {
                conn.send(frame(HEADERS, END_HEADERS, stream, STATUS_200))?;
                conn.hold_open()
            }),
            "timeout",
            "timeout",
        ),
        row(
            "h2: SETTINGS flood",
            Fault::Http2(&[], |conn, _| flood(conn, &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))),
            "protocol",
            "-",
        ),
        row(
            "h2: PING flood",
            Fault::Http2(&[], |conn, _| flood(conn, &frame(PING, 0, 0, &[0; 8]))),
            "protocol",
            "-",
        ),
        row(
            "h2: rapid reset",
            Fault::Http2(&[], |conn, stream| {
                conn.send(frame(HEADERS, END_HEADERS, stream, STATUS_200))?;
                flood(conn, &frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()))
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: CONTINUATION flood",
            Fault::Http2(&[], |conn, stream| {
                conn.send(frame(HEADERS, 0, stream, STATUS_200))?;
                flood(
                    conn,
                    &frame(CONTINUATION, 0, stream, &[&b"\x00\x01a\x7f\x81\x01"[..], &[b'y'; 256]].concat()),
                )
            }),
            "protocol",
            "timeout",
        ),
        row(
            "h2: empty CONTINUATION flood",
            Fault::Http2(&[], |conn, stream| {
                conn.send(frame(HEADERS, 0, stream, STATUS_200))?;
                flood(conn, &frame(CONTINUATION, 0, stream, &[]))
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: empty DATA flood",
            Fault::Http2(&[], |conn, stream| {
                conn.send(frame(HEADERS, END_HEADERS, stream, STATUS_200))?;
                flood(conn, &frame(DATA, 0, stream, &[]))
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: WINDOW_UPDATE flood",
            Fault::Http2(&[], |conn, _| flood(conn, &frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))),
            "protocol",
            "-",
        ),
        row(
            "h2: unknown frames flood",
            Fault::Http2(&[], |conn, _| flood(conn, &frame(0xbb, 0, 0, &[]))),
            "protocol",
            "-",
        ),
        row(
            "h2: endless 103",
            Fault::Http2(&[], |conn, stream| {
                flood(conn, &frame(HEADERS, END_HEADERS, stream, b"\x08\x03103"))
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: header bomb",
            Fault::Http2(&[], |conn, stream| {
                // A field of 4,000 bytes into the table, and then a byte each time for the whole of it.
                let mut block = b"\x88\x40\x01a\x7f\xa1\x1e".to_vec();
                block.extend_from_slice(&[b'y'; 4000]);
                block.extend_from_slice(&[0xbe; 12_000]);
                conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block))?;
                conn.hold_open()
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: unwanted push",
            Fault::Http2(&[], |conn, stream| {
                let promise = [&2_u32.to_be_bytes()[..], b"\x82\x87\x84"].concat();
                conn.send(frame(PUSH_PROMISE, END_HEADERS, stream, &promise))?;
                conn.hold_open()
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: window beyond counting",
            Fault::Http2(&[], |conn, _| {
                // On the connection: a stream that has been sent whole has no window any more.
                conn.send(frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()))?;
                conn.hold_open()
            }),
            "protocol",
            "protocol",
        ),
    ]);
    rows.extend([
        Row {
            name: "h2: zero window for an upload",
            fault: Fault::Http2(&[(4, 0)], |conn, _| conn.hold_open()),
            flags: &["-d", UPLOAD],
            http: "timeout",
            browser: "timeout",
        },
        Row {
            name: "h2: window opened late for an upload",
            fault: Fault::Http2(&[(4, 0)], |conn, stream| {
                thread::sleep(Duration::from_millis(300));
                conn.send(frame(WINDOW_UPDATE, 0, stream, &10_000_u32.to_be_bytes()))?;
                conn.send(page(stream))?;
                conn.hold_open()
            }),
            flags: &["-d", UPLOAD],
            http: "page",
            browser: "page",
        },
        Row {
            name: "http: reset while uploading",
            fault: Fault::Relay(Site::Clear, "/body", UNCHANGED.end_after(0, End::Reset), UNCHANGED),
            flags: &["-d", UPLOAD],
            http: "protocol",
            browser: "protocol",
        },
        Row {
            name: "http: 413 before the body came",
            fault: Fault::Http1(support::refuses_the_body),
            flags: &["-d", UPLOAD],
            http: "page",
            browser: "page",
        },
    ]);
    rows
}

const UPLOAD: &str = "some words to be sent up, and to be sent once";

fn page(stream: u32) -> Vec<u8> {
    [
        frame(HEADERS, END_HEADERS, stream, STATUS_200),
        frame(DATA, END_STREAM, stream, b"<title>a page</title>"),
    ]
    .concat()
}

/// The same frame for as long as the client lets it.
fn flood(conn: &mut RawConnection, one: &[u8]) -> io::Result<()> {
    let many = one.repeat(200);
    while !conn.is_stopping() {
        conn.send(&many)?;
    }
    Ok(())
}
