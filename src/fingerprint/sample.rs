//! ClientHellos for tests: recorded, or built from lists.

use super::hello::ClientHello;

/// The ClientHello of a first connection of Chromium 156 on Linux.
pub(crate) const CHROME: &str = include_str!("../../fixtures/hellos/chrome-156-linux.hex");
/// The ClientHello of a resumed connection of the same browser.
pub(crate) const CHROME_RESUMED: &str = include_str!("../../fixtures/hellos/chrome-156-linux-resumed.hex");

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.lines().filter(|line| !line.starts_with('#')).collect();
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn chrome() -> ClientHello {
    ClientHello::from_records(&bytes(CHROME)).unwrap()
}

pub(crate) fn chrome_resumed() -> ClientHello {
    ClientHello::from_records(&bytes(CHROME_RESUMED)).unwrap()
}

/// A list of u16 with a length prefix.
pub(crate) fn list16(values: &[u16]) -> Vec<u8> {
    let mut body = u16::try_from(values.len() * 2).unwrap().to_be_bytes().to_vec();
    body.extend(values.iter().flat_map(|value| value.to_be_bytes()));
    body
}

/// A complete ClientHello in one record.
pub(crate) fn record(legacy_version: u16, ciphers: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut message = legacy_version.to_be_bytes().to_vec();
    message.extend([7; 32]);
    message.push(0);
    message.extend(list16(ciphers));
    message.extend([1, 0]);
    if !extensions.is_empty() {
        let mut list = Vec::new();
        for (id, body) in extensions {
            list.extend(id.to_be_bytes());
            list.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
            list.extend(body);
        }
        message.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
        message.extend(list);
    }
    let mut handshake = vec![1, 0];
    handshake.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    handshake.extend(message);
    split_into_records(&handshake, usize::MAX)
}

/// Splits a handshake message into records of at most `size` bytes.
pub(crate) fn split_into_records(message: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in message.chunks(size) {
        bytes.extend([22, 3, 1]);
        bytes.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        bytes.extend(part);
    }
    bytes
}
