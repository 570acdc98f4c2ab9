//! Decoders of content codings that accept what Chromium accepts.
//!
//! Chromium ignores bytes behind the end of gzip, deflate and brotli data, ignores their check sums, and reads all
//! frames of zstd data. It also shows the beginning of data that was cut. That is an error here, unless only the end
//! mark or the check sum is missing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::{Decompress, FlushDecompress, Status};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use zstd_safe::{DCtx, InBuffer, OutBuffer};

/// A boxed reader of encoded or decoded bytes.
pub(super) type BoxReader = Pin<Box<dyn AsyncBufRead + Send>>;

/// Decodes one content coding.
pub(super) trait Decoder: Send {
    /// Decodes a part of `input` to `output`.
    ///
    /// # Errors
    /// When the input is malformed.
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<Progress>;

    /// Whether the input so far contains all of the data, although it may lack its end mark. Called once, at the end
    /// of the input.
    fn is_complete(&mut self) -> bool;
}

/// How far one call of a decoder came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    read: usize,
    written: usize,
    /// The data ended. Further input is ignored.
    is_end: bool,
}

/// Reads the decoded form of another reader.
pub(super) struct DecodingReader {
    input: BoxReader,
    decoder: Box<dyn Decoder>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Decoding,
    /// The last call filled the output, so the decoder may hold more.
    Draining,
    /// The data ended. Up to this many more bytes are read, so that the connection can be reused.
    Ignoring(usize),
    Ended,
}

impl DecodingReader {
    pub(super) fn new(input: BoxReader, decoder: impl Decoder + 'static) -> Self {
        Self { input, decoder: Box::new(decoder), stage: Stage::Decoding }
    }

