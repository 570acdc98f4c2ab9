//! A parser of the client side of an HTTP/2 connection: preface, frames, header blocks.
//!
//! Pure and incremental: the caller pushes bytes and receives frames. Bodies are counted, not stored.

use std::fmt;

use serde::Serialize;

use super::hpack::{HpackDecoder, HpackError, HpackField};
use super::profile::Priority;

/// The connection preface of a client.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The maximum frame size, in bytes: the size that every server must accept.
pub const MAX_FRAME: usize = 16 * 1024;
/// The maximum size of a header block, CONTINUATION frames included, in bytes.
pub const MAX_BLOCK: usize = 256 * 1024;

pub(crate) const FRAME_HEADER: usize = 9;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const HAS_PRIORITY: u8 = 0x20;

/// One frame from the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Frame {
    /// SETTINGS without ACK, as (id, value) in order.
    Settings {
        /// The settings in order.
        values: Vec<(u16, u32)>,
    },
    /// An acknowledgement of the server's SETTINGS.
    SettingsAck,
    /// WINDOW_UPDATE.
    WindowUpdate {
        /// The stream, 0 for the connection.
        stream: u32,
        /// The increment.
        increment: u32,
    },
    /// HEADERS with all its CONTINUATION frames.
    Headers {
        /// The stream.
        stream: u32,
        /// The priority fields, if they were sent.
        priority: Option<Priority>,
        /// Whether the request has no body.
        end_stream: bool,
        /// The decoded fields in order.
        fields: Vec<HpackField>,
    },
    /// PRIORITY.
    Priority {
        /// The stream.
        stream: u32,
        /// Its new priority.
        priority: Priority,
    },
    /// DATA.
    Data {
        /// The stream.
        stream: u32,
        /// The payload's length, padding included.
        len: usize,
        /// Whether it is the last frame of the stream.
        end_stream: bool,
    },
    /// PING.
    Ping {
        /// Whether it acknowledges a PING of the server.
        ack: bool,
    },
    /// RST_STREAM.
    Reset {
        /// The stream.
        stream: u32,
        /// The error code.
        code: u32,
    },
    /// GOAWAY.
    GoAway {
        /// The error code.
        code: u32,
    },
    /// A frame of another type.
    Other {
        /// The type.
        kind: u8,
        /// The stream.
        stream: u32,
        /// The payload's length.
        len: usize,
    },
}

/// The reason that bytes could not be parsed as a client's HTTP/2 connection. The reader cannot continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum H2Error {
    /// The bytes do not begin with [`PREFACE`].
    NotHttp2,
    /// A frame exceeds [`MAX_FRAME`], or a header block exceeds [`MAX_BLOCK`].
    TooLarge,
    /// A frame contradicts its own length, or is not allowed at this point.
    Malformed,
    /// A header block is invalid.
    Hpack(HpackError),
}

