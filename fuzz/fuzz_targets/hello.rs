//! Reads any bytes as the start of a TLS connection, then computes everything that depends on a ClientHello.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rungs::fingerprint::{ClientHello, HelloShape, ja3, ja4, ja4_r};

fuzz_target!(|bytes: &[u8]| {
    let Ok(hello) = ClientHello::from_records(bytes) else { return };
    let _ = (ja3(&hello), ja4(&hello), ja4_r(&hello), hello.server_name(), hello.alps());
    let shape = HelloShape::from_hello(&hello);
    assert!(shape.differences(&HelloShape::from_hello(&hello)).is_empty(), "a hello equals itself");
    // Bytes after the message are ignored.
    let longer = [bytes, b"more"].concat();
    assert_eq!(ClientHello::from_records(&longer).as_ref(), Ok(&hello));
});
