//! Response bodies: idle timeout, content decoding and size limit, applied while streaming.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, header};
use http_body::Body as _;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::io::{ReaderStream, StreamReader};
use wreq_proto::body::Incoming;

use super::codings::{BoxReader, BrotliDecoder, Decoder, DecodingReader, DeflateDecoder, ZstdDecoder};
use super::exchange;
use super::pool::CheckedOut;
use crate::exchange::error::{Error, Result};
use crate::exchange::error_kind::ErrorKind;
use crate::exchange::response::BodyStream;

/// The limits of one body.
#[derive(Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) read_idle: Duration,
    pub(crate) deadline: Option<Instant>,
    pub(crate) max_body: u64,
}

/// Streams the raw body. Each wait is limited by the idle timeout and the attempt's deadline. A pooled
/// connection is returned before the reader sees the end.
pub(crate) fn read_raw(
    incoming: Incoming,
    checked_out: Option<CheckedOut>,
    limits: BodyLimits,
) -> BodyStream {
    Box::pin(stream::unfold(Some((incoming, checked_out)), move |state| async move {
        let (mut incoming, mut checked_out) = state?;
        let chunk = next_chunk(&mut incoming, limits).await;
        if (matches!(chunk, Ok(None)) || (chunk.is_ok() && incoming.is_end_stream()))
            && let Some(checked_out) = checked_out.take()
        {
            checked_out.release().await;
        }
        match chunk {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), Some((incoming, checked_out)))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// Reads the first `max` bytes of a body, or those that arrive without a wait longer than `wait`. Returns them, whether
/// they are all, and the whole body.
pub(super) async fn peek(mut stream: BodyStream, max: usize, wait: Duration) -> (Bytes, bool, BodyStream) {
    let mut items = Vec::new();
    let mut start = Vec::new();
    let mut is_complete = false;
    while start.len() < max {
        match timeout(wait, stream.next()).await {
            Ok(Some(Ok(chunk))) => {
                start.extend_from_slice(&chunk[..chunk.len().min(max - start.len())]);
                items.push(Ok(chunk));
            }
            Ok(Some(Err(error))) => {
                items.push(Err(error));
                break;
            }
            Ok(None) => {
                is_complete = true;
                break;
            }
            Err(_) => break,
        }
    }
    (start.into(), is_complete, stream::iter(items).chain(stream).boxed())
}

async fn next_chunk(incoming: &mut Incoming, limits: BodyLimits) -> Result<Option<Bytes>> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx));
        let idle = timeout(limits.read_idle, frame);
        let read = match limits.deadline {
            Some(deadline) => timeout_at(deadline, idle).await.map_err(|_| {
                Error::new(ErrorKind::Timeout, "timed out reading the body: the attempt's total time is over")
            })?,
            None => idle.await,
        };
        let frame = read.map_err(|_| {
            Error::new(
                ErrorKind::Timeout,
                format!("timed out reading the body: no data for {:?}", limits.read_idle),
            )
        })?;
        match frame {
            None => return Ok(None),
            Some(Err(cause)) => return Err(exchange::body_error(cause)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Decodes the content codings named in `headers`, and limits the size of the result.
pub(crate) async fn decode(body: BodyStream, headers: &HeaderMap, limits: BodyLimits) -> Result<BodyStream> {
    let codings = content_codings(headers)?;
    let mut body = body;
    if !codings.is_empty() {
        // An empty body has no coding, whatever the headers say (HEAD, 304, a misbehaving server).
        let Some(first) = body.next().await else { return Ok(Box::pin(stream::empty())) };
        let mut reader: BoxReader = Box::pin(StreamReader::new(Box::pin(
            stream::iter([first]).chain(body).map(|item| item.map_err(io::Error::other)),
        ) as IoStream));
        for coding in codings.into_iter().rev() {
            reader = wrap_decoder(coding, reader).await?;
        }
        body =
            Box::pin(ReaderStream::with_capacity(reader, CHUNK_SIZE).map(|item| item.map_err(decode_error)));
    }
    Ok(limit_size(body, limits.max_body))
}

type IoStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentCoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The content codings in the order they were applied.
fn content_codings(headers: &HeaderMap) -> Result<Vec<ContentCoding>> {
    let mut out = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for token in String::from_utf8_lossy(value.as_bytes()).split(',') {
            match token.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => out.push(ContentCoding::Gzip),
                "deflate" => out.push(ContentCoding::Deflate),
                "br" => out.push(ContentCoding::Brotli),
                "zstd" => out.push(ContentCoding::Zstd),
                // An unknown coding is passed through as it is, as browsers do.
                _ => return Ok(Vec::new()),
            }
        }
    }
    if out.len() > MAX_CODINGS {
        let message =
            format!("the body has {} content codings, more than the limit of {MAX_CODINGS}", out.len());
        return Err(Error::new(ErrorKind::Decode, message));
    }
    Ok(out)
}

async fn wrap_decoder(coding: ContentCoding, mut input: BoxReader) -> Result<BoxReader> {
    Ok(match coding {
        ContentCoding::Gzip => decoding(input, DeflateDecoder::gzip()),
        ContentCoding::Brotli => decoding(input, BrotliDecoder::new()),
        ContentCoding::Zstd => decoding(input, ZstdDecoder::new().map_err(decode_error)?),
        ContentCoding::Deflate => {
            let decoder = DeflateDecoder::deflate(input.fill_buf().await.map_err(decode_error)?);
            decoding(input, decoder)
        }
    })
}

fn decoding(input: BoxReader, decoder: impl Decoder + 'static) -> BoxReader {
    Box::pin(BufReader::with_capacity(CHUNK_SIZE, DecodingReader::new(input, decoder)))
}

/// Returns the error of the raw body, or a decoder error.
fn decode_error(cause: io::Error) -> Error {
    match cause.downcast::<Error>() {
        Ok(error) => error,
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
            Error::new(ErrorKind::Decode, "the compressed body is truncated").with_source(cause)
        }
        Err(cause) => Error::new(ErrorKind::Decode, "the compressed body is malformed")
            .with_source(cause)
            .mark_unreadable(),
    }
}

