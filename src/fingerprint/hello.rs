//! A parser of TLS ClientHellos that keeps the order of all lists.

use std::fmt;

use serde::Serialize;

use crate::text::hex;

/// The maximum size of a ClientHello, in bytes. Real ones are below 4 KiB.
pub const MAX_HELLO: usize = 64 * 1024;

const RECORD_HANDSHAKE: u8 = 22;
const MESSAGE_CLIENT_HELLO: u8 = 1;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;

/// Code points of the extensions that this module parses.
pub mod extension {
    /// server_name
    pub const SERVER_NAME: u16 = 0;
    /// supported_groups
    pub const GROUPS: u16 = 10;
    /// ec_point_formats
    pub const POINT_FORMATS: u16 = 11;
    /// signature_algorithms
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    /// application_layer_protocol_negotiation
    pub const ALPN: u16 = 16;
    /// compress_certificate
    pub const CERTIFICATE_COMPRESSION: u16 = 27;
    /// pre_shared_key: sent to resume a session
    pub const PRE_SHARED_KEY: u16 = 41;
    /// supported_versions
    pub const VERSIONS: u16 = 43;
    /// psk_key_exchange_modes
    pub const PSK_MODES: u16 = 45;
    /// key_share
    pub const KEY_SHARE: u16 = 51;
    /// application_settings, old code point
    pub const ALPS_OLD: u16 = 17513;
    /// application_settings, new code point
    pub const ALPS: u16 = 17613;
    /// trust_anchors
    pub const TRUST_ANCHORS: u16 = 51764;
}

/// A TLS ClientHello as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientHello {
    /// The version of the first record.
    pub record_version: u16,
    /// The version field of the message: 0x0303 in all current clients.
    pub legacy_version: u16,
    /// The length of the session id, in bytes.
    pub session_id_len: usize,
    /// Cipher suites in order, GREASE included.
    pub ciphers: Vec<u16>,
    /// Compression methods in order.
    pub compression: Vec<u8>,
    /// Extensions in order, GREASE included.
    pub extensions: Vec<Extension>,
}

/// One extension of a ClientHello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Extension {
    /// The code point.
    pub id: u16,
    /// The body, without its length.
    #[serde(serialize_with = "hex::serialize")]
    pub body: Vec<u8>,
}

/// One entry of the key_share extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KeyShare {
    /// The group.
    pub group: u16,
    /// The length of the key, in bytes.
    pub len: usize,
}

/// The reason that bytes could not be parsed as a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelloError {
    /// The bytes may be a prefix of a ClientHello: more bytes are needed.
    Incomplete,
    /// The bytes are not a TLS handshake.
    NotTls,
    /// The message is larger than [`MAX_HELLO`].
    TooLarge,
    /// A length field contradicts the bytes around it.
    Malformed,
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incomplete => "the ClientHello is not complete",
            Self::NotTls => "not a TLS ClientHello",
            Self::TooLarge => "the ClientHello is too large",
            Self::Malformed => "the ClientHello is malformed",
        })
    }
}

impl std::error::Error for HelloError {}

/// Whether a value is a GREASE value (RFC 8701): both bytes are equal and of the form `xA`.
#[must_use]
pub const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

impl ClientHello {
    /// Parses a ClientHello from the first bytes of a TCP connection: one TLS record or several.
    /// Bytes after the message are ignored.
    ///
    /// # Errors
    /// [`HelloError::Incomplete`] when more bytes are needed, otherwise the reason for the failure.
    pub fn from_records(bytes: &[u8]) -> Result<Self, HelloError> {
        let (record_version, message) = join_records(bytes)?;
        let mut reader = ByteReader(&message[MESSAGE_HEADER..]);
        let legacy_version = reader.u16()?;
        reader.take(32)?;
        let session_id_len = reader.block8()?.len();
        let ciphers = u16s(reader.block16()?)?;
        let compression = reader.block8()?.to_vec();
        let mut extensions = Vec::new();
        // The message may end here: extensions were optional up to TLS 1.2.
        if !reader.is_empty() {
            let mut list = ByteReader(reader.block16()?);
            while !list.is_empty() {
                extensions.push(Extension { id: list.u16()?, body: list.block16()?.to_vec() });
            }
        }
        if !reader.is_empty() {
            return Err(HelloError::Malformed);
        }
        Ok(Self { record_version, legacy_version, session_id_len, ciphers, compression, extensions })
    }

    /// The body of an extension, if it is present.
    #[must_use]
    pub fn extension(&self, id: u16) -> Option<&[u8]> {
        self.extensions.iter().find(|e| e.id == id).map(|e| e.body.as_slice())
    }

