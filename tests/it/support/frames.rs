//! HTTP/2 frames, for servers that break the protocol in ways a library does not allow.

use std::io::{self, Write};

use super::raw::RawConnection;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// `:status: 200` of the static table.
pub(crate) const STATUS_200: &[u8] = &[0x88];
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One HTTP/2 frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let mut out = vec![a, b, c, kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Reads the client's preface and sends `settings`.
pub(crate) fn start_http2(conn: &mut RawConnection, settings: &[(u16, u32)]) -> io::Result<()> {
    conn.read_bytes(24)?;
    let mut payload = Vec::new();
    for (id, value) in settings {
        payload.write_all(&id.to_be_bytes())?;
        payload.write_all(&value.to_be_bytes())?;
    }
    conn.send(frame(SETTINGS, 0, 0, &payload))
}

/// Reads frames up to a request's HEADERS and returns its stream id. Skips all other frames.
pub(crate) fn read_request(conn: &mut RawConnection) -> io::Result<u32> {
    loop {
        let head = conn.read_bytes(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        conn.read_bytes(length)?;
        if head[3] == HEADERS {
            return Ok(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        }
    }
}
