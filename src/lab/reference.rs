//! The recording of a browser, and whether a request matches it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::recording::{Client, RecordedRequest};
use crate::fingerprint::hello::extension;
use crate::fingerprint::profile::{Priority, WireProtocol};
use crate::fingerprint::{ClientHello, HelloShape, Http2Fingerprint, ja4};

/// Headers that only some requests have. Their position is checked if the recording contains them.
const OPTIONAL: [&str; 3] = ["cookie", "referer", "sec-fetch-user"];

/// The traffic of one browser, taken from recordings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its ClientHello.
    pub hello: HelloShape,
    /// The JA4 without session resumption.
    pub ja4: String,
    /// Akamai's text for the start of its HTTP/2 connection.
    pub akamai: String,
    /// The recorded request shapes.
    pub requests: Vec<RequestShape>,
}

/// The shape of one kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestShape {
    /// The method.
    pub method: String,
    /// Pseudo-headers in order.
    pub pseudo: Vec<String>,
    /// Header names in order; repeated names once.
    pub names: Vec<String>,
    /// The priority in the HEADERS frame.
    pub priority: Option<Priority>,
}

impl Reference {
    /// Builds a reference from the recorded HTTP/2 connections of one browser. Returns `None` if there is no
    /// request on any of them.
    #[must_use]
    pub fn from_clients(clients: &[Arc<Client>]) -> Option<Self> {
        let mut reference: Option<Self> = None;
        for client in clients {
            let (Some(hello), Some(opening), WireProtocol::Http2) =
                (client.hello(), client.opening(), client.over())
            else {
                continue;
            };
            let reference = reference.get_or_insert_with(|| Self {
                hello: HelloShape::from_hello(hello),
                ja4: ja4_unresumed(hello),
                akamai: opening.akamai(),
                requests: Vec::new(),
            });
            for request in &client.requests() {
                let shape = RequestShape::from_request(request);
                if !reference.requests.contains(&shape) {
                    reference.requests.push(shape);
                }
            }
        }
        reference
    }

    /// Returns the parts in which a request differs from the browser's; empty if it matches.
    #[must_use]
    pub fn differences(&self, client: &Client, request: &RecordedRequest) -> Vec<&'static str> {
        let mut found = match client.hello() {
            Some(hello) => {
                let mut found = self.hello.differences(&HelloShape::from_hello(hello));
                if self.ja4 != ja4_unresumed(hello) {
                    found.push("ja4");
                }
                found
            }
            None => vec!["tls"],
        };
        if client.opening().map(Http2Fingerprint::akamai).as_ref() != Some(&self.akamai) {
            found.push("akamai");
        }
        let shape = RequestShape::from_request(request);
        if !self.requests.iter().any(|known| known.matches(&shape)) {
            found.push("headers");
        }
        found
    }
}

impl RequestShape {
    fn from_request(request: &RecordedRequest) -> Self {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in &request.headers {
            if names.last() != Some(name) {
                names.push(name.clone());
            }
        }
        Self {
            method: request.method.clone(),
            pseudo: request.pseudo.clone(),
            names,
            priority: request.priority,
        }
    }

    /// Whether `other` equals this shape, except for optional headers that `other` lacks.
    fn matches(&self, other: &Self) -> bool {
        let expected =
            self.names.iter().filter(|name| !OPTIONAL.contains(&name.as_str()) || other.names.contains(name));
        // The stream dependency varies with other active requests.
        let rank = |shape: &Self| shape.priority.map(|p| (p.weight, p.exclusive));
        self.method == other.method
            && self.pseudo == other.pseudo
            && rank(self) == rank(other)
            && expected.eq(&other.names)
    }
}

/// The parts of a client's identity to which a clearance is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientFingerprint {
    ja4: Option<String>,
    akamai: Option<String>,
    user_agent: Option<String>,
}

impl ClientFingerprint {
    pub(super) fn from_request(client: &Client, request: &RecordedRequest) -> Self {
        Self {
            ja4: client.hello().map(ja4_unresumed),
            akamai: client.opening().map(Http2Fingerprint::akamai),
            user_agent: request.header("user-agent").map(str::to_owned),
        }
    }

    pub(super) fn has_user_agent(&self, user_agent: &str) -> bool {
        self.user_agent.as_deref() == Some(user_agent)
    }

    #[cfg(test)]
    pub(super) fn for_test(ja4: &str, user_agent: &str) -> Self {
        Self { ja4: Some(ja4.to_owned()), akamai: None, user_agent: Some(user_agent.to_owned()) }
    }
}

/// The JA4 of the same ClientHello without session resumption.
fn ja4_unresumed(hello: &ClientHello) -> String {
    let mut hello = hello.clone();
    hello.extensions.retain(|e| e.id != extension::PRE_SHARED_KEY);
    ja4(&hello)
}
