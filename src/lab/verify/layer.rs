//! The layers that are compared separately.

use serde::{Deserialize, Serialize};

/// A part of the traffic that is compared separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FingerprintLayer {
    /// The ClientHello of a connection without resumption.
    Hello,
    /// The ClientHello of a connection that resumes a session.
    Resumption,
    /// SETTINGS, WINDOW_UPDATE and PRIORITY before the first request.
    Opening,
    /// The requests, in order, and their connections.
    Requests,
    /// Pseudo-headers in order.
    Pseudo,
    /// Header names in order and wire case, with repetitions.
    Names,
    /// Header values, each in its position.
    Values,
    /// The priority in HEADERS, and its END_STREAM flag.
    Priority,
    /// The HPACK representation of each field: index, literal, Huffman.
    Hpack,
    /// How a body is cut into DATA frames.
    Data,
    /// WINDOW_UPDATE frames while bodies are received: streams, number, increments.
    Windows,
    /// All other frames: acknowledgements of SETTINGS and PING, PING after a pause, RST_STREAM, GOAWAY.
    Control,
}

impl FingerprintLayer {
    /// All layers, in the table's order.
    pub const ALL: [Self; 12] = [
        Self::Hello,
        Self::Resumption,
        Self::Opening,
        Self::Requests,
        Self::Pseudo,
        Self::Names,
        Self::Values,
        Self::Priority,
        Self::Hpack,
        Self::Data,
        Self::Windows,
        Self::Control,
    ];

    /// The name in tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Resumption => "resumption",
            Self::Opening => "opening",
            Self::Requests => "requests",
            Self::Pseudo => "pseudo",
            Self::Names => "names",
            Self::Values => "values",
            Self::Priority => "priority",
            Self::Hpack => "hpack",
            Self::Data => "data",
            Self::Windows => "windows",
            Self::Control => "control",
        }
    }
}
