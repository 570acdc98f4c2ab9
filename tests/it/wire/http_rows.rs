//! The responses of `as_chromium_http.rs`.

use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use tokio::io::AsyncWriteExt;

/// A response, and why the HTTP tiers deliver something other than Chromium, if they do.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) response: Vec<u8>,
    pub(super) difference: Option<&'static str>,
}

/// The body of most rows, and bytes behind it that must not be read.
const PAGE: &str = "pagejunk";
const CLOSE: &str = "Connection: close\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n";
const STUB: Option<&str> = Some("an empty page with status 200 is a stub");
const CUT: Option<&str> = Some("data that was cut is an error, Chromium shows its beginning");

pub(super) async fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, lines) in FIELD_LINES {
        let head = format!("{OK}{lines}\r\nContent-Length: 4\r\n{CLOSE}{PAGE}");
        rows.push(row(format!("field line: {name}"), head.into_bytes()));
    }
    for line in STATUS_LINES {
        let head = format!("{line}\r\nContent-Type: text/html\r\nContent-Length: 4\r\n{CLOSE}{PAGE}");
        rows.push(row(format!("status line: {line:?}"), head.into_bytes()));
    }
    for lines in FRAMING {
        rows.push(row(format!("framing: {lines:?}"), format!("{OK}{lines}\r\n{CLOSE}{PAGE}").into_bytes()));
    }
    for lines in CHUNKED {
        let body = "4\r\npage\r\n0\r\n\r\n";
        rows.push(row(format!("framing: {lines:?}"), format!("{OK}{lines}\r\n{CLOSE}{body}").into_bytes()));
    }
    for body in CHUNKS {
        let response = format!("{OK}Transfer-Encoding: chunked\r\n{CLOSE}{body}").into_bytes();
        rows.push(row(format!("chunks: {body:?}"), response));
    }
    let fields: String = (0..900).map(|number| format!("X-{number}: v\r\n")).collect::<Vec<_>>().concat();
    rows.push(row(
        "900 fields".to_owned(),
        format!("{OK}{fields}Content-Length: 4\r\n{CLOSE}{PAGE}").into_bytes(),
    ));
    for head in [
        "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n",
        "http/1.2  102 X\r\nno colon\r\n\r\n",
        "HTTP/1.1 199 X\n\n",
    ] {
        let response = format!("{head}{OK}Content-Length: 4\r\n{CLOSE}{PAGE}").into_bytes();
        rows.push(row(format!("behind {head:?}"), response));
    }
    rows.push(row(
        "101".to_owned(),
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\npage".to_vec(),
    ));
    rows.extend(coded().await);
    rows
}

fn row(name: String, response: Vec<u8>) -> Row {
    Row { name, response, difference: None }
}

/// Lines between the status line and Content-Length.
const FIELD_LINES: [(&str, &str); 16] = [
    ("folded", "X-A: a\r\n\tb\r\n c"),
    ("folded white space", "X-A: a\r\n \t"),
    ("folded first", " X-A: a"),
    ("no colon", "no colon here"),
    ("no colon, folded", "no colon here\r\n folded: a"),
    ("a space before the colon", "X-A : a"),
    ("a tab before the colon", "X-A\t: a"),
    ("a name with a space", "X A: a"),
    ("an empty name", ": a"),
    ("a name above ASCII", "X-é: a"),
    ("a control character in a name", "X\u{1}A: a"),
    ("control characters in a value", "X-A: a\u{1}b\u{7f}"),
    ("NUL in a value", "X-A: a\0b"),
    ("NUL in a name", "X-\0A: a"),
    ("a CR alone", "X-A: a\rX-B: b"),
    ("two CR", "X-A: a\r"),
];

const STATUS_LINES: [&str; 23] = [
    "http/1.1 200 OK",
    "hTtP/1.1 200 OK",
    "HTTP/1.2 200 OK",
    "HTTP/2.0 200 OK",
    "HTTP/2 200 OK",
    "HTTP/0.9 200 OK",
    "HTTP 200 OK",
    "HTTP/1.1  200  OK",
    "HTTP/1.1\t200\tOK",
    "HTTP/1.1",
    "HTTP/1.1 OK",
    "HTTP/1.1 200",
    "HTTP/1.1 200OK",
    "HTTP/1.1 0200 OK",
    "HTTP/1.1 200 Très bien",
    "HTTP/1.1 200 O\u{1}K",
    "HTTP/1.1 200 O\0K",
    " HTTP/1.1 200 OK",
    "\r\nHTTP/1.1 200 OK",
    "abcdHTTP/1.1 200 OK",
    "abcdeHTTP/1.1 200 OK",
    "\u{feff}HTTP/1.1 200 OK",
    "SSH-2.0-OpenSSH_9",
];

