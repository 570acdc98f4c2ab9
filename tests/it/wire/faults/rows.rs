//! The faults, and what must come of each.

use std::io;
use std::thread;
use std::time::Duration;

use super::{ALL, H2, Raw, Row, Through, Way, goaway, gone};
use crate::support::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, End, HEADERS, OK, PING, PUSH_PROMISE, RST_STREAM,
    SETTINGS, Site, Talk, WINDOW_UPDATE, frame,
};

/// Every fault there is a server or a relay for.
pub(super) fn rows() -> Vec<Row> {
    let ms = Duration::from_millis;
    let row = |name, way, http, browser| Row { name, way, flags: &[], http, browser };
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
        let large = |flow| Through(site, "/page/700k", flow, ALL);
        // Chromium meets those over TLS with HTTP/2 alone: each takes it seconds.
        let row =
            |name, way, http, browser| row(name, way, http, if site == Site::H1 { "-" } else { browser });
        rows.extend([
            row(
                late,
                Through(site, "/page/10k", ALL.late(ms(150), ms(150)), ALL.late(ms(150), ms(150))),
                "page",
                "page",
            ),
            row(slow, large(ALL.rate(400_000)), "page", "page"),
            row(swallowed, large(ALL.ends(0, End::Silence)), "timeout", "timeout"),
            row(reset, large(ALL.ends(100_000, End::Reset)), "protocol", "protocol"),
            row(half, large(ALL.ends(100_000, End::HalfClose)), "protocol", "protocol"),
            row(silent, large(ALL.ends(100_000, End::Silence)), "timeout", "timeout"),
            row(
                bytes,
                Through(site, "/page/10k", ALL.pieces(1, ms(0)), ALL.pieces(1, ms(0))),
                "page",
                "page",
            ),
        ]);
    }
    rows.extend([
        row("no answer to SYN", Way::Jam, "timeout", "timeout"),
        row(
            "tls: reset in the handshake",
            Through(Site::H2, "/page/10k", ALL.ends(500, End::Reset), ALL),
            "tls",
            "connect",
        ),
        row(
            "tls: FIN in the handshake",
            Through(Site::H2, "/page/10k", ALL.ends(500, End::HalfClose), ALL),
            "tls",
            "connect",
        ),
        row(
            "tls: silence in the handshake",
            Through(Site::H2, "/page/10k", ALL.ends(500, End::Silence), ALL),
            "timeout",
            "timeout",
        ),
        row("closed without an answer", Raw(support::closes_at_once), "protocol", "protocol"),
        row("head drips", Raw(support::dripping_head), "timeout", "timeout"),
        row("body drips", Raw(support::slow_drip), "timeout", "timeout"),
        row("body stalls", Raw(support::stalled_body), "timeout", "timeout"),
        row("body shorter than announced", Raw(support::truncated_body), "protocol", "protocol"),
        row("chunks without an end", Raw(support::truncated_chunks), "protocol", "protocol"),
        row("chunk beyond counting", Raw(support::chunk_beyond_counting), "protocol", "protocol"),
        row("endless chunk extension", Raw(support::endless_extension), "protocol", "protocol"),
        row("endless trailers", Raw(support::endless_trailers), "protocol", "timeout"),
        row("garbage after the body", Raw(support::content_length_too_small), "page", "page"),
        row("garbage instead of an answer", Raw(support::garbage), "protocol", "-"),
        row("head of 200 fields and more", Raw(support::header_flood), "protocol", "protocol"),
        row("header without end", Raw(support::endless_header), "protocol", "protocol"),
        row("100, 102, 103, then 200", Raw(support::some_interim), "page", "page"),
        row("endless 100", Raw(support::endless_interim), "protocol", "timeout"),
        row("endless body", Raw(support::endless_body), "body_too_large", "-"),
        row("gzip bomb", Raw(support::gzip_bomb), "body_too_large", "-"),
        Row {
            name: "endless body, of 1 MiB at most",
            way: Raw(support::endless_body),
            flags: &["--max-size", "1M"],
            http: "body_too_large",
            browser: "body_too_large",
        },
        row(
            "h2: GOAWAY, stream answered",
            H2(&[], |talk, stream| {
                talk.send(goaway(stream, 0))?;
                talk.send(page(stream))?;
                talk.hold()
            }),
            "page",
            "page",
        ),
        row(
            "h2: GOAWAY in the body",
            H2(&[], |talk, stream| {
                talk.send(frame(HEADERS, END_HEADERS, stream, OK))?;
                talk.send(frame(DATA, 0, stream, b"half"))?;
                talk.send(goaway(stream, 0))?;
                gone()
            }),
            "protocol",
            "protocol",
        ),
        row(
            "h2: GOAWAY, nothing heard, always",
            H2(&[], |talk, _| {
                talk.send(goaway(0, 0))?;
                gone()
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: GOAWAY, enhance your calm",
            H2(&[], |talk, stream| {
                talk.send(goaway(stream, 11))?;
                gone()
            }),
            "protocol",
            "connect",
        ),
        row(
            "h2: RST_STREAM instead of an answer",
            H2(&[], |talk, stream| {
                talk.send(frame(RST_STREAM, 0, stream, &2_u32.to_be_bytes()))?;
                talk.hold()
            }),
            "protocol",
            "protocol",
        ),
        row(
            "h2: RST_STREAM in the body",
            H2(&[], |talk, stream| {
                talk.send(frame(HEADERS, END_HEADERS, stream, OK))?;
                talk.send(frame(DATA, 0, stream, b"half"))?;
                talk.send(frame(RST_STREAM, 0, stream, &2_u32.to_be_bytes()))?;
                talk.hold()
            }),
            "protocol",
            "protocol",
        ),
        row(
            "h2: refused for ever",
            H2(&[], |talk, stream| {
                talk.send(frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes()))?;
                talk.hold()
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: body stalls",
            H2(&[], |talk, stream| {
                talk.send(frame(HEADERS, END_HEADERS, stream, OK))?;
                talk.hold()
            }),
            "timeout",
            "timeout",
        ),
        row(
            "h2: SETTINGS flood",
            H2(&[], |talk, _| flood(talk, &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))),
            "protocol",
            "-",
        ),
        row("h2: PING flood", H2(&[], |talk, _| flood(talk, &frame(PING, 0, 0, &[0; 8]))), "protocol", "-"),
        row(
            "h2: rapid reset",
            H2(&[], |talk, stream| {
                talk.send(frame(HEADERS, END_HEADERS, stream, OK))?;
                flood(talk, &frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()))
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: CONTINUATION flood",
            H2(&[], |talk, stream| {
                talk.send(frame(HEADERS, 0, stream, OK))?;
                flood(
                    talk,
                    &frame(CONTINUATION, 0, stream, &[&b"\x00\x01a\x7f\x81\x01"[..], &[b'y'; 256]].concat()),
                )
            }),
            "protocol",
            "timeout",
        ),
        row(
            "h2: empty CONTINUATION flood",
            H2(&[], |talk, stream| {
                talk.send(frame(HEADERS, 0, stream, OK))?;
                flood(talk, &frame(CONTINUATION, 0, stream, &[]))
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: empty DATA flood",
            H2(&[], |talk, stream| {
                talk.send(frame(HEADERS, END_HEADERS, stream, OK))?;
                flood(talk, &frame(DATA, 0, stream, &[]))
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: WINDOW_UPDATE flood",
            H2(&[], |talk, _| flood(talk, &frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))),
            "protocol",
            "-",
        ),
        row(
            "h2: unknown frames flood",
            H2(&[], |talk, _| flood(talk, &frame(0xbb, 0, 0, &[]))),
            "protocol",
            "-",
        ),
        row(
            "h2: endless 103",
            H2(&[], |talk, stream| flood(talk, &frame(HEADERS, END_HEADERS, stream, b"\x08\x03103"))),
            "protocol",
            "-",
        ),
        row(
            "h2: header bomb",
            H2(&[], |talk, stream| {
                // A field of 4,000 bytes into the table, and then a byte each time for the whole of it.
                let mut block = b"\x88\x40\x01a\x7f\xa1\x1e".to_vec();
                block.extend_from_slice(&[b'y'; 4000]);
                block.extend_from_slice(&[0xbe; 12_000]);
                talk.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block))?;
                talk.hold()
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: pushed what nobody wants",
            H2(&[], |talk, stream| {
                let promise = [&2_u32.to_be_bytes()[..], b"\x82\x87\x84"].concat();
                talk.send(frame(PUSH_PROMISE, END_HEADERS, stream, &promise))?;
                talk.hold()
            }),
            "protocol",
            "-",
        ),
        row(
            "h2: window beyond counting",
            H2(&[], |talk, _| {
                // On the connection: a stream that has been sent whole has no window any more.
                talk.send(frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()))?;
                talk.hold()
            }),
            "protocol",
            "protocol",
        ),
    ]);
    rows.extend([
        Row {
            name: "h2: zero window for an upload",
            way: H2(&[(4, 0)], |talk, _| talk.hold()),
            flags: &["-d", UPLOAD],
            http: "timeout",
            browser: "timeout",
        },
        Row {
            name: "h2: window opened late for an upload",
            way: H2(&[(4, 0)], |talk, stream| {
                thread::sleep(Duration::from_millis(300));
                talk.send(frame(WINDOW_UPDATE, 0, stream, &10_000_u32.to_be_bytes()))?;
                talk.send(page(stream))?;
                talk.hold()
            }),
            flags: &["-d", UPLOAD],
            http: "page",
            browser: "page",
        },
        Row {
            name: "http: reset while uploading",
            way: Through(Site::Clear, "/body", ALL.ends(0, End::Reset), ALL),
            flags: &["-d", UPLOAD],
            http: "protocol",
            browser: "protocol",
        },
        Row {
            name: "http: 413 before the body came",
            way: Raw(support::refuses_the_body),
            flags: &["-d", UPLOAD],
            http: "page",
            browser: "page",
        },
    ]);
    rows
}

const UPLOAD: &str = "some words to be sent up, and to be sent once";

fn page(stream: u32) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, stream, OK), frame(DATA, END_STREAM, stream, b"<title>a page</title>")]
        .concat()
}

/// The same frame for as long as the client lets it.
fn flood(talk: &mut Talk, one: &[u8]) -> io::Result<()> {
    let many = one.repeat(200);
    while !talk.stopping() {
        talk.send(&many)?;
    }
    Ok(())
}