    /// The extensions' code points in order, GREASE included.
    pub fn extension_ids(&self) -> impl Iterator<Item = u16> + '_ {
        self.extensions.iter().map(|e| e.id)
    }

    /// The host name in server_name.
    #[must_use]
    pub fn server_name(&self) -> Option<String> {
        let mut list = ByteReader(ByteReader(self.extension(extension::SERVER_NAME)?).block16().ok()?);
        while !list.is_empty() {
            let kind = list.u8().ok()?;
            let name = list.block16().ok()?;
            if kind == 0 {
                return Some(String::from_utf8_lossy(name).into_owned());
            }
        }
        None
    }

    /// Supported groups in order, GREASE included.
    #[must_use]
    pub fn groups(&self) -> Vec<u16> {
        self.list16(extension::GROUPS)
    }

    /// EC point formats in order.
    #[must_use]
    pub fn point_formats(&self) -> Vec<u8> {
        self.list8(extension::POINT_FORMATS).to_vec()
    }

    /// Signature algorithms in order, GREASE included.
    #[must_use]
    pub fn signature_algorithms(&self) -> Vec<u16> {
        self.list16(extension::SIGNATURE_ALGORITHMS)
    }

    /// The versions in supported_versions in order, GREASE included.
    #[must_use]
    pub fn versions(&self) -> Vec<u16> {
        u16s(self.list8(extension::VERSIONS)).unwrap_or_default()
    }

    /// The algorithms in compress_certificate in order (2 is brotli).
    #[must_use]
    pub fn certificate_compression(&self) -> Vec<u16> {
        u16s(self.list8(extension::CERTIFICATE_COMPRESSION)).unwrap_or_default()
    }

    /// The modes in psk_key_exchange_modes.
    #[must_use]
    pub fn psk_modes(&self) -> Vec<u8> {
        self.list8(extension::PSK_MODES).to_vec()
    }

    /// The key shares in order, GREASE included.
    #[must_use]
    pub fn key_shares(&self) -> Vec<KeyShare> {
        let read = || {
            let mut list = ByteReader(ByteReader(self.extension(extension::KEY_SHARE)?).block16().ok()?);
            let mut shares = Vec::new();
            while !list.is_empty() {
                shares.push(KeyShare { group: list.u16().ok()?, len: list.block16().ok()?.len() });
            }
            Some(shares)
        };
        read().unwrap_or_default()
    }

    /// The ALPN protocols in order, as bytes: GREASE protocols are not text.
    #[must_use]
    pub fn alpn(&self) -> Vec<Vec<u8>> {
        self.names(extension::ALPN)
    }

    /// The code point and protocols of ALPS, if it is sent.
    #[must_use]
    pub fn alps(&self) -> Option<(u16, Vec<Vec<u8>>)> {
        [extension::ALPS, extension::ALPS_OLD]
            .into_iter()
            .find(|id| self.extension(*id).is_some())
            .map(|id| (id, self.names(id)))
    }

    /// The body of trust_anchors, if it is sent.
    #[must_use]
    pub fn trust_anchors(&self) -> Option<&[u8]> {
        self.extension(extension::TRUST_ANCHORS)
    }

    /// Whether the client offers to resume a session.
    #[must_use]
    pub fn is_resumption(&self) -> bool {
        self.extension(extension::PRE_SHARED_KEY).is_some()
    }

    fn list16(&self, id: u16) -> Vec<u16> {
        self.extension(id)
            .and_then(|body| ByteReader(body).block16().ok())
            .and_then(|list| u16s(list).ok())
            .unwrap_or_default()
    }

    fn list8(&self, id: u16) -> &[u8] {
        self.extension(id).and_then(|body| ByteReader(body).block8().ok()).unwrap_or_default()
    }

    fn names(&self, id: u16) -> Vec<Vec<u8>> {
        let read = || {
            let mut list = ByteReader(ByteReader(self.extension(id)?).block16().ok()?);
            let mut names = Vec::new();
            while !list.is_empty() {
                names.push(list.block8().ok()?.to_vec());
            }
            Some(names)
        };
        read().unwrap_or_default()
    }
}

/// Joins the handshake message from its records: (version of the first record, complete message).
fn join_records(bytes: &[u8]) -> Result<(u16, Vec<u8>), HelloError> {
    let mut version = None;
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        if let Some(len) = message_len(&message)?
            && message.len() >= len
        {
            message.truncate(len);
            return Ok((version.unwrap_or_default(), message));
        }
        match rest.first() {
            None => return Err(HelloError::Incomplete),
            Some(&RECORD_HANDSHAKE) => {}
            Some(_) => return Err(HelloError::NotTls),
        }
        let [_, major, minor, high, low, tail @ ..] = rest else { return Err(HelloError::Incomplete) };
        if *major != 3 {
            return Err(HelloError::NotTls);
        }
        version.get_or_insert(u16::from_be_bytes([*major, *minor]));
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if len == 0 {
            return Err(HelloError::Malformed);
        }
        let here = len.min(tail.len());
        message.extend_from_slice(&tail[..here]);
        // A record that `bytes` truncates ends the loop as incomplete, unless the message is complete.
        rest = rest.get(RECORD_HEADER + here..).unwrap_or_default();
    }
}