const FRAMING: [&str; 25] = [
    "Content-Length: 4",
    "Content-Length: +4",
    "Content-Length:",
    "Content-Length: -4",
    "Content-Length: 4x",
    "Content-Length: 0x4",
    "Content-Length: 4.0",
    "Content-Length: \"4\"",
    "Content-Length: 4 \t",
    "Content-Length:\r\n 4",
    "Content-Length : 4",
    "Content-Length: 004",
    "Content-Length: 4, 4",
    "Content-Length: 4, 8",
    "Content-Length: 4\r\nContent-Length: 4",
    "Content-Length: 4\r\nContent-Length: 8",
    "Content-Length: 4\r\nContent-Length: +4",
    "Content-Length: 4\r\nContent-Length:",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: identity\r\nContent-Length: 4",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: xchunked\r\nContent-Length: 4",
    "Transfer-Encoding:\r\nContent-Length: 4",
    "Transfer-Encoding: chunked;x=1",
    "X-A: b\rContent-Length: 4",
];

const CHUNKED: [&str; 6] = [
    "Transfer-Encoding: CHUNKED",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 3",
    "Transfer-Encoding : chunked",
];

const CHUNKS: [&str; 23] = [
    "4\npage\n0\n\n",
    "4\r\npage\n0\r\n\r\n",
    "4\npage\r\n0\r\n\r\n",
    "4;a=b\npage\n0\n\n",
    "4;a=\"b;c\"\r\npage\r\n0;x\r\n\r\n",
    "4 ; a\r\npage\r\n0\r\n\r\n",
    "4  \r\npage\r\n0\r\n\r\n",
    "00000000000000000004\r\npage\r\n000\r\n\r\n",
    "4\r\npage\r\n0\r\nX-T: a\r\n\r\n",
    "4\r\npage\r\n0\r\nno colon\r\n folded\r\nX Y: a\r\n\r\n",
    "4\r\npage\r\n0\nX-T: a\n\n",
    "4\r\npage\r\n0\r\n\r\njunk",
    "4\r\npage0\r\n\r\n",
    "4\r\npagexx\r\n0\r\n\r\n",
    " 4\r\npage\r\n0\r\n\r\n",
    "0x4\r\npage\r\n0\r\n\r\n",
    "+4\r\npage\r\n0\r\n\r\n",
    "\r\n4\r\npage\r\n0\r\n\r\n",
    "4,\r\npage\r\n0\r\n\r\n",
    "fffffffffffffffff\r\npage\r\n0\r\n\r\n",
    "4\r\npage\r\n",
    "8\r\npage",
    "page",
];

macro_rules! encode {
    ($encoder:ident, $text:expr) => {
        encode!($encoder, $text, shutdown)
    };
    ($encoder:ident, $text:expr, $end:ident) => {{
        let mut encoder = $encoder::new(Vec::new());
        encoder.write_all($text).await.expect("a vector takes all");
        encoder.$end().await.expect("a vector takes all");
        encoder.into_inner()
    }};
}

/// A gzip stream of two parts, each flushed, without an end.
async fn flushed_twice(page: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    for part in [page, page] {
        encoder.write_all(part).await.expect("a vector takes all");
        encoder.flush().await.expect("a vector takes all");
    }
    encoder.into_inner()
}