impl fmt::Display for H2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp2 => f.write_str("the connection does not begin with the HTTP/2 preface"),
            Self::TooLarge => f.write_str("an HTTP/2 frame is too large"),
            Self::Malformed => f.write_str("an HTTP/2 frame is malformed"),
            Self::Hpack(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for H2Error {}

/// Parses the client's bytes of one connection incrementally.
#[derive(Debug, Default)]
pub struct H2Reader {
    buffer: Vec<u8>,
    started: bool,
    hpack: HpackDecoder,
    block: Option<PartialHeaders>,
    failed: Option<H2Error>,
}

#[derive(Debug)]
struct PartialHeaders {
    stream: u32,
    priority: Option<Priority>,
    end_stream: bool,
    bytes: Vec<u8>,
}

impl H2Reader {
    /// Processes the next bytes and returns the frames that they complete.
    ///
    /// # Errors
    /// The reason, if the bytes are invalid. Every later call returns the same error.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, H2Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        self.read_frames(&mut frames).inspect_err(|error| {
            self.failed = Some(*error);
            self.buffer = Vec::new();
        })?;
        Ok(frames)
    }

    fn read_frames(&mut self, frames: &mut Vec<Frame>) -> Result<(), H2Error> {
        let mut at = 0;
        if !self.started {
            let here = self.buffer.len().min(PREFACE.len());
            if self.buffer[..here] != PREFACE[..here] {
                return Err(H2Error::NotHttp2);
            }
            if here < PREFACE.len() {
                return Ok(());
            }
            self.started = true;
            at = here;
        }
        let buffer = std::mem::take(&mut self.buffer);
        while let Some([a, b, c, kind, flags, s @ ..]) = buffer[at..].first_chunk::<FRAME_HEADER>() {
            let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if len > MAX_FRAME {
                return Err(H2Error::TooLarge);
            }
            let start = at + FRAME_HEADER;
            let Some(payload) = buffer.get(start..start + len) else { break };
            let stream = u32::from_be_bytes(*s) & 0x7fff_ffff;
            if let Some(frame) = self.parse_frame(*kind, *flags, stream, payload)? {
                frames.push(frame);
            }
            at = start + len;
        }
        self.buffer = buffer;
        self.buffer.drain(..at);
        Ok(())
    }

    fn parse_frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> Result<Option<Frame>, H2Error> {
        if self.block.is_some() && kind != 9 {
            return Err(H2Error::Malformed);
        }
        let end_stream = flags & END_STREAM != 0;
        let frame = match kind {
            0 => Frame::Data { stream, len: payload.len(), end_stream },
            1 => {
                let body = if flags & PADDED == 0 { payload } else { unpad(payload)? };
                let (priority, fragment) = if flags & HAS_PRIORITY == 0 {
                    (None, body)
                } else {
                    let (head, rest) = body.split_first_chunk::<5>().ok_or(H2Error::Malformed)?;
                    (Some(parse_priority(*head)), rest)
                };
                self.block = Some(PartialHeaders { stream, priority, end_stream, bytes: fragment.to_vec() });
                return self.finish_headers(flags);
            }
            2 => Frame::Priority { stream, priority: parse_priority(*exact_array::<5>(payload)?) },
            3 => Frame::Reset { stream, code: u32::from_be_bytes(*exact_array::<4>(payload)?) },
            4 if flags & ACK != 0 => Frame::SettingsAck,
            4 => Frame::Settings { values: parse_settings(payload)? },
            6 => Frame::Ping { ack: flags & ACK != 0 },
            7 => {
                let (_, code) = prefix_array::<8>(payload)?.split_at(4);
                Frame::GoAway { code: u32::from_be_bytes([code[0], code[1], code[2], code[3]]) }
            }
            8 => {
                let increment = u32::from_be_bytes(*exact_array::<4>(payload)?) & 0x7fff_ffff;
                Frame::WindowUpdate { stream, increment }
            }
            9 => {
                let block = self.block.as_mut().filter(|b| b.stream == stream).ok_or(H2Error::Malformed)?;
                block.bytes.extend_from_slice(payload);
                if block.bytes.len() > MAX_BLOCK {
                    return Err(H2Error::TooLarge);
                }
                return self.finish_headers(flags);
            }
            _ => Frame::Other { kind, stream, len: payload.len() },
        };
        Ok(Some(frame))
    }

    fn finish_headers(&mut self, flags: u8) -> Result<Option<Frame>, H2Error> {
        if flags & END_HEADERS == 0 {
            return Ok(None);
        }
        let Some(PartialHeaders { stream, priority, end_stream, bytes }) = self.block.take() else {
            return Ok(None);
        };
        let fields = self.hpack.decode(&bytes).map_err(H2Error::Hpack)?;
        Ok(Some(Frame::Headers { stream, priority, end_stream, fields }))
    }
}

fn unpad(payload: &[u8]) -> Result<&[u8], H2Error> {
    let (&padding, rest) = payload.split_first().ok_or(H2Error::Malformed)?;
    let len = rest.len().checked_sub(usize::from(padding)).ok_or(H2Error::Malformed)?;
    Ok(&rest[..len])
}

fn parse_priority(bytes: [u8; 5]) -> Priority {
    let [a, b, c, d, weight] = bytes;
    let word = u32::from_be_bytes([a, b, c, d]);
    Priority { weight, depends_on: word & 0x7fff_ffff, exclusive: word >> 31 == 1 }
}

fn parse_settings(payload: &[u8]) -> Result<Vec<(u16, u32)>, H2Error> {
    let (entries, []) = payload.as_chunks::<6>() else { return Err(H2Error::Malformed) };
    Ok(entries
        .iter()
        .map(|[a, b, c, d, e, f]| (u16::from_be_bytes([*a, *b]), u32::from_be_bytes([*c, *d, *e, *f])))
        .collect())
}

fn exact_array<const N: usize>(payload: &[u8]) -> Result<&[u8; N], H2Error> {
    payload.try_into().map_err(|_| H2Error::Malformed)
}

fn prefix_array<const N: usize>(payload: &[u8]) -> Result<&[u8; N], H2Error> {
    payload.first_chunk().ok_or(H2Error::Malformed)
}

