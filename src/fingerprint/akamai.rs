//! The start of a client's HTTP/2 connection, and Akamai's fingerprint of it.

use md5::{Digest, Md5};
use serde::Serialize;

use super::h2::Frame;
use super::hpack::HpackField;
use super::profile::Priority;
use crate::text::hex;

/// The maximum number of PRIORITY frames that are kept.
const MAX_PRIORITIES: usize = 64;

/// A client's HTTP/2 connection up to its first request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Http2Fingerprint {
    /// The first SETTINGS, in order.
    pub settings: Vec<(u16, u32)>,
    /// The first connection-level WINDOW_UPDATE before the first request; 0 if none.
    pub window_update: u32,
    /// PRIORITY frames before the first request, as (stream, priority).
    pub priorities: Vec<(u32, Priority)>,
    /// The priority in the first HEADERS.
    pub priority: Option<Priority>,
    /// The first request's fields in order.
    pub fields: Vec<HpackField>,
    /// Whether the first request was seen. Later frames are ignored.
    #[serde(skip)]
    complete: bool,
}

impl Http2Fingerprint {
    /// Processes one frame. Frames after the first request are ignored.
    pub fn observe(&mut self, frame: &Frame) {
        if self.complete {
            return;
        }
        match frame {
            Frame::Settings { values } if self.settings.is_empty() => self.settings.clone_from(values),
            Frame::WindowUpdate { stream: 0, increment } if self.window_update == 0 => {
                self.window_update = *increment;
            }
            Frame::Priority { stream, priority } if self.priorities.len() < MAX_PRIORITIES => {
                self.priorities.push((*stream, *priority));
            }
            Frame::Headers { priority, fields, .. } => {
                self.priority = *priority;
                self.fields.clone_from(fields);
                self.complete = true;
            }
            _ => {}
        }
    }

    /// Whether the first request was seen.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Akamai's fingerprint text: `settings|window update|priorities|pseudo-headers`, for example
    /// `1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p`.
    #[must_use]
    pub fn akamai(&self) -> String {
        let settings: Vec<String> = self.settings.iter().map(|(id, value)| format!("{id}:{value}")).collect();
        let window = match self.window_update {
            0 => "00".to_owned(),
            increment => increment.to_string(),
        };
        let priorities: Vec<String> = self
            .priorities
            .iter()
            .map(|(stream, p)| {
                // Akamai counts weights from 1, as the text of the RFC does. On the wire they start at 0.
                let weight = u16::from(p.weight) + 1;
                format!("{stream}:{}:{}:{weight}", u8::from(p.exclusive), p.depends_on)
            })
            .collect();
        let priorities = if priorities.is_empty() { "0".to_owned() } else { priorities.join(",") };
        let pseudo: Vec<&str> = self
            .fields
            .iter()
            .filter_map(|field| field.name.strip_prefix(':'))
            .filter_map(|name| name.get(..1))
            .collect();
        format!("{}|{window}|{priorities}|{}", settings.join(";"), pseudo.join(","))
    }

    /// The MD5 of [`akamai`](Self::akamai) in hex.
    #[must_use]
    pub fn akamai_hash(&self) -> String {
        hex::encode(&Md5::digest(self.akamai()))
    }
}
