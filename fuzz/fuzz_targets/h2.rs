//! Reads any bytes as the client's side of an HTTP/2 connection, as a whole and in chunks.
//!
//! The first byte gives the chunk size. Its highest bit prepends the preface.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rungs::fingerprint::h2::{Frame, H2Error, PREFACE};
use rungs::fingerprint::hpack::{HpackDecoder, MAX_FIELDS};
use rungs::fingerprint::{H2Reader, Http2Fingerprint};

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let bytes = if first & 0x80 == 0 { rest.to_vec() } else { [PREFACE, rest].concat() };
    let whole = read(&bytes, bytes.len().max(1));
    let pieces = read(&bytes, usize::from(first & 0x7f) + 1);
    // Chunking may change when an error is found, but not the frames.
    assert_eq!(whole.1, pieces.1, "the same end");
    if whole.1.is_none() {
        assert_eq!(whole.0, pieces.0, "the same frames");
    }
    let mut opening = Http2Fingerprint::default();
    for frame in &pieces.0 {
        opening.observe(frame);
        if let Frame::Headers { fields, .. } = frame {
            assert!(fields.len() <= MAX_FIELDS);
        }
    }
    let _ = opening.akamai_hash();
    // The decoder alone: few inputs reach it through frames.
    let mut decoder = HpackDecoder::default();
    let _ = decoder.decode(rest).and_then(|_| decoder.decode(rest));
});

fn read(bytes: &[u8], size: usize) -> (Vec<Frame>, Option<H2Error>) {
    let mut reader = H2Reader::default();
    let mut frames = Vec::new();
    for piece in bytes.chunks(size) {
        match reader.push(piece) {
            Ok(more) => frames.extend(more),
            Err(error) => {
                assert_eq!(reader.push(b"x"), Err(error), "an error is permanent");
                return (frames, Some(error));
            }
        }
    }
    (frames, None)
}