fn message_len(message: &[u8]) -> Result<Option<usize>, HelloError> {
    match message {
        [kind, ..] if *kind != MESSAGE_CLIENT_HELLO => Err(HelloError::NotTls),
        [_, a, b, c, ..] => {
            let len = MESSAGE_HEADER + u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if len > MAX_HELLO { Err(HelloError::TooLarge) } else { Ok(Some(len)) }
        }
        _ => Ok(None),
    }
}

fn u16s(bytes: &[u8]) -> Result<Vec<u16>, HelloError> {
    let (pairs, []) = bytes.as_chunks::<2>() else { return Err(HelloError::Malformed) };
    Ok(pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

/// Reads bytes in order; every step checks the length.
struct ByteReader<'a>(&'a [u8]);

impl<'a> ByteReader<'a> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], HelloError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, HelloError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, HelloError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn block8(&mut self) -> Result<&'a [u8], HelloError> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    fn block16(&mut self) -> Result<&'a [u8], HelloError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_recorded_chrome_is_parsed_completely() {
        let hello = sample::chrome();
        assert_eq!((hello.record_version, hello.legacy_version, hello.session_id_len), (0x0301, 0x0303, 32));
        assert_eq!(hello.server_name().as_deref(), Some("one.test"));
        assert_eq!(hello.ciphers.len(), 16);
        assert!(is_grease(hello.ciphers[0]));
        assert_eq!(hello.groups()[1..], [4588, 29, 23, 24]);
        let shares: Vec<_> = hello.key_shares().iter().map(|s| (s.group, s.len)).collect();
        assert_eq!(shares[1..], [(4588, 1216), (29, 32)]);
        assert_eq!(hello.signature_algorithms()[1..4], [0x0904, 0x0905, 0x0906]);
        assert_eq!(hello.versions()[1..], [0x0304, 0x0303]);
        assert_eq!(hello.alpn(), [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert_eq!(hello.alps(), Some((17613, vec![b"h2".to_vec()])));
        assert_eq!(hello.certificate_compression(), [2]);
        assert_eq!(hello.psk_modes(), [1]);
        assert_eq!(hello.point_formats(), [0]);
        assert_eq!(hello.trust_anchors().map(<[u8]>::len), Some(186));
        assert!(!hello.is_resumption());
    }

    #[test]
    fn pre_shared_key_is_the_last_extension_of_a_resumed_hello() {
        let hello = sample::chrome_resumed();
        assert!(hello.is_resumption());
        assert_eq!(hello.extension_ids().last(), Some(extension::PRE_SHARED_KEY));
    }

    #[test]
    fn a_hello_split_over_records_is_joined() {
        let whole = sample::bytes(sample::CHROME);
        let split = sample::split_into_records(&whole[RECORD_HEADER..], 100);
        assert_eq!(ClientHello::from_records(&split), Ok(sample::chrome()));
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let whole = sample::bytes(sample::CHROME);
        for end in 0..whole.len() {
            assert_eq!(ClientHello::from_records(&whole[..end]), Err(HelloError::Incomplete), "at {end}");
        }
    }

    #[test]
    fn bytes_after_the_hello_are_ignored() {
        let mut bytes = sample::bytes(sample::CHROME);
        bytes.extend([20, 3, 3, 0, 1, 1]);
        assert_eq!(ClientHello::from_records(&bytes), Ok(sample::chrome()));
    }

    #[test]
    fn a_wrong_byte_anywhere_never_panics() {
        let whole = sample::bytes(sample::CHROME);
        for at in 0..whole.len() {
            for wrong in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = wrong;
                if let Ok(hello) = ClientHello::from_records(&bytes) {
                    let _ = (hello.server_name(), hello.groups(), hello.key_shares(), hello.alpn());
                    let _ = (hello.alps(), hello.versions(), hello.certificate_compression());
                }
            }
        }
    }

    #[test]
    fn other_protocols_are_not_parsed_as_tls() {
        for text in ["GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0", "SSH-2.0-x"] {
            assert_eq!(ClientHello::from_records(text.as_bytes()), Err(HelloError::NotTls));
        }
        assert_eq!(ClientHello::from_records(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), Err(HelloError::NotTls));
        assert_eq!(ClientHello::from_records(&[22, 3, 1, 0, 4, 1, 1, 0, 0]), Err(HelloError::TooLarge));
    }

    #[test]
    fn grease_values_are_recognized() {
        for value in [0x0a0a, 0x1a1a, 0xdada, 0xfafa] {
            assert!(is_grease(value), "{value:04x}");
        }
        for value in [0x0a1a, 0x1301, 0x0a0b, 0xaaab] {
            assert!(!is_grease(value), "{value:04x}");
        }
    }
}
