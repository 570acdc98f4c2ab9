//! Reads any bytes as an HTTP/1 response: heads of any form, then chunks.
//!
//! The first byte gives the size of the pieces. Its highest bit: the response answers a HEAD request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rungs::fuzz_parts::rewrite_response;

const MAX_HEAD: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let (is_head, size) = (first & 0x80 != 0, usize::from(first & 0x7f) + 1);
    let rewrite = |bytes: &[u8], size: usize| rewrite_response(bytes.chunks(size), is_head, MAX_HEAD).ok();
    let whole = rewrite(bytes, bytes.len().max(1));
    assert_eq!(whole, rewrite(bytes, size), "pieces change nothing");
    let Some(whole) = whole else { return };
    // The longest line grows by the escapes of its control characters.
    if let Ok(again) = rewrite_response(whole.chunks(size), is_head, 4 * MAX_HEAD) {
        assert_eq!(again, whole, "the rewritten form is stable");
    } else {
        panic!("the rewritten form is refused: {}", whole.escape_ascii());
    }
});
