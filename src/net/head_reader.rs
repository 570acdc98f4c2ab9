//! Reads the head of an HTTP/1 message. The servers of the program and of the lab and the browser's proxy use it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads a head with its blank line, of at most `max_bytes`. `received` are bytes that were read before. Returns the head
/// and the bytes after it.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if the head is larger, [`io::ErrorKind::UnexpectedEof`] if the stream ends before its
/// end, and errors of the stream.
pub async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    received: Vec<u8>,
    max_bytes: usize,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut head = received;
    let mut searched = 0_usize;
    loop {
        let from = searched.saturating_sub(END.len() - 1);
        let found = head[from..].windows(END.len()).position(|window| window == END);
        let end = found.map(|at| from + at + END.len());
        if end.unwrap_or(head.len()) > max_bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if let Some(end) = end {
            let rest = head.split_off(end);
            return Ok((head, rest));
        }
        searched = head.len();
        head.reserve(READ_BYTES);
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

const END: &[u8] = b"\r\n\r\n";
const READ_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_head_in_single_bytes_ends_at_its_blank_line() {
        let (mut client, mut server) = tokio::io::duplex(1);
        let sender = tokio::spawn(async move {
            let _ = client.write_all(b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody").await;
        });
        let (head, rest) = read_head(&mut server, Vec::new(), 100).await.unwrap();
        assert_eq!((head.as_slice(), rest.as_slice()), (&b"GET / HTTP/1.1\r\nA: b\r\n\r\n"[..], &b""[..]));
        drop(server);
        sender.await.unwrap();
    }

    #[tokio::test]
    async fn bytes_after_the_head_are_returned_and_start_the_next_one() {
        let mut stream = &b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nrest"[..];
        let (_, rest) = read_head(&mut stream, Vec::new(), 30).await.unwrap();
        let (head, rest) = read_head(&mut stream, rest, 30).await.unwrap();
        assert_eq!((head.as_slice(), rest.as_slice()), (&b"GET /2 HTTP/1.1\r\n\r\n"[..], &b"rest"[..]));
    }

    #[tokio::test]
    async fn a_large_head_and_an_early_end_are_errors() {
        let head = b"GET / HTTP/1.1\r\n\r\n";
        for (text, limit, expected) in [
            (&head[..], head.len(), None),
            (&head[..], head.len() - 1, Some(io::ErrorKind::InvalidData)),
            (&[b'x'; 5000][..], 4000, Some(io::ErrorKind::InvalidData)),
            (&head[..head.len() - 1], 100, Some(io::ErrorKind::UnexpectedEof)),
            (b"", 100, Some(io::ErrorKind::UnexpectedEof)),
        ] {
            let mut stream = text;
            let result = read_head(&mut stream, Vec::new(), limit).await;
            assert_eq!(result.err().map(|error| error.kind()), expected, "{} {limit}", text.len());
        }
    }
}
