//! `[http2]`: preface, priorities and HPACK encoding.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::exchange::request::Context;

/// The HTTP/2 preface and priorities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http2 {
    /// SETTINGS as (id, value), in order.
    pub settings: Vec<(u16, u32)>,
    /// The increment of the WINDOW_UPDATE on stream 0 after SETTINGS; 0 if none is sent.
    pub window_update: u32,
    /// Pseudo-headers in order: `method`, `authority`, `scheme`, `path`.
    pub pseudo_order: Vec<String>,
    /// How header fields are encoded. Default: as Chrome does.
    #[serde(default)]
    pub hpack: Hpack,
    /// The priority in HEADERS, by context; absent if none is sent.
    #[serde(default)]
    pub priority: BTreeMap<String, Priority>,
}

impl Http2 {
    /// The priority of a context's requests. Falls back to navigation.
    #[must_use]
    pub fn priority(&self, context: Context) -> Option<Priority> {
        self.priority.get(context.name()).or_else(|| self.priority.get(Context::Navigation.name())).copied()
    }
}

/// The priority fields of a HEADERS frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Priority {
    /// The weight byte on the wire (0 to 255).
    pub weight: u8,
    /// The stream on which this one depends.
    pub depends_on: u32,
    /// The exclusive flag.
    pub exclusive: bool,
}

/// How a client encodes header fields where HPACK (RFC 7541) leaves the choice to the encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hpack {
    /// The pseudo-headers with incremental indexing, named as in `pseudo_order`. The others are literals
    /// without indexing. Default: `authority`.
    pub indexed_pseudo: Vec<String>,
    /// The headers encoded as literals without indexing. All others are indexed. Default: none.
    pub unindexed: Vec<String>,
    /// The headers encoded as never-indexed literals. Default: none.
    pub never_indexed: Vec<String>,
    /// When strings are Huffman-coded. Default: [`Huffman::Shorter`].
    pub huffman: Huffman,
    /// Whether later fields refer to entries of the dynamic table. Default: true.
    pub table_reuse: bool,
}

impl Default for Hpack {
    fn default() -> Self {
        Self {
            indexed_pseudo: vec!["authority".to_owned()],
            unindexed: Vec::new(),
            never_indexed: Vec::new(),
            huffman: Huffman::Shorter,
            table_reuse: true,
        }
    }
}

/// When a string literal is Huffman-coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Huffman {
    /// Always.
    Always,
    /// When the coded string is shorter.
    Shorter,
    /// Never.
    Never,
}