    /// Decodes a part of the input. Returns whether the caller is to be called back: nothing was written.
    fn poll_decode(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let input: &[u8] = match self.stage {
            Stage::Draining => &[],
            _ => ready!(self.input.as_mut().poll_fill_buf(cx))?,
        };
        let (is_draining, is_empty) = (self.stage == Stage::Draining, input.is_empty());
        let output = buf.initialize_unfilled();
        let space = output.len();
        let progress = self.decoder.decode(input, output)?;
        self.input.as_mut().consume(progress.read);
        buf.advance(progress.written);
        self.stage = if progress.is_end {
            Stage::Ignoring(MAX_IGNORED)
        } else if progress.written == space {
            Stage::Draining
        } else if is_draining || !is_empty {
            if !is_draining && progress.read == 0 && progress.written == 0 {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            Stage::Decoding
        } else if progress.written > 0 {
            Stage::Draining
        } else if self.decoder.is_complete() {
            Stage::Ended
        } else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        Poll::Ready(Ok(progress.written == 0))
    }
}

impl AsyncRead for DecodingReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match self.stage {
                Stage::Ended | Stage::Ignoring(0) => return Poll::Ready(Ok(())),
                Stage::Ignoring(most) => {
                    let input = ready!(self.input.as_mut().poll_fill_buf(cx))?.len();
                    self.input.as_mut().consume(input);
                    self.stage =
                        if input == 0 { Stage::Ended } else { Stage::Ignoring(most.saturating_sub(input)) };
                }
                Stage::Decoding | Stage::Draining => {
                    if !ready!(self.poll_decode(cx, buf))? {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

/// Decodes DEFLATE data (RFC 1951) behind a header. A check sum behind it is not read.
pub(super) struct DeflateDecoder {
    part: DeflatePart,
    inflate: Decompress,
    is_gzip: bool,
    /// Whether a member of gzip ended before this one.
    is_later: bool,
}

/// The part of the input that comes next.
enum DeflatePart {
    /// The header of gzip, as far as it was received.
    GzipHeader(Vec<u8>),
    /// The remaining bytes of zlib's header.
    ZlibHeader(usize),
    Data,
    /// The remaining bytes of gzip's trailer.
    GzipTrailer(usize),
}

impl DeflateDecoder {
    /// Decodes `gzip` (RFC 1952), all members.
    pub(super) fn gzip() -> Self {
        Self::new(DeflatePart::GzipHeader(Vec::new()), true)
    }

    /// Decodes `deflate`, whose data begins with `start`: zlib (RFC 1950), or raw DEFLATE data, which some servers
    /// send.
    pub(super) fn deflate(start: &[u8]) -> Self {
        let part = if is_zlib(start) { DeflatePart::ZlibHeader(2) } else { DeflatePart::Data };
        Self::new(part, false)
    }

    fn new(part: DeflatePart, is_gzip: bool) -> Self {
        Self { part, inflate: Decompress::new(false), is_gzip, is_later: false }
    }

    /// Whether the input is not a member of gzip, or not yet one with data: it is ignored behind another member.
    fn is_ignorable(&self) -> bool {
        let is_header = !matches!(self.part, DeflatePart::Data);
        self.is_later && (is_header || self.inflate.total_out() == 0)
    }

    /// Reads a part of gzip's header. Returns how many bytes it read.
    fn read_gzip_header(&mut self, input: &[u8]) -> io::Result<usize> {
        let DeflatePart::GzipHeader(head) = &mut self.part else { return Ok(0) };
        let before = head.len();
        head.extend_from_slice(&input[..input.len().min(MAX_GZIP_HEADER - before)]);
        match gzip_header_len(head)? {
            Some(length) => {
                self.part = DeflatePart::Data;
                Ok(length - before)
            }
            None if head.len() == MAX_GZIP_HEADER => Err(io::ErrorKind::InvalidData.into()),
            None => Ok(head.len() - before),
        }
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<Progress> {
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(input, output, FlushDecompress::None)
            .map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))?;
        let counted = |total: u64, before: u64| usize::try_from(total - before).unwrap_or(usize::MAX);
        Ok(Progress {
            read: counted(self.inflate.total_in(), read),
            written: counted(self.inflate.total_out(), written),
            is_end: status == Status::StreamEnd,
        })
    }
}

impl Decoder for DeflateDecoder {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<Progress> {
        let progress = match &mut self.part {
            DeflatePart::GzipHeader(_) => {
                self.read_gzip_header(input).map(|read| Progress { read, ..Progress::default() })
            }
            DeflatePart::ZlibHeader(remaining) | DeflatePart::GzipTrailer(remaining) => {
                let read = input.len().min(*remaining);
                *remaining -= read;
                if *remaining == 0 {
                    self.is_later = self.is_gzip;
                    self.part =
                        if self.is_gzip { DeflatePart::GzipHeader(Vec::new()) } else { DeflatePart::Data };
                }
                Ok(Progress { read, ..Progress::default() })
            }
            DeflatePart::Data => self.inflate(input, output),
        };
        match progress {
            Err(_) if self.is_ignorable() => Ok(Progress { is_end: true, ..Progress::default() }),
            Ok(progress) if progress.is_end && self.is_gzip => {
                self.part = DeflatePart::GzipTrailer(GZIP_TRAILER);
                self.inflate.reset(false);
                Ok(Progress { is_end: false, ..progress })
            }
            other => other,
        }
    }

    /// Data that was flushed and not ended stops between two blocks, at a byte. There, a last block without data
    /// completes it; inside a block, the two bytes of that block do not.
    fn is_complete(&mut self) -> bool {
        match self.part {
            DeflatePart::GzipTrailer(_) => true,
            _ if self.is_ignorable() => true,
            DeflatePart::GzipHeader(_) | DeflatePart::ZlibHeader(_) => false,
            DeflatePart::Data => {
                let has_data = self.inflate.total_out() > 0;
                let last_block = self.inflate(&[0x03, 0x00], &mut [0; 1]);
                has_data && last_block.is_ok_and(|progress| progress.is_end && progress.written == 0)
            }
        }
    }
}

/// Whether data begins as zlib's does. The first block must be readable, too: raw data may look like the header.
fn is_zlib(start: &[u8]) -> bool {
    let [first, rest @ ..] = start else { return false };
    let Some(second) = rest.first() else { return first & 0x0f == 8 };
    let is_header = first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0;
    let mut scratch = vec![0; SNIFFED_OUTPUT];
    is_header && Decompress::new(true).decompress(start, &mut scratch, FlushDecompress::None).is_ok()
}

/// Returns the length of gzip's header. `None` if `head` does not contain it all. As in Chromium, reserved flags are
/// ignored.
fn gzip_header_len(head: &[u8]) -> io::Result<Option<usize>> {
    const FIXED: [u8; 3] = [0x1f, 0x8b, 8];
    let invalid = || Err(io::Error::new(io::ErrorKind::InvalidData, "the gzip header is not valid"));
    if head.iter().zip(FIXED).any(|(byte, expected)| *byte != expected) {
        return invalid();
    }
    let Some(flags) = head.get(3).copied() else { return Ok(None) };
    let mut at = 10;
    if flags & 0x04 != 0 {
        let Some(length) = head.get(at..at + 2) else { return Ok(None) };
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    for flag in [0x08, 0x10] {
        if flags & flag != 0 {
            let Some(end) = head.get(at..).and_then(|text| memchr::memchr(0, text)) else { return Ok(None) };
            at += end + 1;
        }
    }
    if flags & 0x02 != 0 {
        at += 2;
    }
    Ok((head.len() >= at).then_some(at))
}

/// Decodes `br` (RFC 7932).
pub(super) struct BrotliDecoder {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    has_data: bool,
}

impl BrotliDecoder {
    pub(super) fn new() -> Self {
        let allocator = StandardAlloc::default;
        let state = Box::new(BrotliState::new(allocator(), allocator(), allocator()));
        Self { state, has_data: false }
    }
}

impl Decoder for BrotliDecoder {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<Progress> {
        let (mut read, mut written) = (0, 0);
        let result = BrotliDecompressStream(
            &mut input.len(),
            &mut read,
            input,
            &mut output.len(),
            &mut written,
            output,
            &mut 0,
            &mut self.state,
        );
        self.has_data |= written > 0;
        match result {
            BrotliResult::ResultFailure => Err(io::ErrorKind::InvalidData.into()),
            BrotliResult::ResultSuccess => Ok(Progress { read, written, is_end: true }),
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {
                Ok(Progress { read, written, is_end: false })
            }
        }
    }

    /// As for DEFLATE data: flushed data stops at a byte, where a last empty block completes it.
    fn is_complete(&mut self) -> bool {
        self.has_data
            && self
                .decode(&[0x03], &mut [0; 1])
                .is_ok_and(|progress| progress.is_end && progress.written == 0)
    }
}

/// Decodes `zstd` (RFC 8878): all frames, skippable ones included.
pub(super) struct ZstdDecoder {
    context: DCtx<'static>,
    /// How many bytes complete the next step. 0 between two frames.
    wanted: usize,
    /// Whether the current frame contained data so far.
    has_data: bool,
}

impl ZstdDecoder {
    /// # Errors
    /// When memory is short.
    pub(super) fn new() -> io::Result<Self> {
        let context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { context, wanted: 0, has_data: false })
    }

    /// Decodes `end` in place of bytes that are missing. Returns whether it completes the frame, apart from its check
    /// sum, without more data.
    fn completes_with(&mut self, end: &[u8]) -> bool {
        let mut scratch = [0; 1];
        let mut output = OutBuffer::around(&mut scratch[..]);
        let result = self.context.decompress_stream(&mut output, &mut InBuffer::around(end));
        let has_data = output.pos() > 0;
        self.wanted = result.ok().filter(|_| !has_data).unwrap_or(usize::MAX);
        let is_wrong_sum = result.is_err_and(|code| zstd_safe::get_error_name(code) == WRONG_CHECKSUM);
        !has_data && (self.wanted == 0 || is_wrong_sum)
    }
}

impl Decoder for ZstdDecoder {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<Progress> {
        let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
        if input.is_empty() && self.wanted == 0 {
            // Another call would begin a frame.
            return Ok(Progress::default());
        }
        while from.pos() < input.len() || input.is_empty() {
            let before = to.pos();
            self.wanted = self.context.decompress_stream(&mut to, &mut from).map_err(|code| {
                io::Error::new(io::ErrorKind::InvalidData, zstd_safe::get_error_name(code))
            })?;
            self.has_data = self.wanted > 0 && (self.has_data || to.pos() > before);
            if input.is_empty() || to.pos() == to.capacity() {
                break;
            }
        }
        Ok(Progress { read: from.pos(), written: to.pos(), is_end: false })
    }

    fn is_complete(&mut self) -> bool {
        const LAST_BLOCK: [u8; 3] = [1, 0, 0];
        const CHECKSUM: [u8; 4] = [0; 4];
        if !self.has_data || self.wanted == 0 {
            return self.wanted == 0;
        }
        if self.wanted == LAST_BLOCK.len() && self.completes_with(&LAST_BLOCK) {
            return true;
        }
        self.wanted == 0 || CHECKSUM.get(..self.wanted).is_some_and(|missing| self.completes_with(missing))
    }
}

/// The bytes behind the end of the data that are read.
const MAX_IGNORED: usize = 256 * 1024;
/// The maximum size of gzip's header: its extra field has up to 64 KiB, and it contains two texts.
const MAX_GZIP_HEADER: usize = 128 * 1024;
/// The size of gzip's trailer: a check sum and a length.
const GZIP_TRAILER: usize = 8;
/// The size of the output by which zlib data is recognised.
const SNIFFED_OUTPUT: usize = 32 * 1024;
/// zstd's text for a wrong check sum.
const WRONG_CHECKSUM: &str = "Restored data doesn't match checksum";
