//! The frames of a client's HTTP/2 connection, without header fields and bodies.

use serde::{Deserialize, Serialize};

use crate::fingerprint::h2::Frame;
use crate::fingerprint::profile::Priority;

/// One frame of a client, in order of arrival. A request is recorded only as its stream id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlFrame {
    /// HEADERS.
    Request {
        /// The stream.
        stream: u32,
    },
    /// SETTINGS, as (id, value) in order.
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
    /// PRIORITY.
    Priority {
        /// The stream.
        stream: u32,
        /// Its new priority.
        priority: Priority,
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

impl ControlFrame {
    /// Converts a frame; `None` for DATA.
    pub(super) fn from_frame(frame: &Frame) -> Option<Self> {
        Some(match frame {
            Frame::Headers { stream, .. } => Self::Request { stream: *stream },
            Frame::Settings { values } => Self::Settings { values: values.clone() },
            Frame::SettingsAck => Self::SettingsAck,
            Frame::WindowUpdate { stream, increment } => {
                Self::WindowUpdate { stream: *stream, increment: *increment }
            }
            Frame::Priority { stream, priority } => Self::Priority { stream: *stream, priority: *priority },
            Frame::Ping { ack } => Self::Ping { ack: *ack },
            Frame::Reset { stream, code } => Self::Reset { stream: *stream, code: *code },
            Frame::GoAway { code } => Self::GoAway { code: *code },
            Frame::Other { kind, stream, len } => Self::Other { kind: *kind, stream: *stream, len: *len },
            Frame::Data { .. } => return None,
        })
    }
}
