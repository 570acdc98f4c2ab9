//! What is compared apart.

use serde::{Deserialize, Serialize};

/// What is compared apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FingerprintLayer {
    /// The ClientHello of a connection that resumes nothing.
    Hello,
    /// The ClientHello of one that resumes a session.
    Resumption,
    /// SETTINGS, WINDOW_UPDATE and PRIORITY before the first request.
    Opening,
    /// Which requests were made, in order, and on which connections.
    Requests,
    /// Pseudo headers in order.
    Pseudo,
    /// Header names in order and case, repeated ones too.
    Names,
    /// Header values, each in its place.
    Values,
    /// The priority in HEADERS, and whether it ends the stream.
    Priority,
    /// How each field is written: index, literal, Huffman.
    Hpack,
    /// How a body is cut into DATA frames.
    Data,
    /// WINDOW_UPDATEs while bodies come: of what, how many, how large.
    Windows,
    /// All other frames: answers to SETTINGS and PING, PING after a pause, RST_STREAM, GOAWAY.
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

    /// The name, as tables and JSON have it.
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