/// Bodies with a content coding whose end is not as the format wants it.
async fn coded() -> Vec<Row> {
    let text = "the page, all of it. ".repeat(40);
    let page = text.as_bytes();
    let (gzip, zlib) = (encode!(GzipEncoder, page), encode!(ZlibEncoder, page));
    let (raw, br, zstd) =
        (encode!(DeflateEncoder, page), encode!(BrotliEncoder, page), encode!(ZstdEncoder, page));
    let cut = |bytes: &[u8], missing: usize| bytes[..bytes.len() - missing].to_vec();
    let with = |bytes: &[u8], behind: &[u8]| [bytes, behind].concat();
    let skipped = b"\x50\x2a\x4d\x18\x05\0\0\0hello";
    let mut rows = Vec::new();
    let mut add = |name: &str, coding: &str, body: Vec<u8>, difference| {
        let length = body.len();
        let head = format!("{OK}Content-Encoding: {coding}\r\nContent-Length: {length}\r\n{CLOSE}");
        let response = with(head.as_bytes(), &body);
        rows.push(Row { name: format!("{coding}: {name}"), response, difference });
    };
    add("whole", "gzip", gzip.clone(), None);
    add("white space behind", "gzip", with(&gzip, b"\n \n"), None);
    add("zeros behind", "gzip", with(&gzip, &[0; 10]), None);
    add("HTML behind", "gzip", with(&gzip, b"<!-- cached -->"), None);
    add("two members", "gzip", with(&gzip, &gzip), Some("all members are read (RFC 1952, section 2.2)"));
    add("a part of a member behind", "gzip", with(&gzip, &gzip[..10]), None);
    add("no trailer", "gzip", cut(&gzip, 8), None);
    add("a part of the trailer", "gzip", cut(&gzip, 3), None);
    add("wrong check sum", "gzip", with(&cut(&gzip, 8), &[1; 8]), None);
    let flushed = encode!(GzipEncoder, page, flush);
    add("flushed", "gzip", flushed.clone(), None);
    add("flushed, then cut in the next block", "gzip", with(&flushed, &gzip[10..20]), CUT);
    add("flushed twice", "gzip", flushed_twice(page).await, None);
    let identity =
        Some("`identity` changes nothing (RFC 9110, section 12.5.3), Chromium shows the gzip data");
    add("whole", "identity, gzip", gzip.clone(), identity);
    add("whole", "gzip, identity", gzip.clone(), identity);
    add("twice", "gzip, gzip", encode!(GzipEncoder, &gzip), None);
    add("whole", "identity", page.to_vec(), None);
    add("reserved flags", "gzip", with(&[&gzip[..3], &[0xe0]].concat(), &gzip[4..]), None);
    add("not gzip", "gzip", page.to_vec(), None);
    add("bytes before", "gzip", with(b"\r\n", &gzip), None);
    add("zlib", "gzip", zlib.clone(), None);
    add("empty", "gzip", Vec::new(), STUB);
    add("cut", "gzip", cut(&gzip, 14), CUT);
    add("cut in the header", "gzip", gzip[..6].to_vec(), CUT);
    add("whole", "x-gzip", gzip.clone(), None);
    add("unknown", "none", page.to_vec(), None);
    add("whole", "deflate", zlib.clone(), None);
    add("no check sum", "deflate", cut(&zlib, 4), None);
    add("bytes behind", "deflate", with(&zlib, b"\r\n"), None);
    add("flushed", "deflate", encode!(ZlibEncoder, page, flush), None);
    add("wrong check sum", "deflate", with(&cut(&zlib, 4), &[1; 4]), None);
    add("raw", "deflate", raw.clone(), None);
    add("raw, flushed", "deflate", encode!(DeflateEncoder, page, flush), None);
    add("raw, a line end behind", "deflate", with(&raw, b"\r\n"), None);
    add("raw, cut", "deflate", cut(&raw, 6), CUT);
    add("gzip", "deflate", gzip.clone(), None);
    add("whole", "br", br.clone(), None);
    add("bytes behind", "br", with(&br, b"<!-- -->"), None);
    add("flushed", "br", encode!(BrotliEncoder, page, flush), None);
    add("not brotli", "br", page.to_vec(), None);
    add("cut", "br", cut(&br, 3), CUT);
    add("whole", "zstd", zstd.clone(), None);
    add("two frames", "zstd", with(&zstd, &zstd), None);
    add("a skippable frame first", "zstd", with(skipped, &zstd), None);
    add("a skippable frame last", "zstd", with(&zstd, skipped), None);
    add("a skippable frame between", "zstd", with(&with(&zstd, skipped), &zstd), None);
    add("an empty frame first", "zstd", with(&encode!(ZstdEncoder, b""), &zstd), None);
    add("a skippable frame alone", "zstd", skipped.to_vec(), STUB);
    add("flushed", "zstd", encode!(ZstdEncoder, page, flush), None);
    add("bytes behind", "zstd", with(&zstd, b"<!-- cached -->"), None);
    add("not zstd", "zstd", page.to_vec(), None);
    add("cut", "zstd", cut(&zstd, 5), CUT);
    add("cut in the second frame's head", "zstd", with(&zstd, &zstd[..6]), CUT);
    rows
}
