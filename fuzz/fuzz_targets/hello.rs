//! Any bytes as the beginning of a TLS connection: read, then everything that is computed from a hello.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rungs::fingerprint::{ClientHello, Shape, ja3, ja4, ja4_r};

fuzz_target!(|bytes: &[u8]| {
    let Ok(hello) = ClientHello::from_records(bytes) else { return };
    let _ = (ja3(&hello), ja4(&hello), ja4_r(&hello), hello.server_name(), hello.alps());
    let shape = Shape::of(&hello);
    assert!(shape.differences(&Shape::of(&hello)).is_empty(), "a hello is like itself");
    // What follows the message is not looked at.
    let longer = [bytes, b"more"].concat();
    assert_eq!(ClientHello::from_records(&longer).as_ref(), Ok(&hello));
});
