//! Handlers with bad responses for a [`RawServer`](super::raw::RawServer): `RawServer::start(truncated_body)`.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use flate2::write::GzEncoder;
use flate2::{Compress, Compression, FlushCompress};

use super::raw::RawConnection;

/// A correct response with `body`, then the connection closes. The control case for the others.
pub(crate) fn answer(body: &'static str) -> impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync {
    move |conn| {
        conn.read_head()?;
        let length = body.len();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }
}

/// Correct responses on one connection for as long as the client sends requests. The body has their number.
pub(crate) fn keep_answering(conn: &mut RawConnection) -> io::Result<()> {
    for number in 1_u32.. {
        conn.read_head()?;
        let body = format!("answer {number} on connection {}", conn.index);
        conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))?;
    }
    Ok(())
}

/// Returns the request's head as the body, with all headers unchanged.
pub(crate) fn echo_head(conn: &mut RawConnection) -> io::Result<()> {
    let head = conn.read_head()?;
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{head}",
        head.len()
    ))
}

/// Reads the request and never answers.
pub(crate) fn never_answers(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.hold_open()
}

/// Closes the connection without an answer.
pub(crate) fn closes_at_once(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head().map(drop)
}

/// Announces 1000 bytes, sends 100, closes.
pub(crate) fn truncated_body(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{}", "x".repeat(100)))
}

/// Announces 1000 bytes, sends 100, and stalls.
pub(crate) fn stalled_body(conn: &mut RawConnection) -> io::Result<()> {
    truncated_body(conn)?;
    conn.hold_open()
}

/// Chunks without the last one, then closes.
pub(crate) fn truncated_chunks(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
}

/// A content-length that is not a number.
pub(crate) fn content_length_is_no_number(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello")
}

/// Two content-lengths that contradict each other.
pub(crate) fn two_content_lengths(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!")
}

/// A body longer than its content-length.
pub(crate) fn content_length_too_small(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello and more")
}

/// Announces gzip, but sends an uncompressed body.
pub(crate) fn bad_gzip(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 11\r\n\r\nnot gzipped")
}

/// Truncated gzip with a correct content-length.
pub(crate) fn truncated_gzip(conn: &mut RawConnection) -> io::Result<()> {
    let mut packed = gzip(b"a page that ends too early, a page that ends too early");
    packed.truncate(packed.len() - 12);
    conn.read_head()?;
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    ))?;
    conn.send(packed)
}

/// Some 300 kB that decompress to 64 MiB. An unoptimized build needs longer than a client waits for more.
pub(crate) fn gzip_bomb(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    // One flushed block is repeated, since a client waits for the head while this is compressed. The checksum at the end
    // is beyond every limit.
    let (zeros, mut block) = (vec![0; 1 << 20], Vec::with_capacity(1 << 16));
    Compress::new(Compression::fast(), false).compress_vec(&zeros, &mut block, FlushCompress::Full)?;
    let mut packed = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    packed.extend(block.repeat(64));
    conn.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    ))?;
    conn.send(packed)
}

/// A body that never ends, as fast as the client reads.
pub(crate) fn endless_body(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")?;
    let block = vec![b'x'; 1 << 16];
    while !conn.is_stopping() {
        conn.send(&block)?;
    }
    Ok(())
}

/// Headers that never end.
pub(crate) fn header_flood(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\n")?;
    for number in 0_u64.. {
        if conn.is_stopping() {
            break;
        }
        conn.send(format!("x-flood-{number}: {}\r\n", "y".repeat(1000)))?;
    }
    Ok(())
}

/// One header line that never ends.
pub(crate) fn endless_header(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\nx-endless: ")?;
    while !conn.is_stopping() {
        conn.send([b'y'; 4096])?;
    }
    Ok(())
}

/// Interim answers (100) that never end.
pub(crate) fn endless_interim(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    while !conn.is_stopping() {
        conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    Ok(())
}

/// Not HTTP at all.
pub(crate) fn garbage(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send(b"\x00\xff\x13\x37 this is not HTTP\r\n\x1b[31mred\x07\r\n\r\n")
}

/// A status line with terminal escapes in its reason, and in a header.
pub(crate) fn terminal_escapes(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send(b"HTTP/1.1 404 \x1b]0;owned\x07\r\nx-colour: \x1b[31mred\r\ncontent-length: 5\r\n\r\n\x1b[31mx")
}

/// One byte of the body every 50 ms, 1000 bytes announced: never idle for long, never done in time.
pub(crate) fn slow_drip(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")?;
    for _ in 0..1000 {
        if conn.is_stopping() {
            break;
        }
        conn.send("x")?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// One byte of the head every 50 ms, without end.
pub(crate) fn dripping_head(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\nx-drip: ")?;
    while !conn.is_stopping() {
        conn.send("y")?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// 100, 102 and 103, and then the answer.
pub(crate) fn some_interim(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")?;
    conn.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n")?;
    conn.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello")
}

/// A body in chunks, and trailers that never end.
pub(crate) fn endless_trailers(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")?;
    while !conn.is_stopping() {
        conn.send(format!("x-more: {}\r\n", "y".repeat(1000)))?;
    }
    Ok(())
}

/// A chunk whose extension never ends.
pub(crate) fn endless_extension(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=")?;
    while !conn.is_stopping() {
        conn.send([b'y'; 4096])?;
    }
    Ok(())
}

/// A chunk whose size overflows an integer.
pub(crate) fn chunk_beyond_counting(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello")
}

/// Refuses a body before reading it.
pub(crate) fn refuses_the_body(conn: &mut RawConnection) -> io::Result<()> {
    conn.read_head()?;
    conn.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlarge")?;
    conn.hold_open()
}

/// Closes the first `times` connections without an answer, then answers `body`.
pub(crate) fn answers_after(
    times: usize,
    body: &'static str,
) -> impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync {
    move |conn| if conn.index < times { closes_at_once(conn) } else { answer(body)(conn) }
}

/// Compresses `bytes` with gzip.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).and_then(|()| packer.finish()).expect("a Vec takes all")
}