fn limit_size(body: BodyStream, max: u64) -> BodyStream {
    Box::pin(LimitedBody { body: Some(body), remaining: max, max })
}

struct LimitedBody {
    body: Option<BodyStream>,
    remaining: u64,
    max: u64,
}

impl Stream for LimitedBody {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let item = std::task::ready!(body.poll_next_unpin(cx));
        match item {
            Some(Ok(bytes)) => {
                let length = bytes.len() as u64;
                if length > self.remaining {
                    self.body = None;
                    return Poll::Ready(Some(Err(body_too_large(self.max))));
                }
                self.remaining -= length;
                Poll::Ready(Some(Ok(bytes)))
            }
            other => {
                self.body = None;
                Poll::Ready(other)
            }
        }
    }
}

/// The error for a body that exceeds the caller's limit.
pub(crate) fn body_too_large(max: u64) -> Error {
    Error::new(ErrorKind::BodyTooLarge, format!("the body is larger than {max} bytes")).with_hint(
        "raise the limit with `--max-size`; without it, the limit is 32M in memory and 1G with `-o FILE`",
    )
}

const CHUNK_SIZE: usize = 16 * 1024;
const MAX_CODINGS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use async_compression::tokio::write::{
        BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder,
    };
    use tokio::io::AsyncWriteExt;

    const TEXT: &[u8] = b"the same words again and again, the same words again and again";

    fn limits(max_body: u64) -> BodyLimits {
        BodyLimits { read_idle: Duration::from_secs(5), deadline: None, max_body }
    }

    async fn read(coding: &str, wire: Vec<u8>, max: u64) -> Result<Vec<u8>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, coding.parse().unwrap());
        let chunks: Vec<Result<Bytes>> = wire.chunks(7).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        let mut body = decode(Box::pin(stream::iter(chunks)), &headers, limits(max)).await?;
        let mut out = Vec::new();
        while let Some(chunk) = body.next().await {
            out.extend_from_slice(&chunk?);
        }
        Ok(out)
    }

    macro_rules! encode {
        ($encoder:ident, $text:expr) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all($text).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }};
    }

    #[tokio::test]
    async fn every_coding_is_decoded() {
        assert_eq!(read("gzip", encode!(GzipEncoder, TEXT), 1000).await.unwrap(), TEXT);
        assert_eq!(read("br", encode!(BrotliEncoder, TEXT), 1000).await.unwrap(), TEXT);
        assert_eq!(read("zstd", encode!(ZstdEncoder, TEXT), 1000).await.unwrap(), TEXT);
        assert_eq!(read("deflate", encode!(ZlibEncoder, TEXT), 1000).await.unwrap(), TEXT);
        assert_eq!(read("deflate", encode!(DeflateEncoder, TEXT), 1000).await.unwrap(), TEXT);
        let twice = encode!(BrotliEncoder, &encode!(GzipEncoder, TEXT));
        assert_eq!(read("gzip, br", twice, 1000).await.unwrap(), TEXT);
        assert_eq!(read("something", TEXT.to_vec(), 1000).await.unwrap(), TEXT);
        assert_eq!(read("gzip", Vec::new(), 1000).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn malformed_and_truncated_bodies_are_decode_errors() {
        let whole = encode!(GzipEncoder, TEXT);
        let cut = whole[..whole.len() - 12].to_vec();
        assert_eq!(read("gzip", cut, 1000).await.unwrap_err().kind(), ErrorKind::Decode);
        assert_eq!(
            read("gzip", b"not gzip at all".to_vec(), 1000).await.unwrap_err().kind(),
            ErrorKind::Decode
        );
        assert_eq!(read("gzip, gzip, gzip, gzip", whole, 1000).await.unwrap_err().kind(), ErrorKind::Decode);
    }

    macro_rules! flush {
        ($encoder:ident, $text:expr) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all($text).await.unwrap();
            encoder.flush().await.unwrap();
            encoder.into_inner()
        }};
    }

    #[tokio::test]
    async fn a_body_that_was_cut_is_an_error_unless_only_its_check_sum_is_missing() {
        let codings = [
            ("gzip", encode!(GzipEncoder, TEXT), 8),
            ("deflate", encode!(ZlibEncoder, TEXT), 4),
            ("deflate", encode!(DeflateEncoder, TEXT), 0),
            ("br", encode!(BrotliEncoder, TEXT), 0),
            ("zstd", encode!(ZstdEncoder, TEXT), 0),
        ];
        for (coding, wire, trailer) in codings {
            for length in 1..wire.len() {
                let outcome = read(coding, wire[..length].to_vec(), 1000).await;
                if length < wire.len() - trailer {
                    assert_eq!(
                        outcome.map_err(|error| error.kind()),
                        Err(ErrorKind::Decode),
                        "{coding} {length}"
                    );
                } else {
                    assert_eq!(outcome.unwrap(), TEXT, "{coding} {length}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_was_flushed_and_not_ended_is_whole() {
        assert_eq!(read("gzip", flush!(GzipEncoder, TEXT), 1000).await.unwrap(), TEXT);
        assert_eq!(read("deflate", flush!(ZlibEncoder, TEXT), 1000).await.unwrap(), TEXT);
        assert_eq!(read("deflate", flush!(DeflateEncoder, TEXT), 1000).await.unwrap(), TEXT);
        assert_eq!(read("br", flush!(BrotliEncoder, TEXT), 1000).await.unwrap(), TEXT);
        assert_eq!(read("zstd", flush!(ZstdEncoder, TEXT), 1000).await.unwrap(), TEXT);
    }

    #[tokio::test]
    async fn all_members_and_frames_are_read_and_other_bytes_behind_them_are_not() {
        let (gzip, zstd) = (encode!(GzipEncoder, TEXT), encode!(ZstdEncoder, TEXT));
        let twice = TEXT.repeat(2);
        assert_eq!(read("gzip", gzip.repeat(2), 1000).await.unwrap(), twice);
        assert_eq!(read("zstd", zstd.repeat(2), 1000).await.unwrap(), twice);
        let skippable = b"\x50\x2a\x4d\x18\x05\0\0\0hello";
        assert_eq!(read("zstd", [skippable, &zstd[..]].concat(), 1000).await.unwrap(), TEXT);
        assert_eq!(read("zstd", [&zstd[..], skippable, &zstd].concat(), 1000).await.unwrap(), twice);
        let long = vec![b'x'; 1 << 20];
        for behind in [&b"\n"[..], b"<!-- cached -->", &[0; 100], &gzip[..10], &long] {
            assert_eq!(read("gzip", [&gzip, behind].concat(), 1000).await.unwrap(), TEXT);
        }
        let cut = [&gzip[..], &gzip[..gzip.len() - 12]].concat();
        assert_eq!(read("gzip", cut, 1000).await.unwrap_err().kind(), ErrorKind::Decode);
        let cut = [&zstd[..], &zstd[..6]].concat();
        assert_eq!(read("zstd", cut, 1000).await.unwrap_err().kind(), ErrorKind::Decode);
    }

    #[tokio::test]
    async fn a_distance_beyond_the_start_of_the_data_is_malformed() {
        // A block of fixed codes: a match of three bytes at a distance of one, before any byte.
        let raw = vec![0x03, 0x02, 0x00, 0x00];
        let error = read("deflate", raw, 1000).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Decode && error.is_unreadable(), "{error:?}");
    }

    #[tokio::test]
    async fn a_decompression_bomb_stops_at_the_size_limit() {
        let bomb = encode!(GzipEncoder, &vec![0u8; 4 << 20]);
        assert!(bomb.len() < 10_000);
        assert_eq!(read("gzip", bomb, 1 << 20).await.unwrap_err().kind(), ErrorKind::BodyTooLarge);
    }
}