#[cfg(test)]
mod tests {
    use super::super::akamai::Http2Fingerprint;
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// The frames that Chrome 156 sends before its first request, and a request with order `m,a,s,p`.
    fn chrome() -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        let settings = [[0, 1, 0, 1, 0, 0], [0, 2, 0, 0, 0, 0], [0, 4, 0, 0x60, 0, 0], [0, 6, 0, 4, 0, 0]];
        bytes.extend(frame(4, 0, 0, &settings.concat()));
        bytes.extend(frame(8, 0, 0, &15_663_105_u32.to_be_bytes()));
        let mut headers = vec![0x80, 0, 0, 0, 255];
        headers.extend(b"\x82\x41\x01a\x87\x84");
        bytes.extend(frame(1, END_HEADERS | END_STREAM | HAS_PRIORITY, 1, &headers));
        bytes
    }

    fn opening(bytes: &[u8]) -> Http2Fingerprint {
        let mut opening = Http2Fingerprint::default();
        for frame in H2Reader::default().push(bytes).unwrap() {
            opening.observe(&frame);
        }
        opening
    }

    #[test]
    fn chrome_has_its_published_akamai_text_and_hash() {
        let opening = opening(&chrome());
        assert!(opening.is_complete());
        assert_eq!(opening.akamai(), "1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p");
        assert_eq!(opening.akamai_hash(), "52d84b11737d980aef856699f885ca86");
        let navigation = Priority { weight: 255, depends_on: 0, exclusive: true };
        assert_eq!(opening.priority, Some(navigation));
    }

    #[test]
    fn priority_frames_are_part_of_the_akamai_text() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[0, 4, 0, 2, 0, 0]));
        bytes.extend(frame(2, 0, 3, &[0, 0, 0, 0, 200]));
        bytes.extend(frame(1, END_HEADERS, 15, b"\x82\x84\x41\x01a\x87"));
        assert_eq!(opening(&bytes).akamai(), "4:131072|00|3:0:0:201|m,p,a,s");
    }

    #[test]
    fn bytes_one_by_one_give_the_same_frames() {
        let bytes = chrome();
        let whole = H2Reader::default().push(&bytes).unwrap();
        let mut reader = H2Reader::default();
        let single: Vec<Frame> = bytes.iter().flat_map(|byte| reader.push(&[*byte]).unwrap()).collect();
        assert_eq!(single, whole);
    }

    #[test]
    fn padding_and_continuations_are_removed() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(1, PADDED, 1, b"\x02\x82\x41\x00\x00"));
        bytes.extend(frame(9, 0, 1, b"\x01a"));
        bytes.extend(frame(9, END_HEADERS, 1, b"\x87\x84"));
        let frames = H2Reader::default().push(&bytes).unwrap();
        let [Frame::Headers { stream: 1, priority: None, fields, end_stream: false }] = frames.as_slice()
        else {
            panic!("{frames:?}")
        };
        assert_eq!(fields.len(), 4);
        assert_eq!(fields[1].value, "a");
    }

    #[test]
    fn other_frames_are_parsed() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, ACK, 0, &[]));
        bytes.extend(frame(6, ACK, 0, &[0; 8]));
        bytes.extend(frame(0, END_STREAM, 1, &[0; 5]));
        bytes.extend(frame(3, 0, 1, &8_u32.to_be_bytes()));
        bytes.extend(frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2, b'x']));
        bytes.extend(frame(0x10, 0, 0, b"xyz"));
        let expected = [
            Frame::SettingsAck,
            Frame::Ping { ack: true },
            Frame::Data { stream: 1, len: 5, end_stream: true },
            Frame::Reset { stream: 1, code: 8 },
            Frame::GoAway { code: 2 },
            Frame::Other { kind: 0x10, stream: 0, len: 3 },
        ];
        assert_eq!(H2Reader::default().push(&bytes).unwrap(), expected);
    }

    #[test]
    fn after_an_invalid_frame_every_call_fails() {
        let cases = [
            (frame(4, 0, 0, &[0; 5]), H2Error::Malformed),
            (frame(8, 0, 0, &[0; 3]), H2Error::Malformed),
            (frame(9, 0, 1, &[]), H2Error::Malformed),
            (frame(1, PADDED, 1, &[9, 0]), H2Error::Malformed),
            (frame(1, HAS_PRIORITY, 1, &[0; 4]), H2Error::Malformed),
            (frame(0, 0, 1, &vec![0; MAX_FRAME + 1]), H2Error::TooLarge),
            ([frame(1, 0, 1, &[]), frame(0, 0, 1, &[])].concat(), H2Error::Malformed),
            (frame(1, END_HEADERS, 1, &[0x80]), H2Error::Hpack(HpackError::BadIndex)),
        ];
        for (bytes, error) in cases {
            let mut reader = H2Reader::default();
            assert_eq!(reader.push(PREFACE), Ok(Vec::new()));
            assert_eq!(reader.push(&bytes), Err(error));
            assert_eq!(reader.push(&[]), Err(error));
        }
        assert_eq!(H2Reader::default().push(b"GET / HTTP/1.1\r\n"), Err(H2Error::NotHttp2));
    }

    #[test]
    fn endless_continuations_stop_at_the_limit() {
        let mut reader = H2Reader::default();
        reader.push(PREFACE).unwrap();
        reader.push(&frame(1, 0, 1, &[])).unwrap();
        let more = frame(9, 0, 1, &[0; MAX_FRAME]);
        let last = (0..=MAX_BLOCK / MAX_FRAME).map(|_| reader.push(&more)).find(Result::is_err);
        assert_eq!(last, Some(Err(H2Error::TooLarge)));
    }
}
